"""A policy that does not fit its suites is refused before anything is measured, with file, line and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.domain.errors import UsageError
from placet.policy.fitting import KnownSuite, counts_documents, misfits, require_fit
from placet.policy.loader import load_policy, parse_policy
from placet.policy.schema import Policy

TOP = """\
id: small
version: "1"
title: A policy
description: Says something.
risk_tier: minimal
risk: none
review: {approvals: 1, valid_days: 30}
suites: {desk: SAMPLING}
gates:
  - {id: it, suite: desk, why: it matters, GATE}
"""
UNIT = (0.0, 1.0)


def text_of(gate: str, sampling: str = "{samples: all}") -> str:
    return TOP.replace("GATE", gate).replace("SAMPLING", sampling)


def told(gate: str, values: tuple[float, float] | None, documents: int | None = None) -> list[str]:
    policy = parse_policy(text_of(gate))
    return [
        f"{where[-1]}: {text}" for where, text in misfits(policy, {"desk": KnownSuite(values, documents)})
    ]


@pytest.mark.parametrize(
    ("gate", "values", "message"),
    [
        ("kind: floor, threshold: 0", UNIT, "threshold: nothing can miss this floor"),
        ("kind: floor, threshold: 1", (1.0, 5.0), "threshold: nothing can miss this floor"),
        ("kind: floor, threshold: 1.1", UNIT, "threshold: nothing can reach this floor"),
        ("kind: ceiling, threshold: 1", UNIT, "threshold: nothing can miss this ceiling"),
        ("kind: ceiling, threshold: -0.1", UNIT, "threshold: nothing can keep this ceiling"),
        ("kind: subgroups, by: sex, floor: 0", UNIT, "floor: nothing can miss this floor"),
        ("kind: subgroups, by: sex, ceiling: 2", UNIT, "ceiling: nothing can miss this ceiling"),
        ("kind: subgroups, by: sex, margin: 0.5", (0.0, 0.5), "margin: nothing can lose that much"),
        ("kind: not_worse, margin: 0.5", (0.5, 1.0), "margin: nothing can lose that much"),
        (
            "kind: better, by: 0.5, planning: {difference: 0.6, discordance: 0.7}",
            (0.5, 1.0),
            "by: nothing can gain more than that",
        ),
        (
            "kind: leakage, max_recovered: 1, exposure_bits: 5.5",
            (0.0, 5.0),
            "exposure_bits: no canary can have",
        ),
        ("kind: no_new_failure, documents: [a], passes_at: 2", UNIT, "passes_at: no document tells"),
    ],
)
def test_a_limit_that_no_value_can_miss_or_meet_is_named(
    gate: str, values: tuple[float, float], message: str
) -> None:
    (said,) = told(gate, values)
    assert said.startswith(message)
    assert said.endswith(f"suite desk has the range {values[0]:g} to {values[1]:g}")
    assert told(gate, None) == []  # where no range is declared, nobody knows


@pytest.mark.parametrize(
    "gate",
    [
        "kind: floor, threshold: 1",
        "kind: ceiling, threshold: 0",
        "kind: not_worse, margin: 0.99",
        "kind: leakage, max_recovered: 9",
        "kind: contamination, max_share: 0.8",
    ],
)
def test_a_limit_that_can_be_missed_and_met_is_left_alone(gate: str) -> None:
    assert told(gate, UNIT, 10) == []


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("kind: leakage, max_recovered: 10", "max_recovered: there are no more canaries to recover"),
        ("kind: leakage, max_recovered: 10, max_excess: 10", "max_recovered: there are no more canaries"),
        ("kind: contamination, max_share: 0.999999", "max_share: nothing but a suite seen as a whole"),
    ],
)
def test_a_limit_of_more_documents_than_there_are_is_named(gate: str, message: str) -> None:
    (said,) = told(gate, UNIT, 10)
    assert said.startswith(message)
    assert told(gate, UNIT, None) == []
    assert counts_documents(parse_policy(text_of(gate)), "desk")


def test_canaries_limited_beyond_the_base_need_no_limit_of_their_own() -> None:
    assert told("kind: leakage, max_recovered: 10, max_excess: 2", UNIT, 10) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "does not declare its range"),
        ((0.0, 50.0), "has the range 0 to 50"),
        ((-1.0, 1.0), "range -1 to 1"),
    ],
)
def test_a_sequential_suite_without_a_range_between_0_and_1_is_refused_with_its_line(
    tmp_path: Path, values: tuple[float, float] | None, said: str
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        text_of("kind: ceiling, threshold: 0.6", "{samples: all, mode: sequential, claim: population}")
    )
    policy = load_policy(path)
    with pytest.raises(UsageError) as caught:
        require_fit(policy, {"desk": KnownSuite(values)}, path)
    assert caught.value.message.startswith(
        f"{path}:8: suites.desk.mode: a sequential test is of a metric between 0"
    )
    assert said in caught.value.message
    assert "write mode: fixed, or declare `range: [0, 1]`" in caught.value.message
    require_fit(policy, {"desk": KnownSuite(UNIT)}, path)
    require_fit(policy, {}, path)  # nothing is known of a suite that is not here


def test_a_misfit_gate_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text_of("kind: floor, threshold: 0"))
    policy: Policy = load_policy(path)
    with pytest.raises(UsageError, match=r"p\.yaml:10: gates\[0\]\.threshold: nothing can miss this floor"):
        require_fit(policy, {"desk": KnownSuite(UNIT)}, path)
