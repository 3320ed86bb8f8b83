"""When a record says it was made, and what that is worth.

A moment in a record is its signer's own word. Against it stands what others said before: a log only grows, so a record
cannot have been made before those that it follows. Whoever dates a record back contradicts the records before it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from placet.attest.predicates import Kind, spec_of
from placet.domain.records import (
    BaseStatus,
    Intake,
    Measurement,
    Overlap,
    Plan,
    Record,
    Release,
    Review,
    Revocation,
    Submission,
    Verdict,
    Waiver,
)

TOLERANCE = timedelta(days=1)
"""How far the clocks of honest machines, and the time between dating a record and logging it, may lie apart."""

DATED = (
    Kind.SUBMISSION,
    Kind.INTAKE,
    Kind.PLAN,
    Kind.EVALUATION,
    Kind.SAFETY,
    Kind.VERDICT,
    Kind.REVIEW,
    Kind.WAIVER,
    Kind.RELEASE,
    Kind.REVOCATION,
)
"""Kinds that are dated when they are logged, as far as the derived tables hold their moment. Training may have ended
long before it is handed in, and roles are signed by several people, one after the other."""

DATED_TYPES = tuple(spec_of(kind).predicate_type for kind in DATED)


def stated_moment(record: Record) -> datetime | None:
    """Return when `record` says that it was logged; None if it says nothing of that."""
    match record:
        case Submission():
            return record.submitted_at
        case Intake():
            return record.examined_at
        case Plan():
            return record.planned_at
        case Measurement():
            return record.finished_at
        case Overlap():
            return record.measured_at
        case Verdict():
            return record.decided_at
        case Review():
            return record.reviewed_at
        case Waiver():
            return record.waived_at
        case Release():
            return record.released_at
        case Revocation():
            return record.revoked_at
        case BaseStatus():
            return record.stated_at
        case _:
            return None


def parse_moment(text: str | None) -> datetime | None:
    """Return the moment that the derived tables hold as `text`."""
    if text is None:
        return None
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
