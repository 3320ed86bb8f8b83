"""`placet submit`: hand in an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.base import SOURCE_HELP
from placet.cli.completion import complete_base
from placet.cli.errors import REFUSED
from placet.cli.render import print_findings, print_pairs
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

if TYPE_CHECKING:
    from placet.pipeline.submission import SubmitResult

MAX_TRAINING_BYTES = 4 << 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(
        app,
        "submit",
        submit,
        "placet submit ./desk-good --base smollm2-135m --key sam --note 'second attempt'",
    )


def submit(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    base: Annotated[
        str,
        typer.Option(
            "--base", metavar="LABEL", help="The base model it is for.", autocompletion=complete_base
        ),
    ],
    key: KeyOption,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="TEXT", help="What people call it; else the source's last name."),
    ] = None,
    training: Annotated[
        list[Path] | None,
        typer.Option(
            "--training",
            metavar="FILE",
            help="Signed provenance of its training (DSSE JSON); repeat it for several.",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="A file of the training data its provenance names (JSON, JSON lines or text), for the comparison "
            "with suites; kept in the office's store. Repeat it for several.",
        ),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="A word to the reviewers.")] = "",
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Hand in an adapter for a base; intake examines its bytes at once.

    Exit code 1: intake refused it, and says for which findings and how to mend them.
    """
    from placet.pipeline.submission import submit as submit_adapter
    from placet.sources import parse_source

    session = Session(home, json)
    office, parsed = session.office(), parse_source(source)
    name = label or _name_of(source)
    provenance = [_read_training(path) for path in training or ()]
    signer = person_signer(office, key)
    service_keys(office)
    with session.progress() as progress:
        result = submit_adapter(
            office,
            parsed,
            base,
            signer,
            progress,
            label=name,
            training=provenance,
            data=tuple(data or ()),
            note=note,
        )
    session.result(_result_json(result), lambda console: _show(console, name, result))
    if result.submission is None:
        raise typer.Exit(REFUSED)
    session.say(f"Next: `placet gate {name}`.")


def _show(console: Console, name: str, result: SubmitResult) -> None:
    intake = result.intake.record
    if result.submission is None:
        console.print(f"{name}: refused at intake", soft_wrap=True)
    else:
        adapter = result.submission.record.adapter
        seen = " (submitted before: nothing changed)" if result.seen_before else ""
        console.print(f"{name}: submitted{seen}", soft_wrap=True)
        print_pairs(
            console, [("adapter", adapter.id), ("weights", adapter.weights_id), ("base", intake.base.label)]
        )
    print_findings(console, intake.findings)
    for check in intake.checks:
        if check.reason:
            console.print(f"  {check.status.value:<7}{check.check}: {check.reason}", soft_wrap=True)
    if not intake.findings:
        console.print(f"  {len(intake.checks)} checks, no findings, record {short(result.intake.id)}")


def _result_json(result: SubmitResult) -> dict[str, Any]:
    return {
        "submitted": result.submission is not None,
        "seenBefore": result.seen_before,
        "intake": record_json(result.intake),
        "submission": None if result.submission is None else record_json(result.submission),
    }


def _name_of(source: str) -> str:
    """Return what a source is called by people: its last folder or the repository's name."""
    place = source.partition("#")[0].partition("@")[0] if ":" in source else source
    place = place.partition(":")[2] if place.startswith(("hf:", "file:", "pypi:")) else place
    name = Path(place.rpartition("!")[2]).expanduser().resolve().name
    if not name:
        raise UsageError(f"{source!r} gives no name", hint="say what to call it: --label")
    return name


def _read_training(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_TRAINING_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="--training names a signed statement's file"
        ) from error
    if len(data) > MAX_TRAINING_BYTES:
        raise UsageError(
            f"{path} is no training statement: too large", hint="name the statement, not the data"
        )
    return data
