"""The trust root: thresholds by material and person, rotation, pins of any version, expiry, one spelling."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.attest.keys import KeyKind, LocalSigner, Signer, new_signer
from placet.attest.predicates import KeyGrant, Kind, Role, Roles
from placet.attest.root import (
    RootKey,
    TrustRoot,
    default_expiry,
    new_root,
    next_root,
    olpc_json,
    parse_root,
    tuf_key_id,
)
from placet.attest.trust import Trust, establish_trust, roles_subjects, sign_record
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import Error, IntegrityError, NotAuthorizedError, UsageError
from tests.support.offices import START, signer_named

ADA, BEN, CY, DAN, EVE = (signer_named(name) for name in ("ada", "ben", "cy", "dan", "eve"))
EXPIRES = default_expiry(START)
HOLDERS = (RootKey(ADA.public, "ada"), RootKey(BEN.public, "ben"), RootKey(CY.public, "cy"))


def _root(
    holders: Sequence[RootKey] = HOLDERS, signers: Sequence[Signer] = (ADA, BEN), threshold: int = 2
) -> TrustRoot:
    return new_root("acme", holders, signers, threshold=threshold, expires=EXPIRES)


def _next(
    root: TrustRoot, holders: Sequence[RootKey], signers: Sequence[Signer], **options: Any
) -> TrustRoot:
    options = {"threshold": 2, "valid_from": 10, "expires": EXPIRES} | options
    return next_root(root, holders, signers, **options)


def _files(root: TrustRoot) -> list[bytes]:
    return [version.raw for version in root.versions]


REPLACED = (RootKey(ADA.public, "ada"), RootKey(BEN.public, "ben"), RootKey(DAN.public, "dan"))
TWO = _next(_root(), REPLACED, (ADA, BEN))
THREE = _next(TWO, (RootKey(DAN.public, "dan"), RootKey(EVE.public, "eve")), (ADA, DAN, EVE), valid_from=20)


# --- pins --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2, 3])
def test_the_pin_of_any_version_vouches_for_all(version: int) -> None:
    pin = THREE.versions[version - 1].pin

    root = parse_root(_files(THREE), pin)

    assert root == THREE
    assert root.pin == THREE.versions[2].pin == digest_bytes(THREE.versions[2].raw)


def test_another_pin_does_not() -> None:
    with pytest.raises(IntegrityError, match="not the pinned"):
        parse_root(_files(THREE), digest_bytes(b"another"))
    with pytest.raises(IntegrityError, match="not the pinned"):
        parse_root(_files(TWO), THREE.pin)  # the newest one, kept back


def test_a_past_that_the_pinned_version_does_not_name_is_refused() -> None:
    # An older root of other keys, put before the version that was pinned.
    other = _root((RootKey(EVE.public, "ada"), RootKey(DAN.public, "ben")), (EVE, DAN))

    with pytest.raises(IntegrityError, match="does not continue the one before it"):
        parse_root([*_files(other), *_files(THREE)[1:]], THREE.pin)


@pytest.mark.parametrize("kept", [[1, 2], [0, 2], [2], [1], [], [0, 0], [0, 2, 1], [0, 1, 2, 2]])
def test_versions_that_are_missing_doubled_or_out_of_order_are_refused(kept: list[int]) -> None:
    files = _files(THREE)

    with pytest.raises(IntegrityError):
        parse_root([files[number] for number in kept])


# --- thresholds --------------------------------------------------------------------------------------------


def test_one_signature_of_two_is_refused() -> None:
    with pytest.raises(NotAuthorizedError, match="signed by 1 of the 2 people that version 1 asks for"):
        _root(signers=(ADA,))


def test_two_keys_of_one_person_are_one_signature() -> None:
    holders = (RootKey(ADA.public, "ada"), RootKey(BEN.public, "ada"), RootKey(CY.public, "cy"))

    with pytest.raises(NotAuthorizedError, match="signed by 1 of the 2 people"):
        _root(holders, (ADA, BEN))
    assert _root(holders, (ADA, CY)).current.threshold == 2


def test_holders_who_could_never_meet_the_threshold_are_refused() -> None:
    for holders, threshold in (
        (HOLDERS, 4),
        (HOLDERS, 0),
        ((RootKey(ADA.public, "ada"), RootKey(BEN.public, "ada")), 2),
        ((RootKey(ADA.public, "ada"), RootKey(ADA.public, "ben")), 2),
    ):
        with pytest.raises(UsageError, match="cannot give"):
            _root(holders, (ADA, BEN, CY), threshold)


def _resigned(root: TrustRoot, change: Callable[[dict[str, Any]], Any], *signers: LocalSigner) -> bytes:
    """Return the newest version changed, and signed over what it says now."""
    value = json.loads(root.current.raw)
    change(value["signed"])
    message = olpc_json(value["signed"])
    ids = {tuf_key_id(signer.public): signer for signer in signers}
    value["signatures"] = [{"keyid": key, "sig": ids[key].sign(message).hex()} for key in sorted(ids)]
    return canonical_json(value)


def _second_id(spelling: Callable[[str], str]) -> Callable[[dict[str, Any]], None]:
    """Add a P-256 holder's key once more under another spelling, hence another id, and another name."""

    def change(signed: dict[str, Any]) -> None:
        key_id = next(key for key, value in signed["keys"].items() if value["keytype"] == "ecdsa")
        key = json.loads(json.dumps(signed["keys"][key_id]))
        key["keyval"]["public"] = spelling(key["keyval"]["public"])
        again = digest_bytes(olpc_json(key)).removeprefix("sha256:")
        signed["keys"][again] = key
        signed["x-placet"]["people"][again] = "mallory"
        signed["roles"]["root"]["keyids"] = sorted([*signed["roles"]["root"]["keyids"], again])

    return change


