"""Judging a paired difference against a limit: what the gate kinds `not_worse` and `better` share.

A limit below 0 is a tolerated loss, one of at least 0 a gain that is asked for. Where less of the metric is better,
everything is turned round: the limit, and what counts as a loss.
"""

from __future__ import annotations

import math
from dataclasses import replace

from placet.domain.digests import short
from placet.domain.records import Outcome, PlannedSuite
from placet.policy.baseline import Other, find_other, judge_against
from placet.policy.evidence import Evidence, Rows
from placet.policy.intervals import adjusted, bounds_of_difference
from placet.policy.judgement import Judgement, error, figure, missing, percent, recorded_interval
from placet.policy.model import ComparisonGate
from placet.policy.runs import beyond, damaged, judge_runs
from placet.policy.sequential import (
    companions_of,
    difference_design,
    interval_of,
    recorded_path,
    replay,
    told,
)
from placet.stats.bounds import Bounds, NotEstimableError, counted
from placet.stats.paired import paired_table
from placet.stats.planning import documents_at_shares, most_lost


def judge_difference(gate: ComparisonGate, limit: float, evidence: Evidence) -> Judgement:
    """Return PASS if the difference is shown to be above `limit`, FAIL if shown to be below, else INCONCLUSIVE."""
    other = find_other(gate, evidence)
    if isinstance(other, Judgement):
        return other

    def against(run: Rows, planned: PlannedSuite) -> Judgement:
        companions = find_companions(planned, run, other, evidence)
        if isinstance(companions, Judgement):
            return companions
        judged = judge_against(
            other,
            run,
            evidence,
            lambda values, _: judge_pair(gate, limit, run, values, other, planned, companions),
        )
        return judged if companions is None else judged.citing(companions.record)

    return judge_runs(gate, evidence, against)


def find_companions(
    planned: PlannedSuite, run: Rows, other: Other, evidence: Evidence
) -> Rows | Judgement | None:
    """Return the base's run that the plan names to steady a comparison with it; None if it names none.

    MISSING if it is not among the evidence; ERROR if it is not a run of the base on all of these very documents.
    """
    if planned.companions is None or planned.sequential is None or other.kind != "base":
        return None
    found = next((one for one in other.runs if one.record == planned.companions), None)
    what = f"run {short(planned.companions)} of the base, which the plan names for {planned.suite.id}"
    if found is None:
        return missing(f"R{what[1:]}, is not among the evidence.", "Gather the evidence again.")
    theirs, mine = found.measurement, run.measurement
    whole = set(theirs.samples) == set(range(planned.documents))
    if (theirs.subject, theirs.suite, theirs.metric) != (other.subject, mine.suite, mine.metric) or not whole:
        return error(f"R{what[1:]}, is not one of it on all documents.", "Plan again: run `placet gate`.")
    return damaged(found) or beyond(found, planned) or found


def outcome_of(bounds: Bounds, limit: float) -> Outcome:
    """Return the outcome of the bounds of a difference in which more is better, against `limit`."""
    if bounds.low > limit:
        return Outcome.PASS
    return Outcome.FAIL if bounds.high < limit else Outcome.INCONCLUSIVE


def judge_pair(
    gate: ComparisonGate,
    limit: float,
    run: Rows,
    other_values: tuple[float, ...],
    other: Other,
    planned: PlannedSuite,
    companions: Rows | None = None,
) -> Judgement:
    """Return the outcome of one run against another's values on the same documents, in the same order.

    `companions` is the base's run that the plan names to steady a sequential test.
    """
    measured = run.measurement
    mine = math.fsum(run.values) / measured.n
    theirs = math.fsum(other_values) / measured.n
    upward = measured.higher_is_better
    threshold = limit if upward else -limit
    draft = Judgement(
        Outcome.INCONCLUSIVE,
        "",
        figure=mine,
        baseline=theirs,
        threshold=threshold + 0.0,
        comparison=f"difference {'>' if upward else '<'} {figure(threshold)}",
        n=measured.n,
        compared_with=None if other.kind == "base" else other.word,
    )
    whose = "the base's" if other.kind == "base" else f"that of {other.word}"
    said = (
        f"On {gate.suite} the adapter's {measured.metric} is {figure(mine)} and {whose} {figure(theirs)} on the "
        f"same {measured.n} documents"
    )
    if planned.sequential is not None:
        return _sequential(gate, limit, run, other_values, planned, draft, said, companions)
    try:
        samples = measured.samples
        bounds = bounds_of_difference(
            gate, run.values, other_values, samples, planned, threshold
        ).rounded_outward()
    except NotEstimableError as problem:
        return replace(draft, reason=f"{said}, but {problem.message}.", fix=f"{problem.hint.capitalize()}.")
    outcome = outcome_of(bounds if upward else bounds.mirrored(), limit)
    counts = None
    if counted((*run.values, *other_values), planned.value_range):
        table = paired_table(run.values, other_values)
        counts = (table.gained, table.lost) if upward else (table.lost, table.gained)
        said += f" ({counts[0]} better, {counts[1]} worse)"
    return replace(
        draft,
        outcome=outcome,
        reason=f"{said}: the difference is {figure(bounds.estimate)}, with {percent(gate.alpha)} confidence at least "
        f"{figure(bounds.low)} and at most {figure(bounds.high)}; {conclusion(outcome, limit)}.",
        fix=""
        if outcome is Outcome.PASS
        else _fix(gate.alpha, limit, outcome, measured.n, None if adjusted(gate, planned) else counts),
        interval=recorded_interval(bounds),
    )


