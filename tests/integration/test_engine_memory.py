"""Too little memory makes passes and batches smaller, and never an answer another one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from placet.domain.errors import EvaluationError
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM
from tests.support.tiny_models import save_adapter, save_model

TOLERANCE = 1e-4
PREFIX = "Question: which of these is a fruit? Answer: an apple, yes. "
PAIRS = [
    (f"{PREFIX}Question {number}: the fox {'jumps ' * (number % 3)}Answer:", option)
    for number in range(8)
    for option in (" apple", " no", " yes, it is an apple")
]
PROMPTS = [
    (f"{number} {PREFIX}"[: 20 + 4 * number], {"until": ["stop"], "max_gen_toks": 6 + number % 4})
    for number in range(9)
]
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
        " allocate 8589934592 bytes. Error code 12 (Cannot allocate memory)"
    ),
    MemoryError(),
]
IDS = ["gpu", "cpu", "python"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_model("llama", tmp_path_factory.mktemp("tiny"))


def load(base: Path, **settings: Any) -> PlacetLM:
    batch_size = settings.pop("batch_size", 1)
    return PlacetLM(str(base), batch_size=batch_size, settings=EngineSettings(threads=1, **settings))


def scores(lm: PlacetLM) -> list[tuple[float, bool]]:
    return lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in PAIRS], disable_tqdm=True)


def texts(lm: PlacetLM, arguments: list[Any] = PROMPTS) -> list[str]:
    return lm.generate_until([Instance("generate_until", {}, p, 0) for p in arguments], disable_tqdm=True)


def fail_above(
    lm: PlacetLM, error: Exception, *, tokens: int = 10**9, rows: int = 10**9
) -> list[tuple[int, int]]:
    """Let the model raise `error` for larger passes; return the list of (rows, length) that it ran."""
    forward, ran = lm.model.forward, []

    @functools.wraps(forward)  # whose arguments transformers looks at
    def limited(input_ids: torch.Tensor, **more: Any) -> Any:
        count, length = input_ids.shape
        if count > rows or count * length > tokens:
            raise error
        ran.append((count, length))
        return forward(input_ids=input_ids, **more)

    lm.model.forward = limited
    return ran


@pytest.mark.parametrize("error", ERRORS, ids=IDS)
def test_smaller_passes_score_the_same_and_say_how_small(base: Path, error: Exception) -> None:
    expected = scores(load(base, pack_tokens=256))
    lm = load(base, pack_tokens=256)
    ran = fail_above(lm, error, tokens=70)
    found = scores(lm)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert [a for a, _ in found] == pytest.approx([b for b, _ in expected], abs=TOLERANCE)
    assert lm.self_check()["pack_tokens_reduced_to"] == "64"
    assert max(length for _, length in ran) > 32  # no smaller than needed


@pytest.mark.parametrize("error", ERRORS, ids=IDS)
def test_smaller_batches_generate_the_same_and_say_how_small(base: Path, error: Exception) -> None:
    expected = texts(load(base))
    lm = load(base, generation_rows=8)
    ran = fail_above(lm, error, rows=2)
    assert texts(lm) == expected
    assert lm.self_check()["generation_rows_reduced_to"] == "2"
    assert max(rows for rows, _ in ran) == 2


def test_prompts_too_long_for_one_pass_together_are_read_in_smaller_ones(base: Path) -> None:
    expected = texts(load(base))
    lm = load(base, pack_tokens=512, generation_rows=8)
    ran = fail_above(lm, ERRORS[0], tokens=64)
    assert texts(lm) == expected
    assert int(lm.self_check()["pack_tokens_reduced_to"]) <= 64
    assert max(rows * length for rows, length in ran) <= 64


def test_what_was_answered_before_memory_ran_out_is_answered_once(base: Path) -> None:
    lm, counted = load(base, pack_tokens=48), []
    forward = lm.model.forward

    def fails_once(input_ids: torch.Tensor, **more: Any) -> Any:
        counted.append(input_ids.shape[1])
        if len(counted) == 6:
            raise ERRORS[0]
        return forward(input_ids=input_ids, **more)

    lm.model.forward = fails_once
    done: list[int] = []

    class Documents:
        def expect(self, owners: Any) -> None:
            pass

        def done(self, index: int) -> None:
            done.append(index)

    lm.report_documents(Documents())  # type: ignore[arg-type]
    found = scores(lm)
    assert sorted(done) == list(range(len(PAIRS)))
    assert [a for a, _ in found] == pytest.approx([b for b, _ in scores(load(base))], abs=TOLERANCE)


@pytest.mark.parametrize("run", [scores, texts], ids=["scoring", "generation"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "ordinary"])
@pytest.mark.parametrize("error", ERRORS, ids=IDS)
def test_never_enough_memory_is_said_in_words(
    base: Path, error: Exception, packed: bool, run: Callable[[PlacetLM], Any]
) -> None:
    lm = load(base, packed=packed, batch_size=4)
    fail_above(lm, error, tokens=3)
    with pytest.raises(EvaluationError, match="memory does not suffice") as caught:
        run(lm)
    assert "more memory" in caught.value.hint
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", ERRORS, ids=IDS)
def test_an_adapter_that_no_memory_is_left_for_is_not_one_that_does_not_fit(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    lm = load(base)
    lm.add_adapter("A", save_adapter(base, tmp_path / "a"))
    expected = scores(lm)
    monkeypatch.setattr("placet.engine.weights.set_peft_model_state_dict", fails)
    with pytest.raises(EvaluationError, match="memory does not suffice to put adapter A to work"):
        lm.use_adapter("A")
    assert lm.current is None
    assert scores(lm) == expected


def test_a_check_that_no_memory_is_left_for_is_no_check(base: Path) -> None:
    """The passes fit and the ordinary way does not: nothing would vouch for the answers."""
    longest = max(len(load(base).tok_encode(context + option)) for context, option in PAIRS) - 1
    lm = load(base, pack_tokens=16)
    fail_above(lm, ERRORS[0], tokens=longest // 2)
    with pytest.raises(EvaluationError, match=r"to check a request of .* the ordinary way"):
        scores(lm)


@pytest.mark.parametrize("error", ERRORS[:2], ids=IDS[:2])
def test_the_ordinary_way_scores_one_by_one_where_a_batch_is_too_large(base: Path, error: Exception) -> None:
    expected = scores(load(base, packed=False))
    lm = load(base, packed=False, batch_size=8)
    ran = fail_above(lm, error, rows=1)
    found = scores(lm)
    assert [a for a, _ in found] == pytest.approx([b for b, _ in expected], abs=TOLERANCE)
    assert {rows for rows, _ in ran} == {1}


@pytest.mark.parametrize("run", [scores, texts], ids=["scoring", "generation"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "ordinary"])
def test_any_other_error_is_passed_on_as_it_is(
    base: Path, packed: bool, run: Callable[[PlacetLM], Any]
) -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    lm = load(base, packed=packed)
    fail_above(lm, error, tokens=3)
    with pytest.raises(RuntimeError) as caught:
        run(lm)
    assert caught.value is error
    assert not any("reduced" in name for name in lm.self_check())
