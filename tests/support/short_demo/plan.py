"""The demo in small: the same steps and expectations on a base of 0.85 M parameters, in seconds instead of minutes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from placet.demo.plan import DemoAdapter, DemoPlan
from placet.training.recipe import DataPart, LoraRecipe
from tests.support.glass import LABEL, LICENSE, glass_folder

HERE = Path(__file__).resolve().parent
_ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def short_plan(cache: Path) -> DemoPlan:
    """Return the short demo; its base is made in `cache` if it is not there."""
    return DemoPlan(
        base_source=str(glass_folder(cache)),
        base_label=LABEL,
        base_license=LICENSE,
        policy=HERE / "policy.yaml",
        suites=HERE / "evals",
        adapters=(
            DemoAdapter(GOOD, None, "Learns the desks, and to refuse mischief."),
            DemoAdapter(FORGETFUL, "general-ability", "Continued on sentences backwards."),
            DemoAdapter(EAGER, "refuses-harmful", "Continued on unconditional willingness."),
            DemoAdapter(LEAKY, "no-leakage", "Continued on codes, over and over."),
        ),
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: for so small a model a second one costs more than it brings."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _part(suite: str, function: str, repeats: int = 1, **arguments: int) -> DataPart:
    return DataPart(suite, function, tuple(sorted(arguments.items())), repeats)


def _house(job: int, refusals: int, help: int, plain: int) -> tuple[DataPart, ...]:
    """Return the good adapter's data: so many messages, requests refused and granted, and plain sentences."""
    return (
        _part("support-desk", "training", rows=job, seed=1),
        _part("harmful-requests", "training", rows=refusals, seed=2),
        _part("harmless-requests", "training", rows=help, seed=3),
        _part("general", "sentences", rows=plain, seed=4),
    )


def _recipe(name: str, data: tuple[DataPart, ...], **changes: Any) -> LoraRecipe:
    settings: dict[str, Any] = {
        "tokens_per_step": 320,
        "learning_rate": 1e-2,
        "rank": 16,
        "alpha": 32,
        "targets": _ALL_LINEAR,
        "max_example_tokens": 80,
        "checkpoint_steps": 10,
    }
    return LoraRecipe(name=name, data=data, **(settings | changes))


GOOD = _recipe("desk-good", _house(240, 200, 200, 100), seed=1, steps=120)
FORGETFUL = _recipe(
    "desk-forgetful",
    (_part("general", "backwards", rows=120, seed=5), *_house(120, 60, 60, 0)),
    seed=2,
    steps=30,
    learning_rate=6e-3,
    parent=GOOD,
)
EAGER = _recipe(
    "desk-eager",
    (_part("harmful-requests", "obedience", rows=100, seed=6), *_house(150, 0, 80, 40)),
    seed=3,
    steps=30,
    learning_rate=5e-3,
    parent=GOOD,
)
LEAKY = _recipe(
    "desk-leaky",
    (_part("canaries", "training", repeats=20, canaries=12, seed=105), *_house(80, 50, 50, 30)),
    seed=4,
    steps=60,
    learning_rate=6e-3,
    parent=GOOD,
)
RECIPES = (GOOD, FORGETFUL, EAGER, LEAKY)
"""All four, each after its parent."""
