"""Simulated runs of a sequential test: how many documents it will take, and how often it errs.

Guarantees: the code that decides is the code that is simulated (`placet.stats.betting`), on many runs side by side; the
same seed gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from placet.stats._scipy import numpy
from placet.stats.betting import Process
from placet.stats.planning import detectable_gain, detectable_margin, detectable_rate, least_step_near
from placet.stats.sequential import Claim, Kind, SequentialDesign


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a sequential run is expected to take.

    Attributes:
        documents: Documents that it may take at most.
        mean: Documents that it takes on average.
        ninth_decile: Documents that nine runs in ten take at most.
        passes: Share of runs that end with PASS.
        fails: Share of runs that end with FAIL.
        runs: Simulated runs; a share p is uncertain by about ``2 sqrt(p (1 - p) / runs)``.
    """

    documents: int
    mean: float
    ninth_decile: float
    passes: float
    fails: float
    runs: int


@lru_cache(maxsize=256)
def forecast_not_worse(
    design: SequentialDesign,
    difference: float,
    discordance: float,
    *,
    runs: int = 1000,
    seed: int = 0,
    drawn: bool = False,
) -> Forecast:
    """Return what to expect of a not-worse test if difference and discordance are these.

    They are the benchmark's own, the documents gained and lost being the closest whole numbers; if `drawn`, those of
    all documents that could have been written, of which each run's benchmark is a sample, as for a fixed sample in
    `placet.stats.planning`. Companions are left out: how the base's scores hang together with the changes is not
    known beforehand, and they only make a run shorter.

    Raises:
        ValueError: The design is of another kind, or the shares do not fit each other.
        UsageError: numpy is not installed.
    """
    if design.kind is not Kind.NOT_WORSE:
        raise ValueError(f"the design is of kind {design.kind}")
    if not abs(difference) <= discordance <= 1.0:
        raise ValueError(f"discordance {discordance} must be in [|difference|, 1], difference {difference}")
    size = design.documents
    gained = round(size * (discordance + difference) / 2.0)
    lost = round(size * (discordance - difference) / 2.0)
    values = [1.0] * gained + [-1.0] * lost + [0.0] * max(0, size - gained - lost)
    if drawn:
        up, down = (discordance + difference) / 2.0, (discordance - difference) / 2.0
        return _summary(design, *simulate(_plain(design), _sampled(design, up, down, runs, seed)))
    return _forecast(design, values[:size], runs, seed)


@lru_cache(maxsize=256)
def forecast_mean(
    design: SequentialDesign, mean: float, *, runs: int = 1000, seed: int = 0, drawn: bool = False
) -> Forecast:
    """Return what to expect of a floor or ceiling of 0/1 values if the mean is this.

    It is the benchmark's own; if `drawn`, that of all documents that could have been written, of which each run's
    benchmark is a sample.

    Raises:
        ValueError: The design is of another kind, or the mean is not in [0, 1].
        UsageError: numpy is not installed.
    """
    if design.kind is Kind.NOT_WORSE:
        raise ValueError("the design compares two subjects")
    if not 0.0 <= mean <= 1.0:
        raise ValueError(f"a mean is in [0, 1], not {mean}")
    if drawn:
        return _summary(design, *simulate(_plain(design), _sampled(design, mean, 0.0, runs, seed)))
    right = round(design.documents * mean)
    return _forecast(design, [1.0] * right + [0.0] * (design.documents - right), runs, seed)


def simulate(design: SequentialDesign, values: Any, companions: Any = None) -> tuple[Any, Any]:
    """Run the test on each row of `values`.

    Args:
        design: The test; its own companions are those of every row, in any order.
        values: Array of shape (runs, documents run at most), each row in its own order.
        companions: Array of the same shape, aligned with `values`, if the design has companions.

    Returns:
        Documents used by each run, and its outcome: 1 for PASS, -1 for FAIL, 0 for INCONCLUSIVE.

    Raises:
        UsageError: numpy is not installed.
    """
    np = numpy()
    turn = -1.0 if design.kind is Kind.CEILING else 1.0
    finite = design.claim is Claim.BENCHMARK
    low, high = sorted((turn * design.low, turn))
    process = Process(
        turn * design.boundary,
        low,
        high,
        design.alpha,
        design.documents if finite else None,
        design.prior(),
        design.companions,
        np.minimum,
        np.maximum,
    )
    runs = len(values)
    used, outcome = np.full(runs, design.most), np.zeros(runs, dtype=int)
    running = np.ones(runs, dtype=bool)
    target = turn * design.boundary * design.documents
    slack = 1e-9 if design.kind is Kind.NOT_WORSE else -1e-9
    for i in range(design.most):
        process.step(turn * values[:, i], companions[:, i] if companions is not None else 0.0)
        above, below = (
            process.above.capital >= 1.0 / design.alpha,
            process.below.capital >= 1.0 / design.alpha,
        )
        if finite:
            left = design.documents - i - 1
            above = above | (process.seen + low * left > target + slack)
            below = below | (process.seen + high * left <= target + slack)
        ended = running & (above | below)
        outcome = np.where(ended, np.where(above, 1, -1), outcome)
        used = np.where(ended, i + 1, used)
        running = running & ~ended
        if not running.any():
            break
    return used, outcome


