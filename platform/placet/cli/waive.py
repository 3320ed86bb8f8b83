"""`placet waive`: consent to one inconclusive gate, signed with one's own key."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from placet.cli.render import moment, print_pairs
from placet.cli.review import VerdictOption, approval_json, print_approval, seen_verdict
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
    example = "placet waive desk-terse general-ability --key ada --reason 'few rows exist' --days 14"
    add_command(app, "waive", waive, example)


def waive(
    adapter: AdapterArgument,
    gate: Annotated[str, typer.Argument(metavar="GATE", help="The inconclusive gate.")],
    key: KeyOption,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why it may be approved all the same.")
    ],
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, help="How long the waiver holds.")],
    verdict: VerdictOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Let one inconclusive gate of an adapter's newest verdict be approved all the same.

    A waiver counts with those of other people, as many as the policy asks for. A failed gate cannot be waived.
    """
    from placet.domain.records import Waiver
    from placet.review import desk

    session = Session(home, json)
    office = session.office()
    subject = find_adapter(office.reader(), adapter).record.adapter
    seen = seen_verdict(verdict, desk.load_case(office.reader(), subject.id).verdict.id)
    signer = person_signer(office, key)
    signed = desk.waive(office, subject.id, gate, reason, days, signer, seen_verdict=seen)
    record = Waiver.from_json(signed.record.to_json())
    approval = desk.approval_of(office, desk.load_case(office.reader(), subject.id))

    def show(console: Console) -> None:
        console.print(f"{subject.label}: gate {gate} waived by {signed.person}", soft_wrap=True)
        print_pairs(console, [("record", signed.id), ("holds until", moment(record.expires_at))])
        print_approval(console, approval)

    session.result({**record_json(signed), "approval": approval_json(approval)}, show)
