"""Has something happened since that ends an approval before its days are over? Pure.

A policy says in `review.lapses_on` what does: something newer measured of the same weights, something newer stated
about the base, an approver who is none any more. A new verdict always does: approvals are about the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from placet.attest.predicates import Role
from placet.attest.trust import Trust, Verified
from placet.domain.records import BaseStatus, Measurement, Review, Verdict
from placet.review.approval import Approval


def lapses(
    verdict: Verified[Verdict],
    reviews: Sequence[Verified[Review]],
    later: Iterable[Verified[Any]],
    trust: Trust | None,
    index: int,
) -> tuple[str, ...]:
    """Return why the approvals of `verdict` do not hold any more; nothing if they do.

    Args:
        verdict: The verdict that was approved.
        reviews: The approvals that would count.
        later: Records about the adapter's weights and its base, of any age.
        trust: Who holds which role; None to leave that out.
        index: The ledger index at which it is asked.
    """
    return tuple(dict.fromkeys(_lapses(verdict, reviews, later, trust, index)))


def with_lapses(approval: Approval, reasons: tuple[str, ...]) -> Approval:
    """Return `approval` as it stands once `reasons` to lapse are counted."""
    if not reasons:
        return approval
    return replace(approval, approved=False, missing=(*approval.missing, *reasons))


def _lapses(
    verdict: Verified[Verdict],
    reviews: Sequence[Verified[Review]],
    later: Iterable[Verified[Any]],
    trust: Trust | None,
    index: int,
) -> Iterator[str]:
    on, record = set(verdict.record.review.lapses_on or ()), verdict.record
    for item in later:
        if item.index <= verdict.index:
            continue
        about = item.record
        if (
            "new_evidence" in on
            and isinstance(about, Measurement)
            and about.subject == record.adapter.weights_id
        ):
            yield (
                f"the approvals lapsed: {about.suite.id} was measured again since (record {item.index}); gate it again"
            )
        if "base_status" in on and isinstance(about, BaseStatus) and about.base.id == record.base.id:
            yield f"the approvals lapsed: the base's support was stated anew (record {item.index}); gate it again"
    if "approver_left" in on and trust is not None:
        approvers = trust.people_with(Role.APPROVER, index)
        for review in reviews:
            if review.person not in approvers:
                yield f"the approval of {review.person} lapsed: no key of theirs is an approver's any more"
