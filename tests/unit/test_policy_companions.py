"""The base's own scores steady a sequential comparison: the same test while running and in the verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from placet.domain.digests import digest_bytes
from placet.domain.errors import UndecidedError
from placet.domain.records import LedgerHead, Outcome, PlannedSuite
from placet.policy.casefile import EvidenceCase
from placet.policy.decide import decide
from placet.policy.evidence import Evidence, Rows
from placet.policy.fabricate import THEN, fabricate_evidence
from placet.policy.schema import Policy
from placet.policy.sequential import companions_of
from placet.policy.stopping import Watch
from placet.stats.sequential import Claim, Kind, SequentialDesign
from placet.stats.sequential import decide as decide_sequentially
from tests.support.policies import small_policy

HEAD = LedgerHead(size=1, root="0" * 64)


def policy_of(claim: str = "benchmark") -> Policy:
    return small_policy(
        {"a": {"samples": "all", "mode": "sequential", "claim": claim, "chunk": 10}},
        [{"id": "keep", "kind": "not_worse", "suite": "a", "margin": 0.05, "why": "w"}],
    )


def evidence_of(policy: Policy, *, up: bool = True, named: bool = True) -> Evidence:
    """Return evidence of 400 documents, of which the base gets six in ten; the plan names the base's run or not."""
    table = {"both": 234, "gained": 6, "lost": 6, "neither": 154, "higher_is_better": up}
    made = fabricate_evidence(policy, EvidenceCase.model_validate({"suites": {"a": table}}))
    return with_companions(made, made.base_runs[0].record) if named else made


def with_companions(evidence: Evidence, record: Any) -> Evidence:
    (entry,) = evidence.plans
    suites = tuple(one.model_copy(update={"companions": record}) for one in entry.plan.suites)
    plan = replace(entry, plan=entry.plan.model_copy(update={"suites": suites}))
    return replace(evidence, plans=(plan,))


def gate_of(policy: Policy, evidence: Evidence) -> Any:
    listed = replace(evidence, listed=tuple(evidence.records()))
    return decide(policy, listed, HEAD, THEN).gates[0]


@pytest.mark.parametrize("up", [True, False])
def test_the_verdict_plays_the_steadied_test(up: bool) -> None:
    policy = policy_of()
    evidence = evidence_of(policy, up=up)
    (run,), (base,) = evidence.runs, evidence.base_runs
    sign = 1.0 if up else -1.0
    design = SequentialDesign(
        Kind.NOT_WORSE,
        0.05,
        documents=400,
        planned=400,
        claim=Claim.BENCHMARK,
        expected=0.0,
        discordance=0.1,
        companions=tuple(sign * base.by_document()[document] for document in run.measurement.samples),
    )
    pairs = zip(run.values, run.measurement.samples, strict=True)
    expected = decide_sequentially(
        design, [sign * (mine - base.by_document()[document]) for mine, document in pairs]
    )
    gate = gate_of(policy, evidence)
    assert (gate.outcome, gate.n) == (expected.outcome, expected.used)
    assert base.record in gate.evidence
    assert "steady the test" in gate.reason
    alone = gate_of(policy, evidence_of(policy, up=up, named=False))
    assert alone.path != gate.path, "the base's scores make a difference"
    assert "steady" not in alone.reason


def test_a_run_stops_where_the_steadied_verdict_is_decided() -> None:
    policy = policy_of()
    evidence = evidence_of(policy)
    (run,), (base,), (planned,) = evidence.runs, evidence.base_runs, evidence.plans[0].plan.suites
    watch = Watch(policy, planned, ("base",), higher_is_better=True, companions=base.by_document())
    taken = 0
    for mine, document in zip(run.values, run.measurement.samples, strict=True):
        watch.take([mine], {"base": [base.by_document()[document]]})
        taken += 1
        if watch.settled:
            break
    assert taken == gate_of(policy, evidence).n < 400
    stopped = run.measurement.model_copy(
        update={
            "samples": run.measurement.samples[:taken],
            "n": taken,
            "mean": sum(run.values[:taken]) / taken,
        }
    )
    short = replace(evidence, runs=(Rows(run.record, stopped, run.values[:taken], run.ids[:taken]),))
    assert gate_of(policy, short).outcome is Outcome.PASS


def test_a_run_that_is_not_there_or_not_whole_steadies_nothing() -> None:
    policy = policy_of()
    evidence = evidence_of(policy)
    gone = with_companions(evidence, digest_bytes(b"another run"))
    assert gate_of(policy, gone).outcome is Outcome.MISSING
    assert "is not among the evidence" in gate_of(policy, gone).reason
    (base,) = evidence.base_runs
    keep = base.measurement.samples[:-1]
    part = base.measurement.model_copy(
        update={"samples": keep, "n": len(keep), "mean": sum(base.values[:-1]) / len(keep)}
    )
    partial = Rows(digest_bytes(b"part"), part, base.values[:-1], base.ids[:-1])
    both = with_companions(replace(evidence, base_runs=(base, partial)), partial.record)
    listed = replace(both, listed=tuple(both.records()))
    with pytest.raises(UndecidedError, match="is not one of it on all documents"):
        decide(policy, listed, HEAD, THEN)


def test_a_claim_about_the_population_has_no_companions() -> None:
    policy = policy_of("population")
    gate = gate_of(policy, evidence_of(policy))
    assert gate.n == gate_of(policy, evidence_of(policy, named=False)).n
    assert "steady" not in gate.reason


def test_companions_are_of_exactly_the_suites_documents() -> None:
    evidence = evidence_of(policy_of())
    (planned,) = evidence.plans[0].plan.suites
    fewer: PlannedSuite = planned.model_copy(update={"samples": planned.samples[:30]})
    values = {document: float(document) for document in range(400)}
    found = companions_of(fewer, values, higher_is_better=False)
    assert found is not None
    assert found[:30] == tuple(-float(document) for document in planned.samples[:30])
    assert sorted(found) == sorted(-value for value in values.values())
    with pytest.raises(ValueError, match="399 values for a suite of 400 documents"):
        companions_of(planned, {key: values[key] for key in list(values)[1:]}, higher_is_better=True)
