"""`placet demo`: the whole way on a real model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from placet.cli.errors import REFUSED
from placet.cli.render import print_pairs, print_table
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command
from placet.domain.text import duration

if TYPE_CHECKING:
    from placet.demo.run import DemoResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "demo", demo, "placet demo --home demo-office")


def demo(
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Train, submit, gate, approve, release and verify real adapters, and refuse broken ones.

    Stopped at any point, the same command goes on where it stopped. Exit code 1: something came out otherwise
    than expected.
    """
    from placet.demo.plan import full_plan
    from placet.demo.run import run_demo

    session = Session(home, json)
    with session.progress() as progress:
        result = run_demo(home, progress, full_plan())
    session.result(_json(result), lambda console: _show(console, result))
    if not result.as_expected:
        raise typer.Exit(REFUSED)
    session.say(f"Look at it: `placet ui --home {home}`")


def _show(console: Console, result: DemoResult) -> None:
    rows = (
        (row.name, row.found, "as expected" if row.as_expected else f"EXPECTED {row.expected}", row.detail)
        for row in result.rows
    )
    print_table(console, ("adapter", "verdict", "", "why"), rows)
    console.print()
    for name, held, words in result.steps:
        console.print(f"{'ok' if held else 'FAILED':<8}{name}: {words}", soft_wrap=True)
    console.print()
    print_pairs(
        console,
        [
            ("office", result.home),
            ("bundle", result.bundle),
            ("pin", result.pin),
            ("first verdict after", duration(result.seconds_to_first_verdict)),
            ("all after", duration(result.seconds)),
        ],
    )


def _json(result: DemoResult) -> dict[str, Any]:
    return {
        "asExpected": result.as_expected,
        "home": str(result.home),
        "bundle": str(result.bundle),
        "pin": result.pin,
        "rows": [
            {
                "name": row.name,
                "expected": row.expected,
                "found": row.found,
                "asExpected": row.as_expected,
                "detail": row.detail,
            }
            for row in result.rows
        ],
        "steps": [{"name": name, "held": held, "detail": words} for name, held, words in result.steps],
        "secondsToFirstVerdict": round(result.seconds_to_first_verdict, 1),
        "seconds": round(result.seconds, 1),
    }
