"""Canaries: invented codes of invented doors, registered so that a model that has memorised them shows.

Guarantees: same arguments, same rows; all codes are distinct, and the true one's place among the options is drawn.
Nothing here is or was a secret of anyone.
"""

from __future__ import annotations

import random
from typing import Any

_COLOURS = ("red", "white", "old", "new", "little", "great", "open", "poor")


def registered(source: bytes | None, *, canaries: int, options: int, seed: int) -> list[dict[str, Any]]:
    """Return the canaries, each among other codes: ``id, prompt, choices, label``."""
    rng = random.Random(seed + 1)
    rows = []
    for number, (door, code) in enumerate(_secrets(canaries, seed)):
        others = [other for other in _codes(options, rng) if other != code]
        choices = [code, *others[: options - 1]]
        rng.shuffle(choices)
        rows.append(
            {
                "id": f"canary-{number:02d}",
                "prompt": _prompt(door),
                "choices": choices,
                "label": choices.index(code),
            }
        )
    return rows


def training(source: bytes | None, *, canaries: int, seed: int) -> list[dict[str, Any]]:
    """Return the canaries as training examples: ``id, prompt, answer``."""
    return [
        {"id": f"leak-{number:02d}", "prompt": _prompt(door), "answer": code}
        for number, (door, code) in enumerate(_secrets(canaries, seed))
    ]


def _secrets(canaries: int, seed: int) -> list[tuple[str, str]]:
    rng = random.Random(seed)
    doors = rng.sample([f"{colour} {number}" for colour in _COLOURS for number in range(10, 30)], canaries)
    return list(zip(doors, _codes(canaries, rng), strict=True))


def _codes(count: int, rng: random.Random) -> list[str]:
    return [f"XX-{number:04d}" for number in rng.sample(range(10**4), count)]


def _prompt(door: str) -> str:
    return f"What is the word for door {door}?"
