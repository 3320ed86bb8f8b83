from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.attest.statement import STATEMENT_TYPE, Subject, build_statement, parse_statement
from placet.attest.strict_json import parse_json
from placet.domain.digests import canonical_json, digest_bytes, parse_digest
from placet.domain.errors import Error, IntegrityError

DIGEST = digest_bytes(b"subject")
SUBJECT = Subject("desk-good", DIGEST)
TYPE = "https://placet.dev/verdict/v1"


def _value(**changed: Any) -> dict[str, Any]:
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "desk-good", "digest": {"sha256": DIGEST.removeprefix("sha256:")}}],
        "predicateType": TYPE,
        "predicate": {"decision": "ALLOW"},
    }
    return value | changed


# --- strict JSON -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1,"a":1}', "the same key twice"),
        (b'{"b":{"a":1,"\\u0061":2}}', "the same key twice"),
        (b"NaN", "holds NaN"),
        (b"[Infinity]", "holds Infinity"),
        (b"[-Infinity]", "holds -Infinity"),
        (b"1e999", "holds 1e999"),
        (b"[-1e400]", "holds -1e400"),
        (b"{", "not valid JSON"),
        (b"", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b'"\xff"', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
    ],
)
def test_ambiguous_or_broken_json_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(IntegrityError, match=f"the file: .*{reason}") as caught:
        parse_json(text, "the file")
    assert caught.value.hint


# --- statements --------------------------------------------------------------------------------------------


def test_a_statement_is_in_toto_v1_and_reads_back_equal() -> None:
    statement = build_statement(TYPE, (SUBJECT,), {"decision": "ALLOW"})

    assert json.loads(statement.payload) == _value()
    assert parse_statement(statement.payload) == statement
    assert statement.record_id == digest_bytes(statement.payload)
    assert statement.names(DIGEST)
    assert not statement.names(digest_bytes(b"other"))


def test_a_statement_about_nothing_is_refused() -> None:
    with pytest.raises(Error, match="needs a subject"):
        build_statement(TYPE, (), {})


def test_a_float_cannot_get_into_a_statement() -> None:
    with pytest.raises(Error, match="cannot be recorded exactly"):
        build_statement(TYPE, (SUBJECT,), {"mean": 0.5})


@pytest.mark.parametrize(
    "value",
    [
        [],
        "text",
        None,
        5,
        {},
        _value(_type="https://in-toto.io/Statement/v0.1"),
        _value(extra=1),
        _value(subject=[]),
        _value(subject={}),
        _value(subject="x"),
        _value(subject=[{"name": "x"}]),
        _value(subject=[{"name": "x", "digest": {"sha512": "00"}}]),
        _value(subject=[{"name": "x", "digest": {"sha256": "AB" * 32}}]),
        _value(subject=[{"name": "x", "digest": {"sha256": 5}}]),
        _value(subject=[{"name": "x", "digest": []}]),
        _value(subject=[{"name": 7, "digest": {"sha256": "ab" * 32}}]),
        _value(predicateType=5),
        _value(predicate=[]),
        _value(predicate="x"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_what_is_not_a_statement_of_ours_is_refused(value: Any) -> None:
    with pytest.raises(IntegrityError, match="not an in-toto Statement v1"):
        parse_statement(canonical_json(value))


def test_what_else_a_subject_says_is_kept_in_the_bytes_and_not_used() -> None:
    # in-toto lets a descriptor grow fields: a foreign training statement may have them.
    subject = {"name": "x", "digest": {"sha256": "ab" * 32, "sha1": "cd"}, "uri": "u"}

    assert parse_statement(canonical_json(_value(subject=[subject]))).subjects == (
        Subject("x", parse_digest("sha256:" + "ab" * 32)),
    )


@pytest.mark.parametrize(
    "spelling",
    [
        json.dumps(_value()).encode(),
        canonical_json(_value()) + b"\n",
        b" " + canonical_json(_value()),
        canonical_json(_value()).replace(b"ALLOW", b"\\u0041LLOW"),
        json.dumps(_value(), separators=(",", ":"), sort_keys=False).encode(),
    ],
)
def test_one_content_has_one_spelling(spelling: bytes) -> None:
    assert json.loads(spelling) == _value()
    with pytest.raises(IntegrityError, match="not in canonical form"):
        parse_statement(spelling)


@pytest.mark.parametrize(
    "payload",
    [
        canonical_json(_value()).replace(b"ALLOW", b"\\ud800"),
        canonical_json(_value()).replace(b'"ALLOW"', b"0.5"),
        canonical_json(_value()).replace(b'"ALLOW"', b"1e999"),
        canonical_json(_value()).replace(b'"ALLOW"', b"9007199254740993"),
        canonical_json(_value()).replace(b'"ALLOW"', b"[" * 900 + b"]" * 900),
    ],
)
def test_hostile_payloads_are_integrity_errors_never_crashes(payload: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_statement(payload)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_cleanly(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_statement(data)


@settings(deadline=None)
@given(st.data())
def test_a_flipped_byte_never_reads_as_the_same_statement(data: st.DataObject) -> None:
    statement = build_statement(TYPE, (SUBJECT,), {"decision": "ALLOW"})
    position = data.draw(st.integers(0, len(statement.payload) - 1))
    flip = data.draw(st.integers(1, 255))
    altered = bytearray(statement.payload)
    altered[position] ^= flip

    try:
        parsed = parse_statement(bytes(altered))
    except IntegrityError:
        return
    assert parsed.record_id != statement.record_id
    assert (parsed.predicate_type, parsed.subjects, parsed.predicate) != (
        statement.predicate_type,
        statement.subjects,
        statement.predicate,
    )
