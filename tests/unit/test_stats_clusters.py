"""Grouped documents: textbook identities, brute force with matrices, errors by enumeration and simulation."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import combinations, combinations_with_replacement, product

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
    unmet_size,
)
from placet.stats.exact import exact_interval
from placet.stats.mean import difference_bounds, mean_bounds
from placet.stats.proportion import clopper_pearson

UNIT = (0.0, 1.0)


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
    bounds = difference_bounds(first, second, within=UNIT, groups=labels, largest=10)
    assert bounds.method == "betting on groups"
    values = [0.2, 0.4] * (MIN_GROUPS - 1)
    pairs = [number // 2 for number in range(len(values))]
    assert mean_bounds(values, within=UNIT, groups=pairs, largest=2).method == "betting on groups"
    wide = mean_bounds([value * 10 for value in values], within=(0.0, 10.0), groups=pairs, largest=2)
    assert wide.low == pytest.approx(10 * mean_bounds(values, within=UNIT, groups=pairs, largest=2).low)


def test_few_groups_allow_no_bounds_where_range_or_size_is_not_declared() -> None:
    # All values seen are in [0, 1]; that says nothing of those that were not seen.
    values, pairs = [0.3, 1.0] * 15, [number // 2 for number in range(30)]
    with pytest.raises(NotEstimableError, match="not declared what values the metric can have"):
        mean_bounds(values, groups=pairs, largest=2)
    with pytest.raises(NotEstimableError, match="not declared how large a group can be"):
        mean_bounds(values, within=UNIT, groups=pairs)
    with pytest.raises(NotEstimableError, match="not declared what values the metric can have"):
        difference_bounds(values, [1.0] * 30, groups=pairs, largest=2)


def test_rare_large_values_pass_no_ceiling_on_few_groups() -> None:
    # One group in 33 has 20 throughout; its range declared, the upper bound reckons with it before it is met.
    chance, wrong, runs = random.Random(3), 0, 300
    truth = 0.3 + 0.03 * 19.7
    for _ in range(runs):
        values = [
            20.0 if bad else 0.3 for bad in (chance.random() < 0.03 for _ in range(15)) for _ in range(10)
        ]
        labels = [number // 10 for number in range(150)]
        wrong += mean_bounds(values, within=(0.0, 20.0), groups=labels, largest=10).high < truth
    assert wrong == 0


def test_one_huge_group_among_many_is_judged_by_betting() -> None:
    first, second, labels = spread([(2, 2, 400)] + [(0, 0, 1)] * 40)
    bounds = difference_bounds(first, second, within=UNIT, groups=labels, largest=404)
    assert bounds.method == "betting on groups"


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
        bounds = betting_interval(Groups(sums, sizes, 0.0), alpha, -1.0, 1.0, max(sizes))
        missed[0] += chance * (bounds.low > truth + 1e-9)
        missed[1] += chance * (bounds.high < truth - 1e-9)
    assert max(missed) <= alpha


# What a group may be: its chance, its size, and the value of all its documents.
@pytest.mark.parametrize(
    "kinds",
    [
        ((0.9, 1, 1.0), (0.1, 6, 0.0)),
        ((0.97, 1, 1.0), (0.03, 30, 0.0)),
        ((0.5, 2, 0.9), (0.3, 4, 0.5), (0.2, 8, 0.1)),
        ((0.6, 1, 0.0), (0.4, 5, 1.0)),
    ],
)
@pytest.mark.parametrize("groups", [2, 5, 9])
def test_error_of_betting_is_at_most_alpha_where_size_goes_with_score(
    kinds: tuple[tuple[float, int, float], ...], groups: int
) -> None:
    # Every outcome of groups drawn independently, sizes and all; the mean is over the documents of all there could be.
    size = sum(chance * n for chance, n, _ in kinds)
    truth, largest, alpha = (
        sum(chance * n * value for chance, n, value in kinds) / size,
        max(n for _, n, _ in kinds),
        0.2,
    )
    missed = [0.0, 0.0]
    for drawn in combinations_with_replacement(range(len(kinds)), groups):
        counts = [drawn.count(kind) for kind in range(len(kinds))]
        ways = math.factorial(groups) / math.prod(map(math.factorial, counts))
        chance = ways * math.prod(kinds[kind][0] for kind in drawn)
        sizes = tuple(kinds[kind][1] for kind in drawn)
        sums = tuple(kinds[kind][1] * kinds[kind][2] for kind in drawn)
        bounds = betting_interval(Groups(sums, sizes, 0.0), alpha, 0.0, 1.0, largest)
        missed[0] += chance * (bounds.low > truth + 1e-9)
        missed[1] += chance * (bounds.high < truth - 1e-9)
    assert max(missed) <= alpha


@pytest.mark.parametrize("drawn", [12, 6, 3])
def test_error_of_betting_is_at_most_alpha_for_documents_drawn_from_a_suite(drawn: int) -> None:
    # The suite's groups are what they are, large ones worse; the k of its largest is known before the draw.
    sizes, chances, alpha = (6, 2, 2, 1, 1), (0.1, 0.9, 0.9, 0.9, 0.9), 0.2
    documents = [group for group, size in enumerate(sizes) for _ in range(size)]
    truth = sum(chances[group] for group in documents) / len(documents)
    draws = Counter(
        tuple(Counter(picked)[group] for group in range(len(sizes)))
        for picked in combinations(documents, drawn)
    )
    missed = [0.0, 0.0]
    for met, ways in draws.items():
        for right in product((0, 1), repeat=len(sizes)):
            chance = math.prod(p if one else 1.0 - p for p, one in zip(chances, right, strict=True))
            pairs = [(float(n * one), n) for n, one in zip(met, right, strict=True) if n]
            held = Groups(tuple(total for total, _ in pairs), tuple(n for _, n in pairs), 0.0)
            bounds = betting_interval(held, alpha, 0.0, 1.0, max(sizes))
            share = chance * ways / sum(draws.values())
            missed[0] += share * (bounds.low > truth + 1e-9)
            missed[1] += share * (bounds.high < truth - 1e-9)
    assert max(missed) <= alpha


def test_a_group_larger_than_was_said_is_refused() -> None:
    with pytest.raises(ValueError, match="a group of 3 documents, where 2 were said to be the most"):
        betting_interval(Groups((1.0, 1.0), (3, 1), 0.0), 0.05, 0.0, 1.0, 2)


@pytest.mark.parametrize("groups", [18, 25, 60])
def test_large_bad_groups_that_were_not_met_pass_no_floor(groups: int) -> None:
    # One group in 33 is thirty times as large and all wrong; the mean over documents is 0.50, most samples show 0.97.
    chance, wrong, runs = random.Random(4), 0, 200
    truth = 0.97 * 0.97 / (0.03 * 30 + 0.97)
    for _ in range(runs):
        values, labels = list[float](), list[int]()
        for group in range(groups):
            bad = chance.random() < 0.03
            values += [0.0] * 30 if bad else [float(chance.random() < 0.97)]
            labels += [group] * (30 if bad else 1)
        wrong += mean_bounds(values, within=UNIT, groups=labels, largest=30).low > truth
    assert wrong / runs <= 0.05


def test_a_part_of_the_documents_meets_a_part_of_a_group() -> None:
    groups = grouped([1.0] * 40, [number // 2 for number in range(40)])
    assert unmet_size(groups, None) == 2.0
    assert unmet_size(groups, 30) == 30.0
    assert unmet_size(groups, 30, 0.1) == 3.0
    # No two documents of this sample share a group, and one that was not met would bring three.
    labels = range(40)
    assert mean_bounds([1.0] * 39 + [0.0], within=UNIT, groups=labels, largest=30, drawn=0.1).method.endswith(
        "robust"
    )
    assert mean_bounds([1.0] * 39 + [0.0], within=UNIT, groups=labels, largest=1) == clopper_pearson(39, 40)


def test_faultless_groups_show_what_few_groups_can() -> None:
    # 12 of 12 right throughout: m^12 = 0.05 would be the best one could say, m = 0.779; betting pays for not knowing.
    values, labels = [1.0] * 60, [number // 5 for number in range(60)]
    bounds = mean_bounds(values, within=UNIT, groups=labels, largest=5)
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
    bounds = difference_bounds(first, second, within=UNIT, groups=labels, largest=12)
    mixed = difference_bounds(
        [first[i] for i in order],
        [second[i] for i in order],
        within=UNIT,
        groups=[labels[i] for i in order],
        largest=12,
    )
    assert (mixed.estimate, mixed.low, mixed.high) == (bounds.estimate, bounds.low, bounds.high)
    assert -1.0 <= bounds.low <= bounds.estimate <= bounds.high <= 1.0


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        mean_bounds((1.0, 0.0, 1.0), groups=("a", "a"))
    with pytest.raises(ValueError, match="one group"):
        robust_variance(grouped((1.0, 0.0), ("a", "a")))
    with pytest.raises(ValueError, match="values must be in"):
        betting_interval(Groups((5.0,), (2,), 0.0), 0.05, 0.0, 1.0, 2)
