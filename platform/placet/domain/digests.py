"""Names made of content: SHA-256 over bytes, files and RFC 8785 canonical JSON.

Guarantees: equal values give equal digests on every machine; floats, NaN and integers beyond 2**53 are
refused by :func:`canonical_json`, so that a number is recorded as a decimal string or not at all.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NewType

import rfc8785

from placet.domain.errors import Error

Digest = NewType("Digest", str)
"""``sha256:`` followed by 64 lower-case hexadecimal digits."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20
_MAX_SAFE_INTEGER = 2**53 - 1
_MAX_DEPTH = 100


def parse_digest(text: str) -> Digest:
    """Return `text` as a digest.

    Raises:
        Error: `text` is not ``sha256:`` and 64 lower-case hexadecimal digits.
    """
    if not _DIGEST.fullmatch(text):
        raise Error(f"{text!r} is not a digest", hint="write it as sha256: and 64 lower-case hex digits")
    return Digest(text)


def digest_bytes(data: bytes) -> Digest:
    """Return the SHA-256 of `data`."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


def digest_stream(stream: BinaryIO) -> tuple[Digest, int]:
    """Return the SHA-256 of what is left of `stream`, and its length in bytes."""
    hasher, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK_BYTES):
        hasher.update(chunk)
        size += len(chunk)
    return Digest("sha256:" + hasher.hexdigest()), size


def digest_file(path: Path) -> Digest:
    """Return the SHA-256 of the file at `path`."""
    with path.open("rb") as stream:
        return digest_stream(stream)[0]


def canonical_json(value: Any) -> bytes:
    """Return RFC 8785 canonical JSON of `value` (dict, list, tuple, str, int, bool, None).

    Raises:
        Error: `value` holds a float, an integer beyond 2**53 - 1, a non-string key, text that is not Unicode or
            another type, or is nested more than 100 deep.
    """
    _refuse_inexact(value, "$", 0)
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise Error(
            f"text that is not Unicode cannot be recorded: {error}",
            hint="a lone surrogate, perhaps in the name of a file: rename it",
        ) from error


def digest_json(value: Any) -> Digest:
    """Return the SHA-256 of `value`'s canonical JSON."""
    return digest_bytes(canonical_json(value))


def decimal_string(value: float, places: int = 6) -> str:
    """Return a measured number as a plain decimal string, rounded half-even to `places` digits.

    Raises:
        Error: `value` is not finite.
    """
    number = Decimal(repr(float(value)))
    if not number.is_finite():
        raise Error(f"{value} is not a finite number", hint="a measurement that failed must be an error")
    text = f"{number:.{places}f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def short(digest: str, digits: int = 12) -> str:
    """Return the first hexadecimal `digits` of a digest, for people to read."""
    return digest.removeprefix("sha256:")[:digits]


def _refuse_inexact(value: Any, where: str, depth: int) -> None:
    if value is None or isinstance(value, bool | str):
        return
    if depth > _MAX_DEPTH:
        raise Error(f"nested too deep, more than {_MAX_DEPTH} levels", hint="no record of ours is")
    if isinstance(value, int):
        if abs(value) > _MAX_SAFE_INTEGER:
            raise Error(f"{where}: integer beyond 2**53 - 1", hint="record it as a decimal string")
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Error(f"{where}: key {key!r} is not a string", hint="JSON objects have string keys")
            _refuse_inexact(item, f"{where}.{key}", depth + 1)
        return
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_inexact(item, f"{where}[{index}]", depth + 1)
        return
    raise Error(
        f"{where}: {type(value).__name__} cannot be recorded exactly",
        hint="record a measured number as a decimal string (decimal_string)",
    )
