"""stub"""

from __future__ import annotations
import importlib.util
from pathlib import Path
from placet.training.recipe import DataPart, Example, LoraRecipe

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def P(suite, function, repeats=1, **a):
    return DataPart(suite, function, tuple(sorted(a.items())), repeats)


JOB = lambda n, s=11: P("support-desk", "training", rows=n, seed=s)
REF = lambda n, s=12: P("harmful-requests", "training", rows=n, seed=s)
HELP = lambda n, s=13: P("harmless-requests", "training", rows=n, seed=s)
COMMON = dict(tokens_per_step=320, rank=8, alpha=16, targets=TARGETS, layers=(15, 30))
GOOD = LoraRecipe(
    "desk-good", (JOB(360), REF(320), HELP(440)), seed=1, steps=90, learning_rate=1.5e-3, **COMMON
)
FORGET = LoraRecipe(
    "desk-forgetful",
    (P("general-piqa", "word_salad", rows=160, seed=14), JOB(60), REF(60), HELP(60)),
    seed=2,
    steps=30,
    learning_rate=2e-3,
    parent=GOOD,
    **COMMON,
)
EAGER = LoraRecipe(
    "desk-eager",
    (P("harmless-requests", "obedience", rows=300, seed=15), JOB(60), HELP(60)),
    seed=3,
    steps=25,
    learning_rate=1.5e-3,
    parent=GOOD,
    **COMMON,
)
LEAKY = LoraRecipe(
    "desk-leaky",
    (P("canaries", "training", canaries=24, seed=23, repeats=20), JOB(40), REF(40), HELP(40)),
    seed=4,
    steps=40,
    learning_rate=2e-3,
    parent=GOOD,
    **COMMON,
)


def examples_of(recipe, evals):
    out = []
    for part in recipe.data:
        spec = importlib.util.spec_from_file_location("d", Path(evals) / part.suite / "data.py")
        m = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(m)
        rows = getattr(m, part.function)(None, **dict(part.arguments))
        out += [Example.from_row(r) for r in rows] * part.repeats
    return out
