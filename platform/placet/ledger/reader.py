"""Reading the log: only records whose signature, role and form were checked come out.

A record that does not verify is not skipped: reading raises, because an answer computed without it would be
silently wrong. A record of an unknown type is kept and shown (:meth:`LedgerReader.everything`) and used for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar, cast

from placet.attest.predicates import PREDICATES, Kind, spec_of
from placet.attest.root import TrustRoot
from placet.attest.trust import Trust, Verified, establish_trust
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.domain.records import LedgerHead, Record
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.ledger.derived import derive
from placet.ledger.merkle import EMPTY_ROOT, GrowingTree, leaf_hash
from placet.ledger.moments import DATED_TYPES, parse_moment
from placet.ledger.store import Entry, LedgerStore, Seen

R = TypeVar("R", bound=Record)
F = TypeVar("F", bound=Callable[..., Any])

_CHUNK = 8192
_TRUST = tuple(spec_of(kind).predicate_type for kind in (Kind.ROLES, Kind.ROOT))

_GAP = 16
"""Records read along between two that are wanted, rather than asking twice."""


def load_trust(store: LedgerStore, root: TrustRoot) -> Trust:
    """Return the trust that `root`, continued by the versions in the log, vouches for through roles statements there.

    Raises:
        IntegrityError: No roles statement, a forged one, or one that rewrites its predecessor.
    """
    with store.reading():
        roles, changes = (store.find(predicate_type=predicate_type) for predicate_type in _TRUST)
    return establish_trust(
        root,
        [(entry.index, entry.envelope) for entry in roles],
        [(entry.index, entry.envelope) for entry in changes],
    )


def seen_in(trust: Trust) -> Seen:
    """Return what a decision that rests on `trust` has taken into account."""
    return Seen(_TRUST, trust.statements)


def in_one_reading(function: F) -> F:
    """Let all queries of a function share one connection, and so one moment; its first argument is the reader."""

    @wraps(function)
    def grouped(reader: LedgerReader, *arguments: Any, **options: Any) -> Any:
        with reader.reading():
            return function(reader, *arguments, **options)

    return cast("F", grouped)


class LedgerReader:
    """Verified records of one log.

    Args:
        store: The log.
        root: The pinned trust root.
    """

    def __init__(self, store: LedgerStore, root: TrustRoot) -> None:
        self._store = store
        self.trust = load_trust(store, root)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let this thread's queries inside the block share one connection, and so one moment. Keep it short."""
        with self._store.reading():
            yield

    def find(self, kind: Kind, model: type[R], *, subject: Digest | None = None) -> tuple[Verified[R], ...]:
        """Return the records of `kind` (about `subject`), oldest first.

        Raises:
            IntegrityError: One of them does not verify.
        """
        entries = self._store.find(predicate_type=spec_of(kind).predicate_type, subject=subject)
        return tuple(self._verified(entry, kind, model) for entry in entries)

    def get(self, record_id: Digest, kind: Kind, model: type[R]) -> Verified[R]:
        """Return the record `record_id`.

        Raises:
            IntegrityError: There is none, it is of another kind, or it does not verify.
        """
        entries = self._store.find(record_id=record_id)
        if not entries:
            raise IntegrityError(f"the log has no record {record_id}", hint="run `placet audit`")
        return self._verified(entries[0], kind, model)

    def get_many(self, record_ids: Iterable[Digest]) -> dict[Digest, Verified[Any]]:
        """Return records of any kind by id; neighbours in the log are read together.

        Raises:
            IntegrityError: One of them is not in the log, or does not verify.
        """
        wanted = list(dict.fromkeys(record_ids))
        if not wanted:
            return {}  # opening the file takes longer than most questions
        with self._store.reading():
            places = self._store.indices_of(wanted)
            lacking = next((record for record in wanted if record not in places), None)
            if lacking is not None:
                raise IntegrityError(f"the log has no record {lacking}", hint="run `placet audit`")
            entries = [
                entry
                for start, stop in _stretches(sorted(places.values()))
                for entry in self._store.entries(start, stop)
            ]
        indices = set(places.values())
        found = (
            self.trust.verify(_unedited(entry), entry.index) for entry in entries if entry.index in indices
        )
        return {item.id: item for item in found}

    def find_many(self, record_ids: Iterable[Digest]) -> dict[Digest, Verified[Any]]:
        """Return those records of some ids that the log has, of any kind.

        Raises:
            IntegrityError: One of them does not verify.
        """
        wanted = list(dict.fromkeys(record_ids))
        return self.get_many(Digest(item) for item in self._store.indices_of(wanted)) if wanted else {}

    def everything(self) -> tuple[Verified[Record] | Entry, ...]:
        """Return every entry by index: verified, or as stored where its predicate type is not known here.

        Raises:
            IntegrityError: One of them was edited or does not verify.
        """
        known = {spec.predicate_type for spec in PREDICATES}
        return tuple(
            self.trust.verify(_unedited(entry), entry.index)
            if derive(entry.index, entry.envelope).predicate_type in known
            else entry
            for entry in self._store.entries()
        )

    def head(self) -> LedgerHead:
        """Return the size and root that the newest checkpoint signs.

        Raises:
            IntegrityError: The checkpoint is not signed by a key that holds the log role.
        """
        note = self._store.latest_checkpoint()
        if note is None:
            return LedgerHead(size=0, root=EMPTY_ROOT.hex())
        return verify_log_checkpoint(self.trust, note, self._store.origin).head

    def latest_moment(self) -> datetime | None:
        """Return the latest moment that a record says it was made at, by the derived tables; None if none says one."""
        return parse_moment(self._store.latest_moment(DATED_TYPES))

    def require_whole(self) -> None:
        """Return if the stored log is the one its newest checkpoint signs, and the derived tables agree with it.

        Signatures are not checked again: that is what reading and :mod:`placet.ledger.audit` do. What this process
        found whole before is not read again while nobody else wrote to the file; with other writers all of it is.

        Raises:
            IntegrityError: Somebody changed the ledger file.
        """
        with self._store.reading():
            size, note = self._store.size(), self._store.latest_checkpoint() or ""
            signed = verify_log_checkpoint(self.trust, note, self._store.origin)
            file = self._store.local()
            tree = GrowingTree(file.whole_up_to())
            whole = size == signed.size and not self._store.extra_rows(size)
            for start in range(tree.size, size, _CHUNK):
                stored = self._store.snapshot(start, min(start + _CHUNK, size))
                for entry in stored.entries:
                    whole = whole and entry.index == tree.size
                    tree.add(leaf_hash(entry.envelope))
                expected = tuple(derive(entry.index, entry.envelope) for entry in stored.entries)
                whole = whole and expected == stored.derived
            if not whole or tree.root() != signed.root:
                raise IntegrityError(
                    "the ledger file was changed behind the office's back",
                    hint="run `placet audit` to see what",
                )
            file.note_whole(tree.frontier)

    def _verified(self, entry: Entry, kind: Kind, model: type[R]) -> Verified[R]:
        verified = self.trust.verify(_unedited(entry), entry.index)
        if verified.kind is not kind or not isinstance(verified.record, model):
            raise IntegrityError(
                f"record {entry.index} is a {verified.kind} record, not {kind}", hint="run `placet audit`"
            )
        return cast("Verified[R]", cast("Any", verified))


def _stretches(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield stretches (from, until before) that hold rising `indices`, none with a wide gap."""
    start = last = None
    for index in indices:
        if start is None or last is None:
            start = index
        elif index - last > _GAP:
            yield start, last + 1
            start = index
        last = index
    if start is not None and last is not None:
        yield start, last + 1


def _unedited(entry: Entry) -> bytes:
    if leaf_hash(entry.envelope) != entry.leaf:
        raise IntegrityError(f"record {entry.index} was edited in the ledger file", hint="run `placet audit`")
    return entry.envelope
