"""Judging a run that may have stopped early: the test is played again over the plan's order, document by document.

Guarantees: the outcome is that of the first document at which the test decides; what was run after it does not count,
so there is no second test after a failed early stop. A run that stopped before the test decided is MISSING, and never
a reason to look at the same values in another way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from placet.domain.records import Outcome, PathPoint, PlannedSuite
from placet.domain.text import plural
from placet.policy.judgement import Judgement, error, figure, missing, percent
from placet.policy.model import ComparisonGate, PlanningGuess, StatisticalGate
from placet.stats.bounds import Bounds, Range
from placet.stats.sequential import Claim, Kind, SequentialDesign, SequentialResult, Step, decide

_PATH_POINTS = 60
CERTAIN = 99.0
"""What a path says, as log10, where the evidence is certain: all documents were run, or no answer could change it."""


def design_of(
    gate: StatisticalGate,
    planned: PlannedSuite,
    kind: Kind,
    limit: float,
    *,
    expected: float | None = None,
    discordance: float = 0.1,
    companions: tuple[float, ...] | None = None,
) -> SequentialDesign:
    """Return the test that a gate makes of a suite that is planned as sequential."""
    if planned.sequential is None:
        raise ValueError("the plan lets no run of this suite stop early")
    return SequentialDesign(
        kind,
        limit,
        documents=planned.documents,
        planned=len(planned.samples),
        alpha=gate.alpha,
        claim=Claim(planned.sequential.claim),
        expected=expected,
        discordance=discordance,
        companions=companions,
    )


def difference_design(
    gate: ComparisonGate, limit: float, planned: PlannedSuite, companions: tuple[float, ...] | None = None
) -> SequentialDesign:
    """Return the test of a difference against `limit` (0 or a loss).

    The policy's guess steers its bets alone. So do `companions`, see :func:`companions_of`.
    """
    guess: PlanningGuess = getattr(gate, "planning", PlanningGuess())
    return design_of(
        gate,
        planned,
        Kind.NOT_WORSE,
        -limit,
        expected=guess.difference,
        discordance=guess.discordance,
        companions=companions,
    )


def companions_of(
    planned: PlannedSuite, values: Mapping[int, float], *, higher_is_better: bool
) -> tuple[float, ...] | None:
    """Return the base's own scores on all documents, in the order of the run and turned as its differences are.

    The order of the run is random among all documents, and these numbers were on record before the plan that drew it:
    the bet stays fair whatever they are. None where the claim is about more than the suite's documents.

    Args:
        planned: The suite as planned.
        values: Document → the base's value.
        higher_is_better: The metric's good direction.

    Raises:
        ValueError: They are not of exactly the suite's documents.
    """
    if planned.sequential is None or Claim(planned.sequential.claim) is not Claim.BENCHMARK:
        return None
    if values.keys() != set(range(planned.documents)):
        raise ValueError(f"{len(values)} values for a suite of {planned.documents} documents")
    sign = 1.0 if higher_is_better else -1.0
    later = sorted(values.keys() - set(planned.samples))
    return tuple(sign * values[document] for document in (*planned.samples, *later))


def testable(within: Range | None) -> bool:
    """Return whether there is a sequential test of a metric with this declared range.

    Its bets are sized so that no value that could come can cost more than the capital. So what could come has to be
    known beforehand: values seen so far say nothing of the rare one that was not.
    """
    return within is not None and within[0] >= 0.0 and within[1] <= 1.0


def replay(
    design: SequentialDesign, values: Sequence[float], planned: PlannedSuite, suite: str
) -> SequentialResult | Judgement:
    """Return how the test ends over `values`, in the plan's order, or the judgement that it cannot be held.

    ERROR where the plan does not say that the metric is between 0 and 1, or a value is not; MISSING if the run stopped
    before it was decided.
    """
    if not testable(planned.value_range):
        return error(
            f"The plan does not say that {suite} reports values between 0 and 1, and there is no other sequential "
            "test.",
            "Declare `range: [0, 1]` in the suite's manifest if it is so; else measure with mode: fixed.",
        )
    if not all(design.low <= value <= 1.0 for value in values):
        return error(
            f"{suite} reports values beyond {design.low:g} to 1.", "Mend the scorer, and measure again."
        )
    result = decide(design, values)
    if result.outcome is Outcome.INCONCLUSIVE and len(values) < result.planned:
        return missing(
            f"{suite} was stopped after {len(values)} of {plural(result.planned, 'planned document')}, before this was "
            "decided.",
            "Run `placet gate` again, unless another gate failed: then nothing more was needed.",
        )
    return result


def told(result: SequentialResult, bounds: Bounds, alpha: float) -> str:
    """Return what a sequential result rests on, in words."""
    about = "of these documents alone" if result.claim is Claim.BENCHMARK else "of all documents of this kind"
    return (
        f"decided after {result.used} of {plural(result.planned, 'document')}"
        if result.outcome is not Outcome.INCONCLUSIVE
        else f"not decided by all {plural(result.planned, 'document')}"
    ) + (
        f"; {about}, with {percent(alpha)} confidence at least {figure(bounds.low)} and at most {figure(bounds.high)} "
        "whenever it stopped"
    )


def interval_of(result: SequentialResult, *, mirrored: bool = False) -> Bounds:
    """Return the result's bounds rounded outward, turned round where less of the metric is better."""
    bounds = result.interval.mirrored() if mirrored else result.interval
    return bounds.rounded_outward()


def recorded_path(result: SequentialResult) -> tuple[PathPoint, ...]:
    """Return the path thinned to what a picture needs: even steps, and the last."""
    path = result.path
    stride = max(1, math.ceil(len(path) / _PATH_POINTS))
    kept = [step for step in path if step.n % stride == 0 or step.n == len(path)]
    return (PathPoint(n=0, to_pass=0.0, to_fail=0.0), *(_point(step) for step in kept))


def _point(step: Step) -> PathPoint:
    return PathPoint(n=step.n, to_pass=_log10(step.e_pass), to_fail=_log10(step.e_fail))


def _log10(value: float) -> float:
    if value <= 0.0:
        return -CERTAIN
    return min(CERTAIN, max(-CERTAIN, math.log10(value))) if math.isfinite(value) else CERTAIN
