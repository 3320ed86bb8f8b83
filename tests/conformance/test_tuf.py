"""Our trust root against the TUF reference implementation: what one accepts and refuses, the other does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from placet.attest.keys import KeyKind, LocalSigner, new_signer
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
from placet.domain.digests import canonical_json
from placet.domain.errors import IntegrityError
from tests.support.offices import START, signer_named

EXPIRES = default_expiry(START)
KEYS: dict[str, LocalSigner] = {name: signer_named(name) for name in ("ada", "ben", "cy", "dan")} | {
    name: new_signer(KeyKind.P256) for name in ("eve", "fay")
}


def _holders(names: Sequence[str]) -> list[RootKey]:
    return [RootKey(KEYS[name].public, name) for name in names]


def _signers(names: Sequence[str]) -> list[LocalSigner]:
    return [KEYS[name] for name in names]


def _library_accepts(files: Sequence[bytes]) -> bool:
    """Follow the chain with the library's own client, from the first version on."""
    try:
        trusted = TrustedMetadataSet(files[0], EnvelopeType.METADATA)
        for data in files[1:]:
            trusted.update_root(data)
    except RepositoryError:
        return False
    return True


def _we_accept(files: Sequence[bytes]) -> bool:
    try:
        parse_root(files)
    except IntegrityError:
        return False
    return True


def _chain() -> TrustRoot:
    root = new_root(
        "acme", _holders(("ada", "ben", "eve")), _signers(("ada", "eve")), threshold=2, expires=EXPIRES
    )
    root = next_root(
        root,
        _holders(("ada", "fay")),
        _signers(("ada", "eve", "fay")),
        threshold=2,
        valid_from=9,
        expires=EXPIRES,
    )
    return next_root(
        root, _holders(("cy",)), _signers(("ada", "cy", "fay")), threshold=1, valid_from=30, expires=EXPIRES
    )


def test_the_library_follows_our_chain() -> None:
    files = [version.raw for version in _chain().versions]

    assert _library_accepts(files)
    for raw, ours in zip(files, _chain().versions, strict=True):
        theirs = Metadata[Root].from_bytes(raw)
        assert theirs.signed.version == ours.version
        assert theirs.signed.expires == ours.expires
        assert theirs.signed.roles["root"].threshold == ours.threshold
        assert set(theirs.signed.keys) == {tuf_key_id(item.key) for item in ours.keys}


def test_the_library_signs_the_same_bytes() -> None:
    for version in _chain().versions:
        assert Metadata[Root].from_bytes(version.raw).signed_bytes == version.signed


def test_key_ids_are_the_ones_the_library_gives() -> None:
    from securesystemslib.signer import SSlibKey

    for signer in KEYS.values():
        scheme = "ecdsa-sha2-nistp256" if signer.public.kind is KeyKind.P256 else "ed25519"
        theirs = SSlibKey.from_crypto(signer.private.public_key(), scheme=scheme)
        assert theirs.keyid == tuf_key_id(signer.public)


@pytest.mark.parametrize(
    "signers", [("ada",), ("ben", "eve"), ("dan", "fay"), ("ada", "fay"), ("eve", "fay")]
)
def test_rotations_that_too_few_signed_are_refused_by_both(signers: Sequence[str]) -> None:
    first = new_root(
        "acme", _holders(("ada", "ben", "eve")), _signers(("ada", "ben")), threshold=2, expires=EXPIRES
    )
    full = next_root(
        first,
        _holders(("dan", "fay")),
        _signers(("ada", "ben", "dan", "fay")),
        threshold=2,
        valid_from=1,
        expires=EXPIRES,
    ).current
    value = json.loads(full.raw)
    wanted = {tuf_key_id(KEYS[name].public): KEYS[name] for name in signers}
    value["signatures"] = [
        {"keyid": key, "sig": wanted[key].sign(full.signed).hex()} for key in sorted(wanted)
    ]
    files = [first.current.raw, canonical_json(value)]

    assert not _library_accepts(files)
    assert not _we_accept(files)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    old=st.sets(st.sampled_from(sorted(KEYS)), min_size=1),
    new=st.sets(st.sampled_from(sorted(KEYS)), min_size=1),
    signed=st.sets(st.sampled_from(sorted(KEYS))),
    data=st.data(),
)
def test_both_judge_every_rotation_alike(
    old: set[str], new: set[str], signed: set[str], data: st.DataObject
) -> None:
    thresholds = [data.draw(st.integers(1, len(names))) for names in (old, new)]
    first = new_root(
        "acme", _holders(sorted(old)), _signers(sorted(old)), threshold=thresholds[0], expires=EXPIRES
    )
    everybody = _signers(sorted(old | new))
    second = next_root(
        first, _holders(sorted(new)), everybody, threshold=thresholds[1], valid_from=1, expires=EXPIRES
    ).current
    # Only people who hold a key of either: we refuse a stranger's signature, the library passes over it.
    names = sorted(signed & (old | new))
    value: dict[str, Any] = json.loads(second.raw)
    value["signatures"] = sorted(
        (
            {"keyid": tuf_key_id(KEYS[name].public), "sig": KEYS[name].sign(second.signed).hex()}
            for name in names
        ),
        key=lambda item: item["keyid"],
    )
    files = [first.current.raw, canonical_json(value)]

    enough = len(signed & old) >= thresholds[0] and len(signed & new) >= thresholds[1]
    assert _we_accept(files) == _library_accepts(files) == enough


def test_where_we_are_stricter_than_the_library_one_key_under_two_ids() -> None:
    """The library counts key ids. One key under two of them meets a threshold of two there, and not here."""
    root = new_root(
        "acme", _holders(("ada", "ben")), _signers(("ada", "ben")), threshold=2, expires=EXPIRES
    ).current
    value = json.loads(root.raw)
    signed, ada, ben = value["signed"], tuf_key_id(KEYS["ada"].public), tuf_key_id(KEYS["ben"].public)
    signed["keys"][ben] = signed["keys"][ada]
    signature = KEYS["ada"].sign(olpc_json(signed)).hex()
    value["signatures"] = [{"keyid": key, "sig": signature} for key in sorted((ada, ben))]
    forged = canonical_json(value)

    try:
        Metadata[Root].from_bytes(forged).verify_delegate("root", Metadata[Root].from_bytes(forged))
    except UnsignedMetadataError:  # pragma: no cover
        pytest.fail("the library has become as strict: say so here")
    assert not _we_accept([forged])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_canonical_json_of_tuf_is_the_librarys(value: Any) -> None:
    from securesystemslib.formats import encode_canonical

    text = encode_canonical(value)
    assert text is not None
    try:
        expected = text.encode()
    except UnicodeEncodeError:
        return
    assert olpc_json(value) == expected
