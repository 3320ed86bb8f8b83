"""From bounds to outcome, at and around the limits."""

from __future__ import annotations

import pytest

from placet.domain.records import Outcome
from placet.stats.bounds import Bounds
from placet.stats.noninferiority import judge_ceiling, judge_floor, judge_not_worse


def bounds(low: float, high: float) -> Bounds:
    return Bounds((low + high) / 2, low, high, 0.05, "m", 100)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.80, 0.90, Outcome.PASS),
        (0.79, 0.90, Outcome.INCONCLUSIVE),
        (0.70, 0.80, Outcome.INCONCLUSIVE),
        (0.70, 0.79, Outcome.FAIL),
    ],
)
def test_floor_of_four_fifths(low: float, high: float, outcome: Outcome) -> None:
    assert judge_floor(bounds(low, high), 0.80) is outcome
    # A ceiling is the floor of the opposite share.
    assert judge_ceiling(bounds(1 - high, 1 - low), 1 - 0.80) is outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.04, 0.02, Outcome.PASS),
        (-0.05, 0.02, Outcome.INCONCLUSIVE),
        (-0.09, -0.05, Outcome.INCONCLUSIVE),
        (-0.09, -0.06, Outcome.FAIL),
        (-1.0, 1.0, Outcome.INCONCLUSIVE),
    ],
)
def test_margin_of_five_points(low: float, high: float, outcome: Outcome) -> None:
    assert judge_not_worse(bounds(low, high), 0.05) is outcome


def test_margin_of_nothing_asks_for_a_gain() -> None:
    assert judge_not_worse(bounds(0.001, 0.1), 0.0) is Outcome.PASS
    assert judge_not_worse(bounds(0.0, 0.1), 0.0) is Outcome.INCONCLUSIVE


def test_negative_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        judge_not_worse(bounds(0, 1), -0.1)
