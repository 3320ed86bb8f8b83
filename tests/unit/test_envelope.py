from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.attest.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    parse_envelope,
    pre_authentication_encoding,
    sign_statement,
    verify_envelope,
)
from placet.attest.statement import Statement, Subject, build_statement
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import IntegrityError
from tests.support.offices import signer_named

SIGNER, OTHER = signer_named("ada"), signer_named("ben")
# The order of the Ed25519 group: adding it to S gives a second, non-canonical signature of the same message.
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def _statement(text: str = "ALLOW") -> Statement:
    return build_statement(
        "https://placet.dev/verdict/v1", (Subject("x", digest_bytes(b"x")),), {"decision": text}
    )


ENVELOPE = sign_statement(_statement(), SIGNER)


def _with(**changed: Any) -> bytes:
    return canonical_json(json.loads(ENVELOPE.raw) | changed)


def _signatures(**changed: Any) -> bytes:
    entry = json.loads(ENVELOPE.raw)["signatures"][0]
    return _with(signatures=[entry | changed])


def test_what_is_signed_is_the_dsse_pre_authentication_encoding() -> None:
    # The example of the DSSE protocol document.
    assert (
        pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    SIGNER.public.verify(ENVELOPE.signature, pre_authentication_encoding(PAYLOAD_TYPE, ENVELOPE.payload))


def test_a_signed_statement_comes_back_from_its_envelope() -> None:
    parsed = parse_envelope(ENVELOPE.raw)

    assert verify_envelope(parsed, SIGNER.public) == _statement()
    assert parsed.record_id == _statement().record_id
    assert parsed.key_id == SIGNER.public.key_id


def test_another_key_is_refused_before_anything_is_verified() -> None:
    with pytest.raises(IntegrityError, match="names another key"):
        verify_envelope(ENVELOPE, OTHER.public)


def test_a_signature_by_another_key_under_this_keys_name_is_refused() -> None:
    stolen_name = sign_statement(_statement(), OTHER)
    forged = Envelope(stolen_name.payload, SIGNER.public.key_id, stolen_name.signature, stolen_name.raw)

    with pytest.raises(IntegrityError, match="signature does not match"):
        verify_envelope(forged, SIGNER.public)


def test_a_payload_under_the_signature_of_another_is_refused() -> None:
    raw = _with(payload=base64.b64encode(_statement("DENY").payload).decode())

    with pytest.raises(IntegrityError, match="signature does not match"):
        verify_envelope(parse_envelope(raw), SIGNER.public)


def test_a_signature_over_the_bare_payload_is_refused() -> None:
    raw = _signatures(sig=base64.b64encode(SIGNER.sign(_statement().payload)).decode())

    with pytest.raises(IntegrityError, match="signature does not match"):
        verify_envelope(parse_envelope(raw), SIGNER.public)


def test_a_malleated_signature_is_refused() -> None:
    r, s = ENVELOPE.signature[:32], int.from_bytes(ENVELOPE.signature[32:], "little")
    malleated = r + (s + GROUP_ORDER).to_bytes(32, "little")
    raw = _signatures(sig=base64.b64encode(malleated).decode())

    with pytest.raises(IntegrityError, match="signature does not match"):
        verify_envelope(parse_envelope(raw), SIGNER.public)


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_refused(length: int) -> None:
    raw = _signatures(sig=base64.b64encode((ENVELOPE.signature * 2)[:length]).decode())

    with pytest.raises(IntegrityError):
        verify_envelope(parse_envelope(raw), SIGNER.public)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"5",
        b'"payloadType"',
        canonical_json(["payloadType", "payload", "signatures"]),
        _with(payloadType="application/json"),
        _with(extra="x"),
        _with(signatures=[]),
        _with(signatures=json.loads(ENVELOPE.raw)["signatures"] * 2),
        _with(signatures=[5]),
        _with(signatures=["ab"]),
        _with(signatures=None),
        _with(payload=5),
        _with(payload=None),
        _with(payload="é"),
        _with(payload="###="),
        _signatures(extra="x"),
        _signatures(keyid=5),
        _signatures(keyid=SIGNER.public.key_id),
        _signatures(keyid=SIGNER.public.key_id.removeprefix("sha256:").upper()),
        _signatures(sig=5),
        _signatures(sig="###="),
        ENVELOPE.raw.replace(b'"payload":', b'"payload":"","payload":', 1),
    ],
    ids=range(24),
)
def test_what_is_not_an_envelope_with_one_signature_is_refused(raw: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_envelope(raw)


@pytest.mark.parametrize("field", ["payload", "sig"])
def test_base64_with_stray_bits_is_a_second_spelling_and_refused(field: str) -> None:
    value = json.loads(ENVELOPE.raw)
    text = value["payload"] if field == "payload" else value["signatures"][0]["sig"]
    if not text.endswith("="):  # make the last group a short one
        longer = sign_statement(_statement("ALLOW" + " " * (1 if len(text) % 3 else 2)), SIGNER)
        value = json.loads(longer.raw)
        text = value["payload"]
    assert text.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    position = len(text.rstrip("=")) - 1
    stray = text[:position] + alphabet[alphabet.index(text[position]) ^ 1] + text[position + 1 :]
    assert base64.b64decode(stray) == base64.b64decode(text)
    if field == "payload":
        value["payload"] = stray
    else:
        value["signatures"][0]["sig"] = stray

    with pytest.raises(IntegrityError, match="base64"):
        parse_envelope(canonical_json(value))


def test_white_space_and_other_spellings_of_an_envelope_are_refused() -> None:
    for raw in (ENVELOPE.raw + b"\n", b" " + ENVELOPE.raw, json.dumps(json.loads(ENVELOPE.raw)).encode()):
        with pytest.raises(IntegrityError, match="canonical form"):
            parse_envelope(raw)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_cleanly(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_envelope(data)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(ENVELOPE.raw) - 1), st.integers(1, 255))
def test_no_flipped_byte_ever_verifies(position: int, flip: int) -> None:
    altered = bytearray(ENVELOPE.raw)
    altered[position] ^= flip

    with pytest.raises(IntegrityError):
        verify_envelope(parse_envelope(bytes(altered)), SIGNER.public)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(ENVELOPE.raw)), st.binary(min_size=1, max_size=8), st.integers(0, 8))
def test_no_splice_ever_verifies(position: int, inserted: bytes, removed: int) -> None:
    altered = ENVELOPE.raw[:position] + inserted + ENVELOPE.raw[position + removed :]
    if altered == ENVELOPE.raw:
        return

    with pytest.raises(IntegrityError):
        verify_envelope(parse_envelope(altered), SIGNER.public)
