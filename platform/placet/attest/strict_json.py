"""JSON and base64 read strictly: duplicate keys, NaN, infinities and second spellings are errors, never a choice."""

from __future__ import annotations

import base64
import binascii
import json
import math
from typing import Any, NoReturn

from placet.domain.errors import IntegrityError


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
