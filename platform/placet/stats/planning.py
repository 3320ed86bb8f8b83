"""What a sample can show before it is drawn: power, least counts, documents needed.

Guarantees: the power of a floor (Clopper-Pearson) and of a not-worse gate (exact score test) is summed over all
outcomes, not approximated, so it is the probability that the gate of this package will pass (to 1e-6; outcomes
rarer than 1e-9 are left out). Searches for a margin, a gain or a number of documents do the same up to EXACT_UP_TO
documents; above it they sum the power of Tango's asymptotic test, which is quicker and within 0.04 of it there.

A margin below 0 asks for a gain of as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from placet.stats._scipy import binomial_at_least
from placet.stats.bounds import require_alpha
from placet.stats.exact import least_gained, not_worse_p_value, score_turning

MAX_DOCUMENTS = 100_000
"""Searches for a sample size stop here and answer None."""

EXACT_UP_TO = 200
"""Up to how many documents searches sum the power of the exact test."""

_FEW = 1000
"""Up to how many documents the number needed is held to the exact test."""

_NEGLIGIBLE = 1e-9
STEP = 1e-4
"""How finely margins and rates are searched."""


def least_successes(n: int, threshold: float, alpha: float = 0.05) -> int | None:
    """Return the fewest successes out of `n` whose lower Clopper-Pearson bound reaches `threshold`.

    The bound of x reaches t exactly if ``P(X >= x | n, t) <= alpha``.

    Returns:
        The count, or None if even `n` successes are too few.

    Raises:
        ValueError: `n` < 1 or `alpha` not in (0, 0.5).
    """
    _require(n, alpha)
    if threshold <= 0.0:
        return 0
    if threshold >= 1.0 or binomial_at_least(n, n, threshold) > alpha:
        return None
    short, enough = -1, n
    while enough - short > 1:
        middle = (short + enough) // 2
        if binomial_at_least(middle, n, threshold) <= alpha:
            enough = middle
        else:
            short = middle
    return enough


def most_successes(n: int, threshold: float, alpha: float = 0.05) -> int | None:
    """Return the most successes out of `n` whose upper Clopper-Pearson bound stays within `threshold`.

    Returns:
        The count, or None if even no success is too many.

    Raises:
        ValueError: As :func:`least_successes`.
    """
    failures = least_successes(n, 1.0 - threshold, alpha)
    return None if failures is None else n - failures


def detectable_rate(n: int, threshold: float, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Return the smallest true rate, to 0.0001, that passes the floor `threshold` on `n` documents with `power`.

    For a ceiling: ``1 - detectable_rate(n, 1 - threshold, ...)`` is the largest rate that passes it.

    Returns:
        The rate, or None if even a rate of 1 would not do.

    Raises:
        ValueError: As :func:`least_successes`, or `power` not in (0, 1).
    """
    require_power(power)
    needed = least_successes(n, threshold, alpha)
    if needed is None:
        return None
    short, enough = -1, round(1.0 / STEP)
    while enough - short > 1:
        middle = (short + enough) // 2
        if binomial_at_least(needed, n, middle * STEP) >= power:
            enough = middle
        else:
            short = middle
    return round(enough * STEP, 4)


def documents_for_floor(threshold: float, rate: float, alpha: float = 0.05) -> int | None:
    """Return the fewest documents on which an observed share of `rate` passes the floor `threshold`.

    Returns:
        The number, or None if `rate` is not above the threshold or more than MAX_DOCUMENTS are needed.
    """
    if rate <= threshold:
        return None

    def enough(n: int) -> bool:
        needed = least_successes(n, threshold, alpha)
        return needed is not None and needed <= math.floor(rate * n + 1e-9)

    return fewest(enough)


def documents_for_ceiling(threshold: float, rate: float, alpha: float = 0.05) -> int | None:
    """Return the fewest documents on which an observed share of `rate` passes the ceiling `threshold`.

    Returns:
        As :func:`documents_for_floor`.
    """
    return documents_for_floor(1.0 - threshold, 1.0 - rate, alpha)


def most_lost(gained: int, n: int, margin: float, alpha: float = 0.05) -> int | None:
    """Return the most lost documents with which a not-worse gate passes, `gained` and `n` being as they are.

    Returns:
        The count, or None if it would not pass with none lost.

    Raises:
        ValueError: The counts make no table, or `margin` is not in [0, 1).
    """
    _require(n, alpha)
    _require_margin(margin)
    if not_worse_p_value(gained, 0, n, margin) > alpha:
        return None
    passing, failing = 0, n - gained + 1
    while failing - passing > 1:
        middle = (passing + failing) // 2
        if not_worse_p_value(gained, middle, n, margin) <= alpha:
            passing = middle
        else:
            failing = middle
    return passing


