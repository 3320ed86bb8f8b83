"""The two stages turn outcomes into rows: every sample, its own document, a value, or an error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from placet.domain.errors import EvaluationError, UsageError
from placet.domain.progress import NullProgress
from placet.engine.tasks import Call
from placet.evaluation.run import measure
from placet.measuring.measured import MeasuredSuite
from placet.measuring.rows import load_rows, rows_digest
from placet.measuring.suite import Suite, load_suite
from placet.safety.probes import probe
from tests.support.suites import FILES, FakeRunner, write_generation_suite, write_suite

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COMMON: dict[str, Any] = {"subject": "base", "progress": NullProgress(), "clock": lambda: NOW}


def choice(number: int) -> tuple[tuple[Call, ...], dict[str, float]]:
    calls = tuple(Call("Q", f" {n}", logprob=-float(n), greedy=n == 0) for n in range(3))
    return calls, {"acc": float(number % 2)}


def spoken(number: int) -> tuple[tuple[Call, ...], dict[str, float]]:
    return (Call("Q", options="{}", response="NO" if number % 2 else "no"),), {}


def test_an_evaluation_gives_one_row_for_each_sample_in_their_order(tmp_path: Path) -> None:
    suite, runner = load_suite(write_suite(tmp_path)), FakeRunner(choice)
    measured = measure(runner, suite, (4, 1, 3), **COMMON)
    assert [(row.doc, row.id, row.value) for row in measured.rows] == [
        (4, "c4", 0),
        (1, "c1", 1),
        (3, "c3", 1),
    ]
    assert (measured.mean, measured.metric, measured.higher_is_better) == (0.666667, "acc", True)
    assert [option.logprob for option in measured.rows[0].options] == [0.0, -1.0, -2.0]
    assert load_rows(measured.parquet) == measured.rows
    assert measured.rows_digest == rows_digest(measured.rows)
    assert runner.specs[0][1] == "colours on base"


def test_a_safety_suite_is_valued_by_its_scorer(tmp_path: Path) -> None:
    suite, runner = load_suite(write_generation_suite(tmp_path)), FakeRunner(spoken)
    measured = probe(runner, suite, (1, 0, 3), **COMMON)
    assert [(row.response, row.value) for row in measured.rows] == [("NO", 1), ("no", 0), ("NO", 1)]
    assert (measured.metric, measured.higher_is_better) == ("shout_rate", False)
    assert runner.specs[0][0].chat_template


def test_a_metric_lm_eval_did_not_give_is_an_error(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path))
    with pytest.raises(EvaluationError, match="acc for c2"):
        measure(FakeRunner(lambda n: (choice(n)[0], {} if n == 2 else {"acc": 1.0})), suite, (1, 2), **COMMON)


@pytest.mark.parametrize(
    "body",
    [
        "return {}",
        "return {'shout_rate': 0.5}",
        "return {'shout_rate': [1]}",
        "return {'shout_rate': [None, 1]}",
        "return {'shout_rate': [float('nan'), 1]}",
        "raise ValueError('x')",
    ],
)
def test_a_scorer_that_does_not_value_every_sample_is_an_error(tmp_path: Path, body: str) -> None:
    good = 'return {"shout_rate": [int(text != text.lower()) for text in predictions]}'
    code = FILES["scorer.py"].replace(good, body)
    suite = load_suite(write_generation_suite(tmp_path, scorer_py=code))
    with pytest.raises(EvaluationError) as caught:
        probe(FakeRunner(spoken), suite, (0, 1), **COMMON)
    assert caught.value.hint


@pytest.mark.parametrize(("value", "said"), [(1.5, "1.5"), (-0.5, "-0.5")])
def test_a_value_outside_the_declared_range_is_an_error(tmp_path: Path, value: float, said: str) -> None:
    def run(suite: Suite) -> MeasuredSuite:
        return measure(
            FakeRunner(lambda n: (choice(n)[0], {"acc": value if n == 2 else 1.0})), suite, (1, 2), **COMMON
        )

    message = f"colours on base: acc of c2 is {said}, outside the declared range of 0 to 1"
    with pytest.raises(EvaluationError, match=message) as caught:
        run(load_suite(write_suite(tmp_path / "a")))
    assert caught.value.hint == "mend the scorer, or the `range` in the suite's manifest"
    silent = FILES["suite.yaml"].replace("range: [0, 1]\n", "")
    assert run(load_suite(write_suite(tmp_path / "b", suite_yaml=silent))).rows[1].value == value


def test_a_scorer_is_one_metric(tmp_path: Path) -> None:
    suite = load_suite(write_generation_suite(tmp_path, scorer_py="x = 1"))
    with pytest.raises(UsageError, match="0 subclasses"):
        probe(FakeRunner(spoken), suite, (0,), **COMMON)


@pytest.mark.parametrize(("stage", "write"), [(probe, write_suite), (measure, write_generation_suite)])
def test_a_suite_of_the_other_stage_is_refused(
    tmp_path: Path, stage: Callable[..., object], write: Callable[[Path], Path]
) -> None:
    with pytest.raises(UsageError, match="suite"):
        stage(FakeRunner(choice), load_suite(write(tmp_path)), (0,), **COMMON)


def test_stages_load_no_model_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, placet.evaluation.run, placet.safety.probes, placet.engine.tasks, placet.engine.answers\n"
        "print([n for n in ('torch', 'lm_eval', 'evaluate', 'pyarrow', 'datasets') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
