"""Parts of a page that the HTML report and the app share: head, verdict, brief, gates, figures."""

from __future__ import annotations

from collections.abc import Iterable

from placet.domain.digests import short
from placet.domain.records import Outcome
from placet.domain.text import duration
from placet.lineage.draw import SIGNS
from placet.lineage.graph import Status
from placet.policy.notes import SampleNote, group_lines
from placet.report.groups import GroupTable, GroupView
from placet.report.markup import Child, Html, el, join
from placet.report.paths import path_svg, path_words
from placet.report.pictures import Draw, inline
from placet.report.plans import PlannedView, PlanView
from placet.report.plots import interval_svg, words
from placet.report.state import State
from placet.report.text import figure, moment, plural, signed
from placet.report.view import (
    DECISION_STATUS,
    OUTCOME_STATUS,
    AdapterReport,
    Brief,
    GateView,
    SuiteFigures,
    VerdictView,
)


def badge(status: Status, word: str, *, big: bool = False) -> Html:
    """Return a word in a coloured frame with its sign."""
    sign = f"{SIGNS[status]} " if SIGNS[status] else ""
    return el("span", sign + word, class_=f"badge {status}{' big' if big else ''}")


def worded(text: str) -> list[Child]:
    """Return a sentence of ours with what stands in backticks as code."""
    return [el("code", part) if place % 2 else part for place, part in enumerate(text.split("`"))]


def lines(items: Iterable[tuple[Status, Child]]) -> Html:
    """Return sentences as a list, each with its sign."""
    rows = [
        el(
            "li",
            el("span", SIGNS[status] or "·", class_=f"sign {status}", aria_hidden="true"),
            worded(text) if type(text) is str else text,
        )
        for status, text in items
    ]
    return el("ul", rows, class_="lines")