def documents_at_shares(
    gained_share: float, lost_share: float, margin: float, alpha: float = 0.05
) -> int | None:
    """Return about the fewest documents on which these shares of gained and lost ones pass a not-worse gate.

    Returns:
        The number, or None if the loss is not below the margin or more than MAX_DOCUMENTS are needed.

    Raises:
        ValueError: An argument is out of range.
    """
    _require_margin(margin)
    require_alpha(alpha)
    if gained_share - lost_share <= -margin:
        return None

    def enough(n: int) -> bool:
        gained, lost = math.floor(gained_share * n + 1e-9), math.ceil(lost_share * n - 1e-9)
        return gained + lost <= n and not_worse_p_value(gained, lost, n, margin) <= alpha

    return fewest(enough)


def not_worse_power(
    n: int, margin: float, discordance: float, difference: float = 0.0, alpha: float = 0.05
) -> float:
    """Return the probability that a not-worse gate passes on `n` documents.

    The number of discordant documents is binomial(n, discordance); of m such, those gained are
    binomial(m, (discordance + difference) / (2 discordance)). For each m the tail from
    :func:`placet.stats.exact.least_gained` on is summed. At ``difference = -margin`` the result is the gate's
    true error.

    Args:
        n: Documents.
        margin: Tolerated loss; below 0 a gain that is asked for.
        discordance: Share of documents on which the two subjects differ.
        difference: True difference (first minus second).
        alpha: Error probability of the lower bound.

    Raises:
        ValueError: The shares do not fit each other, or an argument is out of range.
    """
    return power_of(least_gained, n, margin, discordance, difference, alpha)


def score_power(
    n: int, margin: float, discordance: float, difference: float = 0.0, alpha: float = 0.05
) -> float:
    """Return :func:`not_worse_power` of Tango's asymptotic test: quick, and at most some points too high.

    Raises:
        ValueError: As :func:`not_worse_power`.
    """
    return power_of(score_turning, n, margin, discordance, difference, alpha)


def planned_power(
    n: int,
    margin: float,
    discordance: float,
    difference: float = 0.0,
    alpha: float = 0.05,
    *,
    exact_up_to: int = EXACT_UP_TO,
) -> float:
    """Return :func:`not_worse_power` up to `exact_up_to` documents, :func:`score_power` above.

    Raises:
        ValueError: As :func:`not_worse_power`.
    """
    of = not_worse_power if n <= exact_up_to else score_power
    return of(n, margin, discordance, difference, alpha)


def detectable_margin(
    n: int,
    discordance: float,
    difference: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    *,
    exact_up_to: int = EXACT_UP_TO,
) -> float | None:
    """Return the smallest margin, to 0.0001, that a not-worse gate on `n` documents passes with `power`.

    Returns:
        The margin, or None if no margin below 1 is enough.

    Raises:
        ValueError: As :func:`not_worse_power`, or `power` not in (0, 1).
    """
    require_power(power)

    def enough(steps: int, of: Callable[..., float]) -> bool:
        return of(n, steps * STEP, discordance, difference, alpha) >= power

    return _detectable(enough, round(1.0 / STEP) - 1, exact=n <= exact_up_to)


def detectable_gain(
    n: int,
    by: float,
    discordance: float,
    alpha: float = 0.05,
    power: float = 0.8,
    *,
    exact_up_to: int = EXACT_UP_TO,
) -> float | None:
    """Return the smallest true difference, to 0.0001, that is shown to be above `by` on `n` documents with `power`.

    Args:
        n: Documents.
        by: The gain asked for; below 0 a tolerated loss.
        discordance: Share of documents on which the two subjects differ; as large as the difference at least.
        alpha: Error probability of the lower bound.
        power: Probability of passing.
        exact_up_to: Up to how many documents the exact test's power is summed.

    Returns:
        The difference, or None if even one of 1 would not do.

    Raises:
        ValueError: As :func:`not_worse_power`, or `power` not in (0, 1).
    """
    require_power(power)

    def enough(steps: int, of: Callable[..., float]) -> bool:
        gain = steps * STEP
        return of(n, -by, min(1.0, max(discordance, gain)), min(1.0, gain), alpha) >= power

    return _detectable(enough, round(1.0 / STEP), exact=n <= exact_up_to)


