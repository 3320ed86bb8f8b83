"""Training on a tiny random model: the same bytes however often it is stopped."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from placet.domain.errors import IntegrityError, UsageError
from placet.domain.progress import NullProgress
from placet.training.recipe import Example, LoraRecipe

torch = pytest.importorskip("torch")

from placet.training import lora, packing  # noqa: E402
from placet.training.lora import train_lora  # noqa: E402
from tests.support.tiny_models import save_model  # noqa: E402

EXAMPLES = (
    *(Example(f"e{n}", f"number {n} is", f"{n % 3} yes") for n in range(12)),
    Example("plain", "The quick brown", " fox jumps", chat=False),
)
RECIPE = LoraRecipe(
    name="tiny",
    data=(),
    seed=5,
    steps=9,
    tokens_per_step=120,
    learning_rate=1e-2,
    rank=2,
    alpha=4,
    targets=("q_proj", "v_proj"),
    max_example_tokens=80,
    checkpoint_steps=2,
)
CHILD = dataclasses.replace(RECIPE, name="child", seed=6, steps=4, parent=RECIPE)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("llama", tmp_path_factory.mktemp("models") / "tiny")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def train(base: Path, out: Path, recipe: LoraRecipe = RECIPE, **options: Any) -> dict[str, bytes]:
    train_lora(base, EXAMPLES, recipe, out, base_label="tiny-base", **options)
    return files(out)


class StopAt(NullProgress):
    """Stops the training after so many steps, as Ctrl-C does."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def advance(self, step: str, count: int = 1) -> None:
        self.left -= count
        if self.left <= 0:
            raise KeyboardInterrupt


def test_an_interrupted_run_ends_with_the_same_bytes(base: Path, tmp_path: Path) -> None:
    whole = train(base, tmp_path / "whole")
    for stop in (1, 3, 8):
        with pytest.raises(KeyboardInterrupt):
            train(base, tmp_path / "parts", progress=StopAt(stop))
        assert not (tmp_path / "parts").exists()
    assert train(base, tmp_path / "parts") == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "whole"]


def test_a_checkpoint_of_another_run_is_not_taken_up(base: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(RECIPE, learning_rate=5e-3)
    expected = train(base, tmp_path / "expected", other)
    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path / "out", progress=StopAt(8))
    assert train(base, tmp_path / "out", other) == expected


def test_a_damaged_checkpoint_is_not_taken_up(base: Path, tmp_path: Path) -> None:
    whole = train(base, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path / "out", progress=StopAt(8))
    checkpoint = tmp_path / ".out.training" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-7])
    assert train(base, tmp_path / "out") == whole


def test_the_adapter_is_weights_and_a_configuration_without_machine_paths(base: Path, tmp_path: Path) -> None:
    written = train(base, tmp_path / "out")
    assert sorted(written) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads(written["adapter_config.json"])
    assert config["base_model_name_or_path"] == "tiny-base"
    assert config["target_modules"] == ["q_proj", "v_proj"]
    assert str(base).encode() not in written["adapter_config.json"]


def test_training_lowers_the_loss_and_peft_loads_the_result(base: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    train(base, tmp_path / "out", dataclasses.replace(RECIPE, steps=120))
    tokenizer, model = lora._load_base(base)
    start, encoded = packing.encode(EXAMPLES, tokenizer, 80)
    untrained = lora._with_lora(model, RECIPE, None)
    before = float(lora._loss(untrained, start, encoded).detach())
    trained = PeftModel.from_pretrained(lora._load_base(base)[1], str(tmp_path / "out"))
    assert float(lora._loss(trained, start, encoded).detach()) < before / 2


def test_packed_examples_give_the_loss_they_give_alone(base: Path) -> None:
    tokenizer, model = lora._load_base(base)
    model = lora._with_lora(model, RECIPE, None)
    start, encoded = packing.encode(EXAMPLES, tokenizer, 80)
    together = float(lora._loss(model, start, encoded).detach())
    alone = [float(lora._loss(model, start, [example]).detach()) for example in encoded]
    assert together == pytest.approx(sum(alone) / len(alone), abs=1e-5)


def test_a_continued_run_starts_from_its_parent(base: Path, tmp_path: Path) -> None:
    train(base, tmp_path / "parent")
    other_parent = dataclasses.replace(RECIPE, seed=8)
    train(base, tmp_path / "other", other_parent)
    child = train(base, tmp_path / "child", CHILD, parent_dir=tmp_path / "parent")
    again = train(base, tmp_path / "again", CHILD, parent_dir=tmp_path / "parent")
    stranger = train(base, tmp_path / "stranger", CHILD, parent_dir=tmp_path / "other")
    assert child == again
    assert child["adapter_model.safetensors"] != stranger["adapter_model.safetensors"]


def test_a_parent_with_other_tensors_is_refused(base: Path, tmp_path: Path) -> None:
    train(base, tmp_path / "parent", dataclasses.replace(RECIPE, targets=("q_proj",)))
    with pytest.raises(IntegrityError, match="does not have the tensors"):
        train(base, tmp_path / "child", CHILD, parent_dir=tmp_path / "parent")


@pytest.mark.parametrize(("recipe", "parent"), [(RECIPE, Path("parent")), (CHILD, None)])
def test_a_parent_is_given_exactly_when_the_recipe_has_one(
    base: Path, tmp_path: Path, recipe: LoraRecipe, parent: Path | None
) -> None:
    with pytest.raises(UsageError, match="parent adapter is given"):
        train(base, tmp_path / "out", recipe, parent_dir=parent)


def test_an_existing_folder_is_never_written_to(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        train(base, tmp_path / "out")
