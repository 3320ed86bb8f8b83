"""Clopper-Pearson bounds of a proportion.

Guarantees: for every true proportion and every n, each bound is wrong with probability at most `alpha`
(tested by exhaustive enumeration). The price is width: the true error is often well below `alpha`.
"""

from __future__ import annotations

from placet.stats._scipy import beta_quantile, binomial_at_least
from placet.stats.bounds import Bounds, require_alpha

METHOD = "Clopper-Pearson"


def lower_bound(successes: int, n: int, alpha: float = 0.05) -> float:
    """Return the exact one-sided lower bound of a proportion, confidence ``1 - alpha``.

    It is the p at which `successes` or more out of `n` would be seen with probability `alpha`; by the
    beta-binomial identity the `alpha` quantile of ``Beta(x, n - x + 1)``, and 0 for x = 0.

    Source: Clopper & Pearson, Biometrika 26 (1934) 404-413.

    Raises:
        ValueError: `n` < 1, `successes` not in 0..n, or `alpha` not in (0, 0.5).
    """
    _require_counts(successes, n)
    require_alpha(alpha)
    return 0.0 if successes == 0 else beta_quantile(successes, n - successes + 1, alpha)


def upper_bound(successes: int, n: int, alpha: float = 0.05) -> float:
    """Return the exact one-sided upper bound of a proportion, confidence ``1 - alpha``.

    The mirror image of :func:`lower_bound`: the ``1 - alpha`` quantile of ``Beta(x + 1, n - x)``, and 1 for
    x = n.

    Source: Clopper & Pearson, Biometrika 26 (1934) 404-413.

    Raises:
        ValueError: As :func:`lower_bound`.
    """
    return 1.0 - lower_bound(n - successes, n, alpha)


def clopper_pearson(successes: int, n: int, alpha: float = 0.05) -> Bounds:
    """Return both one-sided bounds; together they are the two-sided interval of level ``1 - 2 * alpha``.

    For the customary two-sided 95% interval ask for ``alpha=0.025``.

    Args:
        successes: Number of trials that succeeded.
        n: Number of trials.
        alpha: Error probability of each bound.

    Raises:
        ValueError: As :func:`lower_bound`.
    """
    low, high = lower_bound(successes, n, alpha), upper_bound(successes, n, alpha)
    return Bounds(successes / n, low, high, alpha, METHOD, n)


def floor_p_value(successes: int, n: int, threshold: float) -> float:
    """Return the exact p-value of "the proportion is at most `threshold`": ``P(X >= successes | n, threshold)``.

    It is at most `alpha` if and only if :func:`lower_bound` reaches the threshold.

    Raises:
        ValueError: As :func:`lower_bound`, or `threshold` not in [0, 1].
    """
    _require_counts(successes, n)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"a proportion is in [0, 1], not {threshold}")
    return binomial_at_least(successes, n, threshold)


def _require_counts(successes: int, n: int) -> None:
    if n < 1:
        raise ValueError(f"a proportion needs at least one trial, not {n}")
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be in 0..{n}, not {successes}")
