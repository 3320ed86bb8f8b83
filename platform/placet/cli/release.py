"""`placet release`: put an approved adapter on a channel."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from placet.cli.render import print_pairs
from placet.cli.session import (
    DEFAULT_HOME,
    AdapterArgument,
    HomeOption,
    JsonOption,
    KeyOption,
    Session,
    add_command,
    find_adapter,
    person_signer,
    record_json,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "release", release, "placet release desk-good --channel staging --key rhea")


def release(
    adapter: AdapterArgument,
    channel: Annotated[str, typer.Option("--channel", metavar="NAME", help="The channel, such as staging.")],
    key: KeyOption,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Release an approved adapter: a signed record, and a bundle that anyone can verify offline."""
    from placet.release import desk

    session = Session(home, json)
    office = session.office()
    subject = find_adapter(office.reader(), adapter).record.adapter
    released, bundle = desk.release(office, subject.id, channel, person_signer(office, key))

    def show(console: Console) -> None:
        console.print(f"{subject.label}: released to {channel} by {released.person}", soft_wrap=True)
        print_pairs(console, [("bundle", bundle), ("record", released.id), ("pin", office.root.pin)])

    session.result({**record_json(released), "bundle": str(bundle), "pin": office.root.pin}, show)
    session.say(f"Anyone can check it: `placet verify {bundle} --pin {office.root.pin}`")
