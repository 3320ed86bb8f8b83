from __future__ import annotations

import dataclasses

import pytest

from placet.domain.errors import UsageError
from placet.training.lora import learning_rate
from placet.training.recipe import DataPart, Example, LoraRecipe, examples_digest

RECIPE = LoraRecipe(
    name="desk",
    data=(DataPart("support-desk", "training", (("rows", 4), ("seed", 1))),),
    seed=1,
    steps=20,
    tokens_per_step=64,
    learning_rate=1e-3,
    rank=2,
    alpha=4,
    targets=("v_proj", "q_proj"),
)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"seed": 2},
        {"steps": 21},
        {"learning_rate": 1.1e-3},
        {"layers": (0, 1)},
        {"targets": ("q_proj",)},
        {"parent": RECIPE},
        {"data": (DataPart("support-desk", "training", (("rows", 5), ("seed", 1))),)},
        {"data": (DataPart("support-desk", "training", (("rows", 4), ("seed", 1)), repeats=2),)},
    ],
)
def test_whatever_decides_the_result_changes_the_digest(change: dict[str, object]) -> None:
    assert dataclasses.replace(RECIPE, **change).digest() != RECIPE.digest()


@pytest.mark.parametrize("change", [{"checkpoint_steps": 3}, {"targets": ("q_proj", "v_proj")}])
def test_what_decides_nothing_leaves_the_digest(change: dict[str, object]) -> None:
    assert dataclasses.replace(RECIPE, **change).digest() == RECIPE.digest()


def test_a_changed_parent_changes_the_digest() -> None:
    child = dataclasses.replace(RECIPE, name="child", parent=RECIPE)
    other = dataclasses.replace(child, parent=dataclasses.replace(RECIPE, seed=9))
    assert child.digest() != other.digest()


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(RECIPE, step) for step in range(RECIPE.steps)]
    assert max(rates) == pytest.approx(RECIPE.learning_rate)
    assert rates.index(max(rates)) <= RECIPE.steps // 10
    assert rates[-1] == min(rates)
    assert rates[-1] > 0


def test_an_example_comes_from_a_row() -> None:
    assert Example.from_row({"id": "a", "prompt": "p", "answer": "b"}) == Example("a", "p", "b", True, False)


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a", "prompt": "p"},
        {"id": "a", "prompt": "p", "answer": "b", "label": 1},
        {"id": "a", "prompt": "", "answer": "b"},
        {"id": "a", "prompt": "p", "answer": 3},
    ],
)
def test_a_malformed_row_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Example.from_row(row)


def test_the_examples_digest_depends_on_their_order() -> None:
    first, second = Example("a", "p", "b"), Example("b", "q", "c")
    assert examples_digest([first, second]) != examples_digest([second, first])
