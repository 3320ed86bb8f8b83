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
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import IntegrityError
from placet.ledger.audit import Scope
from placet.ledger.audit import run as audit_run
from placet.ledger.audit.report import MEANINGS
from placet.ledger.checkpoint import sign_checkpoint
from placet.ledger.merkle import leaf_hash, tree_root
from placet.ledger.store import DuckStore
from placet.office import LOG_KEY, ROOT_KEY, Office, TrustDesk
from tests.support import offices
from tests.support.audits import finding_ids, require_found
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

    require_found(made.office, "edited-record", index)


def test_an_edited_row_with_its_hash_recomputed(made: Released) -> None:
    value = json.loads(made.walk.verdict.envelope.raw)
    signature = value["signatures"][0]["sig"]
    value["signatures"][0]["sig"] = ("B" if signature[0] == "A" else "A") + signature[1:]
    _replace(made.office, made.walk.verdict.index, canonical_json(value))

    require_found(made.office, "rewritten-log")
    require_found(made.office, "bad-signature", made.walk.verdict.index)


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

    require_found(made.office, "unauthorized-signer", made.walk.verdict.index)
    require_found(made.office, "missing-evidence")


@pytest.mark.parametrize("index", [0, 8, 14])
def test_a_deleted_row(made: Released, index: int) -> None:
    _sql(made.office, "DELETE FROM entries WHERE idx = ?", [index])

    require_found(made.office, "deleted-record", index)


def test_a_deleted_row_with_the_later_ones_renumbered(made: Released) -> None:
    _delete_and_renumber(made.office, made.walk.measurements[1].index)

    require_found(made.office, "rewritten-log")
    require_found(made.office, "missing-evidence")


def test_rows_in_another_order(made: Released) -> None:
    one, two = made.walk.measurements[0].index, made.walk.measurements[1].index
    for table in ("entries", "records"):
        for source, target in ((one, 10_000), (two, one), (10_000, two)):
            _sql(made.office, f"UPDATE {table} SET idx = ? WHERE idx = ?", [target, source])

    require_found(made.office, "rewritten-log")


def test_two_valid_envelopes_swapped(made: Released) -> None:
    one, two = made.walk.measurements[0], made.walk.measurements[1]
    _replace(made.office, one.index, two.envelope.raw)
    _replace(made.office, two.index, one.envelope.raw)

    require_found(made.office, "rewritten-log")
    require_found(made.office, "wrong-record-id", one.index)


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

    require_found(made.office, "doubled-record", size)
    require_found(made.office, "wrong-record-id", size)


def test_a_row_added_behind_the_last_checkpoint(made: Released) -> None:
    size = len(made.office.store.entries())
    envelope = _revocation_by("ada", "ada")
    _sql(
        made.office,
        "INSERT INTO entries VALUES (?, ?, ?, ?)",
        [size, envelope.record_id, leaf_hash(envelope.raw), envelope.raw],
    )
    made.office.store.rebuild()

    require_found(made.office, "unsigned-tail")


def test_a_row_that_is_no_envelope(made: Released) -> None:
    _replace(made.office, 5, b"not an envelope")

    require_found(made.office, "edited-record", 5)


# --- cut, put back, regrown --------------------------------------------------------------------------------


def test_a_log_cut_short_under_its_last_checkpoint(made: Released) -> None:
    size = len(made.office.store.entries())
    for table in ("entries", "records", "subjects"):
        _sql(made.office, f"DELETE FROM {table} WHERE idx >= ?", [size - 2])

    require_found(made.office, "truncated-log")


def test_a_log_cut_short_with_its_checkpoints_is_found_by_one_kept_elsewhere(made: Released) -> None:
    kept = made.office.store.latest_checkpoint() or ""
    _truncate(made.office, made.released.index)

    assert made.office.audit().whole  # and that is what `blind` says
    require_found(made.office, "truncated-log", outside=[kept])


