"""The exact test behind a paired difference of 0/1 values: Tango's statistic, its distribution summed up.

Tango's score test alone passes harmful adapters a little more often than `alpha` (up to 0.059 for 0.05, see
`docs/explanation/statistics.md`). Here the statistic only orders the outcomes; the p-value is the largest
probability, over every share of differing documents that the data leave plausible, of an outcome at least as extreme.

Guarantees: for every true difference at or beyond the one tested, every share of differing documents and every n,
the p-value is at most `alpha` with probability at most `alpha` (the maximum is taken on a grid; the tests
enumerate the result). Where a gate names its limit, the bounds agree with the test of that limit.

Sources: Hsueh, Liu & Chen, Unconditional exact tests for equivalence or noninferiority for paired binary endpoints,
Biometrics 57 (2001) 478-483 (the test); Berger & Boos, P values maximized over a confidence set for the nuisance
parameter, JASA 89 (1994) 1012-1016 (the plausible shares); Tango, Statistics in Medicine 17 (1998) 891-908.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Any

from placet.stats._scipy import beta_quantile, numpy, special
from placet.stats.bounds import RECORDED_PLACES, Bounds, require_alpha
from placet.stats.paired import tango_interval, tango_statistic

METHOD = "Tango score, exact"

IMPLAUSIBLE = 1e-4
"""Probability that the true share of differing documents is outside the plausible ones; added to every p-value."""

_SHARES = 31
"""Grid points at which the plausible shares are tried."""

_TAIL = 7.0
"""Binomial outcomes farther from their mean than this many standard deviations are left out."""

_TIE = 1e-9
_RESOLUTION = 5e-7
"""Half of what a record keeps."""


def not_worse_p_value(gained: int, lost: int, n: int, margin: float) -> float:
    """Return the exact p-value of harm, "the true difference is ``-margin`` or below".

    Args:
        gained: Documents right in the adapter only.
        lost: Documents right in the other only.
        n: All documents.
        margin: Tolerated loss, in [-1, 1]; a negative one asks for a gain of more than its size.

    Raises:
        ValueError: The counts make no table, or the margin is out of range.
    """
    return _p_value(gained, lost, n, -margin)


def exact_interval(gained: int, lost: int, n: int, alpha: float = 0.05, limit: float | None = None) -> Bounds:
    """Return the bounds of the difference (first minus second) of two paired proportions.

    The lower bound is where the p-value of "this difference or less" turns from at most `alpha` to more; the upper
    is its mirror image. The p-value moves in small jumps, so it can turn more than once within a hair's breadth.
    Therefore a gate names its `limit`: the bound is put on the side of it on which the test of that limit puts it, so
    that the decision is the exact test's and its error no more than `alpha`.

    Args:
        gained: Documents right in the first only.
        lost: Documents right in the second only.
        n: All documents, the concordant ones included.
        alpha: Error probability of each bound.
        limit: The difference that a gate will compare the bounds with.

    Raises:
        ValueError: The counts make no table, or `alpha` is not in (0, 0.5).
    """
    require_alpha(alpha)
    low = _lower(gained, lost, n, alpha, limit)
    high = -_lower(lost, gained, n, alpha, None if limit is None else -limit)
    return Bounds((gained - lost) / n, low, high, alpha, METHOD, n)


@lru_cache(maxsize=4096)
def least_gained(discordant: int, n: int, margin: float, alpha: float = 0.05) -> int:
    """Return the fewest gained of `discordant` documents with which harm is excluded; ``discordant + 1`` if none.

    With the discordant documents fixed the p-value falls as the gained grow, so these counts say all about the
    test: it passes at and above them.

    Raises:
        ValueError: The counts make no table, or an argument is out of range.
    """
    require_alpha(alpha)
    gained = score_turning(discordant, n, margin, alpha)
    while gained <= discordant and _p_value(gained, discordant - gained, n, -margin) > alpha:
        gained += 1
    while gained > 0 and _p_value(gained - 1, discordant - gained + 1, n, -margin) <= alpha:
        gained -= 1
    return gained


def score_turning(discordant: int, n: int, margin: float, alpha: float) -> int:
    """Return :func:`least_gained` of Tango's asymptotic test: a quick answer, right or off by one or two."""
    z = NormalDist().inv_cdf(1.0 - alpha)
    failing, passing = -1, discordant + 1
    while passing - failing > 1:
        middle = (failing + passing) // 2
        if tango_statistic(middle, discordant - middle, n, -margin) > z:
            passing = middle
        else:
            failing = middle
    return passing


