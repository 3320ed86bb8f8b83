"""Many hypotheses: worked examples, error under dependence, and what the rules may never do."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.stats.multiplicity import e_bh, holm


def by_p_values(p_values: Sequence[float], alpha: float = 0.05) -> tuple[bool, ...]:
    """Return what Holm's rule rejects of hypotheses with these p-values."""
    return holm([partial(lambda p, level: p <= level, p) for p in p_values], alpha)


def test_holm_steps_down_until_one_is_too_large() -> None:
    # 0.05/4 = 0.0125, 0.05/3 = 0.0167, 0.05/2 = 0.025: the third is too large, so the fourth is not looked at.
    assert by_p_values((0.01, 0.04, 0.03, 0.005), 0.05) == (True, False, False, True)


def test_holm_agrees_with_the_documented_example_of_r() -> None:
    # R, p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"): 0.05 0.08 0.09 0.09 0.09, the least levels that reject.
    p_values = (0.01, 0.02, 0.03, 0.04, 0.05)
    for place, level in enumerate((0.05, 0.08, 0.09, 0.09, 0.09)):
        assert by_p_values(p_values, level + 1e-9)[place]
        assert not by_p_values(p_values, level - 1e-9)[place]


def test_e_bh_admits_by_rank() -> None:
    # m = 4, alpha = 0.05: the first needs 80, two need 40 each, three 26.7, four 20.
    assert e_bh((80.0, 1.0, 2.0, 0.0)) == (True, False, False, False)
    assert e_bh((79.0, 39.0, 2.0, 0.0)) == (False, False, False, False)
    assert e_bh((45.0, 1.0, 40.0, 0.0)) == (True, False, True, False)
    assert e_bh((20.0, 20.0, 20.0, 20.0)) == (True, True, True, True)
    assert e_bh((math.inf, 0.0)) == (True, False)


def test_e_bh_bounds_the_share_of_false_admissions() -> None:
    # Nine harmless tests share one draw, the hardest dependence: e = 20 with probability 0.05, else 0.
    chance, alpha, shares = random.Random(3), 0.05, []
    for _ in range(4000):
        common = 20.0 if chance.random() < 0.05 else 0.0
        admitted = e_bh((common,) * 9 + (400.0,), alpha)
        false = sum(admitted[:9])
        shares.append(false / max(1, sum(admitted)))
    assert math.fsum(shares) / len(shares) <= alpha + 3 * math.sqrt(0.05 * 0.95 / 4000)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_is_between_bonferroni_and_no_correction(p_values: list[float], alpha: float) -> None:
    for value, rejected in zip(p_values, by_p_values(p_values, alpha), strict=True):
        assert not rejected or value <= alpha
        assert rejected or value > alpha / len(p_values)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12), st.data())
def test_more_evidence_never_admits_fewer(e_values: list[float], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(e_values) - 1))
    before = e_bh(e_values)
    after = e_bh([*e_values[:index], e_values[index] * 2 + 1, *e_values[index + 1 :]])
    assert all(later or not earlier for earlier, later in zip(before, after, strict=True))


def test_holm_asks_for_a_hypothesis_and_a_level() -> None:
    with pytest.raises(ValueError, match="hypothesis"):
        by_p_values(())
    with pytest.raises(ValueError, match="alpha"):
        by_p_values((0.5,), 1.0)


@pytest.mark.parametrize("values", [(), (-1.0,), (math.nan,)])
def test_what_are_no_e_values_is_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="e-values"):
        e_bh(values)


def test_impossible_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="alpha"):
        e_bh((1.0,), 1.0)
