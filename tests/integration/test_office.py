from __future__ import annotations

import errno
import json
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.attest.predicates import Kind, Role
from placet.attest.statement import Subject
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import (
    IntegrityError,
    KeyAccessError,
    LedgerBusyError,
    NotAuthorizedError,
    RefusedError,
    StorageError,
    UsageError,
)
from placet.domain.records import Base, Decision, Outcome, ReviewDecision, Revocation, Verdict
from placet.ledger.store import DuckStore
from placet.office import (
    EVALUATOR_KEY,
    LOG_KEY,
    ROOT_KEY,
    Office,
    TrustDesk,
    create_office,
    creation,
    root_files,
)
from placet.release.desk import is_revoked
from placet.review import desk as review_desk
from tests.support import offices
from tests.support.offices import PASSPHRASE, Released, released_office, signer_named


def _ask(_: str) -> str:
    return PASSPHRASE


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _create(home: Path, name: str = "ACME models") -> Office:
    return create_office(home, name, ask=_ask, clock=offices.FixedClock())


# --- making one --------------------------------------------------------------------------------------------


def test_a_new_office_has_roles_keys_a_log_and_a_pinned_root(tmp_path: Path) -> None:
    office = _create(tmp_path / "office")

    assert office.settings.root_pin == office.root.pin
    assert office.settings.origin == "placet.dev/acme-models"
    assert [(key.roles, key.file) for key in TrustDesk(office).list_keys()] == [
        (("log",), "log"),
        (("evaluator",), "evaluator"),
    ]
    report = office.audit()
    assert report.whole
    assert report.records == 1
    for name in (ROOT_KEY, LOG_KEY, EVALUATOR_KEY):
        assert stat.S_IMODE((office.home / "keys" / f"{name}.pem").stat().st_mode) == 0o600


def test_an_office_opens_again_with_the_same_root(tmp_path: Path) -> None:
    made = _create(tmp_path / "office")

    opened = Office.open(tmp_path / "office", ask=_ask)

    assert opened.root == made.root
    assert opened.reader().head() == made.reader().head()


def test_an_office_is_not_made_twice(tmp_path: Path) -> None:
    before = _create(tmp_path / "office").root

    with pytest.raises(UsageError, match="is an office already"):
        _create(tmp_path / "office")
    assert Office.open(tmp_path / "office").root == before


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 81, " padded", "cafe\u0301", "\u202eemca"])
def test_an_office_needs_a_usable_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="needs a name"):
        _create(tmp_path / "office", name)
    assert not (tmp_path / "office" / "office.json").exists()


@pytest.mark.parametrize("passphrase", ["", "short"])
def test_an_office_needs_a_passphrase(tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(KeyAccessError):
        create_office(tmp_path / "office", "ACME", ask=lambda _: passphrase)


@pytest.mark.parametrize("step", ["save_key", "write_whole", "DuckStore"])
@pytest.mark.parametrize("call", [0, 1])
def test_making_an_office_can_be_repeated_after_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: int
) -> None:
    real, calls = getattr(creation, step), []

    def killed(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > call:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    for module in (creation, root_files):
        if hasattr(module, step):
            monkeypatch.setattr(module, step, killed)
    try:
        _create(tmp_path / "office")
    except KeyboardInterrupt:
        monkeypatch.undo()
        office = _create(tmp_path / "office")
    else:
        monkeypatch.undo()
        office = Office.open(tmp_path / "office", ask=_ask)

    assert office.audit().whole
    assert office.audit().records == 1
    offices.add_base(offices.SampleOffice(office, offices.FixedClock()))
    assert Office.open(tmp_path / "office", ask=_ask).audit().whole


def test_a_folder_that_is_no_office_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no office at") as caught:
        Office.open(tmp_path)
    assert "placet init" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("office.json", b""),
        ("office.json", b"{}"),
        ("office.json", b'{"name": "x"}'),
        ("trust/1.root.json", b""),
        ("trust/1.root.json", b"{}"),
    ],
)
def test_an_office_with_altered_settings_or_root_does_not_open(
    made: Released, file: str, content: bytes
) -> None:
    (made.office.home / file).write_bytes(content)

    with pytest.raises(IntegrityError) as caught:
        Office.open(made.office.home)
    assert caught.value.hint


