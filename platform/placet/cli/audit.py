"""`placet audit`: is the record whole?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.errors import REFUSED
from placet.cli.render import words
from placet.cli.session import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    Session,
    add_command,
    parse_pin,
    read_checkpoint,
    save_text,
)
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.ledger.audit import AuditReport


def register(app: typer.Typer) -> None:
    """Add the command."""
    lines = (
        "placet audit --save-checkpoint ledger-today.checkpoint",
        "placet audit --pin sha256:2c26b46b… --checkpoint ledger-today.checkpoint",
        "placet audit --checkpoint ledger-today.checkpoint",
        "placet audit --checkpoint co-signed.checkpoint --witness witness.example.org+1c2d3e4f+BA…",
        "placet audit --since audited.checkpoint --save-checkpoint audited.checkpoint",
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
    witness: Annotated[
        str | None,
        typer.Option(
            "--witness",
            metavar="KEY",
            help="Believe a --checkpoint only if this witness co-signed it: its verifier key (`placet witness show`).",
        ),
    ] = None,
    pin: Annotated[
        str | None,
        typer.Option(
            "--pin",
            metavar="DIGEST",
            help="Digest of any version of the office's trust root, got from a person you trust: is it this office?",
        ),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(
            "--since",
            metavar="FILE",
            help="Check only what came after this checkpoint, up to which an earlier audit found all whole. What came "
            "before is hashed again, and read as far as the new records rest on it.",
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
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", min=1, help="Processes; as many as there are cores by default."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Check the whole ledger: nothing edited, deleted, re-ordered, forged, dated back or left out.

    A checkpoint kept elsewhere also shows a ledger that was rewritten and signed again with its own key; --pin shows
    an office that was put in another one's place. Exit code 1: something was found, or it is another office.
    """
    from placet.ledger.audit import Outside
    from placet.ledger.note import WITNESS_KEY_TYPE, parse_verifier_key
    from placet.report.audits import note_audit

    session = Session(home, json)
    if witness is not None and not checkpoint:
        raise UsageError(
            "--witness says who must have co-signed a checkpoint, and none was given",
            hint="--checkpoint FILE: the file that `placet witness run` printed",
        )
    named = None if witness is None else parse_verifier_key(witness, WITNESS_KEY_TYPE)
    by = None if named is None else (named.name, named.key)
    digest = None if pin is None else parse_pin(pin)
    office = session.office()
    outside = [Outside(read_checkpoint(path), by) for path in checkpoint or ()]
    start = ""
    if since is not None and since.exists():
        start = read_checkpoint(since)
    elif since is not None:
        session.say(f"no audit was remembered in {since} yet: looking at the whole ledger")
    with session.progress() as progress:
        report = office.audit(
            outside, since=start, pin=digest, blobs=blobs, progress=progress, workers=workers
        )
    note_audit(office, report, blobs=blobs, outside=len(outside))
    saved = None
    if save_checkpoint is not None and report.whole:
        save_text(save_checkpoint, report.checkpoint)
        saved = str(save_checkpoint)
    session.result(_json(report, saved), lambda console: _show(console, report, saved))
    if not report.whole:
        raise typer.Exit(REFUSED)


def _show(console: Console, report: AuditReport, saved: str | None) -> None:
    from placet.ledger.audit.report import MEANINGS

    def say(text: str, style: str = "") -> None:
        console.print(words(text, style=style) if style else text, soft_wrap=True)

    say("What was checked", "bold")
    for line in report.checked:
        say(f"  checked  {line}")
    if report.findings:
        say("What was found", "bold")
    for kind in dict.fromkeys(finding.id for finding in report.findings):
        say(f"  FOUND    {kind}: {MEANINGS.get(kind, '')}", "bold red")
        for finding in report.findings:
            if finding.id == kind:
                say(f"           {finding.message}", "red")
    say("What cannot be seen from here", "bold")
    for line in report.blind:
        say(f"  blind    {line}", "dim")
    if report.whole:
        part = f", {report.records - report.start} of them new since the last audit" if report.start else ""
        say(f"WHOLE: {report.records} records{part}, root {report.root}", "bold green")
    else:
        say(f"NOT WHOLE: {len(report.findings)} finding(s)", "bold red")
    if saved:
        say(f"checkpoint written to {saved}: keep it where the office cannot change it")


def _json(report: AuditReport, saved: str | None) -> dict[str, Any]:
    from placet.ledger.audit.report import MEANINGS

    return {
        "whole": report.whole,
        "records": report.records,
        "start": report.start,
        "root": report.root,
        "checked": list(report.checked),
        "findings": [
            {
                "id": item.id,
                "meaning": MEANINGS.get(item.id, ""),
                "message": item.message,
                "index": item.index,
            }
            for item in report.findings
        ],
        "blind": list(report.blind),
        "savedCheckpoint": saved,
    }
