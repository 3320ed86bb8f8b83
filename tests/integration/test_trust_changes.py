"""Keys come and go, the root changes hands, and everything that was signed before still verifies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.attest.keys import KeyKind, new_signer
from placet.attest.predicates import Kind, Role
from placet.attest.root import RootKey
from placet.attest.trust import roles_subjects, sign_record
from placet.domain.errors import IntegrityError, KeyAccessError, NotAuthorizedError, UsageError
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.office import EVALUATOR_KEY, LOG_KEY, ROOT_KEY, Office, TrustDesk, create_office, trust_desk
from placet.release import desk as release_desk
from placet.review import desk as review_desk
from placet.verify.verifier import VerificationError, verify_bundle
from tests.support import offices
from tests.support.offices import PASSPHRASE, Released, released_office, signer_named


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _ask(_: str) -> str:
    return PASSPHRASE


def _key(office: Office, name: str, kind: KeyKind = KeyKind.ED25519) -> Any:
    signer = new_signer(kind)
    office.keys.add(name, signer, PASSPHRASE)
    return signer


def _reopened(office: Office) -> Office:
    return Office.open(office.home, ask=_ask, clock=office.clock)


def _walk(made: Released, label: str) -> Path:
    return offices.walk_to_release(made.sample, label, base=made.walk.base)[2]


# --- the log's and the evaluator's keys ---------------------------------------------------------------------


def test_the_log_goes_on_under_a_new_key_and_every_checkpoint_verifies(made: Released) -> None:
    office = made.office
    old = office.signer(LOG_KEY).public
    new = _key(office, "log-2")

    (info,) = TrustDesk(office).rotate_key(old.key_id, new.public)
    bundle = _walk(made, "desk-next")

    assert (info.person, info.roles, info.file) == ("Sample office: log", ("log",), "log-2")
    assert office.signer(LOG_KEY).public == new.public
    assert office.audit().whole
    signed_by = {}
    trust = office.reader().trust
    for size, note in office.store.checkpoint_notes():
        assert verify_log_checkpoint(trust, note, office.settings.origin).size == size
        signed_by[size] = note
    for path in (bundle, made.bundle):
        verify_bundle(path, office.root.pin, now=made.sample.clock.now)


def test_the_logs_key_is_changed_again_and_again_by_the_same_name(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from placet.cli import app

    monkeypatch.setenv("PLACET_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("PLACET_HOME", str(made.office.home))
    for number in (2, 3, 4):
        for line in (["keys", "new", f"log-{number}"], ["trust", "rotate", "log", f"log-{number}"]):
            done = CliRunner().invoke(app, line, catch_exceptions=False)
            assert done.exit_code == 0, done.output

    office = _reopened(made.office)

    assert office.name_in_force("log") == "log-4"
    assert office.audit().whole


def test_an_office_opened_anew_signs_with_the_log_key_in_force(made: Released) -> None:
    new = _key(made.office, "log-2")
    TrustDesk(made.office).rotate_key(made.office.signer(LOG_KEY).public.key_id, new.public)

    again = _reopened(made.office)

    assert again.signer(LOG_KEY).public == new.public
    TrustDesk(again).new_key("cleo", "Cleo", (Role.APPROVER,))
    assert again.audit().whole


def test_a_process_that_had_the_old_log_key_open_takes_up_the_new_one(made: Released) -> None:
    other = _reopened(made.office)
    other.signer(LOG_KEY)
    new = _key(made.office, "log-2")
    TrustDesk(made.office).rotate_key(made.office.signer(LOG_KEY).public.key_id, new.public)

    TrustDesk(other).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))

    assert other.signer(LOG_KEY).public == new.public
    assert other.audit().whole


def test_the_old_log_key_signs_no_checkpoint_that_an_audit_takes(made: Released) -> None:
    old, new = made.office.signer(LOG_KEY), _key(made.office, "log-2")
    TrustDesk(made.office).rotate_key(old.public.key_id, new.public)
    review = made.office.reader().find(Kind.REVIEW, offices.Review)[0].record
    envelope = sign_record(
        Kind.REVIEW,
        review.model_copy(update={"comment": "under the old key"}),
        made.walk.verdict.statement.subjects,
        signer_named("ada"),
    )

    made.office.store.append([envelope], old, log_keys=[old.public, new.public])

    assert {finding.id for finding in made.office.audit().findings} >= {"forged-checkpoint"}


def test_the_evaluators_key_changes_and_old_records_stay_valid(made: Released) -> None:
    old, new = made.office.signer(EVALUATOR_KEY), _key(made.office, "evaluator-2")
    TrustDesk(made.office).rotate_key(old.public.key_id, new.public)

    bundle = _walk(made, "desk-next")

    assert made.office.signer(EVALUATOR_KEY).public == new.public
    verify_bundle(bundle, made.office.root.pin, now=made.sample.clock.now)
    verify_bundle(made.bundle, made.office.root.pin, now=made.sample.clock.now)
    with pytest.raises(NotAuthorizedError, match="may not sign as evaluator at ledger index"):
        made.office.record(
            Kind.BASE,
            made.office.reader()
            .find(Kind.BASE, offices.Base)[0]
            .record.model_copy(update={"license": "MIT"}),
            (made.walk.verdict.statement.subjects[0],),
            old,
        )


def test_a_persons_new_key_takes_over_their_roles_and_counts_as_the_same_person(made: Released) -> None:
    old, new = signer_named("ada"), signer_named("ada 2")
    infos = TrustDesk(made.office).rotate_key(old.public.key_id, new.public)
    walk = offices.decide_again(made)

    assert [(info.person, info.roles) for info in infos] == [("ada", ("approver",))]
    made.sample.signers["ada"] = new
    offices.approve(made.sample, walk.ref, "ada")
    with pytest.raises(Exception, match="1 of 2 approvals"):
        offices.release(made.sample, walk.ref)


def test_a_p256_key_signs_records_like_any_other(made: Released) -> None:
    token = new_signer(KeyKind.P256)
    TrustDesk(made.office).grant(token.public, "cleo", (Role.APPROVER,))
    walk = offices.decide_again(made, approved_by=("ada",))
    made.sample.signers["cleo"] = token
    offices.approve(made.sample, walk.ref, "cleo")

    _, bundle = offices.release(made.sample, walk.ref)

    assert verify_bundle(bundle, made.office.root.pin, now=made.sample.clock.now).approvers == ("ada", "cleo")
    assert made.office.audit().whole


@pytest.mark.parametrize("how", ["unknown", "ended", "same"])
def test_a_key_that_holds_nothing_cannot_be_rotated(made: Released, how: str) -> None:
    old = signer_named("ada").public
    if how == "ended":
        TrustDesk(made.office).end_grants(old.key_id)
    records = len(made.office.store.entries())

    with pytest.raises(UsageError):
        TrustDesk(made.office).rotate_key(
            "sha256:" + "0" * 64 if how == "unknown" else old.key_id,
            old if how == "same" else signer_named("x").public,
        )

    assert len(made.office.store.entries()) == records


# --- an office whose root several people hold ----------------------------------------------------------------

HOLDERS = (("root-ada", "Ada L"), ("root-ben", "Ben B"), ("root-cy", "Cy C"))


def _held(home: Path, threshold: int = 2) -> offices.SampleOffice:
    clock = offices.FixedClock()
    office = create_office(home, "Held office", ask=_ask, clock=clock, holders=HOLDERS, threshold=threshold)
    return offices.SampleOffice(office, clock)


def test_two_of_three_holders_sign_each_change(tmp_path: Path) -> None:
    sample = _held(tmp_path / "office")
    office = sample.office
    for person, role in offices.PEOPLE.items():
        offices.add_person(sample, person, role)

    _, _, bundle = offices.walk_to_release(sample)

    assert verify_bundle(bundle, office.root.pin, now=sample.clock.now).approvers == ("ada", "ben")
    statements = office.store.find(predicate_type="https://placet.dev/roles/v1")
    assert len(statements) == 2 * (1 + len(offices.PEOPLE))
    assert office.audit().whole
    signers = {office.reader().trust.verify(entry.envelope, entry.index).person for entry in statements}
    assert len(signers & {person for _, person in HOLDERS}) == len(signers) == 2


def test_any_two_holders_will_do_and_one_will_not(tmp_path: Path) -> None:
    office = _held(tmp_path / "office").office
    (office.home / "keys" / "root-ada.pem").rename(tmp_path / "safe.pem")
    office = _reopened(office)
    TrustDesk(office).grant(signer_named("sam").public, "sam", (Role.SUBMITTER,))
    (office.home / "keys" / "root-cy.pem").unlink()
    office = _reopened(office)
    records = len(office.store.entries())

    with pytest.raises(KeyAccessError, match="signatures of 2 people, and the keys of 1 are here") as caught:
        TrustDesk(office).grant(signer_named("eve").public, "eve", (Role.APPROVER,))

    assert "Ada L or Cy C" in caught.value.hint
    assert len(office.store.entries()) == records


def test_one_holder_alone_who_writes_into_the_log_changes_nothing(tmp_path: Path) -> None:
    office = _held(tmp_path / "office").office
    trust, eve = office.reader().trust, signer_named("eve").public
    stolen = office.signer("root-ben")
    index = len(office.store.entries())
    grant = trust.roles.grants[0].model_copy(
        update={
            "key_id": eve.key_id,
            "public_key": eve.pem,
            "person": "eve",
            "roles": (Role.APPROVER,),
            "valid_from": index,
        }
    )
    forged = trust.roles.model_copy(update={"version": 2, "grants": (*trust.roles.grants, grant)})
    for number in (0, 1):
        subjects = roles_subjects(office.root, index, stolen.public)
        record = forged.model_copy(update={"issued_at": forged.issued_at + timedelta(seconds=number)})
        office.append([sign_record(Kind.ROLES, record, subjects, stolen)])

    assert office.reader().trust.roles == trust.roles
    assert office.reader().trust.people_with(Role.APPROVER, 99) == ()
    TrustDesk(office).grant(signer_named("sam").public, "sam", (Role.SUBMITTER,))
    assert office.reader().trust.people_with(Role.SUBMITTER, 99) == ("sam",)


@pytest.mark.parametrize(
    ("threshold", "holders"), [(4, HOLDERS), (0, HOLDERS), (2, (("a", "Ada"), ("b", "Ada")))]
)
def test_a_threshold_that_people_cannot_meet_makes_no_office(
    tmp_path: Path, threshold: int, holders: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(UsageError, match="root holders cannot give"):
        create_office(tmp_path / "office", "x", ask=_ask, holders=holders, threshold=threshold)
    assert not (tmp_path / "office" / "office.json").exists()


# --- the root changes ----------------------------------------------------------------------------------------


def _second_root(made: Released, threshold: int = 1) -> Any:
    """Give the root a second holder, Dana, whose key lies here, too."""
    dana = _key(made.office, "dana")
    holders = (*made.office.root.current.keys, RootKey(dana.public, "Dana"))
    TrustDesk(made.office).change_root(holders, threshold)
    return dana


def test_the_root_changes_and_the_old_pin_still_leads_to_it(made: Released) -> None:
    first = made.office.root.pin
    _second_root(made, threshold=2)
    bundle = _walk(made, "desk-next")

    assert made.office.root.current.version == 2
    assert [version.pin for version in made.office.root.versions] == [first, made.office.root.pin]
    for pin in (first, made.office.root.pin):
        assert verify_bundle(bundle, pin, now=made.sample.clock.now).approvers == ("ada", "ben")
    verify_bundle(made.bundle, first, now=made.sample.clock.now)
    again = _reopened(made.office)
    assert again.root == made.office.root
    assert again.audit().whole


def test_a_bundle_from_before_the_change_does_not_know_the_new_pin(made: Released) -> None:
    _second_root(made)

    with pytest.raises(VerificationError, match="not the pinned"):
        verify_bundle(made.bundle, made.office.root.pin, now=made.sample.clock.now)
    # Built again, it carries the whole chain.
    offices.release(made.sample, made.walk.ref)
    verify_bundle(made.bundle, made.office.root.pin, now=made.sample.clock.now)


def test_a_root_key_that_was_replaced_signs_nothing_more(made: Released) -> None:
    stolen = made.office.signer(ROOT_KEY)
    dana = _key(made.office, "dana")
    TrustDesk(made.office).change_root((RootKey(dana.public, "Dana"),), 1)
    roles = made.office.reader().trust.roles
    index = len(made.office.store.entries())
    forged = roles.model_copy(update={"version": roles.version + 1, "grants": roles.grants})
    subjects = roles_subjects(made.office.root, index, stolen.public)

    with pytest.raises(IntegrityError):
        made.office.append([sign_record(Kind.ROLES, forged, subjects, stolen)])
    with pytest.raises(IntegrityError, match="gives a root key another role"):
        TrustDesk(made.office).grant(stolen.public, "mallory", (Role.APPROVER,))
    TrustDesk(made.office).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))
    assert made.office.audit().whole


def test_a_change_that_the_old_holders_do_not_sign_is_refused_and_writes_nothing(made: Released) -> None:
    (made.office.home / "keys" / "root.pem").unlink()
    office = _reopened(made.office)
    dana = _key(office, "dana")
    before = sorted(path.name for path in (office.home / "trust").iterdir())

    with pytest.raises(KeyAccessError, match="signatures of 1 people, and the keys of 0"):
        TrustDesk(office).change_root((RootKey(dana.public, "Dana"),), 1)

    assert sorted(path.name for path in (office.home / "trust").iterdir()) == before
    assert office.root.current.version == 1


class _StoppedError(Exception):
    pass


def test_a_change_that_was_stopped_after_it_was_logged_is_finished_by_the_next_opening(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise _StoppedError

    monkeypatch.setattr(trust_desk, "settle", stopped)
    with pytest.raises(_StoppedError):
        _second_root(made)
    monkeypatch.undo()
    assert not (made.office.home / "trust" / "2.root.json").exists()

    office = _reopened(made.office)

    assert office.root.current.version == 2
    assert sorted(path.name for path in (office.home / "trust").iterdir()) == ["1.root.json", "2.root.json"]
    assert office.audit().whole
    TrustDesk(office).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))


def test_a_change_that_was_stopped_before_it_was_logged_never_was(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise _StoppedError

    monkeypatch.setattr(trust_desk, "roles_subjects", stopped)
    with pytest.raises(_StoppedError):
        _second_root(made)
    monkeypatch.undo()

    office = _reopened(made.office)

    assert office.root.current.version == 1
    assert office.audit().whole
    TrustDesk(office).change_root(office.root.current.keys, 1)
    assert _reopened(office).root.current.version == 2


def test_an_office_of_an_earlier_version_is_named_as_such(made: Released) -> None:
    trust = made.office.home / "trust"
    (trust / "1.root.json").rename(trust / "root.json")

    with pytest.raises(UsageError, match="made by an earlier version"):
        _reopened(made.office)


def test_another_process_follows_the_change_without_being_opened_anew(made: Released) -> None:
    other = _reopened(made.office)
    _second_root(made)

    TrustDesk(other).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))

    assert other.root == made.office.root
    assert other.audit().whole


def test_a_root_left_out_of_a_bundle_is_noticed(made: Released) -> None:
    first = made.office.root.pin
    _second_root(made)
    TrustDesk(made.office).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))
    bundle = _walk(made, "desk-next")
    (bundle / "placet" / "2.root.json").unlink()

    with pytest.raises(IntegrityError, match=r"signed (by a root key|under another root)"):
        verify_bundle(bundle, first, now=made.sample.clock.now)


# --- expiry --------------------------------------------------------------------------------------------------


def _years_later(made: Released) -> None:
    made.sample.clock.advance(days=731)


def test_an_expired_root_grants_nothing_until_it_is_renewed(made: Released) -> None:
    _years_later(made)
    with pytest.raises(UsageError, match="has expired"):
        TrustDesk(made.office).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))

    TrustDesk(made.office).change_root(made.office.root.current.keys, 1)

    TrustDesk(made.office).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))
    assert made.office.audit().whole


def test_a_release_under_an_expired_root_verifies_as_of_its_release_and_not_today(made: Released) -> None:
    _years_later(made)

    with pytest.raises(VerificationError, match="trust root, version 1, expired"):
        verify_bundle(made.bundle, made.office.root.pin, now=made.sample.clock.now)
    verified = verify_bundle(made.bundle, made.office.root.pin, now=None)
    assert verified.as_of == made.released.record.released_at
    assert any("was judged as of 2026-03-02" in line for line in verified.unknown)


def test_a_feed_made_after_the_renewal_makes_up_for_an_expired_root(made: Released) -> None:
    first = made.office.root.pin
    approvals = timedelta(days=offices.RULE.valid_days)
    TrustDesk(made.office).change_root(made.office.root.current.keys, 1, days=1)
    offices.release(made.sample, made.walk.ref)
    made.sample.clock.advance(days=2)
    assert approvals > timedelta(days=2)

    with pytest.raises(VerificationError, match="trust root, version 2, expired"):
        verify_bundle(made.bundle, first, now=made.sample.clock.now)
    TrustDesk(made.office).change_root(made.office.root.current.keys, 1)
    feed = release_desk.export_revocations(made.office)

    verify_bundle(made.bundle, first, now=made.sample.clock.now, revocations=feed)


# --- feeds ---------------------------------------------------------------------------------------------------


def _feed(made: Released) -> dict[str, Any]:
    import json

    return dict(json.loads(release_desk.export_revocations(made.office)))


def _drop_revocation(feed: dict[str, Any]) -> None:
    del feed["records"][-1]


def _older_statement(feed: dict[str, Any]) -> None:
    feed["statement"] = feed["older"]


def _roles_left_out(feed: dict[str, Any]) -> None:
    del feed["records"][3]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_drop_revocation, "holds 1 revocations, not the 2 that its signer counted"),
        (_older_statement, "about another state of the log"),
        (_roles_left_out, "roles version"),
    ],
)
def test_a_feed_from_which_something_was_left_out_is_refused(
    made: Released, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    from placet.domain.digests import canonical_json, digest_bytes

    older = _feed(made)["statement"]
    for name in (b"one", b"two"):
        review_desk.revoke(made.office, digest_bytes(name), "adapter", "x", "leaks", signer_named("ben"))
    feed = _feed(made)
    feed["older"] = older
    change(feed)
    del feed["older"]

    with pytest.raises(VerificationError, match=reason):
        verify_bundle(
            made.bundle, made.office.root.pin, now=made.sample.clock.now, revocations=canonical_json(feed)
        )


def test_a_feed_says_of_which_moment_it_is(made: Released) -> None:
    made.sample.clock.advance(days=3)
    feed = release_desk.export_revocations(made.office)
    made.sample.clock.advance(days=4)

    verified = verify_bundle(made.bundle, made.office.root.pin, now=made.sample.clock.now, revocations=feed)

    assert "0 revocations of the feed of 2026-03-05" in verified.steps[-1][1]
    left_out, told = verified.unknown
    assert "leaves out a plan or a run on these weights" in left_out
    assert "anything after the feed's state" in told
    assert "2026-03-05" in told


def test_a_statement_by_somebody_without_the_role_makes_no_feed(made: Released) -> None:
    feed = release_desk.export_revocations(made.office, signer_named("sam"))

    with pytest.raises(VerificationError, match="sam may not sign as evaluator or releaser"):
        verify_bundle(made.bundle, made.office.root.pin, now=made.sample.clock.now, revocations=feed)


def test_a_feed_of_a_fork_with_other_roles_is_refused(made: Released, tmp_path: Path) -> None:
    # One office tells two stories: a copy of it from before the release went another way.
    sample = offices.make_office(tmp_path / "fork", key_files=False)
    fork = offices.copy_office(sample, tmp_path / "other")
    _, _, bundle = offices.walk_to_release(sample)
    offices.add_person(sample, "cleo", Role.APPROVER)
    offices.release(sample, sample.office.reader().find(Kind.VERDICT, offices.Verdict)[0].record.adapter)
    offices.add_person(fork, "mallory", Role.APPROVER)
    for number in range(30):
        offices.add_base(fork, f"base {number}")
    feed = release_desk.export_revocations(fork.office)

    with pytest.raises(VerificationError, match="tell different stories"):
        verify_bundle(bundle, sample.office.root.pin, now=sample.clock.now, revocations=feed)


# --- waivers look at the verdict that was seen -----------------------------------------------------------------


def test_a_waiver_of_a_verdict_that_is_not_the_one_looked_at_is_not_signed(made: Released) -> None:
    gates = [offices.passing_gate(), offices.inconclusive_gate()]
    seen = made.walk.verdict.id
    walk = offices.decide_again(made, offices.Decision.NEEDS_REVIEW, gates=gates)

    with pytest.raises(UsageError, match="the verdict changed while you looked at it"):
        review_desk.waive(
            made.office, walk.ref.id, "general", "few rows", 30, signer_named("ada"), seen_verdict=seen
        )
    review_desk.waive(
        made.office, walk.ref.id, "general", "few rows", 30, signer_named("ada"), seen_verdict=walk.verdict.id
    )
