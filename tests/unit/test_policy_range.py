"""What values a metric can have is what its suite declares: never judged from the values that came."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from placet.domain.errors import UndecidedError
from placet.domain.records import LedgerHead, Outcome, PlannedSuite
from placet.policy.casefile import EvidenceCase
from placet.policy.decide import decide
from placet.policy.evidence import Evidence
from placet.policy.fabricate import THEN, fabricate_evidence
from placet.policy.facts import facts_of
from placet.policy.schema import Policy
from placet.policy.simulate import decide_anew, difference_outcome, simulate
from placet.policy.stopping import Watch
from placet.stats.exact import exact_interval
from tests.support.policies import small_policy

HEAD = LedgerHead(size=1, root="0" * 64)
SEQUENTIAL = {"samples": "all", "mode": "sequential", "claim": "population"}


def policy_of(sampling: dict[str, Any], **gate: Any) -> Policy:
    return small_policy({"a": sampling}, [{"id": "it", "suite": "a", "why": "w", **gate}])


CEILING = {"kind": "ceiling", "threshold": 0.6}


def made(policy: Policy, **suite: Any) -> Evidence:
    return fabricate_evidence(policy, EvidenceCase.model_validate({"suites": {"a": suite}}))


def with_plan(evidence: Evidence, **changes: Any) -> Evidence:
    (entry,) = evidence.plans
    suites = tuple(one.model_copy(update=changes) for one in entry.plan.suites)
    return replace(evidence, plans=(replace(entry, plan=entry.plan.model_copy(update={"suites": suites})),))


def rare(chance: random.Random, n: int = 600) -> list[float]:
    """Values of a metric without an upper end: 0.3, and 50 for one document in a hundred; their mean is 0.797."""
    return [50.0 if chance.random() < 0.01 else 0.3 for _ in range(n)]


def test_a_sequential_gate_is_not_decided_where_no_range_between_0_and_1_is_declared() -> None:
    # Until a 50 comes, all values are in [0, 1], and a test that believes them passes a mean of 0.797 under 0.6.
    policy = policy_of(SEQUENTIAL, **CEILING)
    values = [value for value in rare(random.Random(2)) if value < 1.0]
    evidence = made(policy, values=values, base_values=values)
    with pytest.raises(UndecidedError, match="does not say that a reports values between 0 and 1"):
        decide(policy, evidence, HEAD, THEN)
    with pytest.raises(UndecidedError, match="does not say that a reports values between 0 and 1"):
        decide(policy, with_plan(evidence, value_range=(0.0, 50.0)), HEAD, THEN)
    declared = with_plan(evidence, value_range=(0.0, 1.0))
    assert decide(policy, declared, HEAD, THEN).gates[0].outcome is Outcome.PASS
    (verdict, old) = (
        decide(policy_of({"samples": "all"}, **CEILING), fixed(values), HEAD, THEN),
        fixed(values),
    )
    assert decide_anew(policy, verdict, old)[0] == "undecided"


def fixed(values: list[float]) -> Evidence:
    return made(policy_of({"samples": "all"}, **CEILING), values=values, base_values=values)


@pytest.mark.parametrize("sampling", [SEQUENTIAL, {"samples": "all"}, {"samples": "all", "cluster": "page"}])
def test_a_value_outside_the_declared_range_is_an_error_of_the_suite(sampling: dict[str, Any]) -> None:
    policy = policy_of(sampling, **CEILING)
    values = [0.3, 0.4] * 50 + [50.0]
    evidence = made(policy, values=values, base_values=values, range=[0, 1])
    with pytest.raises(UndecidedError, match="has 50 for document 0, outside the range of 0 to 1") as caught:
        decide(policy, evidence, HEAD, THEN)
    assert "Mend the scorer, or the `range` in the suite's manifest" in caught.value.hint


def test_a_value_of_the_base_outside_the_declared_range_is_an_error_too() -> None:
    policy = policy_of({"samples": "all"}, kind="not_worse", margin=0.1)
    evidence = made(policy, values=[0.3, 0.4] * 50, base_values=[0.3, 0.4] * 49 + [0.3, 50.0], range=[0, 1])
    with pytest.raises(UndecidedError, match="has 50 for document 0, outside the range"):
        decide(policy, evidence, HEAD, THEN)


def test_a_run_of_a_suite_without_a_range_does_not_stop_early() -> None:
    policy = policy_of(SEQUENTIAL, **CEILING)
    values = [0.3] * 600
    declared = made(policy, values=values, base_values=values, range=[0, 1])
    (planned,) = declared.plans[0].plan.suites

    def taken(planned: PlannedSuite, values: list[float]) -> int:
        watch = Watch(policy, planned, (), higher_is_better=False)
        for number, value in enumerate(values, start=1):
            watch.take([value], {})
            if watch.settled:
                return number
        return len(values) + 1

    stopped = taken(planned, values)
    assert stopped == decide(policy, declared, HEAD, THEN).gates[0].n < 600
    assert taken(planned.model_copy(update={"value_range": None}), values) == 601
    # A value outside ends it as well: the verdict will say so, and until then everything is run.
    assert taken(planned, [50.0, *values]) == 602


@pytest.mark.parametrize("lacking", ["value_range", "largest_groups"])
def test_few_clusters_are_inconclusive_where_range_or_size_is_not_declared(lacking: str) -> None:
    policy = policy_of({"samples": "all", "cluster": "page"}, kind="floor", threshold=0.5)
    evidence = made(policy, ones=60, of=60, cluster_size=5)
    assert decide(policy, evidence, HEAD, THEN).gates[0].outcome is Outcome.PASS
    (gate,) = decide(policy, with_plan(evidence, **{lacking: None}), HEAD, THEN).gates
    assert gate.outcome is Outcome.INCONCLUSIVE
    assert "is not declared" in gate.reason
    assert "suite's manifest" in gate.fix


def test_few_clusters_rest_on_the_largest_there_can_be() -> None:
    policy = policy_of({"samples": "all", "cluster": "page"}, kind="floor", threshold=0.5)
    evidence = made(policy, ones=60, of=60, cluster_size=5)
    (near,) = decide(policy, evidence, HEAD, THEN).gates
    (far,) = decide(policy, with_plan(evidence, largest_groups={"page": 30}), HEAD, THEN).gates
    assert near.interval is not None
    assert far.interval is not None
    assert far.interval.low < near.interval.low
    with pytest.raises(
        UndecidedError, match="The plan has 5 documents of a with page c0, and says that no group"
    ):
        decide(policy, with_plan(evidence, largest_groups={"page": 4}), HEAD, THEN)


def test_counts_of_a_metric_that_goes_beyond_0_and_1_are_not_kept_as_counts() -> None:
    policy = policy_of({"samples": "all"}, **CEILING)
    values = [0.0] * 50 + [1.0] * 10
    for within, kept in (((0.0, 1.0), True), (None, True), ((0.0, 50.0), False)):
        evidence = with_plan(made(policy, values=values, base_values=values), value_range=within)
        verdict = decide(policy, evidence, HEAD, THEN)
        assert bool(facts_of(policy, verdict, evidence.plan, evidence).suites) is kept
        assert verdict.gates[0].outcome is (Outcome.PASS if kept else Outcome.INCONCLUSIVE)
        stricter = policy_of({"samples": "all"}, kind="ceiling", threshold=0.5)
        done = simulate(
            stricter,
            [facts_of(policy, verdict, evidence.plan, evidence)],
            lambda _, held=(verdict, evidence): held,
        )
        assert done.from_counts == int(kept)
        assert done.flips == ()


def test_outcome_interval_and_simulation_agree_at_every_margin() -> None:
    # 12 of 120 documents differ; of each margin the last table that passes and the first that does not, and mirrored.
    from placet.policy.differences import outcome_of
    from placet.stats.exact import least_gained

    seen = set()
    for margin in (step / 1000 for step in range(1, 201)):
        least = least_gained(12, 120, margin, 0.05)
        for gained in {max(0, least - 1), min(least, 12)}:
            for one, other, limit in ((gained, 12 - gained, -margin), (12 - gained, gained, margin)):
                bounds = exact_interval(one, other, 120, 0.05, limit).rounded_outward()
                outcome = difference_outcome(one, other, 120, limit, 0.05)
                assert outcome_of(bounds, limit) is outcome, (one, other, limit)
                seen.add(outcome)
    assert seen == {Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE}


def test_a_margin_that_is_just_kept_is_recorded_as_kept() -> None:
    # The bound is a hair above -0.01; rounded for the record to -0.01 itself, the gate would have been open.
    policy = policy_of({"samples": "all"}, kind="not_worse", margin=0.01)
    evidence = made(policy, both=400, gained=120, lost=104, neither=245)
    verdict = decide(policy, evidence, HEAD, THEN)
    (gate,) = verdict.gates
    assert gate.outcome is Outcome.PASS
    assert gate.interval is not None
    assert gate.interval.low == -0.009999
    assert difference_outcome(120, 104, 869, -0.01, 0.05) is Outcome.PASS
    assert decide_anew(policy, verdict, evidence)[0] == "ALLOW"


@pytest.mark.parametrize("step", range(1, 201))
def test_the_next_number_a_record_holds_is_on_the_other_side_of_every_margin(step: int) -> None:
    from unittest.mock import patch

    limit = -step / 1000
    with patch("placet.stats.exact._p_value", lambda *table: 0.0 if table[3] <= limit else 1.0):
        bounds = exact_interval(50, 20, 400, 0.05, limit).rounded_outward()
    assert limit < bounds.low <= limit + 2e-6
