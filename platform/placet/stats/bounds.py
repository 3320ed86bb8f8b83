"""What every interval of this package returns, and the error of data that allow none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from placet.domain.errors import Error

RECORDED_PLACES = 6
"""Decimal places of a number on record (see `placet.domain.digests.decimal_string`)."""


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
