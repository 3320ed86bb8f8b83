"""A task runner that cuts a task into shards, has an executor run them, and puts the outcomes together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from placet.domain.errors import EvaluationError
from placet.domain.progress import Progress, tracked
from placet.domain.records import EngineInfo
from placet.engine.figures import joined_checks
from placet.engine.shards import Model, Recorded, cut, documents_in, is_done, load_result
from placet.engine.tasks import TaskSample, TaskSpec


class Executor(Protocol):
    """Sees to it that shards get results: processes of this machine, or a cluster's jobs over a shared folder."""

    def describe(self, folder: Path, model: Model) -> EngineInfo:
        """Return what computes the answers where shards run."""

    def run(
        self, folder: Path, ids: Sequence[str], done: Callable[[str], None]
    ) -> dict[str, tuple[str, str]]:
        """Run shards `ids` of `folder`, calling `done` after each, and return those that failed: error and hint."""

    def close(self) -> None:
        """Let go of whatever runs shards."""


class ShardedRunner:
    """Runs tasks on one subject, in shards; see :class:`placet.engine.tasks.TaskRunner`.

    Args:
        executor: Runs shards.
        folder: Where shards and results lie.
        model: The base, and how to compute.
        adapter: Weights id and folder of the adapter; None for the base.
        engine: What is expected to compute the answers.
        recorded: Answers that need not be computed.
    """

    def __init__(
        self,
        executor: Executor,
        folder: Path,
        model: Model,
        adapter: tuple[str, str] | None,
        engine: EngineInfo,
        recorded: Sequence[Recorded] = (),
    ) -> None:
        self._executor = executor
        self._folder = folder
        self._model = model
        self._adapter = adapter
        self._engine = engine
        self._recorded = recorded
        self._checks: dict[str, str] = {}
        self.reused: tuple[str, ...] = ()

    def info(self) -> EngineInfo:
        """Return what computes the answers."""
        return self._engine

    def self_check(self) -> dict[str, str]:
        """Return the self-check figures of the last run, over all its shards."""
        return self._checks

    def run(self, spec: TaskSpec, progress: Progress, step: str) -> tuple[TaskSample, ...]:
        """Return the outcomes of `spec.samples`, in that order, reporting documents done under `step`.

        Raises:
            EvaluationError: Some shards could not be run; the others' results are kept.
        """
        ids = cut(self._folder, self._model, self._adapter, spec, self._engine, self._recorded)
        sizes = {shard: documents_in(self._folder, shard) for shard in ids}
        with tracked(progress, step, len(spec.samples), "samples"):
            missing = []
            for shard in ids:
                if is_done(self._folder, shard):
                    progress.advance(step, sizes[shard])
                else:
                    missing.append(shard)
            failed = self._executor.run(
                self._folder, missing, lambda shard: progress.advance(step, sizes[shard])
            )
        if failed:
            error, hint = next(iter(failed.values()))
            raise EvaluationError(
                f"{len(failed)} of {len(ids)} shards of {spec.name} could not be run: {error}",
                hint=hint or "run it again; finished shards are kept",
            )
        results = [load_result(self._folder, shard) for shard in ids]
        for result in results:
            if result.engine != self._engine:
                raise EvaluationError(
                    f"a shard of {spec.name} was computed by another engine or on another kind of device",
                    hint="run all shards of an evaluation with the same versions, threads and device",
                )
        self._checks = joined_checks([result.self_check for result in results])
        self.reused = tuple(sorted({record for result in results for record in result.reused}))
        found = {sample.sample: sample for result in results for sample in result.samples}
        return tuple(found[number] for number in spec.samples)
