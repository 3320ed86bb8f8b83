"""All verified records of an office at one moment, by value: what every view model is made of.

Guarantees: every record in a snapshot verified (signature, role, form), and together they are the log that the
newest checkpoint signs: the root is computed again from their bytes. Where that does not hold, loading raises;
a view never shows a part of a log that somebody altered as if it were the whole.

A process that shows many pages verifies each signature once: what it verified is kept in memory, together with the
state of the ledger file that it was read from. While the file is as it was, it is not read again; once it changed,
all of it is read and hashed again, and only what is new is verified.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import PREDICATES, Training
from placet.attest.statement import parse_statement
from placet.attest.trust import Trust, Verified
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.domain.records import (
    AdapterRef,
    BaseStatus,
    Intake,
    LedgerHead,
    Measurement,
    Record,
    Revocation,
)
from placet.ledger.merkle import leaf_hash, tree_root
from placet.ledger.store import Entry
from placet.lineage.graph import Lineage, build_lineage
from placet.office import Office

R = TypeVar("R", bound=Record)

_KNOWN = frozenset(spec.predicate_type for spec in PREDICATES)
_OFFICES_KEPT = 2


@dataclass(frozen=True)
class Snapshot:
    """The verified records of the log up to `head`, as they were at `now`."""

    office: str
    head: LedgerHead
    records: tuple[Verified[Record], ...]
    trust: Trust
    now: datetime

    def of(self, model: type[R]) -> tuple[Verified[R], ...]:
        """Return the records of one model, oldest first."""
        return self._typed(self._index.by_model.get(model, ()))

    def about(self, model: type[R], digest: Digest) -> tuple[Verified[R], ...]:
        """Return the records of one model about `digest`, oldest first.

        A record is about the adapter and the weights it names; a training statement about its subjects, a measurement
        about whom it measured, a statement about a base about that base, and a revocation about what it takes back.
        """
        return self._typed(self._index.by_subject.get((model, digest), ()))

    def by_id(self, record_id: Digest) -> Verified[Record] | None:
        """Return the record of that id, if there is one."""
        return self._index.by_id.get(record_id)

    def trainings_of(self, weights_id: Digest) -> tuple[Verified[Training], ...]:
        """Return the training records of these weights and of every adapter they were continued from."""
        found: list[Verified[Training]] = []
        todo, seen = [weights_id], set()
        while todo:
            current = todo.pop()
            if current in seen:
                continue
            seen.add(current)
            for item in self.about(Training, current):
                found.append(item)
                todo.extend(
                    Digest("sha256:" + parent.digest.get("sha256", ""))
                    for parent in item.record.dependency("parent-adapter")
                )
        return tuple(found)

    @property
    def lineage(self) -> Lineage:
        """What came from what, over all records."""
        return self._index.lineage

    @cached_property
    def _index(self) -> _Index:
        return _Index(self.records)

    @staticmethod
    def _typed(items: Iterable[Verified[Record]]) -> tuple[Verified[R], ...]:
        return cast("tuple[Verified[R], ...]", cast("Any", tuple(items)))


class _Index:
    """Records by their id, by their model, and by what they are about."""

    def __init__(self, records: tuple[Verified[Record], ...]) -> None:
        self._records = records
        self.by_id: dict[Digest, Verified[Record]] = {}
        self.by_model: dict[type[Record], list[Verified[Record]]] = {}
        self.by_subject: dict[tuple[type[Record], Digest], list[Verified[Record]]] = {}
        for item in records:
            model = type(item.record)
            self.by_id[item.id] = item
            self.by_model.setdefault(model, []).append(item)
            for digest in _subjects(item):
                self.by_subject.setdefault((model, digest), []).append(item)

    @cached_property
    def lineage(self) -> Lineage:
        return build_lineage(self._records)


def _subjects(item: Verified[Record]) -> Iterable[Digest]:
    """Return what a record is about, each digest once."""
    record = item.record
    if isinstance(record, Training):
        return dict.fromkeys(subject.digest for subject in item.statement.subjects)
    if isinstance(record, Measurement):
        return (record.subject,)
    if isinstance(record, Revocation):
        return (record.target,)
    if isinstance(record, BaseStatus):
        return (record.base.id,)
    adapter = getattr(record, "adapter", None)
    if not isinstance(adapter, AdapterRef):
        return (record.files_id,) if isinstance(record, Intake) else ()
    return dict.fromkeys((adapter.id, adapter.weights_id))


@dataclass(frozen=True)
class _Kept:
    """What was read and verified of one office's log, and the state of its files then."""

    stamp: tuple[object, ...]
    head: LedgerHead
    trust: Trust
    leaves: tuple[bytes, ...]
    entries: tuple[Verified[Record] | Entry, ...]
    records: tuple[Verified[Record], ...]
    index: _Index


