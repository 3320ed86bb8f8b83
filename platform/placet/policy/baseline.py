"""Pairing a run of the adapter with another subject's on the same documents and the same engine.

The other subject is the base, what a channel runs, or an adapter that the policy names. The last two are what the
plan says they were: where a channel runs something else by now, there is nothing to compare with until a new plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from placet.domain.digests import Digest, short
from placet.policy.evidence import Evidence, Rows
from placet.policy.judgement import Judgement, error, missing, worst
from placet.policy.model import OtherGate
from placet.policy.runs import beyond, damaged

_AGAIN = "Measure what the plan says: run `placet gate` again."


@dataclass(frozen=True, slots=True)
class Other:
    """What an adapter is compared with.

    Attributes:
        word: How it is called: "the base", "channel:production (desk-7)".
        kind: ``base`` or ``adapter``.
        subject: Id of the base, or weights id of the adapter.
        runs: Its measurements.
    """

    word: str
    kind: str
    subject: Digest
    runs: tuple[Rows, ...]


def the_base(evidence: Evidence) -> Other:
    """Return the base as what to compare with."""
    return Other("the base", "base", evidence.base.id, evidence.base_runs)


def find_other(gate: OtherGate, evidence: Evidence) -> Other | Judgement:
    """Return what `gate` compares with, or the judgement that there is nothing."""
    if gate.than == "base":
        return the_base(evidence)
    plan = evidence.own_plan()
    planned = next((item for item in (plan and plan.references) or () if item.name == gate.than), None)
    now = evidence.reference(gate.than)
    if now != planned:
        return missing(
            f"{gate.than} is not what it was when the plan was made.", "Plan again: run `placet gate`."
        )
    if now is None:
        if gate.without_release == "base":
            return the_base(evidence)
        return missing(
            f"{gate.than} names no adapter on this base.",
            "Release one there first, or let the gate fall back: `without_release: base`."
            if gate.than.startswith("channel:")
            else "Submit that adapter, or name another.",
        )
    if now.adapter.weights_id == evidence.adapter.weights_id:
        runs = evidence.runs
    else:
        runs = tuple(
            run for run in evidence.reference_runs if run.measurement.subject == now.adapter.weights_id
        )
    return Other(f"{now.name} ({now.adapter.label})", "adapter", now.adapter.weights_id, runs)


def judge_against(
    other: Other, run: Rows, evidence: Evidence, judge: Callable[[tuple[float, ...], Rows], Judgement]
) -> Judgement:
    """Return the worst of `judge` over every measurement of `other` that pairs with `run`.

    `judge` gets the other's values in the order of ``run.values``, and its run. MISSING if it was not measured on the
    suite; ERROR if it was, but never on the same documents with the same engine.
    """
    wanted = run.measurement
    runs = [
        one
        for one in other.runs
        if one.measurement.suite.id == wanted.suite.id and one.measurement.metric == wanted.metric
    ]
    if other.subject == wanted.subject:
        runs = [run]  # compared with itself: these very weights run there
    if not runs:
        return missing(f"{_upper(other.word)} was not measured on {wanted.suite.id}.", _AGAIN)
    results, problems = [], []
    for one in runs:
        problem = _unpaired(run, one, other, evidence)
        if problem is None:
            values = one.by_document()
            aligned = tuple(values[document] for document in wanted.samples)
            results.append(judge(aligned, one).citing(one.record))
        else:
            problems.append(problem)
    chosen = worst(results) if results else problems[0]
    return chosen


def _unpaired(run: Rows, one: Rows, other: Other, evidence: Evidence) -> Judgement | None:
    mine, theirs = run.measurement, one.measurement
    who = f"The run {short(one.record)} of {other.word} on {mine.suite.id}"
    if (theirs.subject_kind, theirs.subject) != (
        other.kind,
        other.subject,
    ) or theirs.base.id != evidence.base.id:
        return error(f"{who} is of another subject.", "Gather the evidence again.")
    if theirs.suite != mine.suite:
        return error(f"{who} used another version of the suite.", _AGAIN)
    if theirs.engine != mine.engine:
        return error(f"{who} was made by another engine than the adapter's.", _AGAIN)
    # The plan's suite has the content of this one, and the range is part of it.
    suites = [entry for plan in evidence.plans for entry in plan.plan.suites if entry.suite == mine.suite]
    if problem := damaged(one) or next(filter(None, (beyond(one, entry) for entry in suites)), None):
        return problem
    lacking = set(mine.samples) - set(theirs.samples)
    if lacking:
        return error(
            f"{who} is on other documents: {mine.n - len(lacking)} of the adapter's {mine.n} are among its {theirs.n}.",
            _AGAIN,
        )
    return None


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