def test_an_origin_that_was_altered_does_not_continue_the_log(made: Released) -> None:
    path = made.office.home / "office.json"
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | {"origin": "placet.dev/other"}))
    office = Office.open(made.office.home, ask=_ask)

    with pytest.raises(IntegrityError):
        offices.add_base(offices.SampleOffice(office, offices.FixedClock()), "x")
    assert not office.audit().whole


# --- keys and people ---------------------------------------------------------------------------------------


def test_a_new_key_gets_its_roles_from_the_next_index_on(made: Released) -> None:
    size = len(made.office.store.entries())

    info = TrustDesk(made.office).new_key("cleo-laptop", "cleo", (Role.APPROVER, Role.RELEASER))

    assert (info.person, info.roles, info.valid_from, info.valid_until, info.file) == (
        "cleo",
        ("approver", "releaser"),
        size,
        None,
        "cleo-laptop",
    )
    fresh = Office.open(made.office.home, ask=_ask)
    assert fresh.signer("cleo-laptop").public.key_id == info.key_id
    assert info in TrustDesk(fresh).list_keys()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a b", "a\n", "-", "a\0"])
def test_a_key_needs_a_name_that_is_a_plain_file_name(made: Released, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a key"):
        TrustDesk(made.office).new_key(name, "cleo", (Role.APPROVER,))


@pytest.mark.parametrize("person", ["", " ", "ada ", "ada\n", "a\u200bda", "Ada\ufe0f", "Ada  Lovelace"])
def test_a_person_needs_one_visible_name(made: Released, person: str) -> None:
    before = len(made.office.store.entries())

    with pytest.raises(UsageError, match="cannot name a person"):
        TrustDesk(made.office).new_key("k", person, (Role.APPROVER,))
    with pytest.raises(UsageError, match="cannot name a person"):
        TrustDesk(made.office).grant(signer_named("k").public, person, (Role.APPROVER,))
    assert len(made.office.store.entries()) == before
    assert not (made.office.home / "keys" / "k.pem").exists()


@pytest.mark.parametrize("roles", [(), (Role.ROOT,), (Role.APPROVER, Role.ROOT)])
def test_nobody_is_granted_nothing_or_root(made: Released, roles: tuple[Role, ...]) -> None:
    with pytest.raises(UsageError, match="name at least one role, and not root"):
        TrustDesk(made.office).new_key("cleo", "cleo", roles)
    with pytest.raises(UsageError, match="name at least one role, and not root"):
        TrustDesk(made.office).grant(signer_named("cleo").public, "cleo", roles)


@pytest.mark.parametrize("name", ["ada", ROOT_KEY, LOG_KEY, EVALUATOR_KEY])
def test_a_key_that_is_in_use_is_not_taken_for_another_person(made: Released, name: str) -> None:
    before = (made.office.home / "keys" / f"{name}.pem").read_bytes()

    with pytest.raises(KeyAccessError, match="exists already"):
        TrustDesk(made.office).new_key(name, "eve", (Role.APPROVER,))
    assert (made.office.home / "keys" / f"{name}.pem").read_bytes() == before


def test_one_key_is_not_granted_to_two_people(made: Released) -> None:
    size = len(made.office.store.entries())

    with pytest.raises(IntegrityError, match="one key is granted to two people, ada and eve") as caught:
        TrustDesk(made.office).grant(signer_named("ada").public, "eve", (Role.APPROVER,))
    assert "a key of their own" in caught.value.hint
    assert len(made.office.store.entries()) == size
    assert made.office.audit().whole


def test_the_root_key_gets_no_other_role(made: Released) -> None:
    with pytest.raises(IntegrityError, match="root key"):
        TrustDesk(made.office).grant(made.office.signer(ROOT_KEY).public, "eve", (Role.APPROVER,))
    assert made.office.audit().whole


def test_a_key_whose_making_was_interrupted_can_be_made_again(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrustDesk, "grant", killed)
    with pytest.raises(KeyboardInterrupt):
        TrustDesk(made.office).new_key("cleo", "cleo", (Role.APPROVER,))
    monkeypatch.undo()
    (made.office.home / "keys" / "cleo.pem.pub").unlink()

    info = TrustDesk(made.office).new_key("cleo", "cleo", (Role.APPROVER,))

    assert made.office.signer("cleo").public.key_id == info.key_id
    assert info.file == "cleo"


def test_an_ended_key_signs_nothing_more_and_what_it_signed_stays(made: Released) -> None:
    key_id = signer_named("ada").public.key_id

    assert TrustDesk(made.office).end_grants(key_id) == 1

    with pytest.raises(NotAuthorizedError, match="the key of ada may not sign as approver at ledger index"):
        offices.approve(made.sample, made.walk.ref, "ada", "after")
    assert made.office.audit().whole
    assert {r.person for r in review_desk.load_case(made.office.reader(), made.walk.ref.id).reviews} == {
        "ada",
        "ben",
    }


def test_a_key_without_a_grant_cannot_be_ended(made: Released) -> None:
    key_id = signer_named("ada").public.key_id
    TrustDesk(made.office).end_grants(key_id)
    size = len(made.office.store.entries())

    for unknown in (key_id, signer_named("stranger").public.key_id, "sha256:x"):
        with pytest.raises(UsageError, match="holds no role now"):
            TrustDesk(made.office).end_grants(unknown)
    assert len(made.office.store.entries()) == size


def test_a_wrong_passphrase_is_said_and_appends_nothing(made: Released) -> None:
    office = Office.open(made.office.home, ask=lambda _: "wrong passphrase")

    with pytest.raises(KeyAccessError, match="wrong passphrase"):
        offices.add_base(offices.SampleOffice(office, offices.FixedClock()), "x")
    with pytest.raises(KeyAccessError, match=r"no key file .*nobody\.pem"):
        office.signer("nobody")


def test_passphrases_come_from_the_environment(made: Released, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACET_PASSPHRASE", "wrong passphrase")
    monkeypatch.setenv("PLACET_PASSPHRASE_ADA", PASSPHRASE)
    office = Office.open(made.office.home)

    assert office.signer("ada").public == signer_named("ada").public
    with pytest.raises(KeyAccessError, match="wrong passphrase"):
        office.signer("ben")


# --- records -----------------------------------------------------------------------------------------------


def test_a_record_by_somebody_without_the_role_is_not_appended(made: Released) -> None:
    before = made.office.store.snapshot()
    base = Base.from_json(made.office.reader().find(Kind.BASE, Base)[0].record.to_json() | {"license": "MIT"})

    with pytest.raises(NotAuthorizedError, match="the key of sam may not sign as evaluator"):
        made.office.record(Kind.BASE, base, (Subject("x", base.ref.id),), signer_named("sam"))
    with pytest.raises(NotAuthorizedError, match="is not one of office"):
        made.office.record(Kind.BASE, base, (Subject("x", base.ref.id),), signer_named("eve"))
    assert made.office.store.snapshot() == before


def test_the_same_record_again_is_the_record_there_is(made: Released) -> None:
    walk = made.walk

    again = made.office.append([walk.verdict.envelope, walk.plan.envelope])

    assert [item.index for item in again] == [walk.verdict.index, walk.plan.index]
    assert again[0] == walk.verdict


def test_reading_raises_when_a_record_was_edited(made: Released) -> None:
    import duckdb

    with duckdb.connect(str(made.office.store.path)) as db:
        raw = made.walk.plan.envelope.raw
        db.execute("UPDATE entries SET envelope = ? WHERE idx = ?", [raw, made.walk.verdict.index])

    with pytest.raises(IntegrityError, match="was edited in the ledger file"):
        made.office.reader().find(Kind.VERDICT, Verdict)
    with pytest.raises(IntegrityError, match="was edited in the ledger file"):
        made.office.reader().everything()


def test_a_record_is_not_read_as_another_kind(made: Released) -> None:
    reader = made.office.reader()

    assert reader.get(made.walk.verdict.id, Kind.VERDICT, Verdict) == made.walk.verdict
    with pytest.raises(IntegrityError, match="is a verdict record, not base"):
        reader.get(made.walk.verdict.id, Kind.BASE, Base)
    with pytest.raises(IntegrityError, match="the log has no record"):
        reader.get(digest_bytes(b"nothing"), Kind.VERDICT, Verdict)


def test_a_busy_ledger_says_so_and_adds_nothing(made: Released, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any, **__: Any) -> Any:
        raise LedgerBusyError("held by process 7", hint="wait")

    monkeypatch.setattr(DuckStore, "append", busy)
    with pytest.raises(LedgerBusyError):
        offices.add_base(made.sample, "x")


@pytest.mark.parametrize("call", range(5))
def test_a_full_disk_is_said_and_making_the_office_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > call:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="cannot be written: No space left on device"):
        _create(tmp_path / "office")
    monkeypatch.undo()

    assert not (tmp_path / "office" / "office.json").exists()
    assert _create(tmp_path / "office").audit().whole


# --- the review desk ---------------------------------------------------------------------------------------


def test_a_decision_names_all_that_the_person_saw_and_lapses(made: Released) -> None:
    verdict = made.walk.verdict.record
    offices.add_person(made.sample, "cleo", Role.APPROVER)

    review = offices.approve(made.sample, made.walk.ref, "cleo", "  fine  ")

    record = review.record
    assert (record.adapter, record.base, record.policy) == (verdict.adapter, verdict.base, verdict.policy)
    assert (record.verdict, record.evidence) == (made.walk.verdict.id, verdict.evidence)
    assert record.head.size == review.index
    assert record.comment == "fine"
    assert record.expires_at - record.reviewed_at == timedelta(days=verdict.review.valid_days)


@pytest.mark.parametrize("person", ["sam", "tara"])
def test_whoever_had_a_part_is_told_before_signing(made: Released, person: str) -> None:
    TrustDesk(made.office).grant(signer_named(person).public, person, (Role.APPROVER,))
    size = len(made.office.store.entries())

    with pytest.raises(NotAuthorizedError, match=f"{person} .* and may not decide about it"):
        offices.approve(made.sample, made.walk.ref, person)
    assert len(made.office.store.entries()) == size


def test_handing_in_the_same_weights_by_somebody_else_clears_nobody(made: Released) -> None:
    TrustDesk(made.office).grant(signer_named("sam").public, "sam", (Role.APPROVER,))
    offices.add_person(made.sample, "pat", Role.SUBMITTER)
    made.sample.clock.advance(minutes=1)
    offices.add_submission(made.sample, made.walk.adapter, made.walk.base, signer="pat")

    with pytest.raises(NotAuthorizedError, match="sam submitted it"):
        offices.approve(made.sample, made.walk.ref, "sam")


def test_whoever_trained_a_parent_may_not_approve_the_child(made: Released) -> None:
    tom = offices.add_person(made.sample, "tom", Role.TRAINER, Role.APPROVER)
    parent, child = (offices.make_adapter(made.sample, name) for name in ("parent", "child"))
    offices.add_training(made.sample, parent, made.walk.base, signer=tom)
    offices.add_training(made.sample, child, made.walk.base, parent=parent.ref)
    offices.add_submission(made.sample, child, made.walk.base)
    plan = offices.add_plan(made.sample, child.ref, made.walk.base)
    offices.add_verdict(made.sample, plan, evidence=[plan.id])

    with pytest.raises(NotAuthorizedError, match="tom trained it"):
        offices.approve(made.sample, child.ref, "tom")


@pytest.mark.parametrize("comment", ["", "  ", "\n"])
def test_a_decision_needs_reasons(made: Released, comment: str) -> None:
    with pytest.raises(UsageError, match="a decision needs reasons"):
        offices.approve(made.sample, made.walk.ref, "ada", comment)


def test_a_verdict_that_changed_while_it_was_looked_at_is_not_signed_for(made: Released) -> None:
    with pytest.raises(UsageError, match="changed while you looked"):
        review_desk.review(
            made.office,
            made.walk.ref.id,
            ReviewDecision.APPROVE,
            "fine",
            signer_named("ada"),
            seen_verdict=digest_bytes(b"another"),
        )


def test_a_denied_adapter_can_be_rejected_but_not_approved(made: Released) -> None:
    failed = offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})
    walk = offices.decide_again(made, Decision.DENY, gates=[failed])

    with pytest.raises(RefusedError, match="denied adapter cannot be approved"):
        offices.approve(made.sample, walk.ref, "ada")
    assert offices.reject(made.sample, walk.ref, "ada").record.decision is ReviewDecision.REJECT


