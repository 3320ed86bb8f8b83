"""All verified records of an office at one moment, by value: what every view model is made of.

Guarantees: every record in a snapshot verified (signature, role, form), and together they are the log that the
newest checkpoint signs: the root is computed again from their bytes. Where that does not hold, loading raises;
a view never shows a part of a log that somebody altered as if it were the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from placet.attest.predicates import Training
from placet.attest.trust import Trust, Verified
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.domain.records import LedgerHead, Measurement, Record
from placet.ledger.merkle import leaf_hash, tree_root
from placet.office import Office

R = TypeVar("R", bound=Record)


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
        return tuple(
            cast("Verified[R]", cast("Any", item)) for item in self.records if isinstance(item.record, model)
        )

    def by_id(self, record_id: Digest) -> Verified[Record] | None:
        """Return the record of that id, if there is one."""
        return next((item for item in self.records if item.id == record_id), None)

    def trainings_of(self, weights_id: Digest) -> tuple[Verified[Training], ...]:
        """Return the training records of these weights and of every adapter they were continued from."""
        trainings = self.of(Training)
        found: list[Verified[Training]] = []
        todo, seen = [weights_id], set()
        while todo:
            current = todo.pop()
            if current in seen:
                continue
            seen.add(current)
            for item in trainings:
                if item.statement.names(current):
                    found.append(item)
                    todo.extend(
                        Digest("sha256:" + parent.digest.get("sha256", ""))
                        for parent in item.record.dependency("parent-adapter")
                    )
        return tuple(found)

    def measurements_of(self, subject: Digest) -> tuple[Verified[Measurement], ...]:
        """Return the measurements of one subject (weights id or base id), oldest first."""
        return tuple(item for item in self.of(Measurement) if item.record.subject == subject)


def load_snapshot(office: Office) -> Snapshot:
    """Return the office's verified records as they stand now.

    Raises:
        IntegrityError: A record does not verify, or the log is not the one its checkpoint signs.
        LedgerBusyError, StorageError: The log could not be read.
    """
    with office.store.reading():
        reader = office.reader()
        head = reader.head()
        entries = [item for item in reader.everything() if item.index < head.size]
    leaves = [leaf_hash(i.envelope.raw if isinstance(i, Verified) else i.envelope) for i in entries]
    if [item.index for item in entries] != list(range(head.size)) or tree_root(leaves).hex() != head.root:
        raise IntegrityError(
            "the stored log does not match its last checkpoint, so nothing made of it can be shown",
            hint="somebody changed the ledger file: run `placet audit` to see what",
        )
    return Snapshot(
        office=office.settings.name,
        head=head,
        records=tuple(item for item in entries if isinstance(item, Verified)),
        trust=reader.trust,
        now=office.clock(),
    )


def newest(items: Sequence[Verified[R]]) -> Verified[R] | None:
    """Return the item with the highest ledger index, or None."""
    return max(items, key=lambda item: item.index, default=None)
