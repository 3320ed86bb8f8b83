from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from placet.attest.envelope import Envelope, sign_statement
from placet.attest.keys import LocalSigner
from placet.attest.predicates import KeyGrant, Kind, Role, Roles
from placet.attest.root import RootKey, new_root
from placet.attest.statement import Subject, build_statement
from placet.attest.trust import (
    Trust,
    check_succession,
    establish_trust,
    roles_subjects,
    sign_record,
)
from placet.domain.digests import digest_bytes
from placet.domain.errors import IntegrityError, NotAuthorizedError
from placet.domain.records import Revocation
from placet.ledger.checkpoint import sign_checkpoint, verify_log_checkpoint
from tests.support.offices import START, signer_named

ROOT_KEY, ADA, BEN, RHEA, LOG = (signer_named(name) for name in ("root", "ada", "ben", "rhea", "log"))
EXPIRES = START + timedelta(days=730)
ROOT = new_root("acme", [RootKey(ROOT_KEY.public, "acme: root")], [ROOT_KEY], expires=EXPIRES)
SUBJECT = (Subject("x", digest_bytes(b"x")),)
REVOCATION = Revocation(
    target=digest_bytes(b"x"), target_kind="adapter", reason="leaks", revoked_by="ada", revoked_at=START
)


def _grant(
    signer: LocalSigner, person: str, *roles: Role, start: int = 0, until: int | None = None
) -> KeyGrant:
    return KeyGrant(
        key_id=signer.public.key_id,
        public_key=signer.public.pem,
        person=person,
        roles=roles or (Role.APPROVER,),
        valid_from=start,
        valid_until=until,
    )


def _roles(*grants: KeyGrant, version: int = 1, office: str = "acme") -> Roles:
    return Roles(office=office, version=version, grants=grants or (_grant(ADA, "ada"),), issued_at=START)


def _signed(roles: Roles, signer: LocalSigner = ROOT_KEY) -> Envelope:
    return sign_record(Kind.ROLES, roles, roles_subjects(ROOT, 0, signer.public), signer)


def _in_force(*envelopes: Envelope) -> Roles:
    return establish_trust(ROOT, [(index, item.raw) for index, item in enumerate(envelopes)]).roles


def _trust(*grants: KeyGrant) -> Trust:
    return Trust(ROOT, _roles(*grants))


# --- roles statements --------------------------------------------------------------------------------------


def test_roles_signed_by_the_root_are_believed() -> None:
    assert _in_force(_signed(_roles())) == _roles()


@pytest.mark.parametrize("signer", [ADA, LOG, BEN])
def test_roles_signed_by_anybody_else_are_not(signer: LocalSigner) -> None:
    with pytest.raises(NotAuthorizedError, match="not signed by a root key"):
        _in_force(_signed(_roles(), signer))


def test_roles_of_another_office_signed_by_the_same_key_are_refused() -> None:
    with pytest.raises(IntegrityError, match="is of office 'other', not 'acme'"):
        _in_force(_signed(_roles(office="other")))


def test_another_record_signed_by_the_root_is_no_roles_statement() -> None:
    with pytest.raises(IntegrityError, match="not a roles statement"):
        _in_force(sign_record(Kind.REVOCATION, REVOCATION, SUBJECT, ROOT_KEY))


@pytest.mark.parametrize(
    ("grants", "reason"),
    [
        ([_grant(ADA, "ada").model_copy(update={"public_key": BEN.public.pem})], "does not have its id"),
        ([_grant(ADA, "ada"), _grant(ADA, "ben")], "one key is granted to two people, ada and ben"),
        ([_grant(ADA, "ada", until=3), _grant(ADA, "ben", start=3)], "one key is granted to two people"),
        ([_grant(ADA, "ada", Role.ROOT)], "makes a root key of another key"),
        ([_grant(ROOT_KEY, "ada", Role.APPROVER)], "gives a root key another role"),
    ],
)
def test_grants_that_do_not_hold_together_are_refused_even_from_the_root(
    grants: list[KeyGrant], reason: str
) -> None:
    with pytest.raises(IntegrityError, match=reason):
        _in_force(_signed(_roles(*grants)))


def test_a_person_may_have_several_keys_and_a_key_several_grants() -> None:
    grants = (
        _grant(ADA, "ada", Role.APPROVER, until=4),
        _grant(ADA, "ada", Role.RELEASER, start=4),
        _grant(BEN, "ada"),
    )

    assert _in_force(_signed(_roles(*grants))).grants == grants


# --- who may sign what, when -------------------------------------------------------------------------------


