"""Whole lm-eval runs on the engine and on lm-eval's `hf` model: the same requests, responses, filters and metrics."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from placet.engine.answers import MemoryAnswers
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM
from tests.support.harness_tasks import CHOICE, GENERATION, write_task, write_tasks
from tests.support.tiny_models import save_model

TOLERANCE = 1e-4
SMALL = EngineSettings(pack_tokens=100, generation_rows=3, threads=1)
REPEATED = """
    filter_list:
      - name: most-common
        filter:
          - {function: majority_vote}
          - {function: take_first}
      - name: last-word
        filter:
          - {function: regex, regex_pattern: "([a-z]+)", group_select: -1}
          - {function: lowercase}
          - {function: take_first}
    """
SAMPLED = '{until: ["\\n"], max_gen_toks: 8, do_sample: true, temperature: 1.5}'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return save_model("llama", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "tasks")


def run(lm: Any, folder: Path, *tasks: str, **options: Any) -> dict[str, Any]:
    found = simple_evaluate(
        model=lm,
        tasks=list(tasks),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
        **options,
    )
    assert found is not None
    return dict(found)


def hf(base: Path) -> HFLM:
    return HFLM(str(base), device="cpu", dtype="float32", batch_size=1)


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours["n-samples"] == theirs["n-samples"]
    for task, expected in theirs["samples"].items():
        found = ours["samples"][task]
        assert len(found) == len(expected) > 0
        for mine, other in zip(found, expected, strict=True):
            assert set(mine) == set(other)
            for key in ("arguments", "doc_hash", "prompt_hash", "target_hash", "target", "filter", "doc_id"):
                assert mine[key] == other[key]
            for key in ("resps", "filtered_resps"):
                assert_responses(mine[key], other[key])
            for metric in other["metrics"]:
                assert mine[metric] == pytest.approx(other[metric], abs=TOLERANCE)
    for task, figures in theirs["results"].items():
        for name, value in figures.items():
            assert ours["results"][task][name] == (
                pytest.approx(value, abs=TOLERANCE, rel=1e-4) if isinstance(value, float) else value
            ), (task, name)


def assert_responses(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_responses(mine, other)
    elif isinstance(theirs, float):
        assert abs(ours - theirs) <= max(TOLERANCE, 1e-6 * abs(theirs))
    else:
        assert ours == theirs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_fewshot": 2},
        {"apply_chat_template": True, "num_fewshot": 2, "fewshot_as_multiturn": False},
        {"apply_chat_template": True, "num_fewshot": 2, "fewshot_as_multiturn": True},
        {
            "apply_chat_template": True,
            "num_fewshot": 1,
            "fewshot_as_multiturn": True,
            "system_instruction": "Answer in one word.",
        },
        {"system_instruction": "Answer in one word."},
        {"limit": 2},
    ],
    ids=["plain", "few-shot", "chat", "multi-turn", "multi-turn-system", "system", "limit"],
)
def test_groups_likelihoods_generations_and_texts_are_the_same(
    base: Path, tasks: Path, options: dict[str, Any]
) -> None:
    names = ("things", "words") if "num_fewshot" in options else ("things", "texts", "words")
    ours = run(PlacetLM(str(base), settings=SMALL), tasks, *names, **options)
    theirs = run(hf(base), tasks, *names, **options)
    assert_same(ours, theirs)
    assert ours["groups"].keys() == theirs["groups"].keys() == {"things"}
    prompt = theirs["samples"]["animals"][0]["arguments"][0][0]
    assert ("<user>" in prompt) == ("apply_chat_template" in options)
    assert (prompt.count("<assistant>") > 1) == bool(options.get("fewshot_as_multiturn"))
    assert ("one word" in prompt) == ("system_instruction" in options)


@pytest.mark.parametrize(
    "changes",
    [
        {"target_delimiter": '""'},
        {"target_delimiter": '"\\n"'},
        {"target_delimiter": '""', "doc_to_text": '"Question: {{q}} "'},  # the space moves to the option
        {"doc_to_text": '""'},  # options without a context, but the delimiter
        {
            "doc_to_text": '"{{q}}"',
            "doc_to_choice": '["é", "ζζ", "日本", "ß", "a"]',
            "target_delimiter": '" = "',
        },
        {"doc_to_choice": '["yes", "yes", "no"]'},  # one option twice
    ],
    ids=["none", "line", "trailing-space", "no-context", "unicode", "twice"],
)
def test_however_options_join_their_context_they_score_the_same(
    base: Path, tasks: Path, changes: dict[str, str]
) -> None:
    write_task(tasks, "animals", CHOICE, **changes)
    assert_same(run(PlacetLM(str(base), settings=SMALL), tasks, "animals"), run(hf(base), tasks, "animals"))


def test_greedy_repeats_and_several_filters_are_the_same(base: Path, tasks: Path) -> None:
    write_task(tasks, "words", GENERATION + REPEATED, repeats="3")
    ours = run(PlacetLM(str(base), settings=SMALL), tasks, "words")
    theirs = run(hf(base), tasks, "words")
    assert_same(ours, theirs)
    assert {sample["filter"] for sample in ours["samples"]["words"]} == {"most-common", "last-word"}
    assert all(len(sample["resps"][0]) == 3 for sample in ours["samples"]["words"])


def test_a_sampled_answer_is_drawn_again_for_each_repeat_and_remembered_as_such(
    base: Path, tasks: Path
) -> None:
    write_task(tasks, "words", GENERATION + REPEATED, repeats="4", generation_kwargs=SAMPLED)
    store = MemoryAnswers()

    def ours() -> list[list[str]]:
        lm = PlacetLM(str(base), base_id="sha256:base", answers=store, settings=SMALL)
        samples = run(lm, tasks, "words")["samples"]["words"]
        return [sample["resps"][0] for sample in samples]

    theirs = [sample["resps"][0] for sample in run(hf(base), tasks, "words")["samples"]["words"]]
    first = ours()
    assert [len(answers) for answers in first] == [len(answers) for answers in theirs] == [4] * len(theirs)
    assert all(len(set(answers)) > 1 for answers in first)
    assert len(store) == 4 * 5
    assert ours() == first, "an interrupted run goes on with the draws it had"


@pytest.mark.parametrize("family", ["mistral-windowed", "mamba"])
def test_an_architecture_without_a_tree_mask_runs_whole_tasks_the_ordinary_way(
    tmp_path: Path, tasks: Path, family: str
) -> None:
    base = save_model(family, tmp_path / family)
    lm = PlacetLM(str(base), settings=SMALL, batch_size=1)
    assert_same(run(lm, tasks, "things", "words"), run(hf(base), tasks, "things", "words"))
    layout = lm.info().layout
    assert "scoring ordinary" in layout
    assert "generation ordinary" in layout


def test_in_bf16_the_engine_rounds_as_hf_does(base: Path, tasks: Path) -> None:
    """Both are as far from fp32: packing adds no error of its own beyond the format's."""
    exact = scores(run(hf(base), tasks, "things"))
    coarse = HFLM(str(base), device="cpu", dtype="bfloat16", softmax_dtype="float32", batch_size=1)
    theirs = scores(run(coarse, tasks, "things"))
    lm = PlacetLM(str(base), dtype="bfloat16", settings=SMALL)
    ours = scores(run(lm, tasks, "things"))
    assert lm.info().dtype == "bfloat16"
    assert "scoring packed" in lm.info().layout
    allowed = max(abs(a - b) for a, b in zip(theirs, exact, strict=True))
    assert 0 < allowed < 2
    assert max(abs(a - b) for a, b in zip(ours, exact, strict=True)) < 2 * allowed
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 2 * allowed
    report = lm.self_check()
    assert float(report["noise_floor_max_difference"]) < 2 * allowed


def scores(results: dict[str, Any]) -> list[float]:
    return [
        response[0][0]
        for task in ("animals", "fruits")
        for sample in results["samples"][task]
        for response in sample["resps"]
    ]
