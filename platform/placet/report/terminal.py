"""The report in the terminal.

Text that came from people is put in without markup and without control characters, so that no label can colour,
move or clear the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from placet.domain.digests import short
from placet.domain.records import Decision, Outcome
from placet.lineage.draw import SIGNS
from placet.lineage.graph import Status
from placet.report.gap import Plot, to_pass
from placet.report.text import figure, moment, plain, plural, signed
from placet.report.view import DECISION_STATUS, AdapterReport, GateView

STYLES = {Status.NEUTRAL: "dim", Status.GOOD: "green", Status.CAUTION: "yellow", Status.BAD: "red"}
_BAR = 22


def print_report(console: Console, report: AdapterReport) -> None:
    """Print an adapter's report: verdict, brief, gates, figures, decisions, evidence."""
    _head(console, report)
    if report.verdict is not None:
        _gates(console, report.verdict.gates)
    _figures(console, report)
    _section(console, "What the risk is", report.brief.risks)
    _section(console, "Who said what", report.brief.people)
    _missing(console, report)
    _findings(console, report)
    _evidence(console, report)


def _head(console: Console, report: AdapterReport) -> None:
    title = Text(plain(report.adapter.label, 80), style="bold")
    title.append(f"  adapter {short(report.adapter.id)} on ", style="dim")
    title.append(f"{plain(report.base.label, 60)} {short(report.base.id)}", style="dim")
    _line(console, title)
    standing, verdict = report.standing, report.verdict
    state = Text()
    if verdict is not None:
        status = DECISION_STATUS[verdict.decision]
        state.append(f"{SIGNS[status]} {verdict.decision}", style=f"bold {STYLES[status]}")
        policy = f"{plain(verdict.policy.id, 40)} {plain(verdict.policy.version, 20)}"
        state.append(f"  {verdict.passed} of {plural(len(verdict.gates), 'gate')} passed, policy {policy}")
        state.append(f", {moment(verdict.decided_at)}\n")
    state.append(str(standing.state), style=f"bold {STYLES[standing.status]}")
    state.append(f"  {plain(standing.detail)}")
    if standing.next_step:
        state.append(f"; next: {plain(standing.next_step)}")
    _line(console, state)


def _gates(console: Console, gates: Sequence[GateView]) -> None:
    table = _table("gate", "outcome", "figure", "beside", "interval against limit", "", "passes if")
    for gate in gates:
        result = gate.result
        table.add_row(
            Text(plain(result.gate, 40)),
            _signed_word(gate.status, str(result.outcome)),
            Text(figure(result.figure, 0 if gate.counts else 4), justify="right"),
            Text(figure(result.baseline, 0 if gate.counts else 4), justify="right"),
            interval_bar(gate.plot) if gate.plot else Text(""),
            _ends(gate.plot),
            Text(plain(result.comparison, 60)),
        )
    console.print(table)
    for gate in gates:
        if gate.result.outcome is Outcome.PASS:
            continue
        _line(console, _signed_word(gate.status, gate.result.gate).append(f": {plain(gate.result.reason)}"))
        if change := to_pass(gate.result):
            _line(console, Text(f"  to pass: {plain(change)}"))
        if gate.result.why:
            _line(console, Text(f"  why this gate: {plain(gate.result.why)}", style="dim"))
        if gate.result.evidence:
            records = " ".join(short(item) for item in gate.result.evidence)
            _line(console, Text(f"  rests on {records}", style="dim"))


def interval_bar(plot: Plot) -> Text:
    """Return an interval as a bar of characters, ``├──●──┤``, with ``┊`` where the limit is."""
    from placet.report.plots import domain

    low, high = domain(plot)

    def cell(value: float) -> int:
        share = (min(max(value, low), high) - low) / (high - low)
        return round(share * (_BAR - 1))

    cells = [" "] * _BAR
    for index in range(cell(plot.low), cell(plot.high) + 1):
        cells[index] = "─"
    cells[cell(plot.low)], cells[cell(plot.high)] = "├", "┤"
    limit = cell(plot.threshold)
    cells[limit] = "┊" if cells[limit] == " " else "┼"
    cells[cell(plot.point)] = "●"
    return Text("".join(cells))


