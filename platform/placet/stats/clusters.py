"""Bounds of a mean whose documents come in groups: several questions about one passage, several turns of one talk.

Documents of a group resemble each other, so they say less than as many independent ones. Only the groups are taken
to be independent here.

Guarantees: the bounds depend on what each group holds, not on any order. With many groups they are
cluster-robust: the independent rule on as many documents as the groups are worth. That is approximate, and errs on
the safe side where a few groups carry most of the weight. With few groups they are found by betting, whose error is
at most `alpha` for groups of any kind, as long as none can have more documents than was said before the sample was
seen, and no value can lie outside the metric's declared range. Without either, few groups allow no bounds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from placet.stats._scipy import beta_quantile, student_quantile
from placet.stats.bounds import Bounds, NotEstimableError, Range, counted, require_alpha, require_finite
from placet.stats.paired import tango_interval

METHODS = {
    "proportion": "Clopper-Pearson on effective documents, cluster-robust",
    "paired": "Tango score on effective documents, cluster-robust",
    "mean": "Student t, cluster-robust (CR2), one worst group added",
    "betting": "betting on groups",
}

MIN_GROUPS = 20
"""Fewest groups for which the cluster-robust bounds are relied on."""

MIN_DEGREES = 3.0
"""Fewest degrees of freedom for which they are: groups of very different sizes have fewer than groups."""

UNMET_GROUPS = 2
"""How many groups that turn over as a whole are reckoned with beyond those seen; fewer were not enough."""

_STAKES = tuple((i + 0.5) / 25 for i in range(25))
_BISECTIONS = 40


@dataclass(frozen=True, slots=True)
class Groups:
    """What each group holds, in an order that does not depend on the documents'.

    Attributes:
        sums: Sum of the values of each group.
        sizes: Number of documents of each group.
        scatter: Sum over all documents of the squared distance from the mean.
    """

    sums: tuple[float, ...]
    sizes: tuple[int, ...]
    scatter: float

    @property
    def n(self) -> int:
        """Number of documents."""
        return sum(self.sizes)

    @property
    def mean(self) -> float:
        """Mean over documents."""
        return math.fsum(self.sums) / self.n

    @property
    def weighty(self) -> float:
        """Size of the groups that weigh most, ``sum n_g^3 / sum n_g^2``; the common size if all have one."""
        return sum(size**3 for size in self.sizes) / sum(size**2 for size in self.sizes)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the mean's variance: of independent documents or of uniform groups, the fewer."""
        uniform = sum(size**2 for size in self.sizes) ** 2 / sum(size**4 for size in self.sizes) - 1.0
        return min(robust_variance(self)[1], uniform)


def grouped(values: Sequence[float], labels: Sequence[Hashable]) -> Groups:
    """Gather the values of each group.

    Raises:
        ValueError: Values and labels do not pair, there are none, or a value is not finite.
    """
    require_finite(tuple(values))
    if len(values) != len(labels):
        raise ValueError(f"{len(labels)} group labels do not fit {len(values)} values")
    members: dict[Hashable, list[float]] = {}
    for value, label in zip(values, labels, strict=True):
        members.setdefault(label, []).append(value)
    pairs = sorted((math.fsum(group), len(group)) for group in members.values())
    mean = math.fsum(values) / len(values)
    scatter = math.fsum((value - mean) ** 2 for value in values)
    return Groups(tuple(total for total, _ in pairs), tuple(size for _, size in pairs), scatter)


def robust_variance(groups: Groups) -> tuple[float, float]:
    """Return the CR2 variance of the mean over documents, and Satterthwaite's degrees of freedom.

    For a mean the correction has a closed form: with n documents in all, n_g of them in group g, and e_g the sum of
    the group's residuals, the variance is ``sum_g e_g^2 / (1 - n_g / n) / n^2``: unbiased if documents are
    independent and alike. The degrees of freedom are those of a chi-square of the same mean and variance under the
    same assumption, ``tr(M)^2 / tr(M^2)`` with ``M[g, h] = c_g c_h (n_g [g = h] - n_g n_h / n)``,
    ``c_g = (1 - n_g / n)^(-1/2)``. Groups of one size give the variance of their means over G, and G - 1 degrees.

    Source: Bell & McCaffrey, Survey Methodology 28 (2002) 169-181; Pustejovsky & Tipton, Journal of Business &
    Economic Statistics 36 (2018) 672-683.

    Raises:
        ValueError: Fewer than two groups.
    """
    n, mean, sizes = groups.n, groups.mean, groups.sizes
    if len(sizes) < 2:
        raise ValueError("the spread of one group is not known")
    variance = math.fsum(
        (total - size * mean) ** 2 / (1.0 - size / n) for total, size in zip(groups.sums, sizes, strict=True)
    ) / (n * n)
    # M = diag(d) - v v' with v_g = c_g n_g / sqrt(n), so its traces need no G x G matrix.
    d = [size / (1.0 - size / n) for size in sizes]
    v = [size * size / (1.0 - size / n) / n for size in sizes]
    trace = math.fsum(d) - math.fsum(v)
    cross = math.fsum(x * y for x, y in zip(d, v, strict=True))
    squares = math.fsum(x * x for x in d) - 2.0 * cross + math.fsum(v) ** 2
    return variance, trace * trace / squares


