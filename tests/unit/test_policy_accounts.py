"""A gate answers for every plan and run on the same tensors, whatever policy they were made under."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from placet.domain.digests import digest_bytes
from placet.domain.records import Decision, GateResult, Outcome, PlannedReference, Verdict
from placet.policy.conditions import condition_of, questions_of
from placet.policy.evidence import Evidence, RecordedPlan
from placet.policy.fabricate import BASE, OTHER_REFERENCE, REFERENCE
from placet.policy.schema import Policy
from tests.unit.test_policy_decide import decided, evidence_of, policy_of

GATE = "id: job, kind: floor, suite: desk, threshold: 0.5"
FLOOR = policy_of("{desk: {samples: all}}", GATE)
SAME = policy_of(
    "{desk: {samples: all, mode: fixed}, other: {samples: 10}}",
    "id: desk-floor, kind: floor, suite: desk, metric: acc, alpha: 0.05, threshold: 0.50, required: false",
    "id: more, kind: floor, suite: other, threshold: 0.5",
)
STRICTER = policy_of("{desk: {samples: all}}", GATE.replace("0.5", "0.55"))
GOOD = {"ones": 80, "of": 100}


def under(evidence: Evidence, policy: Policy, *, readable: bool = True) -> Evidence:
    """Return `evidence` whose earlier plan was made under another policy."""
    earlier, own = evidence.plans
    plan = earlier.plan.model_copy(update={"policy": policy.ref})
    asked = questions_of(policy) if readable else None
    return replace(evidence, plans=(RecordedPlan(earlier.record, plan, asked), own))


def gate_of(policy: Policy, evidence: Evidence) -> GateResult:
    (gate,) = decided(policy, evidence).gates
    return gate


def made(earlier: dict[str, Any], other: Policy, policy: Policy = FLOOR, **changes: Any) -> Evidence:
    evidence = evidence_of(policy, {"desk": GOOD}, earlier={"desk": earlier}, **changes)
    return under(evidence, other)


@pytest.mark.parametrize(
    ("earlier", "outcome", "reason"),
    [
        ({"ones": 30, "of": 100}, Outcome.FAIL, "this plan's own run gives PASS"),
        ({"ones": 52, "of": 100}, Outcome.INCONCLUSIVE, "this plan's own run gives PASS"),
        ({"ones": 26, "of": 50}, Outcome.INCONCLUSIVE, "this plan's own run gives PASS"),
        ({"ones": 80, "of": 100, "state": "missing"}, Outcome.INCONCLUSIVE, "no result of it was logged"),
        ({"ones": 80, "of": 100, "state": "partial"}, Outcome.INCONCLUSIVE, "the run has 99, of which 99"),
        ({"ones": 80, "of": 100}, Outcome.PASS, "2 runs or plans of this suite"),
    ],
)
def test_a_policy_that_asks_the_same_in_other_words_erases_no_run(
    earlier: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    evidence = made(earlier, SAME)
    gate = gate_of(FLOOR, evidence)
    assert (gate.outcome, reason in gate.reason) == (outcome, True), gate.reason
    assert gate.evidence[0] in {plan.record for plan in evidence.plans} | {
        run.record for run in evidence.runs
    }
    assert {plan.record for plan in evidence.plans} <= set(gate.evidence)
    assert {run.record for run in evidence.runs} <= set(gate.evidence)
    if outcome is not Outcome.PASS:
        assert f" of policy small 1 ({SAME.ref.digest[7:19]})" in gate.reason


@pytest.mark.parametrize(
    ("earlier", "outcome", "listed"),
    [
        ({"ones": 30, "of": 100}, Outcome.FAIL, ""),
        ({"ones": 15, "of": 50}, Outcome.FAIL, ""),
        ({"ones": 52, "of": 100}, Outcome.INCONCLUSIVE, ""),
        ({"ones": 104, "of": 200}, Outcome.INCONCLUSIVE, ""),
        ({"ones": 26, "of": 50}, Outcome.PASS, "its run of 50 documents leaves this open"),
        ({"ones": 80, "of": 100, "state": "missing"}, Outcome.PASS, "and no result of it was logged"),
        ({"ones": 80, "of": 100, "state": "partial"}, Outcome.PASS, "its run of 99 documents leaves"),
    ],
)
def test_what_was_measured_for_another_limit_is_judged_by_this_one(
    earlier: dict[str, Any], outcome: Outcome, listed: str
) -> None:
    evidence = made(earlier, STRICTER)
    gate = gate_of(FLOOR, evidence)
    assert gate.outcome is outcome, gate.reason
    assert ("Listed and not judged: plan " in gate.reason) == bool(listed)
    assert listed in gate.reason
    # What counted is what the gate names.
    assert (evidence.plans[0].record in gate.evidence) == (not listed)


def test_a_policy_that_cannot_be_read_may_have_asked_the_same() -> None:
    missing = {"ones": 80, "of": 100, "state": "missing"}
    evidence = evidence_of(FLOOR, {"desk": GOOD}, earlier={"desk": missing})
    gate = gate_of(FLOOR, under(evidence, STRICTER, readable=False))
    assert gate.outcome is Outcome.INCONCLUSIVE
    assert "no result of it was logged" in gate.reason


def test_the_fix_names_the_command_that_finishes_the_plan() -> None:
    evidence = made({"ones": 80, "of": 100, "state": "missing"}, SAME)
    gate = gate_of(FLOOR, evidence)
    record = evidence.plans[0].record
    assert f"`placet gate case-adapter --plan {record[7:19]}`" in gate.fix
    # It is said beside whatever else keeps the gate from passing.
    draft = evidence_of(
        FLOOR, {"desk": {"ones": 52, "of": 100}}, earlier={"desk": {**GOOD, "state": "missing"}}
    )
    gate = gate_of(FLOOR, draft)
    assert gate.outcome is Outcome.INCONCLUSIVE
    assert gate.fix.startswith("On 100 documents at least ")
    assert gate.fix.endswith(f"--plan {draft.plans[0].record[7:19]}`.")
    assert "no result of it was logged" in gate.reason
    # A run that is on record cannot be added to.
    gate = gate_of(FLOOR, made({"ones": 80, "of": 100, "state": "partial"}, SAME))
    assert gate.fix.startswith("Nothing can be added to a run on record")


def test_a_plan_for_another_version_of_the_suite_or_another_base_is_no_second_look() -> None:
    evidence = made({"ones": 30, "of": 100}, STRICTER)
    earlier, own = evidence.plans
    planned = earlier.plan.suites[0]
    newer = planned.suite.model_copy(update={"digest": digest_bytes(b"newer"), "version": "2"})
    suites = (planned.model_copy(update={"suite": newer}),)
    other_suite = replace(earlier, plan=earlier.plan.model_copy(update={"suites": suites}))
    base = BASE.model_copy(update={"id": digest_bytes(b"other base")})
    other_base = replace(earlier, plan=earlier.plan.model_copy(update={"base": base}))
    for entry in (other_suite, other_base):
        assert gate_of(FLOOR, replace(evidence, plans=(entry, own))).outcome is Outcome.PASS


# --- sequential runs ---------------------------------------------------------------------------------------

SOON = policy_of("{desk: {samples: all, mode: sequential, claim: benchmark}}", GATE)
LESS = policy_of(
    "{desk: {samples: all, mode: sequential, claim: benchmark, chunk: 10}}", GATE.replace("0.5", "0.4")
)


def stopped(evidence: Evidence, after: int) -> Evidence:
    """Return `evidence` whose earlier run stopped after so many documents."""
    first, own = evidence.runs
    measured, values = first.measurement, first.values[:after]
    shorter = measured.model_copy(
        update={"samples": measured.samples[:after], "n": after, "mean": sum(values) / after}
    )
    run = replace(first, measurement=shorter, values=values, ids=first.ids[:after])
    return replace(evidence, runs=(run, own))


def test_a_sequential_run_for_another_limit_is_played_again_as_far_as_it_went() -> None:
    failed = made({"ones": 20, "of": 100}, LESS, SOON)
    gate = gate_of(SOON, stopped(failed, 60))
    assert gate.outcome is Outcome.FAIL
    assert "decided after" in gate.reason
    left_open = gate_of(SOON, stopped(failed, 5))
    assert left_open.outcome is Outcome.PASS
    assert "its run of 5 documents leaves this open" in left_open.reason
    # Under the same question that run hides something: it stopped before this was decided.
    same = gate_of(SOON, stopped(made({"ones": 20, "of": 100}, SOON, SOON), 5))
    assert same.outcome is Outcome.INCONCLUSIVE
    assert "stopped after 5 of 100 planned documents" in same.reason


def test_how_often_a_sequential_run_looks_is_no_other_question() -> None:
    often = policy_of("{desk: {samples: all, mode: sequential, claim: benchmark, chunk: 5}}", GATE)
    evidence = made({"ones": 80, "of": 100, "state": "missing"}, often, SOON)
    assert gate_of(SOON, evidence).outcome is Outcome.INCONCLUSIVE


def test_a_run_that_could_stop_is_not_taken_for_a_fixed_sample() -> None:
    # A fixed sample of five documents, all of them wrong, would fail; the test that could stop is still open.
    evidence = stopped(made({"ones": 0, "of": 100}, SOON), 5)
    earlier, own = evidence.plans
    planned = made({"ones": 0, "of": 100}, SOON, SOON).plans[0].plan.suites[0]
    moved = earlier.plan.suites[0].model_copy(update={"sequential": planned.sequential})
    plan = earlier.plan.model_copy(update={"suites": (moved,)})
    gate = gate_of(FLOOR, replace(evidence, plans=(replace(earlier, plan=plan), own)))
    assert gate.outcome is Outcome.PASS
    assert "its run of 5 documents leaves this open" in gate.reason


# --- comparisons, clusters, plans of others ------------------------------------------------------------------

CHANNEL = policy_of(
    "{desk: {samples: all}}", "id: keep, kind: not_worse, suite: desk, than: channel:live, margin: 0.1"
)
NAMED = policy_of(
    "{desk: {samples: all}}", "id: held, kind: not_worse, suite: desk, than: adapter:desk-7, margin: 0.1"
)
LOST = {"both": 20, "gained": 0, "lost": 60, "neither": 20}
KEPT = {"both": 80, "gained": 0, "lost": 0, "neither": 20}


@pytest.mark.parametrize("policy", [CHANNEL, NAMED], ids=["the same policy", "another"])
@pytest.mark.parametrize(
    ("adapter", "outcome"), [(REFERENCE, Outcome.FAIL), (OTHER_REFERENCE, Outcome.PASS), (None, Outcome.PASS)]
)
def test_an_earlier_comparison_counts_if_it_was_with_the_same_adapter(
    policy: Policy, adapter: Any, outcome: Outcome
) -> None:
    evidence = evidence_of(CHANNEL, {"desk": KEPT}, earlier={"desk": LOST})
    # Both plans have one run of the reference: that of the earlier one is on its own documents.
    evidence = under(evidence, policy)
    earlier, own = evidence.plans
    name = "channel:live" if policy is CHANNEL else "adapter:desk-7"
    references = adapter and (PlannedReference(name=name, adapter=adapter, record=digest_bytes(b"release")),)
    moved = replace(earlier, plan=earlier.plan.model_copy(update={"references": references}))
    runs = tuple(run for run in evidence.reference_runs if run.measurement.plan == earlier.record)
    evidence = replace(evidence, plans=(moved, own), reference_runs=runs)
    gate = gate_of(CHANNEL, replace(evidence, listed=tuple(evidence.records())))
    assert gate.outcome is outcome, gate.reason


CLUSTERED = policy_of("{desk: {samples: all, cluster: patient}}", GATE)


def test_an_earlier_run_is_looked_at_by_the_clusters_of_this_policy() -> None:
    """Taken one by one 100 documents with 30 right fail a floor of 0.5; as 4 patients they say nothing."""
    patients = {"ones": 100, "of": 100, "cluster_size": 25}
    evidence = under(
        evidence_of(CLUSTERED, {"desk": patients}, earlier={"desk": {**patients, "ones": 30}}), FLOOR
    )
    earlier, own = evidence.plans
    plain = earlier.plan.suites[0].model_copy(update={"cluster": None, "groups": None})
    moved = replace(earlier, plan=earlier.plan.model_copy(update={"suites": (plain,)}))
    gate = gate_of(CLUSTERED, replace(evidence, plans=(moved, own)))
    assert gate.outcome is not Outcome.FAIL
    # Where this plan does not know whose they are either, the run is listed.
    strange = plain.model_copy(
        update={"samples": tuple(document + 500 for document in plain.samples), "documents": 1000}
    )
    moved = replace(earlier, plan=earlier.plan.model_copy(update={"suites": (strange,)}))
    run = evidence.runs[0]
    elsewhere = replace(run, measurement=run.measurement.model_copy(update={"samples": strange.samples}))
    gate = gate_of(CLUSTERED, replace(evidence, plans=(moved, own), runs=(elsewhere, *evidence.runs[1:])))
    assert "Listed and not judged" in gate.reason


def of_another_adapter(entry: RecordedPlan) -> RecordedPlan:
    """Return a plan as one for another adapter that has these weights measured beside it."""
    mine = PlannedReference(
        name="adapter:this", adapter=entry.plan.adapter, record=digest_bytes(b"submission")
    )
    changes = {"adapter": OTHER_REFERENCE, "references": (mine,)}
    return replace(entry, plan=entry.plan.model_copy(update=changes))


@pytest.mark.parametrize("other", [SOON, LESS], ids=["the same question", "another"])
@pytest.mark.parametrize(
    ("after", "decision"), [(60, Decision.DENY), (5, Decision.ALLOW)], ids=["fails", "open"]
)
def test_a_run_beside_another_adapter_counts_as_far_as_it_decides(
    other: Policy, after: int, decision: Decision
) -> None:
    evidence = stopped(made({"ones": 20, "of": 100}, other, SOON), after)
    earlier, own = evidence.plans
    verdict: Verdict = decided(SOON, replace(evidence, plans=(of_another_adapter(earlier), own)))
    assert verdict.decision is decision
    listed = "for another adapter; its run here settles nothing" in verdict.gates[0].reason
    assert listed == (decision is Decision.ALLOW)


def test_a_plan_of_another_adapter_without_a_run_here_hides_nothing() -> None:
    evidence = made({"ones": 80, "of": 100, "state": "missing"}, SAME)
    earlier, own = evidence.plans
    assert (
        decided(FLOOR, replace(evidence, plans=(of_another_adapter(earlier), own))).decision is Decision.ALLOW
    )


# --- what a gate asks ------------------------------------------------------------------------------------------


def leak(rest: str) -> Policy:
    return policy_of("{desk: {samples: all}}", f"id: no-leak, kind: leakage, suite: desk, {rest}")


def test_a_limit_of_zero_asks_something() -> None:
    none, zero = leak("max_recovered: 3"), leak("max_recovered: 3, max_excess: 0")
    assert condition_of(none, none.gates[0]) != condition_of(zero, zero.gates[0])


def test_words_and_written_out_defaults_ask_nothing_else() -> None:
    assert questions_of(FLOOR)["job"] == questions_of(SAME)["desk-floor"]
    assert questions_of(FLOOR)["job"] != questions_of(STRICTER)["job"]


def test_a_plan_of_a_policy_that_cannot_be_read_is_looked_at_as_this_one_would() -> None:
    patients = {"ones": 100, "of": 100, "cluster_size": 25}
    evidence = evidence_of(CLUSTERED, {"desk": patients}, earlier={"desk": {**patients, "ones": 30}})
    evidence = under(evidence, FLOOR, readable=False)
    earlier, own = evidence.plans
    plain = earlier.plan.suites[0].model_copy(update={"cluster": None, "groups": None})
    moved = replace(earlier, plan=earlier.plan.model_copy(update={"suites": (plain,)}))
    gate = gate_of(CLUSTERED, replace(evidence, plans=(moved, own)))
    assert gate.outcome is Outcome.INCONCLUSIVE, "one by one these documents would fail the floor"
