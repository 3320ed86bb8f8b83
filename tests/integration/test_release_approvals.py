"""A bundle shows that enough people approved these bytes, on a verdict that holds; else it is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.attest.predicates import Kind, Role
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import Digest, digest_bytes
from placet.domain.errors import RefusedError
from placet.domain.records import (
    Decision,
    Outcome,
    ReviewDecision,
)
from placet.office import LOG_KEY, TrustDesk
from placet.release import desk as release_desk
from placet.review import desk as review_desk
from placet.verify.verifier import VerificationError, verify_bundle
from tests.support import offices
from tests.support.bundles import (
    kind_of,
    put_together_anew,
    records_in,
    require_refused,
    verify_made,
)
from tests.support.offices import Released, released_office, signer_named


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


# --- approvals ---------------------------------------------------------------------------------------------


def test_an_approval_lapses_and_with_it_the_bundle(made: Released) -> None:
    approved_at = made.sample.clock.now
    valid = timedelta(days=offices.RULE.valid_days)

    verify_made(made, now=approved_at + valid - timedelta(hours=1))
    require_refused(made, "approval", "it expired at", now=approved_at + valid)


def test_a_clock_set_back_before_the_approval_is_refused(made: Released) -> None:
    require_refused(made, "approval", "which is still to come", now=offices.START)


def test_a_rejection_put_beside_the_approvals_blocks(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.APPROVER)
    rejection = offices.reject(made.sample, made.walk.ref, "cleo")
    put_together_anew(made, add=(rejection.index - 1, rejection.index))

    require_refused(made, "approval", "cleo rejected it")


def test_approvals_that_the_release_does_not_name_do_not_count(made: Released) -> None:
    case = review_desk.load_case(made.office.reader(), made.walk.ref.id)
    unapproved = _force(made, reviews=())

    with pytest.raises(VerificationError, match="does not rest on the review of ada"):
        _bundle(made, unapproved, named=tuple(item.id for item in case.reviews))


def _force(made: Released, **changed: Any) -> Any:
    """Log a release past the desk, with the releaser's real key, as a hostile releaser can."""
    record = made.released.record.model_copy(update={"released_at": made.sample.clock.now, **changed})
    made.sample.clock.advance(minutes=1)
    subjects = made.released.statement.subjects
    return made.sample.record(Kind.RELEASE, record, subjects, made.sample.signers["rhea"])


def _bundle(made: Released, released: Any, *, named: tuple[Digest, ...] = (), **case: Any) -> Path:
    """Build the bundle of `released` with the desk's own builder, which ends in the verifier."""
    found = review_desk.load_case(made.office.reader(), made.walk.ref.id)
    target = made.office.home / "forced"
    real = release_desk._records

    def records(office: Any, of: Any, release: Any, size: int) -> bytes:
        if not named:
            return real(office, of, release, size)
        claims = replace(release, record=release.record.model_copy(update={"reviews": named}))
        return real(office, of, claims, size)

    release_desk._records = records  # type: ignore[assignment]
    try:
        release_desk.build_bundle(made.office, replace(found, **case), released, target)
    finally:
        release_desk._records = real
    return target


def test_a_release_without_approvals_is_refused(made: Released) -> None:
    with pytest.raises(VerificationError, match="0 of 2 approvals") as caught:
        _bundle(made, _force(made, reviews=()))
    assert caught.value.step == "approval"
    assert not (made.office.home / "forced").exists()


def test_a_release_with_one_approval_is_refused(made: Released) -> None:
    with pytest.raises(VerificationError, match="1 of 2 approvals"):
        _bundle(made, _force(made, reviews=made.released.record.reviews[:1]))


def test_a_release_naming_one_approval_twice_is_refused(made: Released) -> None:
    with pytest.raises(VerificationError, match="1 of 2 approvals"):
        _bundle(made, _force(made, reviews=made.released.record.reviews[:1] * 2))


