"""Parts of a page about people, provenance and records, shared by the HTML report and the app."""

from __future__ import annotations

from collections.abc import Iterable

from placet.domain.digests import short
from placet.domain.records import CheckStatus, FileEntry, Finding, Severity
from placet.lineage.draw import describe
from placet.lineage.graph import Lineage, Node, Status
from placet.report.fragments import badge, identifier, lines, table
from placet.report.markup import Child, Html, el, join
from placet.report.samples import Flip, Sample, SampleTable
from placet.report.text import figure, moment, plural
from placet.report.view import AdapterReport, ApprovalView, EvidenceView, ReviewView, TrainingView

_SEVERITY = {Severity.REFUSE: Status.BAD, Severity.WARN: Status.CAUTION, Severity.NOTE: Status.NEUTRAL}
FLIP_STATUS = {
    Flip.LOST: Status.CAUTION,
    Flip.GAINED: Status.GOOD,
    Flip.SAME: Status.NEUTRAL,
    Flip.ALONE: Status.NEUTRAL,
}


def decisions(approval: ApprovalView) -> Html:
    """Return who decided what with which words, what is missing, and who may not decide."""
    rule = approval.rule
    need = f"{plural(rule.approvals, 'approval')} by different people, valid for {rule.valid_days} days."
    apart = [f"{person} ({why})" for person, why in approval.barred]
    parts: list[Child] = [
        el(
            "p",
            f"Needed: {need}",
            f" May not decide: {', '.join(apart)}." if apart else None,
            class_="muted small",
        )
    ]
    if approval.missing:
        parts.append(lines((Status.CAUTION, text) for text in approval.missing))
    rows = [_review_row(item) for item in approval.reviews]
    rows += [
        el(
            "tr",
            el("th", item.person, scope="row"),
            el("td", badge(Status.CAUTION, f"waived {item.gate}"), class_="tight"),
            el("td", f"“{item.reason}”", class_="text"),
            el("td", moment(item.at), class_="tight"),
            el(
                "td",
                f"until {item.expires_at:%Y-%m-%d}",
                None if item.counts else "; does not count",
                class_="small",
            ),
            el("td", identifier(item.record)),
        )
        for item in approval.waivers
    ]
    if rows:
        parts.append(table(("Person", "Decision", "In their words", "When", "Holds", "Record"), rows))
    else:
        parts.append(el("p", "Nobody has decided yet."))
    return join(parts)


def _review_row(item: ReviewView) -> Html:
    approved = item.decision == "approve"
    status = (Status.GOOD if approved else Status.BAD) if item.counts else Status.NEUTRAL
    holds = f"until {item.expires_at:%Y-%m-%d}" if item.counts else f"does not count: {item.why}"
    return el(
        "tr",
        el("th", item.person, scope="row"),
        el("td", badge(status, "approved" if approved else "rejected"), class_="tight"),
        el("td", f"“{item.comment}”", class_="text"),
        el("td", moment(item.at), class_="tight"),
        el("td", holds, class_="small"),
        el("td", identifier(item.record)),
    )


def checks_table(report: AdapterReport) -> Html:
    """Return intake's checks with their findings."""
    if not report.checks:
        return el("p", "No intake record.")
    if all(check.status is CheckStatus.PASSED and not check.findings for check in report.checks):
        names = ", ".join(check.check for check in report.checks)
        return el("p", badge(Status.GOOD, "passed"), f" {plural(len(report.checks), 'check')}: {names}")
    signs = {CheckStatus.PASSED: Status.GOOD, CheckStatus.FAILED: Status.BAD}
    rows = [
        el(
            "tr",
            el("th", check.check, scope="row"),
            el("td", badge(signs.get(check.status, Status.CAUTION), str(check.status)), class_="tight"),
            el(
                "td",
                findings_part(check.findings) if check.findings else check.reason or "nothing found",
                class_="text",
            ),
        )
        for check in report.checks
    ]
    return table(("Check", "Result", "Findings"), rows)


def findings_part(findings: Iterable[Finding]) -> Html:
    """Return what checks found: what, where, and how to mend it."""
    return join(
        el(
            "div",
            badge(_SEVERITY[finding.severity], finding.id),
            f" {finding.message}",
            f" ({finding.where})" if finding.where else None,
            el("div", el("b", "To mend: "), finding.fix, class_="fix"),
        )
        for finding in findings
    )


def files_table(files: Iterable[FileEntry]) -> Html:
    """Return the files of an adapter."""
    rows = [
        el(
            "tr",
            el("td", item.path),
            el("td", f"{item.size:,}", class_="number"),
            el("td", identifier(item.sha256)),
        )
        for item in files
    ]
    return table(("File", "Bytes", "SHA-256"), rows, numbers=(1,))


def trainings_table(trainings: Iterable[TrainingView]) -> Html:
    """Return how the adapter and its ancestors were trained, newest first."""
    rows = [
        el(
            "tr",
            el("th", item.adapter, scope="row"),
            el("td", [el("div", f"{role}: {name}") for role, name in item.made_from], class_="text"),
            el("td", ", ".join(f"{key} {value}" for key, value in item.parameters), class_="text"),
            el("td", item.by, class_="tight"),
            el("td", moment(item.finished_on), class_="tight"),
            el("td", identifier(item.record)),
        )
        for item in trainings
    ]
    if not rows:
        return el("p", "No training record: nobody signed for what this adapter was made from.")
    return table(("Adapter", "Made from", "Recipe", "Trainer", "Finished", "Record"), rows)


