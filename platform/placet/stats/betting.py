"""Two opposed e-processes for the mean of bounded values, by betting: the engine of the sequential tests.

One gambler bets that the mean is above a limit, the other that it is below. Each starts with a capital of 1 and
stakes, before each value is seen, a share of it on the value's distance from what it would be on average if the
gambler were wrong. If he is wrong his capital is a nonnegative supermartingale, so that it ever reaches
``1 / alpha`` with probability at most `alpha` (Ville 1939), whenever one looks and for whatever reason one stops.

Guarantees: a bet depends on earlier values only; capital never goes negative; no value is used twice. Nothing here
imports numpy, but every number of a :class:`Process` may be an array of streams that run side by side, if numpy's
`minimum` and `maximum` are handed in: the benchmarks run the very code that decides.

Sources: Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting, J. R. Statist. Soc. B 86
(2024) 1-27 (the capital process, with and without replacement); the same, Confidence sequences for sampling without
replacement, NeurIPS 2020 (the conditional mean of what remains); Waudby-Smith, Stark & Ramdas, RiLACS, E-Vote-ID
2021 (a known companion value to shed variance).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Pick = Callable[[float, float], float]

STAKE_LIMIT = 0.95
"""Largest share of its capital that a gambler can lose on one value."""

PRIOR_DOCUMENTS = 30
"""How many documents the guess of the variance counts for."""

SLOPE_DOCUMENTS = 200
"""How many documents the guess of the companion's slope counts for."""

OVERSHOOT = 1.02
"""A win never carries the capital above this multiple of the goal: what lies above would be bought for nothing."""

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Prior:
    """What the gamblers expect: a weight for each distance between the mean and the limit.

    Attributes:
        distances: Positive, in the unit of the values.
        weights: Sum to 1. The capital is the weighted sum of the capitals of one gambler for each distance.
        variance: Guess of the variance of a value; the data take over after about `PRIOR_DOCUMENTS`.
    """

    distances: tuple[float, ...]
    weights: tuple[float, ...]
    variance: float


def prior_around(distance: float, variance: float, *, spread: float = 0.4) -> Prior:
    """Return a prior that stakes most on distances near `distance`, and a little on much larger ones.

    The weights are log-normal about ``1.3 * distance``: staking too low on a mean that is farther away costs more
    than staking slightly too high. Six parts in a hundred go to larger multiples, up to 16, so that a mean far from
    the limit is settled on few values. The figures were chosen by simulation; none of them touches the error.

    Args:
        distance: Distance of the mean from the limit that is expected.
        variance: Guess of the variance of a value.
        spread: Standard deviation of the logarithm.
    """
    steps = [-2.0 + 4.0 * i / 8 for i in range(9)]
    bell = [math.exp(-step * step / 2.0) for step in steps]
    near = [1.3 * distance * math.exp(spread * step) for step in steps]
    far = [1.3 * distance * multiple for multiple in (4.0, 8.0, 16.0)]
    weights = [0.94 * weight / math.fsum(bell) for weight in bell] + [0.02] * len(far)
    return Prior(tuple(near + far), tuple(weights), variance)


@dataclass(frozen=True, slots=True)
class Bet:
    """What one gambler did on one value: enough to ask how he would have fared under another limit.

    Attributes:
        stake: Capital lost for each unit that the value falls short; a share of the capital.
        value: The value, less what its companion explains, turned so that more is better for the gambler.
        least: The least that `value` could have been, judged beforehand.
        seen: Sum of the (turned) values before this one.
        left: Values that were left, this one included; 0 if they are drawn without end.
    """

    stake: float
    value: float
    least: float
    seen: float
    left: int


class Gambler:
    """One side's capital, and how it is spread over the expected distances."""

    __slots__ = ("_distances", "_goal", "_maximum", "_minimum", "_shares", "capital", "stake")

    def __init__(self, prior: Prior, goal: float, minimum: Pick, maximum: Pick) -> None:
        self.capital = 1.0
        self.stake = 0.0
        self._distances = prior.distances
        self._shares: list[float] = list(prior.weights)
        self._goal = goal
        self._minimum, self._maximum = minimum, maximum

    def play(self, gain: float, worst: float, best: float, stretch: float, variance: float) -> None:
        """Bet on one value, then see it.

        Everything but `gain` is known beforehand.

        Args:
            gain: The value's distance from its bound on the mean if the gambler is wrong; more is better for him.
            worst: At most what he can lose on one unit of stake.
            best: At most what he can win on one unit of stake.
            stretch: How much farther from its bound the mean of what remains is than that of the whole.
            variance: Estimated variance of the value.
        """
        ceiling = STAKE_LIMIT / self._maximum(worst, _TINY)
        stake = total = 0.0
        grown = []
        for share, distance in zip(self._shares, self._distances, strict=True):
            expected = distance * stretch
            one = self._minimum(expected / (variance + expected * expected), ceiling)
            stake = stake + share * one
            worth = share * (1.0 + one * gain)
            grown.append(worth)
            total = total + worth
        self._shares = [worth / total for worth in grown]
        enough = (OVERSHOOT * self._goal / self._maximum(self.capital, _TINY) - 1.0) / self._maximum(
            best, _TINY
        )
        self.stake = self._minimum(stake, self._maximum(enough, 0.0))
        self.capital = self.capital * (1.0 + self.stake * gain)


