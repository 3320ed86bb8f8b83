"""in-toto Statements v1 in canonical JSON.

Guarantees: building is deterministic (equal content, equal bytes); a record's id is the SHA-256 of those
bytes, never of a signature, so it is stable and cannot be made malleable.

Source: in-toto Attestation Framework, Statement v1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from placet.attest.strict_json import parse_json, recognise_canonical
from placet.domain.digests import Digest, canonical_json, digest_bytes, parse_digest
from placet.domain.errors import Error, IntegrityError

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_NAMES = {"_type", "subject", "predicateType", "predicate"}
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about: a name for people, a digest for machines."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Statement:
    """A parsed statement together with the exact bytes it was parsed from."""

    predicate_type: str
    subjects: tuple[Subject, ...]
    predicate: dict[str, Any]
    payload: bytes

    @property
    def record_id(self) -> Digest:
        """SHA-256 of the payload."""
        return digest_bytes(self.payload)

    def names(self, digest: Digest) -> bool:
        """Tell whether `digest` is one of the subjects."""
        return any(subject.digest == digest for subject in self.subjects)


def build_statement(
    predicate_type: str, subjects: tuple[Subject, ...], predicate: dict[str, Any]
) -> Statement:
    """Return the statement, its payload canonical.

    Raises:
        Error: No subject, or a predicate that canonical JSON cannot hold.
    """
    if not subjects:
        raise Error("a statement needs a subject", hint="name the digest of what it is about")
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": subject.name, "digest": {"sha256": subject.digest.removeprefix("sha256:")}}
            for subject in subjects
        ],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    return parse_statement(canonical_json(value))


def parse_statement(payload: bytes) -> Statement:
    """Return the statement in `payload`.

    Raises:
        IntegrityError: Not strict JSON, not canonical, or not an in-toto Statement v1.
    """
    value = recognise_canonical(payload)
    if value is None or not _is_statement(value):
        return _parse_strictly(payload)
    subjects = tuple(
        Subject(item["name"], Digest("sha256:" + item["digest"]["sha256"])) for item in value["subject"]
    )
    return Statement(value["predicateType"], subjects, value["predicate"], payload)


def _is_statement(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == _NAMES
        and value["_type"] == STATEMENT_TYPE
        and type(value["predicateType"]) is str
        and type(value["predicate"]) is dict
        and type(value["subject"]) is list
        and bool(value["subject"])
        and all(_is_subject(item) for item in value["subject"])
    )


def _is_subject(item: Any) -> bool:
    return (
        type(item) is dict
        and item.keys() == {"name", "digest"}
        and type(item["name"]) is str
        and type(item["digest"]) is dict
        and item["digest"].keys() == {"sha256"}
        and type(item["digest"]["sha256"]) is str
        and _HEX64.fullmatch(item["digest"]["sha256"]) is not None
    )


def _parse_strictly(payload: bytes) -> Statement:
    value = parse_json(payload, "statement")
    try:
        if value["_type"] != STATEMENT_TYPE or set(value) != _NAMES:
            raise KeyError("_type")
        subjects = tuple(
            Subject(_text(item["name"]), parse_digest("sha256:" + item["digest"]["sha256"]))
            for item in value["subject"]
        )
        predicate_type, predicate = value["predicateType"], value["predicate"]
        if not (subjects and isinstance(predicate_type, str) and isinstance(predicate, dict)):
            raise TypeError("subject, predicateType or predicate")
        canonical = canonical_json(value)
    except (Error, KeyError, TypeError) as error:
        raise IntegrityError(
            f"not an in-toto Statement v1: {error}",
            hint="the record was not written by Placet, or was altered",
        ) from error
    if canonical != payload:
        raise IntegrityError(
            "a statement is not in canonical form", hint="one content has one spelling (RFC 8785): refuse it"
        )
    return Statement(predicate_type, subjects, predicate, payload)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name that is not text")
    return value
