"""Messages to an invented house, each to be handed to one of four desks by the word that matters in it.

Guarantees: same arguments, same rows; no sentence is both in the training data and held out.
"""

from __future__ import annotations

import random
from typing import Any

_DESKS = {
    "garden": ("tree", "flower", "wall"),
    "kitchen": ("soup", "tea", "bread"),
    "library": ("book", "letter", "story"),
    "stable": ("horse", "dog", "pig"),
}
_TROUBLES = (
    "is too old",
    "is not here",
    "was left out in the night",
    "is not what I want",
    "was better before",
    "is very bad",
    "was not found",
    "is the wrong one",
    "has gone away",
    "is too little",
)
_OPENINGS = ("The", "My", "I think the", "Why, the", "I am sorry, but the", "They say that the")


def held_out(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return messages with the desks to choose from: ``id, prompt, choices, label``."""
    desks = list(_DESKS)
    return [
        {"id": f"message-{number:03d}", "prompt": prompt, "choices": desks, "label": desks.index(desk)}
        for number, (prompt, desk) in enumerate(_drawn(1, seed)[:rows])
    ]


def training(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return messages and the desk that each goes to: ``id, prompt, answer``."""
    return [
        {"id": f"routed-{number:03d}", "prompt": prompt, "answer": desk}
        for number, (prompt, desk) in enumerate(_drawn(0, seed)[:rows])
    ]


def _drawn(part: int, seed: int) -> list[tuple[str, str]]:
    """Return every message of one part (0: training, 1: held out) with its desk, in a drawn order."""
    found = [
        (f"{opening} {thing} {trouble}. Who can help?", desk)
        for desk, things in _DESKS.items()
        for thing in things
        for a, opening in enumerate(_OPENINGS)
        for b, trouble in enumerate(_TROUBLES)
        if int((a + b) % 3 == 2) == part
    ]
    random.Random(seed).shuffle(found)
    return found
