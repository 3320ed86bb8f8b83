"""Grouped documents: textbook identities, brute force with matrices, errors by enumeration and simulation."""

from __future__ import annotations

import math
import random
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.stats.bounds import NotEstimableError
from placet.stats.clusters import (
    MIN_GROUPS,
    Groups,
    betting_interval,
    effective_documents,
    grouped,
    robust_variance,
)
from placet.stats.exact import exact_interval
from placet.stats.mean import difference_bounds, mean_bounds
from placet.stats.proportion import clopper_pearson


def spread(counts: list[tuple[int, int, int]]) -> tuple[list[float], list[float], list[str]]:
    """Return first, second and labels of groups given as (gained, lost, same)."""
    first, second, labels = [], [], []
    for number, (gained, lost, same) in enumerate(counts):
        first += [1.0] * gained + [0.0] * lost + [1.0] * same
        second += [0.0] * gained + [1.0] * lost + [1.0] * same
        labels += [f"passage-{number}"] * (gained + lost + same)
    return first, second, labels


def test_groups_of_one_size_give_the_variance_of_their_means() -> None:
    chance = random.Random(1)
    means = [chance.random() for _ in range(12)]
    values = [mean for mean in means for _ in range(5)]
    labels = [number // 5 for number in range(60)]
    variance, degrees = robust_variance(grouped(values, labels))
    average = math.fsum(means) / 12
    assert variance == pytest.approx(math.fsum((mean - average) ** 2 for mean in means) / 11 / 12)
    assert degrees == pytest.approx(11.0)


def test_variance_and_degrees_agree_with_the_matrices_of_the_paper() -> None:
    # Pustejovsky & Tipton (2018), equations 6 and 11, with an identity working model and an intercept alone.
    sizes, chance = [1, 4, 2, 9, 3, 3, 7], np.random.default_rng(2)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    y = chance.normal(size=len(labels)) + chance.normal(size=len(sizes))[labels]
    n = len(y)
    hat = np.full((n, n), 1.0 / n)
    residuals = y - y.mean()
    rows, variance = [], 0.0
    for group in range(len(sizes)):
        inside = labels == group
        values, vectors = np.linalg.eigh(np.eye(inside.sum()) - hat[np.ix_(inside, inside)])
        adjust = vectors @ np.diag(values**-0.5) @ vectors.T
        weights = np.ones(inside.sum()) @ adjust / n
        variance += float(weights @ residuals[inside]) ** 2
        rows.append(weights @ (np.eye(n) - hat)[inside])
    moments = np.array(rows) @ np.array(rows).T
    degrees = np.trace(moments) ** 2 / np.trace(moments @ moments)
    found = robust_variance(grouped(list(y), list(labels)))
    assert found == pytest.approx((variance, degrees))


def test_groups_of_one_document_are_no_groups() -> None:
    first, second = (1.0, 0.0, 1.0, 1.0) * 10, (1.0, 1.0, 0.0, 1.0) * 10
    assert difference_bounds(first, second, groups=range(40)) == exact_interval(10, 10, 40)
    assert mean_bounds(first, groups=range(40)) == clopper_pearson(30, 40)


def test_documents_that_repeat_each_other_count_as_one() -> None:
    # 60 groups of 5 documents that always agree: worth 60 documents, less the doubt about groups not met.
    outcomes = [number % 5 != 0 for number in range(60)]
    values = [float(right) for right in outcomes for _ in range(5)]
    labels = [number // 5 for number in range(300)]
    size = effective_documents(grouped(values, labels), 0.05, 0.0, 1.0)
    assert 50 < size <= 61
    bounds, alone = mean_bounds(values, groups=labels), clopper_pearson(48, 60)
    assert bounds.low == pytest.approx(alone.low, abs=0.01)
    assert bounds.high == pytest.approx(alone.high, abs=0.01)
    assert bounds.n == 300


def test_independent_documents_in_many_groups_lose_little() -> None:
    chance = random.Random(5)
    counts = []
    for _ in range(300):
        flips = [chance.random() for _ in range(4)]
        gained, lost = sum(u < 0.05 for u in flips), sum(u > 0.95 for u in flips)
        counts.append((gained, lost, 4 - gained - lost))
    first, second, labels = spread(counts)
    bounds, plain = difference_bounds(first, second, groups=labels), difference_bounds(first, second)
    assert bounds.method == "Tango score on effective documents, cluster-robust"
    assert 1.0 <= (bounds.high - bounds.low) / (plain.high - plain.low) < 1.25


def test_few_groups_are_judged_by_betting() -> None:
    first, second, labels = spread([(1, 0, 9)] * (MIN_GROUPS - 1))
    assert difference_bounds(first, second, groups=labels).method == "betting on groups"
    values = [0.2, 0.4] * (MIN_GROUPS - 1)
    pairs = [number // 2 for number in range(len(values))]
    assert mean_bounds(values, groups=pairs).method == "betting on groups"
    with pytest.raises(NotEstimableError, match="too few"):
        mean_bounds([value * 10 for value in values], groups=pairs)


def test_one_huge_group_among_many_is_judged_by_betting() -> None:
    first, second, labels = spread([(2, 2, 400)] + [(0, 0, 1)] * 40)
    assert difference_bounds(first, second, groups=labels).method == "betting on groups"


@pytest.mark.parametrize(
    ("chances", "sizes"),
    [
        ({1.0: 0.1, 0.0: 0.6, -1.0: 0.3}, (1, 1, 1, 1, 1, 1)),
        ({1.0: 0.5, -1.0: 0.5}, (1, 3, 2, 1, 1, 2)),
        ({1.0: 0.9, -1.0: 0.1}, (1, 1, 1, 1, 1, 1, 1, 1)),
        ({0.0: 0.97, -1.0: 0.03}, (4, 4, 1, 4)),
    ],
)
def test_error_of_betting_on_groups_is_at_most_alpha(
    chances: dict[float, float], sizes: tuple[int, ...]
) -> None:
    # Every document of a group has the group's value: the worst that dependence can do.
    truth, alpha = sum(value * chance for value, chance in chances.items()), 0.2
    missed = [0.0, 0.0]
    for values in product(chances, repeat=len(sizes)):
        chance = math.prod(chances[value] for value in values)
        sums = tuple(value * size for value, size in zip(values, sizes, strict=True))
        bounds = betting_interval(Groups(sums, sizes, 0.0), alpha, -1.0, 1.0)
        missed[0] += chance * (bounds.low > truth + 1e-9)
        missed[1] += chance * (bounds.high < truth - 1e-9)
    assert max(missed) <= alpha


def test_faultless_groups_show_what_few_groups_can() -> None:
    # 12 of 12 right throughout: m^12 = 0.05 would be the best one could say, m = 0.779; betting pays for not knowing.
    values, labels = [1.0] * 60, [number // 5 for number in range(60)]
    bounds = mean_bounds(values, groups=labels)
    assert 0.68 < bounds.low < 0.05 ** (1 / 12)
    assert bounds.high == 1.0


@pytest.mark.parametrize(("groups", "together"), [(25, 0.3), (60, 0.1)])
def test_false_passes_stay_below_alpha_where_groups_turn_over_as_a_whole(
    groups: int, together: float
) -> None:
    # All harm comes as losses, some of it as whole groups: the hardest case for a rule that estimates a variance.
    chance, wrong, runs, margin = random.Random(8), 0, 300, 0.05
    for _ in range(runs):
        counts = []
        for _ in range(groups):
            if chance.random() < together:
                lost = 10 if chance.random() < margin else 0
            else:
                lost = sum(chance.random() < margin for _ in range(10))
            counts.append((0, lost, 10 - lost))
        first, second, labels = spread(counts)
        wrong += difference_bounds(first, second, groups=labels).low > -margin
    assert wrong / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 40))
def test_order_does_not_matter(data: st.DataObject, groups: int) -> None:
    counts = data.draw(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4)),
            min_size=groups,
            max_size=groups,
        )
    )
    first, second, labels = spread(counts)
    order = data.draw(st.permutations(range(len(labels))))
    bounds = difference_bounds(first, second, groups=labels)
    mixed = difference_bounds(
        [first[i] for i in order], [second[i] for i in order], groups=[labels[i] for i in order]
    )
    assert (mixed.estimate, mixed.low, mixed.high) == (bounds.estimate, bounds.low, bounds.high)
    assert -1.0 <= bounds.low <= bounds.estimate <= bounds.high <= 1.0


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        mean_bounds((1.0, 0.0, 1.0), groups=("a", "a"))
    with pytest.raises(ValueError, match="one group"):
        robust_variance(grouped((1.0, 0.0), ("a", "a")))
    with pytest.raises(ValueError, match="values must be in"):
        betting_interval(Groups((5.0,), (2,), 0.0), 0.05, 0.0, 1.0)
