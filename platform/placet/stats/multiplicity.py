"""Many hypotheses at once: subgroups of one suite, or many candidates for one release.

When is what needed?

- All gates of a policy must pass: nothing. A harmful adapter is allowed only if every gate that should catch it errs.
- One subgroup is enough to refuse, and each is claimed to be fine: Holm's rule bounds the probability that any harmful
  subgroup is declared fine.
- Many candidates, of which the good ones are picked: e-BH bounds the share of harmful ones among those picked.

Guarantees: nothing is assumed of how the tests depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float = 0.05) -> tuple[bool, ...]:
    """Return which hypotheses of harm are rejected, so that any true one is with probability at most `alpha`.

    The smallest of m p-values is compared with ``alpha / m``, the next with ``alpha / (m - 1)``, and so on until
    one is too large.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.

    Raises:
        ValueError: No p-values, one is not in [0, 1], or `alpha` is not in (0, 1).
    """
    _require_level(alpha)
    return tuple(adjusted <= alpha for adjusted in holm_adjusted(p_values))


def holm_adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return each p-value as the smallest `alpha` at which :func:`holm` rejects it.

    Raises:
        ValueError: No p-values, or one is not in [0, 1].
    """
    if not p_values or not all(0.0 <= value <= 1.0 for value in p_values):
        raise ValueError("p-values must be in [0, 1], and there must be one")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


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
