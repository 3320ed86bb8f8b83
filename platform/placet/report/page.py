"""The HTML report: one file, no script, nothing from elsewhere, light and dark, fit to print."""

from __future__ import annotations

from collections.abc import Sequence

from placet.report.drawing import lineage_html
from placet.report.fragments import (
    banner,
    brief_cards,
    figures_table,
    gates_table,
    masthead,
)
from placet.report.markup import Child, Html, el, join
from placet.report.records import (
    checks_table,
    decisions,
    evidence_table,
    provenance_part,
    releases_part,
    samples_part,
)
from placet.report.samples import SampleTable
from placet.report.style import Theme, style_sheet
from placet.report.text import moment, plural
from placet.report.view import AdapterReport

FLIPS_SHOWN = 20
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def render_html(report: AdapterReport, samples: Sequence[SampleTable] = ()) -> str:
    """Return the report as one HTML file.

    Args:
        report: The adapter's report.
        samples: Per-sample results to show the flips of; suites left out are not mentioned.
    """
    parts: list[Child] = [masthead(report), banner(report), brief_cards(report.brief)]
    if report.verdict is not None:
        older = report.verdict.older
        parts += [
            el("h2", "Gates"),
            el("p", f"This verdict replaced {plural(older, 'older one')}.", class_="muted")
            if older
            else None,
            gates_table(report.verdict),
        ]
    if report.figures:
        parts += [el("h2", "Measured against the base"), figures_table(report.figures)]
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
