"""Tango's interval: published numbers, closed forms, symmetry, and its true error by enumeration."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.stats.paired import PairedTable, paired_table, tango_interval, tango_statistic

Z95 = NormalDist().inv_cdf(0.95)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "alpha", "low", "high", "places"),
    [
        # Tango, Statistics in Medicine 17 (1998) 891-908: section 6.2, sleeping difficulties, two-sided 95%.
        (9, 3, 32, 0.025, -0.027, 0.390, 3),
        # Fagerland, Lydersen & Laake, Statistics in Medicine 33 (2014) 2850-2875: Bentur 2009 and Cavo 2012, 95%;
        # four places as printed by the authors' R package contingencytables.
        (1, 7, 21, 0.025, -0.517, -0.026, 3),
        (6, 16, 161, 0.025, -0.1240, -0.0054, 4),
        # R package PropCIs, scoreci.mp(25, 28, 618, 0.90).
        (28, 25, 618, 0.05, -0.0148, 0.0247, 4),
    ],
)
def test_published_intervals(
    gained: int, lost: int, n: int, alpha: float, low: float, high: float, places: int
) -> None:
    bounds = tango_interval(gained, lost, n, alpha)
    assert (round(bounds.low, places), round(bounds.high, places)) == (low, high)


def test_published_test_and_bound_of_the_lens_trial() -> None:
    # Tango (1998) section 6.1: 44 pairs, none gained, one lost, margin 0.1: Z = 1.709, 90% lower limit -0.096.
    assert round(tango_statistic(0, 1, 44, -0.1), 3) == 1.709
    assert round(tango_interval(0, 1, 44, 0.05).low, 3) == -0.096


@pytest.mark.parametrize(
    ("n", "lost", "z", "low", "high"),
    [
        # Tango (1998) table I: none gained, margin 0.1, two-sided 90%.
        (30, 0, 1.83, -0.083, 0.083),
        (30, 1, 1.22, -0.136, 0.052),
        (30, 2, 0.61, -0.183, 0.022),
        (50, 0, 2.36, -0.051, 0.051),
        (50, 1, 1.89, -0.085, 0.032),
        (50, 2, 1.41, -0.114, 0.013),
        (80, 0, 2.98, -0.033, 0.033),
        (80, 1, 2.61, -0.054, 0.021),
        (80, 2, 2.24, -0.073, 0.009),
    ],
)
def test_published_table_of_few_discordant_documents(
    n: int, lost: int, z: float, low: float, high: float
) -> None:
    assert round(tango_statistic(0, lost, n, -0.1), 2) == z
    bounds = tango_interval(0, lost, n, 0.05)
    assert (round(bounds.low, 3), round(bounds.high, 3)) == (low, high)


def test_statistic_at_zero_is_mcnemars() -> None:
    assert tango_statistic(9, 3, 32, 0.0) == pytest.approx(6 / math.sqrt(12))


@pytest.mark.parametrize("n", [1, 2, 10, 200])
def test_no_discordant_document_has_the_closed_form(n: int) -> None:
    bounds = tango_interval(0, 0, n, 0.05)
    assert bounds.estimate == 0.0
    assert bounds.high == pytest.approx(Z95**2 / (n + Z95**2))
    assert bounds.low == pytest.approx(-bounds.high)


@pytest.mark.parametrize("n", [1, 5, 50])
def test_all_gained_has_the_closed_form(n: int) -> None:
    bounds = tango_interval(n, 0, n, 0.05)
    assert bounds.high == 1.0
    assert bounds.low == pytest.approx((n - Z95**2) / (n + Z95**2))


@given(st.integers(1, 300), st.data(), st.sampled_from([0.01, 0.025, 0.05]))
def test_symmetric_and_within_range(n: int, data: st.DataObject, alpha: float) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    bounds, swapped = tango_interval(gained, lost, n, alpha), tango_interval(lost, gained, n, alpha)
    assert -1.0 <= bounds.low <= bounds.estimate <= bounds.high <= 1.0
    assert bounds.low == pytest.approx(-swapped.high, abs=1e-12)
    assert tango_interval(gained, lost, n, alpha / 2).low <= bounds.low


@given(st.integers(1, 60), st.data())
def test_statistic_falls_with_the_difference(n: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    steps = [tango_statistic(gained, lost, n, -0.999 + 1.998 * i / 200) for i in range(201)]
    assert all(after <= before + 1e-9 for before, after in pairwise(steps))


@given(st.integers(2, 200), st.data())
def test_bounds_are_where_the_test_turns(n: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    low = tango_interval(gained, lost, n, 0.05).low
    if low > -1.0 + 1e-6:
        assert tango_statistic(gained, lost, n, low - 1e-7) > Z95
        assert tango_statistic(gained, lost, n, min(1.0, low + 1e-7)) <= Z95 + 1e-9


def test_true_error_of_the_lower_bound_stays_near_alpha() -> None:
    # Every outcome of 30 documents, over a grid of true probabilities. The method is asymptotic; this is its limit.
    n, worst = 30, 0.0
    lows = {(b, c): tango_interval(b, c, n, 0.05).low for b in range(n + 1) for c in range(n + 1 - b)}
    for p10, p01 in [(0.02, 0.12), (0.05, 0.15), (0.1, 0.1), (0.3, 0.3), (0.1, 0.4), (0.4, 0.1)]:
        rest, true = 1 - p10 - p01, p10 - p01
        error = sum(
            math.comb(n, b) * math.comb(n - b, c) * p10**b * p01**c * rest ** (n - b - c)
            for (b, c), low in lows.items()
            if low > true
        )
        worst = max(worst, error)
    assert worst <= 0.06


def test_table_counts_the_four_kinds() -> None:
    assert paired_table((1.0, 1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 1.0, 0.0, 0.0)) == PairedTable(1, 2, 1, 1)


@pytest.mark.parametrize(("first", "second"), [((1.0,), ()), ((), ()), ((0.5,), (1.0,))])
def test_tables_that_do_not_pair_are_refused(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"paired values|0 or 1"):
        paired_table(first, second)


@pytest.mark.parametrize(("gained", "lost", "n"), [(0, 0, 0), (3, 3, 5), (-1, 0, 5)])
def test_impossible_counts_are_refused(gained: int, lost: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"at least one|do not fit"):
        tango_interval(gained, lost, n)


def test_impossible_difference_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in \[-1, 1\]"):
        tango_statistic(1, 1, 5, 1.5)
