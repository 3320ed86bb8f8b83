"""`placet audit`: is the record whole?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.errors import REFUSED
from placet.cli.render import words
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command, save_text
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.ledger.audit import AuditReport

MAX_CHECKPOINT_CHARACTERS = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    lines = (
        "placet audit --save-checkpoint ledger-today.checkpoint",
        "placet audit --checkpoint ledger-today.checkpoint",
    )
    add_command(app, "audit", audit, *lines)


def audit(
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="A checkpoint of this ledger kept elsewhere; repeat it for several.",
        ),
    ] = None,
    save_checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--save-checkpoint", metavar="FILE", help="If all is whole, write the newest checkpoint there."
        ),
    ] = None,
    blobs: Annotated[
        bool, typer.Option("--blobs/--no-blobs", help="Hash every stored file that a record names.")
    ] = True,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Check the whole ledger: nothing edited, deleted, re-ordered, forged or left out.

    A checkpoint kept elsewhere also shows a ledger that was rewritten and signed again with its own key.
    Exit code 1: something was found.
    """
    session = Session(home, json)
    office = session.office()
    outside = [_read(path) for path in checkpoint or ()]
    with session.progress() as progress:
        report = office.audit(outside, blobs=blobs, progress=progress)
    saved = None
    if save_checkpoint is not None and report.whole:
        save_text(save_checkpoint, office.store.latest_checkpoint() or "")
        saved = str(save_checkpoint)
    session.result(_json(report, saved), lambda console: _show(console, report, saved))
    if not report.whole:
        raise typer.Exit(REFUSED)


def _show(console: Console, report: AuditReport, saved: str | None) -> None:
    for line in report.checked:
        console.print(f"checked  {line}", soft_wrap=True)
    for finding in report.findings:
        console.print(words(f"FOUND    {finding.id}: {finding.message}", style="red"), soft_wrap=True)
    for line in report.blind:
        console.print(words(f"blind    {line}", style="dim"), soft_wrap=True)
    if report.whole:
        console.print(
            f"WHOLE: {report.records} records, root {report.root}", style="bold green", soft_wrap=True
        )
    else:
        console.print(f"NOT WHOLE: {len(report.findings)} finding(s)", style="bold red", soft_wrap=True)
    if saved:
        console.print(
            f"checkpoint written to {saved}: keep it where the office cannot change it", soft_wrap=True
        )


def _json(report: AuditReport, saved: str | None) -> dict[str, Any]:
    return {
        "whole": report.whole,
        "records": report.records,
        "root": report.root,
        "checked": list(report.checked),
        "findings": [
            {"id": item.id, "message": item.message, "index": item.index} for item in report.findings
        ],
        "blind": list(report.blind),
        "savedCheckpoint": saved,
    }


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(MAX_CHECKPOINT_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read", hint="--checkpoint names a file of --save-checkpoint"
        ) from error
    if len(text) > MAX_CHECKPOINT_CHARACTERS:
        raise UsageError(f"{path} is no checkpoint: too large", hint="name a file of --save-checkpoint")
    return text
