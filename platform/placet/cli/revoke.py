"""`placet revoke`: take back an adapter, everything built on a base, or everything that rests on a record."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from placet.cli.session import (
    DEFAULT_HOME,
    KEY_VARIABLE,
    HomeOption,
    JsonOption,
    Session,
    add_command,
    find_adapter,
    person_signer,
    record_json,
    save_text,
)
from placet.domain.digests import short
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.domain.digests import Digest
    from placet.ledger.reader import LedgerReader


class TargetKind(StrEnum):
    """What may be taken back."""

    ADAPTER = "adapter"
    BASE = "base"
    RECORD = "record"


def register(app: typer.Typer) -> None:
    """Add the command."""
    lines = (
        "placet revoke adapter desk-good --key rhea --reason 'repeats a customer address'",
        "placet revoke --export revocations.json",
    )
    add_command(app, "revoke", revoke, *lines)


def revoke(
    kind: Annotated[TargetKind | None, typer.Argument(help="What is taken back.", show_default=False)] = None,
    target: Annotated[
        str | None,
        typer.Argument(metavar="TARGET", help="Its label, or the start of its id.", show_default=False),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", envvar=KEY_VARIABLE, metavar="NAME", help="Your key: the name of its file."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")] = "",
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="FILE", help="Log and write the feed of all revocations, for `placet verify`."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Take back an adapter, a base or a record, and write the feed that verifiers and loaders read.

    With --export alone nothing is taken back. What a feed holds is counted in a record of its own, signed with the
    evaluator's key and logged: the feed is complete up to there. What was released stays on disk: hand the feed to
    whoever serves it.
    """
    from placet.release.desk import export_revocations
    from placet.review import desk

    session = Session(home, json)
    if kind is None and export is None:
        raise UsageError(
            "nothing to do", hint="name what to take back, or a file for the feed: --export FILE"
        )
    office = session.office()
    value: dict[str, object] = {}
    words: list[str] = []
    if kind is not None:
        if target is None or key is None:
            raise UsageError(
                f"which {kind.value}, and with whose key?",
                hint=f"placet revoke {kind.value} TARGET --key NAME --reason '…'",
            )
        digest, label = _resolve(office.reader(), kind, target)
        signed = desk.revoke(office, digest, kind.value, label, reason, person_signer(office, key))
        value["revocation"] = record_json(signed)
        words.append(f"{kind.value} {label} ({short(digest)}) revoked by {signed.person}")
    if export is not None:
        save_text(export, export_revocations(office).decode())
        value["export"] = str(export)
        words.append(f"feed written to {export}")

    def show(console: Console) -> None:
        for line in words:
            console.print(line, soft_wrap=True)

    session.result(value, show)


def _resolve(reader: LedgerReader, kind: TargetKind, text: str) -> tuple[Digest, str]:
    """Return the digest and label of what `text` names; in a register of many years every name must be unique."""
    from placet.attest.predicates import Kind
    from placet.domain.records import Base

    if kind is TargetKind.ADAPTER:
        adapter = find_adapter(reader, text).record.adapter
        return adapter.id, adapter.label
    if kind is TargetKind.BASE:
        bases = {item.record.ref.id: item.record.ref.label for item in reader.find(Kind.BASE, Base)}
        found = {digest: label for digest, label in bases.items() if label == text or _starts(digest, text)}
    else:
        ids = {item.record_id if hasattr(item, "record_id") else item.id for item in reader.everything()}
        found = {digest: "record" for digest in ids if _starts(digest, text)}
    if len(found) != 1:
        what = "is no" if not found else "names more than one"
        raise UsageError(
            f"{text!r} {what} {kind.value} here", hint="see `placet base list` or `placet ledger show`"
        )
    return next(iter(found.items()))


def _starts(digest: str, text: str) -> bool:
    wanted = text.removeprefix("sha256:")
    return len(wanted) >= 8 and short(digest, 64).startswith(wanted)
