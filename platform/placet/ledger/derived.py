"""What the derived tables say about a record: made from its envelope alone, for finding it, never for believing it.

Also the fast way of taking envelopes and statements apart. It accepts a part of what
:func:`~placet.attest.envelope.parse_envelope` and :func:`~placet.attest.statement.parse_statement` accept, namely
nearly everything that is ever written, gives the same values, and hands all else to those two.
"""

from __future__ import annotations

import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from placet.attest.envelope import PAYLOAD_TYPE, Envelope, parse_envelope
from placet.attest.statement import STATEMENT_TYPE, parse_statement
from placet.domain.digests import Digest

_START = b'{"payload":"'
_TAIL = re.compile(
    rb'","payloadType":"' + re.escape(PAYLOAD_TYPE.encode()) + rb'",'
    rb'"signatures":\[\{"keyid":"([0-9a-f]{64})","sig":"([A-Za-z0-9+/]{86}==)"\}\]\}'
)
_TAIL_BYTES = len(f'","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"keyid":"","sig":""}}]}}') + 64 + 88
_TYPE_AND_SUBJECTS = re.compile(
    rb',"predicateType":"([!#-\[\]-~]+)","subject":'
    rb'\[(?:\{"digest":\{"sha256":"[0-9a-f]{64}"\},"name":"(?:[^"\\]|\\.)*"\},?)+\]\}\Z',
    re.DOTALL,
)
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG = b"0" * 16
_LONG_NUMBER = re.compile(rb"[:,\[]-?[0-9]{16}")
_ASTRAL = re.compile(rb"[\xf0-\xff]")
_MAX_BRACKETS = 100
_HEX64 = re.compile(r"[0-9a-f]{64}")


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of a record")


_DECODER = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, check_circular=False)
_STATEMENT_KEYS = {"_type", "subject", "predicateType", "predicate"}


@dataclass(frozen=True, slots=True)
class Derived:
    """A record's row in the derived tables: type, signing key, subjects and the fields that are asked for often.

    `subjects` are (name, digest), sorted. `made_at` is the moment the record itself gives, UTC, in ISO 8601; `suite`
    is a measurement's suite, `decision` a verdict's or a reviewer's, `channel` a release's.
    """

    index: int
    predicate_type: str
    key_id: str
    subjects: tuple[tuple[str, str], ...]
    made_at: str | None = None
    decision: str | None = None
    suite: str | None = None
    channel: str | None = None


_MADE_AT: tuple[tuple[str, ...], ...] = (
    ("finishedAt",),
    ("decidedAt",),
    ("plannedAt",),
    ("submittedAt",),
    ("examinedAt",),
    ("reviewedAt",),
    ("waivedAt",),
    ("releasedAt",),
    ("revokedAt",),
    ("issuedAt",),
    ("runDetails", "metadata", "finishedOn"),
)


def derive(index: int, envelope: bytes) -> Derived:
    """Return what the derived tables hold about the record at `index`.

    Raises:
        IntegrityError: The envelope cannot be taken apart.
    """
    taken = split_envelope(envelope)
    return derive_value(index, taken.key_id, split_statement(taken.payload))


def derive_value(index: int, key_id: str, statement: dict[str, Any]) -> Derived:
    """Return what the derived tables hold about a statement that was taken apart."""
    subjects = sorted((item["name"], "sha256:" + item["digest"]["sha256"]) for item in statement["subject"])
    predicate = statement["predicate"]
    made_at = next((text for path in _MADE_AT if (text := _text(predicate, *path)) is not None), None)
    return Derived(
        index,
        statement["predicateType"],
        key_id,
        tuple(subjects),
        made_at,
        _text(predicate, "decision"),
        _text(predicate, "suite", "id"),
        _text(predicate, "channel"),
    )


def split_envelope(raw: bytes) -> Envelope:
    """Take an envelope apart, as :func:`~placet.attest.envelope.parse_envelope` does.

    Raises:
        IntegrityError: Not an envelope with one signature in canonical form.
    """
    match = _TAIL.fullmatch(raw, max(0, len(raw) - _TAIL_BYTES))
    if match is not None and raw.startswith(_START):
        text = raw[len(_START) : -_TAIL_BYTES]
        try:
            payload, signature = binascii.a2b_base64(text), binascii.a2b_base64(match[2])
        except ValueError:
            return parse_envelope(raw)
        # Anything that the decoder passes over, and stray bits, would be another spelling of the same bytes.
        plain = binascii.b2a_base64(payload, newline=False) == text
        if plain and binascii.b2a_base64(signature, newline=False) == match[2]:
            return Envelope(payload, Digest("sha256:" + match[1].decode()), signature, raw)
    return parse_envelope(raw)


def split_statement(payload: bytes) -> dict[str, Any]:
    """Return the JSON value of a statement, as :func:`~placet.attest.statement.parse_statement` reads it.

    Raises:
        IntegrityError: Not canonical JSON, or not an in-toto Statement v1.
    """
    try:
        if _is_plain(payload):
            value = _DECODER.decode(payload.decode())
            # Of a key that was there twice only one is left, so that the bytes differ.
            if _ENCODER.encode(value).encode() == payload and _is_statement(value):
                return cast("dict[str, Any]", value)
    except (ValueError, RecursionError, TypeError):
        pass
    return _slowly(payload)


def predicate_type_of(payload: bytes) -> str:
    """Return the predicate type that a statement names, of which nothing else is looked at.

    In a statement, which is strict JSON with sorted keys, nothing but the top level ends in a predicate type and
    subjects. What is no statement may name anything: :func:`split_statement` finds that.

    Raises:
        IntegrityError: It names none.
    """
    match = _TYPE_AND_SUBJECTS.match(payload, payload.rfind(b',"predicateType":"'))
    return match[1].decode() if match is not None else parse_statement(payload).predicate_type


def _is_plain(payload: bytes) -> bool:
    """Tell whether Python's JSON of what `payload` holds would be canonical JSON, floats aside."""
    return (
        payload.count(b"[") + payload.count(b"{") <= _MAX_BRACKETS
        # Integers beyond 2**53 are refused. Digests may hold as many digits: then it is looked at more closely.
        and (_LONG not in payload.translate(_DIGITS) or not _LONG_NUMBER.search(payload))
        # Keys with characters beyond U+FFFF are sorted otherwise.
        and (payload.isascii() or not _ASTRAL.search(payload))
    )


def _slowly(payload: bytes) -> dict[str, Any]:
    statement = parse_statement(payload)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": item.name, "digest": {"sha256": item.digest.removeprefix("sha256:")}}
            for item in statement.subjects
        ],
        "predicateType": statement.predicate_type,
        "predicate": statement.predicate,
    }


def _is_statement(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == _STATEMENT_KEYS
        and value["_type"] == STATEMENT_TYPE
        and isinstance(value["predicateType"], str)
        and isinstance(value["predicate"], dict)
        and isinstance(value["subject"], list)
        and bool(value["subject"])
        and all(_is_subject(item) for item in value["subject"])
    )


def _is_subject(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and set(item) == {"name", "digest"}
        and isinstance(item["name"], str)
        and isinstance(item["digest"], dict)
        and set(item["digest"]) == {"sha256"}
        and isinstance(item["digest"]["sha256"], str)
        and _HEX64.fullmatch(item["digest"]["sha256"]) is not None
    )


def _text(value: Any, *path: str) -> str | None:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value if isinstance(value, str) else None
