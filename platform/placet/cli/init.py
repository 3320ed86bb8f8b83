"""`placet init`: make an office."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from placet.cli.render import print_pairs
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "init", init, 'placet init --name "ACME models"')


def init(
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="The office's name, as records carry it.")
    ],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Make an office: its folder, root, log and evaluator keys, and an empty ledger.

    Its keys are kept encrypted. Their passphrases are asked for in a terminal; elsewhere they come from
    PLACET_PASSPHRASE, or PLACET_PASSPHRASE_ROOT, PLACET_PASSPHRASE_LOG and PLACET_PASSPHRASE_EVALUATOR.
    """
    from placet.office import Office

    session = Session(home, json)
    office = Office.create(home, name, ask=session.asker())
    value = {
        "home": str(home),
        "name": office.settings.name,
        "origin": office.settings.origin,
        "pin": office.root.pin,
    }

    def show(console: Console) -> None:
        print_pairs(console, [("office", name), ("folder", home), ("pin", office.root.pin)])

    session.result(value, show)
    session.say("Hand the pin to whoever verifies releases. Next: `placet keys new`, `placet base add`.")
