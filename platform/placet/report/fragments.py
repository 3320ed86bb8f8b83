"""Parts of a page that the HTML report and the app share: head, verdict, brief, gates, figures."""

from __future__ import annotations

from collections.abc import Iterable

from placet.domain.digests import short
from placet.domain.records import Outcome
from placet.lineage.draw import SIGNS
from placet.lineage.graph import Status
from placet.report.markup import Child, Html, el
from placet.report.paths import path_svg, path_words
from placet.report.pictures import Draw, inline
from placet.report.plots import interval_svg, words
from placet.report.state import State
from placet.report.text import figure, moment, plural, signed
from placet.report.view import DECISION_STATUS, AdapterReport, Brief, GateView, SuiteFigures, VerdictView


def badge(status: Status, word: str, *, big: bool = False) -> Html:
    """Return a word in a coloured frame with its sign."""
    sign = f"{SIGNS[status]} " if SIGNS[status] else ""
    return el("span", sign + word, class_=f"badge {status}{' big' if big else ''}")


def lines(items: Iterable[tuple[Status, Child]]) -> Html:
    """Return sentences as a list, each with its sign."""
    rows = [
        el("li", el("span", SIGNS[status] or "·", class_=f"sign {status}", aria_hidden="true"), text)
        for status, text in items
    ]
    return el("ul", rows, class_="lines")


def table(head: Iterable[str], rows: Iterable[Child], numbers: Iterable[int] = ()) -> Html:
    """Return a table; `numbers` are the columns set to the right."""
    right = set(numbers)
    cells = [
        el("th", text, scope="col", class_="number" if number in right else None)
        for number, text in enumerate(head)
    ]
    return el(
        "div", el("table", el("thead", el("tr", cells)), el("tbody", rows)), class_="wide", tabindex="0"
    )


def identifier(digest: str | None) -> Html:
    """Return the beginning of a digest; the whole of it shows on pointing at it."""
    return el("span", short(digest) if digest else "–", class_="id", title=digest)


def masthead(report: AdapterReport) -> Html:
    """Return label, ids and standing of the adapter."""
    standing = report.standing
    return el(
        "div",
        el(
            "div",
            el("h1", report.adapter.label),
            el(
                "p",
                "adapter ",
                identifier(report.adapter.id),
                f" on {report.base.label} ",
                identifier(report.base.id),
                f" · submitted by {report.submitter}, {moment(report.submitted_at)}",
                class_="muted small",
            ),
            el("p", f"“{report.note}”", class_="small") if report.note else None,
        ),
        badge(standing.status, str(standing.state), big=True),
        class_="head",
    )


def banner(report: AdapterReport) -> Html:
    """Return the verdict in one line, with where the adapter stands."""
    verdict, standing = report.verdict, report.standing
    next_step = f". Next: {standing.next_step}." if standing.next_step else "."
    colon = "" if standing.state in {State.RELEASED, State.REVOKED, State.APPROVED} else ":"
    if verdict is None:
        word = el("span", "NO VERDICT YET", class_="word")
        rest = el("span", f"{standing.detail}{next_step}".capitalize(), class_="rest")
        return el("div", word, rest, class_="banner neutral")
    status = Status.BAD if standing.state is State.REVOKED else DECISION_STATUS[verdict.decision]
    word = el(
        "span", f"{SIGNS[DECISION_STATUS[verdict.decision]]} {verdict.decision}", class_=f"word {status}"
    )
    policy = f"policy {verdict.policy.id} {verdict.policy.version}"
    rest = el(
        "span",
        f"{verdict.passed} of {plural(len(verdict.gates), 'gate')} passed under {policy} ",
        identifier(verdict.policy.digest),
        f", {moment(verdict.decided_at)}. ",
        el("b", str(standing.state).capitalize() + colon),
        f" {standing.detail}{next_step}",
        class_="rest",
    )
    return el("div", word, rest, class_=f"banner {status}")


