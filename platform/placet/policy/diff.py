"""What one policy asks and another does not, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from placet.domain.digests import decimal_string
from placet.policy.model import Gate
from placet.policy.schema import Policy

_EVERYWHERE = {"waivers": 1, "alpha": -1}
_BY_KIND: dict[str, dict[str, int]] = {
    "review": {"approvals": 1, "waivers_needed": 1, "valid_days": -1},
    "floor": {"threshold": 1},
    "ceiling": {"threshold": -1},
    "not_worse": {"margin": -1},
    "better": {"by": 1},
    "subgroups": {"margin": -1, "floor": 1, "ceiling": -1},
    "leakage": {"max_recovered": -1, "max_excess": -1, "exposure_bits": -1},
    "contamination": {"max_share": -1, "seen_above": -1, "ngram": -1},
    "evidence_age": {"max_days": -1},
    "base_supported": {"stated_within_days": -1},
}
"""Kind → field → 1 where more of it asks for more, -1 where less does. What is not here is neither, or depends."""

_UNASKED = {"max_excess"}
"""Limits that ask nothing where they are left out."""

_ASKED = {"checks", "documents", "fields", "lapses_on", "recheck", "sections", "separate_from"}
"""Lists of what is asked: more of them is stricter. Of what is allowed, more is laxer."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        where: ``review``, ``suite NAME``, ``gate NAME``, or the document's own field.
        text: A sentence for people.
        effect: ``stricter``, ``laxer``, or empty where it is neither, or depends on more than that field.
    """

    where: str
    text: str
    effect: str = ""


def diff_policies(old: Policy, new: Policy) -> tuple[Change, ...]:
    """Return how `new` differs from `old`; nothing if both ask the same, whatever their names and reasons."""
    return tuple(_changes(old, new))


def _changes(old: Policy, new: Policy) -> Iterator[Change]:
    for name in ("id", "version", "risk_tier", "underpowered"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield Change(name, f"{name} is {after}, was {before}")
    yield from _fields("review", old.review, new.review)
    for suite in dict.fromkeys((*old.suites, *new.suites)):
        where = f"suite {suite}"
        if suite not in new.suites:
            yield Change(where, "is not measured any more")
        elif suite not in old.suites:
            yield Change(where, f"is measured too: {_written(new.suites[suite])}")
        else:
            yield from _fields(where, old.suites[suite], new.suites[suite])
    before_gates, after_gates = ({gate.id: gate for gate in one.gates} for one in (old, new))
    for name in dict.fromkeys((*before_gates, *after_gates)):
        yield from _gate(name, before_gates.get(name), after_gates.get(name))


def _gate(name: str, before: Gate | None, after: Gate | None) -> Iterator[Change]:
    where = f"gate {name}"
    if after is None and before is not None:
        yield Change(where, f"({before.kind}) is gone: {_reason(before)}", "laxer" if before.required else "")
    elif before is None and after is not None:
        yield Change(
            where,
            f"({after.kind}) is new: {_written(after, {'id', 'kind', 'why'})}",
            "stricter" if after.required else "",
        )
    elif before is not None and after is not None and before.kind != after.kind:
        yield Change(where, f"is a {after.kind}, was a {before.kind}")
    elif before is not None and after is not None:
        yield from _fields(where, before, after)


def _fields(where: str, before: BaseModel, after: BaseModel) -> Iterator[Change]:
    kind = str(getattr(after, "kind", where))
    for name in type(after).model_fields:
        was, now = getattr(before, name), getattr(after, name)
        if was == now:
            continue
        if name == "why":
            yield Change(where, "gives another reason")
            continue
        yield Change(where, f"{name} is {_said(now)}, was {_said(was)}", _effect(kind, name, was, now))


def _effect(kind: str, name: str, was: Any, now: Any) -> str:
    if name in {"required", "datasets"}:
        return "stricter" if now else "laxer"
    if name == "waivable":
        return "laxer" if now else "stricter"
    if name in _ASKED or name == "allow":
        more, less = set(now) - set(was), set(was) - set(now)
        if bool(more) == bool(less):
            return ""
        return "stricter" if bool(more) == (name in _ASKED) else "laxer"
    if name in _UNASKED and (was is None or now is None):
        return "stricter" if was is None else "laxer"
    up = _BY_KIND.get(kind, {}).get(name, _EVERYWHERE.get(name, 0))
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (was, now))
    if not up or not numbers:
        return ""
    return "stricter" if (now > was) == (up > 0) else "laxer"


def _said(value: Any) -> str:
    if value is None:
        return "left out"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return decimal_string(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(str(one) for one in value) + "]"
    if isinstance(value, BaseModel):
        return "{" + _written(value) + "}"
    return str(value)


def _written(model: BaseModel, leave_out: set[str] | None = None) -> str:
    fields = (name for name in type(model).model_fields if name in model.model_fields_set)
    return ", ".join(
        f"{name} {_said(getattr(model, name))}" for name in fields if name not in (leave_out or ())
    )


def _reason(gate: Gate) -> str:
    first = gate.why.split(". ")[0].rstrip(".")
    return f"it was there because {first[:1].lower()}{first[1:]}"
