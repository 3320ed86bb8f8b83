"""Planning: held to brute force over every outcome, and to the gates' own bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.stats.exact import exact_interval, not_worse_p_value
from placet.stats.planning import (
    EXACT_UP_TO,
    detectable_gain,
    detectable_margin,
    detectable_rate,
    documents_at_shares,
    documents_for_ceiling,
    documents_for_floor,
    documents_for_not_worse,
    least_step_near,
    least_successes,
    most_lost,
    most_successes,
    not_worse_power,
    planned_power,
    score_power,
)
from placet.stats.proportion import lower_bound, upper_bound


@given(st.integers(1, 150), st.floats(0.01, 0.99), st.sampled_from([0.01, 0.05]))
def test_least_successes_is_where_the_bound_reaches_the_floor(n: int, threshold: float, alpha: float) -> None:
    needed = least_successes(n, threshold, alpha)
    if needed is None:
        assert lower_bound(n, n, alpha) < threshold + 1e-9
    else:
        assert lower_bound(needed, n, alpha) >= threshold - 1e-9
        assert needed == 0 or lower_bound(needed - 1, n, alpha) < threshold + 1e-9


def test_most_successes_is_where_the_bound_keeps_the_ceiling() -> None:
    allowed = most_successes(64, 0.2)
    assert allowed is not None
    assert upper_bound(allowed, 64) <= 0.2 < upper_bound(allowed + 1, 64)
    assert most_successes(5, 0.2) is None


def test_fifty_nine_faultless_documents_show_95_percent() -> None:
    # Wilks, Annals of Mathematical Statistics 12 (1941) 91-96: 59 for 95% content at 95% confidence.
    assert least_successes(58, 0.95) is None
    assert least_successes(59, 0.95) == 59
    assert documents_for_floor(0.95, 1.0) == 59
    assert documents_for_ceiling(0.05, 0.0) == 59


def test_impossible_floors_are_said_to_be() -> None:
    assert least_successes(1000, 1.0) is None
    assert documents_for_floor(0.8, 0.8) is None
    assert least_successes(10, 0.0) == 0


def test_detectable_rate_is_the_smallest_with_that_power() -> None:
    rate = detectable_rate(120, 0.8)
    assert rate is not None
    assert passing_share(120, rate) >= 0.8 > passing_share(120, rate - 0.0001)
    assert detectable_rate(13, 0.8) is None
    assert detectable_rate(10, 0.0) == 0.0
    with pytest.raises(ValueError, match="power"):
        detectable_rate(120, 0.8, power=1.0)


def passing_share(n: int, rate: float) -> float:
    """Return how often the floor 0.8 passes on `n` documents, summed over the outcomes that do."""
    return sum(
        math.comb(n, x) * rate**x * (1 - rate) ** (n - x) for x in range(n + 1) if lower_bound(x, n) >= 0.8
    )


@pytest.mark.parametrize(
    ("n", "margin", "discordance", "difference"),
    [
        (25, 0.1, 0.2, 0.0),
        (25, 0.1, 0.3, -0.1),
        (30, 0.05, 0.05, -0.05),
        (20, 0.0, 0.5, 0.4),
        (12, 0.2, 1.0, 0.1),
    ],
)
def test_power_is_the_sum_over_every_table(
    n: int, margin: float, discordance: float, difference: float
) -> None:
    p10, p01 = (discordance + difference) / 2, (discordance - difference) / 2
    rest = 1 - discordance
    expected = sum(
        math.comb(n, b) * math.comb(n - b, c) * p10**b * p01**c * rest ** (n - b - c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if not_worse_p_value(b, c, n, margin) <= 0.05
    )
    assert not_worse_power(n, margin, discordance, difference) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "gained", "percent"),
    [
        # Tango (1998) table II, column Z: false passes at the margin 0.1 in 10,000 simulated trials.
        (30, 0.20, 4.8),
        (30, 0.10, 5.0),
        (30, 0.05, 4.2),
        (30, 0.00, 4.4),
        (50, 0.20, 5.2),
        (50, 0.10, 5.2),
        (50, 0.05, 4.3),
        (50, 0.00, 3.7),
        (80, 0.10, 5.2),
        (80, 0.05, 4.5),
        (80, 0.00, 3.6),
    ],
)
def test_error_of_the_score_test_agrees_with_the_published_simulation(
    n: int, gained: float, percent: float
) -> None:
    exact = score_power(n, 0.1, 2 * gained + 0.1, -0.1)
    assert exact == pytest.approx(percent / 100, abs=4 * math.sqrt(0.05 * 0.95 / 10_000))


@pytest.mark.parametrize(
    ("n", "gained", "percent"),
    [
        # Tango (1998) table III, column Z: power at no difference, margin 0.1, 10,000 simulated trials.
        (30, 0.15, 25.1),
        (30, 0.10, 29.6),
        (50, 0.25, 26.1),
        (50, 0.10, 44.0),
        (80, 0.25, 35.4),
        (80, 0.15, 49.1),
        (80, 0.10, 60.7),
        (80, 0.16, 48.1),
    ],
)
def test_power_of_the_score_test_agrees_with_the_published_simulation(
    n: int, gained: float, percent: float
) -> None:
    exact = score_power(n, 0.1, 2 * gained)
    assert exact == pytest.approx(percent / 100, abs=4 * math.sqrt(0.25 / 10_000))


@pytest.mark.parametrize("n", [50, 100, 200])
@pytest.mark.parametrize("margin", [0.03, 0.05, 0.1])
def test_false_passes_at_the_margin_stay_within_alpha_at_little_cost(n: int, margin: float) -> None:
    # docs/explanation/statistics.md states both: the error, and what the exact test costs against the score test.
    grid = [margin * (1 / margin) ** (step / 60) for step in range(61)]
    assert max(not_worse_power(n, margin, min(1.0, psi), -margin) for psi in grid) <= 0.05
    for discordance in (0.1, 0.3):
        cost = score_power(n, margin, discordance) - not_worse_power(n, margin, discordance)
        assert cost <= 0.02 or n < 200


def test_power_grows_with_margin_and_documents() -> None:
    by_margin = [not_worse_power(200, margin, 0.1) for margin in (0.02, 0.04, 0.07, 0.1)]
    assert by_margin == sorted(by_margin)
    assert not_worse_power(2000, 0.03, 0.1) > not_worse_power(500, 0.03, 0.1)


def test_detectable_margin_is_the_smallest_with_that_power() -> None:
    margin = detectable_margin(200, 0.1)
    assert margin is not None
    assert not_worse_power(200, margin, 0.1) >= 0.8 > not_worse_power(200, margin - 0.0001, 0.1)
    assert detectable_margin(1, 1.0) is None


@pytest.mark.parametrize("by", [0.05, 0.2])
def test_power_of_a_gain_is_that_of_the_gate(by: float) -> None:
    # The gate of `better` itself on every table of 15 documents.
    n, discordance, difference = 15, 0.8, 0.7
    expected = 0.0
    for discordant in range(n + 1):
        weight = math.comb(n, discordant) * discordance**discordant * (1 - discordance) ** (n - discordant)
        if weight < 1e-6:
            continue
        share = (discordance + difference) / (2 * discordance)
        for gained in range(discordant + 1):
            if exact_interval(gained, discordant - gained, n, limit=by).low > by:
                ways = math.comb(discordant, gained)
                expected += weight * ways * share**gained * (1 - share) ** (discordant - gained)
    assert not_worse_power(n, -by, discordance, difference) == pytest.approx(expected, abs=1e-4)


def test_the_smallest_gain_that_is_shown_has_that_power() -> None:
    gain = detectable_gain(150, 0.05, 0.3)
    assert gain is not None
    assert not_worse_power(150, -0.05, 0.3, gain) >= 0.8 > not_worse_power(150, -0.05, 0.3, gain - 0.0001)
    assert detectable_gain(3, 0.5, 0.3) is None


@pytest.mark.parametrize("discordance", [0.03, 0.1, 0.3])
def test_the_quicker_power_is_near_the_exact_one_where_it_stands_in_for_it(discordance: float) -> None:
    n = EXACT_UP_TO + 1
    for margin in (0.03, 0.06):
        exact = not_worse_power(n, margin, discordance)
        assert planned_power(n, margin, discordance) == pytest.approx(exact, abs=0.04)
    assert planned_power(80, 0.1, discordance) == not_worse_power(80, 0.1, discordance)


@pytest.mark.parametrize("start", [0, 40, 55, 99, 101])
def test_a_search_near_a_guess_finds_what_a_search_of_all_does(start: int) -> None:
    for least in (0, 1, 41, 56, 100):
        assert least_step_near(lambda step, least=least: step >= least, start, 100) == least
    assert least_step_near(lambda step: False, start, 100) == 101


def test_documents_needed_have_that_power() -> None:
    needed = documents_for_not_worse(0.05, 0.1)
    assert needed is not None
    assert not_worse_power(needed, 0.05, 0.1) >= 0.8
    assert not_worse_power(needed // 2, 0.05, 0.1) < 0.8
    assert documents_for_not_worse(0.05, 0.1, -0.05) is None


def test_most_lost_is_the_last_count_that_passes() -> None:
    allowed = most_lost(9, 200, 0.07)
    assert allowed is not None
    assert exact_interval(9, allowed, 200, limit=-0.07).low > -0.07
    assert exact_interval(9, allowed + 1, 200, limit=-0.07).low <= -0.07
    assert most_lost(0, 10, 0.05) is None
    assert most_lost(200, 200, 0.07) == 0


def test_documents_at_the_same_shares_settle_it() -> None:
    needed = documents_at_shares(0.05, 0.075, 0.07)
    assert needed is not None
    gained, lost = math.floor(0.05 * needed), math.ceil(0.075 * needed)
    assert exact_interval(gained, lost, needed, limit=-0.07).low > -0.07
    assert documents_at_shares(0.0, 0.07, 0.07) is None


@pytest.mark.parametrize(
    ("n", "margin", "discordance", "difference"),
    [(0, 0.1, 0.1, 0.0), (10, -1.0, 0.1, 0.0), (10, 1.0, 0.1, 0.0), (10, 0.1, 0.1, 0.2), (10, 0.1, 1.1, 0.0)],
)
def test_impossible_plans_are_refused(n: int, margin: float, discordance: float, difference: float) -> None:
    with pytest.raises(ValueError, match=r"sample|margin|discordance"):
        not_worse_power(n, margin, discordance, difference)
