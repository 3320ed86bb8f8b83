"""Before running: sizes that cannot be had and gates that cannot show what they ask."""

from __future__ import annotations

import re

import numpy as np
import pytest

from placet.domain.errors import UsageError
from placet.domain.records import Outcome
from placet.policy.forecasts import expected_documents
from placet.policy.gates.subgroups import SMALL, SubgroupsGate, outcome_by_group
from placet.policy.loader import parse_policy
from placet.policy.notes import SampleNote
from placet.policy.planning import review_samples, sample_sizes
from placet.policy.schema import Policy
from placet.stats.census import known_rate
from placet.stats.planning import detectable_gain, planned_power
from placet.stats.sequential import Claim, Kind, SequentialDesign
from placet.stats.simulation import forecast_not_worse

TEXT = """\
id: small
version: "1"
title: A policy
description: Says something.
risk_tier: minimal
risk: none
review: {approvals: 1, valid_days: 30}
underpowered: mark
suites:
  desk: {samples: all}
  general: {samples: 100}
gates:
  - {id: files, kind: intake, why: files first}
  - {id: job, kind: floor, suite: desk, metric: acc, threshold: 0.8, why: it has a job}
  - {id: calm, kind: ceiling, suite: desk, metric: refusals, threshold: 0.1, why: it should answer}
  - {id: keep, kind: not_worse, suite: general, margin: 0.05, why: it should not forget}
"""


@pytest.fixture
def policy() -> Policy:
    return parse_policy(TEXT)