def test_an_old_file_put_back_is_found_by_a_checkpoint_kept_elsewhere(made: Released, tmp_path: Path) -> None:
    shutil.copy(made.office.store.path, tmp_path / "old")
    offices.walk_to_verdict(made.sample, "later", base=made.walk.base)
    kept = made.office.store.latest_checkpoint() or ""
    shutil.copy(tmp_path / "old", made.office.store.path)

    assert made.office.audit().whole
    require_found(made.office, "truncated-log", outside=[kept])


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
    require_found(made.office, "forked-log", outside=[kept])


def test_a_fork_of_the_same_size_is_found_by_a_checkpoint_kept_elsewhere(made: Released) -> None:
    kept = made.office.store.latest_checkpoint() or ""
    _truncate(made.office, made.released.index)
    _logged(made.office, _revocation_by("ada", "ada"))

    assert f"\n{made.released.index + 1}\n" in kept
    require_found(made.office, "forked-log", outside=[kept])


def test_a_rejection_cut_out_of_history_is_found_by_what_later_reviewers_signed(made: Released) -> None:
    offices.decide_again(made)
    rejection = offices.reject(made.sample, made.walk.ref, "ben")
    offices.approve(made.sample, made.walk.ref, "ada")
    _delete_and_renumber(made.office, rejection.index)
    _resign(made.office)  # with the log's real key, so that no checkpoint of its own shows it
    made.office.store.rebuild()

    report = made.office.audit()

    assert finding_ids(report) == {"foreign-head"}
    assert "review by ada" in report.findings[0].message


def test_the_checkpoint_of_another_log_is_not_taken_for_one_of_this(made: Released) -> None:
    note = sign_checkpoint(made.office.settings.origin, 3, bytes(32), signer_named("another log")).note

    require_found(made.office, "foreign-checkpoint", outside=[note])
    require_found(made.office, "foreign-checkpoint", outside=["not a note"])


# --- checkpoints -------------------------------------------------------------------------------------------


def test_a_checkpoint_signed_by_another_key(made: Released) -> None:
    leaves = [entry.leaf for entry in made.office.store.entries()]
    forged = sign_checkpoint(made.office.settings.origin, 5, tree_root(leaves[:5]), signer_named("eve")).note
    _sql(made.office, "UPDATE checkpoints SET note = ? WHERE size = 5", [forged])

    require_found(made.office, "forged-checkpoint")


def test_a_checkpoint_filed_under_another_size(made: Released) -> None:
    _sql(made.office, "UPDATE checkpoints SET size = 1000 WHERE size = 5")

    require_found(made.office, "forged-checkpoint")


def test_checkpoints_taken_away(made: Released) -> None:
    _sql(made.office, "DELETE FROM checkpoints WHERE size > 10")

    require_found(made.office, "unsigned-tail")
    _sql(made.office, "DELETE FROM checkpoints")
    require_found(made.office, "unsigned-tail")


# --- signers and roles -------------------------------------------------------------------------------------


def test_a_record_of_a_stranger_logged_by_the_operator(made: Released) -> None:
    require_found(made.office, "unauthorized-signer", _logged(made.office, _revocation_by("eve", "eve")))


def test_a_record_of_somebody_without_the_role(made: Released) -> None:
    require_found(made.office, "unauthorized-signer", _logged(made.office, _revocation_by("sam", "sam")))


def test_a_record_of_a_key_that_was_ended(made: Released) -> None:
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)

    require_found(made.office, "unauthorized-signer", _logged(made.office, _revocation_by("ada", "ada")))


def test_a_record_of_a_key_from_before_it_was_granted(made: Released) -> None:
    index = _logged(made.office, _revocation_by("cleo", "cleo"))
    offices.add_person(made.sample, "cleo", Role.APPROVER)

    require_found(made.office, "unauthorized-signer", index)


def test_a_forged_signature_under_a_real_name(made: Released) -> None:
    mine = _revocation_by("eve", "ada")
    value = json.loads(mine.raw)
    value["signatures"][0]["keyid"] = signer_named("ada").public.key_id.removeprefix("sha256:")
    raw = canonical_json(value)
    index = _logged(
        made.office, Envelope(mine.payload, signer_named("ada").public.key_id, mine.signature, raw)
    )

    require_found(made.office, "bad-signature", index)