def test_an_old_approval_does_not_cover_changed_bytes(made: Released) -> None:
    changed = offices.make_adapter(made.sample, "desk-good", seed="poisoned")
    assert changed.ref.id != made.walk.ref.id
    submission = offices.add_submission(made.sample, changed, made.walk.base)
    released = _force(made, adapter=changed.ref, files=changed.files)

    with pytest.raises(VerificationError, match=r"different bytes|other weights") as caught:
        _bundle(made, released, submission=submission)
    assert caught.value.step == "evidence"


def test_bytes_swapped_between_evaluation_and_release_are_refused(made: Released) -> None:
    changed = offices.make_adapter(made.sample, "desk-good", seed="poisoned")
    released = _force(made, files=changed.files)
    submission = replace(
        made.walk.submission, record=made.walk.submission.record.model_copy(update={"files": changed.files})
    )

    with pytest.raises(VerificationError, match="do not make the adapter") as caught:
        _bundle(made, released, submission=submission)
    assert caught.value.step == "files"


def test_a_release_naming_a_file_twice_is_refused(made: Released) -> None:
    files = made.released.record.files

    with pytest.raises(VerificationError, match="names a file twice"):
        _bundle(made, _force(made, files=(*files, files[0])))


def test_a_release_on_another_base_or_policy_than_the_verdicts_is_refused(made: Released) -> None:
    base = made.walk.base.model_copy(update={"id": digest_bytes(b"another base")})
    for change in ({"base": base}, {"policy": offices.policy_ref(version="2")}):
        with pytest.raises(VerificationError, match="different bytes, base or policy"):
            _bundle(made, _force(made, **change))


def test_a_release_by_somebody_without_the_role_is_refused(made: Released) -> None:
    record = made.released.record.model_copy(update={"channel": "production"})
    envelope = sign_record(Kind.RELEASE, record, made.released.statement.subjects, signer_named("sam"))
    entry = made.office.store.append([envelope], made.office.signer(LOG_KEY))[0]
    put_together_anew(made, add=(entry.index,), drop=(made.released.index,))

    require_refused(made, "records", "the key of sam may not sign as releaser")


# --- verdicts of a hostile evaluator -----------------------------------------------------------------------


def _decided(made: Released, change: dict[str, Any]) -> Released:
    """Let the evaluator log a second verdict, changed as `change` says, and ada and ben approve it."""
    return replace(made, walk=offices.decide_again(made, approved_by=("ada", "ben"), **change))


def _not_released(made: Released, reason: str) -> None:
    with pytest.raises((VerificationError, RefusedError), match=reason):
        offices.release(made.sample, made.walk.ref, "production")
    folder = made.office.home / "releases" / "production"
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_verdict_without_gates_is_not_released(made: Released) -> None:
    _not_released(_decided(made, {"gates": ()}), "rests on no required gate")


def test_a_verdict_whose_gates_failed_is_not_released(made: Released) -> None:
    failed = offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})

    _not_released(_decided(made, {"gates": (failed,)}), "is FAIL, which no approval covers")


def test_a_verdict_citing_what_is_not_its_evidence_is_not_released(made: Released) -> None:
    gate = offices.passing_gate(evidence=[digest_bytes(b"elsewhere")])

    _not_released(_decided(made, {"gates": (gate,)}), "a gate cites what is not among")


def test_a_verdict_on_measurements_of_other_weights_is_not_released(made: Released) -> None:
    sample, walk = made.sample, made.walk
    better = offices.make_adapter(sample, "better")
    plan = offices.add_plan(sample, better.ref, walk.base, suites=["support-desk"])
    measured = offices.add_measurement(sample, "support-desk", plan, [1.0] * 120)
    change = {"evidence": tuple(sorted((*walk.verdict.record.evidence, measured.id)))}

    _not_released(_decided(made, change), "of support-desk, is of other weights")


def test_a_verdict_on_a_measurement_on_another_base_is_not_released(made: Released) -> None:
    sample, walk = made.sample, made.walk
    other = offices.add_base(sample, "other-base").record.ref
    plan = offices.add_plan(sample, walk.ref, other, suites=["support-desk"])
    measured = offices.add_measurement(sample, "support-desk", plan, [1.0] * 120)
    change = {
        "evidence": tuple(sorted((*walk.verdict.record.evidence, plan.id, measured.id))),
        "plans_on_weights": (walk.plan.id, plan.id),
    }

    _not_released(_decided(made, change), "a measurement is on another base")


