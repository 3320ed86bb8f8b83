"""The review desk: what a person decides about a verdict becomes a signed record.

A decision is refused here when it could not count anyway (a person the policy keeps apart, a verdict that was
superseded), so that nobody signs in vain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from placet.attest.keys import Signer
from placet.attest.predicates import Kind, Role, Training
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.errors import NotAuthorizedError, RefusedError, UsageError
from placet.domain.records import (
    BaseStatus,
    Decision,
    Measurement,
    Outcome,
    Review,
    ReviewDecision,
    Revocation,
    Submission,
    Verdict,
    Waiver,
)
from placet.ledger.reader import LedgerReader, in_one_reading
from placet.office import Office
from placet.review.approval import Approval, barred_people, barred_reason, weigh_approval
from placet.review.lapse import lapses, with_lapses


@dataclass(frozen=True, slots=True)
class Case:
    """An adapter's newest verdict with all that bears on its approval."""

    verdict: Verified[Verdict]
    submission: Verified[Submission]
    trainings: tuple[Verified[Training], ...]
    reviews: tuple[Verified[Review], ...]
    waivers: tuple[Verified[Waiver], ...]
    resubmissions: tuple[Verified[Submission], ...] = ()
    """Other submissions of the same weights: under another label, by somebody else, with other files beside."""


@in_one_reading
def load_case(reader: LedgerReader, adapter: Digest) -> Case:
    """Return the case of `adapter` (an adapter id).

    Raises:
        UsageError: It was not submitted, or has no verdict yet.
    """
    submissions = reader.find(Kind.SUBMISSION, Submission, subject=adapter)
    if not submissions:
        raise UsageError(f"no adapter {adapter} was submitted", hint="`placet report` lists what was")
    verdicts = reader.find(Kind.VERDICT, Verdict, subject=adapter)
    if not verdicts:
        raise UsageError(f"adapter {adapter} has no verdict yet", hint="run `placet gate` first")
    decided = verdicts[-1].record
    # The one that was judged: the same files may have been handed in again under another label.
    judged = [
        item
        for item in submissions
        if (item.record.adapter, item.record.base) == (decided.adapter, decided.base)
    ]
    submission = (judged or submissions)[-1]
    weights_id = submission.record.adapter.weights_id
    on_weights = reader.find(Kind.SUBMISSION, Submission, subject=weights_id)
    return Case(
        verdict=verdicts[-1],
        submission=submission,
        trainings=trainings_of(reader, weights_id),
        reviews=reader.find(Kind.REVIEW, Review, subject=adapter),
        waivers=reader.find(Kind.WAIVER, Waiver, subject=adapter),
        resubmissions=tuple(
            item
            for item in on_weights
            if item.id != submission.id and item.record.adapter.weights_id == weights_id
        ),
    )


def trainings_of(reader: LedgerReader, weights_id: Digest) -> tuple[Verified[Training], ...]:
    """Return the training records of `weights_id` and of every adapter it was continued from, newest first."""
    found: list[Verified[Training]] = []
    todo, seen = [weights_id], set()
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for training in reader.find(Kind.TRAINING, Training, subject=current):
            found.append(training)
            todo.extend(
                Digest("sha256:" + parent.digest["sha256"])
                for parent in training.record.dependency("parent-adapter")
                if "sha256" in parent.digest
            )
    return tuple(found)


def approval_of(office: Office, case: Case) -> Approval:
    """Return whether the case's verdict is approved now, and nothing happened since that ends the approvals.

    Now is not before what the log holds: on a clock that was set back, approvals have lapsed all the same.
    """
    now = office.clock()
    approval = weigh_approval(
        case.verdict,
        case.reviews,
        case.waivers,
        submission=case.submission,
        trainings=case.trainings,
        now=max(now, office.reader().latest_moment() or now),
        resubmissions=case.resubmissions,
    )
    reader, about = office.reader(), case.verdict.record
    later = (
        *reader.find(Kind.EVALUATION, Measurement, subject=about.adapter.weights_id),
        *reader.find(Kind.SAFETY, Measurement, subject=about.adapter.weights_id),
        *reader.find(Kind.BASE_STATUS, BaseStatus, subject=about.base.id),
    )
    reasons = lapses(case.verdict, approval, later, reader.trust, reader.head().size)
    return with_lapses(approval, reasons)


