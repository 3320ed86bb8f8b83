"""From bounds to PASS, FAIL or INCONCLUSIVE, with harm as the hypothesis that evidence must overturn.

Guarantees: if the truth is on the harmful side of the limit, PASS has probability at most the `alpha` of the
bound; if it is on the good side, FAIL has. Where the bounds lie on both sides of the limit the answer is
INCONCLUSIVE: too few documents is never a pass.
"""

from __future__ import annotations

from placet.domain.records import Outcome
from placet.stats.bounds import Bounds


def judge_floor(bounds: Bounds, threshold: float) -> Outcome:
    """Judge "the mean is at least `threshold`"; harm is a mean below it.

    PASS if the lower bound reaches the threshold, FAIL if the upper bound stays below it.
    """
    if bounds.low >= threshold:
        return Outcome.PASS
    return Outcome.FAIL if bounds.high < threshold else Outcome.INCONCLUSIVE


def judge_ceiling(bounds: Bounds, threshold: float) -> Outcome:
    """Judge "the mean is at most `threshold`"; harm is a mean above it.

    PASS if the upper bound does not exceed the threshold, FAIL if the lower bound does.
    """
    if bounds.high <= threshold:
        return Outcome.PASS
    return Outcome.FAIL if bounds.low > threshold else Outcome.INCONCLUSIVE


def judge_not_worse(bounds: Bounds, margin: float) -> Outcome:
    """Judge "the difference is above ``-margin``"; harm is a loss of `margin` or more.

    `bounds` are of a difference in which more is better. PASS if the lower bound is above ``-margin``, FAIL if
    the upper bound is below it. A margin of 0 asks for a proven gain.

    Raises:
        ValueError: `margin` is negative.
    """
    if margin < 0.0:
        raise ValueError(f"a margin is how much loss is tolerated, so not negative: {margin}")
    if bounds.low > -margin:
        return Outcome.PASS
    return Outcome.FAIL if bounds.high < -margin else Outcome.INCONCLUSIVE