def test_a_record_of_a_key_that_holds_the_role_comes_out_with_its_person() -> None:
    envelope = sign_record(Kind.REVOCATION, REVOCATION, SUBJECT, ADA)

    verified = _trust(_grant(ADA, "ada")).verify(envelope.raw, 7)

    assert (verified.index, verified.kind, verified.person) == (7, Kind.REVOCATION, "ada")
    assert verified.record == REVOCATION
    assert verified.key_id == ADA.public.key_id
    assert verified.id == envelope.record_id


@pytest.mark.parametrize(
    ("index", "may"), [(0, False), (4, False), (5, True), (8, True), (9, False), (1000, False)]
)
def test_a_grant_holds_from_its_first_index_until_before_its_last(index: int, may: bool) -> None:
    trust = _trust(_grant(ADA, "ada", start=5, until=9))
    envelope = sign_record(Kind.REVOCATION, REVOCATION, SUBJECT, ADA)

    if may:
        assert trust.verify(envelope, index).person == "ada"
    else:
        with pytest.raises(NotAuthorizedError, match=f"at ledger index {index}"):
            trust.verify(envelope, index)


def test_a_key_that_got_its_role_later_did_not_have_it_before() -> None:
    trust = _trust(_grant(ADA, "ada", Role.SUBMITTER), _grant(ADA, "ada", Role.APPROVER, start=10))
    envelope = sign_record(Kind.REVOCATION, REVOCATION, SUBJECT, ADA)

    with pytest.raises(NotAuthorizedError, match="may not sign as releaser or approver at ledger index 9"):
        trust.verify(envelope, 9)
    assert trust.verify(envelope, 10).person == "ada"


@pytest.mark.parametrize("role", [r for r in Role if r not in {Role.APPROVER, Role.RELEASER, Role.ROOT}])
def test_a_key_with_another_role_may_not_sign(role: Role) -> None:
    with pytest.raises(NotAuthorizedError, match="the key of ada may not sign as releaser or approver"):
        _trust(_grant(ADA, "ada", role)).verify(sign_record(Kind.REVOCATION, REVOCATION, SUBJECT, ADA), 0)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(NotAuthorizedError, match="is not one of office 'acme'"):
        _trust(_grant(ADA, "ada")).verify(sign_record(Kind.REVOCATION, REVOCATION, SUBJECT, BEN), 0)


def test_a_root_key_signs_roles_and_nothing_else() -> None:
    trust = _trust()

    assert trust.verify(_signed(_roles(version=2)), 3).person == "acme: root"
    with pytest.raises(NotAuthorizedError, match="root key signed a revocation"):
        trust.verify(sign_record(Kind.REVOCATION, REVOCATION, SUBJECT, ROOT_KEY), 3)


def test_nobody_but_the_root_signs_roles_whatever_roles_they_hold() -> None:
    everything = tuple(role for role in Role if role is not Role.ROOT)

    with pytest.raises(NotAuthorizedError, match="may not sign as root"):
        _trust(_grant(ADA, "ada", *everything)).verify(_signed(_roles(version=2), ADA), 0)


def test_a_signature_of_another_key_under_a_granted_keys_name_is_refused() -> None:
    mine = sign_record(Kind.REVOCATION, REVOCATION, SUBJECT, BEN)
    forged = Envelope(mine.payload, ADA.public.key_id, mine.signature, mine.raw)

    with pytest.raises(IntegrityError, match="signature does not match"):
        _trust(_grant(ADA, "ada")).verify(forged, 0)


def test_a_record_of_an_unknown_type_is_not_trusted_though_well_signed() -> None:
    statement = build_statement("https://placet.dev/verdict/v9", SUBJECT, {"decision": "ALLOW"})

    with pytest.raises(IntegrityError, match="not known here"):
        _trust(_grant(ADA, "ada")).verify(sign_statement(statement, ADA), 0)


@pytest.mark.parametrize("change", [{"target": "sha256:short"}, {"extra": 1}, {"targetKind": "person"}])
def test_a_signed_record_that_is_malformed_is_an_integrity_error(change: dict[str, Any]) -> None:
    predicate = REVOCATION.to_json() | change
    statement = build_statement("https://placet.dev/revocation/v1", SUBJECT, predicate)

    with pytest.raises(IntegrityError, match="Revocation record is malformed"):
        _trust(_grant(ADA, "ada")).verify(sign_statement(statement, ADA), 0)


def test_the_wrong_model_for_a_kind_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="a review record is a Review"):
        sign_record(Kind.REVIEW, REVOCATION, SUBJECT, ADA)


def test_people_with_a_role_are_named_once_and_only_while_they_hold_it() -> None:
    trust = _trust(
        _grant(BEN, "ben", start=2), _grant(ADA, "ada", until=5), _grant(RHEA, "ada", Role.APPROVER)
    )

    assert trust.people_with(Role.APPROVER, 0) == ("ada",)
    assert trust.people_with(Role.APPROVER, 9) == ("ada", "ben")
    assert trust.people_with(Role.WITNESS, 9) == ()


