"""From a policy file to a policy, or to a message that names file, line and fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from placet.domain.errors import UsageError
from placet.policy.contradictions import ContradictionError
from placet.policy.gates import KINDS
from placet.policy.schema import Policy, json_schema
from placet.policy.yamltree import Location, Tree, dotted, parse_yaml, read_yaml

__all__ = ["json_schema", "load_policy", "parse_policy", "refuse", "suggestion", "validated"]

_MAX_TOLD = 5
_HINT = "docs/reference/policy.md lists every field"

_LIMITS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}

Model = TypeVar("Model", bound=BaseModel)


def load_policy(path: Path) -> Policy:
    """Return the policy in the file `path`.

    Raises:
        UsageError: It cannot be read or is not a valid policy; the message names file, line and fix.
    """
    return validated(Policy, read_yaml(path))


def parse_policy(text: str, name: str = "policy.yaml") -> Policy:
    """Return the policy written in `text`; `name` is what messages call it.

    Raises:
        UsageError: As :func:`load_policy`.
    """
    return validated(Policy, parse_yaml(text, name))


def validated(model: type[Model], tree: Tree) -> Model:
    """Return `tree` as a `model`.

    Raises:
        UsageError: It does not fit; one line for each of the first problems, with file, line and fix.
    """
    if not isinstance(tree.value, dict):
        raise UsageError(f"{tree.name}:1: must be a list of `field: value`", hint=_HINT)
    try:
        return model.model_validate(tree.value)
    except ValidationError as error:
        refuse(tree, _problems(error, tree, model), error)


def refuse(
    tree: Tree, problems: Iterable[tuple[Location, str]], cause: Exception | None = None, hint: str = _HINT
) -> NoReturn:
    """Refuse a document for what is wrong in it.

    Raises:
        UsageError: One line for each of the first problems, with file, line and fix.
    """
    told = [f"{tree.name}:{tree.line(where)}: {dotted(where)}: {text}" for where, text in problems]
    told = list(dict.fromkeys(told))
    if len(told) > _MAX_TOLD:
        told = [*told[:_MAX_TOLD], f"and {len(told) - _MAX_TOLD} more"]
    raise UsageError("\n".join(told), hint=hint) from cause


def _problems(error: ValidationError, tree: Tree, model: type[BaseModel]) -> Iterator[tuple[Location, str]]:
    for problem in error.errors():
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, ContradictionError):
            yield from cause.problems
            continue
        if problem["type"] == "too_short" and isinstance(problem["input"], list) and problem["input"]:
            continue  # something stands there, and what is wrong with it is a problem of its own
        where = _within(problem["loc"], tree.value, problem["type"])
        yield where, _in_words(problem, where, tree.value, model)


def _within(location: Location, value: Any, kind: str) -> Location:
    """Return `location` without the steps that are pydantic's own and not in the document."""
    where: list[str | int] = []
    for index, part in enumerate(location):
        inside_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if inside_list or (isinstance(value, dict) and part in value):
            value = value[part]
        elif index < len(location) - 1 or kind != "missing":
            continue
        where.append(part)
    return tuple(where)


def _in_words(problem: Any, where: Location, document: Any, model: type[BaseModel]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        return "unknown field; " + suggestion(str(where[-1]), _known_fields(where[:-1], document, model))
    if kind == "union_tag_invalid":
        return f"unknown kind {context['tag']}; " + suggestion(
            str(context["tag"]), [row.name for row in KINDS]
        )
    if kind == "union_tag_not_found":
        return "has no kind; the kinds are " + ", ".join(row.name for row in KINDS)
    if kind in {"too_short", "string_too_short"}:
        return "is empty; a policy without it would say nothing"
    if kind == "value_error":
        return str(context["error"])
    if kind in _LIMITS:
        word, limit = _LIMITS[kind]
        return f"must be {word} {context[limit]:,}; it is {problem['input']}"
    said = str(problem["msg"])
    return said[:1].lower() + said[1:] + "; " + _got(problem.get("input"))


def _got(value: Any) -> str:
    return (
        f"it is {value!r}"
        if isinstance(value, str | int | float | bool)
        else f"it is a {type(value).__name__}"
    )


def suggestion(wrong: str, known: list[str]) -> str:
    """Return what may have been meant by a wrong name, in words."""
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return "known here: " + ", ".join(known) if known else "remove it"


def _known_fields(where: Location, document: Any, model: type[BaseModel]) -> list[str]:
    """Return the fields that a document of this model may have at `where`."""
    known: Any = model
    for part in where:
        document = document[part]
        if isinstance(known, type) and issubclass(known, BaseModel):
            field = known.model_fields.get(str(part))
            known = None if field is None else field.annotation
        else:  # a list or a mapping: all in it are alike
            known = next((inner for inner in reversed(get_args(known)) if inner is not Ellipsis), None)
        known = _one_model(known, document)
    is_model = isinstance(known, type) and issubclass(known, BaseModel)
    return list(known.model_fields) if is_model else []


def _one_model(known: Any, document: Any) -> Any:
    """Return which model of a choice `document` means to be: the gate of its kind, or the only one there is."""
    while get_origin(known) is Annotated:
        known = get_args(known)[0]
    if get_origin(known) not in {Union, UnionType}:
        return known
    models = [one for one in get_args(known) if isinstance(one, type) and issubclass(one, BaseModel)]
    if len(models) == 1:
        return models[0]
    kind = document.get("kind") if isinstance(document, dict) else None
    if not models:
        return next((one for one in get_args(known) if get_args(one)), None)
    return next((row.model for row in KINDS if row.name == kind), None)
