"""What the engine's harness takes and returns. Plain values: importing this loads no model library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from placet.domain.progress import Progress
from placet.domain.records import EngineInfo


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """An lm-eval task over documents held in memory.

    `config` is a plain lm-eval task config without data; `docs` all documents, each with a string ``id``;
    `samples` the numbers of the documents to run, in the order their results are wanted.
    """

    name: str
    config: Mapping[str, Any]
    docs: Sequence[Mapping[str, Any]]
    samples: tuple[int, ...]
    chat_template: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One request lm-eval made for a document, and the model's answer to it.

    `options` holds the generation arguments as JSON ("" for a likelihood). For a likelihood `continuation` is
    what was scored and `response` is empty; for a generation it is the other way round.
    """

    context: str
    continuation: str = ""
    options: str = ""
    response: str = ""
    logprob: float | None = None
    greedy: bool | None = None


@dataclass(frozen=True, slots=True)
class TaskSample:
    """One document's outcome: its number, the calls made for it, and lm-eval's metrics."""

    sample: int
    doc_hash: str
    target: str
    calls: tuple[Call, ...]
    metrics: Mapping[str, float]


class TaskRunner(Protocol):
    """Runs tasks on one subject; :class:`placet.engine.harness.HarnessRunner` is the real one."""

    def run(self, spec: TaskSpec, progress: Progress, step: str) -> tuple[TaskSample, ...]:
        """Return the outcomes of `spec.samples`, in that order, reporting documents done under `step`.

        Raises:
            EvaluationError: The task or the model could not be run to its end.
        """

    def info(self) -> EngineInfo:
        """Return what computes the answers."""

    def self_check(self) -> dict[str, str]:
        """Return the self-check figures of the last run."""