def evidence_table(evidence: Iterable[EvidenceView]) -> Html:
    """Return every record the case rests on, with signer and verification state."""
    rows = [
        el(
            "tr",
            el("td", "–" if item.index is None else item.index, class_="number"),
            el("td", item.kind, class_="tight"),
            el("td", item.about, class_="text"),
            el("td", item.signer, " ", el("span", "key ", identifier(item.key_id), class_="muted small")),
            el(
                "td",
                badge(Status.GOOD, "verified") if item.verified else badge(Status.BAD, "not verified"),
                el("div", item.problem, class_="small") if item.problem else None,
                class_="tight",
            ),
            el("td", identifier(item.record)),
            id=f"r-{short(item.record)}",
        )
        for item in evidence
    ]
    return table(("Index", "Kind", "What it says", "Signed by", "State", "Record"), rows, numbers=(0,))


def samples_part(samples: SampleTable, limit: int) -> Html:
    """Return the first `limit` flipped samples of a suite, closed until asked for."""
    counts = samples.counts()
    flipped = [item for item in samples.samples if item.flip in {Flip.LOST, Flip.GAINED}]
    shown = _both_ways(flipped, limit)
    said = (
        f"{counts[Flip.LOST]} worse, {counts[Flip.GAINED]} better, {counts[Flip.SAME]} the same as the base"
    )
    rows = [
        el(
            "tr",
            el("td", badge(FLIP_STATUS[item.flip], str(item.flip)), class_="tight"),
            el("td", el("div", item.prompt[-600:], class_="quote"), class_="text"),
            el("td", el("div", item.target[:300], class_="quote")),
            el("td", answer(item.base_answer, item.base_value), class_="text"),
            el("td", answer(item.answer, item.value), class_="text"),
        )
        for item in shown
    ]
    inner: Child = table(("Against base", "Prompt", "Wanted", "Base said", "Adapter said"), rows)
    if not rows:
        inner = el("p", "No answer counts differently from the base's.", class_="muted")
    elif len(shown) < len(flipped):
        more = f"{len(shown)} of {len(flipped)} flipped samples; the review app shows all."
        inner = (inner, el("p", more, class_="muted small"))
    return el("details", el("summary", f"{samples.suite}: {said}"), inner)


def _both_ways(flipped: list[Sample], limit: int) -> list[Sample]:
    """Return at most `limit` samples, what got worse first, but leaving room for both."""
    lost = [item for item in flipped if item.flip is Flip.LOST]
    gained = [item for item in flipped if item.flip is Flip.GAINED]
    room = max(limit // 2, limit - len(gained))
    return [*lost[:room], *gained[: limit - len(lost[:room])]]


def answer(text: str | None, value: float | None) -> Html:
    """Return what a model said and what it counts for."""
    return join(
        [
            el("div", "–" if text is None else text[:600] or "(empty)", class_="quote"),
            el("div", f"counts {figure(value)}", class_="muted small"),
        ]
    )


def node_part(lineage: Lineage, node: Node) -> Html:
    """Return one node of a lineage: what it is, what went into it, what came of it, its records."""

    def named(ids: Iterable[str]) -> Child:
        return [el("div", describe(lineage.node(item))) for item in ids] or "–"

    return el(
        "div",
        el("p", badge(node.status, str(node.kind)), " ", el("b", node.label)),
        el(
            "dl",
            [
                join([el("dt", term), el("dd", value)])
                for term, value in (
                    ("Says", node.detail or "–"),
                    ("Signed by", node.person or "–"),
                    ("Made from", named(edge.source for edge in lineage.edges if edge.target == node.id)),
                    ("Went into", named(edge.target for edge in lineage.edges if edge.source == node.id)),
                    ("Records", [el("div", item, class_="id") for item in node.records] or "none of its own"),
                )
            ],
        ),
        class_="card",
    )


def releases_part(report: AdapterReport) -> Html:
    """Return where the adapter was released to, and whether it runs there today."""
    if not report.releases:
        return el("p", "Not released.")
    return el(
        "ul",
        [
            el(
                "li",
                el("b", item.channel),
                f": released by {item.by}, {moment(item.at)}",
                " and running today" if item.running else " and since replaced or taken back",
                f"; bundle in {item.bundle}" if item.bundle else "; the bundle is not on this disk",
            )
            for item in report.releases
        ],
    )


def provenance_part(report: AdapterReport) -> Html:
    """Return how the adapter was trained, and which files from where it is."""
    source = report.source
    pinned = source.revision or (short(source.sha256) if source.sha256 else "")
    where = f"{source.kind}: {source.location}" + (f" at {pinned}" if pinned else "")
    files = el(
        "details",
        el("summary", f"{plural(len(report.files), 'file')} from {where}"),
        files_table(report.files),
        el("p", "Adapter id ", el("span", report.adapter.id, class_="id")),
        el("p", "Weights id ", el("span", report.adapter.weights_id, class_="id")),
    )
    return join([trainings_table(report.trainings), files])
