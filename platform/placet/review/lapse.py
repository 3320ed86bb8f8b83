"""Has something happened since that ends an approval before its days are over? Pure.

A policy says in `review.lapses_on` what does: something newer measured of the same weights, something newer stated
about the base, an approver who is none any more. A new verdict always does: approvals are about the one before.

Asked in three places: at the desk before a release is made, by the audit of the log as of each release, and by the
offline verifier, which knows as much of it as its bundle and the office's feed tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from placet.attest.predicates import Role
from placet.attest.trust import Trust, Verified
from placet.domain.names import person_key
from placet.domain.records import BaseStatus, Measurement, Verdict
from placet.review.approval import Approval


def lapses(
    verdict: Verified[Verdict],
    approval: Approval,
    later: Iterable[Verified[Any]],
    trust: Trust,
    index: int,
) -> tuple[str, ...]:
    """Return why the approvals of `verdict` do not hold any more; nothing if they do.

    Args:
        verdict: The verdict that was approved.
        approval: What it rests on, were nothing to lapse.
        later: Records about the adapter's weights and its base, of any age.
        trust: Who holds which role, at `index` and before.
        index: The ledger index at which it is asked.
    """
    on = verdict.record.review.lapses_on or ()
    left = _left(verdict.record, approval, trust, index) if "approver_left" in on else ()
    return tuple(dict.fromkeys((*_overtaken(verdict, on, later), *left)))


def with_lapses(approval: Approval, reasons: tuple[str, ...]) -> Approval:
    """Return `approval` as it stands once `reasons` to lapse are counted."""
    if not reasons:
        return approval
    return replace(approval, approved=False, missing=(*approval.missing, *reasons))


def _overtaken(
    verdict: Verified[Verdict], on: Sequence[str], later: Iterable[Verified[Any]]
) -> Iterator[str]:
    record = verdict.record
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


def _left(verdict: Verdict, approval: Approval, trust: Trust, index: int) -> Iterator[str]:
    """Yield whose word does not count any more, where those who stay are too few."""
    approvers = {person_key(person) for person in trust.people_with(Role.APPROVER, index)}
    reviews = {person_key(item.person): item.person for item in approval.reviews}
    if len(approvers.intersection(reviews)) < verdict.review.approvals:
        for person in sorted(name for key, name in reviews.items() if key not in approvers):
            yield f"the approval of {person} lapsed: no key of theirs is an approver's any more"
    for gate in verdict.gates:
        waivers = {
            person_key(item.person): item.person for item in approval.waivers if item.record.gate == gate.gate
        }
        if len(approvers.intersection(waivers)) < gate.waivers_needed:
            for person in sorted(name for key, name in waivers.items() if key not in approvers):
                yield f"the waiver of {person} for {gate.gate} lapsed: no key of theirs is an approver's any more"
