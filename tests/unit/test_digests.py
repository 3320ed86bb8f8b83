from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.domain.digests import (
    canonical_json,
    decimal_string,
    digest_bytes,
    digest_json,
    digest_stream,
    parse_digest,
    short,
)
from placet.domain.errors import Error

HEX = "ab" * 32
EXACT = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_digest_of_nothing_is_the_known_sha256() -> None:
    assert digest_bytes(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@settings(deadline=None)
@given(st.binary(max_size=4000))
def test_stream_bytes_and_hashlib_agree(data: bytes) -> None:
    digest, size = digest_stream(io.BytesIO(data))

    assert digest == digest_bytes(data) == "sha256:" + hashlib.sha256(data).hexdigest()
    assert size == len(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        "sha256:" + HEX[:-1],
        "sha256:" + HEX + "0",
        "sha256:" + HEX.upper(),
        "sha512:" + HEX,
        "sha256:" + HEX + "\n",
        " sha256:" + HEX,
        "sha256:" + "\uff10" * 64,
    ],
)
def test_anything_but_lower_case_sha256_is_no_digest(text: str) -> None:
    with pytest.raises(Error, match="is not a digest") as caught:
        parse_digest(text)
    assert caught.value.hint


def test_a_digest_is_parsed_and_shortened() -> None:
    assert parse_digest("sha256:" + HEX) == "sha256:" + HEX
    assert short("sha256:" + HEX) == HEX[:12]


def test_canonical_json_sorts_by_utf16_code_units_as_rfc_8785_says() -> None:
    # RFC 8785 section 3.2.3: U+1F600 (a surrogate pair, D83D DE00) sorts before U+FB33.
    value = {"\ufb33": 1, "\U0001f600": 2, "\r": 3, "1": 4, "\u20ac": 5, "\u0080": 6, "\u00f6": 7}

    assert list(json.loads(canonical_json(value))) == [
        "\r",
        "1",
        "\u0080",
        "\u00f6",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]


def test_canonical_json_has_no_white_space_and_shortest_escapes() -> None:
    assert canonical_json({"b": [1, True, None], "a": '€$\n\x0f"\\/'}) == (
        '{"a":"€$\\n\\u000f\\"\\\\/","b":[1,true,null]}'.encode()
    )


@settings(deadline=None)
@given(EXACT)
def test_canonical_json_reads_back_equal_and_is_a_fixed_point(value: Any) -> None:
    text = canonical_json(value)

    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers(-1000, 1000), min_size=2, max_size=6))
def test_the_order_of_keys_does_not_change_a_digest(value: dict[str, int]) -> None:
    turned = dict(reversed(list(value.items())))

    assert digest_json(value) == digest_json(turned)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": 0.5}, r"\$\.a: float cannot be recorded exactly"),
        ([1, [2.0]], r"\$\[1\]\[0\]: float"),
        ({"a": float("nan")}, "float cannot"),
        ({"a": 2**53}, "integer beyond"),
        ({"a": -(2**53)}, "integer beyond"),
        ({1: "a"}, "is not a string"),
        ({"a": b"x"}, "bytes cannot"),
        ({"a": {1, 2}}, "set cannot"),
        ("\ud800", "Unicode"),
        ({"\udfff": 1}, "Unicode"),
    ],
)
def test_what_json_cannot_hold_exactly_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(Error, match=reason) as caught:
        canonical_json(value)
    assert caught.value.hint


def test_nesting_too_deep_to_walk_is_refused_not_a_crash() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(Error, match="nested too deep"):
        canonical_json(value)


def test_a_large_safe_integer_is_kept_to_the_digit() -> None:
    assert canonical_json(2**53 - 1) == b"9007199254740991"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (-0.0, "0"),
        (1e-9, "0"),
        (-1e-9, "0"),
        (1.0, "1"),
        (100.0, "100"),
        (1e21, "1000000000000000000000"),
        (0.1234565, "0.123456"),  # half to even, on the decimal digits of the number's shortest form
        (0.1234575, "0.123458"),
        (2 / 3, "0.666667"),
        (-12.5, "-12.5"),
    ],
)
def test_a_measured_number_has_one_plain_spelling(number: float, text: str) -> None:
    assert decimal_string(number) == text


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_no_measurement(number: float) -> None:
    with pytest.raises(Error, match="not a finite number"):
        decimal_string(number)


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_spelling_read_back_has_the_same_spelling(number: float) -> None:
    text = decimal_string(number)

    assert decimal_string(float(text)) == text
    assert "e" not in text
    assert text != "-0"
