"""Before running: sizes that cannot be had and gates that cannot show what they ask."""

from __future__ import annotations

import pytest

from placet.domain.errors import UsageError
from placet.policy.loader import parse_policy
from placet.policy.planning import expected_documents, review_samples, sample_sizes
from placet.policy.schema import Policy

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
  - {id: job, kind: floor, suite: desk, threshold: 0.8, why: it has a job}
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
    assert job.text == (
        "at least 104 of 120 documents must count to show the floor of 0.8; a true rate of 0.8866 does so with "
        "probability 0.8"
    )
    assert calm.text.startswith("at most ")
    assert not keep.adequate
    assert "below 0.8; it takes about " in keep.text
    assert keep.text.endswith("or a margin of 0.0893")


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


def test_a_sequential_floor_that_nothing_shows_takes_all_documents() -> None:
    text = TEXT.replace("desk: {samples: all}", "desk: {samples: all, mode: sequential, claim: benchmark}")
    assert expected_documents(parse_policy(text), "desk", 10) == 10