def unmet_size(groups: Groups, largest: int | None, drawn: float = 1.0) -> float:
    """Return the size of a group that was not met, as it is reckoned with.

    That of the groups that weigh most; or of the largest that there can be, if it is known and would be more: large
    groups may be the bad ones, and rare.
    """
    return max(groups.weighty, 0.0 if largest is None else math.ceil(largest * drawn - 1e-9))


def effective_documents(
    groups: Groups, alpha: float, low: float, high: float, unmet: float | None = None
) -> float:
    """Return how many independent documents the groups are worth, for bounds with error `alpha`.

    The design effect is the CR2 variance over that of independent documents, and at least 1. Both get two more groups
    of the size `unmet` (left out: that of the groups that weigh most), as far from the mean as values in [low, high]
    can be: groups that turn over as a whole may exist and not have been met, and the fewer groups were seen, the more
    that weighs. Few degrees of freedom take off a further ``(z / t)^2``, as in Korn & Graubard, Survey Methodology 24
    (1998) 193-201.

    Raises:
        ValueError: Fewer than two groups.
    """
    n, size = groups.n, groups.weighty if unmet is None else unmet
    surprise = UNMET_GROUPS * size * max(high - groups.mean, groups.mean - low) ** 2
    design = (robust_variance(groups)[0] * n * n + size * surprise) / (groups.scatter + surprise)
    z, t = NormalDist().inv_cdf(1.0 - alpha), student_quantile(groups.degrees, 1.0 - alpha)
    return n / max(1.0, design) * (z / t) ** 2


def group_mean_bounds(
    values: Sequence[float],
    labels: Sequence[Hashable],
    alpha: float,
    *,
    within: Range | None = None,
    largest: int | None = None,
    drawn: float = 1.0,
) -> Bounds:
    """Return the bounds of the mean of grouped values.

    Cluster-robust if there are at least `MIN_GROUPS` groups and `MIN_DEGREES` degrees of freedom: Clopper-Pearson on
    the effective documents for 0/1 values, else Student's with one worst group added. Otherwise by betting.

    Args:
        values: One for each document.
        labels: Each document's group.
        alpha: Error probability of each bound.
        within: The metric's declared range; None if none is declared.
        largest: Most documents that a group can have, known before the sample; None if it is not known.
        drawn: The share of all documents that the sample is, so that of a group of k about k times this is in it.

    Raises:
        ValueError: Values and labels do not pair, `alpha` is not in (0, 0.5), or few groups and one of them is larger
            than `largest`.
        NotEstimableError: Few groups, and the range or `largest` is not known.
    """
    require_alpha(alpha)
    groups = grouped(values, labels)
    if not _many(groups):
        return _by_betting(groups, alpha, within, largest)
    unmet = unmet_size(groups, largest, drawn)
    if not counted(values, within):
        return _student(groups, alpha, within or (min(values), max(values)), unmet)
    size, mean = effective_documents(groups, alpha, 0.0, 1.0, unmet), groups.mean
    right, wrong = size * mean, size * (1.0 - mean)
    low = beta_quantile(right, wrong + 1.0, alpha) if right > 0.0 else 0.0
    high = beta_quantile(right + 1.0, wrong, 1.0 - alpha) if wrong > 0.0 else 1.0
    return Bounds(mean, min(low, mean), max(high, mean), alpha, METHODS["proportion"], groups.n)


def group_difference_bounds(
    first: Sequence[float],
    second: Sequence[float],
    labels: Sequence[Hashable],
    alpha: float,
    *,
    within: Range | None = None,
    largest: int | None = None,
    drawn: float = 1.0,
) -> Bounds:
    """Return the bounds of the mean paired difference (first minus second) of grouped documents.

    As :func:`group_mean_bounds`, with Tango's score interval on the effective documents for 0/1 values.

    Raises:
        ValueError: As there.
        NotEstimableError: As there.
    """
    require_alpha(alpha)
    differences = [one - other for one, other in zip(first, second, strict=True)]
    groups = grouped(differences, labels)
    reach = None if within is None else (within[0] - within[1], within[1] - within[0])
    if not _many(groups):
        return _by_betting(groups, alpha, reach, largest)
    unmet = unmet_size(groups, largest, drawn)
    if not counted((*first, *second), within):
        return _student(groups, alpha, reach or (min(differences), max(differences)), unmet)
    share = effective_documents(groups, alpha, -1.0, 1.0, unmet) / groups.n
    gained = share * sum(1 for value in differences if value > 0)
    lost = share * sum(1 for value in differences if value < 0)
    bounds = tango_interval(gained, lost, share * groups.n, alpha)
    return Bounds(groups.mean, bounds.low, bounds.high, alpha, METHODS["paired"], groups.n)


