"""`placet review`: decide about a verdict, signed with one's own key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from placet.cli.render import moment, print_pairs
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
from placet.domain.digests import short
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.domain.digests import Digest
    from placet.office import Office
    from placet.review.approval import Approval


VerdictOption = Annotated[
    str | None,
    typer.Option(
        "--verdict",
        metavar="ID",
        help="The verdict you looked at; if another one stands now, nothing is signed.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    example = "placet review desk-good --approve --key ada --comment 'read the flipped samples, none matters'"
    add_command(app, "review", review, example)


def review(
    adapter: AdapterArgument,
    approve: Annotated[bool, typer.Option("--approve/--reject", help="What you decide.")],
    key: KeyOption,
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="Your reasons.")],
    verdict: VerdictOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Approve or reject an adapter's newest verdict, signed with your own key.

    Your decision covers exactly the adapter, base, policy and evidence of that verdict, and expires as the
    policy says. Whoever trained or submitted the adapter cannot decide about it.
    """
    from placet.domain.records import Review, ReviewDecision
    from placet.review import desk

    session = Session(home, json)
    office = session.office()
    reader = office.reader()
    subject = find_adapter(reader, adapter).record.adapter
    case = desk.load_case(reader, subject.id)
    seen = seen_verdict(verdict, case.verdict.id)
    standing = case.verdict.record
    session.say(
        f"{subject.label}: {standing.decision.value} under {standing.policy.id}, verdict {short(seen)}"
    )
    signer = person_signer(office, key)
    signed = desk.review(
        office,
        subject.id,
        ReviewDecision.APPROVE if approve else ReviewDecision.REJECT,
        comment,
        signer,
        seen_verdict=seen,
    )
    record = Review.from_json(signed.record.to_json())
    approval = _approval(office, subject.id)

    def show(console: Console) -> None:
        console.print(f"{subject.label}: {record.decision.value} signed by {signed.person}", soft_wrap=True)
        print_pairs(console, [("record", signed.id), ("holds until", moment(record.expires_at))])
        print_approval(console, approval)

    session.result({**record_json(signed), "approval": approval_json(approval)}, show)


def print_approval(console: Console, approval: Approval) -> None:
    """Print whether a verdict is approved now, and what is missing if it is not."""
    if approval.approved:
        console.print("approved by " + ", ".join(approval.approvers), soft_wrap=True)
    for missing in approval.missing:
        console.print(f"not approved yet: {missing}", soft_wrap=True)


def approval_json(approval: Approval) -> dict[str, object]:
    """Return an approval as programs get it."""
    return {
        "approved": approval.approved,
        "approvers": list(approval.approvers),
        "missing": list(approval.missing),
    }


def _approval(office: Office, adapter: Digest) -> Approval:
    from placet.review import desk

    return desk.approval_of(office, desk.load_case(office.reader(), adapter))


def seen_verdict(text: str | None, newest: Digest) -> Digest:
    """Return the verdict that `text` names by the start of its id, which has to be the newest.

    Raises:
        UsageError: It is not.
    """
    if text is None:
        return newest
    wanted = text.removeprefix("sha256:")
    if len(wanted) < 8 or not short(newest, 64).startswith(wanted):
        raise UsageError(
            f"the newest verdict is {short(newest)}, not {short(text)}",
            hint="look at the new one with `placet report` and decide again",
        )
    return newest
