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

_AT_ONCE = 4096
_DECIDED = {spec_of(kind).predicate_type for kind in (Kind.VERDICT, Kind.RELEASE)}


def subjects_of_new(run: AuditRun) -> frozenset[Digest]:
    """Return what the verdicts and releases from the first new record on are about; nothing if all are new."""
    found: set[Digest] = set()
    if not run.start:
        return frozenset()
    for low in range(run.start, run.size, _AT_ONCE):
        for entry in run.store.entries(low, min(low + _AT_ONCE, run.size)):
            try:
                payload = parse_envelope(entry.envelope).payload
                if said_at_the_end(payload)[0] not in _DECIDED:
                    continue
                said: Any = parse_statement(payload).predicate
                found |= {said["adapter"]["id"], said["adapter"]["weightsId"], said["base"]["id"]}
            except (Error, KeyError, TypeError):
                continue  # its stretch says what is wrong with it
    return frozenset(found)


def latest_before(run: AuditRun, index: int) -> Dated | None:
    """Return the latest moment that a record before `index` gives, by the derived tables."""
    moment = parse_moment(run.store.latest_moment(DATED_TYPES, index))
    return None if moment is None else Dated(moment, index - 1, "or one before it")
