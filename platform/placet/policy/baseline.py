"""Pairing a run of the adapter with the base's on the same documents and the same engine."""

from __future__ import annotations

from collections.abc import Callable

from placet.domain.digests import short
from placet.policy.evidence import Evidence, Rows
from placet.policy.judgement import Judgement, badness, error, missing
from placet.policy.runs import damaged

_AGAIN = "Measure the base as the plan says: run `placet gate` again."


def judge_against_base(
    run: Rows, evidence: Evidence, judge: Callable[[tuple[float, ...], Rows], Judgement]
) -> Judgement:
    """Return the worst of `judge` over every measurement of the base that pairs with `run`.

    `judge` gets the base's values in the order of ``run.values``, and the base's run. MISSING if the base was not
    measured on the suite; ERROR if it was, but never on the same documents with the same engine.
    """
    wanted = run.measurement
    runs = [
        base
        for base in evidence.base_runs
        if base.measurement.suite.id == wanted.suite.id and base.measurement.metric == wanted.metric
    ]
    if not runs:
        return missing(f"The base was not measured on {wanted.suite.id}.", _AGAIN)
    results, problems = [], []
    for base in runs:
        problem = _unpaired(run, base, evidence)
        if problem is None:
            values = base.by_document()
            aligned = tuple(values[document] for document in wanted.samples)
            results.append(judge(aligned, base).citing(base.record))
        else:
            problems.append(problem)
    if not results:
        return problems[0]
    return max(results, key=lambda result: badness(result.outcome)).citing(
        *(record for result in results for record in result.evidence)
    )


def _unpaired(run: Rows, base: Rows, evidence: Evidence) -> Judgement | None:
    mine, theirs = run.measurement, base.measurement
    who = f"The base's run {short(base.record)} of {mine.suite.id}"
    if theirs.subject_kind != "base" or theirs.subject != evidence.base.id:
        return error(f"{who} is of another subject.", "Gather the evidence again.")
    if theirs.suite != mine.suite:
        return error(f"{who} used another version of the suite.", _AGAIN)
    if theirs.engine != mine.engine:
        return error(f"{who} was made by another engine than the adapter's.", _AGAIN)
    if problem := damaged(base):
        return problem
    if set(theirs.samples) != set(mine.samples):
        shared = len(set(theirs.samples) & set(mine.samples))
        return error(
            f"{who} is on other documents: {shared} of the adapter's {mine.n} are among its {theirs.n}.",
            _AGAIN,
        )
    return None
