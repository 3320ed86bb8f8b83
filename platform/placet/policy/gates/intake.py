"""Gate kind `intake`: the files were examined to the end and nothing in them refuses the adapter."""

from __future__ import annotations

from typing import Literal

from placet.domain.records import CheckStatus, Intake, Outcome, Severity
from placet.domain.text import plural
from placet.policy.evidence import Evidence
from placet.policy.judgement import Judgement, error, missing
from placet.policy.model import Gate, Setting, Text


class IntakeGate(Gate):
    """No finding of intake refuses the adapter, and every check ran to its end."""

    kind: Literal["intake"]
    checks: tuple[Text, ...] = ()
    """Checks that must be among those run; empty: those that intake ran."""


def judge_intake_gate(gate: IntakeGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if every check passed or only noted something.

    FAIL for a finding that refuses, ERROR for a check that could not run or a record about other bytes, MISSING for
    no examination, a skipped check, or one the gate names that was not run.
    """
    if evidence.intake is None:
        return missing("The adapter's files were never examined.", "Submit them: `placet submit`.")
    intake = evidence.intake.intake
    verdict = _judge(gate, intake, evidence)
    return verdict.citing(evidence.intake.record)


def _judge(gate: IntakeGate, intake: Intake, evidence: Evidence) -> Judgement:
    other_adapter = intake.adapter is not None and intake.adapter.id != evidence.adapter.id
    if other_adapter or intake.base.id != evidence.base.id:
        return error(
            "The intake record is about other bytes or another base.",
            "Submit these files for this base again.",
        )
    refusing = [finding for finding in intake.findings if finding.severity is Severity.REFUSE]
    if refusing:
        told = "; ".join(f"{finding.id}: {finding.message}" for finding in refusing)
        fixes = " ".join(dict.fromkeys(finding.fix for finding in refusing if finding.fix))
        count = len(refusing)
        return Judgement(
            Outcome.FAIL,
            f"Intake made {plural(count, 'finding')} that {'refuses' if count == 1 else 'refuse'} the adapter: "
            f"{told.rstrip('.')}.",
            fixes,
            figure=float(count),
            threshold=0.0,
            comparison="refusing findings = 0",
            n=len(intake.checks),
        )
    for status, judge in ((CheckStatus.ERRORED, error), (CheckStatus.SKIPPED, missing)):
        unfinished = [check for check in intake.checks if check.status is status]
        if unfinished:
            told = "; ".join(f"{check.check} ({check.reason or 'no reason given'})" for check in unfinished)
            return judge(
                f"Intake checks {status.value}: {told}.", "Examine the files again: `placet submit`."
            )
    absent = sorted(set(gate.checks) - {check.check for check in intake.checks})
    if absent or not intake.checks:
        told = ", ".join(absent) or "any check"
        return missing(f"Intake did not run {told}.", "Examine the files again: `placet submit`.")
    if intake.refused:
        return Judgement(Outcome.FAIL, "Intake could not make a subject of these files.", "See its findings.")
    return Judgement(
        Outcome.PASS,
        f"Intake ran {plural(len(intake.checks), 'check')} on {plural(len(intake.files), 'file')}; "
        "none refuses the adapter.",
        figure=0.0,
        threshold=0.0,
        comparison="refusing findings = 0",
        n=len(intake.checks),
    )
