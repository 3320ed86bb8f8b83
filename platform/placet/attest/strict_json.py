"""JSON read strictly: duplicate keys, NaN and infinities are errors, never a silent choice."""

from __future__ import annotations

import json
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

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{what}: not valid JSON ({error})", hint="the file is damaged or not JSON"
        ) from error