@lru_cache(maxsize=16384)
def _p_value(gained: int, lost: int, n: int, difference: float) -> float:
    observed = tango_statistic(gained, lost, n, difference)
    discordant = gained + lost
    half = IMPLAUSIBLE / 2.0
    low = beta_quantile(discordant, n - discordant + 1, half) if discordant else 0.0
    high = beta_quantile(discordant + 1, n - discordant, 1.0 - half) if discordant < n else 1.0
    # Under a loss of d at least the share d differs; a gain of d is only an upper limit and allows any share.
    low = max(low, -difference)
    high = max(high, low)
    shares = [min(1.0, low + (high - low) * i / (_SHARES - 1)) for i in range(_SHARES)]
    largest = max(_reach(n, difference, observed - _TIE, shares))
    return min(1.0, largest + IMPLAUSIBLE)


def _reach(n: int, difference: float, least: float, shares: list[float]) -> list[float]:
    """Return, for each share of differing documents, the probability of a statistic of `least` or more."""
    np, sp = numpy(), special()
    reach = [_TAIL * math.sqrt(n * share * (1.0 - share)) + _TAIL for share in shares]
    first = max(0, math.floor(min(n * share - far for share, far in zip(shares, reach, strict=True))))
    last = min(n, math.ceil(max(n * share + far for share, far in zip(shares, reach, strict=True))))
    counts = np.arange(first, last + 1)
    gained = _turning(counts, n, difference, least)
    ways = sp.gammaln(n + 1) - sp.gammaln(counts + 1) - sp.gammaln(n - counts + 1)
    found = []
    for share, far in zip(shares, reach, strict=True):
        part = slice(
            max(0, math.floor(n * share - far) - first), min(n, math.ceil(n * share + far)) - first + 1
        )
        m, g = counts[part], gained[part]
        weight = np.exp(ways[part] + sp.xlogy(m, share) + sp.xlog1py(n - m, -share))
        chance = 0.5 if share <= 0.0 else min(1.0, max(0.0, (share + difference) / (2.0 * share)))
        tail = sp.betainc(np.maximum(g, 1), np.maximum(m - g + 1, 1), chance)
        tail = np.where(g <= 0, 1.0, np.where(g > m, 0.0, tail))
        found.append(float((weight * tail).sum()))
    return found


def _turning(counts: Any, n: int, difference: float, least: float) -> Any:
    """Return, for each number of discordant documents, the fewest gained with a statistic of `least` or more."""
    np = numpy()
    below, above = np.full(len(counts), -1), counts + 1
    while np.any(open_ := above - below > 1):
        middle = (below + above) // 2
        enough = _statistics(middle, counts - middle, n, difference) >= least
        above = np.where(open_ & enough, middle, above)
        below = np.where(open_ & ~enough, middle, below)
    return above


def _statistics(gained: Any, lost: Any, n: int, difference: float) -> Any:
    """Return `placet.stats.paired.tango_statistic` of arrays of counts."""
    np = numpy()
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1.0 - difference)
    root = np.sqrt(np.maximum(0.0, b * b - 8 * n * c))
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(b <= 0, (root - b) / (4 * n), -2.0 * c / (b + root))
        variance = n * (2.0 * q + difference * (1.0 - difference))
        distance = gained - lost - n * difference
        flat = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
        return np.where(variance > 0.0, distance / np.sqrt(variance), flat)


def _lower(gained: int, lost: int, n: int, alpha: float, limit: float | None) -> float:
    estimate = (gained - lost) / n

    def rejected(difference: float) -> bool:
        return _p_value(gained, lost, n, difference) <= alpha

    near = tango_interval(gained, lost, n, alpha).low
    width = 0.02 * (estimate - near) + 0.2 / n
    below = above = near
    if rejected(near):
        while above < estimate and rejected(above):
            below, above, width = above, min(estimate, above + width), 2.0 * width
    else:
        while below > -1.0 and not rejected(below):
            below, above, width = max(-1.0, below - width), below, 2.0 * width
    while above - below > _RESOLUTION:
        middle = (below + above) / 2.0
        if rejected(middle):
            below = middle
        else:
            above = middle
    if limit is None or not -1.0 <= limit < estimate:
        return below
    if not rejected(limit):
        return min(below, limit)
    # The next number that a record can hold: a hair less would be rounded down to the limit itself.
    return max(below, round(limit + 10.0**-RECORDED_PLACES, RECORDED_PLACES))
