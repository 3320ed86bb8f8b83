"""What the derived tables say about a record: made from its envelope alone, for finding it, never for believing it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from placet.attest.envelope import parse_envelope
from placet.attest.statement import Statement, parse_statement
from placet.domain.digests import Digest

_TYPE_AND_SUBJECTS = re.compile(
    rb',"predicateType":"([!#-\[\]-~]+)","subject":'
    rb'\[(?:\{"digest":\{"sha256":"[0-9a-f]{64}"\},"name":"(?:[^"\\]|\\.)*"\},?)+\]\}\Z',
    re.DOTALL,
)
_DIGEST = re.compile(rb'\{"digest":\{"sha256":"([0-9a-f]{64})"\}')


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
    taken = parse_envelope(envelope)
    return derive_statement(index, taken.key_id, parse_statement(taken.payload))


def derive_statement(index: int, key_id: str, statement: Statement) -> Derived:
    """Return what the derived tables hold about a statement that was taken apart."""
    subjects = sorted((item.name, str(item.digest)) for item in statement.subjects)
    predicate = statement.predicate
    made_at = next((text for path in _MADE_AT if (text := _text(predicate, *path)) is not None), None)
    return Derived(
        index,
        statement.predicate_type,
        key_id,
        tuple(subjects),
        made_at,
        _text(predicate, "decision"),
        _text(predicate, "suite", "id"),
        _text(predicate, "channel"),
    )


def predicate_type_of(payload: bytes) -> str:
    """Return the predicate type that a statement names, of which nothing else is looked at.

    In a statement, which is strict JSON with sorted keys, nothing but the top level ends in a predicate type and
    subjects. What is no statement may name anything: :func:`~placet.attest.statement.parse_statement` finds that.

    Raises:
        IntegrityError: It names none.
    """
    match = _TYPE_AND_SUBJECTS.match(payload, payload.rfind(b',"predicateType":"'))
    return match[1].decode() if match is not None else parse_statement(payload).predicate_type


def said_at_the_end(payload: bytes) -> tuple[str, frozenset[Digest]]:
    """Return the predicate type that a statement names and the digests it is about; nothing else is looked at.

    Raises:
        IntegrityError: It names none.
    """
    at = payload.rfind(b',"predicateType":"')
    match = _TYPE_AND_SUBJECTS.match(payload, at)
    if match is None:
        statement = parse_statement(payload)
        return statement.predicate_type, frozenset(item.digest for item in statement.subjects)
    found = _DIGEST.findall(payload, match.end(1))
    return match[1].decode(), frozenset(Digest("sha256:" + item.decode()) for item in found)


def _text(value: Any, *path: str) -> str | None:
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value if isinstance(value, str) else None
