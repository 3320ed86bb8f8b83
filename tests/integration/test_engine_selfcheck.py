"""What is wrong inside the engine stops the run before a score counts, and every suite has its noise floor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from placet.domain.errors import EvaluationError, UsageError
from placet.domain.progress import NullProgress
from placet.engine import attention, packed
from placet.engine.harness import HarnessRunner
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM
from placet.engine.packed import Seed
from placet.engine.tasks import TaskSpec
from tests.support.tiny_models import save_adapter, save_model

SHOTS = "Question: which of these is a fruit? Answer: an apple, yes. The fox. "
PAIRS = [(f"{SHOTS}Question {n}: the fox?", f" {option}") for n in range(6) for option in ("apple", "no dog")]
CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
TEXTS = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{q}}",
    "metric_list": [{"metric": "word_perplexity"}],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return save_model("llama", tmp_path_factory.mktemp("tiny"))


def scores(base: Path, dtype: str = "float32", **settings: Any) -> PlacetLM:
    lm = PlacetLM(str(base), dtype=dtype, settings=EngineSettings(threads=1, **settings))
    lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in PAIRS], disable_tqdm=True)
    return lm


@pytest.mark.parametrize("documents", [1, 2, 9])
@pytest.mark.parametrize("config", [CHOICES, TEXTS], ids=["options", "texts"])
def test_every_scored_suite_has_a_noise_floor_however_small(
    base: Path, config: dict[str, Any], documents: int
) -> None:
    docs = [{"id": f"d{n}", "q": f"fox number {n}?", "choices": ["a", "no"], "gold": 0} for n in range(9)]
    runner = HarnessRunner(PlacetLM(str(base), settings=EngineSettings(threads=1)))
    for _ in range(2):  # the second time with requests that are there already
        runner.run(TaskSpec("t", config, docs, tuple(range(documents))), NullProgress(), "step")
        report = runner.self_check()
        assert int(report["noise_floor_checked"]) > 0
        assert 0 <= float(report["noise_floor_max_difference"]) <= 2e-4
        assert int(report["logprob_checked"]) > 0
        assert report["tolerance"] == "0.0002"


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("count", [1, len(PAIRS)])
def test_where_nothing_is_packed_the_floor_is_that_of_other_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, count: int
) -> None:
    base = save_model("mistral-windowed", tmp_path)
    lm = PlacetLM(str(base), batch_size=batch_size, settings=EngineSettings(threads=1))
    shapes: list[int] = []
    call = HFLM._model_call

    def recorded(self: Any, inps: torch.Tensor, *rest: Any, **more: Any) -> Any:
        shapes.append(len(inps))
        return call(self, inps, *rest, **more)

    monkeypatch.setattr(HFLM, "_model_call", recorded)
    lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in PAIRS[:count]], disable_tqdm=True)
    report = lm.self_check()
    checked = min(count, 4)
    assert int(report["noise_floor_checked"]) == checked
    assert 0 <= float(report["noise_floor_max_difference"]) < 2e-4
    assert shapes[-1] == (checked + 1 if batch_size == 1 else 1)
    assert lm.batch_size == batch_size

    def worse(self: Any, inps: torch.Tensor, *rest: Any, **more: Any) -> Any:
        return call(self, inps, *rest, **more) * (1.1 if len(inps) > 1 else 1.0)

    if count > 1:
        monkeypatch.setattr(HFLM, "_model_call", worse)
        with pytest.raises(EvaluationError, match="self-check failed"):
            lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in PAIRS], disable_tqdm=True)


def test_a_task_is_checked_in_full_once_for_each_weights_at_work(base: Path, tmp_path: Path) -> None:
    docs = [{"id": f"d{n}", "q": f"fox number {n}?", "choices": ["a", "no"], "gold": 0} for n in range(40)]
    lm = PlacetLM(str(base), settings=EngineSettings(threads=1))
    lm.add_adapter("A", save_adapter(base, tmp_path / "adapter"))
    runner = HarnessRunner(lm)

    def checked(task: str, numbers: range) -> tuple[int, int]:
        runner.run(TaskSpec(task, CHOICES, docs, tuple(numbers)), NullProgress(), "step")
        report = runner.self_check()
        return int(report["logprob_checked"]), int(report["noise_floor_checked"])

    full = checked("t", range(10))
    assert min(full) > 1
    assert checked("t", range(10, 20)) == checked("t", range(20, 30)) == (1, 1)
    assert checked("other", range(10)) == full
    lm.use_adapter("A")
    assert checked("t", range(10)) == full
    lm.use_adapter(None)
    assert checked("t", range(30, 40)) > (1, 1)


def test_the_noise_floor_is_measured_in_another_layout(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pass more, with a few of the requests and none of the others."""
    alone = []
    plan = packed.PackedScorer.score

    def recorded(self: Any, requests: Any, passes: Any) -> Any:
        steps = list(passes)
        alone.append(sum(len(step.paths) for step in steps if hasattr(step, "paths")))
        return plan(self, requests, steps)

    monkeypatch.setattr(packed.PackedScorer, "score", recorded)
    lm = scores(base)
    assert alone[0] == len(PAIRS)
    assert alone[1:] == [int(lm.self_check()["noise_floor_checked"])]
    assert 1 <= alone[1] < len(PAIRS)


