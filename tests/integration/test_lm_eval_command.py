"""`placet lm-eval` writes what lm-eval's own command line writes for its `hf` model, file by file."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from placet.domain.errors import UsageError
from placet.engine.commandline import run_lm_eval
from tests.support.harness_tasks import write_tasks
from tests.support.tiny_models import save_adapter, save_model

TOLERANCE = 1e-4
TASKS = {"animals", "fruits", "texts", "words"}
OURS, THEIRS = ("-m", "placet", "lm-eval", "--model", "placet"), ("-m", "lm_eval", "--model", "hf")
# What has to differ: when it ran, for how long, how fast the processor was, and the name the model is registered under.
RUN_FACTS = {
    "date",
    "start_time",
    "end_time",
    "total_evaluation_time_seconds",
    "model_source",
    "pretty_env_info",
}


@dataclass(frozen=True)
class Written:
    """What a command left: files by their name without the date, and what it printed."""

    files: dict[str, Path]
    printed: str

    def results(self) -> dict[str, Any]:
        return dict(json.loads(self.files["results_.json"].read_text()))

    def samples(self, task: str) -> list[dict[str, Any]]:
        lines = self.files[f"samples_{task}_.jsonl"].read_text().splitlines()
        return [json.loads(line) for line in lines]


def command(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Written, Written]:
    """Run the same tasks with lm-eval's command and with ours."""
    root = tmp_path_factory.mktemp("command")
    base = save_model("llama", root / "base")
    adapter = save_adapter(base, root / "adapter")
    tasks = write_tasks(root / "tasks")
    found = []
    for name, start in (("ours", OURS), ("theirs", THEIRS)):
        done = command(
            [
                *(*start, "--model_args", f"pretrained={base},peft={adapter},dtype=float32"),
                *("--device", "cpu", "--tasks", "things,texts,words", "--include_path", str(tasks)),
                *("--log_samples", "--output_path", str(root / name)),
            ]
        )
        assert done.returncode == 0, done.stderr
        files = {
            re.sub(r"\d{4}-.*(?=\.)", "", path.name): path
            for path in (root / name).rglob("*")
            if path.is_file()
        }
        found.append(Written(files, done.stdout))
    return found[0], found[1]


def close(ours: float, theirs: float) -> bool:
    """Compare two figures; a perplexity, the exponential of a mean, by its logarithm."""
    if min(ours, theirs) > 1e4:
        ours, theirs = math.log(ours), math.log(theirs)
    return abs(ours - theirs) <= max(TOLERANCE, 1e-6 * abs(theirs))


def assert_like(ours: Any, theirs: Any, where: str) -> None:
    """Compare two JSON values: figures within tolerance, everything else exactly."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        assert set(ours) == set(theirs), where
        for key in theirs:
            assert_like(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for index, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            assert_like(left, right, f"{where}[{index}]")
    elif isinstance(theirs, float) or re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", str(theirs)):
        # lm-eval writes responses as words, figures among them.
        assert close(float(ours), float(theirs)), f"{where}: {ours} instead of {theirs}"
    else:
        assert ours == theirs, where


@pytest.mark.slow
def test_the_same_files_are_written(both: tuple[Written, Written]) -> None:
    ours, theirs = both
    assert set(ours.files) == set(theirs.files) == {"results_.json", *(f"samples_{t}_.jsonl" for t in TASKS)}
    assert ours.files["results_.json"].parent.name == theirs.files["results_.json"].parent.name


@pytest.mark.slow
def test_the_results_are_the_same(both: tuple[Written, Written]) -> None:
    ours, theirs = (written.results() for written in both)
    assert set(ours) == set(theirs)
    assert set(theirs["results"]) == {"things", *TASKS}
    assert set(theirs["groups"]) == {"things"}
    configs = [results.pop("config") for results in (ours, theirs)]
    assert configs[0].pop("model") == "placet"
    assert configs[1].pop("model") == "hf"
    assert_like(*configs, "config")
    for name in set(theirs) - RUN_FACTS:
        assert_like(ours[name], theirs[name], name)


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_sample_is_the_same(both: tuple[Written, Written], task: str) -> None:
    ours, theirs = (written.samples(task) for written in both)
    assert len(theirs) >= 3
    assert {"doc_hash", "prompt_hash", "target_hash", "arguments", "resps", "filtered_resps"} <= set(
        theirs[0]
    )
    assert_like(ours, theirs, task)


@pytest.mark.slow
def test_the_same_table_is_printed(both: tuple[Written, Written]) -> None:
    def table(printed: str) -> list[str]:
        return [line for line in printed.splitlines() if line.startswith("|")]

    assert len(table(both[1].printed)) > 8
    cells = [[c.strip() for line in table(w.printed) for c in line.split("|")] for w in both]
    assert_like(*cells, "table")


# --- words that are not passed on ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--use_cache", "here"],
        ["--use_cache=here"],
        ["-c", "here"],
        ["-chere"],
        ["--use_c", "here"],  # argparse takes any beginning of an option
        ["--cache_requests", "true"],
        ["--cache_req=refresh"],
        ["run", "--cache_requests", "true"],
    ],
    ids=" ".join,
)
def test_lm_evals_own_caches_are_refused_however_they_are_asked_for(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="caches mix") as caught:
        run_lm_eval([*arguments, "--model", "placet", "--tasks", "t"])
    assert "leave it out" in caught.value.hint


@pytest.mark.parametrize("key", ["use_cache: here", "cache_requests: {cache_requests: true}"])
def test_a_configuration_file_cannot_ask_for_a_cache_either(tmp_path: Path, key: str) -> None:
    (tmp_path / "run.yaml").write_text(f"model: placet\ntasks: [t]\n{key}\n")
    with pytest.raises(UsageError, match="caches mix"):
        run_lm_eval(["run", "--config", str(tmp_path / "run.yaml")])


NO_TORCH = "import sys; sys.modules['torch'] = None; from placet.cli.program import main; main()"


def test_the_command_refuses_with_exit_code_2_and_a_hint_before_it_loads_anything() -> None:
    done = command(["-c", NO_TORCH, "lm-eval", "--model", "placet", "--tasks", "t", "--use_cache", "here"])
    assert done.returncode == 2
    assert "Error: --use_cache" in done.stderr
    assert "Hint: leave it out" in done.stderr
    assert done.stdout == ""


def test_the_commands_help_names_the_model_and_the_limits() -> None:
    done = command(["-m", "placet", "lm-eval", "--help"])
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    assert "--model placet --model_args pretrained=BASE,peft=ADAPTER,dtype=float32" in words
    assert "--use_cache" in words


def test_lm_evals_own_help_is_within_reach() -> None:
    done = command(["-c", NO_TORCH, "lm-eval", "--", "--help"])
    assert done.returncode == 0
    assert "Language Model Evaluation Harness" in done.stdout