def test_a_verdict_on_a_measurement_made_before_its_plan_is_not_released(made: Released) -> None:
    sample, walk = made.sample, made.walk
    late = walk.plan.record.model_copy(update={"planned_at": sample.clock.now})
    envelope = sign_record(Kind.PLAN, late, walk.plan.statement.subjects, sample.evaluator)
    measured = walk.measurements[1].record.model_copy(update={"plan": envelope.record_id})
    logged = sample.record(Kind.EVALUATION, measured, walk.measurements[1].statement.subjects)
    sample.office.append([envelope])
    change = {
        "evidence": tuple(sorted((*walk.verdict.record.evidence, envelope.record_id, logged.id))),
        "plans_on_weights": (walk.plan.id, envelope.record_id),
    }

    _not_released(_decided(made, change), "a measurement was logged before its plan")


def test_a_verdict_under_the_plan_of_another_adapter_is_not_released(made: Released) -> None:
    sample, walk = made.sample, made.walk
    other = offices.make_adapter(sample, "other")
    plan = offices.add_plan(sample, other.ref, walk.base, suites=["support-desk"])
    change = {"plan": plan.id, "plans_on_weights": (walk.plan.id, plan.id)}

    _not_released(_decided(made, change), "the plan is for other bytes")


def test_a_verdict_that_leaves_out_its_own_plan_is_not_released(made: Released) -> None:
    _not_released(_decided(made, {"plans_on_weights": ()}), "leaves its own plan out of account")


def test_a_verdict_on_evidence_that_was_logged_after_it_is_not_released(made: Released) -> None:
    better = made.walk.measurements[1].record.model_copy(update={"mean": 1.0})
    subjects = made.walk.measurements[1].statement.subjects
    envelope = sign_record(Kind.EVALUATION, better, subjects, made.sample.evaluator)
    evidence = tuple(sorted((*made.walk.verdict.record.evidence, envelope.record_id)))
    decided = _decided(made, {"evidence": evidence})
    made.office.append([envelope])

    _not_released(decided, "evidence was logged after the verdict")


def test_files_that_intake_refuses_by_now_are_not_released(made: Released) -> None:
    offices.add_intake(made.sample, made.walk.adapter, made.walk.base, skipped=("finite",))

    _not_released(made, "intake refused these files since, or did not finish")


def test_files_examined_again_are_released_on_the_intake_that_was_judged(made: Released) -> None:
    offices.add_intake(made.sample, made.walk.adapter, made.walk.base)

    _, bundle = offices.release(made.sample, made.walk.ref, "production")

    held = [record["index"] for record in records_in(bundle) if kind_of(record) == "intake"]
    assert held == [made.walk.intake.index]


def test_an_intake_that_did_not_finish_or_saw_other_files_does_not_verify(made: Released) -> None:
    unfinished = offices.add_intake(made.sample, made.walk.adapter, made.walk.base, skipped=("finite",))
    other = replace(offices.make_adapter(made.sample, "other"), ref=made.walk.ref)
    seen = offices.add_intake(made.sample, other, made.walk.base).record
    elsewhere = made.sample.record(Kind.INTAKE, seen, (Subject("claimed", made.walk.ref.id),))
    rest = tuple(record for record in made.walk.verdict.record.evidence if record != made.walk.intake.id)
    for intake, reason in ((unfinished, "did not finish with them"), (elsewhere, "name different files")):
        evidence = tuple(sorted((*rest, intake.id)))
        walk = _decided(made, {"evidence": evidence}).walk
        released = _force(made, verdict=walk.verdict.id, reviews=_newest_reviews(made))
        with pytest.raises(VerificationError, match=reason) as caught:
            _bundle(made, released)
        assert caught.value.step == "evidence"