def review(
    office: Office,
    adapter: Digest,
    decision: ReviewDecision,
    comment: str,
    signer: Signer,
    *,
    seen_verdict: Digest | None = None,
) -> Verified[Review]:
    """Sign a decision about the adapter's newest verdict and log it.

    Args:
        office: The office.
        adapter: The adapter id.
        decision: Approve or reject.
        comment: The person's reasons; not empty.
        signer: The person's own key, which holds the approver role.
        seen_verdict: The verdict's record id that the person looked at; another one standing now is an error.

    Raises:
        UsageError: No comment, a denied verdict approved, or the verdict changed meanwhile.
        NotAuthorizedError: The key may not approve, or its person trained or submitted the adapter.
        IntegrityError: The ledger file was changed behind the office's back: nobody signs over that.
    """
    reader = office.reader()
    reader.require_whole()
    case = load_case(reader, adapter)
    person = _person(reader, case, signer)
    verdict = case.verdict.record
    _require_seen(case, seen_verdict)
    if not comment.strip():
        raise UsageError(
            "a decision needs reasons", hint="say in a sentence what you looked at: --comment '…'"
        )
    if decision is ReviewDecision.APPROVE and verdict.decision is Decision.DENY:
        raise RefusedError(
            "a denied adapter cannot be approved", hint="mend it and submit it again, or reject it"
        )
    now = office.clock()
    record = Review(
        adapter=verdict.adapter,
        base=verdict.base,
        policy=verdict.policy,
        verdict=case.verdict.id,
        evidence=verdict.evidence,
        head=reader.head(),
        decision=decision,
        comment=comment.strip(),
        reviewer=person,
        reviewed_at=now,
        expires_at=now + timedelta(days=verdict.review.valid_days),
    )
    subjects = (Subject(verdict.adapter.label, verdict.adapter.id), Subject("verdict", case.verdict.id))
    return office.record(Kind.REVIEW, record, subjects, signer)


def waive(
    office: Office,
    adapter: Digest,
    gate: str,
    reason: str,
    valid_days: int,
    signer: Signer,
    *,
    seen_verdict: Digest | None = None,
) -> Verified[Waiver]:
    """Sign a waiver for one inconclusive gate of the adapter's newest verdict and log it.

    Args:
        office: The office.
        adapter: The adapter id.
        gate: The gate's name.
        reason: Why; not empty.
        valid_days: For how many days.
        signer: The person's own key, which holds the approver role.
        seen_verdict: The verdict's record id that the person looked at; another one standing now is an error.

    Raises:
        UsageError: No such gate, it is not inconclusive or not waivable, no reason, no sensible term, or the verdict
            changed meanwhile.
        NotAuthorizedError, IntegrityError: As for :func:`review`.
    """
    reader = office.reader()
    reader.require_whole()
    case = load_case(reader, adapter)
    person = _person(reader, case, signer)
    _require_seen(case, seen_verdict)
    gates = {item.gate: item for item in case.verdict.record.gates}
    if gate not in gates:
        raise UsageError(f"the verdict has no gate {gate!r}", hint="its gates: " + ", ".join(gates))
    if gates[gate].outcome is not Outcome.INCONCLUSIVE:
        raise UsageError(
            f"gate {gate} is {gates[gate].outcome}, not INCONCLUSIVE",
            hint="a waiver lets an inconclusive gate be approved; a failed one needs a better adapter",
        )
    if not gates[gate].waivable:
        raise UsageError(
            f"the policy lets nobody waive gate {gate}", hint="measure more samples, or mend the adapter"
        )
    limit = case.verdict.record.review.valid_days
    if not reason.strip() or not 1 <= valid_days <= limit:
        raise UsageError(
            "a waiver needs a reason and a term",
            hint=f"--reason '…' and --days from 1 to {limit}, as the policy says",
        )
    now, verdict = office.clock(), case.verdict.record
    record = Waiver(
        adapter=verdict.adapter,
        policy=verdict.policy,
        verdict=case.verdict.id,
        gate=gate,
        reason=reason.strip(),
        reviewer=person,
        waived_at=now,
        expires_at=now + timedelta(days=valid_days),
    )
    subjects = (Subject(verdict.adapter.label, verdict.adapter.id), Subject("verdict", case.verdict.id))
    return office.record(Kind.WAIVER, record, subjects, signer)


def revoke(
    office: Office, target: Digest, target_kind: str, label: str, reason: str, signer: Signer
) -> Verified[Revocation]:
    """Sign that an adapter, a base or a record is taken back, and log it.

    Raises:
        UsageError: No reason.
        NotAuthorizedError: The key holds neither the releaser nor the approver role.
    """
    if not reason.strip():
        raise UsageError("a revocation needs a reason", hint="say why: --reason '…'")
    reader = office.reader()
    roles = (Role.RELEASER, Role.APPROVER)
    _, person = reader.trust.authorize(signer.public.key_id, roles, reader.head().size)
    record = Revocation(
        target=target,
        target_kind=target_kind,
        reason=reason.strip(),
        revoked_by=person,
        revoked_at=office.clock(),
    )
    return office.record(Kind.REVOCATION, record, (Subject(label, target),), signer)


def _require_seen(case: Case, seen_verdict: Digest | None) -> None:
    if seen_verdict is not None and seen_verdict != case.verdict.id:
        raise UsageError(
            "the verdict changed while you looked at it", hint="look at the new one and decide again"
        )


def _person(reader: LedgerReader, case: Case, signer: Signer) -> str:
    _, person = reader.trust.authorize(signer.public.key_id, (Role.APPROVER,), reader.head().size)
    barred = barred_people(case.verdict.record, case.submission, case.trainings, case.resubmissions)
    if reason := barred_reason(barred, person):
        raise NotAuthorizedError(
            f"{person} {reason} and may not decide about it",
            hint="ask somebody who had no part in it",
        )
    return person
