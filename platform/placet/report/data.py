"""View models as JSON: camelCase names, measured numbers as decimal strings, moments in UTC."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel

from placet.domain.digests import decimal_string
from placet.domain.records import Record
from placet.lineage.graph import Lineage


def to_data(value: Any) -> Any:
    """Return a view model (or a part of one) as JSON types.

    Raises:
        TypeError: A value that no view model holds.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, StrEnum | str):
        return str(value)
    if isinstance(value, float):
        return decimal_string(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Record | Lineage):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): to_data(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_data(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {to_camel(field.name): to_data(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} is no part of a view model")


def render_json(value: Any) -> str:
    """Return a view model as indented JSON text with a final line end."""
    return json.dumps(to_data(value), indent=2, ensure_ascii=False) + "\n"
