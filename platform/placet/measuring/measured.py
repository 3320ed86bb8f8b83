"""Runs one suite on one subject and gives back its rows and figures, ready to be signed.

Guarantees: a row for every sample asked for, in that order, each with a finite value, or an error; the Parquet
bytes, the rows' digest and the mean are of exactly these rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from placet.domain.digests import Digest, decimal_string
from placet.domain.errors import EvaluationError
from placet.domain.progress import Progress
from placet.domain.records import EngineInfo, Stage, SuiteRef
from placet.engine.figures import joined_checks
from placet.engine.tasks import TaskRunner, TaskSample, TaskSpec
from placet.measuring.rows import Option, Row, rows_digest, rows_to_parquet
from placet.measuring.suite import Suite

Values = Callable[[Suite, Sequence[Mapping[str, Any]], Sequence[TaskSample]], Sequence[float]]
"""Gives each sample its value; takes the suite, the samples' documents and their outcomes, in one order."""


@dataclass(frozen=True, slots=True)
class MeasuredSuite:
    """One suite run on one subject.

    `samples` are document numbers in the order they ran; `mean` is over `rows`; `self_check` holds the engine's figures
    about itself, as decimal strings; `reused` are the record ids of measurements whose answers were taken over.
    """

    suite: SuiteRef
    stage: Stage
    metric: str
    higher_is_better: bool
    samples: tuple[int, ...]
    rows: tuple[Row, ...]
    parquet: bytes
    rows_digest: Digest
    mean: float
    self_check: dict[str, str]
    engine: EngineInfo
    started_at: datetime
    finished_at: datetime
    reused: tuple[Digest, ...] = ()


def run_suite(
    runner: TaskRunner,
    suite: Suite,
    samples: tuple[int, ...],
    values: Values,
    *,
    subject: str,
    progress: Progress,
    clock: Callable[[], datetime],
) -> MeasuredSuite:
    """Run `samples` of `suite` on what is at work in `runner`, and value each outcome with `values`.

    Args:
        runner: Runs tasks on the subject.
        suite: The suite.
        samples: Document numbers, distinct, in the order they run.
        values: Gives each sample its value.
        subject: What a person calls the subject, for progress.
        progress: Listens.
        clock: Tells the time.

    Raises:
        EvaluationError: A sample could not be run or valued.
        SourceError: The suite's pinned data could not be had.
    """
    documents = suite.rows()
    manifest = suite.manifest
    started = clock()
    spec = TaskSpec(manifest.id, suite.task, documents, samples, manifest.chat_template)
    outcomes = runner.run(spec, progress, f"{manifest.id} on {subject}")
    chosen = [documents[number] for number in samples]
    figures = values(suite, chosen, outcomes)
    if tuple(outcome.sample for outcome in outcomes) != samples or len(figures) != len(samples):
        raise EvaluationError(
            f"{manifest.id} on {subject}: {len(samples)} samples were asked for, {len(figures)} have a value",
            hint="a scorer gives one value for each sample, in order",
        )
    _require_within(suite, chosen, figures, subject)
    rows = tuple(
        _row(document, outcome, float(figure))
        for document, outcome, figure in zip(chosen, outcomes, figures, strict=True)
    )
    return MeasuredSuite(
        suite=suite.ref,
        stage=suite.stage,
        metric=suite.metric,
        higher_is_better=suite.higher_is_better,
        samples=samples,
        rows=rows,
        parquet=rows_to_parquet(rows),
        rows_digest=rows_digest(rows),
        mean=_mean(rows),
        self_check=runner.self_check(),
        engine=runner.info(),
        started_at=started,
        finished_at=clock(),
    )


def _require_within(
    suite: Suite, documents: Sequence[Mapping[str, Any]], figures: Sequence[float], subject: str
) -> None:
    """Refuse values outside the range that the suite declares: its intervals and tests rest on there being none.

    Raises:
        EvaluationError: There is one.
    """
    if suite.value_range is None:
        return
    low, high = suite.value_range
    for document, figure in zip(documents, figures, strict=True):
        if not low <= figure <= high:
            raise EvaluationError(
                f"{suite.manifest.id} on {subject}: {suite.metric} of {document['id']} is {figure:g}, outside the "
                f"declared range of {low:g} to {high:g}",
                hint="mend the scorer, or the `range` in the suite's manifest",
            )


def joined(parts: Sequence[MeasuredSuite]) -> MeasuredSuite:
    """Return several runs of one suite on one subject, one after the other, as the one run they are.

    Raises:
        EvaluationError: None is given, they are of different suites or engines, or share a document.
    """
    if not parts:
        raise EvaluationError("nothing was run", hint="this is a bug; please report it")
    first = parts[0]
    rows = tuple(row for part in parts for row in part.rows)
    samples = tuple(number for part in parts for number in part.samples)
    alike = {(part.suite.digest, part.metric, repr(part.engine)) for part in parts}
    if len(alike) > 1 or len(set(samples)) != len(samples):
        raise EvaluationError(
            f"the parts of a run of {first.suite.id} do not belong together",
            hint="the suite or the engine changed while it ran: run `placet gate` again",
        )
    return dataclasses.replace(
        first,
        samples=samples,
        rows=rows,
        parquet=rows_to_parquet(rows),
        rows_digest=rows_digest(rows),
        mean=_mean(rows),
        self_check=joined_checks([part.self_check for part in parts]),
        reused=tuple(sorted({record for part in parts for record in part.reused})),
        finished_at=parts[-1].finished_at,
    )


def _mean(rows: Sequence[Row]) -> float:
    return float(decimal_string(sum(row.value for row in rows) / len(rows)))


def task_values(
    suite: Suite, documents: Sequence[Mapping[str, Any]], outcomes: Sequence[TaskSample]
) -> list[float]:
    """Return the suite's metric as lm-eval computed it for each sample.

    Raises:
        EvaluationError: lm-eval gave no such number for a sample.
    """
    for document, outcome in zip(documents, outcomes, strict=True):
        if suite.metric not in outcome.metrics:
            raise EvaluationError(
                f"{suite.manifest.id}: lm-eval gave no per-sample {suite.metric} for {document['id']}",
                hint="use a metric that lm-eval computes for each document, such as acc or exact_match",
            )
    return [outcome.metrics[suite.metric] for outcome in outcomes]


def _row(document: Mapping[str, Any], outcome: TaskSample, value: float) -> Row:
    first = outcome.calls[0]
    scored = [call for call in outcome.calls if call.logprob is not None]
    return Row(
        doc=outcome.sample,
        id=str(document["id"]),
        doc_hash=outcome.doc_hash,
        prompt=first.context,
        target=outcome.target,
        value=value,
        options=tuple(
            Option(
                call.continuation,
                call.logprob or 0.0,
                bool(call.greedy),
                "" if call.context == first.context else call.context,
            )
            for call in scored
        ),
        response=None if scored else first.response,
        generation="" if scored else first.options,
    )
