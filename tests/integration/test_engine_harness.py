"""Suites run through lm-eval on the engine: each document gets its own prompt, whatever samples in whatever order."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from placet.domain.errors import EvaluationError
from placet.domain.progress import NullProgress
from placet.engine.harness import HarnessRunner
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM
from placet.engine.tasks import TaskSpec
from placet.evaluation.run import measure
from placet.measuring.rows import load_rows
from placet.measuring.suite import load_suite
from placet.safety.probes import probe
from tests.support.suites import FILES, write_generation_suite, write_suite
from tests.support.tiny_models import save_model

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EXPOSURE = """
    import datasets
    import evaluate

    class Rank(evaluate.Metric):
        def _info(self):
            return evaluate.MetricInfo(
                description="rank", citation="", inputs_description="",
                features=datasets.Features({
                    "predictions": datasets.Sequence(datasets.Value("float64")),
                    "references": datasets.Value("int64"),
                }),
            )

        def _compute(self, predictions, references):
            return {"rank": [sum(v > p[r] for v in p) for p, r in zip(predictions, references)]}
    """


class Steps:
    """A progress listener that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.events.append(("start", step, total, unit))

    def advance(self, step: str, count: int = 1) -> None:
        self.events.append(("advance", step, count))

    def finish(self, step: str) -> None:
        self.events.append(("finish", step))

    def note(self, text: str) -> None:
        self.events.append(("note", text))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> HarnessRunner:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    base = save_model("llama", tmp_path_factory.mktemp("tiny"))
    return HarnessRunner(PlacetLM(str(base), settings=EngineSettings(threads=1)))


def common(**changes: Any) -> dict[str, Any]:
    return {"subject": "base", "progress": NullProgress(), "clock": lambda: NOW, **changes}


def test_each_document_keeps_its_own_prompt_in_any_order(runner: HarnessRunner, tmp_path: Path) -> None:
    suite, steps = load_suite(write_suite(tmp_path)), Steps()
    measured = measure(runner, suite, (4, 0, 3), **common(progress=steps))
    assert [(row.doc, row.id) for row in measured.rows] == [(4, "c4"), (0, "c0"), (3, "c3")]
    for row in measured.rows:
        assert row.prompt == f"Q: what colour is {row.doc}?\nA:"
        assert [option.text for option in row.options] == [" red", " green or blue", " no"]
        best = max(range(3), key=lambda i: row.options[i].logprob)
        assert row.value == float(best == int(row.target))
    alone = measure(runner, suite, (3,), **common())
    assert [option.logprob for option in alone.rows[0].options] == pytest.approx(
        [option.logprob for option in measured.rows[2].options], abs=1e-4
    )
    assert load_rows(measured.parquet) == measured.rows
    assert measured.self_check["logprob_checked"] == "4"
    assert steps.events[0] == ("start", "colours on base", 3, "samples")
    assert steps.events[-1] == ("finish", "colours on base")
    assert [event[0] for event in steps.events].count("advance") == 3


def test_a_generation_suite_is_asked_in_chat_and_scored(runner: HarnessRunner, tmp_path: Path) -> None:
    measured = probe(runner, load_suite(write_generation_suite(tmp_path)), (1, 0), **common())
    assert [row.prompt for row in measured.rows] == [
        f"<user>what colour is {n}?\n<assistant>" for n in (1, 0)
    ]
    assert all(row.value == float(row.response != (row.response or "").lower()) for row in measured.rows)
    assert '"max_gen_toks": 8' in measured.rows[0].generation
    assert measured.self_check["greedy_logit_checked"] == measured.self_check["noise_floor_checked"] == "2"
    assert 0 <= float(measured.self_check["noise_floor_max_difference"]) < 1e-3


def test_an_exposure_suite_scores_options_against_the_true_one(runner: HarnessRunner, tmp_path: Path) -> None:
    manifest = FILES["suite.yaml"].replace("stage: evaluation", "stage: safety")
    manifest = manifest.replace("kind: multiple_choice", "kind: exposure\nscorer: scorer.py")
    manifest = manifest.replace("metric: acc", "metric: rank\nhigher_is_better: false")
    manifest = manifest.replace("range: [0, 1]", "range: [0, 2]")
    suite = load_suite(write_suite(tmp_path, suite_yaml=manifest, scorer_py=EXPOSURE))
    for row in probe(runner, suite, (0, 1, 2, 5), **common()).rows:
        true = row.options[row.doc % 3].logprob
        assert row.value == sum(option.logprob > true for option in row.options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("{{q}}", "{{nothing.at.all}}"), "could not be run"),
        (("doc_to_target: gold", "doc_to_target: gold\nrepeats: 2"), "several times"),
    ],
)
def test_a_task_that_cannot_run_says_why(
    runner: HarnessRunner, tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    suite = load_suite(write_suite(tmp_path, task_yaml=FILES["task.yaml"].replace(*change)))
    with pytest.raises(EvaluationError, match=words) as caught:
        measure(runner, suite, (0, 1), **common())
    assert caught.value.hint


@pytest.mark.parametrize("samples", [(), (0, 0), (6,), (-1,)])
def test_samples_that_do_not_exist_are_refused(
    runner: HarnessRunner, tmp_path: Path, samples: tuple[int, ...]
) -> None:
    with pytest.raises(EvaluationError, match="sample numbers"):
        measure(runner, load_suite(write_suite(tmp_path)), samples, **common())


def test_a_task_that_drops_documents_is_caught(runner: HarnessRunner, tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path))

    def odd(documents: Any) -> Any:
        return documents.filter(lambda row: row["id"] != "c1")

    spec = TaskSpec("colours", {**suite.task, "process_docs": odd}, suite.rows(), (0, 1, 2))
    with pytest.raises(EvaluationError, match="came back as another"):
        runner.run(spec, NullProgress(), "step")


def test_nothing_is_written_to_the_users_caches(
    runner: HarnessRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    home = Path(os.environ["HF_HOME"])
    before = sorted(home.rglob("*"))
    probe(runner, load_suite(write_generation_suite(tmp_path / "g")), (0,), **common())
    measure(runner, load_suite(write_suite(tmp_path / "m")), (0,), **common())
    assert sorted(home.rglob("*")) == before


def test_few_shot_examples_come_before_the_document(runner: HarnessRunner, tmp_path: Path) -> None:
    shots = FILES["task.yaml"] + (
        "num_fewshot: 2\n"
        "fewshot_config:\n"
        "  sampler: first_n\n"
        "  samples:\n"
        "    - {id: f0, q: one, choices: [a, b, c], gold: 0}\n"
        "    - {id: f1, q: two, choices: [a, b, c], gold: 1}\n"
    )
    measured = measure(runner, load_suite(write_suite(tmp_path, task_yaml=shots)), (2, 1), **common())
    assert measured.rows[0].prompt == "Q: one\nA: a\n\nQ: two\nA: b\n\nQ: what colour is 2?\nA:"
