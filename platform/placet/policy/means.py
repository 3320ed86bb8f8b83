"""Judging the mean of one run against a limit: what the gate kinds `floor` and `ceiling` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from placet.domain.records import Outcome
from placet.policy.evidence import Rows
from placet.policy.gates.model import StatisticalGate
from placet.policy.judgement import Judgement, figure, percent, recorded_interval
from placet.stats.bounds import Bounds, NotEstimableError
from placet.stats.mean import is_binary, mean_bounds


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit from below or from above.

    Attributes:
        word: What it is called.
        sign: How the passing condition is written.
        kept: How keeping it is said.
        broken: How breaking it is said.
        judge: Bounds and threshold to outcome.
        bound_said: How the deciding bound reads for an outcome.
        bound_used: Which bound decided an outcome.
        fix_counts: Ones, n, threshold, alpha and outcome of a 0/1 metric to what would make it pass.
        fix_other: The same for other metrics.
    """

    word: str
    sign: str
    kept: str
    broken: str
    judge: Callable[[Bounds, float], Outcome]
    bound_said: Callable[[Outcome], str]
    bound_used: Callable[[Bounds, Outcome], float]
    fix_counts: Callable[[int, int, float, float, Outcome], str]
    fix_other: str


def judge_mean(gate: StatisticalGate, threshold: float, run: Rows, limit: Limit) -> Judgement:
    """Return the outcome of one complete run against `limit` at `threshold`."""
    measured = run.measurement
    comparison = f"{measured.metric} {limit.sign} {figure(threshold)}"
    mean = sum(run.values) / len(run.values)
    try:
        bounds = mean_bounds(run.values, gate.alpha).rounded_outward()
    except NotEstimableError as problem:
        return Judgement(
            Outcome.INCONCLUSIVE,
            f"On {gate.suite} the adapter's {measured.metric} is {figure(mean)}, but {problem.message}.",
            f"{problem.hint.capitalize()}.",
            figure=mean,
            threshold=threshold,
            comparison=comparison,
            n=measured.n,
        )
    outcome = limit.judge(bounds, threshold)
    ones = sum(1 for value in run.values if value)
    binary = is_binary(run.values)
    counted = f"{ones} of {measured.n} documents" if binary else f"{measured.n} documents"
    said = f"On {gate.suite} the adapter's {measured.metric} is {figure(mean)} ({counted})"
    if outcome is Outcome.INCONCLUSIVE:
        said += (
            f", with {percent(gate.alpha)} confidence at least {figure(bounds.low)} and at most "
            f"{figure(bounds.high)}: the {limit.word} of {figure(threshold)} lies between, so nothing is shown."
        )
    else:
        relation = limit.kept if outcome is Outcome.PASS else limit.broken
        said += (
            f", with {percent(gate.alpha)} confidence {limit.bound_said(outcome)} "
            f"{figure(limit.bound_used(bounds, outcome))}: it {relation} the {limit.word} of {figure(threshold)}."
        )
    fix = limit.fix_counts(ones, measured.n, threshold, gate.alpha, outcome) if binary else limit.fix_other
    return Judgement(
        outcome,
        said,
        "" if outcome is Outcome.PASS else fix,
        figure=mean,
        interval=recorded_interval(bounds),
        threshold=threshold,
        comparison=comparison,
        n=measured.n,
    )
