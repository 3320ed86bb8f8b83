"""Which runs a suite's gate rests on, and that none logged on the same weights is left out.

Guarantees: a gate passes only if the suite was measured exactly as this verdict's plan says (same suite, same
documents in the same order, one finite value each), and if no other run of that suite on the same weights tells
against it, under whatever policy that was made. So neither drawing again nor editing the policy until the sample is
lucky gains anything: the worst run counts, and a plan whose result was never logged leaves a gate that asks what its
gate asked INCONCLUSIVE. Where the plan lets a run stop early, the run is the beginning of the plan's order, and a gate
that it leaves undecided is MISSING.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from placet.domain.digests import Digest, short
from placet.domain.records import Outcome, Plan, PlannedSuite
from placet.domain.text import plural
from placet.policy.accounts import Account, accounts_of, own_entry, planned_in, runs_under
from placet.policy.evidence import Evidence, RecordedPlan, Rows
from placet.policy.judgement import Judgement, badness, error, missing
from placet.policy.model import SuiteGate

_MEASURE = "Run `placet gate` again; it resumes what is missing."
# A value and the mean of values are each on record to 6 decimal places.
_ROUNDING = 2e-6
_TOLD = 3


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
    own = own_entry(evidence)
    planned = planned_in(own.plan, gate.suite)
    if planned is None:
        return missing(f"The plan does not hold suite {gate.suite}.", "Plan again under this policy.")
    runs = runs_under(own, gate.suite, gate.metric, evidence)
    if not runs:
        return missing(f"{gate.suite} was planned and not measured.", _MEASURE).citing(own.record)
    metrics = sorted({run.measurement.metric for run in runs})
    if len(metrics) > 1:
        told = ", ".join(metrics)
        return error(f"{gate.suite} reports {told}.", f"Name one of them as `metric` of gate {gate.id}.")
    results = [_judge_one(run, planned, evidence, judge) for run in runs]
    accounts = accounts_of(gate, planned, metrics[0], evidence)
    others = [_judge_other(one, len(planned.samples), own, evidence, judge) for one in accounts]
    counting = [one.entry.record for one, other in zip(accounts, others, strict=True) if other.judged]
    everything = [*runs, *(run for one in accounts for run in one.runs)]
    return _combine(results, others, _contradictions(everything, evidence)).citing(own.record, *counting)


def runs_that_count(suite: str, evidence: Evidence) -> tuple[Rows, PlannedSuite] | None:
    """Return the one run that a gate on `suite` rests on, with its plan; None unless there is exactly one."""
    own = own_entry(evidence)
    planned = planned_in(own.plan, suite)
    if planned is None or suite in evidence.errors:
        return None
    accountable = [
        entry
        for entry in evidence.plans
        if any(one.suite == planned.suite for one in entry.plan.suites)
        and (
            entry.plan.adapter.weights_id == own.plan.adapter.weights_id
            or runs_under(entry, suite, None, evidence)
        )
    ]
    runs = [run for entry in accountable for run in runs_under(entry, suite, None, evidence)]
    alone = len(accountable) == 1 and len(runs) == 1
    return (runs[0], planned) if alone else None


def subjects_of(plan: Plan) -> set[Digest]:
    """Return the weights ids that a plan has measured: its adapter's, and those it compares with."""
    return {plan.adapter.weights_id, *(item.adapter.weights_id for item in plan.references or ())}


