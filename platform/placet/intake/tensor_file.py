"""A strict reader of the safetensors format that loads no tensor.

Guarantees: a file that :func:`parse_header` accepts means the same to every reader: no duplicate or unknown
keys, no gaps, overlaps or trailing bytes, nothing but plain non-negative integers, every length equal to what
shape and type demand. Files that the safetensors library reads and this refuses exist; the reverse does not.

Format: https://github.com/huggingface/safetensors#format (8 bytes little-endian header length, JSON, data).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from placet.domain.errors import Error
from placet.intake.findings import quoted
from placet.intake.limits import LIMITS, Limits

ITEM_BYTES: dict[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "U16": 2,
    "I16": 2,
    "F16": 2,
    "BF16": 2,
    "U32": 4,
    "I32": 4,
    "F32": 4,
    "U64": 8,
    "I64": 8,
    "F64": 8,
}
"""Bytes of one element, for every type that is read."""

_PREFIX_BYTES = 8
_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}")
_ENTRY_KEYS = {"dtype", "shape", "data_offsets"}


class TensorFileError(Error):
    """A file is not well-formed safetensors; `finding` is the id of what is wrong with it."""

    def __init__(self, finding: str, message: str) -> None:
        super().__init__(message, hint="write the file anew with the safetensors library")
        self.finding = finding


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Element type (safetensors' name) and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes the tensor takes in a file."""
        return self.elements * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file: its bytes are ``file[begin:end]``."""

    name: str
    spec: TensorSpec
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """A file's tensors, in the order of their bytes, and its free-text metadata."""

    tensors: tuple[TensorEntry, ...]
    metadata: dict[str, str]
    data_begin: int
    data_end: int

    def specs(self) -> dict[str, TensorSpec]:
        """Return types and shapes by name."""
        return {entry.name: entry.spec for entry in self.tensors}


def parse_header(stream: BinaryIO, size: int, limits: Limits = LIMITS) -> Header:
    """Read the header at the start of `stream`, a file of `size` bytes.

    Raises:
        TensorFileError: The file is cut short, malformed or beyond `limits`.
    """
    prefix = stream.read(_PREFIX_BYTES)
    if len(prefix) < _PREFIX_BYTES:
        raise TensorFileError(
            "truncated-weights", f"the file ends after {size} bytes, inside its length field"
        )
    length = int.from_bytes(prefix, "little")
    if length > limits.max_header_bytes:
        raise TensorFileError(
            "malformed-weights", f"the header claims {length:,} bytes: this is no safetensors file"
        )
    raw = stream.read(length)
    if raw and not raw.startswith(b"{"):
        raise TensorFileError("malformed-weights", "the header does not begin with '{'")
    if len(raw) < length:
        raise TensorFileError("truncated-weights", f"the file ends after {size:,} bytes, inside its header")
    fields = _parse_json(raw)
    metadata = _metadata(fields.pop("__metadata__", {}), limits)
    if len(fields) > limits.max_tensors:
        raise TensorFileError(
            "too-large", f"{len(fields):,} tensors; at most {limits.max_tensors:,} are read"
        )
    data_begin = _PREFIX_BYTES + length
    entries = sorted(
        (_entry(name, value, data_begin, limits) for name, value in fields.items()),
        key=lambda entry: entry.begin,
    )
    data_end = data_begin
    for entry in entries:
        if entry.begin != data_end:
            raise TensorFileError(
                "malformed-weights", f"a gap or an overlap before tensor {quoted(entry.name)}"
            )
        data_end = entry.end
    if size < data_end:
        missing = data_end - size
        raise TensorFileError(
            "truncated-weights",
            f"the file is {missing:,} bytes shorter than its header says ({size:,} of {data_end:,})",
        )
    if size > data_end:
        raise TensorFileError("malformed-weights", f"{size - data_end:,} bytes follow the last tensor")
    return Header(tuple(entries), metadata, data_begin, data_end)


def _parse_json(raw: bytes) -> dict[str, Any]:
    def integer(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise TensorFileError("malformed-weights", f"the header holds the number {quoted(text)}")
        return int(text)

    def refuse(text: str) -> NoReturn:
        raise TensorFileError("malformed-weights", f"the header holds the number {quoted(text)}")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            raise TensorFileError("malformed-weights", "the header has the same key twice")
        return value

    try:
        text = raw.rstrip(b" ").decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=pairs, parse_int=integer, parse_float=refuse, parse_constant=refuse
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # no half of a surrogate pair in any string
    except (ValueError, RecursionError) as error:
        raise TensorFileError(
            "malformed-weights", f"the header is not valid JSON: {quoted(error)}"
        ) from error
    if not isinstance(value, dict) or not text.endswith("}"):
        raise TensorFileError("malformed-weights", "the header is not one JSON object padded with spaces")
    return value


def _metadata(value: Any, limits: Limits) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise TensorFileError("malformed-weights", "the header's metadata is not a table of strings")
    if sum(len(key) + len(item) for key, item in value.items()) > limits.max_metadata_bytes:
        raise TensorFileError(
            "too-large", f"the header holds more than {limits.max_metadata_bytes:,} bytes of metadata"
        )
    return value


def _entry(name: str, value: Any, data_begin: int, limits: Limits) -> TensorEntry:
    if not 0 < len(name) <= limits.max_tensor_name or not name.isprintable():
        raise TensorFileError("malformed-weights", f"a tensor has the name {quoted(name)}")
    if not isinstance(value, dict) or value.keys() != _ENTRY_KEYS:
        raise TensorFileError("malformed-weights", f"tensor {quoted(name)} has missing or unknown fields")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise TensorFileError("unsupported-dtype", f"tensor {quoted(name)} has type {quoted(dtype)}")
    if not _integers(shape) or len(shape) > limits.max_dimensions or 0 in shape:
        raise TensorFileError("malformed-weights", f"tensor {quoted(name)} has shape {quoted(shape)}")
    if not _integers(offsets) or len(offsets) != 2:
        raise TensorFileError("malformed-weights", f"tensor {quoted(name)} has offsets {quoted(offsets)}")
    spec = TensorSpec(dtype, tuple(shape))
    begin, end = offsets
    if end - begin != spec.size_bytes:
        raise TensorFileError(
            "malformed-weights",
            f"tensor {quoted(name)} takes {end - begin:,} bytes, its shape {spec.size_bytes:,}",
        )
    return TensorEntry(name, spec, data_begin + begin, data_begin + end)


def _integers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)
