"""The verifier's steps, in order; the first that does not hold ends it.

What a pass means: these very files are what was taken in, measured under the named policy, approved by enough
people who had no part in it, and released to that channel, all of it in one ledger whose state the log's key
signed. What it does not mean: that nothing was revoked since (give a revocation feed), or that no key of the
office was stolen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

from placet.attest.envelope import parse_envelope
from placet.attest.keys import parse_public_key
from placet.attest.predicates import Kind, Role, Roles, Training, spec_of
from placet.attest.statement import parse_statement
from placet.attest.trust import Trust, Verified, parse_root, verify_roles
from placet.domain.digests import Digest, short
from placet.domain.errors import Error, IntegrityError
from placet.domain.records import (
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
from placet.ledger.checkpoint import Checkpoint, verify_checkpoint
from placet.ledger.merkle import leaf_hash, verify_inclusion
from placet.review.approval import weigh_approval
from placet.verify.layout import ADAPTER_FOLDER, Bundle, BundledRecord, hash_files, load_bundle, parse_records

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


@dataclass
class _State:
    bundle: Bundle
    pin: Digest
    now: datetime
    revocations: Sequence[BundledRecord] | None
    trust: Trust | None = None
    checkpoint: Checkpoint | None = None
    records: list[Verified[Record]] = field(default_factory=list)
    approvers: tuple[str, ...] = ()

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
    path: Any, pin: Digest, *, now: datetime, revocations: bytes | None = None
) -> VerifiedRelease:
    """Verify the bundle in folder `path` offline.

    Args:
        path: The bundle's folder.
        pin: Digest of the office's trust root, got from a person or a place you trust, not from the bundle.
        now: The moment at which approvals' expiry is judged.
        revocations: A revocation feed of the office (``placet revoke --export``), if there is one.

    Raises:
        UsageError: There is no bundle.
        VerificationError: A step did not hold.
    """
    state = _State(load_bundle(path), pin, now, None if revocations is None else parse_records(revocations))
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
        approvers=state.approvers,
        steps=tuple(passed),
        revocations_checked=revocations is not None,
    )


def _trust_root(state: _State) -> str:
    root = parse_root(state.bundle.root, state.pin)
    roles_type = spec_of(Kind.ROLES).predicate_type
    newest: Roles | None = None
    for item in state.bundle.records:
        if parse_statement(parse_envelope(item.envelope).payload).predicate_type == roles_type:
            roles = verify_roles(root, item.envelope)
            if newest is None or roles.version > newest.version:
                newest = roles
    if newest is None:
        raise IntegrityError("the bundle has no roles statement", hint=_AGAIN)
    state.trust = Trust(root, newest)
    return f"office {root.office!r}, roles version {newest.version}"


def _checkpoint(state: _State) -> str:
    if state.trust is None:
        raise IntegrityError("no trust", hint=_AGAIN)
    origin = state.bundle.checkpoint.partition("\n")[0]
    last: Error = IntegrityError("no key holds the log role", hint=_AGAIN)
    for grant in state.trust.roles.grants:
        if Role.LOG not in grant.roles:
            continue
        try:
            state.checkpoint = verify_checkpoint(
                state.bundle.checkpoint, origin, parse_public_key(grant.public_key)
            )
        except IntegrityError as error:
            last = error
            continue
        return f"{origin}, {state.checkpoint.size} records"
    raise last


def _records(state: _State) -> str:
    checkpoint, trust = _checked(state)
    seen: set[Digest] = set()
    for item in state.bundle.records:
        verified = trust.verify(item.envelope, item.index)
        verify_inclusion(leaf_hash(item.envelope), item.index, checkpoint.size, item.proof, checkpoint.root)
        if verified.id in seen:
            raise IntegrityError(f"record {item.index} is in the bundle twice", hint=_AGAIN)
        seen.add(verified.id)
        state.records.append(verified)
    return f"{len(state.records)} records, each signed by a key that held the role and in the ledger"


def _files(state: _State) -> str:
    release = state.only(Kind.RELEASE, Release).record
    found = hash_files(state.bundle.path / ADAPTER_FOLDER)
    wanted = {entry.path: entry for entry in release.files}
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
    return f"{len(found)} files, adapter {short(release.adapter.id)}"


def _chain(state: _State) -> str:
    release = state.only(Kind.RELEASE, Release).record
    verdict = state.by_id(release.verdict, Kind.VERDICT, Verdict)
    submission = state.only(Kind.SUBMISSION, Submission).record
    intake = state.only(Kind.INTAKE, Intake).record
    if (release.adapter, release.base, release.policy) != (
        verdict.record.adapter,
        verdict.record.base,
        verdict.record.policy,
    ):
        raise IntegrityError("release and verdict are about different bytes, base or policy", hint=_AGAIN)
    same = submission.adapter == intake.adapter == release.adapter and submission.base == release.base
    if not same or intake.refused or files_digest(submission.files) != release.adapter.id:
        raise IntegrityError("submission, intake and release are about different bytes", hint=_AGAIN)
    plan = state.by_id(verdict.record.plan, Kind.PLAN, Plan)
    evidence = set(verdict.record.evidence)
    held = {record.id: record for record in state.records}
    for record_id in sorted(evidence):
        if record_id not in held:
            raise IntegrityError(f"evidence {short(record_id)} of the verdict is missing", hint=_AGAIN)
    for measured in (*state.all(Kind.EVALUATION, Measurement), *state.all(Kind.SAFETY, Measurement)):
        subjects = {release.adapter.weights_id, release.base.id}
        if measured.id in evidence and measured.record.subject not in subjects:
            raise IntegrityError("a measurement is of other weights", hint=_AGAIN)
        of_adapter = measured.record.subject == release.adapter.weights_id
        if measured.id in evidence and of_adapter and measured.index <= plan.index:
            raise IntegrityError("a measurement was logged before its plan", hint=_AGAIN)
    return f"verdict {verdict.record.decision} under policy {release.policy.id} {release.policy.version}"


def _approval(state: _State) -> str:
    release = state.only(Kind.RELEASE, Release)
    verdict = state.by_id(release.record.verdict, Kind.VERDICT, Verdict)
    submission = state.only(Kind.SUBMISSION, Submission)
    approval = weigh_approval(
        verdict,
        state.all(Kind.REVIEW, Review),
        state.all(Kind.WAIVER, Waiver),
        submission=submission,
        trainings=state.all(Kind.TRAINING, Training),
        now=state.now,
    )
    if not approval.approved or verdict.record.decision is Decision.DENY:
        raise IntegrityError(
            "it is not approved: " + "; ".join(approval.missing), hint="ask the office for a review"
        )
    state.approvers = approval.approvers
    return "approved by " + ", ".join(approval.approvers)


def _revocation(state: _State) -> str:
    release = state.only(Kind.RELEASE, Release)
    held = {release.record.adapter.id, release.record.base.id, release.record.adapter.weights_id}
    held |= {record.id for record in state.records}
    revoked = list(state.all(Kind.REVOCATION, Revocation))
    _, trust = _checked(state)
    for item in state.revocations or ():
        verified = trust.verify(item.envelope, item.index)
        if isinstance(verified.record, Revocation):
            revoked.append(cast("Verified[Revocation]", cast("Any", verified)))
    for revocation in revoked:
        if revocation.record.target in held:
            raise IntegrityError(
                f"{revocation.record.target_kind} {short(revocation.record.target)} was revoked by "
                f"{revocation.record.revoked_by}: {revocation.record.reason}",
                hint="stop serving it",
            )
    if state.revocations is None:
        return "not revoked as far as the bundle knows; no revocation feed was given"
    return f"not among the {len(state.revocations)} records of the revocation feed"


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
