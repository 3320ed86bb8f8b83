"""The model runner of a gate: one loaded base, adapters put to work on it, answers remembered until recorded.

Loading checks: the base folder must still have the content it was registered with, and an adapter's folder is
written from the content-addressed store alone. Answers are taken over from an interrupted run of the same plan, out of
its journal, and from signed measurements, which are then named; from nowhere else.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from placet.attest.trust import Verified
from placet.domain.digests import Digest, short
from placet.domain.progress import Progress
from placet.domain.records import EngineInfo, FileEntry, Measurement, Stage
from placet.engine.shards import Model, Recorded
from placet.engine.tasks import TaskRunner
from placet.intake import materialise
from placet.measuring.rows import Row
from placet.office import Office
from placet.pipeline.bases import base_folder

if TYPE_CHECKING:
    from placet.engine.answers import JournalAnswers
    from placet.executors.processes import ProcessExecutor
    from placet.executors.sharded import ShardedRunner
    from placet.measuring.measured import MeasuredSuite
    from placet.measuring.suite import Suite

_SCORED = {
    "multiple_choice": "loglikelihood",
    "loglikelihood": "loglikelihood",
    "loglikelihood_rolling": "loglikelihood_rolling",
}
"""What a task of each output type asks of a model for each option."""


class _Models(Protocol):
    """Where models are: loaded in this process, or in workers."""

    def info(self) -> EngineInfo:
        """Return what computes the answers."""

    def add_adapter(self, weights_id: Digest, folder: Path) -> None:
        """Make an adapter known."""

    def runner(self, weights_id: Digest | None, plan: Digest, recorded: Sequence[Recorded]) -> TaskRunner:
        """Return what runs tasks on an adapter (None: the base) for a plan, with answers that are on record."""

    def reused(self) -> tuple[str, ...]:
        """Return the records that the last runner took answers from."""

    def finish(self, plan: Digest) -> None:
        """Forget what was kept for an interrupted run of a plan."""

    def close(self) -> None:
        """Let go."""


@dataclasses.dataclass(frozen=True, slots=True)
class Compute:
    """How models run. `device` and `dtype` as torch names them; `workers` processes, each with its copy of the base."""

    workers: int = 1
    device: str = "cpu"
    dtype: str = "float32"

    def fits(self, engine: EngineInfo) -> bool:
        """Return whether an engine computed in this type and on this kind of device."""
        return engine.dtype == self.dtype and engine.device.partition(",")[0] == self.device.partition(":")[0]


ON_CPU = Compute()


class Runner:
    """A base and its adapters.

    Args:
        office: Where base, adapters and remembered answers lie.
        base: Id of the base to load.
        progress: Listens.
        compute: How it runs; with one worker the base is loaded here.
    """

    def __init__(self, office: Office, base: Digest, progress: Progress, compute: Compute = ON_CPU) -> None:
        self._office, self._progress = office, progress
        self._adapters = office.folder("work", "adapters")
        model = Model(base, str(base_folder(office, base)), compute.dtype, compute.device, {})
        self._models: _Models = (
            _Here(model, office.folder("work", "answers"))
            if compute.workers == 1
            else _InWorkers(model, office.folder("work", "shards"), compute.workers)
        )

    def info(self) -> EngineInfo:
        """Return what computes the answers."""
        return self._models.info()

    def add_adapter(self, weights_id: Digest, files: tuple[FileEntry, ...]) -> None:
        """Write an adapter's files from the store and make it known."""
        folder = self._adapters / short(weights_id, 64)
        shutil.rmtree(folder, ignore_errors=True)
        materialise(files, self._office.blobs, folder)
        self._models.add_adapter(weights_id, folder)

    def measure(
        self,
        suite: Suite,
        samples: tuple[int, ...],
        weights_id: Digest | None,
        label: str,
        *,
        plan: Digest,
        recorded: Sequence[tuple[Verified[Measurement], tuple[Row, ...]]] = (),
    ) -> MeasuredSuite:
        """Run `samples` of `suite` on an adapter, or with None on the bare base.

        Args:
            suite: The suite.
            samples: Document numbers, in the order they run.
            weights_id: The adapter's.
            label: What a person calls it.
            plan: Record id of the plan this is for: answers of its own interrupted runs are taken over.
            recorded: Verified measurements of the suite on the same weights, with their rows, to take answers from.

        Raises:
            EvaluationError: It could not be measured.
        """
        from placet.evaluation.run import measure
        from placet.safety.probes import probe

        kind, info = str(suite.task.get("output_type")), self.info()
        known = [
            answer
            for run, rows in recorded
            if run.record.engine == info
            for answer in _answers_of(kind, run.id, rows)
        ]
        runner = self._models.runner(weights_id, plan, known)
        stage = measure if suite.stage is Stage.EVALUATION else probe
        measured = stage(
            runner, suite, samples, subject=label, progress=self._progress, clock=self._office.clock
        )
        return dataclasses.replace(measured, reused=tuple(Digest(record) for record in self._models.reused()))

    def finish(self, plan: Digest) -> None:
        """Forget the answers remembered for a plan: everything it asked for is on record."""
        self._models.finish(plan)

    def close(self) -> None:
        """Let go. Remembered answers of unfinished plans stay."""
        self._models.close()
        shutil.rmtree(self._adapters, ignore_errors=True)