def forecast_margin(
    design: SequentialDesign, difference: float, discordance: float, power: float, *, runs: int = 400
) -> float | None:
    """Return about the least margin that passes with `power`, by simulation of the test with each margin tried.

    All margins meet the same simulated adapters, drawn as in :func:`forecast_not_worse`, so that more margin never
    passes fewer of them but by chance. The share of 400 runs that pass is uncertain by 0.02 (one standard error) at
    a power of 0.8, and the margin by about 3 in a hundred.

    Returns:
        The margin, to 0.001; None if no margin below 1 is enough.

    Raises:
        ValueError: As :func:`forecast_not_worse`.
    """
    near = detectable_margin(design.most, discordance, difference, design.alpha, power, exact_up_to=0)
    if near is None:
        return None

    def enough(steps: int) -> bool:
        tried = replace(design, limit=steps / 1000.0)
        return forecast_not_worse(tried, difference, discordance, runs=runs, drawn=True).passes >= power

    found = least_step_near(enough, round(near * 1000), 999)
    return found / 1000.0 if found <= 999 else None


def forecast_gain(
    design: SequentialDesign, discordance: float, power: float, *, runs: int = 400
) -> float | None:
    """Return about the least true difference that passes with `power`, simulated.

    Returns:
        The difference, to 0.001, as uncertain as :func:`forecast_margin`; None if none passes.

    Raises:
        ValueError: As :func:`forecast_not_worse`.
    """
    near = detectable_gain(design.most, -design.limit, discordance, design.alpha, power, exact_up_to=0)
    if near is None:
        return None

    def enough(steps: int) -> bool:
        gain = steps / 1000.0
        return forecast_not_worse(design, gain, max(discordance, gain), runs=runs, drawn=True).passes >= power

    found = least_step_near(enough, round(near * 1000), 1000)
    return found / 1000.0 if found <= 1000 else None


def forecast_rate(design: SequentialDesign, power: float, *, runs: int = 400) -> float | None:
    """Return about the true mean nearest to a floor's or ceiling's threshold that passes with `power`, simulated.

    Returns:
        The mean, to 0.001, as uncertain as :func:`forecast_margin`; None if none passes.

    Raises:
        ValueError: As :func:`forecast_mean`.
    """
    upward = design.kind is Kind.FLOOR
    limit = design.limit if upward else 1.0 - design.limit
    near = detectable_rate(design.most, limit, design.alpha, power)
    if near is None:
        return None

    def enough(steps: int) -> bool:
        mean = steps / 1000.0 if upward else 1.0 - steps / 1000.0
        return forecast_mean(design, mean, runs=runs, drawn=True).passes >= power

    found = least_step_near(enough, round(near * 1000), 1000)
    if found > 1000:
        return None
    return found / 1000.0 if upward else round(1.0 - found / 1000.0, 3)


def _plain(design: SequentialDesign) -> SequentialDesign:
    return replace(design, companions=None)


def _sampled(design: SequentialDesign, up: float, down: float, runs: int, seed: int) -> Any:
    """Return the values of `runs` adapters: 1 with probability `up`, -1 with probability `down`, else 0."""
    np = numpy()
    chance = np.random.default_rng(seed).random((runs, design.most))
    return np.where(chance < up, 1.0, np.where(chance < up + down, -1.0, 0.0))


def _forecast(design: SequentialDesign, values: list[float], runs: int, seed: int) -> Forecast:
    np = numpy()
    random = np.random.default_rng(seed)
    plain = _plain(design)
    population = np.array(values)
    if design.claim is Claim.POPULATION:
        drawn = population[random.integers(0, len(values), size=(runs, design.most))]
    else:
        drawn = random.permuted(np.tile(population, (runs, 1)), axis=1)
    return _summary(design, *simulate(plain, drawn))


def _summary(design: SequentialDesign, used: Any, outcome: Any) -> Forecast:
    np = numpy()
    return Forecast(
        design.most,
        float(used.mean()),
        float(np.quantile(used, 0.9)),
        float((outcome == 1).mean()),
        float((outcome == -1).mean()),
        len(used),
    )