def test_an_unknown_adapter_or_one_without_a_verdict_is_said(made: Released) -> None:
    with pytest.raises(UsageError, match=r"no adapter .* was submitted"):
        review_desk.load_case(made.office.reader(), digest_bytes(b"nothing"))
    adapter = offices.make_adapter(made.sample, "new")
    offices.add_submission(made.sample, adapter, made.walk.base)
    with pytest.raises(UsageError, match="has no verdict yet") as caught:
        review_desk.load_case(made.office.reader(), adapter.ref.id)
    assert "placet gate" in caught.value.hint


def test_a_waiver_is_for_one_inconclusive_waivable_gate_with_a_reason_and_a_term(made: Released) -> None:
    unwaivable = offices.inconclusive_gate("strict", waivable=False)
    gates = [offices.passing_gate(), offices.inconclusive_gate(), unwaivable]
    walk, sample = offices.decide_again(made, Decision.NEEDS_REVIEW, gates=gates), made.sample

    def waive(
        gate: str = "general", reason: str = "small sample", days: int = 30, person: str = "ada"
    ) -> Any:
        return review_desk.waive(sample.office, walk.ref.id, gate, reason, days, sample.signers[person])

    for bad, why in (
        ({"gate": "unknown"}, "no gate 'unknown'"),
        ({"gate": "job"}, "is PASS, not INCONCLUSIVE"),
        ({"gate": "strict"}, "lets nobody waive"),
        ({"reason": " "}, "needs a reason and a term"),
        ({"days": 0}, "needs a reason and a term"),
        ({"days": 91}, "needs a reason and a term"),
    ):
        with pytest.raises(UsageError, match=why):
            waive(**bad)  # type: ignore[arg-type]
    with pytest.raises(NotAuthorizedError, match="may not sign as approver"):
        waive(person="rhea")
    assert waive().record.gate == "general"


