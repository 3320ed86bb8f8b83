"""Which runs a suite's gate rests on, and that none logged on the same weights is left out.

Guarantees: a gate passes only if the suite was measured exactly as this verdict's plan says (same suite, same
documents in the same order, one finite value each), and if every other run of that suite on the same weights under
the same policy passes too. So drawing again until the sample is lucky gains nothing: the worst run counts, and a
plan whose result was never logged leaves the gate INCONCLUSIVE. Where the plan lets a run stop early, the run is the
beginning of the plan's order, and a gate that it leaves undecided is MISSING.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from placet.domain.digests import Digest, short
from placet.domain.records import Outcome, Plan, PlannedReference, PlannedSuite
from placet.domain.text import plural
from placet.policy.evidence import Evidence, RecordedPlan, Rows
from placet.policy.judgement import Judgement, badness, error, missing
from placet.policy.model import OtherGate, SuiteGate

_MEASURE = "Run `placet gate` again; it resumes what is missing."
# A value and the mean of values are each on record to 6 decimal places.
_ROUNDING = 2e-6


JudgeRun = Callable[[Rows, PlannedSuite], Judgement]
"""Judges one run that is complete and sound, measured as the planned suite says."""


def judge_runs(gate: SuiteGate, evidence: Evidence, judge: JudgeRun) -> Judgement:
    """Return the worst of `judge` over every run that counts for the gate's suite.

    Args:
        gate: The gate, for its suite and metric.
        evidence: Everything known.
        judge: Judges one run.
    """
    if gate.suite in evidence.errors:
        return error(f"{gate.suite} could not be measured: {evidence.errors[gate.suite]}.", _MEASURE)
    own = _own(evidence)
    planned = _planned(own.plan, gate.suite)
    if planned is None:
        return missing(f"The plan does not hold suite {gate.suite}.", "Plan again under this policy.")
    runs = _runs_under(own, gate, evidence)
    if not runs:
        return missing(f"{gate.suite} was planned and not measured.", _MEASURE).citing(own.record)
    metrics = sorted({run.measurement.metric for run in runs})
    if len(metrics) > 1:
        told = ", ".join(metrics)
        return error(f"{gate.suite} reports {told}.", f"Name one of them as `metric` of gate {gate.id}.")
    results = [_judge_one(run, planned, evidence, judge) for run in runs]
    others = [entry for entry in _accountable(gate, own, planned, evidence) if entry.record != own.record]
    other_results = [result for entry in others for result in _judge_other(entry, gate, evidence, judge)]
    return _combine(results, other_results, _contradictions(gate, evidence, (own, *others))).citing(
        own.record, *(entry.record for entry in others)
    )


def runs_that_count(suite: str, evidence: Evidence) -> tuple[Rows, PlannedSuite] | None:
    """Return the one run that a gate on `suite` rests on, with its plan; None unless there is exactly one."""
    own = _own(evidence)
    planned = _planned(own.plan, suite)
    if planned is None or suite in evidence.errors:
        return None
    accountable = [
        entry
        for entry in evidence.plans
        if entry.plan.policy.digest == own.plan.policy.digest
        and any(one.suite == planned.suite for one in entry.plan.suites)
    ]
    runs = [
        run
        for run in evidence.runs
        if run.measurement.suite.id == suite
        and run.measurement.plan in {entry.record for entry in accountable}
    ]
    alone = len(accountable) == 1 and len(runs) == 1
    return (runs[0], planned) if alone else None


def _own(evidence: Evidence) -> RecordedPlan:
    return next(entry for entry in evidence.plans if entry.record == evidence.plan)


def _planned(plan: Plan, suite: str) -> PlannedSuite | None:
    return next((entry for entry in plan.suites if entry.suite.id == suite), None)


def _runs_under(entry: RecordedPlan, gate: SuiteGate, evidence: Evidence) -> list[Rows]:
    return [
        run
        for run in evidence.runs
        if run.measurement.plan == entry.record
        and run.measurement.suite.id == gate.suite
        and gate.metric in {None, run.measurement.metric}
    ]


def _accountable(
    gate: SuiteGate, own: RecordedPlan, planned: PlannedSuite, evidence: Evidence
) -> list[RecordedPlan]:
    """Return the plans under this policy that hold this very suite and compare with the same."""
    return [
        entry
        for entry in evidence.plans
        if entry.plan.policy.digest == own.plan.policy.digest
        and any(suite.suite == planned.suite for suite in entry.plan.suites)
        and _compared(gate, entry.plan) == _compared(gate, own.plan)
        # A plan for another adapter measures these weights on some suites only.
        and (
            entry.plan.adapter.weights_id == own.plan.adapter.weights_id or _runs_under(entry, gate, evidence)
        )
    ]


def subjects_of(plan: Plan) -> set[Digest]:
    """Return the weights ids that a plan has measured: its adapter's, and those it compares with."""
    return {plan.adapter.weights_id, *(item.adapter.weights_id for item in plan.references or ())}


