"""Runs whole commands and takes their CPU time: lm-eval's, once for each adapter, and ours, once for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine.work import Work

Answer = list[Any]
"""Log-probability and greediness of an option (None for a generation), and the text of a generation."""


@dataclass(frozen=True)
class Setting:
    """What both sides run with. `scratch` holds the tasks."""

    base: Path
    scratch: Path
    threads: int
    device: str

    @property
    def environment(self) -> dict[str, str]:
        threads = str(self.threads)
        return {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(self.scratch / "datasets"),
        }


@dataclass(frozen=True)
class Spent:
    """Of one process with its children."""

    cpu_s: float
    wall_s: float

    def seconds(self, device: str) -> float:
        """What counts: on a CPU the work, which other programs change less than the time; on a GPU the time."""
        return self.cpu_s if device == "cpu" else self.wall_s


def run(command: list[str], environment: dict[str, str]) -> Spent:
    """Run `command` to its end.

    Raises:
        RuntimeError: It failed; the message ends with what it said.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command[:4])} failed:\n{said.read().decode()[-3000:]}")
    return Spent(usage.ru_utime + usage.ru_stime, time.monotonic() - started)


def run_hf(
    setting: Setting, work: Work, adapter: Path | None, batch: int, dtype: str, limit: int | None = None
) -> tuple[Spent, list[list[Answer]], list[str]]:
    """Run `lm_eval` once on `work` and return what it took, its answers by document, and the prompts."""
    arguments = f"pretrained={setting.base},dtype={dtype}" + (f",peft={adapter}" if adapter else "")
    with tempfile.TemporaryDirectory(dir=setting.scratch) as out:
        command = [
            sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", arguments,
            "--tasks", f"bench-{work.name}", "--include_path", str(setting.scratch), "--batch_size", str(batch),
            "--device", setting.device, "--log_samples", "--output_path", out,
            *(["--limit", str(limit)] if limit else []),
        ]  # fmt: skip
        spent = run(command, setting.environment)
        (samples,) = Path(out).rglob("samples_*.jsonl")
        rows = [json.loads(line) for line in samples.read_text().splitlines()]
    rows.sort(key=lambda row: row["doc_id"])
    answers = [[_answer(response[0]) for response in row["resps"]] for row in rows]
    prompts = [row["arguments"]["gen_args_0"]["arg_0"] for row in rows]
    return spent, answers, prompts


def _answer(response: Any) -> Answer:
    if isinstance(response, str):
        return [None, None, response]
    return [float(response[0]), str(response[1]) == "True", ""]


def run_ours(
    setting: Setting, work: Work, adapters: list[Path], dtype: str, *, pack_tokens: int | None = None
) -> tuple[Spent, dict[str, Any]]:
    """Run our one process on `work` for the base and `adapters`, and return what it took and what it wrote."""
    out = setting.scratch / f"ours-{work.name}.json"
    job = {
        "base": str(setting.base),
        "dtype": dtype,
        "device": setting.device,
        "threads": setting.threads,
        "pack_tokens": pack_tokens,
        "task": f"bench-{work.name}",
        "config": work.config,
        "docs": list(work.docs),
        "adapters": {path.name: str(path) for path in adapters},
        "out": str(out),
    }
    file = setting.scratch / "job.json"
    file.write_text(json.dumps(job))
    spent = run([sys.executable, "-m", "benchmarks.engine.ours", str(file)], setting.environment)
    found: dict[str, Any] = json.loads(out.read_text())
    return spent, found
