"""The verifier's steps, in order; the first that does not hold ends it.

What a pass means: these very files are what was taken in, measured as was planned under the named policy, on the
documents that were drawn for the plan, approved by enough people who had no part in it, and released to that channel,
all of it in one ledger whose state the log's key signed; and the verdict says no other figures than the runs that it
names. What it does not mean: that the verdict names every plan and run on these weights (the desk and `placet audit`
hold it against the whole log), that nothing was revoked since (give a revocation feed, and a fresh one: its statement
is a record of the log, complete up to there, and says nothing of later), that the bundle holds the newest roles
statement and every rejection the office has (a feed brings all roles statements up to its own, `placet audit` sees the
whole log), that everybody is shown this log (a feed shows that it is the one the feed speaks of, a witness that it is
the one others see), or that no key of the office was stolen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

from placet.attest.keys import parse_public_key
from placet.attest.oms import verify_files
from placet.attest.predicates import Kind, Training
from placet.attest.root import TrustRoot, parse_root
from placet.attest.trust import Trust, Verified
from placet.domain.digests import Digest, short
from placet.domain.errors import Error, IntegrityError
from placet.domain.records import (
    BaseStatus,
    Decision,
    Intake,
    Measurement,
    Plan,
    Record,
    Release,
    Review,
    Revocation,
    Submission,
    Verdict,
    Waiver,
    files_digest,
)
from placet.ledger.checkpoint import Checkpoint, verify_log_checkpoint
from placet.ledger.evidence import look_around, objections
from placet.ledger.moments import stated_moment
from placet.review.approval import Approval, weigh_approval
from placet.review.lapse import lapses
from placet.verify.feed import VerifiedFeed, older, verify_feed
from placet.verify.layout import ADAPTER_FOLDER, Bundle, Feed, hash_files, load_bundle, parse_feed
from placet.verify.records import establish, verify_records

R = TypeVar("R", bound=Record)


class VerificationError(IntegrityError):
    """A step of verification did not hold. `passed` lists the steps before it, `step` names it."""

    def __init__(self, step: str, message: str, *, hint: str, passed: tuple[str, ...]) -> None:
        super().__init__(message, hint=hint)
        self.step = step
        self.passed = passed


@dataclass(frozen=True, slots=True)
class VerifiedRelease:
    """A release that verified: what it is, and each step with what it showed."""

    release: Release
    office: str
    checkpoint: Checkpoint
    approvers: tuple[str, ...]
    steps: tuple[tuple[str, str], ...]
    revocations_checked: bool
    as_of: datetime
    unknown: tuple[str, ...]
    """What a bundle cannot show, in words."""


@dataclass
class _State:
    bundle: Bundle
    pin: Digest
    at: datetime | None
    feed: Feed | None
    trust: Trust | None = None
    checkpoint: Checkpoint | None = None
    fed: VerifiedFeed | None = None
    records: list[Verified[Record]] = field(default_factory=list)
    approval: Approval | None = None

    @property
    def now(self) -> datetime:
        """The moment at which expiry is judged: the one given, or that of the release.

        A release was made no earlier than what stands before it, whatever moment it gives.
        """
        if self.at is not None:
            return self.at
        release = self.only(Kind.RELEASE, Release)
        before = (stated_moment(item.record) for item in self.records if item.index < release.index)
        return max(release.record.released_at, *(moment for moment in before if moment is not None))

    def all(self, kind: Kind, model: type[R]) -> list[Verified[R]]:
        return [
            cast("Verified[R]", cast("Any", r))
            for r in self.records
            if r.kind is kind and isinstance(r.record, model)
        ]

    def only(self, kind: Kind, model: type[R]) -> Verified[R]:
        found = self.all(kind, model)
        if len(found) != 1:
            raise IntegrityError(f"{len(found)} {kind} records where there must be one", hint=_AGAIN)
        return found[0]

    def by_id(self, record_id: Digest, kind: Kind, model: type[R]) -> Verified[R]:
        for record in self.all(kind, model):
            if record.id == record_id:
                return record
        raise IntegrityError(f"the {kind} record {short(record_id)} is missing", hint=_AGAIN)


_AGAIN = "the bundle was put together wrongly or altered: fetch it from the office again"


def verify_bundle(
    path: Any, pin: Digest, *, now: datetime | None, revocations: bytes | None = None
) -> VerifiedRelease:
    """Verify the bundle in folder `path` offline.

    Args:
        path: The bundle's folder.
        pin: Digest of a version of the office's trust root, got from a person or place you trust, not from the bundle.
        now: The moment at which the expiry of approvals and of the root is judged; None judges it as of the bundle's
            own checkpoint, at the moment the release names.
        revocations: A revocation feed of the office (``placet revoke --export``), if there is one.

    Raises:
        UsageError: There is no bundle.
        VerificationError: A step did not hold.
    """
    state = _State(load_bundle(path), pin, now, None if revocations is None else parse_feed(revocations))
    passed: list[tuple[str, str]] = []
    for name, step in STEPS:
        try:
            passed.append((name, step(state)))
        except (Error, UnicodeDecodeError) as error:
            hint = error.hint if isinstance(error, Error) else _AGAIN
            done = tuple(item for item, _ in passed)
            raise VerificationError(name, f"{name}: {error}", hint=hint, passed=done) from error
    checkpoint, trust = _checked(state)
    return VerifiedRelease(
        release=state.only(Kind.RELEASE, Release).record,
        office=trust.root.office,
        checkpoint=checkpoint,
        approvers=state.approval.approvers if state.approval else (),
        steps=tuple(passed),
        revocations_checked=revocations is not None,
        as_of=state.now,
        unknown=_unknown(state),
    )


def _unknown(state: _State) -> tuple[str, ...]:
    checkpoint, _ = _checked(state)
    told = [
        "whether the verdict leaves out a plan or a run on these weights: the bundle holds what it names, and only "
        "`placet audit` sees the whole log"
    ]
    verdict = state.by_id(state.only(Kind.RELEASE, Release).record.verdict, Kind.VERDICT, Verdict).record
    if state.by_id(verdict.plan, Kind.PLAN, Plan).record.draw is None:
        told.append(
            "whether whoever added the last record before the plan chose which documents it draws: the plan is older "
            "than draws that only the evaluator can foresee"
        )
    if state.at is None:
        told.append(
            f"it was judged as of {state.now:%Y-%m-%d}: whether its approvals still stand was not looked at"
        )
    if state.fed is None:
        told.append(
            "whether it was taken back since, or who may sign what was changed: no revocation feed was given"
        )
        told.append(
            f"anything the office logged after record {checkpoint.size - 1}, or left out of the bundle"
        )
    else:
        size, when = state.fed.index, state.fed.told.issued_at
        told.append(f"anything after the feed's state: {size} records, {when:%Y-%m-%d %H:%M} UTC")
        told.append(
            "whether others are shown this log, too: only a checkpoint that a witness co-signed can tell"
        )
    return tuple(told)


def _trust_root(state: _State) -> str:
    root = parse_root(state.bundle.roots, state.pin)
    state.trust = establish(root, state.bundle.records, _AGAIN)
    version = root.current
    return (
        f"office {root.office!r}, root version {version.version} good until {version.expires:%Y-%m-%d}, roles version "
        f"{state.trust.roles.version}"
    )


def _checkpoint(state: _State) -> str:
    if state.trust is None:
        raise IntegrityError("no trust", hint=_AGAIN)
    origin = state.bundle.checkpoint.partition("\n")[0]
    state.checkpoint = verify_log_checkpoint(state.trust, state.bundle.checkpoint, origin)
    return f"{origin}, {state.checkpoint.size} records"


def _records(state: _State) -> str:
    checkpoint, trust = _checked(state)
    state.records = verify_records(trust, checkpoint, state.bundle.records, _AGAIN)
    return f"{len(state.records)} records, each signed by a key that held the role and in the ledger"


def _files(state: _State) -> str:
    release = state.only(Kind.RELEASE, Release).record
    found = hash_files(state.bundle.path / ADAPTER_FOLDER)
    wanted = {entry.path: entry for entry in release.files}
    if len(wanted) != len(release.files):
        raise IntegrityError("the release names a file twice", hint=_AGAIN)
    for entry in found:
        if entry.path not in wanted:
            raise IntegrityError(
                f"{entry.path} is not part of the release", hint="remove it, or fetch it again"
            )
        if entry != wanted.pop(entry.path):
            raise IntegrityError(f"{entry.path} is not the file that was released", hint="fetch it again")
    if wanted:
        raise IntegrityError(f"{sorted(wanted)[0]} is missing", hint="fetch the bundle again")
    if files_digest(found) != release.adapter.id:
        raise IntegrityError("the files do not make the adapter that was approved", hint=_AGAIN)
    if release.files_key is None:
        raise IntegrityError("the release names no key for the signature of its files", hint=_AGAIN)
    files_key = parse_public_key(release.files_key)
    verify_files(state.bundle.signature, files_key, found, one_spelling=True)
    return f"{len(found)} files, adapter {short(release.adapter.id)}, signed by key {short(files_key.key_id)}"


def _chain(state: _State) -> str:
    release = state.only(Kind.RELEASE, Release).record
    verdict = state.by_id(release.verdict, Kind.VERDICT, Verdict)
    submission = _submission(state).record
    intake = state.only(Kind.INTAKE, Intake).record
    if (release.adapter, release.base, release.policy) != (
        verdict.record.adapter,
        verdict.record.base,
        verdict.record.policy,
    ):
        raise IntegrityError("release and verdict are about different bytes, base or policy", hint=_AGAIN)
    same = submission.adapter == intake.adapter == release.adapter
    same_base = submission.base.id == intake.base.id == release.base.id
    if intake.refused:
        raise IntegrityError("intake refused these files, or did not finish with them", hint=_AGAIN)
    if not same or not same_base or files_digest(submission.files) != release.adapter.id:
        raise IntegrityError("submission, intake and release are about different bytes", hint=_AGAIN)
    if set(submission.files) != set(release.files) or set(intake.files) != set(release.files):
        raise IntegrityError("submission, intake and release name different files", hint=_AGAIN)
    _check_evidence(state, release, verdict)
    return f"verdict {verdict.record.decision} under policy {release.policy.id} {release.policy.version}"


def _submission(state: _State) -> Verified[Submission]:
    """Return the submission that was released; others in the bundle must be of the same weights."""
    adapter = state.only(Kind.RELEASE, Release).record.adapter
    submissions = state.all(Kind.SUBMISSION, Submission)
    if any(item.record.adapter.weights_id != adapter.weights_id for item in submissions):
        raise IntegrityError("a submission of other weights is in the bundle", hint=_AGAIN)
    own = [item for item in submissions if item.record.adapter == adapter]
    if not own:
        raise IntegrityError("the submission is missing", hint=_AGAIN)
    return own[-1]


def _check_evidence(state: _State, release: Release, verdict: Verified[Verdict]) -> None:
    """Return if all that the verdict rests on is here, about these weights and this base, and planned before."""
    evidence = {
        *verdict.record.evidence,
        *verdict.record.plans_on_weights,
        *_submission(state).record.training,
    }
    held = {record.id: record for record in state.records}
    for record_id in sorted(evidence):
        if record_id not in held:
            raise IntegrityError(f"evidence {short(record_id)} of the verdict is missing", hint=_AGAIN)
        # What reviewers saw was logged before they could; training may be handed in again later.
        if held[record_id].index > verdict.index and held[record_id].kind is not Kind.TRAINING:
            raise IntegrityError("evidence was logged after the verdict", hint=_AGAIN)
    for measured in (*state.all(Kind.EVALUATION, Measurement), *state.all(Kind.SAFETY, Measurement)):
        if measured.id in evidence and measured.record.base.id != release.base.id:
            raise IntegrityError("a measurement is on another base", hint=_AGAIN)
    # As much as a bundle can tell: it holds what the verdict names, and not what it should have named.
    around = look_around(
        verdict,
        lambda _, kind, model: state.all(kind, model),
        lambda ids: {record_id: held[record_id] for record_id in ids if record_id in held},
    )
    for objection in objections(verdict, around):
        raise IntegrityError(
            f"the verdict does not hold: {objection.message}",
            hint="do not serve it; keep the bundle, and ask the office for an audit",
        )


def _approval(state: _State) -> str:
    if state.feed is None:
        _checked(state)[1].root.require_fresh(state.now)
    release = state.only(Kind.RELEASE, Release)
    verdict = state.by_id(release.record.verdict, Kind.VERDICT, Verdict)
    submission = _submission(state)
    approval = weigh_approval(
        verdict,
        state.all(Kind.REVIEW, Review),
        state.all(Kind.WAIVER, Waiver),
        submission=submission,
        trainings=state.all(Kind.TRAINING, Training),
        now=state.now,
        resubmissions=[item for item in state.all(Kind.SUBMISSION, Submission) if item.id != submission.id],
    )
    if not approval.approved or verdict.record.decision is Decision.DENY:
        raise IntegrityError(
            "it is not approved: " + "; ".join(approval.missing), hint="ask the office for a review"
        )
    named = {*release.record.reviews, *release.record.waivers}
    for counted in (*approval.reviews, *approval.waivers):
        if counted.id not in named or counted.index >= release.index:
            raise IntegrityError(
                f"the release does not rest on the {counted.kind} of {counted.person}", hint=_AGAIN
            )
    state.approval = approval
    checkpoint, trust = _checked(state)
    # Judged as of the release, what came after it ends nothing.
    _refuse_lapsed(state, trust, release.index if state.at is None else checkpoint.size)
    return "approved by " + ", ".join(approval.approvers)


def _refuse_lapsed(state: _State, trust: Trust, index: int) -> None:
    """Return if nothing that `trust` and the bundle's records show before `index` has ended the approvals."""
    release = state.only(Kind.RELEASE, Release)
    verdict = state.by_id(release.record.verdict, Kind.VERDICT, Verdict)
    about = (
        *state.all(Kind.EVALUATION, Measurement),
        *state.all(Kind.SAFETY, Measurement),
        *state.all(Kind.BASE_STATUS, BaseStatus),
    )
    later = [item for item in about if item.index < index]
    reasons = lapses(verdict, state.approval, later, trust, index) if state.approval else ()
    if reasons:
        raise IntegrityError(
            "it is not approved any more: " + "; ".join(reasons), hint="ask the office for a review"
        )