def _compared(gate: SuiteGate, plan: Plan) -> PlannedReference | None:
    """Return which other adapter the gate compares with under `plan`; None for the base, or for nothing."""
    if not isinstance(gate, OtherGate):
        return None
    return next((item for item in plan.references or () if item.name == gate.than), None)


def _judge_one(run: Rows, planned: PlannedSuite, evidence: Evidence, judge: JudgeRun) -> Judgement:
    verdict = (
        unsound(run, evidence)
        or _incomplete(run, planned)
        or beyond(run, planned)
        or _too_large(planned)
        or judge(run, planned)
    )
    return verdict.citing(run.record)


def _judge_other(
    entry: RecordedPlan, gate: SuiteGate, evidence: Evidence, judge: JudgeRun
) -> list[Judgement]:
    """Return the judgements of another plan's runs; what is unfinished there may hide a failure."""
    planned = _planned(entry.plan, gate.suite)
    runs = _runs_under(entry, gate, evidence)
    if planned is None:
        return []
    if not runs:
        return [_unfinished(entry, gate, "no result of it was logged")]
    judged = []
    for run in runs:
        verdict = _judge_one(run, planned, evidence, judge)
        if verdict.outcome is Outcome.MISSING:
            verdict = _unfinished(entry, gate, verdict.reason.rstrip(".").lower()).citing(run.record)
        else:
            verdict = verdict.adding(
                f"That is the run under another plan on the same weights, {short(entry.record)}."
            )
        judged.append(verdict)
    return judged


def _unfinished(entry: RecordedPlan, gate: SuiteGate, why: str) -> Judgement:
    return Judgement(
        Outcome.INCONCLUSIVE,
        f"Plan {short(entry.record)} on the same weights also registered {gate.suite}, but {why}; "
        "a result that was not logged may have been a bad one.",
        "Finish that plan, so that its result is known.",
    )


def unsound(run: Rows, evidence: Evidence) -> Judgement | None:
    """Return why a run of the adapter cannot be judged at all, or None."""
    measured = run.measurement
    if measured.subject != evidence.adapter.weights_id or measured.subject_kind != "adapter":
        return error(f"Run {short(run.record)} is of another subject.", "Gather the evidence again.")
    if measured.base.id != evidence.base.id:
        return error(f"Run {short(run.record)} is on another base.", "Gather the evidence again.")
    return damaged(run)


def damaged(run: Rows) -> Judgement | None:
    """Return why a run's values cannot be those of its record, or None."""
    measured, values = run.measurement, run.values
    who = f"Run {short(run.record)} of {measured.suite.id}"
    if len(set(measured.samples)) != len(measured.samples):
        return error(f"{who} counts a document twice.", "Measure it again.")
    if not values or not len(values) == len(measured.samples) == measured.n:
        return error(
            f"{who} says {plural(measured.n, 'document')}, names {len(measured.samples)} and has "
            f"{plural(len(values), 'value')}.",
            "Its rows are not those of the record; run `placet audit`.",
        )
    for document, value in zip(measured.samples, values, strict=True):
        if not math.isfinite(value):
            return error(f"{who} has no usable value for document {document}.", "Measure it again.")
    if abs(math.fsum(values) / len(values) - measured.mean) > _ROUNDING:
        return error(
            f"{who}: the mean on record is not that of its values.",
            "Its rows are not those of the record; run `placet audit`.",
        )
    return None