@pytest.mark.parametrize(
    "spelling",
    [
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem + "\n",
        lambda pem: "a comment\n" + pem,
        lambda pem: pem.replace("-----\nM", "-----\n M"),
        lambda pem: pem.rstrip("\n"),
    ],
)
def test_one_key_in_two_spellings_is_no_second_key(spelling: Callable[[str], str]) -> None:
    token = new_signer(KeyKind.P256)
    root = _root((RootKey(token.public, "ada"), RootKey(BEN.public, "ben")), (token, BEN))

    with pytest.raises(IntegrityError):
        parse_root([_resigned(root, _second_id(spelling), token, BEN)])


def test_one_key_under_two_ids_is_refused() -> None:
    def change(signed: dict[str, Any]) -> None:
        key_id = tuf_key_id(ADA.public)
        again = "00" * 32
        signed["keys"][again] = signed["keys"][key_id]
        signed["x-placet"]["people"][again] = "mallory"
        signed["roles"]["root"]["keyids"] = sorted([*signed["roles"]["root"]["keyids"], again])

    with pytest.raises(IntegrityError, match="one spelling"):
        parse_root([_resigned(_root(), change, ADA, BEN)])


def test_a_signature_that_does_not_count_is_refused_not_ignored() -> None:
    value = json.loads(_root().current.raw)
    stranger = {"keyid": tuf_key_id(EVE.public), "sig": EVE.sign(_root().current.signed).hex()}
    for extra in (stranger, value["signatures"][0]):
        more = canonical_json({**value, "signatures": [*value["signatures"], extra]})
        with pytest.raises(IntegrityError, match="none of the root's, or twice"):
            parse_root([more])
    wrong = {"keyid": tuf_key_id(CY.public), "sig": ADA.sign(b"something else").hex()}
    with pytest.raises(IntegrityError, match="is not over this version 1"):
        parse_root([canonical_json({**value, "signatures": [*value["signatures"], wrong]})])


# --- rotation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signers", "missing"),
    [
        ((ADA,), "version 1"),
        ((DAN, EVE), "version 1"),
        ((ADA, BEN), "version 2"),
        ((ADA, BEN, DAN), "version 2"),
        ((ADA, DAN, EVE), "version 1"),
    ],
)
def test_a_root_is_changed_by_enough_holders_of_old_and_new(signers: Sequence[Signer], missing: str) -> None:
    holders = (RootKey(DAN.public, "dan"), RootKey(EVE.public, "eve"))

    with pytest.raises(NotAuthorizedError, match=f"that {missing} asks for"):
        _next(_root(), holders, signers)
    assert _next(_root(), holders, (ADA, BEN, DAN, EVE)).current.version == 2


def test_a_lower_threshold_is_still_a_change_that_the_old_one_decides() -> None:
    with pytest.raises(NotAuthorizedError, match="signed by 1 of the 2 people that version 1 asks for"):
        _next(_root(), HOLDERS, (ADA,), threshold=1)


def test_a_version_cannot_reach_back_or_be_of_another_office() -> None:
    with pytest.raises(IntegrityError, match="reaches back"):
        _next(TWO, REPLACED, (ADA, BEN), valid_from=9)

    def renamed(signed: dict[str, Any]) -> None:
        signed["x-placet"]["office"] = "other"

    with pytest.raises(IntegrityError, match="another office's"):
        parse_root([*_files(_root()), _resigned(TWO, renamed, ADA, BEN)])


