"""The exact paired test: published p-values, its error by enumeration of every table, agreement with its interval."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from placet.stats.exact import (
    IMPLAUSIBLE,
    exact_interval,
    least_gained,
    not_worse_p_value,
)
from placet.stats.noninferiority import judge_not_worse
from placet.stats.paired import tango_interval, tango_statistic


def worse_p_value(gained: int, lost: int, n: int, margin: float) -> float:
    """Return the p-value of harmlessness: the mirror image of that of harm."""
    return not_worse_p_value(lost, gained, n, -margin)


def trinomial(gained: int, lost: int, n: int, p_gained: float, p_lost: float) -> float:
    ways = math.comb(n, gained) * math.comb(n - gained, lost)
    return ways * p_gained**gained * p_lost**lost * (1.0 - p_gained - p_lost) ** (n - gained - lost)


def test_published_p_value_of_the_unconditional_mcnemar_test() -> None:
    # R package contingencytables 3.1, McNemar_exact_unconditional_test_paired_2x2(cavo_2012), gamma 1e-4: two-sided
    # P = 0.034053, to which it adds gamma once and two one-sided tests add it twice.
    one_sided = not_worse_p_value(16, 6, 161, 0.0)
    assert 2.0 * one_sided - IMPLAUSIBLE == pytest.approx(0.034053, abs=2e-6)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "margin"), [(2, 3, 12, 0.2), (0, 0, 15, 0.1), (4, 1, 10, 0.0)]
)
def test_p_value_is_the_largest_sum_over_tables_at_least_as_extreme(
    gained: int, lost: int, n: int, margin: float
) -> None:
    observed = tango_statistic(gained, lost, n, -margin)
    extreme = [
        (b, c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if tango_statistic(b, c, n, -margin) >= observed - 1e-9
    ]
    half, seen = IMPLAUSIBLE / 2.0, gained + lost
    low = max(margin, beta.ppf(half, seen, n - seen + 1) if seen else 0.0)
    high = beta.isf(half, seen + 1, n - seen)
    sums = []
    for i in range(2001):
        share = low + (high - low) * i / 2000
        p_gained, p_lost = (share - margin) / 2.0, (share + margin) / 2.0
        sums.append(math.fsum(trinomial(b, c, n, p_gained, p_lost) for b, c in extreme))
    assert not_worse_p_value(gained, lost, n, margin) == pytest.approx(max(sums) + IMPLAUSIBLE, abs=2e-4)


@pytest.mark.parametrize("n", [8, 17, 30])
@pytest.mark.parametrize("margin", [0.0, 0.05, 0.15])
def test_error_is_at_most_alpha_for_every_share(n: int, margin: float) -> None:
    alpha = 0.05
    least = [least_gained(m, n, margin, alpha) for m in range(n + 1)]
    passing = [(b, m - b) for m in range(n + 1) for b in range(least[m], m + 1)]
    failing = [
        (b, c) for b in range(n + 1) for c in range(n + 1 - b) if worse_p_value(b, c, n, margin) <= alpha
    ]
    for i in range(1, 401):
        share = margin + (1.0 - margin) * i / 400
        p_gained, p_lost = (share - margin) / 2.0, (share + margin) / 2.0
        for wrong in (passing, failing):
            assert math.fsum(trinomial(b, c, n, p_gained, p_lost) for b, c in wrong) <= alpha


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.data(), st.sampled_from([0.0, 0.03, 0.05, 0.2]))
def test_interval_and_test_agree_at_the_limit(n: int, data: st.DataObject, margin: float) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    bounds = exact_interval(gained, lost, n, 0.05, -margin).rounded_outward()
    assert -1.0 <= bounds.low <= bounds.estimate + 1e-6
    assert bounds.estimate - 1e-6 <= bounds.high <= 1.0
    outcome = judge_not_worse(bounds, margin)
    assert (outcome == "PASS") == (not_worse_p_value(gained, lost, n, margin) <= 0.05)
    assert (outcome == "FAIL") == (worse_p_value(gained, lost, n, margin) <= 0.05)
    swapped = exact_interval(lost, gained, n, 0.05, margin)
    assert swapped.high == pytest.approx(-exact_interval(gained, lost, n, 0.05, -margin).low, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 150), st.data(), st.sampled_from([0.0, 0.05, 0.1]))
def test_passing_starts_at_the_least_gained_and_never_stops(
    n: int, data: st.DataObject, margin: float
) -> None:
    discordant = data.draw(st.integers(0, n))
    least = least_gained(discordant, n, margin)
    for gained in (least - 1, least, least + 1, least + 3):
        if 0 <= gained <= discordant:
            passes = not_worse_p_value(gained, discordant - gained, n, margin) <= 0.05
            assert passes == (gained >= least)


def test_close_to_the_score_interval_on_many_documents() -> None:
    exact, score = exact_interval(90, 110, 2000), tango_interval(90, 110, 2000)
    assert exact.low == pytest.approx(score.low, abs=1e-4)
    assert exact.high == pytest.approx(score.high, abs=1e-4)


def test_without_a_differing_document_nothing_is_shown_beyond_chance() -> None:
    bounds = exact_interval(0, 0, 60)
    # A loss of d on every document shows itself with probability 1 - (1 - d)^60: 0.05 at d = 0.0487.
    assert bounds.low == pytest.approx(-(1.0 - 0.05 ** (1 / 60)), abs=2e-3)
    assert bounds.high == pytest.approx(-bounds.low)


def test_where_every_document_differs_the_share_stays_one() -> None:
    for n in range(1, 12):
        for gained in range(n + 1):
            assert 0.0 <= not_worse_p_value(gained, n - gained, n, 0.1) <= 1.0
            assert 0.0 <= worse_p_value(gained, n - gained, n, 0.3) <= 1.0


@pytest.mark.parametrize(("gained", "lost", "n", "margin"), [(1, 1, 1, 0.1), (-1, 0, 5, 0.1), (0, 0, 5, 1.5)])
def test_impossible_tables_are_refused(gained: int, lost: int, n: int, margin: float) -> None:
    with pytest.raises(ValueError, match=r"do not fit|in \[-1, 1\]"):
        not_worse_p_value(gained, lost, n, margin)
