"""An adapter in brief: what it changes, what the risk is, and who said what, each in a few sentences."""

from __future__ import annotations

from placet.domain.records import Decision, Outcome, Severity
from placet.lineage.graph import Status
from placet.report.cases import Dossier
from placet.report.plots import words
from placet.report.text import figure, moment, plain, plural, signed
from placet.report.view import (
    OUTCOME_STATUS,
    ApprovalView,
    Brief,
    GateView,
    ReleaseView,
    SuiteFigures,
    VerdictView,
)

Line = tuple[Status, str]
_TIGHTEST = 2


def brief_of(
    case: Dossier,
    verdict: VerdictView | None,
    approval: ApprovalView | None,
    figures: tuple[SuiteFigures, ...],
    releases: tuple[ReleaseView, ...],
) -> Brief:
    """Return the brief of an adapter."""
    return Brief(
        changes=_changes(verdict, figures),
        risks=_risks(case, verdict),
        people=_people(case, approval, releases),
    )


def _changes(verdict: VerdictView | None, figures: tuple[SuiteFigures, ...]) -> tuple[Line, ...]:
    if verdict is None:
        return ((Status.NEUTRAL, "Nothing was measured yet."),)
    lines: list[Line] = []
    for row in figures:
        if row.base is None:
            lines.append((Status.NEUTRAL, f"{row.suite}: {row.metric} {figure(row.adapter.mean)}, no base"))
            continue
        status = {True: Status.GOOD, False: Status.CAUTION, None: Status.NEUTRAL}[row.better]
        word = {True: "better", False: "worse", None: "same"}[row.better]
        was, now = figure(row.base.mean), figure(row.adapter.mean)
        change = f"({signed(row.change)}, {word})" if row.change else "(same)"
        lines.append((status, f"{row.suite}: {row.metric} {was} → {now} {change}"))
    for channel in dict.fromkeys(name for row in figures for name, _ in row.incumbents):
        against = [
            f"{row.suite} {signed(row.adapter.mean - mean)}"
            for row in figures
            for name, mean in row.incumbents
            if name == channel and row.adapter.mean != mean
        ]
        lines.append((Status.NEUTRAL, f"Against {channel}: {', '.join(against) or 'the same figures'}"))
    return tuple(lines) or ((Status.NEUTRAL, "The verdict rests on no measurement."),)


def _risks(case: Dossier, verdict: VerdictView | None) -> tuple[Line, ...]:
    findings = case.intake.record.findings if case.intake else ()
    lines = [
        (Status.CAUTION, f"Intake: {plain(finding.message, 140)}")
        for finding in findings
        if finding.severity is not Severity.NOTE
    ]
    if verdict is None:
        return (*lines, (Status.NEUTRAL, "Unknown until the gates have run."))
    for gate in verdict.open_gates():
        optional = "" if gate.result.required else " (not required)"
        name = f"{gate.result.gate} is {gate.result.outcome}{optional}"
        why = words(gate.plot) if gate.plot else plain(gate.result.reason, 240)
        lines.append((OUTCOME_STATUS[gate.result.outcome], f"{name}: {why}"))
    tight = sorted((g for g in verdict.gates if _room(g) is not None), key=lambda g: _room(g) or 0.0)
    if tight:
        named = ", ".join(f"{g.result.gate} ({figure(_room(g))})" for g in tight[:_TIGHTEST])
        lines.append((Status.NEUTRAL, f"Least room to the limit among passed gates: {named}"))
    if verdict.plans > 1:
        lines.append((Status.NEUTRAL, f"{verdict.plans} plans ran on these weights; the verdict counts all"))
    return tuple(lines)


def _room(gate: GateView) -> float | None:
    # A test that stops as soon as it is decided leaves hardly any room: that says nothing about the adapter.
    if gate.result.outcome is not Outcome.PASS or gate.plot is None or gate.result.path:
        return None
    return gate.plot.room


def _people(
    case: Dossier, approval: ApprovalView | None, releases: tuple[ReleaseView, ...]
) -> tuple[Line, ...]:
    lines: list[Line] = []
    trainers = dict.fromkeys(item.person for item in case.trainings)
    if trainers:
        lines.append((Status.NEUTRAL, "Trained by " + ", ".join(trainers)))
    lines.append(
        (
            Status.NEUTRAL,
            f"Submitted by {case.submission.person}, {moment(case.submission.record.submitted_at)}",
        )
    )
    if approval is not None:
        for review in approval.reviews:
            status = Status.NEUTRAL
            if review.counts:
                status = Status.GOOD if review.decision == "approve" else Status.BAD
            said = "approved" if review.decision == "approve" else "rejected"
            doubt = f" (does not count: {review.why})" if review.why else ""
            lines.append((status, f"{review.person} {said}: “{plain(review.comment, 140)}”{doubt}"))
        lines += [
            (Status.CAUTION, f"{waiver.person} waived {waiver.gate}: “{plain(waiver.reason, 120)}”")
            for waiver in approval.waivers
        ]
        denied = case.verdict is not None and case.verdict.record.decision is Decision.DENY
        still = 0 if denied else approval.rule.approvals - len(approval.approvers)
        if still > 0 and not releases:
            lines.append((Status.CAUTION, f"{plural(still, 'approval')} still missing"))
    for release in releases:
        running = "runs" if release.running else "was released"
        lines.append((Status.GOOD, f"{running.capitalize()} on {release.channel}, released by {release.by}"))
    return tuple(lines)
