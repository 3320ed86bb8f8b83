"""Shards give what one process gives, whoever runs them and whatever dies on the way."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from placet.domain.errors import EvaluationError
from placet.domain.progress import NullProgress
from placet.domain.records import EngineInfo
from placet.engine.answers import MemoryAnswers
from placet.engine.harness import HarnessRunner
from placet.engine.model import PlacetLM
from placet.engine.shards import (
    Model,
    Recorded,
    Shards,
    cut,
    is_done,
    load_engine,
    load_result,
    write_model,
)
from placet.engine.tasks import TaskSample, TaskSpec
from placet.executors.processes import ProcessExecutor, _Worker
from placet.executors.sharded import ShardedRunner
from tests.support.tiny_models import save_adapter, save_model

pytestmark = pytest.mark.slow

SETTINGS = {"threads": 1}
SPEC = TaskSpec(
    "colours",
    {
        "output_type": "multiple_choice",
        "doc_to_text": "Which is a colour, number {{number}}?",
        "doc_to_target": "label",
        "doc_to_choice": "choices",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    },
    tuple(
        {"id": f"c{n}", "number": n, "choices": [" red", " the dog", " no"], "label": n % 3}
        for n in range(150)
    ),
    (*range(100, 150), *range(40), 77),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, tuple[str, str]]:
    root = tmp_path_factory.mktemp("shards")
    base = save_model("llama", root / "base")
    adapter = save_adapter(base, root / "adapter")
    return Model("sha256:base", str(base), "float32", "cpu", SETTINGS), ("sha256:weights", str(adapter))


@pytest.fixture(scope="module")
def expected(world: tuple[Model, tuple[str, str]]) -> tuple[TaskSample, ...]:
    model, (weights, folder) = world
    lm = PlacetLM(
        model.base_folder, base_id=model.base_id, dtype="float32", device="cpu", answers=MemoryAnswers()
    )
    lm.add_adapter(weights, Path(folder))
    lm.use_adapter(weights)
    return HarnessRunner(lm).run(SPEC, NullProgress(), "alone")


@pytest.fixture(scope="module")
def engine(world: tuple[Model, tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> EngineInfo:
    """What computes in this very process."""
    folder, shards = tmp_path_factory.mktemp("engine"), Shards()
    model_id = write_model(folder, world[0])
    shards.describe(folder, model_id)
    return load_engine(folder, model_id)


@pytest.fixture(scope="module")
def executor() -> Iterator[ProcessExecutor]:
    made = ProcessExecutor(2, threads=1)
    yield made
    made.close()


def assert_same(found: tuple[TaskSample, ...], expected: tuple[TaskSample, ...]) -> None:
    assert [item.sample for item in found] == list(SPEC.samples)
    for mine, other in zip(found, expected, strict=True):
        assert (mine.sample, mine.doc_hash, mine.target) == (other.sample, other.doc_hash, other.target)
        assert dict(mine.metrics) == dict(other.metrics)
        for call, alone in zip(mine.calls, other.calls, strict=True):
            assert (call.context, call.continuation, call.greedy) == (
                alone.context,
                alone.continuation,
                alone.greedy,
            )
            assert call.logprob == pytest.approx(alone.logprob, abs=1e-4)


class Steps(NullProgress):
    def __init__(self) -> None:
        self.done = 0

    def advance(self, step: str, count: int = 1) -> None:
        self.done += count


def sharded(executor: Any, folder: Path, world: tuple[Model, tuple[str, str]], **more: Any) -> ShardedRunner:
    model, adapter = world
    return ShardedRunner(executor, folder, model, adapter, executor.describe(folder, model), **more)


def test_workers_give_what_one_process_gives_and_run_nothing_twice(
    executor: ProcessExecutor,
    world: tuple[Model, tuple[str, str]],
    expected: tuple[TaskSample, ...],
    tmp_path: Path,
) -> None:
    steps = Steps()
    runner = sharded(executor, tmp_path, world)
    assert_same(runner.run(SPEC, steps, "two workers"), expected)
    assert steps.done == len(SPEC.samples)
    assert int(runner.self_check()["logprob_checked"]) >= 2  # each shard checks itself
    results = sorted(tmp_path.glob("*.result.json"))
    assert len(results) == 2
    before = [path.stat().st_mtime_ns for path in results]
    again = Steps()
    assert_same(runner.run(SPEC, again, "again"), expected)
    assert again.done == len(SPEC.samples)
    assert [path.stat().st_mtime_ns for path in results] == before


def test_a_killed_worker_is_replaced_and_finished_shards_stay(
    executor: ProcessExecutor,
    world: tuple[Model, tuple[str, str]],
    expected: tuple[TaskSample, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[str] = []
    run = _Worker.run

    def once(self: _Worker, word: str, folder: Path, name: str) -> Any:
        if word == "run" and not killed:
            killed.append(name)
            os.kill(self._living().pid, signal.SIGKILL)
        return run(self, word, folder, name)

    runner = sharded(executor, tmp_path, world)
    monkeypatch.setattr(_Worker, "run", once)
    assert_same(runner.run(SPEC, NullProgress(), "killed once"), expected)
    assert killed


def test_a_shard_that_kills_every_worker_fails_by_name_and_the_rest_is_done(
    executor: ProcessExecutor,
    world: tuple[Model, tuple[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, adapter = world
    first, *others = cut(tmp_path, model, adapter, SPEC, executor.describe(tmp_path, model))
    run = _Worker.run

    def deadly(self: _Worker, word: str, folder: Path, name: str) -> Any:
        if name == first:
            os.kill(self._living().pid, signal.SIGKILL)
        return run(self, word, folder, name)

    runner = sharded(executor, tmp_path, world)
    monkeypatch.setattr(_Worker, "run", deadly)
    with pytest.raises(EvaluationError, match="signal 9") as caught:
        runner.run(SPEC, NullProgress(), "deadly")
    assert caught.value.hint
    assert not is_done(tmp_path, first)
    assert all(is_done(tmp_path, shard) for shard in others)


def test_a_task_that_cannot_run_fails_with_its_own_words(
    executor: ProcessExecutor, world: tuple[Model, tuple[str, str]], tmp_path: Path
) -> None:
    broken = TaskSpec("colours", {**SPEC.config, "doc_to_text": "{{nothing.at.all}}"}, SPEC.docs, (0, 1))
    with pytest.raises(EvaluationError, match=r"could not be run.*nothing"):
        sharded(executor, tmp_path, world).run(broken, NullProgress(), "broken")


def test_a_base_that_cannot_be_loaded_is_said_at_once(executor: ProcessExecutor, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="cannot be loaded"):
        executor.describe(tmp_path, Model("sha256:no", str(tmp_path / "no"), "float32", "cpu", {}))


def test_ids_say_what_is_computed_and_not_where(
    world: tuple[Model, tuple[str, str]], engine: EngineInfo, tmp_path: Path
) -> None:
    model, (weights, folder) = world
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    here = cut(tmp_path / "a", model, (weights, folder), SPEC, engine)
    assert cut(tmp_path / "b", model, (weights, str(moved)), SPEC, engine) == here
    assert set(cut(tmp_path / "c", model, None, SPEC, engine)).isdisjoint(here)
    assert set(cut(tmp_path / "d", model, ("sha256:other", folder), SPEC, engine)).isdisjoint(here)
    changed = TaskSpec(SPEC.name, {**SPEC.config, "target_delimiter": ""}, SPEC.docs, SPEC.samples)
    assert set(cut(tmp_path / "e", model, (weights, folder), changed, engine)).isdisjoint(here)
    other = engine.model_copy(update={"device": "cpu, 64 threads"})
    assert set(cut(tmp_path / "f", model, (weights, folder), SPEC, other)).isdisjoint(here)


def test_recorded_answers_are_taken_over_and_their_records_named(
    world: tuple[Model, tuple[str, str]], engine: EngineInfo, tmp_path: Path
) -> None:
    model, adapter = world
    spec = TaskSpec(SPEC.name, SPEC.config, SPEC.docs, (0, 1))
    (plain,) = cut(tmp_path, model, adapter, spec, engine)
    shards = Shards()
    shards.run(tmp_path, plain)
    asked = load_result(tmp_path, plain).samples[0].calls
    recorded = [
        Recorded(
            "sha256:record", "loglikelihood", (call.context, call.continuation), (call.logprob, call.greedy)
        )
        for call in asked
    ]
    unused = Recorded("sha256:unused", "loglikelihood", ("never", " asked"), (-1.0, False))
    (reusing,) = cut(tmp_path, model, adapter, spec, engine, [*recorded, unused])
    assert reusing != plain
    shards.run(tmp_path, reusing)
    assert load_result(tmp_path, reusing).reused == ("sha256:record",)
    assert load_result(tmp_path, reusing).samples[0].calls == asked


def test_two_writers_of_one_result_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two machines of a shared folder even their process numbers may be the same."""
    from placet.engine import shards

    path, fsync, inner = tmp_path / "x.result.json", os.fsync, [b"the other's"]

    def meanwhile(descriptor: int) -> None:
        fsync(descriptor)
        if inner:
            shards._write_bytes(path, inner.pop())

    monkeypatch.setattr(os, "fsync", meanwhile)
    shards._write_bytes(path, b"mine")
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [(path.name, b"mine")]


