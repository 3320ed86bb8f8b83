"""The HTML report: one file, no script, nothing from elsewhere, light and dark, fit to print."""

from __future__ import annotations

from collections.abc import Sequence

from placet.domain.errors import UsageError
from placet.office import Office
from placet.policy.notes import SampleNote
from placet.report.drawing import lineage_html
from placet.report.fragments import (
    banner,
    brief_cards,
    change_part,
    figures_table,
    gates_table,
    groups_part,
    masthead,
    notes_part,
    plan_part,
)
from placet.report.groups import GroupTable, load_groups
from placet.report.markup import Child, Html, el, join
from placet.report.plans import load_sample_notes
from placet.report.records import (
    checks_table,
    decisions,
    evidence_table,
    provenance_part,
    releases_part,
    samples_part,
)
from placet.report.samples import SampleTable, load_samples, samples_readable
from placet.report.style import Theme, style_sheet
from placet.report.text import moment, plural
from placet.report.view import AdapterReport

FLIPS_SHOWN = 20
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render_html(
    report: AdapterReport,
    samples: Sequence[SampleTable] = (),
    groups: Sequence[GroupTable] = (),
    notes: Sequence[SampleNote] = (),
    *,
    left_out: str = "",
) -> str:
    """Return the report as one HTML file.

    Args:
        report: The adapter's report.
        samples: Per-sample results to show the flips of; suites left out are not mentioned.
        groups: The groups of its subgroups gates.
        notes: What its plan's samples can show.
        left_out: What could not be shown, and why.
    """
    parts: list[Child] = [masthead(report), banner(report), brief_cards(report.brief)]
    if report.verdict is not None:
        parts.append(change_part(report.verdict))
        older = report.verdict.older
        parts += [
            el("h2", "Gates"),
            el("p", f"This verdict replaced {plural(older, 'older one')}.", class_="muted")
            if older
            else None,
            gates_table(report.verdict),
            *groups_part(groups),
        ]
    if report.figures:
        parts += [el("h2", "Measured against the base"), figures_table(report.figures)]
    if report.plan is not None:
        parts += [el("h2", "Plan"), plan_part(report.plan)]
        if notes:
            parts += [el("h2", "What its samples can show"), notes_part(notes)]
        parts.append(el("p", left_out, class_="muted small") if left_out else None)
    if samples:
        parts += [el("h2", "Samples that flipped"), [samples_part(item, FLIPS_SHOWN) for item in samples]]
    if report.approval is not None:
        parts += [el("h2", "Decisions"), decisions(report.approval)]
    if report.releases:
        parts += [el("h2", "Releases"), releases_part(report)]
    parts += [el("h2", "Lineage"), lineage_html(report.lineage)]
    parts += [el("h2", "Provenance"), provenance_part(report)]
    parts += [el("h2", "Intake"), checks_table(report)]
    parts += [el("h2", "Evidence"), evidence_table(report.evidence), _footer(report)]
    return _document(f"{report.adapter.label}: release report", parts)


def whole_report(office: Office, report: AdapterReport) -> str:
    """Return the report as one HTML file with all that has to be read from blobs or worked out first.

    Where an office does not hold a policy's document, the parts made of it say so and the rest is there.

    Raises:
        IntegrityError: A blob is missing or altered.
    """
    samples = [load_samples(office, row) for row in report.figures] if samples_readable() else []
    try:
        groups = load_groups(office, report.verdict.record) if report.verdict else ()
        notes = load_sample_notes(office, report.plan.record) if report.plan else ()
    except UsageError as error:
        return render_html(
            report, samples, left_out=f"Groups, or what the samples can show, are left out: {error}."
        )
    return render_html(report, samples, groups, notes)


def _document(title: str, parts: list[Child]) -> str:
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", style_sheet(Theme.AUTO)),
    )
    body = el("body", el("main", parts, class_="placet"), class_="page")
    return "<!doctype html>\n" + el("html", head, body, lang="en") + "\n"


def _footer(report: AdapterReport) -> Html:
    return el(
        "footer",
        el("p", f"Every record above was verified when this report was made, {moment(report.at)}:"),
        el(
            "dl",
            join([el("dt", "Office"), el("dd", report.office)]),
            join([el("dt", "Trust root"), el("dd", report.root_pin, class_="id")]),
            join(
                [
                    el("dt", "Ledger"),
                    el("dd", f"{report.head.size} records, root ", el("span", report.head.root, class_="id")),
                ]
            ),
        ),
        el(
            "p",
            "This page is a copy for reading and proves nothing by itself: check a release with ",
            el("code", "placet verify"),
            ", the record with ",
            el("code", "placet audit"),
            ".",
        ),
        class_="muted small",
    )