def brief_cards(brief: Brief) -> Html:
    """Return the three questions a reviewer has, answered."""
    cards = (
        ("What it changes against the base", brief.changes),
        ("What the risk is", brief.risks),
        ("Who said what", brief.people),
    )
    return el(
        "div",
        [el("section", el("h3", title), lines(items), class_="card") for title, items in cards],
        class_="cards",
    )


def gates_table(verdict: VerdictView, draw: Draw = inline) -> Html:
    """Return every gate with figure, interval against threshold, reason, fix, why and evidence.

    What did not pass comes first; within that, the policy's order is kept.
    """
    head = ("Gate", "Outcome", "Figure", "Interval against limit", "Reason")
    gates = sorted(verdict.gates, key=lambda gate: gate.result.outcome is Outcome.PASS)
    return table(head, [_gate_row(gate, draw) for gate in gates], numbers=(2,))


def _gate_row(gate: GateView, draw: Draw) -> Html:
    result = gate.result
    places = 0 if gate.counts else 4
    figures: list[Child] = [el("b", figure(result.figure, places))]
    if result.baseline is not None:
        figures.append(
            el(
                "div",
                f"{result.compared_with or 'base'} {figure(result.baseline, places)}",
                class_="muted small",
            )
        )
    if result.n:
        figures.append(el("div", f"n = {result.n}", class_="muted small"))
    path = path_svg(result)
    if gate.plot is not None and result.interval is not None:
        picture: Child = (
            draw(interval_svg(gate.plot, passed=result.outcome is Outcome.PASS), words(gate.plot)),
            el(
                "div",
                f"{result.comparison} · {result.interval.level * 100:g}% {result.interval.method}",
                class_="muted small",
            ),
            None if path is None else draw(path, path_words(result)),
        )
    else:
        picture = el("span", result.comparison or "–", class_="muted small")
    optional = None if result.required else el("div", "not required", class_="muted small")
    waived = el("div", f"waived by {', '.join(gate.waived_by)}", class_="small") if gate.waived_by else None
    evidence = [el("a", short(item), href=f"#r-{short(item)}", class_="id") for item in result.evidence]
    spaced = [child for item in evidence for child in (" ", item)]
    return el(
        "tr",
        el("th", result.gate, optional, scope="row"),
        el("td", badge(gate.status, str(result.outcome)), waived, class_="tight"),
        el("td", figures, class_="number"),
        el("td", picture, class_="picture"),
        el(
            "td",
            result.reason,
            el("div", el("b", "To pass: "), result.fix, class_="fix") if result.fix else None,
            el(
                "details",
                el("summary", "Why this gate, and what it rests on"),
                el("div", result.why, class_="why") if result.why else None,
                el("div", "records", spaced, class_="why") if evidence else None,
                class_="plain",
            ),
            class_="text",
        ),
        id=f"gate-{result.gate}",
    )


def figures_table(figures: tuple[SuiteFigures, ...]) -> Html:
    """Return every suite's mean: base, adapter, change, and what runs on channels today."""
    names = list(dict.fromkeys(name for row in figures for name, _ in row.incumbents))
    head = ["Suite", "Metric", "Base", "Adapter", "Change", *names, "Documents"]
    rows = []
    for row in figures:
        incumbents = dict(row.incumbents)
        status = {True: Status.GOOD, False: Status.CAUTION, None: Status.NEUTRAL}[row.better]
        word = {True: " better", False: " worse", None: ""}[row.better]
        rows.append(
            el(
                "tr",
                el("th", row.suite, scope="row"),
                el(
                    "td",
                    f"{row.metric} ({'↑' if row.adapter.higher_is_better else '↓'} is better)",
                    class_="tight",
                ),
                el("td", figure(row.base.mean if row.base else None), class_="number"),
                el("td", el("b", figure(row.adapter.mean)), class_="number"),
                el("td", signed(row.change) + word, class_=f"number {status}"),
                [el("td", figure(incumbents.get(name)), class_="number") for name in names],
                el("td", row.adapter.n, class_="number"),
            )
        )
    return table(head, rows, numbers=range(2, len(head)))
