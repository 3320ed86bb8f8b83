"""A strict reading of YAML that remembers the line of everything.

Guarantees: what is read is plain data (mappings, lists, text, whole and decimal numbers, true and false), and means
what a reader takes it to mean: a key stands once, nothing is empty, nothing is borrowed from elsewhere in the file
by an anchor, and `yes`, `no`, `on`, `off` are refused instead of guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from placet.domain.errors import UsageError

MAX_BYTES = 256 * 1024
"""Largest document read."""

MAX_DEPTH = 20
"""Deepest nesting read."""

_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?[0-9]+\.[0-9]+")
_NUMBER_LIKE = re.compile(r"[-+]?(0[xob][0-9a-fA-F_]+|[.0-9][0-9_.,:eE+-]*)")
_LONGEST_NUMBER = 40
_AMBIGUOUS = {"yes", "no", "on", "off", "y", "n"}
_NOTHING = {"", "~", "null"}

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A document as data, and the line (from 1) on which each part of it begins.

    Attributes:
        name: The file's name, for messages.
        value: The data.
        lines: Place of a part, from the top, to its line.
    """

    name: str
    value: Any
    lines: Mapping[Location, int]

    def line(self, where: Location) -> int:
        """Return the line of `where`, or of the nearest part around it that has one."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)


def read_yaml(path: Path) -> Tree:
    """Return the document in the file `path`.

    Raises:
        UsageError: The file cannot be read, or is not a document as described above; names file, line and fix.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}", hint="check the name") from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES} bytes", hint="is this the right file?")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: not UTF-8 text", hint="save the file as UTF-8") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Tree:
    """Return the document in `text`; `name` is what messages call it.

    Raises:
        UsageError: As :func:`read_yaml`.
    """
    try:
        _refuse_indirection(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(error, "problem", None) or "the file holds a character that YAML does not allow"
        raise UsageError(
            f"{name}:{line}: not valid YAML: {problem}",
            hint="check the indentation, and put text that holds a colon or a # in quotes",
        ) from error
    if node is None:
        raise UsageError(f"{name}:1: the file is empty", hint="a policy has an id, a review rule and gates")
    lines: dict[Location, int] = {}
    return Tree(name, _build(node, (), lines, name), lines)


def _refuse_indirection(text: str, name: str) -> None:
    """Refuse anchors, aliases, tags, deep nesting and a second document, before any tree is built."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise UsageError(
                    f"{name}:{line}: a second document begins here", hint="one document in each file"
                )
        if getattr(event, "anchor", None) is not None:
            raise UsageError(
                f"{name}:{line}: anchors and aliases are not allowed", hint="write the value out"
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise UsageError(f"{name}:{line}: tags such as {tag} are not allowed", hint="remove the tag")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UsageError(
                f"{name}:{line}: nested deeper than {MAX_DEPTH} levels", hint="is this the right file?"
            )


def _build(node: Any, where: Location, lines: dict[Location, int], name: str) -> Any:
    lines.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(node, where, lines, name)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*where, index), lines, name) for index, item in enumerate(node.value)]
    return _scalar(node, where, name)


def _build_mapping(node: Any, where: Location, lines: dict[Location, int], name: str) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
            raise UsageError(f"{name}:{line}: a field name must be a word", hint="write `name: value`")
        key = key_node.value
        if key == "<<":
            raise UsageError(f"{name}:{line}: merge keys are not allowed", hint="write the fields out")
        if key in built:
            first = lines[(*where, key)]
            raise UsageError(
                f"{name}:{line}: {dotted((*where, key))}: stands twice, first on line {first}",
                hint="keep the one that is meant",
            )
        lines[(*where, key)] = line
        built[key] = _build(value_node, (*where, key), lines, name)
    return built


def _scalar(node: Any, where: Location, name: str) -> str | int | float | bool:
    text, line = str(node.value), node.start_mark.line + 1
    if node.style is not None:
        return text
    lowered = text.lower()
    if lowered in _NOTHING:
        raise UsageError(
            f"{name}:{line}: {dotted(where)}: has no value", hint="give it one, or remove the line"
        )
    if lowered in _AMBIGUOUS:
        raise UsageError(
            f"{name}:{line}: {dotted(where)}: {text} can be read as true or false or as a word",
            hint="write true or false, or put the word in quotes",
        )
    if lowered in {"true", "false"}:
        return lowered == "true"
    if len(text) > _LONGEST_NUMBER and (_WHOLE.fullmatch(text) or _DECIMAL.fullmatch(text)):
        raise UsageError(
            f"{name}:{line}: {dotted(where)}: a number of {len(text)} characters",
            hint="write a smaller number, or put it in quotes if it is text",
        )
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if _NUMBER_LIKE.fullmatch(text) and any(character.isdigit() for character in text):
        raise UsageError(
            f"{name}:{line}: {dotted(where)}: {text} is not a plain number",
            hint="write it like 12 or 0.05, or put it in quotes if it is text",
        )
    return text


def dotted(where: Location) -> str:
    """Return a place for people: ``gates[2].margin``; the whole document is ``document``."""
    text = ""
    for part in where:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "document"