def _newest_reviews(made: Released) -> tuple[Digest, ...]:
    return tuple(
        item.id for item in review_desk.load_case(made.office.reader(), made.walk.ref.id).reviews[-2:]
    )


def test_a_submission_of_other_weights_in_the_bundle_is_refused(made: Released) -> None:
    other = offices.make_adapter(made.sample, "other")
    submission = offices.add_submission(made.sample, other, made.walk.base)
    put_together_anew(made, add=(submission.index,))

    require_refused(made, "evidence", "a submission of other weights")


def test_a_second_measurement_under_a_later_plan_does_not_spoil_the_first(made: Released) -> None:
    # The policy changed, so that everything was planned again: the older runs stay among the evidence.
    sample, walk = made.sample, made.walk
    plan = offices.add_plan(sample, walk.ref, walk.base, suites=["support-desk", "canaries"])
    desk = offices.add_measurement(sample, "support-desk", plan, [1.0] * 120)
    measured = offices.add_measurement(sample, "canaries", plan, [0.0] * 12)
    change = {
        "plan": plan.id,
        "evidence": tuple(sorted((*walk.verdict.record.evidence, plan.id, desk.id, measured.id))),
        "plans_on_weights": (walk.plan.id, plan.id),
    }

    made = _decided(made, change)
    released, bundle = offices.release(made.sample, made.walk.ref)

    verified = verify_bundle(bundle, made.office.root.pin, now=made.sample.clock.now)
    assert verified.release == released.record
    assert made.office.audit().whole


def test_a_denied_adapter_is_not_released_even_with_signed_approvals(made: Released) -> None:
    sample = made.sample
    failed = offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})
    walk = offices.decide_again(made, Decision.DENY, gates=[failed])
    for person in ("ada", "ben"):
        rejected = offices.reject(sample, walk.ref, person)
        approval = rejected.record.model_copy(
            update={"decision": ReviewDecision.APPROVE, "head": sample.office.reader().head()}
        )
        sample.record(Kind.REVIEW, approval, rejected.statement.subjects, sample.signers[person])

    with pytest.raises(RefusedError, match="the verdict is DENY"):
        offices.release(sample, walk.ref)


# --- approvers who left ------------------------------------------------------------------------------------


@pytest.fixture
def strict(tmp_path: Path) -> Released:
    """A release under a policy whose approvals end when an approver leaves."""
    sample = offices.make_office(tmp_path / "office")
    rule = offices.RULE.model_copy(update={"lapses_on": ("approver_left",)})
    walk, released, bundle = offices.walk_to_release(sample, rule=rule)
    return Released(sample, walk, released, bundle)


def _leaves(made: Released, person: str) -> None:
    TrustDesk(made.office).end_grants(made.sample.signers[person].public.key_id)
    made.sample.clock.advance(minutes=1)


def test_a_feed_shows_that_an_approver_left(strict: Released) -> None:
    verify_made(strict, revocations=release_desk.export_revocations(strict.office))
    _leaves(strict, "ben")
    verify_made(strict)  # the bundle alone cannot know
    feed = release_desk.export_revocations(strict.office)

    require_refused(strict, "revocation", "the approval of ben lapsed", revocations=feed)
    verify_made(strict, now=None, revocations=feed)  # as of the release, ben was there


def test_a_bundle_made_since_shows_that_an_approver_left(strict: Released) -> None:
    _leaves(strict, "ben")
    put_together_anew(strict, add=(strict.office.reader().head().size - 1,))

    require_refused(strict, "approval", "the approval of ben lapsed")
    verify_made(strict, now=None)


def test_a_bundle_released_after_an_approver_left_never_verifies(strict: Released) -> None:
    _leaves(strict, "ben")
    late = _force(strict)

    with pytest.raises(VerificationError, match="the approval of ben lapsed") as caught:
        _bundle(strict, late)
    assert caught.value.step == "approval"


def test_who_leaves_ends_nothing_where_the_policy_does_not_say_so(made: Released) -> None:
    _leaves(made, "ben")

    assert verify_made(made, revocations=release_desk.export_revocations(made.office)).approvers == (
        "ada",
        "ben",
    )
