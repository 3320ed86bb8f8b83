"""`placet init`: make an office."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from placet.cli.render import print_pairs
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command

if TYPE_CHECKING:
    from placet.office import Office


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
    """Make an office: its folder, root, log, evaluator and files keys, and an empty ledger.

    Its keys are kept encrypted. Their passphrases are asked for in a terminal; elsewhere they come from
    PLACET_PASSPHRASE, or PLACET_PASSPHRASE_ROOT, PLACET_PASSPHRASE_LOG and so on. `placet trust init` makes one whose
    root several people hold.
    """
    from placet.office import create_office

    session = Session(home, json)
    show_office(session, create_office(home, name, ask=session.asker()))


def show_office(session: Session, office: Office) -> None:
    """Show a new office and what comes next."""
    settings, pin = office.settings, office.root.pin
    value = {"home": str(office.home), "name": settings.name, "origin": settings.origin, "pin": pin}

    def show(console: Console) -> None:
        print_pairs(console, [("office", settings.name), ("folder", office.home), ("pin", pin)])

    session.result(value, show)
    session.say(
        "Hand the pin to whoever verifies releases. Next: `placet keys new`, `placet trust add`, `placet base add`."
    )