# --- succession --------------------------------------------------------------------------------------------

OLD = _roles(_grant(ADA, "ada"), _grant(BEN, "ben", until=4))


@pytest.mark.parametrize(
    "grants",
    [
        (_grant(ADA, "ada"), _grant(BEN, "ben", until=4)),
        (_grant(ADA, "ada", until=10), _grant(BEN, "ben", until=4)),
        (_grant(ADA, "ada", until=99), _grant(BEN, "ben", until=4)),
        (_grant(BEN, "ben", until=4), _grant(ADA, "ada"), _grant(RHEA, "rhea", start=10)),
        (_grant(ADA, "ada"), _grant(BEN, "ben", until=4), _grant(BEN, "ben", start=12)),
    ],
    ids=["unchanged", "ended now", "ends later", "one more", "back again"],
)
def test_roles_may_grow_and_end_from_now_on(grants: Sequence[KeyGrant]) -> None:
    check_succession(OLD, _roles(*grants, version=2), 10)


@pytest.mark.parametrize(
    ("grants", "reason"),
    [
        ((_grant(ADA, "ada"),), "grant of ben was changed in the past"),
        ((_grant(ADA, "ada", until=9), _grant(BEN, "ben", until=4)), "grant of ada was changed in the past"),
        ((_grant(ADA, "ada"), _grant(BEN, "ben", until=5)), "grant of ben was changed in the past"),
        ((_grant(ADA, "ada"), _grant(BEN, "ben")), "grant of ben was changed in the past"),
        ((_grant(ADA, "eve"), _grant(BEN, "ben", until=4)), "grant of ada was changed in the past"),
        (
            (_grant(ADA, "ada", Role.RELEASER), _grant(BEN, "ben", until=4)),
            "grant of ada was changed in the past",
        ),
        ((_grant(ADA, "ada", start=1), _grant(BEN, "ben", until=4)), "grant of ada was changed in the past"),
        (
            (_grant(ADA, "ada"), _grant(BEN, "ben", until=4), _grant(RHEA, "rhea", start=9)),
            "new grant of rhea reaches back to index 9",
        ),
        (
            (_grant(ADA, "ada"), _grant(ADA, "ada"), _grant(BEN, "ben", until=4)),
            "new grant of ada reaches back to index 0",
        ),
    ],
)
def test_what_was_allowed_in_the_past_cannot_be_rewritten(grants: Sequence[KeyGrant], reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        check_succession(OLD, _roles(*grants, version=2), 10)


@pytest.mark.parametrize("version", [1, 3, 4])
def test_versions_count_up_by_one(version: int) -> None:
    with pytest.raises(IntegrityError, match=f"roles version {version} follows 1"):
        check_succession(OLD, _roles(*OLD.grants, version=version), 10)


# --- the log's key -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "may"), [(1, True), (10, True), (11, True), (12, False), (500, False)])
def test_a_retired_log_key_signs_no_later_checkpoint(size: int, may: bool) -> None:
    # Its grant ends at index 10; the checkpoint of size 11 covers the statement that says so.
    trust = _trust(_grant(LOG, "acme: log", Role.LOG, until=10))
    note = sign_checkpoint("placet.dev/acme", size, bytes(32), LOG).note

    if may:
        assert verify_log_checkpoint(trust, note, "placet.dev/acme").size == size
    else:
        with pytest.raises(NotAuthorizedError, match=f"signed a checkpoint of size {size}"):
            verify_log_checkpoint(trust, note, "placet.dev/acme")


def test_a_new_log_key_cannot_have_signed_the_past() -> None:
    trust = _trust(
        _grant(LOG, "acme: log", Role.LOG, until=10), _grant(BEN, "acme: log 2", Role.LOG, start=10)
    )

    assert verify_log_checkpoint(trust, sign_checkpoint("o", 11, bytes(32), BEN).note, "o").size == 11
    with pytest.raises(NotAuthorizedError, match="signed a checkpoint of size 10"):
        verify_log_checkpoint(trust, sign_checkpoint("o", 10, bytes(32), BEN).note, "o")


def test_a_key_without_the_log_role_signs_no_checkpoint() -> None:
    note = sign_checkpoint("o", 1, bytes(32), ADA).note

    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        verify_log_checkpoint(_trust(_grant(LOG, "l", Role.LOG), _grant(ADA, "ada")), note, "o")
    with pytest.raises(IntegrityError, match="no key holds the log role"):
        verify_log_checkpoint(_trust(_grant(ADA, "ada")), note, "o")
