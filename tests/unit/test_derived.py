"""The fast way of taking records apart agrees with the strict one on everything, accepted or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.attest import envelope as envelope_module
from placet.attest import statement as statement_module
from placet.attest.envelope import parse_envelope, sign_statement
from placet.attest.statement import STATEMENT_TYPE, Subject, build_statement, parse_statement
from placet.attest.strict_json import recognise_canonical
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import Error, IntegrityError
from placet.ledger.derived import derive, predicate_type_of
from tests.support.offices import signer_named

ADA = signer_named("ada")
SUBJECT = Subject("x", digest_bytes(b"x"))
ENVELOPE = sign_statement(build_statement("https://placet.dev/verdict/v1", (SUBJECT,), {"a": 1}), ADA)

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def _parsed(parse: Any) -> Any:
    def run(raw: bytes) -> Any:
        try:
            return parse(raw)
        except IntegrityError:
            return None

    return run


_strict, _fast = _parsed(statement_module._parse_strictly), _parsed(parse_statement)


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), st.text(max_size=10))
def test_statements_read_alike(predicate: dict[str, Any], name: str) -> None:
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": "ab" * 32}}],
        "predicateType": "https://placet.dev/x/v1",
        "predicate": predicate,
    }
    try:
        payload = canonical_json(value)
    except Error:
        return
    assert _fast(payload) == _strict(payload)
    assert json.loads(payload) == value
    assert predicate_type_of(payload) == "https://placet.dev/x/v1"


@given(st.data())
def test_an_altered_byte_is_refused_or_read_alike(data: st.DataObject) -> None:
    for raw, strict, fast in (
        (ENVELOPE.payload, _strict, _fast),
        (ENVELOPE.raw, _parsed(envelope_module._parse_strictly), _parsed(parse_envelope)),
    ):
        at = data.draw(st.integers(0, len(raw) - 1))
        byte = data.draw(st.integers(0, 255))
        altered = raw[:at] + bytes([byte]) + raw[at + 1 :]
        assert fast(altered) == strict(altered)


def test_what_is_written_every_day_is_read_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (statement_module, envelope_module):
        monkeypatch.setattr(module, "_parse_strictly", lambda raw: pytest.fail("read strictly"))

    assert parse_statement(parse_envelope(ENVELOPE.raw).payload).predicate == {"a": 1}


@given(VALUES)
def test_canonical_json_is_recognised_with_the_value_it_has(value: Any) -> None:
    data = canonical_json(value)

    assert recognise_canonical(data) in (value, None)
    # Types too: 1 is not true.
    assert recognise_canonical(data) is None or repr(recognise_canonical(data)) == repr(json.loads(data))


@given(st.text(alphabet='{}[]":,01.-+eE \\tnulraseA\u00e9', max_size=24))
def test_no_other_json_is_recognised(text: str) -> None:
    value = recognise_canonical(text.encode())
    if value is not None:
        assert canonical_json(value) == text.encode()


def _with(predicate: str) -> bytes:
    return (
        f'{{"_type":"{STATEMENT_TYPE}","predicate":{predicate},"predicateType":"t",'
        f'"subject":[{{"digest":{{"sha256":"{"ab" * 32}"}},"name":"x"}}]}}'
    ).encode()


@pytest.mark.parametrize(
    "predicate",
    [
        '{"a":1.0}',
        '{"a":1e3}',
        '{"a":-0}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":9007199254740992}',
        '{"a":-9007199254740993}',
        '{"a":123456789012345678901234567890}',
        '{"a":1,"a":1}',
        '{"b":1,"a":1}',
        '{"a": 1}',
        '{"a":"\\u0061"}',
        '{"a":"\\/"}',
        '{"a":"\\ud800"}',
        '{"\U00010000":1,"\ue000":2}',
        '{"\ue000":2,"\U00010000":1}',
        "[]",
        '{"a":' + "[" * 120 + "]" * 120 + "}",
        '{"a":' + "[" * 101 + "]" * 101 + "}",
        '{"a":' + "[" * 60 + "]" * 60 + "}",
        '{"a":"' + "[" * 200 + '"}',
        '{"a":"1234567890123456"}',
        '{"a":":1234567890123456"}',
        '{"a":0.5}',
        '{"a":[1,2,0.5]}',
        '{"a":{"c":1,"b":1}}',
        '{"a":[{"c":1,"b":1}]}',
        '{"a":"\u007f"}',
        '{"a":"\\u001f\\b"}',
    ],
)
def test_odd_statements_are_refused_or_read_alike(predicate: str) -> None:
    payload = _with(predicate)

    assert _fast(payload) == _strict(payload)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b"}]}", b"} ]}"),
        lambda raw: raw + b"\n",
        lambda raw: b" " + raw,
        lambda raw: raw.replace(b'"sig":"', b'"sig":"A'),
        lambda raw: raw.replace(b'==","payloadType', b'=","payloadType').replace(
            b'=","payloadType', b'","payloadType'
        ),
        lambda raw: raw.replace(b"keyid", b"keyId"),
        lambda raw: raw.replace(b'{"payload":"', b'{"payload":"\\n'),
        lambda raw: b"",
    ],
)
def test_odd_envelopes_are_refused_or_read_alike(change: Any) -> None:
    raw = change(ENVELOPE.raw)

    assert _parsed(parse_envelope)(raw) == _parsed(envelope_module._parse_strictly)(raw)


def test_a_row_says_what_the_record_says() -> None:
    predicate = {
        "decision": "ALLOW",
        "suite": {"id": "s"},
        "channel": "c",
        "decidedAt": "2026-01-01T00:00:00Z",
    }
    subjects = (Subject("b", digest_bytes(b"b")), Subject("a", digest_bytes(b"a")))
    row = derive(7, sign_statement(build_statement("https://t/v1", subjects, predicate), ADA).raw)

    assert (row.index, row.predicate_type, row.key_id) == (7, "https://t/v1", ADA.public.key_id)
    assert row.subjects == (("a", digest_bytes(b"a")), ("b", digest_bytes(b"b")))
    assert (row.decision, row.suite, row.channel) == ("ALLOW", "s", "c")
    assert row.made_at == "2026-01-01T00:00:00Z"


def test_fields_of_another_type_are_left_out() -> None:
    predicate = {"decision": 5, "suite": "s", "channel": ["c"], "decidedAt": None}
    row = derive(0, sign_statement(build_statement("https://t/v1", (SUBJECT,), predicate), ADA).raw)

    assert (row.decision, row.suite, row.channel, row.made_at) == (None, None, None, None)
