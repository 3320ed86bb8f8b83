"""Judging the mean of one run against a limit: what the gate kinds `floor` and `ceiling` share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from placet.domain.records import Outcome, PlannedSuite
from placet.policy.evidence import Rows
from placet.policy.intervals import adjusted, bounds_of_mean
from placet.policy.judgement import Judgement, error, figure, percent, recorded_interval
from placet.policy.model import StatisticalGate
from placet.policy.sequential import design_of, interval_of, recorded_path, replay, told
from placet.stats.bounds import Bounds, NotEstimableError, counted
from placet.stats.sequential import Kind


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
        kind: What a sequential test of it asks.
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
    kind: Kind
    fix_counts: Callable[[int, int, float, float, Outcome], str]
    fix_other: str


def judge_mean(
    gate: StatisticalGate, threshold: float, run: Rows, planned: PlannedSuite, limit: Limit
) -> Judgement:
    """Return the outcome of one complete run against `limit` at `threshold`."""
    if planned.sequential is not None:
        return _sequential(gate, threshold, run, planned, limit)
    measured = run.measurement
    comparison = f"{measured.metric} {limit.sign} {figure(threshold)}"
    mean = sum(run.values) / len(run.values)
    try:
        bounds = bounds_of_mean(gate, run.values, measured.samples, planned).rounded_outward()
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
    binary = counted(run.values, planned.value_range)
    of = f"{ones} of {measured.n} documents" if binary else f"{measured.n} documents"
    said = f"On {gate.suite} the adapter's {measured.metric} is {figure(mean)} ({of})"
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
    fix = (
        limit.fix_counts(ones, measured.n, threshold, gate.alpha, outcome)
        if binary and not adjusted(gate, planned)
        else limit.fix_other
    )
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


def _sequential(
    gate: StatisticalGate, threshold: float, run: Rows, planned: PlannedSuite, limit: Limit
) -> Judgement:
    """Return the outcome of the test that may stop early, on the documents up to where it stopped."""
    metric = run.measurement.metric
    comparison = f"{metric} {limit.sign} {figure(threshold)}"
    if not 0.0 <= threshold <= 1.0:
        return error(
            f"A sequential {limit.word} of {figure(threshold)} is beyond 0 to 1.", "Measure with mode: fixed."
        )
    result = replay(design_of(gate, planned, limit.kind, threshold), run.values, planned, gate.suite)
    if isinstance(result, Judgement):
        return replace(result, comparison=comparison, threshold=threshold)
    bounds = interval_of(result)
    mean = math.fsum(run.values[: result.used]) / result.used
    outcome = {Outcome.PASS: limit.kept, Outcome.FAIL: limit.broken}.get(result.outcome, "does not settle")
    return Judgement(
        result.outcome,
        f"On {gate.suite} the adapter's {metric} is {figure(mean)}, {told(result, bounds, gate.alpha)}: it {outcome} "
        f"the {limit.word} of {figure(threshold)}.",
        "" if result.outcome is Outcome.PASS else limit.fix_other,
        figure=mean,
        interval=recorded_interval(bounds),
        threshold=threshold,
        comparison=comparison,
        n=result.used,
        path=recorded_path(result),
    )
