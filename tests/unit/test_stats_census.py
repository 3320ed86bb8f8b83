"""What a whole benchmark shows: the sums are those of the tables, and of the sequential test within its error."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from placet.stats.census import (
    documents_for_known,
    known_gain,
    known_margin,
    known_power,
    known_rate,
    known_rate_power,
)
from placet.stats.sequential import Kind, SequentialDesign
from placet.stats.simulation import forecast_mean, forecast_not_worse


@pytest.mark.parametrize("margin", [0.0, 0.05, 0.1])
def test_the_power_is_the_sum_over_all_tables(margin: float) -> None:
    n, up, down = 20, 0.2, 0.25
    expected = 0.0
    for gained in range(n + 1):
        for lost in range(n + 1 - gained):
            if Fraction(gained - lost, n) > -Fraction(repr(margin)):
                ways = math.comb(n, gained) * math.comb(n - gained, lost)
                expected += ways * up**gained * down**lost * (1 - up - down) ** (n - gained - lost)
    assert known_power(n, margin, up + down, up - down) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("n", "margin"), [(200, 0.02), (600, 0.012), (600, 0.03)])
def test_the_sequential_test_passes_as_often(n: int, margin: float) -> None:
    runs = 2000
    design = SequentialDesign(Kind.NOT_WORSE, margin, n, expected=0.0)
    found = forecast_not_worse(design, 0.0, 0.1, runs=runs, drawn=True).passes
    known = known_power(n, margin, 0.1)
    assert found == pytest.approx(known, abs=0.02 + 3 * math.sqrt(known * (1 - known) / runs))


def test_a_sequential_floor_passes_as_often() -> None:
    runs = 2000
    found = forecast_mean(SequentialDesign(Kind.FLOOR, 0.65, 600), 0.67, runs=runs, drawn=True).passes
    known = known_rate_power(600, 0.65, 0.67)
    assert found == pytest.approx(known, abs=0.02 + 3 * math.sqrt(known * (1 - known) / runs))


def test_what_is_just_shown_has_the_power_and_a_step_less_has_not() -> None:
    margin, gain, rate = known_margin(300, 0.1), known_gain(300, 0.1), known_rate(300, 0.7)
    assert margin is not None
    assert gain is not None
    assert rate is not None
    assert known_power(300, margin, 0.1) >= 0.8 > known_power(300, margin - 0.0001, 0.1)
    assert known_power(300, 0.0, 0.1, gain) >= 0.8 > known_power(300, 0.0, 0.1, gain - 0.0001)
    assert known_rate_power(300, 0.7, rate) >= 0.8 > known_rate_power(300, 0.7, rate - 0.0001)


def test_a_limit_that_is_a_share_of_the_documents_is_met_by_it() -> None:
    # At a floor of 0.7 exactly 7 of 10 count, whatever 0.7 is in binary; a loss of exactly the margin fails.
    assert known_rate_power(10, 0.7, 1.0) == 1.0
    assert known_rate_power(10, 0.7, 0.7) == pytest.approx(
        sum(math.comb(10, k) * 0.7**k * 0.3 ** (10 - k) for k in range(7, 11))
    )
    assert known_power(10, 0.1, 0.1, -0.1) == pytest.approx(0.9**10)


def test_documents_needed_have_that_power() -> None:
    assert known_power(1, 0.02, 0.1) >= 0.8, (
        "nothing is lost on most single documents, which is not what is asked"
    )
    needed = documents_for_known(0.02, 0.1, more_than=100)
    assert needed is not None
    assert known_power(needed, 0.02, 0.1) >= 0.8
    assert 150 < needed < 220
    assert documents_for_known(0.02, 0.1, -0.02) is None


def test_a_benchmark_without_documents_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one document"):
        known_rate_power(0, 0.5, 0.5)
