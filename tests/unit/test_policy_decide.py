"""Evidence to verdict: what passes, what denies, what goes to people, and what cannot be decided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from placet.domain.digests import digest_bytes
from placet.domain.errors import UndecidedError
from placet.domain.records import Decision, GateResult, LedgerHead, Outcome, SuiteRef, Verdict
from placet.policy.casefile import EvidenceCase
from placet.policy.decide import decide
from placet.policy.evidence import Dataset, Evidence, Rows
from placet.policy.fabricate import THEN, fabricate_evidence
from placet.policy.loader import parse_policy
from placet.policy.schema import Policy

HEAD = LedgerHead(size=7, root="ab" * 32)
NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)

TOP = """\
id: small
version: "1"
title: A policy
description: Says something.
risk_tier: minimal
risk: none
review: {approvals: 1, valid_days: 30, waivers_needed: 3}
"""


def policy_of(suites: str, *gates: str) -> Policy:
    lines = [f"  - {{why: because it matters, {gate}}}" for gate in gates]
    return parse_policy(f"{TOP}suites: {suites}\ngates:\n" + "\n".join(lines) + "\n")


FLOOR = policy_of("{desk: {samples: all}}", "id: job, kind: floor, suite: desk, threshold: 0.8")
NOT_WORSE = policy_of("{desk: {samples: all}}", "id: keep, kind: not_worse, suite: desk, margin: 0.05")


def evidence_of(policy: Policy, suites: dict[str, Any], **other: Any) -> Evidence:
    return fabricate_evidence(policy, EvidenceCase.model_validate({"suites": suites, **other}))


def decided(policy: Policy, evidence: Evidence) -> Verdict:
    return decide(policy, evidence, HEAD, NOW)


def only_gate(policy: Policy, evidence: Evidence) -> GateResult:
    (result,) = decided(policy, evidence).gates
    return result


def replaced(evidence: Evidence, run: Rows, **changes: Any) -> Evidence:
    """Return `evidence` with one thing changed in a measurement."""

    def mend(one: Rows) -> Rows:
        if one.record != run.record:
            return one
        return replace(one, measurement=one.measurement.model_copy(update=changes))

    return replace(
        evidence,
        runs=tuple(mend(one) for one in evidence.runs),
        base_runs=tuple(mend(one) for one in evidence.base_runs),
    )


def test_a_verdict_names_all_it_rests_on() -> None:
    evidence = evidence_of(FLOOR, {"desk": {"ones": 95, "of": 100}})
    verdict = decided(FLOOR, evidence)
    assert verdict.decision is Decision.ALLOW
    assert verdict.policy == FLOOR.ref
    assert (verdict.head, verdict.decided_at, verdict.plan) == (HEAD, NOW, evidence.plan)
    assert verdict.evidence == tuple(sorted(evidence.listed))
    assert verdict.plans_on_weights == (evidence.plan,)
    assert verdict.review.waivers_needed == 3
    (gate,) = verdict.gates
    assert gate.why == "because it matters"
    assert gate.waivers_needed == 3
    assert gate.fix == ""
    assert Verdict.from_json(verdict.to_json()) == verdict


@pytest.mark.parametrize(
    ("ones", "outcome", "decision"),
    [
        (95, Outcome.PASS, Decision.ALLOW),
        (84, Outcome.INCONCLUSIVE, Decision.NEEDS_REVIEW),
        (60, Outcome.FAIL, Decision.DENY),
    ],
)
def test_a_floor_is_judged_by_its_bounds(ones: int, outcome: Outcome, decision: Decision) -> None:
    evidence = evidence_of(FLOOR, {"desk": {"ones": ones, "of": 100}})
    verdict = decided(FLOOR, evidence)
    gate = verdict.gates[0]
    assert (gate.outcome, verdict.decision) == (outcome, decision)
    assert gate.interval is not None
    assert (gate.interval.method, gate.interval.level) == ("Clopper-Pearson", 0.9)
    assert gate.interval.low <= ones / 100 <= gate.interval.high
    assert (gate.figure, gate.threshold, gate.n) == (ones / 100, 0.8, 100)
    assert "acc is 0." in gate.reason
    assert bool(gate.fix) == (outcome is not Outcome.PASS)


def test_a_refused_floor_says_how_many_more() -> None:
    gate = only_gate(FLOOR, evidence_of(FLOOR, {"desk": {"ones": 84, "of": 100}}))
    assert gate.fix.startswith("On 100 documents at least 87 must count (now 84: 3 more).")
    assert "about" in gate.fix
    assert decided(FLOOR, evidence_of(FLOOR, {"desk": {"ones": 87, "of": 100}})).decision is Decision.ALLOW
    assert (
        decided(FLOOR, evidence_of(FLOOR, {"desk": {"ones": 86, "of": 100}})).decision is not Decision.ALLOW
    )


def test_a_floor_too_high_for_its_sample_says_so() -> None:
    gate = only_gate(FLOOR, evidence_of(FLOOR, {"desk": {"ones": 5, "of": 5}}))
    assert gate.outcome is Outcome.INCONCLUSIVE
    assert gate.fix.startswith("No result on 5 documents can show this")


@pytest.mark.parametrize(
    ("table", "outcome"),
    [
        ({"both": 150, "gained": 10, "lost": 8, "neither": 32}, Outcome.PASS),
        ({"both": 150, "gained": 8, "lost": 14, "neither": 28}, Outcome.INCONCLUSIVE),
        ({"both": 110, "gained": 5, "lost": 55, "neither": 30}, Outcome.FAIL),
    ],
)
def test_not_worse_is_judged_on_the_paired_difference(table: dict[str, int], outcome: Outcome) -> None:
    gate = only_gate(NOT_WORSE, evidence_of(NOT_WORSE, {"desk": table}))
    assert gate.outcome is outcome
    assert gate.baseline == (table["both"] + table["lost"]) / 200
    assert gate.interval is not None
    assert gate.interval.method == "Tango score, exact"
    assert gate.threshold == -0.05
    assert f"{table['gained']} better, {table['lost']} worse" in gate.reason


def test_where_less_is_better_harm_is_more() -> None:
    table = {"both": 20, "gained": 60, "lost": 2, "neither": 118}
    worse = only_gate(NOT_WORSE, evidence_of(NOT_WORSE, {"desk": {**table, "higher_is_better": False}}))
    assert worse.outcome is Outcome.FAIL
    assert "(2 better, 60 worse)" in worse.reason
    assert worse.comparison == "difference < 0.05"
    swapped = {**table, "gained": 2, "lost": 60, "higher_is_better": False}
    assert only_gate(NOT_WORSE, evidence_of(NOT_WORSE, {"desk": swapped})).outcome is Outcome.PASS


def test_other_numbers_get_students_interval() -> None:
    policy = policy_of("{desk: {samples: all}}", "id: bits, kind: ceiling, suite: desk, threshold: 3.0")
    values = [1.0 + number / 64 for number in range(40)]
    gate = only_gate(policy, evidence_of(policy, {"desk": {"values": values, "base_values": values}}))
    assert gate.outcome is Outcome.PASS
    assert gate.interval is not None
    assert gate.interval.method == "Student t"


def test_values_that_allow_no_interval_go_to_people() -> None:
    policy = policy_of("{desk: {samples: all}}", "id: bits, kind: ceiling, suite: desk, threshold: 3.0")
    few = {"values": [0.5, 0.6], "base_values": [0.5, 0.6]}
    gate = only_gate(policy, evidence_of(policy, {"desk": few}))
    assert gate.outcome is Outcome.INCONCLUSIVE
    assert "too few" in gate.reason
    paired = only_gate(NOT_WORSE, evidence_of(NOT_WORSE, {"desk": few}))
    assert paired.outcome is Outcome.INCONCLUSIVE


LEAK = "id: leak, kind: leakage, suite: desk"


@pytest.mark.parametrize(
    ("gate", "values", "base_values", "outcome"),
    [
        ("max_recovered: 1", [1, 0, 0], [0, 0, 0], Outcome.PASS),
        ("max_recovered: 1", [1, 1, 0], [0, 0, 0], Outcome.FAIL),
        ("max_recovered: 2, max_excess: 0", [1, 0, 0], [0, 1, 1], Outcome.FAIL),
        ("max_recovered: 2, max_excess: 0", [0, 1, 1], [0, 1, 1], Outcome.PASS),
        ("max_recovered: 0, exposure_bits: 3.5", [3.4, 3.4], [0, 0], Outcome.PASS),
        ("max_recovered: 0, exposure_bits: 3.5", [3.5, 0.1], [0, 0], Outcome.FAIL),
    ],
)
def test_leakage_counts_canaries(
    gate: str, values: list[float], base_values: list[float], outcome: Outcome
) -> None:
    policy = policy_of("{desk: {samples: all}}", f"{LEAK}, {gate}")
    result = only_gate(policy, evidence_of(policy, {"desk": {"values": values, "base_values": base_values}}))
    assert result.outcome is outcome
    assert result.interval is None


def test_exposures_without_a_limit_cannot_be_judged() -> None:
    policy = policy_of("{desk: {samples: all}}", f"{LEAK}, max_recovered: 1")
    with pytest.raises(UndecidedError, match="not 0 or 1 for each canary"):
        decided(policy, evidence_of(policy, {"desk": {"values": [2.5, 1], "base_values": [0, 0]}}))


PROVENANCE = policy_of("{}", "id: origin, kind: provenance")


@pytest.mark.parametrize(
    ("provenance", "outcome", "reason"),
    [
        ("signed", Outcome.PASS, "A trainer signed how these weights were trained on this base."),
        ("continued", Outcome.PASS, "and for 1 adapter it was continued from"),
        ("missing", Outcome.MISSING, "no training statement signed by a trainer"),
        ("unsigned", Outcome.MISSING, "(1 statement not signed by a trainer)"),
        ("parent-missing", Outcome.MISSING, "Parent adapter"),
        ("other-base", Outcome.FAIL, "was trained on base"),
    ],
)
def test_provenance_follows_the_chain(provenance: str, outcome: Outcome, reason: str) -> None:
    gate = only_gate(PROVENANCE, evidence_of(PROVENANCE, {}, provenance=provenance))
    assert gate.outcome is outcome
    assert reason in gate.reason


def test_statements_that_contradict_each_other_fail() -> None:
    evidence = evidence_of(PROVENANCE, {})
    (own,) = evidence.training
    other = replace(own, record=digest_bytes(b"second"), parents=(digest_bytes(b"parent"),))
    both = replace(evidence, training=(own, other), listed=(*evidence.listed, other.record))
    gate = only_gate(PROVENANCE, both)
    assert gate.outcome is Outcome.FAIL
    assert "contradict" in gate.reason
    assert set(gate.evidence) == {own.record, other.record}


def test_a_circle_of_parents_fails() -> None:
    evidence = evidence_of(PROVENANCE, {})
    (own,) = evidence.training
    circle = replace(evidence, training=(replace(own, parents=(own.weights_id,)),))
    assert "its own ancestor" in only_gate(PROVENANCE, circle).reason


LICENCES = policy_of("{}", "id: licences, kind: license, allow: [Apache-2.0, CC-BY-4.0]")
SEEN = policy_of("{desk: {samples: all}}", "id: seen, kind: contamination, suite: desk, max_share: 0.1")


@pytest.mark.parametrize("policy", [LICENCES, SEEN], ids=["license", "contamination"])
def test_what_an_ancestor_was_trained_on_cannot_be_left_out(policy: Policy) -> None:
    suites = {"desk": {"ones": 90, "of": 100}} if policy.suites else {}
    whole = evidence_of(policy, suites, provenance="continued")
    assert decided(policy, whole).decision is Decision.ALLOW
    own, parent = whole.training
    fewer = replace(whole, training=(own,))
    gate = only_gate(policy, replace(fewer, listed=tuple(fewer.records())))
    assert gate.outcome is Outcome.MISSING
    assert gate.reason.startswith("Parent adapter ")
    assert gate.reason.endswith("has no training statement signed by a trainer.")
    # Nor does somebody else's word on the parent count.
    unsigned = replace(whole, training=(own, replace(parent, by_trainer=False)))
    gate = only_gate(policy, unsigned)
    assert gate.outcome is Outcome.MISSING
    assert gate.reason.endswith("(1 statement not signed by a trainer).")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"datasets": (digest_bytes(b"some of it"),)}, "was not compared with desk by 13 words in a row"),
        ({"ngram": 8}, "was not compared with desk by 13 words in a row"),
        ({"subject": digest_bytes(b"other weights")}, "was not compared with desk by 13 words in a row"),
        ({"documents": 99}, "was not compared with desk by 13 words in a row"),
        (
            {"suite": SuiteRef(id="desk", version="1", digest=digest_bytes(b"x"))},
            "was not compared with desk",
        ),
    ],
)
def test_only_a_comparison_of_all_this_data_with_this_suite_in_this_way_counts(
    changes: dict[str, Any], reason: str | None
) -> None:
    evidence = evidence_of(SEEN, {"desk": {"ones": 90, "of": 100}})
    (compared,) = evidence.overlaps
    other = replace(compared, overlap=compared.overlap.model_copy(update=changes))
    gate = only_gate(SEEN, replace(evidence, overlaps=(other,)))
    assert gate.outcome is (Outcome.PASS if reason is None else Outcome.MISSING)
    assert reason is None or reason in gate.reason


def test_data_of_every_ancestor_has_to_be_compared() -> None:
    evidence = evidence_of(SEEN, {"desk": {"ones": 90, "of": 100}}, provenance="continued")
    own, parent = evidence.training
    more = replace(parent, datasets=(*parent.datasets, Dataset("older", digest_bytes(b"older"), None)))
    gate = only_gate(SEEN, replace(evidence, training=(own, more)))
    assert gate.outcome is Outcome.MISSING
    assert "was not compared with desk" in gate.reason


SUPPORTED = policy_of("{}", "id: support, kind: base_supported")


@pytest.mark.parametrize(
    ("later", "outcome"),
    [
        (timedelta(seconds=-1), Outcome.PASS),
        (timedelta(0), Outcome.FAIL),
        (timedelta(seconds=1), Outcome.FAIL),
    ],
)
def test_support_ends_at_the_moment_it_is_said_to_end(later: timedelta, outcome: Outcome) -> None:
    evidence = evidence_of(SUPPORTED, {}, base_status="ending")
    (gate,) = decide(SUPPORTED, evidence, HEAD, THEN + later).gates
    assert gate.outcome is outcome
    assert ("its support ended on 2026-01-01" in gate.reason) == (outcome is Outcome.FAIL)


@pytest.mark.parametrize("policy", [LICENCES, SEEN], ids=["license", "contamination"])
def test_an_ancestors_ancestor_is_asked_for_too(policy: Policy) -> None:
    suites = {"desk": {"ones": 90, "of": 100}} if policy.suites else {}
    whole = evidence_of(policy, suites, provenance="continued")
    own, parent = whole.training
    older = replace(parent, parents=(digest_bytes(b"older"),))
    gate = only_gate(policy, replace(whole, training=(own, older)))
    assert gate.outcome is Outcome.MISSING
    assert "Parent adapter " in gate.reason
    # A circle ends: `provenance` is the gate that refuses it.
    circle = replace(parent, parents=(own.weights_id,))
    assert only_gate(policy, replace(whole, training=(own, circle))).outcome is Outcome.PASS


INTAKE = policy_of("{}", "id: files, kind: intake")


@pytest.mark.parametrize(
    ("intake", "outcome"),
    [
        ("clean", Outcome.PASS),
        ("warned", Outcome.PASS),
        ("refused", Outcome.FAIL),
        ("missing", Outcome.MISSING),
    ],
)
def test_intake_findings_refuse(intake: str, outcome: Outcome) -> None:
    assert only_gate(INTAKE, evidence_of(INTAKE, {}, intake=intake)).outcome is outcome


def test_a_check_the_policy_names_must_have_run() -> None:
    policy = policy_of("{}", "id: files, kind: intake, checks: [made-up, tensors]")
    gate = only_gate(policy, evidence_of(policy, {}))
    assert gate.outcome is Outcome.MISSING
    assert "Intake did not run tensors." in gate.reason


def test_intake_of_other_bytes_cannot_be_judged() -> None:
    evidence = evidence_of(INTAKE, {})
    assert evidence.intake is not None
    adapter = evidence.adapter.model_copy(update={"id": digest_bytes(b"other")})
    other = replace(evidence.intake, intake=evidence.intake.intake.model_copy(update={"adapter": adapter}))
    with pytest.raises(UndecidedError, match="about other bytes"):
        decided(INTAKE, replace(evidence, intake=other))


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({"samples": tuple(range(100))}, Outcome.MISSING, "in a given order"),
        ({"suite": None}, Outcome.MISSING, "and the plan says"),
    ],
)
def test_a_run_other_than_planned_is_missing(changes: dict[str, Any], outcome: Outcome, reason: str) -> None:
    evidence = evidence_of(FLOOR, {"desk": {"ones": 95, "of": 100}})
    (run,) = evidence.runs
    if "suite" in changes:
        changes = {"suite": run.measurement.suite.model_copy(update={"digest": digest_bytes(b"edited")})}
    gate = only_gate(FLOOR, replaced(evidence, run, **changes))
    assert gate.outcome is outcome
    assert reason in gate.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n": 99}, "says 99 documents, names 100 and has 100 values"),
        ({"mean": 0.9}, "the mean on record is not that of its values"),
        ({"samples": (5,) * 100}, "counts a document twice"),
        ({"subject": digest_bytes(b"other")}, "is of another subject"),
        ({"subject_kind": "base"}, "is of another subject"),
    ],
)
def test_a_run_that_does_not_fit_its_record_cannot_be_judged(changes: dict[str, Any], reason: str) -> None:
    evidence = evidence_of(FLOOR, {"desk": {"ones": 95, "of": 100}})
    with pytest.raises(UndecidedError, match=reason):
        decided(FLOOR, replaced(evidence, evidence.runs[0], **changes))


def test_a_value_that_is_no_number_cannot_be_judged() -> None:
    evidence = evidence_of(FLOOR, {"desk": {"ones": 95, "of": 100}})
    (run,) = evidence.runs
    broken = replace(run, values=(float("nan"), *run.values[1:]))
    with pytest.raises(UndecidedError, match="no usable value for document"):
        decided(FLOOR, replace(evidence, runs=(broken,)))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"subject": digest_bytes(b"other")}, "is of another subject"),
        ({"mean": 0.1}, "the mean on record"),
    ],
)
def test_a_base_run_that_does_not_pair_cannot_be_judged(changes: dict[str, Any], reason: str) -> None:
    evidence = evidence_of(NOT_WORSE, {"desk": {"both": 90, "gained": 5, "lost": 2, "neither": 3}})
    with pytest.raises(UndecidedError, match=reason):
        decided(NOT_WORSE, replaced(evidence, evidence.base_runs[0], **changes))


def test_the_base_may_have_run_in_another_order() -> None:
    evidence = evidence_of(NOT_WORSE, {"desk": {"both": 90, "gained": 5, "lost": 2, "neither": 3}})
    (base,) = evidence.base_runs
    turned = replace(
        base,
        measurement=base.measurement.model_copy(update={"samples": base.measurement.samples[::-1]}),
        values=base.values[::-1],
    )
    assert decided(NOT_WORSE, replace(evidence, base_runs=(turned,))) == decided(NOT_WORSE, evidence)


def test_a_plan_smaller_than_the_policy_asks_is_missing() -> None:
    policy = policy_of("{desk: {samples: 200}}", "id: job, kind: floor, suite: desk, threshold: 0.8")
    gate = only_gate(policy, evidence_of(policy, {"desk": {"ones": 95, "of": 100}}))
    assert gate.outcome is Outcome.MISSING
    assert gate.reason == "The policy asks for 200 documents of desk; the plan has 100."


def test_two_metrics_need_a_name() -> None:
    evidence = evidence_of(FLOOR, {"desk": {"ones": 95, "of": 100}})
    (run,) = evidence.runs
    second = Rows(
        digest_bytes(b"second"), run.measurement.model_copy(update={"metric": "acc_norm"}), run.values
    )
    both = replace(evidence, runs=(run, second), listed=(*evidence.listed, second.record))
    with pytest.raises(UndecidedError, match="reports acc, acc_norm"):
        decided(FLOOR, both)
    named = policy_of(
        "{desk: {samples: all}}", "id: job, kind: floor, suite: desk, metric: acc, threshold: 0.8"
    )
    plan = both.plans[0].plan.model_copy(update={"policy": named.ref})
    again = replace(both, policy=named.ref, plans=(replace(both.plans[0], plan=plan),))
    assert only_gate(named, again).outcome is Outcome.PASS


def test_an_optional_gate_is_judged_and_does_not_decide() -> None:
    policy = policy_of(
        "{desk: {samples: all}}",
        "id: files, kind: intake",
        "id: job, kind: floor, suite: desk, threshold: 0.8, required: false",
    )
    verdict = decided(policy, evidence_of(policy, {"desk": {"ones": 1, "of": 100}}))
    assert verdict.decision is Decision.ALLOW
    assert [(gate.outcome, gate.required) for gate in verdict.gates] == [
        (Outcome.PASS, True),
        (Outcome.FAIL, False),
    ]


def test_a_gates_own_number_of_waivers_counts() -> None:
    policy = policy_of(
        "{desk: {samples: all}}",
        "id: job, kind: floor, suite: desk, threshold: 0.8, waivable: true, waivers: 1",
    )
    gate = only_gate(policy, evidence_of(policy, {"desk": {"ones": 84, "of": 100}}))
    assert (gate.waivable, gate.waivers_needed) == (True, 1)


# --- runs and plans that must not be left out ------------------------------------------------------------


def test_the_worst_run_on_the_same_weights_counts() -> None:
    evidence = evidence_of(
        FLOOR, {"desk": {"ones": 95, "of": 100}}, earlier={"desk": {"ones": 60, "of": 100}}
    )
    gate = only_gate(FLOOR, evidence)
    assert gate.outcome is Outcome.FAIL
    assert "another plan on the same weights" in gate.reason
    assert "this plan's own run gives PASS" in gate.reason
    assert "disagree on 35 of 100 shared documents" in gate.reason
    assert {plan.record for plan in evidence.plans} < set(gate.evidence)


def test_a_plan_under_another_policy_counts_too() -> None:
    evidence = evidence_of(
        FLOOR, {"desk": {"ones": 95, "of": 100}}, earlier={"desk": {"ones": 60, "of": 100}}
    )
    earlier, own = evidence.plans
    other = earlier.plan.policy.model_copy(update={"digest": digest_bytes(b"other policy")})
    moved = replace(earlier, plan=earlier.plan.model_copy(update={"policy": other}))
    verdict = decided(FLOOR, replace(evidence, plans=(moved, own)))
    assert verdict.decision is Decision.DENY
    assert f"{earlier.record[7:19]} of policy small 1 " in verdict.gates[0].reason
    assert verdict.plans_on_weights == (earlier.record, own.record)


def test_a_plan_without_a_result_leaves_it_open() -> None:
    evidence = evidence_of(
        FLOOR,
        {"desk": {"ones": 95, "of": 100}},
        earlier={"desk": {"ones": 60, "of": 100, "state": "missing"}},
    )
    gate = only_gate(FLOOR, evidence)
    assert gate.outcome is Outcome.INCONCLUSIVE
    assert "no result of it was logged" in gate.reason


def test_a_second_base_run_that_is_better_counts() -> None:
    evidence = evidence_of(NOT_WORSE, {"desk": {"both": 90, "gained": 8, "lost": 0, "neither": 102}})
    (base,) = evidence.base_runs
    better = Rows(
        digest_bytes(b"second base"),
        base.measurement.model_copy(update={"mean": 1.0}),
        (1.0,) * len(base.values),
    )
    both = replace(evidence, base_runs=(base, better), listed=(*evidence.listed, better.record))
    gate = only_gate(NOT_WORSE, both)
    assert gate.outcome is Outcome.FAIL
    assert {base.record, better.record} <= set(gate.evidence)


# --- evidence that is not whole --------------------------------------------------------------------------


def whole() -> Evidence:
    return evidence_of(FLOOR, {"desk": {"ones": 95, "of": 100}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda e: replace(e, listed=(*e.listed, digest_bytes(b"hidden"))), "on the ledger and not given"),
        (lambda e: replace(e, listed=e.listed[1:]), "given and not on the ledger"),
        (lambda e: replace(e, plan=digest_bytes(b"none")), "is not among the evidence"),
        (lambda e: replace(e, runs=(*e.runs, *e.runs)), "given twice"),
        (lambda e: replace(e, policy=NOT_WORSE.ref), "gathered for another policy"),
        (
            lambda e: replace(e, adapter=e.adapter.model_copy(update={"id": digest_bytes(b"other")})),
            "names another adapter, base or policy",
        ),
        (
            lambda e: replace(e, adapter=e.adapter.model_copy(update={"weights_id": digest_bytes(b"other")})),
            "is about other weights",
        ),
        (
            lambda e: replaced(e, e.runs[0], plan=digest_bytes(b"none")),
            "belongs to no plan that is given",
        ),
    ],
)
def test_evidence_that_is_not_whole_decides_nothing(change: Any, reason: str) -> None:
    with pytest.raises(UndecidedError, match=reason) as caught:
        decided(FLOOR, change(whole()))
    assert caught.value.hint


def test_a_suite_that_broke_decides_nothing() -> None:
    with pytest.raises(UndecidedError, match=r"Gate job: desk could not be measured: out of memory\."):
        decided(FLOOR, replace(whole(), errors={"desk": "out of memory"}))


def test_a_plan_that_leaves_documents_out_of_a_suite_asked_for_whole_is_missing_evidence() -> None:
    evidence = evidence_of(FLOOR, {"desk": {"ones": 100, "of": 100}})
    (entry,) = evidence.plans
    (planned,) = entry.plan.suites
    longer = entry.plan.model_copy(update={"suites": (planned.model_copy(update={"documents": 101}),)})
    gate = only_gate(FLOOR, replace(evidence, plans=(replace(entry, plan=longer),)))
    assert gate.outcome is Outcome.MISSING
    assert "asks for 101 documents of desk; the plan has 100" in gate.reason


def test_a_plan_that_measures_otherwise_than_the_policy_says_is_missing_evidence() -> None:
    plain = "{desk: {samples: all}}"
    clustered = "{desk: {samples: all, cluster: patient}}"
    sequential = "{desk: {samples: all, mode: sequential, claim: CLAIM}}"
    benchmark, population = (sequential.replace("CLAIM", one) for one in ("benchmark", "population"))
    for asked, planned, reason in (
        (clustered, plain, "measured with cluster patient; the plan says none"),
        (plain, clustered, "measured with cluster none; the plan says patient"),
        (plain, benchmark, "measured with mode fixed; the plan says sequential"),
        (benchmark, plain, "measured with mode sequential; the plan says fixed"),
        (population, benchmark, "measured with claim population; the plan says benchmark"),
    ):
        gate = "id: job, kind: floor, suite: desk, threshold: 0.5"
        policy, other = policy_of(asked, gate), policy_of(planned, gate)
        evidence = evidence_of(other, {"desk": {"ones": 95, "of": 100}})
        assert decided(other, evidence).decision is Decision.ALLOW, planned
        (entry,) = evidence.plans
        moved = replace(entry, plan=entry.plan.model_copy(update={"policy": policy.ref}))
        result = only_gate(policy, replace(evidence, policy=policy.ref, plans=(moved,)))
        assert result.outcome is Outcome.MISSING, (asked, planned)
        assert reason in result.reason


@pytest.mark.parametrize("left", [None, "none of the column", "some of a group"])
def test_clusters_that_the_plan_does_not_tell_are_missing_evidence(left: str | None) -> None:
    policy = policy_of(
        "{desk: {samples: all, cluster: patient}}", "id: job, kind: floor, suite: desk, threshold: 0.5"
    )
    evidence = evidence_of(policy, {"desk": {"ones": 95, "of": 100}})
    (entry,) = evidence.plans
    (planned,) = entry.plan.suites
    groups = {
        None: None,
        "none of the column": {"kind": {"x": planned.samples}},
        "some of a group": {"patient": {"x": planned.samples[1:]}},
    }[left]
    plan = entry.plan.model_copy(update={"suites": (planned.model_copy(update={"groups": groups}),)})
    result = only_gate(policy, replace(evidence, plans=(replace(entry, plan=plan),)))
    assert result.outcome is Outcome.MISSING
    assert result.reason == "The plan does not say which documents of desk belong to which patient."


def test_documents_that_were_not_drawn_are_missing_evidence() -> None:
    evidence = evidence_of(FLOOR, {"desk": {"ones": 95, "of": 100}})
    (entry,) = evidence.plans
    chosen = replace(evidence, plans=(replace(entry, drawn_otherwise=frozenset({"desk"})),))
    gate = only_gate(FLOOR, chosen)
    assert gate.outcome is Outcome.MISSING
    assert "are not those that its ledger state and draw give" in gate.reason
