"""Names made of content: SHA-256 over bytes, files and RFC 8785 canonical JSON.

Guarantees: equal values give equal digests on every machine; floats, NaN and integers beyond 2**53 are
refused by :func:`canonical_json`, so that a number is recorded as a decimal string or not at all.
"""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, NewType

from placet.domain.errors import Error

Digest = NewType("Digest", str)
"""``sha256:`` followed by 64 lower-case hexadecimal digits."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20
_MAX_SAFE_INTEGER = 2**53 - 1
_MAX_DEPTH = 100
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


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
    beyond = _require_exact(value, ())
    try:
        if not beyond:
            # The same bytes in a tenth of the time: integers and text are written as RFC 8785 asks, and names sort
            # alike by code point and by UTF-16 unit as long as none lies beyond the basic plane.
            return _ENCODER.encode(value).encode()
        import rfc8785

        return rfc8785.dumps(value)
    except ValueError as error:  # UnicodeEncodeError and rfc8785's own are among them
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


def _require_exact(value: Any, where: tuple[str, ...]) -> bool:
    """Raise if `value` cannot be recorded exactly; return whether a name in it lies beyond the basic plane.

    Args:
        value: Anything.
        where: The way to it, for the error's words and against nesting without end.
    """
    if value is None or isinstance(value, bool | str):
        return False
    if len(where) > _MAX_DEPTH:
        raise Error(f"nested too deep, more than {_MAX_DEPTH} levels", hint="no record of ours is")
    beyond = False
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Error(
                    f"{_path(where)}: key {key!r} is not a string", hint="JSON objects have string keys"
                )
            beyond |= not key.isascii() and max(key) > "\uffff"
            if type(item) is not str:
                beyond |= _require_exact(item, (*where, f".{key}"))
        return beyond
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if type(item) is not str:
                beyond |= _require_exact(item, (*where, f"[{index}]"))
        return beyond
    if isinstance(value, int):
        if abs(value) > _MAX_SAFE_INTEGER:
            raise Error(f"{_path(where)}: integer beyond 2**53 - 1", hint="record it as a decimal string")
        return False
    raise Error(
        f"{_path(where)}: {type(value).__name__} cannot be recorded exactly",
        hint="record a measured number as a decimal string (decimal_string)",
    )


def _path(where: tuple[str, ...]) -> str:
    return "$" + "".join(where)
