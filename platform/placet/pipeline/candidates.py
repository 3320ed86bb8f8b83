"""Which adapters were candidates under a policy: every set of weights with a plan under it, whatever came of that."""

from __future__ import annotations

from placet.attest.predicates import Kind
from placet.domain.digests import Digest
from placet.domain.records import Plan, Verdict
from placet.ledger.reader import LedgerReader, in_one_reading
from placet.policy.candidates import Candidate


@in_one_reading
def find_candidates(
    reader: LedgerReader, policy: Digest, base: Digest | None = None
) -> tuple[Candidate, ...]:
    """Return the candidates under a policy (by digest), on `base` if one is given, in the order they were planned.

    Weights handed in twice, under other labels or beside other files, are one candidate, by its newest verdict.

    Raises:
        IntegrityError: A record does not verify.
    """
    found: dict[Digest, Candidate] = {}
    for plan in reader.find(Kind.PLAN, Plan):
        record = plan.record
        if record.policy.digest == policy and base in (None, record.base.id):
            weights = record.adapter.weights_id
            found[weights] = Candidate(record.adapter.label, weights, None, None)
    for verdict in reader.find(Kind.VERDICT, Verdict):
        weights = verdict.record.adapter.weights_id
        if verdict.record.policy.digest == policy and weights in found:
            label = verdict.record.adapter.label
            found[weights] = Candidate(label, weights, verdict.id, verdict.record)
    return tuple(found.values())
