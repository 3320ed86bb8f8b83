"""Runs a task through lm-eval on the engine's model, over documents held in memory.

Guarantees: each outcome belongs to the document it names (lm-eval's numbering of chosen samples is only right
for ascending numbers, so the run is ascending, put back in order here, and every document's id compared);
nothing is read from or written to any cache of lm-eval or `datasets`; lm-eval's own environment report, which
starts other programs, is not made.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import datasets
import lm_eval.api.task
import lm_eval.utils
import numpy as np
import torch
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from placet.domain.errors import Error, EvaluationError
from placet.domain.progress import Progress, tracked
from placet.domain.records import EngineInfo
from placet.engine.answering import DocumentProgress
from placet.engine.model import PlacetLM
from placet.engine.tasks import Call, TaskSample, TaskSpec

SEED = 1234
"""Seeds whatever a task draws (few-shot examples); lm-eval's own default."""

_SPLIT = "test"
_MOST_TASKS = 16
"""Tasks whose requests are kept for the next subject."""


class HarnessRunner:
    """Runs tasks on what is at work in `lm`; see :class:`placet.engine.tasks.TaskRunner`."""

    def __init__(self, lm: PlacetLM) -> None:
        self._lm = lm
        self._tasks: dict[bytes, tuple[Any, Any]] = {}

    def info(self) -> EngineInfo:
        """Return what computes the answers."""
        return self._lm.info()

    def self_check(self) -> dict[str, str]:
        """Return the self-check figures of the last run."""
        return self._lm.self_check()

    def run(self, spec: TaskSpec, progress: Progress, step: str) -> tuple[TaskSample, ...]:
        """Return the outcomes of `spec.samples`, in that order, reporting documents done under `step`.

        Raises:
            EvaluationError: lm-eval or the task raised, or an outcome is not its document's.
        """
        _verify_samples(spec)
        self._lm.reset_self_check()
        try:
            with tracked(progress, step, len(spec.samples), "samples"), _quiet():
                self._lm.report_documents(DocumentProgress(progress, step))
                logged = self._evaluate(spec)
        except Error:
            raise
        except Exception as error:  # a task is foreign configuration: anything may come out of it
            raise EvaluationError(
                f"task {spec.name} could not be run: {type(error).__name__}: {error}",
                hint="check the suite's task config against its documents; its templates may name unknown fields",
            ) from error
        finally:
            self._lm.report_documents(None)
        return _outcomes(spec, logged)

    def _evaluate(self, spec: TaskSpec) -> list[dict[str, Any]]:
        loaded = self._loaded(spec)
        results = evaluate(
            lm=self._lm,
            task_dict=loaded,
            samples={spec.name: sorted(spec.samples)},
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=spec.chat_template,
            fewshot_as_multiturn=spec.chat_template,
        )
        logged: list[dict[str, Any]] = results["samples"][spec.name]
        return logged

    def _loaded(self, spec: TaskSpec) -> dict[str, Any]:
        """Return the task with its requests, which are built for the first subject and the same for every other."""
        parts = [spec.name, dict(spec.config), sorted(spec.samples), spec.chat_template]
        key = json.dumps(parts, sort_keys=True, default=repr).encode()
        held = self._tasks.get(key)
        if held is None or held[0] is not spec.docs:
            while len(self._tasks) >= _MOST_TASKS:
                del self._tasks[next(iter(self._tasks))]
            held = self._tasks[key] = (spec.docs, _load(spec))
        (task,) = held[1]["tasks"].values()
        if vars(task).get("_instances"):
            for instance in task.instances:
                instance.resps, instance.filtered_resps = [], {}
            # lm-eval builds the requests on each run; these are built.
            task.build_all_requests = lambda **_: None
        loaded: dict[str, Any] = held[1]
        return loaded


def _load(spec: TaskSpec) -> Any:
    random.seed(0)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    loaded = TaskManager(include_defaults=False).load([_config(spec)])
    (task,) = loaded["tasks"].values()
    task.set_fewshot_seed(seed=SEED)
    if task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    return loaded


def _config(spec: TaskSpec) -> dict[str, Any]:
    data = datasets.DatasetDict({_SPLIT: datasets.Dataset.from_list([dict(doc) for doc in spec.docs])})
    return {
        **spec.config,
        "task": spec.name,
        "test_split": _SPLIT,
        "custom_dataset": lambda **_: data,
    }


def _verify_samples(spec: TaskSpec) -> None:
    wanted = spec.samples
    if not wanted or len(set(wanted)) != len(wanted) or not all(0 <= i < len(spec.docs) for i in wanted):
        raise EvaluationError(
            f"task {spec.name}: the sample numbers are empty, repeated or beyond its {len(spec.docs)} documents",
            hint="make the plan again; the suite may have changed since",
        )


def _outcomes(spec: TaskSpec, logged: list[dict[str, Any]]) -> tuple[TaskSample, ...]:
    filters = sorted({entry["filter"] for entry in logged})
    if len(filters) != 1:
        raise EvaluationError(
            f"task {spec.name} reports {len(filters)} filters ({', '.join(filters)})",
            hint="keep one filter in the suite's task config, so that each document has one result",
        )
    found = {entry["doc_id"]: _outcome(spec.name, entry) for entry in logged}
    ids = {entry["doc_id"]: entry["doc"]["id"] for entry in logged}
    wrong = [number for number in spec.samples if ids.get(number) != spec.docs[number]["id"]]
    if wrong or len(logged) != len(spec.samples):
        raise EvaluationError(
            f"task {spec.name}: document {wrong[0] if wrong else '?'} came back as another",
            hint="a suite's task may neither drop, reorder nor rename documents; do that in its data code",
        )
    return tuple(found[number] for number in spec.samples)


def _outcome(name: str, entry: Mapping[str, Any]) -> TaskSample:
    if any(len(responses) != 1 for responses in entry["resps"]):
        raise EvaluationError(
            f"task {name} asks the same request several times", hint="set repeats: 1 in the task config"
        )
    calls = [
        _call(arguments, responses[0])
        for arguments, responses in zip(entry["arguments"], entry["resps"], strict=True)
    ]
    metrics = {
        metric: float(entry[metric])
        for metric in entry["metrics"]
        if isinstance(entry[metric], bool | int | float | np.number) and math.isfinite(entry[metric])
    }
    return TaskSample(entry["doc_id"], str(entry["doc_hash"]), str(entry["target"]), tuple(calls), metrics)


def _call(arguments: tuple[Any, ...], response: Any) -> Call:
    if isinstance(response, str):
        options = json.dumps(arguments[1], sort_keys=True) if len(arguments) > 1 else ""
        return Call(context=str(arguments[0]), options=options, response=response)
    if isinstance(response, float):  # rolling: one text, no context
        return Call(context="", continuation=str(arguments[0]), logprob=response)
    logprob, greedy = response
    return Call(str(arguments[0]), str(arguments[1]), logprob=float(logprob), greedy=bool(greedy))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm-eval's bars and remarks off the screen, since the stage reports its own progress.

    And compile each template once, where lm-eval compiles it for each field of each document.
    """
    logger = logging.getLogger("lm_eval")
    level, bar = logger.level, lm_eval.api.task.tqdm
    environment = lm_eval.utils.env
    from_string = environment.from_string
    logger.setLevel(logging.ERROR)
    lm_eval.api.task.tqdm = functools.partial(bar, disable=True)
    environment.from_string = functools.lru_cache(maxsize=256)(from_string)
    try:
        yield
    finally:
        del environment.from_string
        lm_eval.api.task.tqdm = bar
        logger.setLevel(level)
