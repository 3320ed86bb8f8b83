"""JSON Schemas of the statements that records are, made from the models that read them.

A schema describes the recorded form: every field is there unless its value is absent, names are camelCase, measured
numbers are decimal strings. It accepts whatever is recorded. It cannot say all that a reader checks: that JSON is
canonical, who may sign, what has to have been logged before.

Source: JSON Schema 2020-12; in-toto Statement v1.
"""

from __future__ import annotations

from typing import Any

from placet.attest.predicates import PredicateSpec
from placet.attest.statement import STATEMENT_TYPE

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def statement_schema(spec: PredicateSpec) -> dict[str, Any]:
    """Return the JSON Schema of the statements of one kind."""
    predicate = spec.model.model_json_schema(by_alias=True, mode="serialization")
    definitions = predicate.pop("$defs", {})
    subject = {
        "type": "object",
        "required": ["name", "digest"],
        "properties": {
            "name": {"type": "string"},
            "digest": {"type": "object", "required": ["sha256"], "properties": {"sha256": _SHA256}},
        },
    }
    return {
        "$schema": DIALECT,
        "$id": f"{spec.predicate_type}/schema/{spec.kind}.json",
        "title": f"{spec.kind} statement",
        "description": spec.about,
        "type": "object",
        "additionalProperties": False,
        "required": ["_type", "subject", "predicateType", "predicate"],
        "properties": {
            "_type": {"const": STATEMENT_TYPE},
            "subject": {"type": "array", "minItems": 1, "items": subject},
            "predicateType": {"const": spec.predicate_type},
            "predicate": _recorded(predicate),
        },
        "$defs": {name: _recorded(item) for name, item in sorted(definitions.items())},
    }


def _recorded(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` for what is on record: absent fields are left out, never null, and others always written."""
    if "properties" in schema:
        fields = schema["properties"]
        always = [name for name, field in fields.items() if not _may_be_absent(field)]
        schema = schema | {
            "properties": {n: _recorded(_present(f)) for n, f in fields.items()},
            "required": always,
        }
        return {key: value for key, value in schema.items() if key != "title"}
    return {
        key: _recorded(value) if isinstance(value, dict) else value
        for key, value in schema.items()
        if key not in {"title", "default"}
    }


def _may_be_absent(field: dict[str, Any]) -> bool:
    return {"type": "null"} in field.get("anyOf", ())


def _present(field: dict[str, Any]) -> dict[str, Any]:
    if not _may_be_absent(field):
        return field
    only: dict[str, Any]
    (only,) = (item for item in field["anyOf"] if item != {"type": "null"})
    return only | {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
