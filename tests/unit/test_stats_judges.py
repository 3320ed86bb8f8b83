"""Judges with known errors: a published estimate, limits, coverage by enumeration, and nothing hidden."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.stats.exact import exact_interval
from placet.stats.judges import Calibration, corrected_difference, corrected_rate, widening
from placet.stats.proportion import clopper_pearson


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1.0 - p) ** (n - k)


def test_published_estimate() -> None:
    # R package epiR, epi.prev: 23 of 150 cows positive, sensitivity 0.96, specificity 0.89 (Rogan & Gladen 1978): 5.1%.
    bounds = corrected_rate(23, 150, Calibration(9_600, 10_000, 8_900, 10_000), 0.025)
    assert round(bounds.estimate, 3) == 0.051
    # With the errors all but known the bounds are Clopper-Pearson's of 23 / 150, transformed.
    exact = clopper_pearson(23, 150, 0.025)
    assert bounds.low == pytest.approx(0.0)
    assert bounds.high == pytest.approx((exact.high - 0.11) / 0.85, abs=0.006)


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


def test_a_judge_no_better_than_chance_says_nothing() -> None:
    for calibration in (Calibration(3, 6, 3, 6), Calibration(30, 60, 30, 60)):
        bounds = corrected_rate(50, 100, calibration)
        assert (bounds.low, bounds.high) == (0.0, 1.0)
        difference = corrected_difference(3, 0, 100, calibration)
        assert (difference.low, difference.high) == (-1.0, 1.0)


def all_outcomes(
    n: int, calibrated: tuple[int, int], alpha: float
) -> list[tuple[int, int, int, float, float]]:
    positives, negatives = calibrated
    return [
        (x, hits, passes, bounds.low, bounds.high)
        for x, hits, passes in product(range(n + 1), range(positives + 1), range(negatives + 1))
        for bounds in [corrected_rate(x, n, Calibration(hits, positives, passes, negatives), alpha)]
    ]


@pytest.mark.parametrize(("n", "calibrated"), [(12, (8, 9)), (25, (6, 12)), (8, (20, 20))])
def test_each_bound_errs_at_most_alpha(n: int, calibrated: tuple[int, int]) -> None:
    alpha, (positives, negatives) = 0.05, calibrated
    outcomes = all_outcomes(n, calibrated, alpha)
    for rate, sense, specificity in product(
        (0.0, 0.1, 0.5, 0.9, 1.0), (0.3, 0.6, 0.9, 1.0), (0.3, 0.7, 0.95, 1.0)
    ):
        flagged = rate * sense + (1.0 - rate) * (1.0 - specificity)
        found = [binomial(x, n, flagged) for x in range(n + 1)]
        hit = [binomial(x, positives, sense) for x in range(positives + 1)]
        passed = [binomial(x, negatives, specificity) for x in range(negatives + 1)]
        missed = [0.0, 0.0]
        for x, hits, passes, low, high in outcomes:
            chance = found[x] * hit[hits] * passed[passes]
            missed[0] += chance * (low > rate + 1e-9)
            missed[1] += chance * (high < rate - 1e-9)
        assert max(missed) <= alpha, (rate, sense, specificity)


def test_each_bound_of_a_difference_errs_at_most_alpha() -> None:
    n, positives, negatives, alpha = 6, 5, 5, 0.1
    tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    outcomes = [
        (
            b,
            c,
            hits,
            passes,
            corrected_difference(b, c, n, Calibration(hits, positives, passes, negatives), alpha),
        )
        for b, c in tables
        for hits in range(positives + 1)
        for passes in range(negatives + 1)
    ]
    for truth, sense, specificity in [(0.0, 0.9, 0.9), (-0.4, 0.9, 0.95), (0.6, 0.7, 0.9), (-1.0, 1.0, 0.8)]:
        # Of the documents that differ, all differ in the direction of the true difference or half each way.
        apart = truth * (sense + specificity - 1.0)
        p_gained, p_lost = (
            max(apart, 0.0) + 0.1 * (abs(apart) < 0.8),
            max(-apart, 0.0) + 0.1 * (abs(apart) < 0.8),
        )
        missed = [0.0, 0.0]
        for b, c, hits, passes, bounds in outcomes:
            ways = math.comb(n, b) * math.comb(n - b, c)
            chance = ways * p_gained**b * p_lost**c * max(0.0, 1.0 - p_gained - p_lost) ** (n - b - c)
            chance *= binomial(hits, positives, sense) * binomial(passes, negatives, specificity)
            missed[0] += chance * (bounds.low > truth + 1e-9)
            missed[1] += chance * (bounds.high < truth - 1e-9)
        assert max(missed) <= alpha, (truth, sense, specificity)


@settings(max_examples=60)
@given(st.integers(5, 200), st.data())
def test_more_calibration_of_the_same_kind_never_widens(n: int, data: st.DataObject) -> None:
    # A share that both calibrations can explain.
    flagged = data.draw(st.integers(math.ceil(0.06 * n), math.floor(0.88 * n)))
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


def test_what_no_true_rate_explains_is_no_certainty() -> None:
    # It found 0.54 of what was there and nothing else: 0.85 found here cannot be so, and is no sure rate of 1.
    misses_half = Calibration(27, 50, 50, 50)
    bounds = corrected_rate(170, 200, misses_half)
    assert bounds.low <= clopper_pearson(170, 200).low + 1e-6
    assert bounds.high == 1.0
    assert bounds.method.endswith("errs less here than measured")
    alarms = corrected_rate(4, 200, Calibration(50, 50, 35, 50))
    assert alarms.low == 0.0
    assert alarms.high >= clopper_pearson(4, 200).high - 1e-6
    assert alarms.method.endswith("errs less here than measured")
    apart, back = (
        corrected_difference(190, 0, 200, misses_half),
        corrected_difference(0, 190, 200, misses_half),
    )
    assert (apart.low, apart.high) == (exact_interval(190, 0, 200).low, 1.0)
    assert (back.low, back.high) == (-1.0, -apart.low)
    assert "measured" not in corrected_rate(110, 200, misses_half).method


def test_a_calibration_that_holds_is_seldom_contradicted() -> None:
    n, size = 25, 12
    for rate, sense in product((0.0, 0.5, 1.0), (0.6, 0.9)):
        contradicted = 0.0
        for x, hits, passes in product(range(n + 1), range(size + 1), range(size + 1)):
            chance = binomial(x, n, rate * sense + (1 - rate) * 0.1) * binomial(hits, size, sense)
            chance *= binomial(passes, size, 0.9)
            if chance > 1e-9:
                bounds = corrected_rate(x, n, Calibration(hits, size, passes, size))
                contradicted += chance * bounds.method.endswith("errs less here than measured")
        assert contradicted <= (0.05 if rate != 0.5 else 0.01), (rate, sense)


def test_widening_is_that_of_the_bounds_themselves() -> None:
    judge = Calibration(46, 50, 48, 50)
    found = widening(judge, 200, 0.9)
    assert found.flagged == pytest.approx(0.9 * 0.92 + 0.1 * 0.04)
    assert found.plain == clopper_pearson(180, 200)
    assert found.corrected == corrected_rate(166, 200, judge)
    assert found.corrected.low < found.endless.low < 0.9 < found.endless.high
    assert judge.is_useful(0.05)
    assert not Calibration(30, 50, 25, 50).is_useful(0.05)
    with pytest.raises(ValueError, match="rate"):
        widening(judge, 200, 1.2)


@pytest.mark.parametrize("counts", [(1, 0, 1, 1), (2, 1, 1, 1), (-1, 1, 1, 1), (1, 1, 3, 2), (1, 1, 1, 0)])
def test_calibrations_that_do_not_fit_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="calibration"):
        Calibration(*counts)