def _revocation(state: _State) -> str:
    release = state.only(Kind.RELEASE, Release)
    held = {release.record.adapter.id, release.record.base.id, release.record.adapter.weights_id}
    held |= {record.id for record in state.records}
    fed = _fed(state)
    for revocation in (*state.all(Kind.REVOCATION, Revocation), *fed):
        if revocation.record.target in held:
            raise IntegrityError(
                f"{revocation.record.target_kind} {short(revocation.record.target)} was revoked by "
                f"{revocation.person}: {revocation.record.reason}",
                hint="stop serving it",
            )
    if state.fed is None:
        return "not revoked as far as the bundle knows; no revocation feed was given"
    when = state.fed.told.issued_at
    return f"not among the {len(fed)} revocations of the feed of {when:%Y-%m-%d %H:%M} UTC"


def _fed(state: _State) -> tuple[Verified[Revocation], ...]:
    """Return the feed's revocations, verified under the feed's own root and roles: it may be newer than the bundle."""
    if state.feed is None:
        return ()
    checkpoint, trust = _checked(state)
    fed = verify_feed(state.feed, state.pin, checkpoint.origin)
    root = fed.trust.root
    fewer = fed.trust.roles.version < trust.roles.version or len(root.versions) < len(trust.root.versions)
    if fewer or fed.checkpoint.size < checkpoint.size:
        raise older()
    _require_continued(state, root)
    index = state.only(Kind.RELEASE, Release).index
    released = next(item for item in state.bundle.records if item.index == index)
    fed.require_release(released, checkpoint.size)
    root.require_fresh(state.now)
    if state.at is not None:
        _refuse_lapsed(state, fed.trust, fed.index)
    state.fed = fed
    return fed.revocations


def _require_continued(state: _State, root: TrustRoot) -> None:
    """Return if the feed tells the same story as the bundle, as far as that goes."""
    _, trust = _checked(state)
    same_root = root.versions[: len(trust.root.versions)] == trust.root.versions
    held = {item.index: item.envelope for item in state.feed.records} if state.feed else {}
    roles = [item for item in state.records if item.kind is Kind.ROLES]
    if not same_root or any(held.get(item.index) != item.envelope.raw for item in roles):
        raise IntegrityError(
            "the revocation feed and the bundle tell different stories of who may sign what",
            hint="one of them was made up: ask the office, and keep both",
        )


def _checked(state: _State) -> tuple[Checkpoint, Trust]:
    if state.checkpoint is None or state.trust is None:
        raise IntegrityError("the trust root was not established", hint=_AGAIN)
    return state.checkpoint, state.trust


STEPS: tuple[tuple[str, Callable[[_State], str]], ...] = (
    ("trust root", _trust_root),
    ("checkpoint", _checkpoint),
    ("records", _records),
    ("files", _files),
    ("evidence", _chain),
    ("approval", _approval),
    ("revocation", _revocation),
)
