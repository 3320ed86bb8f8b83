"""`placet report`: where adapters stand, and all about one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from placet.cli.completion import complete_adapter
from placet.cli.render import moment, print_table
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command, save_text
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.report.queue import Queue


def register(app: typer.Typer) -> None:
    """Add the command."""
    lines = ("placet report", "placet report desk-good --html desk-good.html")
    add_command(app, "report", report, *lines)


def report(
    adapter: Annotated[
        str | None,
        typer.Argument(
            metavar="ADAPTER",
            autocompletion=complete_adapter,
            help="Label of an adapter, or the start of its id; without it, a list of all.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the report as one self-contained page."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Report an adapter's verdict with reasons, figures, evidence and decisions; or list where all stand."""
    session = Session(home, json)
    if adapter is None:
        if html is not None:
            raise UsageError("which adapter's report?", hint="placet report ADAPTER --html FILE")
        _list(session)
        return
    _one(session, adapter, html)


def _list(session: Session) -> None:
    from placet.report.data import to_data
    from placet.report.queue import load_queue

    queue = load_queue(session.office())
    session.result(to_data(queue), lambda console: _show_queue(console, queue))


def _one(session: Session, adapter: str, html: Path | None) -> None:
    from placet.report.adapter import load_adapter_report
    from placet.report.data import to_data
    from placet.report.page import whole_report
    from placet.report.terminal import print_report

    office = session.office()
    found = load_adapter_report(office, adapter)
    if html is not None:
        save_text(html, whole_report(office, found))
    session.result(to_data(found), lambda console: print_report(console, found))
    if html is not None:
        session.say(f"Report written to {html}")


def _show_queue(console: Console, queue: Queue) -> None:
    if not queue.items:
        console.print("Nothing was handed in yet: `placet submit`.")
    else:
        rows = (
            (
                item.label,
                item.state.value,
                item.decision.value if item.decision else "–",
                f"{item.gates_passed} of {item.gates}" if item.gates else "–",
                f"{item.approvals} of {item.approvals_needed}" if item.approvals_needed else "–",
                item.base,
                moment(item.at),
            )
            for item in queue.items
        )
        print_table(
            console, ("adapter", "state", "verdict", "gates passed", "approvals", "base", "handed in"), rows
        )
    for running in queue.running:
        console.print(
            f"on {running.channel}: {running.label} since {moment(running.released_at)}", soft_wrap=True
        )