@dataclass(frozen=True, slots=True)
class _Other:
    """What another plan says of a gate: judgements that count, and why what is there beside does not."""

    judged: tuple[Judgement, ...]
    listed: str = ""
    unfinished: tuple[Judgement, ...] = ()
    """Those of `judged` that are open because a result is not on record."""


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
    account: Account, documents: int, own: RecordedPlan, evidence: Evidence, judge: JudgeRun
) -> _Other:
    """Return what another plan's runs say; what is unfinished there may hide a failure.

    `documents` are as many as the verdict's own plan draws: an open result on fewer may be settled by more.
    """
    entry, name = account.entry, _name(account.entry, own)
    if not account.runs:
        why = "no result of it was logged"
        if account.alike:
            open_ = (_unfinished(entry, name, account, why),)
            return _Other(open_, unfinished=open_)
        return _Other((), f"{name} (asked something else, and {why})")
    judged, unfinished, listed = list[Judgement](), list[Judgement](), ""
    for run in account.runs:
        verdict = _judge_one(run, account.planned, evidence, judge)
        said = verdict.adding(f"That is the run under another plan on the same weights, {name}.")
        broken = unsound(run, evidence) is not None
        if verdict.outcome in {Outcome.PASS, Outcome.FAIL} or broken:
            judged.append(said)
        elif verdict.outcome is Outcome.MISSING and not account.own_adapter:
            listed = f"{name} (for another adapter; its run here settles nothing)"
        elif account.alike and verdict.outcome is Outcome.MISSING:
            unfinished.append(_unfinished(entry, name, account, verdict.reason.rstrip(".").lower(), run))
        elif account.alike or (verdict.outcome is Outcome.INCONCLUSIVE and run.measurement.n >= documents):
            judged.append(said)
        else:
            ran = plural(run.measurement.n, "document")
            listed = f"{name} (asked something else; its run of {ran} leaves this open)"
    return _Other((*judged, *unfinished), listed, tuple(unfinished))


def _name(entry: RecordedPlan, own: RecordedPlan) -> str:
    """Return what a plan is called: its id, and its policy where that is another."""
    policy = entry.plan.policy
    if policy.digest == own.plan.policy.digest:
        return short(entry.record)
    return f"{short(entry.record)} of policy {policy.id} {policy.version} ({short(policy.digest)})"


def _unfinished(
    entry: RecordedPlan, name: str, account: Account, why: str, run: Rows | None = None
) -> Judgement:
    suite, adapter = account.planned.suite.id, entry.plan.adapter.label
    finish = f"Finish that plan, so that its result is known: `placet gate {adapter} --plan {short(entry.record)}`."
    if run is not None:
        finish = "Nothing can be added to a run on record: where the policy allows it, a waiver of this gate covers it."
    return Judgement(
        Outcome.INCONCLUSIVE,
        f"Plan {name} on the same weights also registered {suite}, but {why}; "
        "a result that was not logged may have been a bad one.",
        finish,
        evidence=() if run is None else (run.record,),
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
    if planned.cluster is not None and not _tells_clusters(planned, planned.cluster):
        return missing(
            f"The plan does not say which documents of {planned.suite.id} belong to which {planned.cluster}.",
            "Plan again: run `placet gate`.",
        )
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


def _tells_clusters(planned: PlannedSuite, column: str) -> bool:
    parts = (planned.groups or {}).get(column, {})
    return sorted(document for members in parts.values() for document in members) == sorted(planned.samples)


def _combine(own: Sequence[Judgement], others: Sequence[_Other], contradictions: Sequence[str]) -> Judgement:
    """Return the worst judgement, an own one where equal, saying that others were counted."""
    counted = [result for other in others for result in other.judged]
    everyone = [*own, *counted]
    worst = max(everyone, key=lambda result: badness(result.outcome))  # the first of equals
    if len(everyone) > 1:
        mine = max(own, key=lambda result: badness(result.outcome)).outcome
        said = f"{len(everyone)} runs or plans of this suite on these weights count, and the worst decides"
        worst = worst.adding(
            f"{said}." if worst.outcome is mine else f"{said}; this plan's own run gives {mine}."
        )
    # Whatever else is wrong, an open plan has to be finished too.
    for result in [one for other in others for one in other.unfinished if one is not worst][:_TOLD]:
        if result.reason not in worst.reason:
            worst = replace(worst.adding(result.reason), fix=f"{worst.fix} {result.fix}".strip())
    listed = [other.listed for other in others if other.listed]
    if listed:
        more = f" and {len(listed) - _TOLD} more" if len(listed) > _TOLD else ""
        worst = worst.adding(f"Listed and not judged: plan {', '.join(listed[:_TOLD])}{more}.")
    for sentence in contradictions:
        worst = worst.adding(sentence)
    return worst.citing(*(record for result in everyone for record in result.evidence))


def _contradictions(runs: Sequence[Rows], evidence: Evidence) -> list[str]:
    """Return a sentence for each pair of runs that answer the same documents differently on the same engine."""
    found = []
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