def test_sizes_come_from_policy_and_suites(policy: Policy) -> None:
    assert sample_sizes(policy, {"desk": 120, "general": 300, "spare": 9}) == {"desk": 120, "general": 100}


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ({"desk": 120}, "needs suite general, which is not known"),
        ({"desk": 120, "general": 99}, "draws 100 documents of general, which has 99"),
        ({"desk": 0, "general": 100}, "draws all documents of desk, which has 0"),
    ],
)
def test_sizes_that_cannot_be_had_are_refused(
    policy: Policy, documents: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        sample_sizes(policy, documents)


def test_each_statistical_gate_is_told_what_its_sample_can_show(policy: Policy) -> None:
    job, calm, keep = review_samples(policy, {"desk": 120, "general": 100})
    assert (job.gate, job.n, job.adequate) == ("job", 120, True)
    assert job.text == "at least 104 of 120 documents must count to show the floor of 0.8"
    assert (job.detectable, job.least) == (0.8866, "mean 0.8866")
    assert calm.text.startswith("at most ")
    assert not keep.adequate
    assert "below 0.8; it takes about " in keep.text
    assert keep.text.endswith("or a margin of 0.0893")
    assert keep.least == "margin 0.0893"


def test_a_sample_too_small_for_any_result_is_marked(policy: Policy) -> None:
    job, calm, _ = review_samples(policy, {"desk": 10, "general": 1000})
    assert not job.adequate
    assert not calm.adequate
    assert job.text == "no result on 10 documents can show the floor of 0.8"


def test_a_policy_may_refuse_such_a_sample() -> None:
    strict = parse_policy(TEXT.replace("underpowered: mark", "underpowered: refuse"))
    with pytest.raises(UsageError, match="gate keep: on 100 documents"):
        review_samples(strict, {"desk": 120, "general": 100})
    assert len(review_samples(strict, {"desk": 120, "general": 1000})) == 3


def test_an_optional_gate_is_marked_and_not_refused() -> None:
    text = TEXT.replace("underpowered: mark", "underpowered: refuse").replace(
        "margin: 0.05", "margin: 0.05, required: false"
    )
    assert not review_samples(parse_policy(text), {"desk": 120, "general": 100})[2].adequate


@pytest.mark.parametrize("claim", ["benchmark", "population"])
def test_a_sequential_floor_is_told_what_it_takes_too(claim: str) -> None:
    text = TEXT.replace("desk: {samples: all}", f"desk: {{samples: all, mode: sequential, claim: {claim}}}")
    sequential = parse_policy(text)
    job, calm, _ = review_samples(sequential, {"desk": 1000, "general": 1000})
    assert "which as many fixed documents would just show, is expected to need" in job.text
    assert "with a true mean of 0.8315" in job.text
    assert "nine runs of ten" in calm.text
    expected = expected_documents(sequential, "desk", 1000)
    assert 100 < expected <= 1000
    assert expected % 50 == 0
    if claim == "benchmark":
        assert job.adequate, "in the end the mean over these documents is known"
        assert expected < 1000
        assert job.detectable == known_rate(1000, 0.8)
    else:
        assert job.detectable is not None
        assert 0.8315 <= job.detectable < 0.86, "looking all the time costs a little, and not much"


def test_a_gain_asked_for_is_planned() -> None:
    text = TEXT.replace(
        "kind: not_worse, suite: general, margin: 0.05", "kind: better, suite: general, by: 0.05"
    )
    *_, gain = review_samples(parse_policy(text), {"desk": 120, "general": 300})
    assert "passes the gain of 0.05 asked for with probability 1.00" in gain.text
    assert gain.measures == "gain"
    assert gain.detectable == detectable_gain(300, 0.05, 0.3)


SEQUENTIAL = TEXT.replace(
    "general: {samples: 100}", "general: {samples: all, mode: sequential, claim: CLAIM}"
)


def _keep(claim: str, margin: str, documents: int, samples: str = "all", limits: str = "") -> SampleNote:
    text = SEQUENTIAL.replace("CLAIM", claim).replace("margin: 0.05", f"margin: {margin}{limits}")
    text = text.replace("general: {samples: all", f"general: {{samples: {samples}")
    sizes = {"desk": 120, "general": documents if samples == "all" else int(samples)}
    *_, note = review_samples(parse_policy(text), sizes, {"desk": 120, "general": documents})
    return note


@pytest.mark.parametrize(
    ("claim", "samples"), [("benchmark", "all"), ("benchmark", "300"), ("population", "all")]
)
def test_the_least_margin_of_a_sequential_gate_is_that_of_its_own_test(claim: str, samples: str) -> None:
    note = _keep(claim, "0.05", 400, samples)
    assert note.measures == "margin"
    assert note.detectable is not None
    for margin, pass_ in ((note.detectable * 1.2, True), (note.detectable * 0.8, False)):
        design = SequentialDesign(
            Kind.NOT_WORSE,
            round(margin, 4),
            400,
            planned=None if samples == "all" else int(samples),
            claim=Claim(claim),
            expected=0.0,
        )
        # Other adapters than those that the note was worked out with.
        found = forecast_not_worse(design, 0.0, 0.1, runs=1000, seed=7, drawn=True)
        assert (found.passes > 0.8) is pass_, (margin, found.passes)


def test_a_sequential_gate_that_cannot_show_its_margin_is_marked_and_may_be_refused() -> None:
    small = _keep("benchmark", "0.01", 100)
    assert not small.adequate
    assert "below 0.8; it takes about" in small.text
    assert small.text.endswith(f"or a margin of {small.detectable:g}")
    assert _keep("benchmark", "0.05", 100).adequate
    many = _keep("population", "0.03", 300)
    assert not many.adequate
    assert "it takes more than" in many.text
    strict = SEQUENTIAL.replace("CLAIM", "benchmark").replace("margin: 0.05", "margin: 0.01")
    strict = strict.replace("underpowered: mark", "underpowered: refuse")
    with pytest.raises(UsageError, match=r"gate keep: an adapter that differs on 0\.1 of the documents"):
        review_samples(parse_policy(strict), {"desk": 120, "general": 100})


def test_a_sequential_floor_that_nothing_shows_is_not_left_out() -> None:
    text = TEXT.replace("desk: {samples: all}", "desk: {samples: 10, mode: sequential, claim: population}")
    job, *_ = review_samples(parse_policy(text), {"desk": 10, "general": 1000}, {"desk": 50, "general": 1000})
    assert not job.adequate
    assert job.text == "no result on 10 documents can show the floor of 0.8, whenever it stops"


GROUPS = TEXT.replace("kind: not_worse", "kind: subgroups, by: place")


def _groups(sizes: dict[str, int] | None, text: str = GROUPS) -> SampleNote:
    n = sum(sizes.values()) if sizes else 600
    groups = {} if sizes is None else {"general": {"place": sizes}}
    *_, note = review_samples(parse_policy(text), {"desk": 120, "general": n}, None, groups)
    return note


def test_a_gate_on_groups_is_told_what_the_smallest_can_show() -> None:
    note = _groups({"east": 400, "north": 60, "south": 60})
    assert (note.n, note.adequate, note.measures) == (60, False, "margin")
    assert "the smallest of 3 groups by place is north with 60 documents" in note.text
    assert "below 0.8; each group takes about" in note.text
    assert [group.name for group in note.groups] == ["east", "north", "south"]
    assert note.groups[0].detectable < note.groups[1].detectable < note.detectable


def test_what_groups_show_is_what_the_gate_decides() -> None:
    sizes = {"east": 70, "west": 50}
    note = _groups(sizes)
    assert note.detectable is not None
    gate = parse_policy(GROUPS.replace("margin: 0.05", f"margin: {note.detectable}")).gates[-1]
    assert isinstance(gate, SubgroupsGate)
    both = planned_power(70, note.detectable, 0.1) * planned_power(50, note.detectable, 0.1)
    assert both >= 0.8
    assert _share(gate, sizes, dict.fromkeys(sizes, 0.0), Outcome.PASS) == pytest.approx(both, abs=0.1)
    # A loss that breaks a group is found by Holm's procedure, the other group being well.
    gate = parse_policy(GROUPS).gates[-1]
    assert isinstance(gate, SubgroupsGate)
    loss = note.groups[1].broken
    assert loss is not None
    assert _share(gate, sizes, {"east": 0.0, "west": -loss}, Outcome.FAIL) == pytest.approx(0.8, abs=0.11)


def _share(gate: SubgroupsGate, sizes: dict[str, int], loss: dict[str, float], outcome: Outcome) -> float:
    """Return how often the gate itself comes out so, over 150 simulated adapters."""
    random, runs = np.random.default_rng(5), 150
    found = 0
    for _ in range(runs):
        parts = {}
        for name, size in sizes.items():
            share = max(0.1, -loss[name])
            up = (share + loss[name]) / 2.0
            draws = random.random(size)
            parts[name] = tuple(
                (1.0, 0.0) if draw < up else (0.0, 1.0) if draw < share else (1.0, 1.0) for draw in draws
            )
        found += outcome_by_group(gate, parts, higher_is_better=True) is outcome
    return found / runs


def test_groups_may_be_refused_or_their_planning_told() -> None:
    strict = GROUPS.replace("underpowered: mark", "underpowered: refuse")
    with pytest.raises(UsageError, match="gate keep: the smallest of 1 groups by place is north with 60"):
        _groups({"north": 60}, strict)
    calmer = GROUPS.replace("margin: 0.05", "margin: 0.05, planning: {discordance: 0.01}")
    assert _groups({"north": 160}, calmer).adequate


def test_groups_that_are_not_known_are_told_what_they_take() -> None:
    note = _groups(None)
    assert note.groups == ()
    assert "the sizes of its groups by place are not known here" in note.text
    assert re.search(r"a group takes about \d+ documents", note.text)


def test_groups_with_few_documents_are_planned_as_they_are_judged() -> None:
    pooled = GROUPS.replace("margin: 0.05", "margin: 0.05, min_documents: 50")
    note = _groups({"east": 300, "north": 30, "south": 40}, pooled)
    assert [(group.name, group.n) for group in note.groups] == [("east", 300), (SMALL, 70)]


@pytest.mark.parametrize(("condition", "least"), [("floor: 0.7", 0.8), ("ceiling: 0.3", 0.2)])
def test_groups_that_ask_for_a_mean_are_planned(condition: str, least: float) -> None:
    text = GROUPS.replace("margin: 0.05", condition)
    note = _groups({"east": 300, "north": 120}, text)
    assert note.adequate
    assert note.measures == "mean"
    assert note.detectable == pytest.approx(least, abs=0.03)
    east = note.groups[0]
    upward = "floor" in condition
    limit = 0.7 if upward else 0.3
    assert (east.broken < limit < east.detectable) is upward
    few = _groups({"east": 300, "north": 5}, text)
    assert not few.adequate
    assert "no result there can show the" in few.text


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("floor: 0.5, planning: {discordance: 0.2}", "`planning` is for a `margin`"),
        ("margin: 0.05, planning: {difference: -0.06}", "which margin 0.05 does not allow"),
        ("margin: 0.05, planning: {difference: 0.2}", "needs at least that discordance"),
    ],
)
def test_planning_of_groups_that_contradicts_itself_is_refused(written: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_policy(GROUPS.replace("margin: 0.05", written))


def test_a_sequential_floor_that_nothing_shows_takes_all_documents() -> None:
    text = TEXT.replace("desk: {samples: all}", "desk: {samples: all, mode: sequential, claim: benchmark}")
    assert expected_documents(parse_policy(text), "desk", 10) == 10
