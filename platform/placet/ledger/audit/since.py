"""What an audit that goes on from an earlier one has to know of the records before."""

from __future__ import annotations

from typing import Any

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import Kind, spec_of
from placet.attest.statement import parse_statement
from placet.domain.digests import Digest
from placet.domain.errors import Error
from placet.ledger.audit.state import AuditRun, Dated
from placet.ledger.derived import said_at_the_end
from placet.ledger.moments import DATED_TYPES, parse_moment
from placet.ledger.store import Entry

_AT_ONCE = 4096
_DECIDED = {spec_of(kind).predicate_type for kind in (Kind.VERDICT, Kind.RELEASE)}


def subjects_of_new(run: AuditRun) -> frozenset[Digest]:
    """Return what the verdicts and releases from the first new record on are about; nothing if all are new."""
    found: set[Digest] = set()
    if not run.start:
        return frozenset()
    for first, stop in run.stretches():
        for low in range(first, stop, _AT_ONCE):
            for entry in run.store.entries(low, min(low + _AT_ONCE, stop)):
                found |= _decided(entry)
    return frozenset(found)


def _decided(entry: Entry) -> set[Digest]:
    """Return what a verdict or release is about; nothing of another record."""
    try:
        payload = parse_envelope(entry.envelope).payload
        if said_at_the_end(payload)[0] not in _DECIDED:
            return set()
        said: Any = parse_statement(payload).predicate
        return {said["adapter"]["id"], said["adapter"]["weightsId"], said["base"]["id"]}
    except (Error, KeyError, TypeError):
        return set()  # its stretch says what is wrong with it


def latest_before(run: AuditRun, index: int) -> Dated | None:
    """Return the latest moment that a record before `index` gives, by the derived tables."""
    moment = parse_moment(run.store.latest_moment(DATED_TYPES, index))
    return None if moment is None else Dated(moment, index - 1, "or one before it")