def _detectable(
    enough: Callable[[int, Callable[..., float]], bool], top: int, *, exact: bool
) -> float | None:
    """Return the least of `top` steps that is enough by the asymptotic test's power, or by the exact one's."""
    # The asymptotic test is off by a few steps at most, and its power much quicker to sum.
    found = least_step(lambda steps: enough(steps, score_power), top)
    if exact:
        found = least_step_near(lambda steps: enough(steps, not_worse_power), found, top)
    return round(found * STEP, 4) if found <= top else None


def documents_for_not_worse(
    margin: float, discordance: float, difference: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Return about the fewest documents on which a not-worse gate passes with `power`.

    Power rises with n in small steps up and down, so the number is right to within a hundredth.

    Returns:
        The number, or None if the margin leaves nothing to detect or more than MAX_DOCUMENTS are needed.
    """
    if difference <= -margin:
        return None
    found = fewest(lambda n: score_power(n, margin, discordance, difference, alpha) >= power)
    while (
        found is not None
        and found <= _FEW
        and not_worse_power(found, margin, discordance, difference, alpha) < power
    ):
        found += max(1, found // 100)
        found = found if found <= MAX_DOCUMENTS else None
    return found


def least_step(enough: Callable[[int], bool], top: int) -> int:
    """Return the least step of 0 to `top` that is enough, ``top + 1`` if none; what is enough stays so upwards."""
    short, long = -1, top + 1
    while long - short > 1:
        middle = (short + long) // 2
        short, long = (short, middle) if enough(middle) else (middle, long)
    return long


def least_step_near(enough: Callable[[int], bool], start: int, top: int) -> int:
    """Return :func:`least_step` where it lies near `start`: asked in strides that double, then by halves."""
    start = min(start, top)
    stride = 1
    if enough(start):
        short, long = start - 1, start
        while short >= 0 and enough(short):
            short, long, stride = max(-1, short - 2 * stride), short, 2 * stride
    else:
        short, long = start, start + 1
        while long <= top and not enough(long):
            short, long, stride = long, min(top + 1, long + 2 * stride), 2 * stride
        long = min(long, top + 1)
    while long - short > 1:
        middle = (short + long) // 2
        short, long = (short, middle) if enough(middle) else (middle, long)
    return long


def power_of(
    least: Callable[[int, int, float, float], int],
    n: int,
    margin: float,
    discordance: float,
    difference: float,
    alpha: float,
) -> float:
    """Return the probability of passing where `least` says how many gained of m discordant documents it takes.

    Args:
        least: Called with m, `n`, `margin` and `alpha`.
        n: As in :func:`not_worse_power`, like what follows.
        margin: As there.
        discordance: As there.
        difference: As there.
        alpha: As there.

    Raises:
        ValueError: As there.
    """
    _require_shares(n, margin, discordance, difference, alpha)
    share = (discordance + difference) / (2.0 * discordance) if discordance > 0 else 0.0
    total = []
    for m in range(n + 1):
        weight = _binomial_pmf(m, n, discordance)
        if weight > _NEGLIGIBLE:
            total.append(weight * binomial_at_least(least(m, n, margin, alpha), m, share))
    return min(1.0, math.fsum(total))


def fewest(enough: Callable[[int], bool]) -> int | None:
    """Return the fewest documents that are enough, None if MAX_DOCUMENTS are not; more are taken to stay enough."""
    high = 1
    while not enough(high):
        if high >= MAX_DOCUMENTS:
            return None
        high = min(2 * high, MAX_DOCUMENTS)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _binomial_pmf(k: int, n: int, p: float) -> float:
    if p <= 0.0 or p >= 1.0:
        return 1.0 if k == (0 if p <= 0.0 else n) else 0.0
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))


def _require(n: int, alpha: float) -> None:
    if n < 1:
        raise ValueError(f"a sample has at least one document, not {n}")
    require_alpha(alpha)


def _require_shares(n: int, margin: float, discordance: float, difference: float, alpha: float) -> None:
    _require(n, alpha)
    if not -1.0 < margin < 1.0:
        raise ValueError(f"a margin is in (-1, 1), not {margin}")
    if not abs(difference) <= discordance <= 1.0:
        raise ValueError(f"discordance {discordance} must be in [|difference|, 1], difference {difference}")


def require_power(power: float) -> None:
    """Refuse a power that is none.

    Raises:
        ValueError: It is not in (0, 1).
    """
    if not 0.0 < power < 1.0:
        raise ValueError(f"power must be in (0, 1), not {power}")


def _require_margin(margin: float) -> None:
    if not 0.0 <= margin < 1.0:
        raise ValueError(f"a margin is in [0, 1), not {margin}")
