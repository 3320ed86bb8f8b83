"""What every interval of this package returns, and the error of data that allow none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from placet.domain.errors import Error

RECORDED_PLACES = 6
"""Decimal places of a number on record (see `placet.domain.digests.decimal_string`)."""

Range = tuple[float, float]
"""The least and the greatest value that a metric can have, declared before anything is measured."""


class NotEstimableError(Error):
    """The data do not allow the interval asked for: too few values, or all alike."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate with a lower and an upper confidence bound, each wrong with probability at most `alpha`.

    Attributes:
        estimate: The figure itself, in the unit of the values it is made of.
        low: One-sided lower bound of confidence ``1 - alpha``.
        high: One-sided upper bound of confidence ``1 - alpha``.
        alpha: Error probability of each bound by itself.
        method: Name of the method, for the record.
        n: Number of values (pairs, for a paired difference).
    """

    estimate: float
    low: float
    high: float
    alpha: float
    method: str
    n: int

    @property
    def level(self) -> float:
        """Coverage of the two bounds taken together as an interval."""
        return 1.0 - 2.0 * self.alpha

    def mirrored(self) -> Bounds:
        """Return the bounds of the figure's negative."""
        return Bounds(-self.estimate, -self.high, -self.low, self.alpha, self.method, self.n)

    def rounded_outward(self) -> Bounds:
        """Return the bounds rounded away from the estimate to the places a record keeps.

        A decision is made on these, so that the recorded interval and the recorded decision agree and the
        rounding can only cost certainty, never lend it.
        """
        return Bounds(
            self.estimate, _round_down(self.low), _round_up(self.high), self.alpha, self.method, self.n
        )


def counted(values: Sequence[float], within: Range | None) -> bool:
    """Return whether values are judged as counts: each is 0 or 1, and the metric can be nothing beyond.

    A metric that could lie between 0 and 1 and did not is no exception. Had each value been replaced by a coin that
    shows 1 with that probability, the counts would be those of a metric of 0 and 1 with the same mean, and here they
    are the same. Where no range is declared, values that are all 0 or 1 are taken for such a metric.
    """
    if not all(value in {0.0, 1.0} for value in values):
        return False
    return within is None or (within[0] >= 0.0 and within[1] <= 1.0)


def require_within(values: Sequence[float], within: Range | None) -> None:
    """Refuse values that the declared range does not allow.

    Raises:
        ValueError: The range is empty or not finite, or a value is outside it.
    """
    if within is None:
        return
    low, high = within
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"{low:g} to {high:g} is no range")
    if not all(low <= value <= high for value in values):
        raise ValueError(f"every value must be in the declared range, {low:g} to {high:g}")


def require_alpha(alpha: float) -> None:
    """Refuse an error probability that no test can have.

    Raises:
        ValueError: `alpha` is not in (0, 0.5).
    """
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha must be in (0, 0.5), not {alpha}")


def require_finite(values: tuple[float, ...]) -> None:
    """Refuse values that are not numbers.

    Raises:
        ValueError: A value is NaN or infinite, or there is none.
    """
    if not values:
        raise ValueError("no values")
    if not all(math.isfinite(value) for value in values):
        raise ValueError("every value must be a finite number")


def _round_down(value: float) -> float:
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-RECORDED_PLACES), ROUND_FLOOR))


def _round_up(value: float) -> float:
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-RECORDED_PLACES), ROUND_CEILING))