def table(
    head: Iterable[str], rows: Iterable[Child], numbers: Iterable[int] = (), *, stacks: bool = False
) -> Html:
    """Return a table; `numbers` are the columns set to the right.

    One that `stacks` has its cells below each other where the page is narrow.
    """
    right = set(numbers)
    cells = [
        el("th", text, scope="col", class_="number" if number in right else None)
        for number, text in enumerate(head)
    ]
    return el(
        "div",
        el("table", el("thead", el("tr", cells)), el("tbody", rows), class_="stack" if stacks else None),
        class_="wide",
        tabindex="0",
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
    next_step: Child = [". Next: ", worded(standing.next_step), "."] if standing.next_step else "."
    colon = "" if standing.state in {State.RELEASED, State.REVOKED, State.APPROVED} else ":"
    if verdict is None:
        word = el("span", "NO VERDICT YET", class_="word")
        rest = el("span", standing.detail.capitalize(), next_step, class_="rest")
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
        f" {standing.detail}",
        next_step,
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


def change_part(verdict: VerdictView) -> Html | None:
    """Return what would have to change for each gate that did not pass; None if all did."""
    open_gates = verdict.open_gates()
    if not open_gates:
        return None
    items: list[tuple[Status, Child]] = [
        (
            gate.status,
            [
                el("a", gate.result.gate, href=f"#gate-{gate.result.gate}"),
                f" is {gate.result.outcome}. ",
                f"{gate.gap} " if gate.gap else None,
                worded(gate.result.fix or gate.result.reason),
                _waiver_words(gate),
            ],
        )
        for gate in open_gates
    ]
    return el("section", el("h3", "What would have to change"), lines(items), class_="card change")


def _waiver_words(gate: GateView) -> str | None:
    if not gate.may_be_waived:
        return None
    needed = gate.result.waivers_needed
    people = "1 person waives" if needed == 1 else f"{needed} people waive"
    return f" Or {people} it: {gate.waivers_count} of {needed} did."


def gates_table(verdict: VerdictView, draw: Draw = inline) -> Html:
    """Return every gate with figure, interval against threshold, path, reason, fix, why and evidence.

    What did not pass comes first, then what passed with a figure, then what passed without.
    """
    head = ("Gate", "Outcome", "Figure", "Interval against limit", "Reason")
    gates = sorted(verdict.gates, key=lambda gate: (gate.result.outcome is Outcome.PASS, gate.plot is None))
    return table(head, [_gate_row(gate, draw) for gate in gates], numbers=(2,), stacks=True)


def _gate_row(gate: GateView, draw: Draw) -> Html:
    result = gate.result
    optional = None if result.required else el("div", "not required", class_="muted small")
    evidence = [el("a", short(item), href=f"#r-{short(item)}", class_="id") for item in result.evidence]
    spaced = [child for item in evidence for child in (" ", item)]
    return el(
        "tr",
        el("th", result.gate, optional, scope="row"),
        el("td", badge(gate.status, str(result.outcome)), _waived(gate)),
        el("td", _gate_figures(gate), class_="number figures"),
        el("td", _gate_picture(gate, draw), class_="picture"),
        el(
            "td",
            result.reason,
            el(
                "div",
                el("b", "To pass: "),
                f"{gate.gap} " if gate.gap else None,
                worded(result.fix),
                class_="fix",
            )
            if result.fix or gate.gap
            else None,
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


def _waived(gate: GateView) -> Html | None:
    if not gate.waived_by:
        return None
    doubt = "" if gate.waivers_count else ", which no longer counts"
    return el("div", f"waived by {', '.join(gate.waived_by)}{doubt}", class_="small")


def _gate_figures(gate: GateView) -> list[Child]:
    result, places = gate.result, 0 if gate.counts else 4
    figures: list[Child] = [el("b", figure(result.figure, places))]
    if result.baseline is not None:
        other = f"{result.compared_with or 'base'} {figure(result.baseline, places)}"
        figures.append(el("div", other, class_="muted small"))
    if result.n:
        figures.append(el("div", f"n = {result.n}", class_="muted small"))
    return figures


def _gate_picture(gate: GateView, draw: Draw) -> Child:
    result = gate.result
    if gate.plot is None or result.interval is None:
        return el("span", result.comparison or "–", class_="muted small")
    path = path_svg(result, gate.planned)
    return (
        draw(interval_svg(gate.plot, passed=result.outcome is Outcome.PASS), words(gate.plot)),
        el(
            "div",
            f"{result.comparison} · {result.interval.level * 100:g}% {result.interval.method}",
            class_="muted small",
        ),
        None if path is None else el("div", draw(path, path_words(result, gate.planned)), class_="path"),
    )


def groups_part(tables: Iterable[GroupTable], draw: Draw = inline) -> list[Child]:
    """Return the groups of each subgroups gate, the weakest first, each with its interval against the limit."""
    parts: list[Child] = []
    for item in tables:
        against = f", against {item.against}" if item.against else ""
        parts += [
            el("h2", f"{item.gate}: {item.suite} by {item.by}"),
            el(
                "p",
                f"{item.comparison}{against}. Each group by itself, at the gate's own error rate; the gate passes only "
                "if every one does.",
                class_="muted small",
            ),
            table(
                ("Group", "Alone", "Documents", item.metric, "Interval against limit"),
                [_group_row(group, draw) for group in item.groups],
                numbers=(2, 3),
                stacks=True,
            ),
        ]
    return parts


def _group_row(group: GroupView, draw: Draw) -> Html:
    beside = None
    if group.baseline is not None:
        beside = el("div", f"beside {figure(group.baseline)}", class_="muted small")
    picture: Child = "no interval: too few documents"
    if group.plot is not None:
        picture = draw(interval_svg(group.plot, passed=group.outcome is Outcome.PASS), words(group.plot))
    return el(
        "tr",
        el("th", group.name, scope="row"),
        el("td", badge(OUTCOME_STATUS[group.outcome], str(group.outcome)), class_="tight"),
        el("td", group.n, class_="number", data_head="Documents"),
        el("td", el("b", figure(group.figure)), beside, class_="number"),
        el("td", picture, class_="picture"),
    )


def plan_part(plan: PlanView) -> Html:
    """Return the plan: what was to be run, in whose order, what it was expected to take and what it took."""
    holds = all(item.drawn for item in plan.suites)
    beside = (
        " and from the evaluator's signature over it, which nobody else could foresee"
        if plan.unforeseen
        else " and from nothing else, so that whoever added the last of them could foresee it"
    )
    order = (
        f"drawn from the ledger as it stood at {plural(plan.head.size, 'record')}{beside}, before anything ran; "
        f"drawn again just now: {'the same order' if holds else 'ANOTHER ORDER'}"
    )
    references = ", ".join(f"{name} ({label})" for name, label in plan.references) or "the base alone"
    known = plural(plan.known_results, "run") + " of these suites on these weights were on record already"
    facts: list[tuple[str, Child]] = [
        (
            "Plan",
            [
                identifier(plan.record),
                f", record {plan.index}, {moment(plan.planned_at)}, {plural(plan.age_days, 'day')} old",
            ],
        ),
        ("Policy", f"{plan.policy.id} {plan.policy.version}"),
        (
            "Order",
            [
                badge(
                    Status.GOOD if holds else Status.BAD, "order holds" if holds else "order does not hold"
                ),
                " ",
                order,
            ],
        ),
        ("Compares with", references),
        ("Engine", plan.engine),
    ]
    if plan.known_results:
        facts.append(("Known before", known))
    if plan.expired:
        old = f"older than the {plan.max_age_days} days its policy allows: `placet gate` makes a new one"
        facts.append(("Age", [badge(Status.CAUTION, "expired"), " ", worded(old)]))
    if not plan.judged:
        facts.append(("Standing", badge(Status.NEUTRAL, "no verdict rests on it yet")))
    rows = [_planned_row(item) for item in plan.suites]
    head = ("Suite", "Planned", "How", "Expected to run", "Run", "Expected to take", "Took")
    return el(
        "div",
        el("dl", [join([el("dt", name), el("dd", value)]) for name, value in facts]),
        table(head, rows, numbers=(1, 3, 4, 5, 6), stacks=True),
    )


def _planned_row(item: PlannedView) -> Html:
    how = "all at once"
    if item.mode == "sequential":
        about = "these documents" if item.claim == "benchmark" else "all documents of this kind"
        how = f"may stop early, looked at after every {item.chunk}; about {about}"
    if item.steadied:
        how += "; steadied by the base's run on the whole suite"
    if item.groups:
        how += f"; groups by {', '.join(item.groups)}"
    used = None
    if item.run is not None and item.planned:
        used = el("div", f"{100 * item.run / item.planned:.0f} %", class_="muted small")
    return el(
        "tr",
        el(
            "th",
            item.suite,
            el("div", f"{item.stage}, version {item.version}", class_="muted small"),
            scope="row",
        ),
        el(
            "td",
            item.planned,
            el("div", f"of {item.documents}", class_="muted small"),
            class_="number",
            data_head="Planned",
        ),
        el("td", how, class_="text"),
        el("td", item.expected, class_="number", data_head="Expected to run"),
        el("td", "–" if item.run is None else item.run, used, class_="number", data_head="Run"),
        el(
            "td",
            "never run before" if item.expected_s is None else duration(item.expected_s),
            class_="number",
            data_head="Expected to take",
        ),
        el("td", "–" if item.took_s is None else duration(item.took_s), class_="number", data_head="Took"),
    )


def notes_part(notes: Iterable[SampleNote]) -> Html:
    """Return what each statistical gate can show on the plan's samples: what it just shows, and the chance to pass."""
    rows = [
        el(
            "tr",
            el("th", note.gate, scope="row"),
            el(
                "td",
                badge(Status.GOOD, "large enough") if note.adequate else badge(Status.CAUTION, "small"),
                class_="tight",
            ),
            el("td", note.n, class_="number", data_head="Documents"),
            el("td", note.least or "–", class_="tight", data_head="Just shows"),
            el(
                "td",
                f"{note.text[:1].upper()}{note.text[1:]}.",
                [el("div", line, class_="muted small") for line in group_lines(note)],
                class_="text",
            ),
        )
        for note in notes
    ]
    head = ("Gate", "Sample", "Documents", "Just shows", "What it can show")
    return table(head, rows, numbers=(2,), stacks=True)


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