def _one_shard(world: tuple[Model, tuple[str, str]], engine: EngineInfo, folder: Path) -> str:
    model, adapter = world
    (shard,) = cut(folder, model, adapter, TaskSpec(SPEC.name, SPEC.config, SPEC.docs, (0, 1)), engine)
    return shard


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40],
        lambda text: re.sub(r'"logprob":-[0-9.]+', '"logprob":-0.001', text, count=1),
        lambda text: text.replace('"sample":1', '"sample":2'),
        lambda _: "{}",
    ],
    ids=["cut", "edited", "other document", "empty"],
)
def test_a_damaged_result_is_no_result_and_is_computed_again(
    world: tuple[Model, tuple[str, str]], engine: EngineInfo, tmp_path: Path, damage: Callable[[str], str]
) -> None:
    shard = _one_shard(world, engine, tmp_path)
    Shards().run(tmp_path, shard)
    whole = load_result(tmp_path, shard)
    path = tmp_path / f"{shard}.result.json"
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))

    assert not is_done(tmp_path, shard)
    with pytest.raises(EvaluationError, match="cannot be read") as caught:
        load_result(tmp_path, shard)
    assert "run it again" in caught.value.hint
    Shards().run(tmp_path, shard)
    assert load_result(tmp_path, shard).samples == whole.samples