_kept: OrderedDict[Path, _Kept] = OrderedDict()
_lock = threading.Lock()


def load_snapshot(office: Office) -> Snapshot:
    """Return the office's verified records as they stand now.

    Raises:
        IntegrityError: A record does not verify, or the log is not the one its checkpoint signs.
        LedgerBusyError, StorageError: The log could not be read.
    """
    place = office.home.resolve()
    with _lock:
        before = _kept.get(place)
        office.store.local()  # a log that lives elsewhere is followed first
        if before is None or before.stamp != ledger_stamp(office):
            _kept.pop(place, None)
            before = _kept[place] = _read(office, before)
        _kept.move_to_end(place)
        while len(_kept) > _OFFICES_KEPT:
            _kept.popitem(last=False)
    snapshot = Snapshot(
        office=office.settings.name,
        head=before.head,
        records=before.records,
        trust=before.trust,
        now=office.clock(),
    )
    # The index is made of the same records, so it need not be made again for every page.
    snapshot.__dict__["_index"] = before.index
    return snapshot


def ledger_stamp(office: Office) -> tuple[object, ...]:
    """Return what changes whenever somebody writes to the office's ledger file or continues its trust root."""
    path = office.home / "ledger.duckdb"
    files = (path, path.with_name(path.name + ".wal"))
    return (str(office.settings.root_pin), _root_versions(office.home), *(_state_of(file) for file in files))


def _root_versions(home: Path) -> int:
    return sum(1 for _ in (home / "trust").glob("[0-9]*.root.json"))


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(office: Office, before: _Kept | None) -> _Kept:
    """Read and hash the whole log, and verify what was not verified `before`."""
    with office.store.reading():
        reader = office.reader()
        head = reader.head()
        stored = [entry for entry in office.store.entries() if entry.index < head.size]
        # Taken while nobody can write: whatever is written from now on changes it.
        stamp = ledger_stamp(office)
    leaves = tuple(leaf_hash(entry.envelope) for entry in stored)
    if [entry.index for entry in stored] != list(range(head.size)) or tree_root(leaves).hex() != head.root:
        raise IntegrityError(
            "the stored log does not match its last checkpoint, so nothing made of it can be shown",
            hint="somebody changed the ledger file: run `placet audit` to see what",
        )
    # A newer statement of roles cannot take back what was allowed at an earlier index, so what verified once stays so.
    known = before.leaves if before is not None and before.trust.root.pin == reader.trust.root.pin else ()
    entries = tuple(
        before.entries[entry.index]
        if before is not None and known[entry.index : entry.index + 1] == (leaf,)
        else _verified(entry, reader.trust)
        for entry, leaf in zip(stored, leaves, strict=True)
    )
    records = tuple(item for item in entries if isinstance(item, Verified))
    return _Kept(stamp, head, reader.trust, leaves, entries, records, _Index(records))


def _verified(entry: Entry, trust: Trust) -> Verified[Record] | Entry:
    """Return the record of an entry, or the entry where its type is not known here."""
    envelope = parse_envelope(entry.envelope)
    if parse_statement(envelope.payload).predicate_type not in _KNOWN:
        return entry
    return trust.verify(envelope, entry.index)


def newest(items: Sequence[Verified[R]]) -> Verified[R] | None:
    """Return the item with the highest ledger index, or None."""
    return max(items, key=lambda item: item.index, default=None)
