"""Gate kind `evidence_age`: what the verdict rests on was measured lately.

An old measurement is one by an old engine, old scorers and an old reading of what matters.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from placet.domain.digests import Digest
from placet.domain.records import Measurement, Outcome
from placet.domain.text import plural
from placet.policy.evidence import Evidence, Rows
from placet.policy.judgement import Judgement, error, missing
from placet.policy.model import Days, Gate, Setting


class EvidenceAgeGate(Gate):
    """No run under the plan, and no newest run that it is compared with, is older than so many days."""

    kind: Literal["evidence_age"]
    max_days: Days = Field(description="how old a measurement may be when the verdict is given")


def judge_evidence_age_gate(gate: EvidenceAgeGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if all of it is young enough, MISSING otherwise: there is no evidence of today."""
    runs = _runs(evidence)
    if not runs:
        return missing("Nothing was measured under the plan.", "Run `placet gate` again.")
    cited = tuple(run.record for run in runs)
    oldest = min(runs, key=lambda run: run.measurement.finished_at)
    said = f"the oldest of {plural(len(runs), 'run')} is that of {_name(oldest.measurement)}"
    when = f"{oldest.measurement.finished_at:%Y-%m-%d}"
    outcome = judge_ages(gate, measured_between(evidence), setting.at)
    if outcome is Outcome.ERROR:
        return error("A run is dated after this decision.", "Check the clocks.").citing(*cited)
    condition = f"measured within {gate.max_days} days"
    if outcome is Outcome.PASS:
        return Judgement(
            Outcome.PASS,
            f"Measured lately: {said}, of {when}.",
            comparison=condition,
            n=len(runs),
            evidence=cited,
        )
    return Judgement(
        Outcome.MISSING,
        f"Evidence is older than {gate.max_days} days: {said}, of {when}.",
        "Measure again: `placet gate` makes a new plan.",
        comparison=condition,
        n=len(runs),
        evidence=cited,
    )


def measured_between(evidence: Evidence) -> tuple[datetime, datetime] | None:
    """Return when the oldest and the newest run that counts were finished; None if nothing was measured."""
    times = [run.measurement.finished_at for run in _runs(evidence)]
    return (min(times), max(times)) if times else None


def judge_ages(gate: EvidenceAgeGate, span: tuple[datetime, datetime] | None, at: datetime) -> Outcome:
    """Return the gate's outcome at `at`, of what :func:`measured_between` gave."""
    if span is None:
        return Outcome.MISSING
    if span[1] > at:
        return Outcome.ERROR
    return Outcome.PASS if at - span[0] <= timedelta(days=gate.max_days) else Outcome.MISSING


def _runs(evidence: Evidence) -> list[Rows]:
    """Return the plan's own runs, and of every suite and other subject the newest run."""
    own = [run for run in evidence.runs if run.measurement.plan == evidence.plan]
    suites = {run.measurement.suite.digest for run in own}
    newest: dict[tuple[Digest, Digest, str], Rows] = {}
    for run in (*evidence.base_runs, *evidence.reference_runs):
        measured = run.measurement
        key = (measured.subject, measured.suite.digest, measured.metric)
        if measured.suite.digest in suites and (
            key not in newest or measured.finished_at > newest[key].measurement.finished_at
        ):
            newest[key] = run
    return [*own, *newest.values()]


def _name(measured: Measurement) -> str:
    return f"{measured.suite.id} on the {measured.subject_kind}"