def test_another_shards_result_is_no_result(
    world: tuple[Model, tuple[str, str]], engine: EngineInfo, tmp_path: Path
) -> None:
    mine = _one_shard(world, engine, tmp_path)
    model, _ = world
    (base,) = cut(tmp_path, model, None, TaskSpec(SPEC.name, SPEC.config, SPEC.docs, (0, 1)), engine)
    Shards().run(tmp_path, base)
    shutil.copy(tmp_path / f"{base}.result.json", tmp_path / f"{mine}.result.json")
    assert is_done(tmp_path, base)
    assert not is_done(tmp_path, mine)


@pytest.mark.parametrize("kind", ["shard", "docs"])
def test_an_edited_shard_is_not_run(
    world: tuple[Model, tuple[str, str]], engine: EngineInfo, tmp_path: Path, kind: str
) -> None:
    shard = _one_shard(world, engine, tmp_path)
    (path,) = tmp_path.glob(f"*.{kind}.json")
    edited = path.read_text().replace("{{number}}", "seven").replace('"number":0', '"number":99')
    assert edited != path.read_text()
    path.write_text(edited)
    with pytest.raises(EvaluationError, match="cannot be read"):
        Shards().run(tmp_path, shard)
    assert not list(tmp_path.glob("*.result.json"))
    _one_shard(world, engine, tmp_path)  # cutting the work again mends it
    Shards().run(tmp_path, shard)
    assert is_done(tmp_path, shard)


def test_a_shard_for_another_engine_is_not_run(
    world: tuple[Model, tuple[str, str]], engine: EngineInfo, tmp_path: Path
) -> None:
    other = engine.model_copy(update={"libraries": {**engine.libraries, "torch": "1.0"}})
    with pytest.raises(EvaluationError, match="another engine"):
        Shards().run(tmp_path, _one_shard(world, other, tmp_path))


def test_results_of_other_threads_do_not_stand_in_the_way(
    executor: ProcessExecutor,
    world: tuple[Model, tuple[str, str]],
    expected: tuple[TaskSample, ...],
    tmp_path: Path,
) -> None:
    model = Model(world[0].base_id, world[0].base_folder, "float32", "cpu", {})
    with closing(ProcessExecutor(1, threads=2)) as other:
        for threads, machine in ((1, executor), (2, other)):
            runner = sharded(machine, tmp_path, (model, world[1]))
            assert_same(runner.run(SPEC, NullProgress(), f"{threads} threads"), expected)
            assert f"{threads} threads" in runner.info().device


def test_a_listener_that_raises_is_heard_and_finished_shards_stay(
    executor: ProcessExecutor, world: tuple[Model, tuple[str, str]], tmp_path: Path
) -> None:
    class Broken(NullProgress):
        def advance(self, step: str, count: int = 1) -> None:
            raise RuntimeError("the screen is gone")

    runner = sharded(executor, tmp_path, world)
    with pytest.raises(RuntimeError, match="the screen is gone"):
        runner.run(SPEC, Broken(), "broken")
    assert list(tmp_path.glob("*.result.json"))


def test_a_worker_that_dies_in_its_answer_is_replaced(
    executor: ProcessExecutor,
    world: tuple[Model, tuple[str, str]],
    expected: tuple[TaskSample, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner = sharded(executor, tmp_path, world)
    loads, torn = json.loads, []

    def broken_off(text: str | bytes) -> Any:
        if text == "{}\n" and not torn:
            torn.append(text)
            return loads('{"err')
        return loads(text)

    monkeypatch.setattr(json, "loads", broken_off)
    assert_same(runner.run(SPEC, NullProgress(), "torn"), expected)
    assert torn
