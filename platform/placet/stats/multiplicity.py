"""Many hypotheses at once: subgroups of one suite, or many candidates for one release.

When is what needed?

- All gates of a policy must pass: nothing. A harmful adapter is allowed only if every gate that should catch it errs.
- Every subgroup must be shown to be fine: nothing, for the same reason. One of them is enough to refuse: Holm's rule
  bounds the probability that any harmless one is declared harmful.
- Many candidates, of which the good ones are picked: e-BH bounds the share of harmful ones among those picked.

Guarantees: nothing is assumed of how the tests depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence


def holm(rejected_at: Sequence[Callable[[float], bool]], alpha: float = 0.05) -> tuple[bool, ...]:
    """Return which hypotheses are rejected, so that any true one is with probability at most `alpha`.

    Of m hypotheses, those rejected at ``alpha / m`` are, then of the k left those rejected at ``alpha / k``, and so on
    until none is.

    Args:
        rejected_at: For each hypothesis, whether its test rejects it at a level: also at any higher one.
        alpha: The level of all together.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.

    Raises:
        ValueError: No hypotheses, or `alpha` is not in (0, 1).
    """
    _require_level(alpha)
    if not rejected_at:
        raise ValueError("there must be a hypothesis")
    left = list(range(len(rejected_at)))
    while left:
        now = {place for place in left if rejected_at[place](alpha / len(left))}
        if not now:
            break
        left = [place for place in left if place not in now]
    return tuple(place not in left for place in range(len(rejected_at)))


def e_bh(e_values: Sequence[float], alpha: float = 0.05) -> tuple[bool, ...]:
    """Return which hypotheses of harm are rejected, so that at most the share `alpha` of them is true on average.

    With m e-values in falling order, the first k are rejected for the largest k whose k-th is at least
    ``m / (k alpha)``. An e-value is the evidence of one test when it stopped, of whatever length; see
    `placet.stats.sequential`. A sequential test that is to serve here runs with ``alpha / m`` as its own alpha,
    lest it stop before its evidence can be large enough.

    Source: Wang & Ramdas, False discovery rate control with e-values, J. R. Statist. Soc. B 84 (2022) 822-852.

    Raises:
        ValueError: No e-values, one is negative or not a number, or `alpha` is not in (0, 1).
    """
    _require_level(alpha)
    if not e_values or any(math.isnan(value) or value < 0.0 for value in e_values):
        raise ValueError("e-values must not be negative, and there must be one")
    m = len(e_values)
    falling = sorted(e_values, reverse=True)
    rejected = max((k for k in range(1, m + 1) if falling[k - 1] >= m / (k * alpha)), default=0)
    if rejected == 0:
        return (False,) * m
    return tuple(value >= falling[rejected - 1] for value in e_values)


def _require_level(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be in (0, 1), not {alpha}")
