from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.attest.keys import KeyKind, LocalSigner, new_signer
from placet.attest.root import RootKey, TrustRoot, new_root, tuf_key_id
from placet.attest.root_proposal import RootProposal, combine, parse_proposal, propose, sign_proposal
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import IntegrityError, KeyAccessError, NotAuthorizedError, UsageError
from tests.support.offices import START, signer_named

ADA, BEN, CY, DANA, EVE = (signer_named(name) for name in ("ada", "ben", "cy", "dana", "eve"))
ADA_2 = signer_named("ada-2")
EXPIRES = START + timedelta(days=730)
PEOPLE = {ADA.public: "ada", ADA_2.public: "ada", BEN.public: "ben", CY.public: "cy", DANA.public: "dana"}


def _held(*signers: LocalSigner) -> list[RootKey]:
    return [RootKey(signer.public, PEOPLE.get(signer.public, "somebody")) for signer in signers]


ROOT = new_root("acme", _held(ADA, BEN), [ADA, BEN], threshold=2, expires=EXPIRES)


def _proposal(
    holders: Sequence[RootKey] = tuple(_held(ADA, CY, DANA)), threshold: int = 2, root: TrustRoot = ROOT
) -> RootProposal:
    return propose(root, holders, threshold=threshold, valid_from=7, expires=EXPIRES)


def _signed(proposal: RootProposal, *signers: LocalSigner) -> RootProposal:
    """Return it after each signed on a machine of their own: only the file passes from one to the next."""
    for signer in signers:
        proposal = parse_proposal(sign_proposal(proposal, signer).raw, ROOT.pin)
    return proposal


def test_enough_of_old_and_new_make_the_new_version() -> None:
    root = _signed(_proposal(), ADA, BEN, CY).complete()

    assert root.current.version == 2
    assert root.versions[0] == ROOT.current
    assert (root.current.valid_from, root.current.threshold) == (7, 2)
    assert {item.person for item in root.current.keys} == {"ada", "cy", "dana"}


@pytest.mark.parametrize(
    ("signers", "version", "who"),
    [
        ((), 1, "ada or ben"),
        ((ADA,), 1, "ben"),
        ((BEN, CY, DANA), 1, "ada"),
        ((ADA, BEN), 2, "cy or dana"),
    ],
)
def test_too_few_of_either_are_named(signers: Sequence[LocalSigner], version: int, who: str) -> None:
    with pytest.raises(NotAuthorizedError, match=f"version {version} of the root asks for") as caught:
        _signed(_proposal(), *signers).complete()
    assert who in caught.value.hint


def test_two_keys_of_one_person_are_one_signature() -> None:
    root = new_root("acme", _held(ADA, ADA_2, BEN), [ADA, BEN], threshold=2, expires=EXPIRES)
    proposal = sign_proposal(sign_proposal(_proposal(_held(CY), 1, root), ADA), ADA_2)

    with pytest.raises(NotAuthorizedError, match="1 more is needed") as caught:
        sign_proposal(proposal, CY).complete()
    assert caught.value.hint.endswith("machine of ben")
    assert sign_proposal(sign_proposal(proposal, CY), BEN).complete().current.version == 2


def test_a_signature_given_twice_is_there_once() -> None:
    once = _signed(_proposal(), ADA)
    assert _signed(once, ADA).raw == once.raw
    assert combine([once, once, _signed(_proposal(), ADA)]).raw == once.raw


def test_a_token_that_signs_otherwise_each_time_counts_once() -> None:
    token = new_signer(KeyKind.P256)
    proposal = _proposal([RootKey(token.public, "cy"), *_held(ADA)])
    one, other = sign_proposal(proposal, token), sign_proposal(proposal, token)
    assert one.raw != other.raw
    assert combine([one, other]).raw == one.raw
    assert len(combine([other, one]).version.signatures) == 1


def test_copies_signed_beside_each_other_are_put_together_in_any_order() -> None:
    copies = [_signed(_proposal(), signer) for signer in (ADA, BEN, CY)]
    root = combine(copies).complete()
    assert combine(copies[::-1]).complete() == root
    assert root == _signed(_proposal(), CY, BEN, ADA).complete()


def test_signatures_under_another_proposal_do_not_count() -> None:
    other = _signed(propose(ROOT, _held(ADA, CY), threshold=1, valid_from=7, expires=EXPIRES), BEN)
    with pytest.raises(IntegrityError, match="different versions"):
        combine([_signed(_proposal(), ADA), other])


def test_a_key_that_is_none_of_the_roots_cannot_sign() -> None:
    with pytest.raises(KeyAccessError, match="held by nobody who is to sign"):
        sign_proposal(_proposal(), EVE)


def test_what_it_continues_is_held_to_the_pin() -> None:
    elsewhere = new_root("acme", _held(ADA, BEN), [ADA, BEN], threshold=1, expires=EXPIRES)
    with pytest.raises(IntegrityError, match="not the pinned"):
        parse_proposal(_proposal().raw, elsewhere.pin)
    with pytest.raises(IntegrityError, match="not the pinned"):
        parse_proposal(_proposal().raw, digest_bytes(b"x"))


def test_holders_who_could_never_meet_the_threshold_are_not_proposed() -> None:
    with pytest.raises(UsageError, match="cannot give 2 signatures"):
        _proposal(_held(ADA, ADA_2), 2)


def _changed(raw: bytes, change: Any) -> bytes:
    value = json.loads(raw)
    proposed = json.loads(value["proposed"])
    change(proposed)
    return canonical_json({**value, "proposed": canonical_json(proposed).decode()})


@pytest.mark.parametrize(
    "change",
    [
        lambda proposed: proposed["signed"]["roles"]["root"].update(threshold=1),
        lambda proposed: proposed["signed"].update(expires="2030-01-01T00:00:00Z"),
        lambda proposed: proposed["signed"]["x-placet"].update(validFrom=3),
        lambda proposed: proposed["signed"]["x-placet"]["people"].update({tuf_key_id(CY.public): "mallory"}),
    ],
)
def test_a_proposal_that_was_altered_after_somebody_signed_is_refused(change: Any) -> None:
    with pytest.raises(IntegrityError, match="the signature of ada is not over this version 2"):
        parse_proposal(_changed(_signed(_proposal(), ADA).raw, change), ROOT.pin)


def test_a_signature_under_another_name_is_refused() -> None:
    def change(proposed: dict[str, Any]) -> None:
        proposed["signatures"][0]["keyid"] = tuf_key_id(BEN.public)

    with pytest.raises(IntegrityError, match="the signature of ben is not over this version 2"):
        parse_proposal(_changed(_signed(_proposal(), ADA).raw, change), ROOT.pin)


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_does_not_follow_is_refused(version: int) -> None:
    def change(proposed: dict[str, Any]) -> None:
        proposed["signed"]["version"] = version

    with pytest.raises(IntegrityError, match=f"version {version} of the root is proposed where 2 belongs"):
        parse_proposal(_changed(_proposal().raw, change), ROOT.pin)


@given(data=st.data())
def test_no_flipped_byte_of_a_signed_proposal_is_accepted(data: st.DataObject) -> None:
    raw = _SIGNED.raw
    at = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:at] + bytes([raw[at] ^ data.draw(st.integers(1, 255))]) + raw[at + 1 :]
    with pytest.raises(IntegrityError):
        parse_proposal(flipped, ROOT.pin)


_SIGNED = _signed(_proposal(), ADA)


@given(st.binary(max_size=300))
def test_what_is_no_proposal_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_proposal(data, ROOT.pin)
