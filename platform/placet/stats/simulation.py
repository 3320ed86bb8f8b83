"""Simulated runs of a sequential test: how many documents it will take, and how often it errs.

Guarantees: the code that decides is the code that is simulated (`placet.stats.betting`), on many runs side by side; the
same seed gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from placet.stats._scipy import numpy
from placet.stats.betting import Process
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


def forecast_not_worse(
    design: SequentialDesign, difference: float, discordance: float, *, runs: int = 1000, seed: int = 0
) -> Forecast:
    """Return what to expect of a not-worse test if the benchmark's true difference and discordance are these.

    The documents gained and lost are the closest whole numbers. Companions are left out: how the base's scores hang
    together with the changes is not known beforehand, and they only make a run shorter.

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
    return _forecast(design, values[:size], runs, seed)


def forecast_mean(design: SequentialDesign, mean: float, *, runs: int = 1000, seed: int = 0) -> Forecast:
    """Return what to expect of a floor or ceiling of 0/1 values if the benchmark's true mean is this.

    Raises:
        ValueError: The design is of another kind, or the mean is not in [0, 1].
        UsageError: numpy is not installed.
    """
    if design.kind is Kind.NOT_WORSE:
        raise ValueError("the design compares two subjects")
    if not 0.0 <= mean <= 1.0:
        raise ValueError(f"a mean is in [0, 1], not {mean}")
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


def _forecast(design: SequentialDesign, values: list[float], runs: int, seed: int) -> Forecast:
    np = numpy()
    random = np.random.default_rng(seed)
    plain = replace(design, companions=None)
    population = np.array(values)
    if design.claim is Claim.POPULATION:
        drawn = population[random.integers(0, len(values), size=(runs, design.most))]
    else:
        drawn = random.permuted(np.tile(population, (runs, 1)), axis=1)
    used, outcome = simulate(plain, drawn)
    mean = float(used.mean())
    return Forecast(
        design.most,
        mean,
        float(np.quantile(used, 0.9)),
        float((outcome == 1).mean()),
        float((outcome == -1).mean()),
        runs,
    )
