"""The evaluation stage: what an adapter is good at.

Guarantees: see :mod:`placet.measuring.measured`. Scores come from lm-eval's own metrics, or from the
suite's local scorer where it names one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from placet.domain.errors import UsageError
from placet.domain.progress import Progress
from placet.domain.records import Stage
from placet.engine.tasks import TaskRunner
from placet.measuring.measured import MeasuredSuite, run_suite, task_values
from placet.measuring.scorer import scorer_values
from placet.measuring.suite import Suite


def measure(
    runner: TaskRunner,
    suite: Suite,
    samples: tuple[int, ...],
    *,
    subject: str,
    progress: Progress,
    clock: Callable[[], datetime],
) -> MeasuredSuite:
    """Run `samples` of an evaluation suite on what is at work in `runner`.

    Raises:
        UsageError: The suite belongs to another stage.
        EvaluationError: A sample could not be run or scored.
        SourceError: The suite's pinned data could not be had.
    """
    if suite.stage is not Stage.EVALUATION:
        raise UsageError(f"{suite.manifest.id} is a {suite.stage} suite", hint="give it to that stage")
    values = task_values if suite.manifest.scorer is None else scorer_values
    return run_suite(runner, suite, samples, values, subject=subject, progress=progress, clock=clock)
