"""Means: exact for 0 and 1, Student's for other numbers, refused where neither says anything."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.stats.bounds import Bounds, NotEstimableError
from placet.stats.exact import exact_interval
from placet.stats.mean import difference_bounds, mean_bounds, student_interval
from placet.stats.proportion import clopper_pearson


def test_binary_values_get_the_exact_bounds() -> None:
    assert mean_bounds((1.0,) * 7 + (0.0,) * 3) == clopper_pearson(7, 10)


def test_binary_pairs_get_the_exact_bounds() -> None:
    first, second = (1.0, 1.0, 0.0, 1.0), (1.0, 0.0, 1.0, 0.0)
    assert difference_bounds(first, second) == exact_interval(2, 1, 4)
    assert difference_bounds(first, second, limit=-0.1) == exact_interval(2, 1, 4, limit=-0.1)


def test_other_values_get_students_interval() -> None:
    # 0, 1, ..., 30: mean 15, variance 31 * 32 / 12; the 0.95 quantile of t with 30 df is 1.697 (any table).
    bounds = mean_bounds(tuple(float(value) for value in range(31)))
    half = 1.697261 * math.sqrt(31 * 32 / 12 / 31)
    assert bounds.method == "Student t"
    assert bounds.low == pytest.approx(15 - half, abs=1e-5)
    assert bounds.high == pytest.approx(15 + half, abs=1e-5)


def test_pairing_takes_out_what_both_share() -> None:
    hard = tuple(float(value % 17) for value in range(60))
    first = tuple(value + 0.5 + 0.01 * (i % 5) for i, value in enumerate(hard))
    bounds = difference_bounds(first, hard)
    assert bounds.method == "Student t, paired"
    assert 0.5 < bounds.low < bounds.high < 0.55


def test_a_declared_range_makes_each_bound_reckon_with_one_bad_document_more() -> None:
    values = [1.0] * 50 + [0.5] * 2
    bounds = mean_bounds(values, within=(0.0, 1.0))
    assert bounds.method == "Student t, one worst document added"
    assert bounds.n == 52
    assert bounds.low == student_interval([*values, 0.0]).low < student_interval(values).low
    assert bounds.high == max(student_interval(values).high, student_interval([*values, 1.0]).high)
    pair = difference_bounds(values, [1.0] * 52, within=(0.0, 1.0))
    assert pair.method == "Student t, paired, one worst document added"
    assert pair.low < bounds.low - 1.0
    # In another unit the worst is another.
    wide = mean_bounds([value * 3 for value in values], within=(0.0, 3.0))
    assert wide.low == pytest.approx(3 * bounds.low)
    # Where nobody says what can come, values seen are not asked: plain Student.
    assert mean_bounds(values).method == "Student t"


def test_values_all_0_or_1_of_a_metric_that_goes_further_are_no_counts() -> None:
    values = [1.0] * 30 + [0.0] * 30
    assert mean_bounds(values, within=(0.0, 1.0)) == clopper_pearson(30, 60)
    bounds = mean_bounds(values, within=(0.0, 50.0))
    assert bounds.method == "Student t, one worst document added"
    assert bounds.high > 2.0
    with pytest.raises(NotEstimableError, match="alike"):
        mean_bounds([1.0] * 60, within=(0.0, 50.0))
    assert difference_bounds(values, values[::-1], within=(0.0, 50.0)).method.startswith("Student")


@pytest.mark.parametrize("within", [(0.0, 0.5), (0.5, 1.0)])
def test_a_value_outside_the_declared_range_is_refused(within: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="every value must be in the declared range"):
        mean_bounds([0.25, 0.75] * 20, within=within)
    with pytest.raises(ValueError, match="is no range"):
        mean_bounds([0.5] * 40, within=(1.0, 1.0))


def test_rare_failures_seldom_make_a_floor_pass_wrongly() -> None:
    # Nine documents in ten score 1, the others anything: mean 0.95. Student alone errs in a tenth of the samples.
    chance, runs = random.Random(6), 1500
    wrong = [0, 0]
    for _ in range(runs):
        values = [1.0 if chance.random() < 0.9 else chance.random() for _ in range(100)]
        wrong[0] += mean_bounds(values, within=(0.0, 1.0)).low > 0.95
        wrong[1] += student_interval(values).low > 0.95
    assert wrong[0] / runs <= 0.05
    assert wrong[1] / runs > 0.07


def test_too_few_other_values_allow_no_interval() -> None:
    with pytest.raises(NotEstimableError, match="29 values"):
        student_interval([i / 10 for i in range(29)])


def test_values_all_alike_allow_no_interval() -> None:
    with pytest.raises(NotEstimableError, match="alike"):
        mean_bounds((0.3,) * 40)


@pytest.mark.parametrize("values", [(), (math.nan,), (1.0, math.inf)])
def test_values_that_are_no_numbers_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"no values|finite"):
        mean_bounds(values)


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ValueError, match="same documents"):
        difference_bounds((0.5, 0.2), (0.5,))


def test_rounding_for_the_record_never_narrows() -> None:
    bounds = Bounds(0.5, 0.12345678, 0.98765432, 0.05, "m", 9).rounded_outward()
    assert (bounds.low, bounds.high) == (0.123456, 0.987655)
    assert Bounds(0.5, 0.25, 0.75, 0.05, "m", 9).rounded_outward().low == 0.25


def test_mirrored_bounds_are_those_of_the_negative() -> None:
    bounds = Bounds(0.1, -0.2, 0.4, 0.05, "m", 9).mirrored()
    assert (bounds.estimate, bounds.low, bounds.high) == (-0.1, -0.4, 0.2)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=40)
    | st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=30, max_size=40, unique=True),
    st.data(),
)
def test_order_does_not_matter(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    mixed = data.draw(st.permutations(pairs))

    def bounds(rows: list[tuple[float, float]]) -> list[Bounds | str]:
        first, second = [one for one, _ in rows], [other for _, other in rows]
        found: list[Bounds | str] = []
        for call in (lambda: mean_bounds(first), lambda: difference_bounds(first, second, limit=-0.05)):
            try:
                found.append(call())
            except NotEstimableError as refusal:
                found.append(refusal.message)
        return found

    assert bounds(mixed) == bounds(pairs)