def test_each_version_vouches_from_its_index_on() -> None:
    assert [THREE.at(index).version for index in (-1, 0, 9, 10, 19, 20, 10**9)] == [1, 1, 1, 2, 2, 3, 3]


# --- form --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.update(version=7),
        lambda s: s.update(version="1"),
        lambda s: s.update(version=True),
        lambda s: s.update(spec_version="2.0.0"),
        lambda s: s.update(_type="targets"),
        lambda s: s.update(consistent_snapshot=False),
        lambda s: s.update(expires="2026-03-02"),
        lambda s: s.update(expires="2028-3-1T09:00:00Z"),
        lambda s: s.update(extra=1),
        lambda s: s.pop("x-placet"),
        lambda s: s["x-placet"].update(validFrom=-1),
        lambda s: s["x-placet"].update(validFrom=1),
        lambda s: s["x-placet"].update(office=""),
        lambda s: s["x-placet"].update(people={}),
        lambda s: s["x-placet"].update(previous="sha256:" + "0" * 64),
        lambda s: s["roles"]["root"].update(threshold=0),
        lambda s: s["roles"]["root"].update(threshold=9),
        lambda s: s["roles"]["root"].update(keyids=s["roles"]["root"]["keyids"][::-1]),
        lambda s: s["roles"]["root"].update(keyids=s["roles"]["root"]["keyids"] * 2),
        lambda s: s["roles"]["root"].update(keyids=[]),
        lambda s: s["roles"]["targets"].update(keyids=s["roles"]["root"]["keyids"]),
        lambda s: s["roles"].pop("snapshot"),
        lambda s: s["keys"].clear(),
    ],
    ids=range(23),
)
def test_a_root_in_another_form_is_refused_though_well_signed(
    change: Callable[[dict[str, Any]], Any],
) -> None:
    with pytest.raises(IntegrityError):
        parse_root([_resigned(_root(), change, ADA, BEN)])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"signed":{},"signatures":[]}', b"\xff"])
def test_what_is_no_root_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_root([data])


@settings(max_examples=300)
@given(st.integers(0, 2), st.data())
def test_no_flipped_byte_in_any_version_is_accepted(number: int, data: st.DataObject) -> None:
    files = _files(THREE)
    position = data.draw(st.integers(0, len(files[number]) - 1))
    altered = bytearray(files[number])
    altered[position] ^= data.draw(st.integers(1, 255))
    files[number] = bytes(altered)

    with pytest.raises(Error):
        parse_root(files, _root().pin)


# --- expiry ------------------------------------------------------------------------------------------------


def test_a_root_is_fresh_until_it_expires() -> None:
    root = _root()

    root.require_fresh(EXPIRES - timedelta(seconds=1))
    with pytest.raises(IntegrityError, match="expired at"):
        root.require_fresh(EXPIRES)


def test_a_renewed_root_is_fresh_though_an_older_version_expired() -> None:
    _next(_root(), HOLDERS, (ADA, BEN), expires=EXPIRES + timedelta(days=700)).require_fresh(
        EXPIRES + timedelta(days=1)
    )


@pytest.mark.parametrize("days", [0, -1, 3_651])
def test_a_root_is_good_for_a_sensible_time(days: int) -> None:
    with pytest.raises(UsageError, match="cannot be good for"):
        default_expiry(START, days)


# --- roles by a threshold ----------------------------------------------------------------------------------


def _roles(version: int = 1, *, at: int = 0, who: LocalSigner = EVE) -> Roles:
    grant = KeyGrant(
        key_id=who.public.key_id,
        public_key=who.public.pem,
        person="submitter",
        roles=(Role.SUBMITTER,),
        valid_from=at,
    )
    return Roles(office="acme", version=version, grants=(grant,), issued_at=START)


def _vote(root: TrustRoot, roles: Roles, signer: Signer, index: int) -> tuple[int, bytes]:
    subjects = roles_subjects(root, index, signer.public)
    return index, sign_record(Kind.ROLES, roles, subjects, signer).raw


def _established(root: TrustRoot, *votes: tuple[Roles, Signer]) -> Trust:
    return establish_trust(root, [_vote(root, *vote, index) for index, vote in enumerate(votes)])


def test_roles_are_in_force_when_enough_people_signed_them() -> None:
    root = _root()

    with pytest.raises(IntegrityError, match="no roles statement is in force"):
        _established(root, (_roles(), ADA))
    with pytest.raises(IntegrityError, match="no roles statement is in force"):
        _established(root, (_roles(), ADA), (_roles(), ADA))
    trust = _established(root, (_roles(), ADA), (_roles(), BEN))
    assert (trust.roles, trust.statements) == (_roles(), 2)


