"""The review that a policy asks for, risk tiers with the least strict one of each, and what makes an approval lapse.

A tier says how much harm a bad release could do. A policy may ask for more than its tier does, never for less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field

from placet.policy.model import Count, Days, Document

RiskTier = Literal["minimal", "limited", "high"]

Lapse = Literal["new_evidence", "base_status", "approver_left"]
"""What can end an approval: a newer measurement of the same weights, a newer statement about the base, or the
withdrawal of the approver's role."""

LAPSES: tuple[Lapse, ...] = get_args(Lapse)


class Review(Document):
    """Who has to approve, and for how long that holds."""

    approvals: Count = Field(description="how many different people must approve")
    separate_from: tuple[Literal["trainer", "submitter"], ...] = Field(
        default=("trainer", "submitter"), description="who may not be among them"
    )
    valid_days: Days = Field(description="after how many days an approval lapses")
    waivers_needed: Count = Field(
        default=2, description="how many people must sign a waiver, where its gate says nothing else"
    )
    lapses_on: tuple[Lapse, ...] = Field(
        default=("new_evidence", "base_status"),
        description="what ends an approval before its days are over",
    )


@dataclass(frozen=True, slots=True)
class TierRule:
    """The least strict review rule of a tier.

    Attributes:
        approvals: Fewest different people.
        separate_from: Who may not be among them.
        valid_days: Longest term of an approval.
        waivers_needed: Fewest people who sign a waiver.
        lapses_on: What has to end an approval.
    """

    approvals: int
    separate_from: tuple[str, ...]
    valid_days: int
    waivers_needed: int
    lapses_on: tuple[str, ...]


RULES: dict[RiskTier, TierRule] = {
    "minimal": TierRule(1, ("submitter",), 365, 1, ()),
    "limited": TierRule(2, ("trainer", "submitter"), 90, 2, ("new_evidence", "base_status")),
    "high": TierRule(3, ("trainer", "submitter"), 30, 3, LAPSES),
}


def too_lax(review: Review, least: TierRule) -> Iterator[tuple[str, str]]:
    """Yield each field of `review` that is less strict than `least`, with what is asked."""
    if review.approvals < least.approvals:
        yield "approvals", f"at least {least.approvals}"
    if lacking := [one for one in least.separate_from if one not in review.separate_from]:
        yield "separate_from", f"must name {' and '.join(lacking)}"
    if review.valid_days > least.valid_days:
        yield "valid_days", f"at most {least.valid_days}"
    if review.waivers_needed < least.waivers_needed:
        yield "waivers_needed", f"at least {least.waivers_needed}"
    if lacking := [one for one in least.lapses_on if one not in review.lapses_on]:
        yield "lapses_on", f"must name {' and '.join(lacking)}"
