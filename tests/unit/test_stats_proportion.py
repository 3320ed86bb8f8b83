"""Clopper-Pearson: published numbers, and coverage by enumerating every outcome."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.stats.proportion import clopper_pearson, lower_bound, upper_bound


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 5, two-sided 95%.
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0000, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_published_two_sided_intervals(successes: int, n: int, low: float, high: float) -> None:
    bounds = clopper_pearson(successes, n, alpha=0.025)
    assert (round(bounds.low, 4), round(bounds.high, 4)) == (low, high)
    assert bounds.level == pytest.approx(0.95)


def test_closed_forms_at_the_ends() -> None:
    # None of n: the upper bound is 1 - alpha ** (1 / n); all of n: its mirror image.
    assert upper_bound(0, 59, 0.05) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert lower_bound(59, 59, 0.05) == pytest.approx(0.05 ** (1 / 59))
    assert lower_bound(0, 59) == 0.0
    assert upper_bound(59, 59) == 1.0


def test_one_trial() -> None:
    assert clopper_pearson(0, 1, 0.05).high == pytest.approx(0.95)
    assert clopper_pearson(1, 1, 0.05).low == pytest.approx(0.05)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 25])
def test_each_bound_errs_at_most_alpha_for_every_true_proportion(n: int, alpha: float) -> None:
    bounds = [clopper_pearson(x, n, alpha) for x in range(n + 1)]
    # The error of the lower bound jumps just above a bound's own value, so those points are the worst.
    points = [i / 200 for i in range(201)]
    points += [min(1.0, b.low * (1 - 1e-9)) for b in bounds] + [max(0.0, b.high * (1 + 1e-9)) for b in bounds]
    for p in (point for point in points if 0.0 <= point <= 1.0):
        chance = [math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]
        above = sum(weight for weight, b in zip(chance, bounds, strict=True) if b.low > p)
        below = sum(weight for weight, b in zip(chance, bounds, strict=True) if b.high < p)
        assert above <= alpha + 1e-12
        assert below <= alpha + 1e-12


@given(st.integers(1, 400), st.data(), st.sampled_from([0.01, 0.025, 0.05]))
def test_symmetric_ordered_and_growing(n: int, data: st.DataObject, alpha: float) -> None:
    x = data.draw(st.integers(0, n))
    bounds, mirrored = clopper_pearson(x, n, alpha), clopper_pearson(n - x, n, alpha)
    assert 0.0 <= bounds.low <= bounds.estimate <= bounds.high <= 1.0
    assert bounds.low == pytest.approx(1.0 - mirrored.high, abs=1e-12)
    if x < n:
        assert clopper_pearson(x + 1, n, alpha).low > bounds.low


@pytest.mark.parametrize(
    ("successes", "n", "alpha"), [(0, 0, 0.05), (-1, 5, 0.05), (6, 5, 0.05), (1, 5, 0.0), (1, 5, 0.5)]
)
def test_impossible_arguments_are_refused(successes: int, n: int, alpha: float) -> None:
    with pytest.raises(ValueError, match=r"must be|at least"):
        clopper_pearson(successes, n, alpha)
