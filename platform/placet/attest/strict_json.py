"""JSON and base64 read strictly: duplicate keys, NaN, infinities and second spellings are errors, never a choice.

:func:`recognise_canonical` is the fast way for what is nearly always there, canonical JSON as we write it. It accepts a
part of it, gives the same values, and leaves all else to the strict way, which decides and says why.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic_core import from_json, to_json

from placet.domain.errors import IntegrityError

_MAX_BRACKETS = 100
_DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
_LONG = b"0" * 16
_LONG_NUMBER = re.compile(rb"[:,\[]-?[0-9]{16}")
_ASTRAL = re.compile(rb"[\xf0-\xff]")
_LEAVES = frozenset({str, int, bool, type(None)})


def parse_json(data: bytes, what: str) -> Any:
    """Return the value of JSON text `data`.

    Args:
        data: UTF-8 bytes.
        what: What the bytes are, for the error's words.

    Raises:
        IntegrityError: Not UTF-8, not JSON, a key twice in one object, NaN or an infinity, nested too deep.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            raise IntegrityError(
                f"{what}: an object has the same key twice", hint="it is ambiguous: refuse it"
            )
        return value

    def constant(name: str) -> NoReturn:
        raise IntegrityError(f"{what}: holds {name}", hint="JSON has no NaN and no infinities: refuse it")

    def number(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else constant(text)

    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant, parse_float=number
        )
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{what}: not valid JSON ({error})", hint="the file is damaged or not JSON"
        ) from error


def parse_base64(text: str) -> bytes:
    """Return the bytes that `text` is the one standard base64 spelling of.

    Raises:
        IntegrityError: Not base64, or with stray bits in its last group, which decoders ignore.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError("not valid base64", hint="it was damaged or altered") from error
    if base64.b64encode(data).decode() != text:
        raise IntegrityError("base64 with stray bits", hint="one content has one spelling: refuse it")
    return data


def recognise_canonical(data: bytes) -> Any:
    """Return the value of `data` if it is seen quickly that it is canonical JSON of one; None if it is not seen.

    The value is what :func:`parse_json` gives, and :func:`~placet.domain.digests.canonical_json` makes `data` of it.
    """
    if not _is_plain(data):
        return None
    try:
        value = from_json(data)
        # Of a key that was there twice only one is left, and of another spelling nothing, so that the bytes differ.
        return value if to_json(value) == data and _is_exact(value) else None
    except (ValueError, TypeError, RecursionError):
        return None


def _is_plain(data: bytes) -> bool:
    """Tell whether sorting names by code point, and writing integers as they are, is canonical for `data`."""
    return (
        data.count(b"[") + data.count(b"{") <= _MAX_BRACKETS
        # Integers beyond 2**53 are refused. Digests may hold as many digits: then it is looked at more closely.
        and (_LONG not in data.translate(_DIGITS) or not _LONG_NUMBER.search(data))
        # Names with characters beyond U+FFFF are sorted otherwise.
        and (data.isascii() or not _ASTRAL.search(data))
    )


def _is_exact(value: Any) -> bool:
    """Tell whether all names in `value` are in order, and all that it holds is text, integers, true, false, null."""
    inner: Iterable[Any]
    if type(value) is dict:
        names = list(value)
        if names != sorted(names):
            return False
        inner = value.values()
    elif type(value) is list:
        if _LEAVES.issuperset(map(type, value)):
            return True
        inner = value
    else:
        return type(value) in _LEAVES
    for item in inner:  # noqa: SIM110 - on every record of an audit, and a generator takes twice as long
        if type(item) not in _LEAVES and not _is_exact(item):
            return False
    return True
