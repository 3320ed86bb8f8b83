"""What one policy asks and another does not, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from placet.domain.digests import decimal_string
from placet.policy.model import Gate
from placet.policy.schema import Policy

_STRICTER_UP = {"threshold", "floor", "by", "approvals", "waivers_needed", "waivers"}
_STRICTER_DOWN = {
    "alpha",
    "ceiling",
    "margin",
    "max_days",
    "max_excess",
    "max_recovered",
    "max_share",
    "stated_within_days",
    "valid_days",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    Attributes:
        where: ``review``, ``suite NAME``, ``gate NAME``, or the document's own field.
        text: A sentence for people.
        effect: ``stricter``, ``laxer``, or empty where it is neither, or depends.
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
    for name in type(after).model_fields:
        was, now = getattr(before, name), getattr(after, name)
        if was == now:
            continue
        if name == "why":
            yield Change(where, "gives another reason")
            continue
        yield Change(where, f"{name} is {_said(now)}, was {_said(was)}", _effect(name, was, now))


def _effect(name: str, was: Any, now: Any) -> str:
    if name == "required":
        return "stricter" if now else "laxer"
    if name == "waivable":
        return "laxer" if now else "stricter"
    if name in {"separate_from", "lapses_on", "sections", "fields", "recheck", "documents", "checks"}:
        more, less = set(now) - set(was), set(was) - set(now)
        return "" if more and less else "stricter" if more else "laxer" if less else ""
    if name == "allow":
        more, less = set(now) - set(was), set(was) - set(now)
        return "" if more and less else "laxer" if more else "stricter" if less else ""
    if was is None or now is None or name not in _STRICTER_UP | _STRICTER_DOWN:
        return ""
    return "stricter" if (now > was) == (name in _STRICTER_UP) else "laxer"


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
