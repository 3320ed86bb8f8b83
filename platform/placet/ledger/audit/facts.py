"""What a verified record says that has to be held against other records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from placet.attest.predicates import Kind
from placet.domain.digests import Digest
from placet.domain.records import (
    BaseStatus,
    FeedStatement,
    LedgerHead,
    Measurement,
    Plan,
    Record,
    Release,
    Review,
    Submission,
    Verdict,
    Waiver,
)
from placet.ledger.moments import stated_moment


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verified record says that has to be held against other records."""

    index: int
    record_id: Digest
    kind: Kind
    person: str
    references: tuple[tuple[str, Digest], ...] = ()
    head: LedgerHead | None = None
    moment: datetime | None = None
    blobs: tuple[Digest, ...] = ()


def filed_under(record: Record) -> tuple[Digest, ...]:
    """Return the digests under which a record of that kind has to be found."""
    match record:
        case Submission() | Plan():
            return (record.adapter.id, record.adapter.weights_id)
        case Verdict() | Review() | Waiver():
            return (record.adapter.id,)
        case Measurement():
            return (record.subject,)
        case BaseStatus():
            return (record.base.id,)
        case _:
            return ()


def facts_of(index: int, record_id: Digest, kind: Kind, person: str, record: Record) -> Facts:
    """Return what a verified record says that has to be held against others."""
    head = record.head if isinstance(record, Plan | Verdict | Review | FeedStatement) else None
    moment = stated_moment(record)
    return Facts(index, record_id, kind, person, _references(record), head, moment, _blobs(record))


def _references(record: Record) -> tuple[tuple[str, Digest], ...]:
    """Return the (what, record id) that `record` rests on and that must have been logged before it."""
    match record:
        case Submission():
            return tuple(("training provenance", item) for item in record.training)
        case Measurement():
            return (("plan", record.plan),)
        case Verdict():
            return (("plan", record.plan), *(("evidence", item) for item in record.evidence))
        case Review():
            return (("verdict", record.verdict), *(("evidence", item) for item in record.evidence))
        case Release():
            named = (*record.reviews, *record.waivers)
            return (("verdict", record.verdict), *(("approval", item) for item in named))
        case _:
            return ()


def _blobs(record: Record) -> tuple[Digest, ...]:
    match record:
        case Measurement():
            return (record.blob,)
        case Plan():
            return (record.policy.digest,)
        case Submission():
            return tuple(entry.sha256 for entry in record.files)
        case _:
            return ()
