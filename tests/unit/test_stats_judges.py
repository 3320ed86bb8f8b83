"""Judges with known errors: a published estimate, limits, coverage by enumeration, and nothing hidden."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.stats.exact import exact_interval
from placet.stats.judges import Calibration, corrected_difference, corrected_rate
from placet.stats.proportion import clopper_pearson


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1.0 - p) ** (n - k)


def test_published_estimate() -> None:
    # R package epiR, epi.prev: 23 of 150 cows positive, sensitivity 0.96, specificity 0.89 (Rogan & Gladen 1978): 5.1%.
    bounds = corrected_rate(23, 150, Calibration(96_000, 100_000, 89_000, 100_000), 0.025)
    assert round(bounds.estimate, 3) == 0.051
    # With the errors all but known the bounds are Clopper-Pearson's of 23 / 150, transformed.
    exact = clopper_pearson(23, 150, 0.025)
    assert bounds.low == pytest.approx(0.0)
    assert bounds.high == pytest.approx((exact.high - 0.11) / 0.85, abs=0.012)


def test_a_faultless_well_known_judge_changes_little() -> None:
    bounds, plain = corrected_rate(40, 50, Calibration(10**6, 10**6, 10**6, 10**6)), clopper_pearson(40, 50)
    assert bounds.estimate == plain.estimate
    assert bounds.low == pytest.approx(plain.low, abs=0.002)
    assert bounds.high == pytest.approx(plain.high, abs=0.002)


def test_a_judge_that_misses_half_doubles_the_rate_and_the_width() -> None:
    bounds = corrected_rate(20, 100, Calibration(500, 1000, 1000, 1000))
    plain = clopper_pearson(20, 100)
    assert bounds.estimate == pytest.approx(0.4)
    assert bounds.low < 2 * plain.low
    assert bounds.high > 2 * plain.high


def test_a_judge_not_shown_to_be_better_than_chance_says_nothing() -> None:
    for calibration in (Calibration(3, 6, 3, 6), Calibration(0, 5, 0, 5)):
        bounds = corrected_rate(50, 100, calibration)
        assert (bounds.low, bounds.high) == (0.0, 1.0)
        difference = corrected_difference(30, 0, 100, calibration)
        assert (difference.low, difference.high) == (-1.0, 1.0)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(
    ("sensitivity", "specificity"), [(0.9, 0.9), (0.6, 0.95), (1.0, 0.7), (0.55, 0.55), (0.3, 0.3)]
)
def test_each_bound_errs_at_most_alpha(rate: float, sensitivity: float, specificity: float) -> None:
    n, positives, negatives, alpha = 12, 8, 9, 0.1
    flagged = rate * sensitivity + (1.0 - rate) * (1.0 - specificity)
    missed = [0.0, 0.0]
    for x, hits, passes in product(range(n + 1), range(positives + 1), range(negatives + 1)):
        chance = (
            binomial(x, n, flagged)
            * binomial(hits, positives, sensitivity)
            * binomial(passes, negatives, specificity)
        )
        if chance > 0.0:
            bounds = corrected_rate(x, n, Calibration(hits, positives, passes, negatives), alpha)
            missed[0] += chance * (bounds.low > rate + 1e-12)
            missed[1] += chance * (bounds.high < rate - 1e-12)
    assert max(missed) <= alpha


@settings(max_examples=60)
@given(st.integers(5, 200), st.data())
def test_more_calibration_of_the_same_kind_never_widens(n: int, data: st.DataObject) -> None:
    flagged = data.draw(st.integers(0, n))
    small = Calibration(18, 20, 19, 20)
    large = Calibration(1800, 2000, 1900, 2000)
    few, many = corrected_rate(flagged, n, small), corrected_rate(flagged, n, large)
    assert many.high - many.low <= few.high - few.low + 1e-9
    assert few.low <= few.estimate <= few.high
    plain = clopper_pearson(flagged, n)
    assert many.high - many.low >= (plain.high - plain.low) * 0.7 or many.low == 0.0 or many.high == 1.0


def test_a_difference_is_widened_by_the_judges_errors() -> None:
    found = exact_interval(5, 25, 200)
    bounds = corrected_difference(5, 25, 200, Calibration(90, 100, 95, 100))
    assert bounds.estimate == pytest.approx(found.estimate / 0.85)
    assert bounds.low < found.low / 0.85
    assert bounds.high > found.high / 0.85
    assert bounds.high < 0.0
    mirrored = corrected_difference(25, 5, 200, Calibration(90, 100, 95, 100))
    assert (mirrored.low, mirrored.high) == pytest.approx((-bounds.high, -bounds.low))


@pytest.mark.parametrize("counts", [(1, 0, 1, 1), (2, 1, 1, 1), (-1, 1, 1, 1), (1, 1, 3, 2), (1, 1, 1, 0)])
def test_calibrations_that_do_not_fit_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="calibration"):
        Calibration(*counts)
