"""Tango's score interval for the difference of two proportions measured on the same documents.

Guarantees: the interval never leaves [-1, 1], exists for every table (also with no discordant pair, and for
n = 1), and is the set of differences the score test does not reject. It is asymptotic: the true error of a
bound is close to `alpha` but not bounded by it; `docs/explanation/statistics.md` gives the error found by
enumeration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from placet.stats.bounds import Bounds, require_alpha

METHOD = "Tango score, paired"
_BISECTIONS = 60


@dataclass(frozen=True, slots=True)
class PairedTable:
    """How two subjects answered the same documents, by document.

    Attributes:
        both: Right in both.
        gained: Right in the first only (b).
        lost: Right in the second only (c).
        neither: Wrong in both.
    """

    both: int
    gained: int
    lost: int
    neither: int

    @property
    def n(self) -> int:
        """Number of documents."""
        return self.both + self.gained + self.lost + self.neither


def paired_table(first: Sequence[float], second: Sequence[float]) -> PairedTable:
    """Count the four kinds of documents in two aligned sequences of 0 and 1.

    Raises:
        ValueError: The sequences differ in length, are empty, or hold something else than 0 and 1.
    """
    if len(first) != len(second) or not first:
        raise ValueError("paired values must be of the same documents, at least one")
    cells = {(1.0, 1.0): 0, (1.0, 0.0): 0, (0.0, 1.0): 0, (0.0, 0.0): 0}
    for pair in zip(first, second, strict=True):
        if pair not in cells:
            raise ValueError(f"a binary outcome is 0 or 1, not {pair}")
        cells[pair] += 1
    return PairedTable(cells[1.0, 1.0], cells[1.0, 0.0], cells[0.0, 1.0], cells[0.0, 0.0])


def tango_statistic(gained: float, lost: float, n: float, difference: float) -> float:
    """Return Tango's score statistic of the hypothesis that the true difference is `difference`.

    With b = `gained`, c = `lost`, D = `difference`::

        T(D) = (b - c - n D) / sqrt(n (2 q + D (1 - D)))

    where q, the probability of a lost document, is its maximum-likelihood estimate under the hypothesis: the
    larger root of ``A q^2 + B q + C`` with ``A = 2n``, ``B = -b - c + (2n - b + c) D``, ``C = -c D (1 - D)``.
    At D = 0 it is McNemar's statistic. T falls as D rises and is about standard normal if the hypothesis is true.

    Source: Tango, Statistics in Medicine 17 (1998) 891-908.

    Raises:
        ValueError: The counts make no table, or `difference` is not in [-1, 1].
    """
    _require_table(gained, lost, n)
    if not -1.0 <= difference <= 1.0:
        raise ValueError(f"a difference of proportions is in [-1, 1], not {difference}")
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1.0 - difference)
    root = math.sqrt(max(0.0, b * b - 8 * n * c))
    # The textbook form cancels when b > 0; its conjugate does not.
    q = (root - b) / (4 * n) if b <= 0 else -2.0 * c / (b + root)
    variance = n * (2.0 * q + difference * (1.0 - difference))
    distance = gained - lost - n * difference
    if variance <= 0.0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def tango_interval(gained: float, lost: float, n: float, alpha: float = 0.05) -> Bounds:
    """Return the score bounds of the difference (first minus second) of two paired proportions.

    The bounds are the differences D at which :func:`tango_statistic` equals the ``1 - alpha`` normal quantile
    (lower) and its negative (upper), found by bisection to better than 1e-15. Counts need not be whole: see
    :func:`placet.stats.clusters.effective_documents`.

    Args:
        gained: Documents right in the first only.
        lost: Documents right in the second only.
        n: All documents, the concordant ones included.
        alpha: Error probability of each bound; 0.05 gives the two-sided 90% interval.

    Source: Tango, Statistics in Medicine 17 (1998) 891-908.

    Raises:
        ValueError: The counts make no table, or `alpha` is not in (0, 0.5).
    """
    _require_table(gained, lost, n)
    require_alpha(alpha)
    low = _lower(gained, lost, n, alpha)
    high = -_lower(lost, gained, n, alpha)
    return Bounds((gained - lost) / n, low, high, alpha, METHOD, round(n))


def _lower(gained: float, lost: float, n: float, alpha: float) -> float:
    z = NormalDist().inv_cdf(1.0 - alpha)
    rejected, kept = -1.0, (gained - lost) / n
    for _ in range(_BISECTIONS):
        middle = (rejected + kept) / 2.0
        if tango_statistic(gained, lost, n, middle) > z:
            rejected = middle
        else:
            kept = middle
    return rejected


def _require_table(gained: float, lost: float, n: float) -> None:
    if n < 1:
        raise ValueError(f"a paired difference needs at least one document, not {n}")
    if gained < 0 or lost < 0 or gained + lost > n:
        raise ValueError(f"gained {gained} and lost {lost} do not fit into {n} documents")