class _Here:
    """A base that is resident in this process; each plan has a journal of answers in `folder`."""

    def __init__(self, model: Model, folder: Path) -> None:
        from placet.engine.startup import load_engine

        load_engine()
        from placet.engine.harness import HarnessRunner
        from placet.engine.model import PlacetLM

        self._folder = folder
        self._journals: dict[Digest, JournalAnswers] = {}
        self._used: tuple[str, ...] = ()
        self._lm = PlacetLM(
            model.base_folder, base_id=model.base_id, dtype=model.dtype, device=model.device, batch_size=8
        )
        self._harness = HarnessRunner(self._lm)

    def info(self) -> EngineInfo:
        return self._lm.info()

    def add_adapter(self, weights_id: Digest, folder: Path) -> None:
        self._lm.add_adapter(weights_id, folder)

    def runner(self, weights_id: Digest | None, plan: Digest, recorded: Sequence[Recorded]) -> TaskRunner:
        from placet.engine.answers import RecordedAnswers
        from placet.engine.shards import offer

        self._lm.use_adapter(weights_id)
        self._answers = RecordedAnswers(self._journal(plan))
        offer(self._lm, self._answers, recorded)
        self._lm.use_answers(self._answers)
        return self._harness

    def reused(self) -> tuple[str, ...]:
        return self._answers.used

    def finish(self, plan: Digest) -> None:
        self._journal(plan).close()
        del self._journals[plan]
        self._path(plan).unlink(missing_ok=True)

    def close(self) -> None:
        for journal in self._journals.values():
            journal.close()

    def _journal(self, plan: Digest) -> JournalAnswers:
        from placet.engine.answers import JournalAnswers

        if plan not in self._journals:
            self._journals[plan] = JournalAnswers(self._path(plan))
        return self._journals[plan]

    def _path(self, plan: Digest) -> Path:
        return self._folder / f"{short(plan, 16)}.jsonl"


class _InWorkers:
    """Processes that run shards; each plan has a folder of them in `folder`."""

    def __init__(self, model: Model, folder: Path, workers: int) -> None:
        from placet.executors.processes import ProcessExecutor

        self._model = model
        self._folder = folder
        self._adapters: dict[Digest, Path] = {}
        self._executor: ProcessExecutor = ProcessExecutor(workers)
        self._engine = self._executor.describe(folder, model)
        self._runner: ShardedRunner | None = None

    def info(self) -> EngineInfo:
        return self._engine

    def add_adapter(self, weights_id: Digest, folder: Path) -> None:
        self._adapters[weights_id] = folder

    def runner(self, weights_id: Digest | None, plan: Digest, recorded: Sequence[Recorded]) -> TaskRunner:
        from placet.executors.sharded import ShardedRunner

        adapter = None if weights_id is None else (weights_id, str(self._adapters[weights_id]))
        self._runner = ShardedRunner(
            self._executor, self._folder / short(plan, 16), self._model, adapter, self._engine, recorded
        )
        return self._runner

    def reused(self) -> tuple[str, ...]:
        return self._runner.reused if self._runner is not None else ()

    def finish(self, plan: Digest) -> None:
        shutil.rmtree(self._folder / short(plan, 16), ignore_errors=True)

    def close(self) -> None:
        self._executor.close()


def _answers_of(output_type: str, record: Digest, rows: Sequence[Row]) -> list[Recorded]:
    """Return the answers that the rows of a recorded run of a task of `output_type` hold."""
    kind = _SCORED.get(output_type)
    found: list[Recorded] = []
    for row in rows:
        for option in row.options if kind else ():
            pair = (option.context or row.prompt, option.text)
            arguments = pair[1:] if kind == "loglikelihood_rolling" else pair
            found.append(Recorded(record, str(kind), arguments, (option.logprob, option.greedy)))
        if row.response is not None and row.generation:
            arguments = (row.prompt, json.loads(row.generation))
            found.append(Recorded(record, "generate_until", arguments, (row.response,)))
    return found
