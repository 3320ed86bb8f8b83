"""Was every release allowed when it was made, by the log's own account? Pure.

Whoever holds a releaser's key can log a release past the desk. Here the desk's rules are applied to the records that
stood before it: the newest verdict, the approvals, who had a part, what was revoked, which files were handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from placet.attest.predicates import Training
from placet.attest.trust import Verified
from placet.domain.digests import Digest, short
from placet.domain.records import (
    BaseStatus,
    Measurement,
    Record,
    Release,
    Review,
    Revocation,
    Submission,
    Verdict,
    Waiver,
    files_digest,
)
from placet.review.approval import weigh_approval
from placet.review.lapse import lapses, with_lapses

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class _Log:
    """Verified records, by what is asked of them."""

    records: Sequence[Verified[Record]]

    def before(self, index: int, model: type[R]) -> list[Verified[R]]:
        return [
            cast("Verified[R]", cast("Any", item))
            for item in self.records
            if item.index < index and isinstance(item.record, model)
        ]


def find_unallowed(records: Sequence[Verified[Record]]) -> Iterator[tuple[Verified[Release], str]]:
    """Yield each release that should not have been made, with the reason."""
    log = _Log(records)
    for release in log.before(2**62, Release):
        if reason := _why_not(log, release):
            yield release, reason


def _why_not(log: _Log, release: Verified[Release]) -> str:
    record, index = release.record, release.index
    verdicts = [item for item in log.before(index, Verdict) if item.record.adapter.id == record.adapter.id]
    if not verdicts or verdicts[-1].id != record.verdict:
        return "its verdict is not the newest one on these files"
    verdict = verdicts[-1]
    if (record.adapter, record.base, record.policy) != (
        verdict.record.adapter,
        verdict.record.base,
        verdict.record.policy,
    ):
        return "it names other bytes, another base or another policy than its verdict"
    on_weights = [
        item
        for item in log.before(index, Submission)
        if item.record.adapter.weights_id == record.adapter.weights_id
    ]
    submissions = [item for item in on_weights if item.record.adapter == record.adapter]
    if not submissions or files_digest(record.files) != record.adapter.id:
        return "its files are not the ones that were submitted"
    trainings = _trainings(log.before(index, Training), record.adapter.weights_id)
    if target := _revoked(log, release, trainings):
        return f"{short(target)} was revoked before"
    approval = weigh_approval(
        verdict,
        log.before(index, Review),
        log.before(index, Waiver),
        submission=submissions[-1],
        trainings=trainings,
        now=record.released_at,
        resubmissions=[item for item in on_weights if item.id != submissions[-1].id],
    )
    later = (*log.before(index, Measurement), *log.before(index, BaseStatus))
    approval = with_lapses(approval, lapses(verdict, approval.reviews, later, None, index))
    if not approval.approved:
        return "; ".join(approval.missing)
    named = {*record.reviews, *record.waivers}
    unnamed = [item.person for item in (*approval.reviews, *approval.waivers) if item.id not in named]
    return f"it does not name what {unnamed[0]} signed" if unnamed else ""


def _trainings(trainings: Sequence[Verified[Training]], weights_id: Digest) -> list[Verified[Training]]:
    """Return those of the weights and of all they were continued from."""
    found: list[Verified[Training]] = []
    todo, seen = [str(weights_id)], set[str]()
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for training in trainings:
            if training.statement.names(Digest(current)):
                found.append(training)
                parents = training.record.dependency("parent-adapter")
                todo.extend("sha256:" + parent.digest.get("sha256", "") for parent in parents)
    return found


def _revoked(log: _Log, release: Verified[Release], trainings: Sequence[Verified[Training]]) -> Digest | None:
    record = release.record
    rests_on = {record.adapter.id, record.adapter.weights_id, record.base.id, record.verdict}
    rests_on |= {*record.reviews, *record.waivers, *(item.id for item in trainings)}
    for revocation in log.before(release.index, Revocation):
        if revocation.record.target in rests_on:
            return revocation.record.target
    return None