def _sequential(
    gate: ComparisonGate,
    limit: float,
    run: Rows,
    other_values: tuple[float, ...],
    planned: PlannedSuite,
    draft: Judgement,
    said: str,
    companions: Rows | None,
) -> Judgement:
    """Return the outcome of the test that may stop early, on the documents up to where it stopped."""
    upward = run.measurement.higher_is_better
    steadied = None
    if companions is not None:
        steadied = companions_of(planned, companions.by_document(), higher_is_better=upward)
    sign = 1.0 if upward else -1.0
    differences = [sign * (mine - other) for mine, other in zip(run.values, other_values, strict=True)]
    result = replay(difference_design(gate, limit, planned, steadied), differences, planned, gate.suite)
    if isinstance(result, Judgement):
        return replace(result, comparison=draft.comparison, threshold=draft.threshold)
    used = result.used
    bounds = interval_of(result, mirrored=not upward)
    steadily = " (the base's scores on all documents steady the test)" if steadied else ""
    mine, theirs = math.fsum(run.values[:used]) / used, math.fsum(other_values[:used]) / used
    return replace(
        draft,
        outcome=result.outcome,
        reason=f"{said}; on the first {used} the difference is {figure(bounds.estimate)}, "
        f"{told(result, bounds, gate.alpha)}{steadily}: {conclusion(result.outcome, limit)}.",
        fix=""
        if result.outcome is Outcome.PASS
        else "Lose less: a decided test stands, and more documents change nothing.",
        figure=mine,
        baseline=theirs,
        interval=recorded_interval(bounds),
        n=used,
        path=recorded_path(result),
    )


def conclusion(outcome: Outcome, limit: float) -> str:
    """Return what an outcome against `limit` shows, in words."""
    if limit == 0.0:
        return {
            Outcome.PASS: "a gain is shown",
            Outcome.FAIL: "a loss is shown",
        }.get(outcome, "neither a gain nor a loss is shown")
    if limit > 0.0:
        asked = f"the gain of {figure(limit)} asked for"
        return {
            Outcome.PASS: f"a gain above {figure(limit)} is shown",
            Outcome.FAIL: f"it is shown to be below {asked}",
        }.get(outcome, f"{asked} is neither shown nor ruled out")
    margin = figure(-limit)
    return {
        Outcome.PASS: f"the loss is shown to be below the margin of {margin}",
        Outcome.FAIL: f"the loss is shown to exceed the margin of {margin}",
    }.get(outcome, f"a loss of the margin of {margin} is neither shown nor ruled out")


def _fix(alpha: float, limit: float, outcome: Outcome, n: int, counts: tuple[int, int] | None) -> str:
    if counts is None or limit > 0.0:
        return (
            "Gain more, or measure more documents."
            if limit >= 0.0
            else "Lose less, or measure more documents."
        )
    gained, lost = counts
    allowed = most_lost(gained, n, -limit, alpha)
    if allowed is None:
        text = f"With {gained} documents gained, no result on {n} documents can show this."
    else:
        text = f"With {gained} documents gained, at most {allowed} of {n} may be lost (now {lost})."
    if outcome is Outcome.INCONCLUSIVE:
        more = documents_at_shares(gained / n, lost / n, -limit, alpha)
        if more is not None:
            text += f" If the shares stay as they are, about {more} documents settle it."
    return text
