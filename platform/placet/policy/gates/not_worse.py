"""Gate kind `not_worse`: on the same documents, the adapter is shown to lose less than a margin against the base."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from pydantic import Field

from placet.domain.records import Outcome
from placet.policy.baseline import judge_against_base
from placet.policy.evidence import Evidence, Rows
from placet.policy.gates.model import Number, PlanningGuess, StatisticalGate
from placet.policy.judgement import Judgement, figure, percent, recorded_interval
from placet.policy.runs import judge_runs
from placet.stats.bounds import NotEstimableError
from placet.stats.mean import difference_bounds, is_binary
from placet.stats.noninferiority import judge_not_worse
from placet.stats.paired import paired_table
from placet.stats.planning import documents_at_shares, most_lost


class NotWorseGate(StatisticalGate):
    """The lower bound of the paired difference is above minus the margin."""

    kind: Literal["not_worse"]
    than: Literal["base"] = Field(default="base", description="what the adapter is compared with")
    margin: Number = Field(
        ge=0.0,
        lt=1.0,
        description="how much loss is tolerated, in the metric's unit; 0 asks for a proven gain",
    )
    planning: PlanningGuess = Field(
        default=PlanningGuess(),
        description="what is expected; used only before running, never in the verdict",
    )


def judge_not_worse_gate(gate: NotWorseGate, evidence: Evidence) -> Judgement:
    """Return PASS if the loss is shown to be below the margin, FAIL if shown to be above, else INCONCLUSIVE."""

    def against(run: Rows) -> Judgement:
        return judge_against_base(run, evidence, lambda values, _: _judge_pair(gate, run, values))

    return judge_runs(gate, evidence, against)


def _judge_pair(gate: NotWorseGate, run: Rows, base_values: tuple[float, ...]) -> Judgement:
    measured = run.measurement
    mine = math.fsum(run.values) / measured.n
    theirs = math.fsum(base_values) / measured.n
    upward = measured.higher_is_better
    threshold = -gate.margin if upward else gate.margin
    draft = Judgement(
        Outcome.INCONCLUSIVE,
        "",
        figure=mine,
        baseline=theirs,
        threshold=threshold,
        comparison=f"difference {'>' if upward else '<'} {figure(threshold)}",
        n=measured.n,
    )
    said = (
        f"On {gate.suite} the adapter's {measured.metric} is {figure(mine)} and the base's {figure(theirs)} on the "
        f"same {measured.n} documents"
    )
    try:
        bounds = difference_bounds(run.values, base_values, gate.alpha).rounded_outward()
    except NotEstimableError as problem:
        return replace(draft, reason=f"{said}, but {problem.message}.", fix=f"{problem.hint.capitalize()}.")
    outcome = judge_not_worse(bounds if upward else bounds.mirrored(), gate.margin)
    binary = is_binary(run.values) and is_binary(base_values)
    gained = lost = 0
    if binary:
        table = paired_table(run.values, base_values)
        gained, lost = (table.gained, table.lost) if upward else (table.lost, table.gained)
        said += f" ({gained} better, {lost} worse)"
    return replace(
        draft,
        outcome=outcome,
        reason=f"{said}: the difference is {figure(bounds.estimate)}, with {percent(gate.alpha)} confidence at least "
        f"{figure(bounds.low)} and at most {figure(bounds.high)}; {_conclusion(outcome, gate.margin)}.",
        fix=""
        if outcome is Outcome.PASS
        else _fix(gate, outcome, measured.n, (gained, lost) if binary else None),
        interval=recorded_interval(bounds),
    )


def _conclusion(outcome: Outcome, margin: float) -> str:
    if margin == 0.0:
        return {
            Outcome.PASS: "a gain is shown",
            Outcome.FAIL: "a loss is shown",
        }.get(outcome, "neither a gain nor a loss is shown")
    limit = figure(margin)
    return {
        Outcome.PASS: f"the loss is shown to be below the margin of {limit}",
        Outcome.FAIL: f"the loss is shown to exceed the margin of {limit}",
    }.get(outcome, f"a loss of the margin of {limit} is neither shown nor ruled out")


def _fix(gate: NotWorseGate, outcome: Outcome, n: int, counts: tuple[int, int] | None) -> str:
    if counts is None:
        return "Lose less against the base, or measure more documents."
    gained, lost = counts
    allowed = most_lost(gained, n, gate.margin, gate.alpha)
    if allowed is None:
        text = f"With {gained} documents gained, no result on {n} documents can show this."
    else:
        text = f"With {gained} documents gained, at most {allowed} of {n} may be lost (now {lost})."
    if outcome is Outcome.INCONCLUSIVE:
        more = documents_at_shares(gained / n, lost / n, gate.margin, gate.alpha)
        if more is not None:
            text += f" If the shares stay as they are, about {more} documents settle it."
    return text
