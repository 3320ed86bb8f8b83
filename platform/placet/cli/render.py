"""Records and figures as people read them in a terminal. Nothing here decides anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from placet.domain.digests import short
from placet.domain.text import printable

if TYPE_CHECKING:
    from placet.domain.records import Finding, GateResult, Verdict

STYLES = {
    "ALLOW": "bold green", "DENY": "bold red", "NEEDS_REVIEW": "bold yellow",
    "PASS": "green", "FAIL": "red", "MISSING": "red", "ERROR": "red", "INCONCLUSIVE": "yellow",
    "refuse": "red", "warn": "yellow", "note": "dim",
}  # fmt: skip


def print_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; words that STYLES knows get their colour, long cells are folded and never cut."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def print_pairs(console: Console, pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values below each other, the values aligned."""
    kept = [(name, value) for name, value in pairs if value not in (None, "")]
    width = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        console.print(words(f"{name:<{width}}  ", style="dim") + _cell(value), soft_wrap=True)


def print_verdict(console: Console, verdict: Verdict, record_id: str) -> None:
    """Print a verdict: its decision, then each gate with figure, interval, threshold, outcome and what to change."""
    from placet.report.gap import to_pass

    head = words(f"{verdict.adapter.label}: ", style="bold") + _cell(verdict.decision.value)
    console.print(
        head + words(f"  under {verdict.policy.id} {verdict.policy.version}", style="dim"), soft_wrap=True
    )
    width = max((len(gate.gate) for gate in verdict.gates), default=0)
    for gate in verdict.gates:
        outcome = words(f"{gate.outcome.value:<12}", style=STYLES.get(gate.outcome.value, ""))
        advisory = "" if gate.required else " (advisory)"
        line = words("  ") + outcome + words(f"  {gate.gate:<{width}}  {gate_figures(gate)}{advisory}")
        console.print(line, soft_wrap=True)
        if gate.outcome.value != "PASS":
            indent = " " * 16
            console.print(words(f"{indent}why: {gate.reason}"), soft_wrap=True)
            if change := to_pass(gate):
                console.print(words(f"{indent}to pass: {change}"), soft_wrap=True)
    console.print(words(f"  verdict {short(record_id)}, adapter {short(verdict.adapter.id)}", style="dim"))


def gate_figures(gate: GateResult) -> str:
    """Return a gate's figure, interval and condition in one line."""
    parts: list[str] = []
    if gate.figure is not None:
        parts.append(figure(gate.figure))
    if gate.interval is not None:
        low, high = figure(gate.interval.low), figure(gate.interval.high)
        parts.append(f"[{low}, {high}] at {gate.interval.level:.0%}")
    if gate.baseline is not None:
        parts.append(f"{gate.compared_with or 'base'} {figure(gate.baseline)}")
    if gate.comparison:
        parts.append(f"needs {gate.comparison}")
    elif gate.threshold is not None:
        parts.append(f"threshold {figure(gate.threshold)}")
    if gate.n:
        parts.append(f"n={gate.n:,}")
    return "  ".join(parts) or gate.reason


def figure(value: float) -> str:
    """Return a measured number with up to four places, as people compare them."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if value else "0"


def print_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Print what checks found: what, where, and how to mend it."""
    for finding in findings:
        where = f" ({finding.where})" if finding.where else ""
        head = words(f"  {finding.severity.value:<7}", style=STYLES.get(finding.severity.value, ""))
        console.print(head + words(f"{finding.id}: {finding.message}{where}"), soft_wrap=True)
        if finding.fix:
            console.print(words(f"         to mend it: {finding.fix}"), soft_wrap=True)


def moment(value: Any) -> str:
    """Return a point in time as people read it, in UTC."""
    return f"{value:%Y-%m-%d %H:%M} UTC"


def words(text: str, style: str = "") -> Text:
    """Return `text` in a style, its control characters replaced."""
    return Text(printable(text), style=style)


def _cell(value: object) -> Text:
    return words(str(value), STYLES.get(str(value), ""))