def beyond(run: Rows, planned: PlannedSuite | None) -> Judgement | None:
    """Return why a run's values are not such as the suite says they can be, or None."""
    if planned is None or planned.value_range is None:
        return None
    low, high = planned.value_range
    for document, value in zip(run.measurement.samples, run.values, strict=True):
        if not low <= value <= high:
            return error(
                f"Run {short(run.record)} of {planned.suite.id} has {value:g} for document {document}, outside the "
                f"range of {low:g} to {high:g} that the suite declares.",
                "Mend the scorer, or the `range` in the suite's manifest, and measure again.",
            )
    return None


def _too_large(planned: PlannedSuite) -> Judgement | None:
    """Return that the plan contradicts itself about how large its groups can be, or None."""
    for column, most in (planned.largest_groups or {}).items():
        for name, members in (planned.groups or {}).get(column, {}).items():
            if len(members) > most:
                return error(
                    f"The plan has {len(members)} documents of {planned.suite.id} with {column} {name}, and says that "
                    f"no group has more than {most}.",
                    "Plan again: run `placet gate`.",
                )
    return None


def _incomplete(run: Rows, planned: PlannedSuite) -> Judgement | None:
    measured = run.measurement
    if measured.suite != planned.suite:
        return missing(
            f"{planned.suite.id} was measured with content {short(measured.suite.digest)}, "
            f"and the plan says {short(planned.suite.digest)}.",
            "Measure the suite that was planned, or plan again.",
        )
    stopped = planned.sequential is not None and measured.samples == planned.samples[: measured.n]
    if measured.samples != planned.samples and not stopped:
        done = len(set(measured.samples) & set(planned.samples))
        return missing(
            f"{planned.suite.id} was planned on {plural(len(planned.samples), 'document')} in a given order; the run "
            f"has {measured.n}, of which {done} were planned.",
            _MEASURE,
        )
    return None


def _combine(
    own: Sequence[Judgement], others: Sequence[Judgement], contradictions: Sequence[str]
) -> Judgement:
    """Return the worst judgement, an own one where equal, saying that others were counted."""
    everyone = [*own, *others]
    worst = max(everyone, key=lambda result: badness(result.outcome))  # the first of equals
    if len(everyone) > 1:
        mine = max(own, key=lambda result: badness(result.outcome)).outcome
        said = f"{len(everyone)} runs or plans of this suite on these weights count, and the worst decides"
        worst = worst.adding(
            f"{said}." if worst.outcome is mine else f"{said}; this plan's own run gives {mine}."
        )
    for sentence in contradictions:
        worst = worst.adding(sentence)
    return worst.citing(*(record for result in everyone for record in result.evidence))


def _contradictions(gate: SuiteGate, evidence: Evidence, entries: Sequence[RecordedPlan]) -> list[str]:
    """Return a sentence for each pair of runs that answer the same documents differently on the same engine."""
    found = []
    runs = [run for entry in entries for run in _runs_under(entry, gate, evidence)]
    sound = [run for run in runs if unsound(run, evidence) is None]
    for index, one in enumerate(sound):
        for other in sound[index + 1 :]:
            if (one.measurement.suite, one.measurement.metric, one.measurement.engine) != (
                other.measurement.suite,
                other.measurement.metric,
                other.measurement.engine,
            ):
                continue
            mine, theirs = one.by_document(), other.by_document()
            shared = mine.keys() & theirs.keys()
            different = sum(1 for document in shared if mine[document] != theirs[document])
            if different:
                found.append(
                    f"Runs {short(one.record)} and {short(other.record)} disagree on {different} of "
                    f"{plural(len(shared), 'shared document')}."
                )
    return found