def test_signatures_under_different_statements_do_not_add_up() -> None:
    with pytest.raises(IntegrityError, match="no roles statement is in force"):
        _established(_root(), (_roles(), ADA), (_roles(who=DAN), BEN))


def test_one_person_with_two_root_keys_does_not_reach_two() -> None:
    holders = (RootKey(ADA.public, "ada"), RootKey(BEN.public, "ada"), RootKey(CY.public, "cy"))
    root = _root(holders, (ADA, CY))

    with pytest.raises(IntegrityError, match="no roles statement is in force"):
        _established(root, (_roles(), ADA), (_roles(), BEN))
    assert _established(root, (_roles(), ADA), (_roles(), BEN), (_roles(), CY)).roles == _roles()


def test_what_too_few_signed_changes_nothing_and_blocks_nothing() -> None:
    root = _root()
    first = ((_roles(), ADA), (_roles(), BEN))
    rogue = (_roles(2, at=0, who=DAN), CY)
    legitimate = Roles(
        office="acme", version=2, grants=(*_roles().grants, *_roles(at=4, who=CY).grants), issued_at=START
    ).model_copy(update={"grants": _roles().grants})

    assert _established(root, *first, rogue).roles.version == 1
    assert _established(root, *first, rogue, (legitimate, ADA), (legitimate, BEN)).roles == legitimate


def test_a_grant_begins_no_earlier_than_the_signature_that_puts_it_in_force() -> None:
    root = _root()
    votes = [(_roles(), ADA), (_roles(), BEN)]
    second = _roles(2).model_copy(update={"grants": (*_roles().grants, *_roles(at=2, who=DAN).grants)})

    with pytest.raises(IntegrityError, match="reaches back to index 2"):
        _established(root, *votes, (second, ADA), (second, BEN))


def test_a_holder_who_left_the_root_signs_no_more_roles() -> None:
    # CY left with version 2, which vouches from index 10 on.
    votes = [_vote(TWO, _roles(), ADA, 0), _vote(TWO, _roles(), CY, 1)]
    assert establish_trust(TWO, votes).roles == _roles()
    renewed = _roles(2)

    with pytest.raises(NotAuthorizedError, match="not signed by a root key of version 2"):
        establish_trust(TWO, [*votes, _vote(TWO, renewed, CY, 10), _vote(TWO, renewed, ADA, 11)])
    assert (
        establish_trust(TWO, [*votes, _vote(TWO, renewed, BEN, 10), _vote(TWO, renewed, ADA, 11)]).roles
        == renewed
    )


def test_a_statement_signed_under_the_old_root_does_not_count_after_the_change() -> None:
    votes = [_vote(TWO, _roles(), ADA, 0), _vote(TWO, _roles(), BEN, 1)]
    old = _root()
    late = [(index, _vote(old, _roles(2), signer, index)[1]) for index, signer in ((10, ADA), (11, BEN))]

    with pytest.raises(IntegrityError, match="signed under another root than version 2"):
        establish_trust(TWO, [*votes, *late])


def test_roles_issued_after_the_root_expired_are_refused() -> None:
    late = _roles().model_copy(update={"issued_at": EXPIRES})

    with pytest.raises(IntegrityError, match="issued after the root expired"):
        _established(_root(), (late, ADA), (late, BEN))


def test_a_key_that_ever_was_a_root_key_gets_no_role() -> None:
    with pytest.raises(IntegrityError, match="gives a root key another role"):
        _established(THREE, (_roles(who=CY), ADA), (_roles(who=CY), BEN))


@pytest.mark.parametrize("role", [Role.LOG, Role.WITNESS])
def test_a_p256_key_signs_no_checkpoints(role: Role) -> None:
    token = new_signer(KeyKind.P256)
    roles = _roles(who=token)
    grants = tuple(grant.model_copy(update={"roles": (role,)}) for grant in roles.grants)
    bad = roles.model_copy(update={"grants": grants})

    with pytest.raises(IntegrityError, match="it is no Ed25519 key"):
        _established(_root(), (bad, ADA), (bad, BEN))
    assert _established(_root(), (roles, ADA), (roles, BEN)).roles == roles


def test_a_grant_that_spells_its_key_in_another_way_is_refused() -> None:
    roles = _roles()
    grants = tuple(
        grant.model_copy(update={"public_key": grant.public_key.replace("\n", "\r\n")})
        for grant in roles.grants
    )
    bad = roles.model_copy(update={"grants": grants})

    with pytest.raises(IntegrityError, match="spelled in another way"):
        _established(_root(), (bad, ADA), (bad, BEN))
