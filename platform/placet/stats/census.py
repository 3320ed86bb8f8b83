"""What all documents of a benchmark show: the plans of sequential gates that claim it alone and may run all of it.

Once all documents are run nothing is left to chance but which documents the benchmark has. Here they are drawn as in
`placet.stats.planning`, independently, so that the plans of fixed and of sequential gates speak of the same adapter.

Guarantees: probabilities are summed, not approximated, for a gate that runs all documents. One that stops early errs
either way with probability `alpha` at most, so its own differ by less than that; by 0.02 at most in simulation.
"""

from __future__ import annotations

import math
from fractions import Fraction

from placet.stats._scipy import binomial_at_least
from placet.stats.planning import STEP, fewest, least_step, power_of, require_power


def known_power(n: int, margin: float, discordance: float, difference: float = 0.0) -> float:
    """Return the probability that the difference on `n` documents, all of them run, is itself above ``-margin``.

    Raises:
        ValueError: As :func:`placet.stats.planning.not_worse_power`.
    """
    return power_of(_gained_for, n, margin, discordance, difference, 0.05)


def known_margin(n: int, discordance: float, difference: float = 0.0, power: float = 0.8) -> float | None:
    """Return the smallest margin, to 0.0001, with a :func:`known_power` of at least `power`; None if none is.

    Raises:
        ValueError: As :func:`known_power`, or `power` not in (0, 1).
    """
    require_power(power)
    top = round(1.0 / STEP) - 1
    found = least_step(
        lambda steps: known_power(n, round(steps * STEP, 4), discordance, difference) >= power, top
    )
    return round(found * STEP, 4) if found <= top else None


def known_gain(n: int, discordance: float, power: float = 0.8) -> float | None:
    """Return the smallest true difference, to 0.0001, that is a gain on `n` documents with `power`; None if none is.

    Raises:
        ValueError: As :func:`known_power`, or `power` not in (0, 1).
    """
    require_power(power)
    top = round(1.0 / STEP)

    def enough(steps: int) -> bool:
        gain = steps * STEP
        return known_power(n, 0.0, min(1.0, max(discordance, gain)), min(1.0, gain)) >= power

    found = least_step(enough, top)
    return round(found * STEP, 4) if found <= top else None


def known_rate_power(n: int, threshold: float, rate: float) -> float:
    """Return the probability that at least a share `threshold` of `n` documents counts, each with chance `rate`.

    Raises:
        ValueError: `n` < 1.
    """
    if n < 1:
        raise ValueError(f"a benchmark has at least one document, not {n}")
    return binomial_at_least(max(0, math.ceil(Fraction(repr(threshold)) * n)), n, rate)


def known_rate(n: int, threshold: float, power: float = 0.8) -> float | None:
    """Return the smallest rate, to 0.0001, with a :func:`known_rate_power` of at least `power`; None if none has it.

    Raises:
        ValueError: As :func:`known_rate_power`, or `power` not in (0, 1).
    """
    require_power(power)
    top = round(1.0 / STEP)
    found = least_step(lambda steps: known_rate_power(n, threshold, steps * STEP) >= power, top)
    return round(found * STEP, 4) if found <= top else None


def documents_for_known(
    margin: float, discordance: float, difference: float = 0.0, power: float = 0.8, *, more_than: int = 0
) -> int | None:
    """Return about the fewest documents, of more than `more_than`, with a :func:`known_power` of at least `power`.

    On a handful of documents hardly any is lost, so that nearly every adapter passes: say what is known to be too few.

    Returns:
        The number; None if the margin leaves nothing to show or MAX_DOCUMENTS are not enough.
    """
    if difference <= -margin:
        return None
    found = fewest(lambda extra: known_power(more_than + extra, margin, discordance, difference) >= power)
    return None if found is None else more_than + found


def _gained_for(discordant: int, n: int, margin: float, alpha: float) -> int:
    """Return the fewest gained of `discordant` with which the difference is above ``-margin`` on these documents."""
    target = Fraction(repr(margin)) * n
    return max(0, math.floor((discordant - target) / 2) + 1)