def test_a_signed_record_that_is_malformed(made: Released) -> None:
    statement = build_statement(
        "https://placet.dev/revocation/v1", (Subject("x", digest_bytes(b"x")),), {"target": "everything"}
    )

    require_found(
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

    require_found(made.office, "untrusted-roles")
    with pytest.raises(IntegrityError):
        made.office.reader()


def test_roles_signed_by_somebody_else(made: Released) -> None:
    roles = made.office.reader().trust.roles
    eve = signer_named("eve")
    _log_roles(made.office, roles.model_copy(update={"version": roles.version + 1}), eve)

    require_found(made.office, "untrusted-roles")


def test_another_root_in_the_roots_place(made: Released) -> None:
    eve, expires = signer_named("eve"), made.office.root.current.expires
    impostor = new_root(made.office.root.office, [RootKey(eve.public, "eve")], [eve], expires=expires)
    (made.office.home / "trust" / "1.root.json").write_bytes(impostor.current.raw)

    with pytest.raises(IntegrityError, match="not the pinned"):
        Office.open(made.office.home)
    settings = json.loads((made.office.home / "office.json").read_bytes()) | {"rootPin": impostor.pin}
    (made.office.home / "office.json").write_bytes(canonical_json(settings))
    require_found(Office.open(made.office.home), "untrusted-roles")


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

    require_found(made.office, "edited-derived-table")
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

    require_found(made.office, "edited-derived-table", last)
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


# --- the audit itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize("long", [False, True])
def test_an_audit_beside_a_growing_log_raises_no_false_alarm(
    made: Released, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    if long:
        monkeypatch.setattr(audit_run, "_PARALLEL_FROM", 1)
    # Between any two reads of the audit somebody appends.
    real = DuckStore._reading

    def reading(self: DuckStore) -> Any:
        if growing:
            growing.pop()
            offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
        return real(self)

    growing = [1, 2, 3, 4]
    monkeypatch.setattr(DuckStore, "_reading", reading)

    assert made.office.audit(workers=1).whole
    assert not growing


@pytest.mark.parametrize("long", [False, True])
def test_only_a_short_audit_keeps_those_waiting_who_append(
    made: Released, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    if long:
        monkeypatch.setattr(audit_run, "_PARALLEL_FROM", 1)
    opened: list[Any] = []
    real = DuckStore._open

    def counted(self: DuckStore, *arguments: Any, **options: Any) -> Any:
        opened.append(options)
        return real(self, *arguments, **options)

    monkeypatch.setattr(DuckStore, "_open", counted)

    assert made.office.audit(workers=1).whole
    assert len(opened) == 1 if not long else len(opened) > 4


def test_each_finding_names_the_record_it_shows_at(made: Released) -> None:
    _replace(made.office, 5, b"x")

    report = made.office.audit()

    assert "edited-record" in finding_ids(report)
    assert all(finding.index is None or f"{finding.index}" in finding.message for finding in report.findings)


def test_an_audit_of_part_says_what_it_did_not_look_at(made: Released) -> None:
    report = made.office.audit(scope=Scope(signatures=True, derived=False, meaning=False))
    assert report.whole
    assert sum("not looked at" in line for line in report.blind) == 2
    _sql(made.office, "UPDATE records SET suite = 'x' WHERE idx = 9")
    assert made.office.audit(scope=Scope(derived=False)).whole


def test_every_kind_of_finding_is_explained() -> None:
    folder = Path(audit_run.__file__).parent
    source = "".join(path.read_text() for path in (*folder.glob("*.py"), folder.parent / "evidence.py"))
    named = set(re.findall(r'(?:add|Objection)\(\s*"([a-z-]+)"', source))

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

    require_found(made.office, "misfiled-record", _logged(made.office, hidden))