# --- revocation --------------------------------------------------------------------------------------------


def _revoke(made: Released, target: Any, kind: str = "adapter", person: str = "ben") -> Any:
    return review_desk.revoke(made.office, target, kind, "x", "it leaks", made.sample.signers[person])


def test_a_revocation_is_signed_with_a_reason_by_somebody_who_may(made: Released) -> None:
    revoked = _revoke(made, made.walk.ref.id)

    assert isinstance(revoked.record, Revocation)
    assert revoked.record.revoked_by == revoked.person == "ben"
    assert is_revoked(made.office.reader(), [made.walk.ref.id]) == revoked
    with pytest.raises(NotAuthorizedError, match="may not sign as releaser or approver"):
        _revoke(made, made.walk.base.id, "base", "sam")
    with pytest.raises(UsageError, match="needs a reason"):
        review_desk.revoke(made.office, made.walk.base.id, "base", "x", " ", made.sample.signers["ben"])


@pytest.mark.parametrize(
    "what",
    [
        "adapter",
        "weights",
        "base",
        "verdict",
        "plan",
        "submission",
        "training",
        "measurement",
        "intake",
        "review",
    ],
)
def test_what_was_revoked_in_any_part_is_not_released_again(made: Released, what: str) -> None:
    walk = made.walk
    reviews = review_desk.load_case(made.office.reader(), walk.ref.id).reviews
    target = {
        "adapter": walk.ref.id,
        "weights": walk.ref.weights_id,
        "base": walk.base.id,
        "verdict": walk.verdict.id,
        "plan": walk.plan.id,
        "submission": walk.submission.id,
        "training": walk.training.id,
        "measurement": walk.measurements[0].id,
        "intake": walk.intake.id,
        "review": reviews[0].id,
    }[what]
    _revoke(made, target, {"adapter": "adapter", "weights": "adapter", "base": "base"}.get(what, "record"))

    with pytest.raises(RefusedError, match="was revoked: it leaks") as caught:
        offices.release(made.sample, walk.ref, "production")
    assert "never released again" in caught.value.hint
