"""Reading a model card: which fields its YAML head has, and under which headings something is written.

The form is that of the Hugging Face Hub: a YAML head between two lines of ``---``, then Markdown. Pure; nothing in a
card is believed, only that it is there.
"""

from __future__ import annotations

import re

import yaml

from placet.domain.digests import Digest
from placet.policy.evidence import ModelCard

_HEAD = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"(#{1,6})\s+(.*?)\s*#*\s*")
_FENCE = re.compile(r"\s*(```|~~~)")
_MAX_BYTES = 1 << 20


def read_card(record: Digest, data: bytes) -> ModelCard:
    """Return what the card in `data` has; `record` is the submission that holds it. Never raises for what is in it."""
    if len(data) > _MAX_BYTES:
        return _unreadable(record, "it is larger than 1 MiB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _unreadable(record, "it is not UTF-8 text")
    head = _HEAD.match(text)
    fields: frozenset[str] = frozenset()
    if head is not None:
        try:
            written = yaml.safe_load(head.group(1))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            return _unreadable(record, f"its head is not valid YAML: {' '.join(str(error).split())[:120]}")
        if written is not None and not isinstance(written, dict):
            return _unreadable(record, "its head is not a list of `field: value`")
        fields = frozenset(str(name) for name, value in (written or {}).items() if _says_something(value))
    return ModelCard(record, fields, _sections(text[head.end() :] if head else text))


def _says_something(value: object) -> bool:
    return value not in (None, [], {}) and str(value).strip() != ""


def _sections(body: str) -> frozenset[str]:
    """Return the headings, in lower case, under which a line of text stands before the next one of their level."""
    open_: list[tuple[int, str]] = []
    written: set[str] = set()
    fenced = False
    for line in body.splitlines():
        if _FENCE.match(line):
            fenced = not fenced
        heading = None if fenced else _HEADING.fullmatch(line)
        if heading:
            level = len(heading.group(1))
            open_ = [item for item in open_ if item[0] < level] + [(level, heading.group(2).lower())]
        elif line.strip():
            written.update(name for _, name in open_)
    return frozenset(written)


def _unreadable(record: Digest, problem: str) -> ModelCard:
    return ModelCard(record, frozenset(), frozenset(), problem)