def _ends(plot: Plot | None) -> Text:
    write = signed if plot and plot.difference else figure
    return Text(f"{write(plot.low, 3)} … {write(plot.high, 3)}" if plot else "", style="dim", no_wrap=True)


def _figures(console: Console, report: AdapterReport) -> None:
    if not report.figures:
        return
    names = list(dict.fromkeys(name for row in report.figures for name, _ in row.incumbents))
    heads = (
        "suite",
        "metric",
        "base",
        "adapter",
        "change",
        *(plain(name, 30) for name in names),
        "documents",
    )
    table = _table(*heads)
    for row in report.figures:
        status = {True: Status.GOOD, False: Status.CAUTION, None: Status.NEUTRAL}[row.better]
        word = {True: " better", False: " worse", None: ""}[row.better]
        means = dict(row.incumbents)
        table.add_row(
            Text(plain(row.suite, 40)),
            Text(f"{plain(row.metric, 30)} {'↑' if row.adapter.higher_is_better else '↓'}"),
            Text(figure(row.base.mean if row.base else None), justify="right"),
            Text(figure(row.adapter.mean), style="bold", justify="right"),
            Text(signed(row.change) + word, style=STYLES[status], justify="right"),
            *(Text(figure(means.get(name)), justify="right") for name in names),
            Text(str(row.adapter.n), justify="right"),
        )
    console.print(table)


def _section(console: Console, title: str, items: Iterable[tuple[Status, str]]) -> None:
    _line(console, Text(title, style="bold"))
    for status, text in items:
        _line(
            console,
            Text(f"  {SIGNS[status] or '·'} ", style=STYLES[status]).append(plain(text), style="none"),
        )


def _missing(console: Console, report: AdapterReport) -> None:
    denied = report.verdict is not None and report.verdict.decision is Decision.DENY
    if report.approval is None or denied:  # no approval can release what was denied, so none is missing
        return
    for text in report.approval.missing:
        _line(console, Text("  ! ", style="yellow").append(f"missing: {plain(text)}", style="none"))


def _findings(console: Console, report: AdapterReport) -> None:
    found = [finding for check in report.checks for finding in check.findings]
    if found:
        _line(console, Text("What intake found", style="bold"))
    for finding in found:
        where = f" ({plain(finding.where, 80)})" if finding.where else ""
        _line(console, Text(f"  {finding.severity} {finding.id}: {plain(finding.message)}{where}"))
        _line(console, Text(f"    to mend: {plain(finding.fix)}", style="dim"))


def _evidence(console: Console, report: AdapterReport) -> None:
    table = _table("index", "kind", "what it says", "signed by", "state", "record")
    for item in report.evidence:
        status = Status.GOOD if item.verified else Status.BAD
        state = _signed_word(status, "verified" if item.verified else f"not verified: {item.problem}")
        table.add_row(
            Text("–" if item.index is None else str(item.index), justify="right"),
            Text(item.kind),
            Text(item.about),
            Text(plain(item.signer, 40)),
            state,
            Text(short(item.record), style="dim"),
        )
    console.print(table)
    ledger = f"ledger of {plural(report.head.size, 'record')}, root {report.head.root[:12]}"
    _line(console, Text(f"Every record above is in the {ledger}, checked {moment(report.at)}.", style="dim"))


def _signed_word(status: Status, word: str) -> Text:
    sign = f"{SIGNS[status]} " if SIGNS[status] else ""
    return Text(sign + plain(word), style=STYLES[status])


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        right = head in {"figure", "beside", "base", "adapter", "change", "documents", "index"}
        table.add_column(head, overflow="fold", justify="right" if right else "left")
    return table


def _line(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)
