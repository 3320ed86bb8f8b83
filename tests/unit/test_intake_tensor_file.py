from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors import deserialize as reference

from placet.intake.limits import Limits
from placet.intake.tensor_file import Header, TensorFileError, TensorSpec, parse_header
from tests.support.adapters import adapter_tensors, safetensors_bytes, with_header

TENSORS = {"a.weight": ("F32", np.ones((2, 3))), "b": ("BF16", np.ones(4)), "c": ("I64", np.array(7))}
GOOD = safetensors_bytes(TENSORS, {"format": "pt"})


def _parse(data: bytes, limits: Limits | None = None) -> Header:
    return parse_header(BytesIO(data), len(data), limits or Limits())


def _entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


def _file(header: Any, data: bytes = b"\0\0\0\0") -> bytes:
    return with_header(json.dumps(header), data)


def _refusal(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(TensorFileError) as caught:
        _parse(data, limits)
    return caught.value.finding


def test_a_good_file_gives_names_types_shapes_places_and_metadata() -> None:
    header = _parse(GOOD)
    assert header.specs() == {
        "a.weight": TensorSpec("F32", (2, 3)),
        "b": TensorSpec("BF16", (4,)),
        "c": TensorSpec("I64", ()),
    }
    assert header.metadata == {"format": "pt"}
    assert header.data_end == len(GOOD)
    first = header.tensors[0]
    assert GOOD[first.begin : first.end] == np.ones((2, 3), "<f4").tobytes()


def test_it_reads_what_the_library_writes() -> None:
    from safetensors.numpy import save

    header = _parse(save({"x": np.zeros((3, 2), np.float16), "y": np.ones(5, np.float32)}))
    assert header.specs() == {"x": TensorSpec("F16", (3, 2)), "y": TensorSpec("F32", (5,))}


@pytest.mark.parametrize("kept", [0, 7, 8, 20, len(GOOD) - 30, len(GOOD) - 1])
def test_a_file_cut_short_is_truncated(kept: int) -> None:
    assert _refusal(GOOD[:kept]) == "truncated-weights"


CASES: dict[str, tuple[bytes, str]] = {
    "no safetensors at all": (b"\x80\x02}q\x00X\x03\x00\x00\x00abc", "malformed-weights"),
    "header not an object": (with_header("[]"), "malformed-weights"),
    "leading space": (with_header(" {}"), "malformed-weights"),
    "trailing newline": (with_header("{}\n"), "malformed-weights"),
    "two values": (with_header("{}{}"), "malformed-weights"),
    "not UTF-8": (with_header(b'{"\xff": 1}'), "malformed-weights"),
    "half a surrogate pair": (with_header('{"__metadata__": {"a": "\\ud800"}}'), "malformed-weights"),
    "too deep": (with_header('{"a": ' + "[" * 100_000), "malformed-weights"),
    "same tensor twice": (
        with_header(
            '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
            b"\0" * 8,
        ),
        "malformed-weights",
    ),
    "same field twice": (
        with_header('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
        "malformed-weights",
    ),
    "unknown field": (_file({"a": _entry(extra=1)}), "malformed-weights"),
    "missing field": (_file({"a": {"dtype": "F32", "shape": [1]}}), "malformed-weights"),
    "unknown type": (_file({"a": _entry(dtype="F128")}), "unsupported-dtype"),
    "type not text": (_file({"a": _entry(dtype=["F32"])}), "unsupported-dtype"),
    "negative dimension": (_file({"a": _entry(shape=[-1])}), "malformed-weights"),
    "minus zero": (
        with_header('{"a":{"dtype":"F32","shape":[],"data_offsets":[-0,4]}}', b"\0" * 4),
        "malformed-weights",
    ),
    "empty tensor": (_file({"a": _entry(shape=[0], offsets=[0, 0])}, b""), "malformed-weights"),
    "true for one": (_file({"a": _entry(shape=[True])}), "malformed-weights"),
    "fraction": (_file({"a": _entry(shape=[1.0])}), "malformed-weights"),
    "exponent": (
        with_header('{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', b"\0" * 4),
        "malformed-weights",
    ),
    "NaN": (with_header('{"a": NaN}'), "malformed-weights"),
    "huge number": (_file({"a": _entry(shape=[10**30])}), "malformed-weights"),
    "overflowing shape": (_file({"a": _entry(shape=[2**40, 2**40])}), "malformed-weights"),
    "size and shape differ": (_file({"a": _entry(shape=[2])}), "malformed-weights"),
    "offsets reversed": (_file({"a": _entry(offsets=[4, 0])}), "malformed-weights"),
    "three offsets": (_file({"a": _entry(offsets=[0, 4, 8])}), "malformed-weights"),
    "gap at the start": (_file({"a": _entry(offsets=[4, 8])}, b"\0" * 8), "malformed-weights"),
    "overlap": (
        _file({"a": _entry(shape=[2], offsets=[0, 8]), "b": _entry(offsets=[4, 8])}, b"\0" * 8),
        "malformed-weights",
    ),
    "bytes after the end": (_file({"a": _entry()}, b"\0" * 5), "malformed-weights"),
    "metadata not text": (_file({"__metadata__": {"a": 1}}, b""), "malformed-weights"),
    "metadata null": (_file({"__metadata__": None}, b""), "malformed-weights"),
    "control character in a name": (_file({"a\n": _entry()}), "malformed-weights"),
    "name too long": (_file({"a" * 513: _entry()}), "malformed-weights"),
    "too much metadata": (_file({"__metadata__": {"a": "b" * 70_000}}, b""), "too-large"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_file_is_refused(case: str) -> None:
    data, finding = CASES[case]
    assert _refusal(data) == finding


def test_limits_hold() -> None:
    assert _refusal(GOOD, Limits(max_tensors=2)) == "too-large"
    assert _refusal(GOOD, Limits(max_header_bytes=16)) == "malformed-weights"
    assert _refusal(GOOD, Limits(max_dimensions=1)) == "malformed-weights"


def _meaning(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """What the safetensors library itself reads out of a file."""
    return {
        name: (item["dtype"], tuple(item["shape"]), bytes(item["data"])) for name, item in reference(data)
    }


def _held_to_the_library(data: bytes) -> None:
    try:
        header = _parse(data)
    except TensorFileError:
        return
    ours = {e.name: (e.spec.dtype, e.spec.shape, data[e.begin : e.end]) for e in header.tensors}
    try:
        theirs = _meaning(data)
    except SafetensorError as error:
        raise AssertionError(f"accepted what the library refuses: {error}") from error
    assert ours == theirs


@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_a_flipped_header_byte_is_refused_or_means_the_same_to_the_library(draws: st.DataObject) -> None:
    header_end = _parse(GOOD).data_begin
    position = draws.draw(st.integers(0, header_end - 1))
    data = bytearray(GOOD)
    data[position] ^= draws.draw(st.integers(1, 255))
    _held_to_the_library(bytes(data))


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_cut_doubled_or_moved_parts_never_fool_the_parser(draws: st.DataObject) -> None:
    data = safetensors_bytes(adapter_tensors())
    begin = draws.draw(st.integers(0, len(data)))
    end = draws.draw(st.integers(begin, min(len(data), begin + 200)))
    kind = draws.draw(st.sampled_from(["cut", "double", "replace"]))
    middle = {
        "cut": b"",
        "double": data[begin:end] * 2,
        "replace": draws.draw(st.binary(max_size=20)),
    }[kind]
    _held_to_the_library(data[:begin] + middle + data[end:])


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_the_refusal(data: bytes) -> None:
    _held_to_the_library(data)
    _held_to_the_library(with_header(data))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 40) | st.floats() | st.sampled_from(["F32", "F16", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "__metadata__", "w"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=800, deadline=None)
@given(_JSON, st.binary(max_size=16))
def test_arbitrary_json_headers_mean_the_same_to_the_library_or_are_refused(value: Any, data: bytes) -> None:
    _held_to_the_library(with_header(json.dumps(value), data))
