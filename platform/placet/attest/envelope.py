"""DSSE envelopes with exactly one signature.

Guarantees: :func:`verify_envelope` checks the signature over the exact payload bytes before anything in them
is parsed; an envelope with no signature, with several, with a foreign payload type or an unknown field is
refused. Several people sign several envelopes; thresholds are counted across them by :mod:`placet.attest.trust`.

Source: DSSE protocol v1.0.2 (pre-authentication encoding).
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import lru_cache

from placet.attest.keys import PublicKey, Signer
from placet.attest.signatures import GoodSignatures
from placet.attest.statement import Statement, parse_statement
from placet.attest.strict_json import parse_base64, parse_json
from placet.domain.digests import Digest, canonical_json, digest_bytes, parse_digest
from placet.domain.errors import Error, IntegrityError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_START = b'{"payload":"'
_TAIL = re.compile(
    rb'","payloadType":"' + re.escape(PAYLOAD_TYPE.encode()) + rb'",'
    # Of the last letter's six bits two belong to the 64 bytes; the others are zero.
    rb'"signatures":\[\{"keyid":"([0-9a-f]{64})","sig":"([A-Za-z0-9+/]{85}[AQgw]==)"\}\]\}'
)
_TAIL_BYTES = len(f'","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"keyid":"","sig":""}}]}}') + 64 + 88


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope taken apart but not yet verified: nothing in `payload` may be believed."""

    payload: bytes
    key_id: Digest
    signature: bytes
    raw: bytes

    @property
    def record_id(self) -> Digest:
        """SHA-256 of the payload."""
        return digest_bytes(self.payload)


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return DSSE's PAE: what is signed."""
    return b"%s %d %s" % (_pae_start(payload_type), len(payload), payload)


@lru_cache(maxsize=8)
def _pae_start(payload_type: str) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %s" % (len(kind), kind)


def sign_statement(statement: Statement, signer: Signer) -> Envelope:
    """Return `statement` in an envelope signed by `signer`."""
    signature = signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, statement.payload))
    raw = canonical_json(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(statement.payload).decode(),
            "signatures": [
                {
                    "keyid": signer.public.key_id.removeprefix("sha256:"),
                    "sig": base64.b64encode(signature).decode(),
                }
            ],
        }
    )
    return parse_envelope(raw)


def parse_envelope(raw: bytes) -> Envelope:
    """Take `raw` apart.

    Raises:
        IntegrityError: Not a DSSE envelope of an in-toto payload with one signature, in canonical form.
    """
    # What an Ed25519 key signed, as it is nearly always written. All else is read strictly.
    match = _TAIL.fullmatch(raw, max(0, len(raw) - _TAIL_BYTES))
    if match is not None and raw.startswith(_START):
        text = raw[len(_START) : -_TAIL_BYTES]
        try:
            payload = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            return _parse_strictly(raw)
        # Stray bits at the end would be another spelling of the same bytes, which the decoder passes over.
        left = len(payload) % 3
        if not left or binascii.b2a_base64(payload[-left:], newline=False) == text[-4:]:
            return Envelope(
                payload, Digest("sha256:" + match[1].decode()), binascii.a2b_base64(match[2]), raw
            )
    return _parse_strictly(raw)


def _parse_strictly(raw: bytes) -> Envelope:
    value = parse_json(raw, "envelope")
    try:
        if set(value) != {"payloadType", "payload", "signatures"} or value["payloadType"] != PAYLOAD_TYPE:
            raise KeyError("payloadType")
        (entry,) = value["signatures"]
        if set(entry) != {"keyid", "sig"}:
            raise KeyError("signatures")
        payload, signature = parse_base64(value["payload"]), parse_base64(entry["sig"])
        key_id = parse_digest("sha256:" + entry["keyid"])
        canonical = canonical_json(value)
    except (Error, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"not an envelope with one signature: {error}", hint="the record was damaged or altered"
        ) from error
    if canonical != raw:
        raise IntegrityError(
            "an envelope is not in canonical form", hint="one content has one spelling: refuse it"
        )
    return Envelope(payload, key_id, signature, raw)


def verify_envelope(envelope: Envelope, key: PublicKey, good: GoodSignatures | None = None) -> Statement:
    """Return the statement if `key` signed it.

    Args:
        envelope: The envelope.
        key: The key that it has to name.
        good: Signatures that were verified already.

    Raises:
        IntegrityError: Another key is named, the signature is wrong, or the payload is no statement.
    """
    if envelope.key_id != key.key_id:
        raise IntegrityError("an envelope names another key", hint="verify it with the key it names")
    message = pre_authentication_encoding(PAYLOAD_TYPE, envelope.payload)
    if good is None or not good.has(key, envelope.signature, message):
        key.verify(envelope.signature, message)
    return parse_statement(envelope.payload)