class Process:
    """Both gamblers on one stream of values in ``[low, high]``, without replacement or without end.

    Args:
        limit: The mean that the two sides disagree about.
        low: Least possible value.
        high: Largest possible value.
        alpha: Error probability of each side; a side wins when its capital reaches ``1 / alpha``.
        population: How many values there are in all, drawn in random order; None: independent values without end.
        prior: What both sides expect.
        companions: Numbers known of every value of the population beforehand (the base's own scores), in any
            order; only with `population`.
        minimum: As the builtin, or numpy's for arrays.
        maximum: As the builtin, or numpy's for arrays.
    """

    def __init__(
        self,
        limit: float,
        low: float,
        high: float,
        alpha: float,
        population: int | None,
        prior: Prior,
        companions: Sequence[float] | None = None,
        minimum: Pick = min,
        maximum: Pick = max,
    ) -> None:
        self.above = Gambler(prior, 1.0 / alpha, minimum, maximum)
        self.below = Gambler(prior, 1.0 / alpha, minimum, maximum)
        self.count = 0
        self.seen = 0.0
        self._limit, self._low, self._high = limit, low, high
        self._population = population
        self._minimum, self._maximum = minimum, maximum
        self._guess = prior.variance
        self._scatter = 0.0
        self._squares = 0.0
        self._companions = _Companions(companions) if companions is not None else None

    def step(self, value: float, companion: float = 0.0) -> tuple[Bet, Bet]:
        """Let both sides bet on the next value, then take it into account.

        Returns:
            The bets of the side above and of the side below.
        """
        minimum, maximum = self._minimum, self._maximum
        left = 0 if self._population is None else self._population - self.count
        bound, stretch = self._limit, 1.0
        if self._population is not None:
            bound = (self._population * self._limit - self.seen) / left
            bound = minimum(maximum(bound, self._low), self._high)
            stretch = self._population / left
        weight = PRIOR_DOCUMENTS + self.count
        variance = (PRIOR_DOCUMENTS * self._guess + self._scatter) / weight
        shift = least = most = 0.0
        if self._companions is not None:
            square = (PRIOR_DOCUMENTS * self._guess + self._squares) / weight
            shift, least, most = self._companions.explain(companion, left, square, minimum, maximum)
        adjusted = value - shift
        lowest, highest = self._low - most, self._high - least
        self.above.play(adjusted - bound, bound - lowest, highest - bound, stretch, variance)
        self.below.play(bound - adjusted, highest - bound, bound - lowest, stretch, variance)
        bets = (
            Bet(self.above.stake, adjusted, lowest, self.seen, left),
            Bet(self.below.stake, -adjusted, -highest, -self.seen, left),
        )
        self._learn(value, adjusted, companion)
        return bets

    def _learn(self, value: float, adjusted: float, companion: float) -> None:
        self.count += 1
        self.seen = self.seen + value
        mean = (PRIOR_DOCUMENTS * self._limit + self.seen) / (PRIOR_DOCUMENTS + self.count)
        self._scatter = self._scatter + (adjusted - mean) * (adjusted - mean)
        self._squares = self._squares + value * value
        if self._companions is not None:
            self._companions.learn(value, companion)


class _Companions:
    """The part of a value that a number known beforehand explains, with mean 0 over what remains.

    With z the companion and Z its mean over what remains, ``slope * (z - Z)`` is taken off the value. Its mean
    over the next draw is exactly 0, so whatever slope has been chosen beforehand, the bet stays fair. The slope
    starts from what it is if both subjects' scores have one mean and variance, ``-E[x^2] / (2 var z)``, and moves
    to the least-squares one.
    """

    def __init__(self, values: Sequence[float]) -> None:
        size = len(values)
        mean = math.fsum(values) / size
        self._variance = math.fsum((value - mean) ** 2 for value in values) / size
        self._total: float = math.fsum(values)
        self._least, self._most = min(values), max(values)
        self._product = self._spread = 0.0
        self._mean = mean

    def explain(
        self, companion: float, left: int, square: float, minimum: Pick, maximum: Pick
    ) -> tuple[float, float, float]:
        """Return what is explained of this value, and the least and most it could have been."""
        self._mean = self._total / left
        if self._variance <= _TINY:
            return 0.0, 0.0, 0.0
        weight = SLOPE_DOCUMENTS * self._variance
        guess = -square / (2.0 * self._variance)
        slope = (weight * guess + self._product) / (weight + self._spread)
        ends = slope * (self._least - self._mean), slope * (self._most - self._mean)
        return slope * (companion - self._mean), minimum(*ends), maximum(*ends)

    def learn(self, value: float, companion: float) -> None:
        """Take a seen value into account."""
        distance = companion - self._mean
        self._product = self._product + value * distance
        self._spread = self._spread + distance * distance
        self._total = self._total - companion


def capital_under(
    bets: Sequence[Bet], limit: float, population: int | None, low: float, high: float
) -> float:
    """Return the largest capital these bets reach if the limit is `limit`, stakes cut where they could ruin.

    It never grows with `limit`, so the limits it rejects are an interval that reaches from the bottom.

    Args:
        bets: A side's bets, in order.
        limit: The mean in question, turned as the bets are.
        population: As in :class:`Process`.
        low: Least possible value, turned as the bets are.
        high: Largest possible value, turned as the bets are.

    Returns:
        The largest capital after any value; infinity if the values seen rule the limit out.
    """
    capital = best = 1.0
    for bet in bets:
        bound = limit
        if population is not None:
            bound = (population * limit - bet.seen) / bet.left
            if bound < low - _TINY:
                return math.inf
            bound = min(bound, high)
        risk = bound - bet.least
        stake = bet.stake if bet.stake * risk <= 1.0 else 1.0 / risk
        capital *= max(0.0, 1.0 + stake * (bet.value - bound))
        best = max(best, capital)
    return best
