"""Where a submission stands on its way, in one word each, with the sign and sentence that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from placet.attest.trust import Verified
from placet.domain.records import Decision, Outcome, Release, Revocation, Verdict
from placet.lineage.graph import Status
from placet.report.text import plain, plural
from placet.review.approval import Approval


class State(StrEnum):
    """Where a submission stands, in the order a queue lists them: what a person can act on comes first."""

    NEEDS_REVIEW = "needs review"
    AWAITING_APPROVAL = "awaiting approval"
    APPROVED = "approved"
    WAITING = "waiting for gate"
    RELEASED = "released"
    DENIED = "denied"
    REJECTED = "rejected"
    REFUSED = "refused"
    REVOKED = "revoked"


STANDING: dict[State, Status] = {
    State.NEEDS_REVIEW: Status.CAUTION,
    State.AWAITING_APPROVAL: Status.CAUTION,
    State.APPROVED: Status.GOOD,
    State.WAITING: Status.NEUTRAL,
    State.RELEASED: Status.GOOD,
    State.DENIED: Status.BAD,
    State.REJECTED: Status.BAD,
    State.REFUSED: Status.BAD,
    State.REVOKED: Status.BAD,
}
"""How each state is coloured and signed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A state with the sentence that explains it and the one that says what comes next.

    `lapsed` tells of a release whose approval no longer holds.
    """

    state: State
    detail: str
    next_step: str = ""
    lapsed: bool = False

    @property
    def status(self) -> Status:
        """How it is coloured and signed."""
        return Status.CAUTION if self.lapsed else STANDING[self.state]


def standing_of(
    verdict: Verified[Verdict] | None,
    approval: Approval | None,
    releases: tuple[Verified[Release], ...],
    revocation: Verified[Revocation] | None,
    running: frozenset[str] = frozenset(),
) -> Standing:
    """Return where a submission that intake accepted stands; `running` are the channels that it is on today."""
    if revocation is not None:
        record = revocation.record
        return Standing(State.REVOKED, f"by {revocation.person}: {plain(record.reason, 160)}")
    if releases:
        return _released(approval, releases, running)
    if verdict is None or approval is None:
        return Standing(State.WAITING, "not measured yet", "run `placet gate`")
    record_ = verdict.record
    if record_.decision is Decision.DENY:
        return Standing(State.DENIED, _not_passed(record_), "mend the adapter and submit it again")
    rejected = [line for line in approval.missing if " rejected it: " in line]
    if rejected:
        return Standing(
            State.REJECTED, plain(rejected[0], 160), "answer the reviewer, or submit a new adapter"
        )
    if approval.approved:
        return Standing(State.APPROVED, "by " + ", ".join(approval.approvers), "release it: `placet release`")
    count = f"{len(approval.approvers)} of {plural(record_.review.approvals, 'approval')}"
    waivers = [line for line in approval.missing if "waiver" in line]
    if record_.decision is Decision.NEEDS_REVIEW and waivers:
        more = f", and {plural(len(waivers) - 1, 'more gate')} to waive" if len(waivers) > 1 else ""
        return Standing(
            State.NEEDS_REVIEW,
            f"{plain(waivers[0], 160)}{more}; {count}",
            f"approvers waive {'the gates' if more else 'the gate'}, or reject the adapter",
        )
    return Standing(State.AWAITING_APPROVAL, count, "an approver signs a decision")


def _released(
    approval: Approval | None, releases: tuple[Verified[Release], ...], running: frozenset[str]
) -> Standing:
    channels = list(dict.fromkeys(item.record.channel for item in releases))
    if not running:
        return Standing(State.RELEASED, f"was on {', '.join(channels)}, since replaced")
    where = "on " + ", ".join(channel for channel in channels if channel in running)
    if approval is None or approval.approved:
        return Standing(State.RELEASED, where)
    return Standing(
        State.RELEASED,
        f"{where}, but its approval no longer holds: {_first_of(approval.missing)}",
        "approvers decide anew, or somebody revokes it",
        lapsed=True,
    )


def _first_of(lines: Sequence[str], limit: int = 160) -> str:
    """Return the first of some lines as one, each whole, and how many more there are."""
    shown: list[str] = []
    for line in lines:
        if shown and len("; ".join((*shown, line))) > limit:
            break
        shown.append(plain(line, limit))
    more = len(lines) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _not_passed(verdict: Verdict) -> str:
    """Return the gates that a denial rests on, with their outcomes."""
    named = [
        f"{gate.gate} ({gate.outcome})"
        for gate in verdict.gates
        if gate.required and gate.outcome not in {Outcome.PASS, Outcome.INCONCLUSIVE}
    ]
    return plain(", ".join(named) or "a required gate did not pass", 160)