def betting_interval(groups: Groups, alpha: float, low: float, high: float, largest: int) -> Bounds:
    """Return bounds that hold for any number of groups, however their values and sizes are distributed.

    For a mean m in question, somebody who stakes the share c of his capital on each group has, after all of them,
    ``prod_g (1 + c (S_g - n_g m) / (k (m - low)))`` with S_g the group's sum and k = `largest`. No factor is negative,
    since no group has more than k documents. The average is at most 1 if the mean is m or less, for two meanings of
    "the mean", and whether or not large groups are worse than small ones:

    - over all groups that there could be, of which these are drawn independently: the mean over their documents is
      E[S] / E[n], and E[S - n m] <= 0;
    - over the documents of a suite whose groups are what they are, all of them measured or some drawn at random: the
      factors' averages are 1 + c a_g with a_g of no positive sum, and their product is at most 1 (arithmetic and
      geometric mean; for a draw, the same for the polynomial that Szego composes of it, see the ADR).

    The lower bound is the m at which the average over 25 stakes c, evenly from 0 to 1, reaches ``1 / alpha``; by
    Markov's inequality it is wrong with probability at most `alpha`. The average never grows with m. The upper bound
    is the mirror image.

    Source: Waudby-Smith & Ramdas, J. R. Statist. Soc. B 86 (2024) 1-27, section 4 (capital as a function of m).

    Args:
        groups: The groups.
        alpha: Error probability of each bound.
        low: Least value that a document can have.
        high: Greatest value that a document can have.
        largest: Most documents that a group can have. It must not come from the sample.

    Raises:
        ValueError: `alpha` is out of range, a group's sum is outside what its values could be, or a group is larger
            than `largest`.
    """
    require_alpha(alpha)
    if max(groups.sizes) > largest:
        raise ValueError(
            f"a group of {max(groups.sizes)} documents, where {largest} were said to be the most"
        )
    for total, size in zip(groups.sums, groups.sizes, strict=True):
        if not size * low - 1e-9 <= total <= size * high + 1e-9:
            raise ValueError(f"values must be in [{low:g}, {high:g}]")
    mirrored = Groups(tuple(-total for total in groups.sums), groups.sizes, groups.scatter)
    bottom = _lower(groups, alpha, low, largest)
    top = -_lower(mirrored, alpha, -high, largest)
    return Bounds(groups.mean, bottom, top, alpha, METHODS["betting"], groups.n)


def _many(groups: Groups) -> bool:
    return len(groups.sizes) >= MIN_GROUPS and groups.degrees >= MIN_DEGREES


def _by_betting(groups: Groups, alpha: float, within: Range | None, largest: int | None) -> Bounds:
    if within is None or largest is None:
        lacking = "what values the metric can have" if within is None else "how large a group can be"
        raise NotEstimableError(
            f"{len(groups.sizes)} groups, or groups so unequal, are too few for an interval where it is not declared "
            f"{lacking}",
            hint=f"declare it in the suite's manifest, or measure at least {MIN_GROUPS} groups of similar size",
        )
    return betting_interval(groups, alpha, *within, largest)


def _student(groups: Groups, alpha: float, within: Range, unmet: float) -> Bounds:
    """Return Student's bounds with the CR2 variance, each with one group of `unmet` more whose values are the worst."""
    low, high = within
    size, mean = round(unmet), groups.mean
    ends = []
    for worst, sign in ((low, -1.0), (high, 1.0)):
        more = Groups((*groups.sums, size * worst), (*groups.sizes, size), groups.scatter)
        t = student_quantile(groups.degrees, 1.0 - alpha)
        ends.append(more.mean + sign * t * math.sqrt(robust_variance(more)[0]))
    return Bounds(mean, min(ends[0], mean), max(ends[1], mean), alpha, METHODS["mean"], groups.n)


def _lower(groups: Groups, alpha: float, low: float, largest: int) -> float:
    pairs = [
        ((total - size * low) / largest, size / largest)
        for total, size in zip(groups.sums, groups.sizes, strict=True)
    ]
    goal = len(_STAKES) / alpha

    def rejected(mean: float) -> bool:
        results = [total / (mean - low) - size for total, size in pairs]
        return math.fsum(math.prod(1.0 + stake * one for one in results) for stake in _STAKES) >= goal

    below, above = low, groups.mean
    for _ in range(_BISECTIONS):
        middle = (below + above) / 2.0
        if middle <= low:
            break
        if rejected(middle):
            below = middle
        else:
            above = middle
    return below
