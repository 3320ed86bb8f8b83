"""The attack matrix: everything that whoever holds the office's folder can do to its record is found, by name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placet.attest.envelope import Envelope, sign_statement
from placet.attest.predicates import Kind, Role, Roles
from placet.attest.root import RootKey, new_root
from placet.attest.statement import Subject, build_statement
from placet.attest.trust import roles_subjects, sign_record
from placet.domain.digests import Digest, canonical_json, digest_bytes
from placet.domain.errors import IntegrityError, UsageError
from placet.domain.progress import NullProgress
from placet.domain.records import Decision, LedgerHead, Outcome
from placet.ledger.audit import AuditReport, Scope
from placet.ledger.audit import run as audit_run
from placet.ledger.audit.report import MEANINGS
from placet.ledger.checkpoint import sign_checkpoint
from placet.ledger.merkle import leaf_hash, tree_root
from placet.ledger.store import DuckStore
from placet.office import LOG_KEY, ROOT_KEY, Office, TrustDesk
from placet.review import desk as review_desk
from tests.support import offices
from tests.support.offices import Released, released_office, signer_named
from tests.support.tampering import delete_and_renumber as _delete_and_renumber
from tests.support.tampering import logged as _logged
from tests.support.tampering import replace as _replace
from tests.support.tampering import resign as _resign
from tests.support.tampering import revocation_by as _revocation_by
from tests.support.tampering import sql as _sql
from tests.support.tampering import truncate as _truncate


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _ids(report: AuditReport) -> set[str]:
    return {finding.id for finding in report.findings}


def _found(
    office: Office, finding_id: str, index: int | None = None, *, outside: list[str] | None = None
) -> None:
    report = office.audit(outside or [])
    assert not report.whole
    hits = [finding for finding in report.findings if finding.id == finding_id]
    assert hits, [f"{finding.id}: {finding.message}" for finding in report.findings]
    if index is not None:
        assert index in {finding.index for finding in hits}, hits
    assert all(finding.message for finding in hits)


# --- an honest record --------------------------------------------------------------------------------------


def test_an_honest_office_is_whole_and_says_what_was_looked_at_and_what_cannot_be_seen(
    made: Released,
) -> None:
    report = made.office.audit()

    assert report.whole, report.findings
    assert report.records == len(made.office.store.entries())
    assert report.root == made.office.reader().head().root
    told = " ".join(report.checked)
    for word in (
        "indices",
        "roles",
        "checkpoints",
        "signatures",
        "references",
        "release",
        "blobs",
        "derived",
    ):
        assert word in told, word
    assert any("signed again with its own key" in item for item in report.blind)
    assert any("stolen" in item for item in report.blind)
    assert any("never logged" in item for item in report.blind)


def test_with_a_checkpoint_kept_elsewhere_less_is_blind(made: Released) -> None:
    note = made.office.store.latest_checkpoint() or ""

    report = made.office.audit([note])

    assert report.whole
    assert not any("signed again" in item for item in report.blind)


def test_an_audit_without_blobs_says_so(made: Released) -> None:
    report = made.office.audit(blobs=False)

    assert report.whole
    assert any("blobs" in item for item in report.blind)


def test_an_old_checkpoint_is_continued_by_a_log_that_only_grew(made: Released) -> None:
    notes = [note for _, note in made.office.store.checkpoint_notes()]

    assert made.office.audit(notes[::4]).whole


# --- rows of the ledger file -------------------------------------------------------------------------------


def test_an_edited_row(made: Released) -> None:
    index = made.walk.verdict.index
    raw = made.walk.verdict.envelope.raw
    _replace(made.office, index, raw.replace(b"A", b"B", 1), leaf=False)

    _found(made.office, "edited-record", index)


def test_an_edited_row_with_its_hash_recomputed(made: Released) -> None:
    value = json.loads(made.walk.verdict.envelope.raw)
    signature = value["signatures"][0]["sig"]
    value["signatures"][0]["sig"] = ("B" if signature[0] == "A" else "A") + signature[1:]
    _replace(made.office, made.walk.verdict.index, canonical_json(value))

    _found(made.office, "rewritten-log")
    _found(made.office, "bad-signature", made.walk.verdict.index)


def test_an_edited_row_with_everything_recomputed_and_signed_again_still_lacks_the_signers_signature(
    made: Released,
) -> None:
    other = sign_record(
        Kind.VERDICT,
        made.walk.verdict.record.model_copy(update={"plans_on_weights": ()}),
        made.walk.verdict.statement.subjects,
        signer_named("eve"),
    )
    _replace(made.office, made.walk.verdict.index, other.raw, record_id=other.record_id)
    _resign(made.office)
    made.office.store.rebuild()

    _found(made.office, "unauthorized-signer", made.walk.verdict.index)
    _found(made.office, "missing-evidence")


@pytest.mark.parametrize("index", [0, 8, 14])
def test_a_deleted_row(made: Released, index: int) -> None:
    _sql(made.office, "DELETE FROM entries WHERE idx = ?", [index])

    _found(made.office, "deleted-record", index)


def test_a_deleted_row_with_the_later_ones_renumbered(made: Released) -> None:
    _delete_and_renumber(made.office, made.walk.measurements[1].index)

    _found(made.office, "rewritten-log")
    _found(made.office, "missing-evidence")


def test_rows_in_another_order(made: Released) -> None:
    one, two = made.walk.measurements[0].index, made.walk.measurements[1].index
    for table in ("entries", "records"):
        for source, target in ((one, 10_000), (two, one), (10_000, two)):
            _sql(made.office, f"UPDATE {table} SET idx = ? WHERE idx = ?", [target, source])

    _found(made.office, "rewritten-log")


def test_two_valid_envelopes_swapped(made: Released) -> None:
    one, two = made.walk.measurements[0], made.walk.measurements[1]
    _replace(made.office, one.index, two.envelope.raw)
    _replace(made.office, two.index, one.envelope.raw)

    _found(made.office, "rewritten-log")
    _found(made.office, "wrong-record-id", one.index)


def test_a_record_put_in_twice(made: Released) -> None:
    size = len(made.office.store.entries())
    raw = made.walk.verdict.envelope.raw
    _sql(
        made.office,
        "INSERT INTO entries VALUES (?, ?, ?, ?)",
        [size, "sha256:" + "0" * 64, leaf_hash(raw), raw],
    )
    _resign(made.office)
    made.office.store.rebuild()

    _found(made.office, "doubled-record", size)
    _found(made.office, "wrong-record-id", size)


def test_a_row_added_behind_the_last_checkpoint(made: Released) -> None:
    size = len(made.office.store.entries())
    envelope = _revocation_by("ada", "ada")
    _sql(
        made.office,
        "INSERT INTO entries VALUES (?, ?, ?, ?)",
        [size, envelope.record_id, leaf_hash(envelope.raw), envelope.raw],
    )
    made.office.store.rebuild()

    _found(made.office, "unsigned-tail")


def test_a_row_that_is_no_envelope(made: Released) -> None:
    _replace(made.office, 5, b"not an envelope")

    _found(made.office, "edited-record", 5)


# --- cut, put back, regrown --------------------------------------------------------------------------------


def test_a_log_cut_short_under_its_last_checkpoint(made: Released) -> None:
    size = len(made.office.store.entries())
    for table in ("entries", "records", "subjects"):
        _sql(made.office, f"DELETE FROM {table} WHERE idx >= ?", [size - 2])

    _found(made.office, "truncated-log")


def test_a_log_cut_short_with_its_checkpoints_is_found_by_one_kept_elsewhere(made: Released) -> None:
    kept = made.office.store.latest_checkpoint() or ""
    _truncate(made.office, made.released.index)

    assert made.office.audit().whole  # and that is what `blind` says
    _found(made.office, "truncated-log", outside=[kept])


def test_an_old_file_put_back_is_found_by_a_checkpoint_kept_elsewhere(made: Released, tmp_path: Path) -> None:
    shutil.copy(made.office.store.path, tmp_path / "old")
    offices.walk_to_verdict(made.sample, "later", base=made.walk.base)
    kept = made.office.store.latest_checkpoint() or ""
    shutil.copy(tmp_path / "old", made.office.store.path)

    assert made.office.audit().whole
    _found(made.office, "truncated-log", outside=[kept])


def test_a_log_cut_short_and_regrown_with_its_real_key_is_found_by_a_checkpoint_kept_elsewhere(
    made: Released,
) -> None:
    kept = made.office.store.latest_checkpoint() or ""
    size = len(made.office.store.entries())
    _truncate(made.office, made.walk.verdict.index)
    plan = made.walk.plan
    evidence = [r.id for r in (made.walk.training, made.walk.intake, plan, *made.walk.measurements)]
    offices.add_verdict(made.sample, plan, evidence=evidence, gates=[offices.passing_gate("other")])
    while len(made.office.store.entries()) < size + 1:
        offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
        made.sample.clock.advance(minutes=1)

    assert made.office.audit().whole  # the operator's own signatures are all real
    _found(made.office, "forked-log", outside=[kept])


def test_a_fork_of_the_same_size_is_found_by_a_checkpoint_kept_elsewhere(made: Released) -> None:
    kept = made.office.store.latest_checkpoint() or ""
    _truncate(made.office, made.released.index)
    _logged(made.office, _revocation_by("ada", "ada"))

    assert f"\n{made.released.index + 1}\n" in kept
    _found(made.office, "forked-log", outside=[kept])


def test_a_rejection_cut_out_of_history_is_found_by_what_later_reviewers_signed(made: Released) -> None:
    offices.decide_again(made)
    rejection = offices.reject(made.sample, made.walk.ref, "ben")
    offices.approve(made.sample, made.walk.ref, "ada")
    _delete_and_renumber(made.office, rejection.index)
    _resign(made.office)  # with the log's real key, so that no checkpoint of its own shows it
    made.office.store.rebuild()

    report = made.office.audit()

    assert _ids(report) == {"foreign-head"}
    assert "review by ada" in report.findings[0].message


def test_the_checkpoint_of_another_log_is_not_taken_for_one_of_this(made: Released) -> None:
    note = sign_checkpoint(made.office.settings.origin, 3, bytes(32), signer_named("another log")).note

    _found(made.office, "foreign-checkpoint", outside=[note])
    _found(made.office, "foreign-checkpoint", outside=["not a note"])


# --- checkpoints -------------------------------------------------------------------------------------------


def test_a_checkpoint_signed_by_another_key(made: Released) -> None:
    leaves = [entry.leaf for entry in made.office.store.entries()]
    forged = sign_checkpoint(made.office.settings.origin, 5, tree_root(leaves[:5]), signer_named("eve")).note
    _sql(made.office, "UPDATE checkpoints SET note = ? WHERE size = 5", [forged])

    _found(made.office, "forged-checkpoint")


def test_a_checkpoint_filed_under_another_size(made: Released) -> None:
    _sql(made.office, "UPDATE checkpoints SET size = 1000 WHERE size = 5")

    _found(made.office, "forged-checkpoint")


def test_checkpoints_taken_away(made: Released) -> None:
    _sql(made.office, "DELETE FROM checkpoints WHERE size > 10")

    _found(made.office, "unsigned-tail")
    _sql(made.office, "DELETE FROM checkpoints")
    _found(made.office, "unsigned-tail")


# --- signers and roles -------------------------------------------------------------------------------------


def test_a_record_of_a_stranger_logged_by_the_operator(made: Released) -> None:
    _found(made.office, "unauthorized-signer", _logged(made.office, _revocation_by("eve", "eve")))


def test_a_record_of_somebody_without_the_role(made: Released) -> None:
    _found(made.office, "unauthorized-signer", _logged(made.office, _revocation_by("sam", "sam")))


def test_a_record_of_a_key_that_was_ended(made: Released) -> None:
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)

    _found(made.office, "unauthorized-signer", _logged(made.office, _revocation_by("ada", "ada")))


def test_a_record_of_a_key_from_before_it_was_granted(made: Released) -> None:
    index = _logged(made.office, _revocation_by("cleo", "cleo"))
    offices.add_person(made.sample, "cleo", Role.APPROVER)

    _found(made.office, "unauthorized-signer", index)


def test_a_forged_signature_under_a_real_name(made: Released) -> None:
    mine = _revocation_by("eve", "ada")
    value = json.loads(mine.raw)
    value["signatures"][0]["keyid"] = signer_named("ada").public.key_id.removeprefix("sha256:")
    raw = canonical_json(value)
    index = _logged(
        made.office, Envelope(mine.payload, signer_named("ada").public.key_id, mine.signature, raw)
    )

    _found(made.office, "bad-signature", index)


def test_a_signed_record_that_is_malformed(made: Released) -> None:
    statement = build_statement(
        "https://placet.dev/revocation/v1", (Subject("x", digest_bytes(b"x")),), {"target": "everything"}
    )

    _found(
        made.office, "malformed-record", _logged(made.office, sign_statement(statement, signer_named("ada")))
    )


def test_a_record_of_a_future_type_is_kept_shown_and_no_finding(made: Released) -> None:
    statement = build_statement(
        "https://placet.dev/verdict/v9", (Subject("x", digest_bytes(b"x")),), {"a": 1}
    )
    index = _logged(made.office, sign_statement(statement, signer_named("ada")))

    report = made.office.audit()

    assert report.whole
    assert any("1 record of types not known here" in item for item in report.checked)
    shown = made.office.reader().everything()[index]
    assert not hasattr(shown, "person")


def _log_roles(office: Office, roles: Roles, signer: Any = None) -> int:
    signer = signer or office.signer(ROOT_KEY)
    envelope = sign_record(Kind.ROLES, roles, roles_subjects(office.root, 0, signer.public), signer)
    return _logged(office, envelope)


def _rewritten(office: Office) -> dict[str, Callable[[Roles, int], Roles]]:
    eve = signer_named("eve").public

    def changed(roles: Roles, **update: Any) -> Roles:
        return roles.model_copy(update={"version": roles.version + 1, **update})

    def grant(roles: Roles, **update: Any) -> Any:
        return roles.grants[-1].model_copy(update={"key_id": eve.key_id, "public_key": eve.pem, **update})

    return {
        "a grant that reaches back": lambda r, i: changed(r, grants=(*r.grants, grant(r, valid_from=0))),
        "a grant taken away": lambda r, i: changed(r, grants=r.grants[:-1]),
        "a grant of another person": lambda r, i: changed(
            r, grants=(*r.grants[:-1], r.grants[-1].model_copy(update={"person": "eve"}))
        ),
        "a grant ended in the past": lambda r, i: changed(
            r, grants=(*r.grants[:-1], r.grants[-1].model_copy(update={"valid_until": 0}))
        ),
        "a version left out": lambda r, i: changed(r, version=r.version + 2),
        "a version repeated": lambda r, i: changed(r, version=r.version, issued_at=offices.START),
        "another office": lambda r, i: changed(r, office="other"),
        "one key under two people": lambda r, i: changed(
            r, grants=(*r.grants, r.grants[-1].model_copy(update={"person": "eve", "valid_from": i}))
        ),
    }


@pytest.mark.parametrize(
    "how",
    [
        "a grant that reaches back",
        "a grant taken away",
        "a grant of another person",
        "a grant ended in the past",
        "a version left out",
        "a version repeated",
        "another office",
        "one key under two people",
    ],
)
def test_rewritten_roles_signed_by_the_real_root(made: Released, how: str) -> None:
    roles = made.office.reader().trust.roles
    _log_roles(made.office, _rewritten(made.office)[how](roles, len(made.office.store.entries())))

    _found(made.office, "untrusted-roles")
    with pytest.raises(IntegrityError):
        made.office.reader()


def test_roles_signed_by_somebody_else(made: Released) -> None:
    roles = made.office.reader().trust.roles
    eve = signer_named("eve")
    _log_roles(made.office, roles.model_copy(update={"version": roles.version + 1}), eve)

    _found(made.office, "untrusted-roles")


def test_another_root_in_the_roots_place(made: Released) -> None:
    eve, expires = signer_named("eve"), made.office.root.current.expires
    impostor = new_root(made.office.root.office, [RootKey(eve.public, "eve")], [eve], expires=expires)
    (made.office.home / "trust" / "1.root.json").write_bytes(impostor.current.raw)

    with pytest.raises(IntegrityError, match="not the pinned"):
        Office.open(made.office.home)
    settings = json.loads((made.office.home / "office.json").read_bytes()) | {"rootPin": impostor.pin}
    (made.office.home / "office.json").write_bytes(canonical_json(settings))
    _found(Office.open(made.office.home), "untrusted-roles")


# --- derived tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE records SET type_id = type_id + 1 WHERE idx = 9",
        "UPDATE records SET key_id = 77 WHERE idx = 9",
        "UPDATE records SET made_at = '2020-01-01T00:00:00Z' WHERE idx = 9",
        "UPDATE records SET suite = 'another' WHERE idx = 9",
        "UPDATE records SET decision = 'ALLOW' WHERE idx = 9",
        "UPDATE records SET channel = 'production' WHERE idx = 9",
        "UPDATE subjects SET digest = 'x'::BLOB WHERE idx = 9",
        "UPDATE subjects SET digest_key = 1 WHERE idx = 9",
        "UPDATE subjects SET name = 'other' WHERE idx = 9",
        "UPDATE words SET word = 'https://placet.dev/plan/v2' WHERE id = 1",
        "INSERT INTO words SELECT * FROM words WHERE id = 1",
        "DELETE FROM words WHERE id = 1",
        "DELETE FROM subjects WHERE idx = 9",
        "DELETE FROM records WHERE idx = 9",
        "INSERT INTO records SELECT * FROM records WHERE idx = 9",
        "INSERT INTO subjects VALUES (9, 1, 'x'::BLOB, 'x')",
        "INSERT INTO subjects VALUES (900, 1, 'x'::BLOB, 'x')",
        "INSERT INTO records VALUES (900, 1, 1, NULL, NULL, NULL, NULL)",
        "INSERT INTO tiles VALUES (0, 0, 'x'::BLOB)",
    ],
)
def test_edited_derived_tables(made: Released, statement: str) -> None:
    _sql(made.office, statement)

    _found(made.office, "edited-derived-table")
    with pytest.raises(IntegrityError, match="behind the office's back"):
        made.office.reader().require_whole()
    made.office.store.rebuild()
    assert made.office.audit().whole


def test_what_was_found_whole_is_not_read_again_until_somebody_else_writes(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = DuckStore.snapshot

    def snapshot(self: DuckStore, start: int = 0, stop: int | None = None, **options: Any) -> Any:
        read.append(start)
        return real(self, start, stop, **options)

    monkeypatch.setattr(DuckStore, "snapshot", snapshot)
    office, size = made.office, made.office.store.size()
    office.store.local()._whole = None
    office.reader().require_whole()
    office.reader().require_whole()
    assert read == [0]
    offices.add_base(made.sample, "another-base")
    office.reader().require_whole()
    assert read == [0, size]
    # Another process's write is not known to be good.
    another = Office.open(office.home, ask=office.ask, clock=office.clock)
    another.store.append([_revocation_by("ada", "ada")], office.signer(LOG_KEY))
    office.reader().require_whole()
    assert read == [0, size, 0]


def test_a_rejection_hidden_from_the_derived_tables_does_not_let_a_release_through(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.APPROVER)
    rejection = offices.reject(made.sample, made.walk.ref, "cleo")
    _sql(made.office, "DELETE FROM records WHERE idx = ?", [rejection.index])

    with pytest.raises(IntegrityError, match="behind the office's back"):
        offices.release(made.sample, made.walk.ref, "production")


def test_an_ended_key_kept_alive_by_hiding_the_roles_statement_is_found(made: Released) -> None:
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)
    last = len(made.office.store.entries()) - 1
    _sql(made.office, "DELETE FROM records WHERE idx = ?", [last])

    _found(made.office, "edited-derived-table", last)
    with pytest.raises(IntegrityError):
        offices.approve(made.sample, made.walk.ref, "ada", "still here")


def test_a_file_without_all_its_tables_is_not_whole_and_not_read_further(made: Released) -> None:
    _sql(made.office, "DROP TABLE subjects")

    report = made.office.audit()

    assert [(item.id, item.message) for item in report.findings] == [
        ("foreign-content", "the ledger file lacks the table subjects")
    ]
    assert (report.checked, report.records) == ((), 0)
    assert report.blind == ("anything else: the ledger file is not built like one",)


# --- evidence ----------------------------------------------------------------------------------------------


def _verdict_with(made: Released, **changed: Any) -> int:
    record = made.walk.verdict.record.model_copy(update={"head": made.office.reader().head(), **changed})
    subjects = made.walk.verdict.statement.subjects
    return made.sample.record(Kind.VERDICT, record, subjects).index


def test_a_verdict_that_leaves_out_a_plan_on_the_same_weights(made: Released) -> None:
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    _found(made.office, "left-out-run", _verdict_with(made))


def test_a_left_out_plan_is_found_though_the_verdict_names_an_older_head(made: Released) -> None:
    head = made.walk.verdict.record.head
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    _found(made.office, "left-out-run", _verdict_with(made, head=head, decided_at=made.sample.clock()))


def test_a_plan_for_other_files_with_the_same_weights_counts_too(made: Released) -> None:
    renamed = made.walk.ref.model_copy(update={"id": digest_bytes(b"another README"), "label": "fresh start"})
    offices.add_plan(made.sample, renamed, made.walk.base, suites=["canaries"])

    _found(made.office, "left-out-run", _verdict_with(made))


def test_a_plan_logged_after_the_verdict_is_not_left_out(made: Released) -> None:
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    assert made.office.audit().whole


def test_a_verdict_that_rests_on_what_was_never_logged(made: Released) -> None:
    missing = digest_bytes(b"a run nobody saw")

    _found(made.office, "missing-evidence", _verdict_with(made, evidence=(missing,)))


def test_a_measurement_logged_before_its_plan(made: Released) -> None:
    plan_record = made.walk.plan.record.model_copy(update={"planned_at": made.sample.clock()})
    subjects = made.walk.plan.statement.subjects
    plan = sign_record(Kind.PLAN, plan_record, subjects, made.sample.evaluator)
    measured = made.walk.measurements[1].record.model_copy(update={"plan": plan.record_id})
    index = made.sample.record(Kind.EVALUATION, measured, made.walk.measurements[1].statement.subjects).index
    _logged(made.office, plan)

    _found(made.office, "evidence-after-the-fact", index)


@pytest.mark.parametrize(
    "head",
    [LedgerHead(size=3, root="00" * 32), LedgerHead(size=10_000, root="00" * 32)],
    ids=["another root", "the future"],
)
def test_a_record_signed_over_a_ledger_that_never_was(made: Released, head: LedgerHead) -> None:
    _found(made.office, "foreign-head", _verdict_with(made, head=head))


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

    _found(made.office, "damaged-blob")
    assert made.office.audit(blobs=False).whole


# --- the audit itself --------------------------------------------------------------------------------------


def test_an_audit_beside_a_growing_log_raises_no_false_alarm(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Between any two reads of the audit somebody appends.
    real = DuckStore._reading

    def reading(self: DuckStore) -> Any:
        if growing:
            growing.pop()
            offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
        return real(self)

    growing = [1, 2, 3, 4]
    monkeypatch.setattr(DuckStore, "_reading", reading)

    assert made.office.audit().whole


def test_each_finding_names_the_record_it_shows_at(made: Released) -> None:
    _replace(made.office, 5, b"x")

    report = made.office.audit()

    assert "edited-record" in _ids(report)
    assert all(finding.index is None or f"{finding.index}" in finding.message for finding in report.findings)


# --- from the last audited checkpoint, in parallel, in part ------------------------------------------------


def _grow(made: Released, records: int = 2) -> None:
    for _ in range(records):
        offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
        made.sample.clock.advance(minutes=1)


def test_an_audit_from_the_last_audited_checkpoint_reads_only_what_is_new(made: Released) -> None:
    first = made.office.audit()
    _grow(made)

    report = made.office.audit(since=first.checkpoint)

    assert report.whole, report.findings
    assert (report.start, report.records) == (first.records, first.records + 2)
    assert report.root == made.office.reader().head().root
    assert any("2 records: indices" in line for line in report.checked)
    assert any(f"the signatures of the first {first.records} records" in line for line in report.blind)
    assert any("that bear on the new ones were read" in line for line in report.checked)
    again = made.office.audit(since=report.checkpoint)
    assert again.whole
    assert again.start == again.records


def test_an_audit_from_a_checkpoint_finds_what_was_done_since(made: Released) -> None:
    since = made.office.audit().checkpoint
    _grow(made)
    index = made.office.store.size() - 1
    _replace(made.office, index, b"not an envelope")

    report = made.office.audit(since=since)

    assert "edited-record" in _ids(report)
    assert report.start == index - 1


def test_an_audit_from_a_checkpoint_finds_that_a_plan_from_before_it_is_left_out_since(
    made: Released,
) -> None:
    plan = offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
    since = made.office.audit().checkpoint
    offices.decide_again(made)

    report = made.office.audit(since=since)

    assert report.start == plan.index + 1
    assert [(item.id, item.index) for item in report.findings] == [("left-out-run", report.start)]
    assert f"leaves out the plan at {plan.index} on the same weights" in report.findings[0].message


def test_an_audit_from_a_checkpoint_finds_what_was_hidden_from_the_index_before_it(made: Released) -> None:
    run = offices.add_measurement(made.sample, "support-desk", made.walk.plan, [0.0] * 120)
    since = made.office.audit().checkpoint
    _sql(made.office, "DELETE FROM subjects WHERE idx = ?", [run.index])
    assert made.office.audit(since=since).whole, "nothing new rests on it"
    offices.decide_again(made)

    report = made.office.audit(since=since)

    assert [(item.id, item.index) for item in report.findings] == [("edited-derived-table", run.index)]


def test_an_audit_from_a_checkpoint_hashes_what_came_before_it_again(made: Released) -> None:
    since = made.office.audit().checkpoint
    other = sign_record(
        Kind.VERDICT,
        made.walk.verdict.record.model_copy(update={"gates": (offices.passing_gate("softer"),)}),
        made.walk.verdict.statement.subjects,
        made.sample.evaluator,
    )
    _replace(made.office, made.walk.verdict.index, other.raw, leaf=False)

    assert _ids(made.office.audit(since=since)) == {"edited-record", "rewritten-log"}
    _replace(made.office, made.walk.verdict.index, other.raw)
    assert _ids(made.office.audit(since=since)) >= {"rewritten-log", "wrong-record-id"}


@pytest.mark.parametrize("how", ["deleted", "another type", "another in its place"])
def test_an_audit_from_a_checkpoint_finds_a_hidden_roles_statement_and_who_signed_since(
    made: Released, how: str
) -> None:
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)
    since = made.office.audit().checkpoint
    last = made.office.store.size() - 1
    if how == "another type":
        _sql(made.office, "UPDATE records SET type_id = 77 WHERE idx = ?", [last])
    else:
        _sql(made.office, "DELETE FROM records WHERE idx = ?", [last])
    if how == "another in its place":  # so that the number of roles statements is right
        _sql(made.office, "INSERT INTO records SELECT * FROM records WHERE idx = 3")
    index = _logged(made.office, _revocation_by("ada", "ada"))

    for report in (made.office.audit(since=since), made.office.audit()):
        found = [item for item in report.findings if item.id == "unauthorized-signer"]
        assert [item.index for item in found] == [index], report.findings
        assert "ada may not sign as releaser or approver at ledger index" in found[0].message
        told = [item.message for item in report.findings if item.id == "edited-derived-table"]
        assert any("roles statements and root versions, the index tables show" in item for item in told)


def test_plans_drawn_together_from_one_state_are_no_finding_even_across_an_audit(made: Released) -> None:
    drawn = offices.drawn_again(made.sample, made.walk.plan.record)
    records = [
        drawn.model_copy(update={"planned_at": made.sample.clock.advance(minutes=1)}) for _ in range(3)
    ]
    subjects = made.walk.plan.statement.subjects
    made.sample.record(Kind.PLAN, records[0], subjects)
    made.sample.record(Kind.PLAN, records[1], subjects)
    since = made.office.audit().checkpoint
    made.sample.record(Kind.PLAN, records[2], subjects)

    assert made.office.audit(since=since).whole
    assert made.office.audit().whole
    offices.add_base(made.sample, "in between")
    again = records[2].model_copy(update={"planned_at": made.sample.clock.advance(minutes=1)})
    late = made.sample.record(Kind.PLAN, again, subjects)
    for report in (made.office.audit(since=since), made.office.audit()):
        assert [(item.id, item.index) for item in report.findings] == [("stale-head", late.index)]


def test_an_audit_from_a_checkpoint_knows_the_moments_before_it(made: Released) -> None:
    since = made.office.audit().checkpoint
    made.sample.clock.advance(days=-2)
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    (finding,) = made.office.audit(since=since).findings

    assert finding.id == "dated-back"
    assert "is dated 2026-02-28" in finding.message


def test_clocks_a_few_hours_apart_are_no_finding(made: Released) -> None:
    made.sample.clock.advance(hours=-20)
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    assert made.office.audit().whole


def test_an_audit_from_a_checkpoint_that_the_log_does_not_continue_says_so(made: Released) -> None:
    since = made.office.audit().checkpoint
    _truncate(made.office, made.walk.verdict.index)
    report = made.office.audit(since=since)
    assert "truncated-log" in _ids(report)

    _grow(made, 8)
    report = made.office.audit(since=since)
    assert "rewritten-log" in _ids(report)
    assert report.start == 0


def test_a_checkpoint_of_another_log_is_nothing_to_go_on_from(made: Released) -> None:
    note = sign_checkpoint(made.office.settings.origin, 3, bytes(32), signer_named("eve")).note

    with pytest.raises(UsageError, match="not one of this log"):
        made.office.audit(since=note)


def test_an_older_checkpoint_kept_elsewhere_is_held_against_stored_hashes(made: Released) -> None:
    notes = [note for _, note in made.office.store.checkpoint_notes()]
    since = made.office.audit().checkpoint
    _grow(made)

    assert made.office.audit([notes[4]], since=since).whole
    forged = sign_checkpoint(made.office.settings.origin, 5, bytes(32), made.office.signer(LOG_KEY)).note
    assert "forked-log" in _ids(made.office.audit([forged], since=since))


@pytest.fixture
def large(made: Released, monkeypatch: pytest.MonkeyPatch) -> Released:
    """Stretches of 256 records, so that a log of a thousand has several."""
    monkeypatch.setattr(audit_run, "PART_RECORDS", 256)
    monkeypatch.setattr(audit_run, "_PARALLEL_FROM", 300)
    drawn = offices.drawn_again(made.sample, made.walk.plan.record)
    envelopes = [
        sign_record(
            Kind.PLAN,
            drawn.model_copy(
                update={
                    "planned_at": offices.START.replace(microsecond=0, minute=n % 60, hour=n // 60),
                }
            ),
            made.walk.plan.statement.subjects,
            made.sample.evaluator,
        )
        for n in range(600)
    ]
    made.office.store.append(envelopes, made.office.signer(LOG_KEY))
    return made


@pytest.mark.parametrize("workers", [1, 2])
def test_stretches_and_processes_make_no_difference(large: Released, workers: int) -> None:
    kept = large.office.store.latest_checkpoint() or ""
    heard = Heard()
    report = large.office.audit([kept], workers=workers, progress=heard)

    assert report.whole, report.findings[:3]
    assert report.root == large.office.reader().head().root
    assert heard.done["records"] == report.records > 600
    _replace(large.office, 500, b"not an envelope")
    report = large.office.audit([kept], workers=workers)
    assert {"edited-record", "rewritten-log", "forked-log"} <= _ids(report)


class Heard(NullProgress):
    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    def advance(self, step: str, count: int = 1) -> None:
        self.done[step] = self.done.get(step, 0) + count


@pytest.mark.parametrize(
    "statement", ["UPDATE tiles SET root = 'x'::BLOB WHERE idx = 1", "DELETE FROM tiles"]
)
def test_edited_tiles_are_found_and_made_again(large: Released, statement: str) -> None:
    _sql(large.office, statement)

    assert _ids(large.office.audit(workers=1)) >= {"edited-derived-table"}
    with pytest.raises(IntegrityError):
        _grow(large)
    large.office.store.rebuild()
    assert large.office.audit(workers=1).whole
    _grow(large)


def test_hundreds_of_findings_of_a_kind_are_counted_not_listed(large: Released) -> None:
    _sql(large.office, "UPDATE records SET suite = 'x'")

    report = large.office.audit(workers=1)

    assert len(report.findings) == 101
    assert "more of this kind" in report.findings[-1].message


def test_an_audit_of_part_says_what_it_did_not_look_at(made: Released) -> None:
    report = made.office.audit(scope=Scope(signatures=True, derived=False, meaning=False))
    assert report.whole
    assert sum("not looked at" in line for line in report.blind) == 2
    _sql(made.office, "UPDATE records SET suite = 'x' WHERE idx = 9")
    assert made.office.audit(scope=Scope(derived=False)).whole


def test_every_kind_of_finding_is_explained() -> None:
    folder = Path(audit_run.__file__).parent
    source = "".join(path.read_text() for path in (*folder.glob("*.py"), folder.parent / "evidence.py"))
    named = set(re.findall(r'(?:add|refuse|Objection)\(\s*"([a-z-]+)"', source))

    assert named
    assert named == set(MEANINGS)


def test_a_record_filed_where_nobody_would_look_is_found(made: Released) -> None:
    """A rejection that does not name the adapter among its subjects: the desk would not find it."""
    record = offices.reject(made.sample, made.walk.ref, "ben").record
    hidden = sign_record(
        Kind.REVIEW,
        record.model_copy(update={"comment": "hidden"}),
        (Subject("nothing", digest_bytes(b"nothing")),),
        made.sample.signers["ben"],
    )

    _found(made.office, "misfiled-record", _logged(made.office, hidden))