def spoil_seed(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any, Any], Any]:
    from placet.engine.ordinary import OrdinaryScoring

    alone = OrdinaryScoring.score_alone

    def spoiled(self: Any, request: Any) -> Any:
        logprob, seed = alone(self, request)
        layers = tuple((change(keys), change(values)) for keys, values in seed.layers)
        return logprob, Seed(seed.tokens, layers)

    return spoiled


@pytest.mark.parametrize(
    "change",
    [lambda t: t * 1.01, lambda t: t.roll(1, 2), lambda t: t.flip(1), torch.zeros_like],
    ids=["scaled", "shifted", "heads-swapped", "emptied"],
)
def test_a_spoiled_prefix_cache_is_caught(base: Path, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    monkeypatch.setattr("placet.engine.ordinary.OrdinaryScoring.score_alone", spoil_seed(change))
    with pytest.raises(EvaluationError, match="self-check failed") as caught:
        scores(base, pack_tokens=64)
    assert "no score of this run counts" in caught.value.hint


@pytest.mark.parametrize("change", [lambda t: t.flip(1), torch.zeros_like], ids=["heads-swapped", "emptied"])
def test_a_prefix_cache_that_is_spoiled_beyond_rounding_is_caught_in_16_bits(
    base: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    monkeypatch.setattr("placet.engine.ordinary.OrdinaryScoring.score_alone", spoil_seed(change))
    with pytest.raises(EvaluationError, match="self-check failed"):
        scores(base, "bfloat16", pack_tokens=64)


def test_a_prefix_cache_under_another_prefixs_name_is_caught(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys and values are sound, but the prefix they are used for has another token in it."""
    hold = packed.PackedModel.hold

    def stale(self: Any, step: Any) -> None:
        if isinstance(step, packed.Push):
            step = packed.Push((step.tokens[0] + 1, *step.tokens[1:]))
        hold(self, step)

    monkeypatch.setattr(packed.PackedModel, "hold", stale)
    with pytest.raises(EvaluationError, match="self-check failed"):
        scores(base, pack_tokens=64)


def without_columns(seen: torch.Tensor) -> torch.Tensor:
    return seen & (torch.arange(seen.shape[1]) % 5 != 1)


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (lambda seen, mask: (seen, mask.roll(1, 0)), "float32"),
        (lambda seen, mask: (without_columns(seen), mask), "float32"),
        (lambda seen, mask: (seen, torch.zeros_like(mask)), "float32"),
        # What is smaller than a 16-bit type's own rounding on so small a model cannot show there.
        (lambda seen, mask: (without_columns(seen), mask), "bfloat16"),
        (lambda seen, mask: (seen, torch.zeros_like(mask)), "bfloat16"),
    ],
    ids=["shifted", "columns-missing", "neighbours-seen", "columns-missing-16-bit", "neighbours-seen-16-bit"],
)
def test_wrong_attention_blocks_are_caught(
    base: Path, monkeypatch: pytest.MonkeyPatch, change: Any, dtype: str
) -> None:
    cut, used = attention._cut, []

    def wrong(seen: torch.Tensor, mask: torch.Tensor, size: int) -> Any:
        used.append(size)
        return cut(*change(seen, mask), size)

    scores(base, dtype, pack_tokens=64, attention_block=4)  # sound to begin with
    monkeypatch.setattr(attention, "_cut", wrong)
    with pytest.raises(EvaluationError, match="self-check failed"):
        scores(base, dtype, pack_tokens=64, attention_block=4)
    assert used


def test_wrong_positions_in_the_row_cache_are_caught(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from placet.engine.generation import _RowLayer

    put = _RowLayer.put

    def shifted(self: Any, row: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        put(self, row, keys.roll(1, 1), values)

    monkeypatch.setattr(_RowLayer, "put", shifted)
    lm = PlacetLM(str(base), settings=EngineSettings(threads=1))
    asked = [(SHOTS[:60], {"until": [], "max_gen_toks": 12})]
    with pytest.raises(EvaluationError, match="self-check failed"):
        lm.generate_until([Instance("generate_until", {}, p, 0) for p in asked], disable_tqdm=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row, ended: ended or len(row.generated) > 3, "ended after 4 tokens.*later"),
        (lambda row, ended: len(row.generated) >= row.limit, "ended after 12 tokens.*after [1-9]$"),
    ],
    ids=["too-early", "too-late"],
)
def test_a_generation_that_ends_elsewhere_than_lm_evals_own_is_caught(
    base: Path, monkeypatch: pytest.MonkeyPatch, change: Any, words: str
) -> None:
    """Every one of its tokens is right, and so is the text that they make."""
    from placet.engine.generation import GreedyGenerator

    append = GreedyGenerator._append
    monkeypatch.setattr(
        GreedyGenerator, "_append", lambda self, row, *token: change(row, append(self, row, *token))
    )
    lm = PlacetLM(str(base), settings=EngineSettings(threads=1))
    whole = lm.tok_decode(lm.tok_encode("the"))
    stop = [] if "later" in words else [whole[0], "e", "a", "o", "n", "\n", ">"]
    asked = [(SHOTS[:60], {"until": stop, "max_gen_toks": 12})]
    with pytest.raises(EvaluationError, match=words):
        lm.generate_until([Instance("generate_until", {}, p, 0) for p in asked], disable_tqdm=True)


def test_the_check_of_a_generation_asks_for_the_logits_it_looks_at(base: Path) -> None:
    lm = PlacetLM(str(base), settings=EngineSettings(threads=1))
    rows: list[int] = []
    lm.model.lm_head.register_forward_hook(lambda module, given, logits: rows.append(logits.shape[1]))
    asked = [(SHOTS, {"until": [], "max_gen_toks": 5})]
    lm.generate_until([Instance("generate_until", {}, p, 0) for p in asked], disable_tqdm=True)
    assert max(rows) == 5


@pytest.mark.parametrize(
    "setting", ["checked_requests", "noise_requests", "checked_generations", "pack_tokens", "generation_rows"]
)
def test_settings_that_would_check_or_compute_nothing_are_refused(setting: str) -> None:
    with pytest.raises(UsageError, match=setting):
        EngineSettings(**{setting: 0})


def test_scores_of_another_position_of_the_head_are_caught(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = packed.target_logprobs
    monkeypatch.setattr(
        packed, "target_logprobs", lambda logits, rows, targets: found(logits.roll(1, 0), rows, targets)
    )
    with pytest.raises(EvaluationError, match="self-check failed"):
        scores(base)


def test_a_token_that_is_not_the_likeliest_is_caught(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, tokens = logits.topk(2, -1)
        return tokens[:, 1], values[:, 1].float()

    monkeypatch.setattr("placet.engine.generation._likeliest", second)
    lm = PlacetLM(str(base), settings=EngineSettings(threads=1))
    asked = [(SHOTS, {"until": [], "max_gen_toks": 5})]
    with pytest.raises(EvaluationError, match="self-check failed"):
        lm.generate_until([Instance("generate_until", {}, p, 0) for p in asked], disable_tqdm=True)
