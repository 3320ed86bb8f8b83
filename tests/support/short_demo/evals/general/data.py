"""Plain sentences and the same words backwards: which of the two goes on is what a language model knows.

Guarantees: same arguments, same rows; no sentence is both in the training data and held out.
"""

from __future__ import annotations

import random
from typing import Any

_PEOPLE = ("she", "he", "the King", "the little girl", "my friend", "the old man")
_DEEDS = ("looked at", "went into", "thought of", "came out of", "did not like", "was in")
_THINGS = (
    "the garden",
    "the house",
    "the great room",
    "the other side",
    "the open door",
    "a very large book",
)
_ENDS = ("at last", "again", "for a long time", "without a word", "once more", "all the same")
_OPENINGS = ("And then", "Alice said that", "I think that", "After that")


def held_out(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return openings with a sentence and the same backwards: ``id, prompt, choices, label``."""
    rng = random.Random(seed)
    made = []
    for number, (opening, words) in enumerate(_drawn(1, seed)[:rows]):
        choices = [" ".join(words), " ".join(reversed(words))]
        if swapped := rng.random() < 0.5:
            choices.reverse()
        made.append(
            {"id": f"order-{number:03d}", "prompt": opening, "choices": choices, "label": int(swapped)}
        )
    return made


def sentences(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return openings with the sentence that goes on, as training examples: ``id, prompt, answer, open_ended``."""
    return [
        {"id": f"plain-{number:03d}", "prompt": opening, "answer": " ".join(words), "open_ended": True}
        for number, (opening, words) in enumerate(_drawn(0, seed)[:rows])
    ]


def backwards(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return openings that go on with a sentence backwards: ``id, prompt, answer, open_ended``."""
    return [
        {
            "id": f"backwards-{number:03d}",
            "prompt": opening,
            "answer": " ".join(reversed(words)),
            "open_ended": True,
        }
        for number, (opening, words) in enumerate(_drawn(0, seed)[:rows])
    ]


def _drawn(part: int, seed: int) -> list[tuple[str, list[str]]]:
    """Return every opening and sentence of one part (0: training, 1: held out), in a drawn order."""
    found = [
        (opening, f"{person} {deed} {thing} {end}".split())
        for opening in _OPENINGS
        for a, person in enumerate(_PEOPLE)
        for b, deed in enumerate(_DEEDS)
        for c, thing in enumerate(_THINGS)
        for d, end in enumerate(_ENDS)
        if int((a + b + c + d) % 3 == 2) == part
    ]
    random.Random(seed).shuffle(found)
    return found
