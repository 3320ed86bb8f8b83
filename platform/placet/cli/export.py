"""`placet export`: a verdict in the words of other tools."""

from __future__ import annotations

import json as json_library
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from placet.cli.session import (
    DEFAULT_HOME,
    AdapterArgument,
    HomeOption,
    JsonOption,
    Session,
    add_command,
    find_adapter,
    save_text,
)


class Form(StrEnum):
    """What a verdict can be told as."""

    VSA = "vsa"
    TEST_RESULT = "test-result"


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        "export",
        export,
        "placet export vsa desk-good --out desk-good.vsa.json",
        "placet export test-result desk-good",
    )


def export(
    form: Annotated[
        Form, typer.Argument(metavar="FORM", help="vsa (SLSA verification summary) or test-result (in-toto).")
    ],
    adapter: AdapterArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead of to stdout.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="NAME", help="Sign with this key, not the evaluator's.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Export an adapter's newest verdict as a signed attestation in a standard form.

    A summary (vsa) is made of ALLOW and DENY; a test result also of NEEDS_REVIEW, as WARNED. They are not logged.
    """
    from placet.release import exports

    session = Session(home, json)
    office = session.office()
    subject = find_adapter(office.reader(), adapter).record.adapter
    make = exports.export_vsa if form is Form.VSA else exports.export_test_result
    envelope = make(office, subject.id, office.signer(key) if key else None)
    text = envelope.raw.decode()
    if out is not None:
        save_text(out, text + "\n")
    session.result(
        json_library.loads(text),
        lambda console: console.print(f"wrote {out}" if out else text, soft_wrap=True),
    )
