"""Was every release allowed when it was made, by the log's own account?

Whoever holds a releaser's key can log a release past the desk. Here the desk's rules are applied to the records that
stood before it: the newest verdict, the approvals, who had a part, what was revoked, which files were handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

from placet.attest.predicates import Kind, Training, spec_of
from placet.attest.trust import Trust, Verified
from placet.domain.digests import Digest, short
from placet.domain.errors import IntegrityError
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
from placet.ledger.evidence import look_around, objections
from placet.ledger.moments import DATED_TYPES, parse_moment
from placet.ledger.store import Entry, LedgerStore
from placet.review.approval import weigh_approval
from placet.review.lapse import lapses, with_lapses

R = TypeVar("R", bound=Record)


class StoredLog:
    """Verified records of a log, by what is asked of them.

    Records are found by the derived tables, which the audit compares with the records; one that does not verify is
    left out here, since the audit says so itself.

    Args:
        store: The log.
        trust: Who may sign what.
        size: How many records are looked at.
    """

    def __init__(self, store: LedgerStore, trust: Trust, size: int) -> None:
        self._store = store
        self.trust = trust
        self._size = size
        self._revocations: list[Verified[Revocation]] | None = None

    def about(self, digest: Digest | None, kind: Kind, model: type[R], before: int) -> list[Verified[R]]:
        """Return the records of a kind about `digest` (None: about anything) before an index."""
        entries = self._store.find(predicate_type=spec_of(kind).predicate_type, subject=digest)
        return [item for entry in entries if entry.index < before for item in self._verified(entry, model)]

    def get_many(self, record_ids: Iterable[Digest]) -> dict[Digest, Verified[Any]]:
        """Return those records of some ids that are there, of any kind."""
        entries = (entry for item in sorted(set(record_ids)) for entry in self._store.find(record_id=item))
        found = (item for entry in entries for item in self._verified(entry, Record))
        return {item.id: item for item in found}

    def latest_moment(self, before: int) -> datetime | None:
        """Return the latest moment that any record before an index says it was made at, whoever signed it."""
        return parse_moment(self._store.latest_moment(DATED_TYPES, before))

    def releases(self, start: int) -> Iterator[Verified[Release]]:
        """Yield the releases from an index on."""
        for entry in self._store.find(predicate_type=spec_of(Kind.RELEASE).predicate_type):
            if start <= entry.index < self._size:
                yield from self._verified(entry, Release)

    def revocations(self, before: int) -> list[Verified[Revocation]]:
        """Return the revocations before an index."""
        if self._revocations is None:
            self._revocations = self.about(None, Kind.REVOCATION, Revocation, self._size)
        return [item for item in self._revocations if item.index < before]

    def _verified(self, entry: Entry, model: type[R]) -> list[Verified[R]]:
        try:
            verified = self.trust.verify(entry.envelope, entry.index)
        except IntegrityError:
            return []
        return [cast("Verified[R]", cast("Any", verified))] if isinstance(verified.record, model) else []


def find_unallowed(log: StoredLog, start: int = 0) -> Iterator[tuple[Verified[Release], str]]:
    """Yield each release from index `start` on that should not have been made, with the reason."""
    for release in log.releases(start):
        if reason := _why_not(log, release):
            yield release, reason


def _why_not(log: StoredLog, release: Verified[Release]) -> str:
    record, index = release.record, release.index
    adapter = record.adapter
    about = log.about(adapter.id, Kind.VERDICT, Verdict, index)
    verdicts = [item for item in about if item.record.adapter.id == adapter.id]
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
        for item in log.about(adapter.weights_id, Kind.SUBMISSION, Submission, index)
        if item.record.adapter.weights_id == record.adapter.weights_id
    ]
    submissions = [item for item in on_weights if item.record.adapter == record.adapter]
    if not submissions or files_digest(record.files) != record.adapter.id:
        return "its files are not the ones that were submitted"
    around = look_around(
        verdict, lambda digest, kind, model: log.about(digest, kind, model, verdict.index), log.get_many
    )
    if objection := next(objections(verdict, around), None):
        return f"its verdict does not hold: {objection.message}"
    trainings = _trainings(log, index, adapter.weights_id)
    if target := _revoked(log, release, trainings):
        return f"{short(target)} was revoked before"
    approval = weigh_approval(
        verdict,
        log.about(adapter.id, Kind.REVIEW, Review, index),
        log.about(adapter.id, Kind.WAIVER, Waiver, index),
        submission=submissions[-1],
        trainings=trainings,
        # The moment in the release is the releaser's own word: it was made no earlier than what stands before it.
        now=max(record.released_at, log.latest_moment(index) or record.released_at),
        resubmissions=[item for item in on_weights if item.id != submissions[-1].id],
    )
    later = (
        *log.about(adapter.weights_id, Kind.EVALUATION, Measurement, index),
        *log.about(adapter.weights_id, Kind.SAFETY, Measurement, index),
        *log.about(record.base.id, Kind.BASE_STATUS, BaseStatus, index),
    )
    approval = with_lapses(approval, lapses(verdict, approval, later, log.trust, index))
    if not approval.approved:
        return "; ".join(approval.missing)
    named = {*record.reviews, *record.waivers}
    unnamed = [item.person for item in (*approval.reviews, *approval.waivers) if item.id not in named]
    return f"it does not name what {unnamed[0]} signed" if unnamed else ""


def _trainings(log: StoredLog, before: int, weights_id: Digest) -> list[Verified[Training]]:
    """Return those of the weights and of all they were continued from."""
    found: list[Verified[Training]] = []
    todo, seen = [str(weights_id)], set[str]()
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for training in log.about(Digest(current), Kind.TRAINING, Training, before):
            found.append(training)
            parents = training.record.dependency("parent-adapter")
            todo.extend("sha256:" + parent.digest.get("sha256", "") for parent in parents)
    return found


def _revoked(
    log: StoredLog, release: Verified[Release], trainings: Sequence[Verified[Training]]
) -> Digest | None:
    record = release.record
    rests_on = {record.adapter.id, record.adapter.weights_id, record.base.id, record.verdict}
    rests_on |= {*record.reviews, *record.waivers, *(item.id for item in trainings)}
    for revocation in log.revocations(release.index):
        if revocation.record.target in rests_on:
            return revocation.record.target
    return None
