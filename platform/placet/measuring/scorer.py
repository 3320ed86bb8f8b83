"""Scores outcomes with a suite's local `evaluate` module.

Guarantees: the module that runs is exactly the bytes in the suite's digest; `evaluate` asks no hub, and its work files
go to a folder that is removed afterwards.

The module holds one subclass of ``evaluate.Metric``. Its ``compute(predictions=…, references=…)`` returns a mapping
with the suite's metric under its name: a list with one number for each prediction, in their order. A suite of
kind generation predicts the responses (strings) and refers to the targets (strings); one of kind exposure
predicts each document's log-probabilities (a list of floats, one for each option) and refers to the true
option's number.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from placet.domain.errors import Error, EvaluationError, UsageError
from placet.engine.tasks import TaskSample
from placet.measuring.manifest import SuiteKind
from placet.measuring.suite import Suite, load_module, scorer_code


def scorer_values(
    suite: Suite, documents: Sequence[Mapping[str, Any]], outcomes: Sequence[TaskSample]
) -> list[float]:
    """Return the value the suite's scorer gives each outcome.

    Raises:
        UsageError: The scorer cannot be loaded.
        EvaluationError: It raises, or gives something else than one number for each sample.
    """
    name, code = scorer_code(suite)
    kind = _metric_class(name, load_module(name, code).__dict__)
    with tempfile.TemporaryDirectory(prefix="placet-scorer-") as scratch:
        try:
            metric = kind(cache_dir=scratch, keep_in_memory=True)
            result = metric.compute(
                predictions=[_prediction(suite, outcome) for outcome in outcomes],
                references=[_reference(suite, outcome) for outcome in outcomes],
            )
        except Error:
            raise
        except Exception as error:  # foreign code: anything may come out of it
            raise EvaluationError(
                f"{name} of suite {suite.manifest.id} raised {type(error).__name__}: {error}",
                hint="mend the scorer; its suite then has another digest and is measured anew",
            ) from error
    return _values(suite, name, result, len(documents))


def _metric_class(name: str, namespace: Mapping[str, Any]) -> Any:
    import evaluate

    kinds = [
        value
        for value in namespace.values()
        if isinstance(value, type)
        and issubclass(value, evaluate.Metric)
        and value is not evaluate.Metric
        and value.__module__ == namespace["__name__"]
    ]
    if len(kinds) != 1:
        raise UsageError(
            f"{name} defines {len(kinds)} subclasses of evaluate.Metric", hint="a scorer defines exactly one"
        )
    return kinds[0]


def _prediction(suite: Suite, outcome: TaskSample) -> Any:
    if suite.manifest.kind is SuiteKind.GENERATION:
        return outcome.calls[0].response
    return [call.logprob for call in outcome.calls]


def _reference(suite: Suite, outcome: TaskSample) -> Any:
    return int(outcome.target) if suite.manifest.kind is SuiteKind.EXPOSURE else outcome.target


def _values(suite: Suite, name: str, result: Any, count: int) -> list[float]:
    values = result.get(suite.metric) if isinstance(result, Mapping) else None
    listed = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else []
    if len(listed) != count or not all(isinstance(value, bool | int | float) for value in listed):
        raise EvaluationError(
            f"{name} gave no list of {count} numbers as {suite.metric}",
            hint="compute() returns {metric: [one number for each sample]}",
        )
    return [float(value) for value in listed]
