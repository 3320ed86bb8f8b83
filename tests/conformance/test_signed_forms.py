"""DSSE against securesystemslib, RFC 8785 against a second way of writing it down."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from placet.attest.envelope import (
    PAYLOAD_TYPE,
    parse_envelope,
    pre_authentication_encoding,
    sign_statement,
    verify_envelope,
)
from placet.attest.keys import KeyKind, LocalSigner, low_s, new_signer
from placet.attest.statement import Subject, build_statement
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import Error, IntegrityError
from tests.support.offices import signer_named

ED25519, P256 = signer_named("ada"), new_signer(KeyKind.P256)
STATEMENT = build_statement("https://example.org/x/v1", (Subject("x", digest_bytes(b"x")),), {"a": "\u00fc"})


def _key(signer: LocalSigner) -> SSlibKey:
    scheme = "ecdsa-sha2-nistp256" if signer.public.kind is KeyKind.P256 else "ed25519"
    key_id = signer.public.key_id.removeprefix("sha256:")
    return SSlibKey.from_crypto(signer.private.public_key(), keyid=key_id, scheme=scheme)


# --- DSSE --------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.text(max_size=60))
def test_what_is_signed_is_the_same_bytes(payload: bytes, kind: str) -> None:
    try:
        kind.encode()
    except UnicodeEncodeError:
        return
    assert pre_authentication_encoding(kind, payload) == TheirEnvelope(payload, kind, {}).pae()


@pytest.mark.parametrize("signer", [ED25519, P256], ids=["ed25519", "p256"])
def test_theirs_verifies_ours(signer: LocalSigner) -> None:
    raw = sign_statement(STATEMENT, signer).raw
    theirs = TheirEnvelope.from_dict(json.loads(raw))

    assert theirs.payload == STATEMENT.payload
    assert list(theirs.verify([_key(signer)], 1)) == [signer.public.key_id.removeprefix("sha256:")]
    theirs.payload += b" "
    with pytest.raises(VerificationError):
        theirs.verify([_key(signer)], 1)


@pytest.mark.parametrize("signer", [ED25519, P256], ids=["ed25519", "p256"])
def test_ours_verifies_theirs(signer: LocalSigner) -> None:
    theirs = TheirEnvelope(STATEMENT.payload, PAYLOAD_TYPE, {})
    signature = theirs.sign(CryptoSigner(signer.private, _key(signer)))
    value = theirs.to_dict()
    if signer.public.kind is KeyKind.P256:
        import base64

        # They write either spelling of an ECDSA signature; we take the low one.
        value["signatures"][0]["sig"] = base64.b64encode(low_s(bytes.fromhex(signature.signature))).decode()

    statement = verify_envelope(parse_envelope(canonical_json(value)), signer.public)

    assert statement == STATEMENT


def test_where_we_are_stricter_one_key_under_two_ids_in_one_envelope() -> None:
    """securesystemslib counts key ids: one key under two of them meets a threshold of two."""
    theirs = TheirEnvelope(STATEMENT.payload, PAYLOAD_TYPE, {})
    keys = []
    for name in ("00" * 32, "11" * 32):
        key = SSlibKey.from_crypto(ED25519.private.public_key(), keyid=name, scheme="ed25519")
        theirs.sign(CryptoSigner(ED25519.private, key))
        keys.append(key)
    raw = canonical_json(theirs.to_dict())

    assert len(theirs.signatures) == 2
    with pytest.raises(IntegrityError, match="not an envelope with one signature"):
        parse_envelope(raw)


# --- RFC 8785 ----------------------------------------------------------------------------------------------

_ESCAPES = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}


def _jcs(value: Any) -> str:
    """RFC 8785 section 3.2 for what a record may hold: no fractions."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return (
            '"'
            + "".join(_ESCAPES.get(ord(c), c if ord(c) >= 0x20 else f"\\u{ord(c):04x}") for c in value)
            + '"'
        )
    if isinstance(value, list):
        return "[" + ",".join(_jcs(item) for item in value) + "]"
    ordered = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(f"{_jcs(key)}:{_jcs(value[key])}" for key in ordered) + "}"


_TEXT = st.text(st.characters(codec="utf-8"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXT, inner, max_size=5),
        max_leaves=25,
    )
)
def test_canonical_json_is_that_of_the_rfc(value: Any) -> None:
    written = canonical_json(value)

    assert written == _jcs(value).encode()
    assert json.loads(written) == value


def test_names_are_sorted_by_utf16_code_units_not_by_code_points() -> None:
    # U+1F600 is two units that begin with D83D, which come before FB33; by code point it would come after.
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2, "\u00f6": 3, "\r": 4, "1": 5}) == (
        '{"\\r":4,"1":5,"\u00f6":3,"\U0001f600":2,"\ufb33":1}'.encode()
    )


@pytest.mark.parametrize("value", [1.0, 2**53, -(2**53), float("nan"), {1: 2}, "\ud800", b"x", {"a": [0.1]}])
def test_what_has_no_one_spelling_is_refused(value: Any) -> None:
    with pytest.raises(Error):
        canonical_json(value)
