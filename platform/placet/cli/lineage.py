"""`placet lineage`: what came from what, and who signed for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from placet.cli.completion import complete_adapter
from placet.cli.session import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    Session,
    add_command,
    find_adapter,
    save_text,
)

if TYPE_CHECKING:
    from placet.lineage.graph import Lineage


def register(app: typer.Typer) -> None:
    """Add the command."""
    lines = ("placet lineage desk-good", "placet lineage --dot lineage.dot")
    add_command(app, "lineage", lineage, *lines)


def lineage(
    adapter: Annotated[
        str | None,
        typer.Argument(
            metavar="ADAPTER",
            autocompletion=complete_adapter,
            help="Label of an adapter, or the start of its id; without it, everything.",
            show_default=False,
        ),
    ] = None,
    dot: Annotated[
        Path | None, typer.Option("--dot", metavar="FILE", help="Write the graph for Graphviz too.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what an adapter was made from, how it was judged, who signed, and what was made from it."""
    from placet.attest.trust import Verified
    from placet.lineage.draw import to_dot
    from placet.lineage.graph import build_lineage

    session = Session(home, json)
    reader = session.office().reader()
    focus = find_adapter(reader, adapter).record.adapter.id if adapter is not None else None
    graph = build_lineage((item for item in reader.everything() if isinstance(item, Verified)), focus)
    if dot is not None:
        save_text(dot, to_dot(graph))
    session.result(graph.to_json(), lambda console: _show(console, graph))
    if dot is not None:
        session.say(
            f"Graph written to {dot}. Draw it with Graphviz: dot -Tsvg {dot} -o {dot.with_suffix('.svg')}"
        )


def _show(console: Console, graph: Lineage) -> None:
    from placet.lineage.draw import to_text

    for line in to_text(graph) or ("nothing is on record yet",):
        console.print(line, soft_wrap=True)
