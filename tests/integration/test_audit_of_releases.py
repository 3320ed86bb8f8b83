"""Verdicts that do not rest on what they name, releases that the desk would not have made, and blobs: all found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from placet.attest.predicates import Kind, Role
from placet.attest.trust import sign_record
from placet.domain.digests import Digest, digest_bytes
from placet.domain.records import Decision, LedgerHead, Outcome
from placet.office import TrustDesk
from placet.review import desk as review_desk
from tests.support import offices
from tests.support.audits import require_found
from tests.support.offices import Released, released_office, signer_named
from tests.support.tampering import logged as _logged


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


# --- evidence ----------------------------------------------------------------------------------------------


def _verdict_with(made: Released, **changed: Any) -> int:
    record = made.walk.verdict.record.model_copy(update={"head": made.office.reader().head(), **changed})
    subjects = made.walk.verdict.statement.subjects
    return made.sample.record(Kind.VERDICT, record, subjects).index


def test_a_verdict_that_leaves_out_a_plan_on_the_same_weights(made: Released) -> None:
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    require_found(made.office, "left-out-run", _verdict_with(made))


def test_a_left_out_plan_is_found_though_the_verdict_names_an_older_head(made: Released) -> None:
    head = made.walk.verdict.record.head
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    require_found(made.office, "left-out-run", _verdict_with(made, head=head, decided_at=made.sample.clock()))


def test_a_plan_for_other_files_with_the_same_weights_counts_too(made: Released) -> None:
    renamed = made.walk.ref.model_copy(update={"id": digest_bytes(b"another README"), "label": "fresh start"})
    offices.add_plan(made.sample, renamed, made.walk.base, suites=["canaries"])

    require_found(made.office, "left-out-run", _verdict_with(made))


def test_a_plan_logged_after_the_verdict_is_not_left_out(made: Released) -> None:
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    assert made.office.audit().whole


def test_a_verdict_that_rests_on_what_was_never_logged(made: Released) -> None:
    missing = digest_bytes(b"a run nobody saw")

    require_found(made.office, "missing-evidence", _verdict_with(made, evidence=(missing,)))


def test_a_measurement_logged_before_its_plan(made: Released) -> None:
    plan_record = made.walk.plan.record.model_copy(update={"planned_at": made.sample.clock()})
    subjects = made.walk.plan.statement.subjects
    plan = sign_record(Kind.PLAN, plan_record, subjects, made.sample.evaluator)
    measured = made.walk.measurements[1].record.model_copy(update={"plan": plan.record_id})
    index = made.sample.record(Kind.EVALUATION, measured, made.walk.measurements[1].statement.subjects).index
    _logged(made.office, plan)

    require_found(made.office, "evidence-after-the-fact", index)


@pytest.mark.parametrize(
    "head",
    [LedgerHead(size=3, root="00" * 32), LedgerHead(size=10_000, root="00" * 32)],
    ids=["another root", "the future"],
)
def test_a_record_signed_over_a_ledger_that_never_was(made: Released, head: LedgerHead) -> None:
    require_found(made.office, "foreign-head", _verdict_with(made, head=head))


# --- releases that the desk would not have made -------------------------------------------------------------


def _released_past_the_desk(made: Released, **changed: Any) -> int:
    made.sample.clock.advance(minutes=1)
    record = made.released.record.model_copy(update={"released_at": made.sample.clock(), **changed})
    subjects = made.released.statement.subjects
    return made.sample.record(Kind.RELEASE, record, subjects, made.sample.signers["rhea"]).index


def _unallowed(made: Released, reason: str, index: int) -> None:
    report = made.office.audit()
    assert [(f.id, f.index) for f in report.findings] == [("unallowed-release", index)], report.findings
    assert reason in report.findings[0].message
    assert "signed by rhea" in report.findings[0].message


def test_a_release_that_names_no_approvals(made: Released) -> None:
    _unallowed(made, "does not name what ada signed", _released_past_the_desk(made, reviews=()))


def test_a_release_after_the_approvals_lapsed(made: Released) -> None:
    made.sample.clock.advance(days=90)

    _unallowed(made, "it expired at", _released_past_the_desk(made))


def test_a_release_after_an_approver_left(tmp_path: Path) -> None:
    sample = offices.make_office(tmp_path / "office")
    rule = offices.RULE.model_copy(update={"lapses_on": ("approver_left",)})
    made = Released(sample, *offices.walk_to_release(sample, rule=rule))
    TrustDesk(made.office).end_grants(sample.signers["ben"].public.key_id)
    assert made.office.audit().whole, "what was released before stays as it was"

    _unallowed(made, "the approval of ben lapsed", _released_past_the_desk(made))


def test_a_release_over_a_rejection(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.APPROVER)
    offices.reject(made.sample, made.walk.ref, "cleo")

    _unallowed(made, "cleo rejected it", _released_past_the_desk(made))


def test_a_release_on_an_older_verdict_than_the_newest(made: Released) -> None:
    failed = offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})
    offices.decide_again(made, Decision.DENY, gates=[failed])

    _unallowed(made, "not the newest one", _released_past_the_desk(made))


def test_a_release_of_a_denied_adapter(made: Released) -> None:
    failed = offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})
    walk = offices.decide_again(made, Decision.DENY, gates=[failed])

    _unallowed(made, "the verdict is DENY", _released_past_the_desk(made, verdict=walk.verdict.id))


def test_a_release_of_what_was_revoked(made: Released) -> None:
    review_desk.revoke(made.office, made.walk.base.id, "base", "x", "bad licence", made.sample.signers["ben"])

    _unallowed(made, "was revoked before", _released_past_the_desk(made))


@pytest.mark.parametrize("what", ["bytes", "files", "base", "policy"])
def test_a_release_of_something_else_than_was_judged(made: Released, what: str) -> None:
    other = offices.make_adapter(made.sample, "desk-good", seed="poisoned")
    change, reason = {
        "bytes": ({"adapter": other.ref, "files": other.files}, "not the newest one on these files"),
        "files": ({"files": other.files}, "not the ones that were submitted"),
        "base": ({"base": made.walk.base.model_copy(update={"label": "other"})}, "another base"),
        "policy": ({"policy": offices.policy_ref(version="2")}, "another policy"),
    }[what]

    _unallowed(made, reason, _released_past_the_desk(made, **change))


def test_a_release_approved_by_somebody_who_submitted_it_before(made: Released) -> None:
    # Past the desk, and past its check of who may decide: ben handed the same weights in himself.
    TrustDesk(made.office).grant(signer_named("ben").public, "ben", (Role.SUBMITTER,))
    offices.add_submission(made.sample, made.walk.adapter, made.walk.base, signer="ben")

    _unallowed(made, "that person submitted it", _released_past_the_desk(made))


def test_releases_of_the_desk_are_all_allowed(made: Released) -> None:
    offices.release(made.sample, made.walk.ref, "production")

    assert made.office.audit().whole


# --- blobs -------------------------------------------------------------------------------------------------


def _blob_of(made: Released, which: str) -> Digest:
    return {
        "results": made.walk.measurements[0].record.blob,
        "weights": made.walk.adapter.files[2].sha256,
        "policy": made.walk.plan.record.policy.digest,
    }[which]


@pytest.mark.parametrize(
    ("which", "how"),
    [
        *(("results", how) for how in ("flipped", "gone", "swapped", "link", "empty")),
        ("weights", "flipped"),
        ("policy", "gone"),
    ],
)
def test_a_damaged_blob(made: Released, which: str, how: str, tmp_path: Path) -> None:
    path = made.office.blobs.path(_blob_of(made, which))
    data = path.read_bytes()
    path.unlink()
    if how == "flipped":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif how == "swapped":
        path.write_bytes(made.office.blobs.read(made.walk.adapter.files[0].sha256))
    elif how == "empty":
        path.touch()
    elif how == "link":
        (tmp_path / "outside").write_bytes(data)
        path.symlink_to(tmp_path / "outside")

    require_found(made.office, "damaged-blob")
    assert made.office.audit(blobs=False).whole
