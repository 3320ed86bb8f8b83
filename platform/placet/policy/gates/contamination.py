"""Gate kind `contamination`: the suite's documents did not stand in the training data, and the score does without them.

A document counts as seen if words in a row of it, `ngram` of them, stand word for word in the data that the adapter or
one it was continued from was trained on. The gate limits their share, and judges other gates again on the rest.

Source: 13-grams, Brown et al., Language Models are Few-Shot Learners (2020), appendix C; the share of a document's
words inside a match, Touvron et al., Llama 2 (2023), appendix A.6.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from pydantic import Field

from placet.domain.digests import Digest, decimal_string
from placet.domain.records import Outcome, Overlap, PlannedSuite
from placet.domain.text import plural
from placet.policy.ancestry import all_statements
from placet.policy.evidence import Evidence, RecordedOverlap, RecordedPlan, Rows
from placet.policy.judgement import Judgement, badness, figure, missing, percent
from placet.policy.model import Count, Number, Setting, Slug, SuiteGate
from placet.policy.runs import judge_runs
from placet.stats.bounds import NotEstimableError, Range
from placet.stats.mean import mean_bounds

_COMPARE = "Hand in the training data (`placet submit … --data FILE`) and run `placet gate` again."
_ALPHA = 0.05


class ContaminationGate(SuiteGate):
    """Few documents of the suite were seen in training, and other gates hold on those that were not."""

    kind: Literal["contamination"]
    ngram: Count = Field(default=13, ge=3, le=50, description="how many words in a row make a match")
    seen_above: Number = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="the share of its words inside a match above which a document counts as seen; 0: any match",
    )
    max_share: Number = Field(
        ge=0.0, lt=1.0, description="the greatest share of planned documents that may be seen"
    )
    recheck: tuple[Slug, ...] = Field(
        default=(), description="gates on the same suite that must hold on the unseen documents alone, too"
    )


def judge_contamination_gate(gate: ContaminationGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return FAIL if too much was seen, else the worst of the gates of `recheck` on what was not.

    MISSING if the adapter or one it was continued from has no training statement, one names no data, or that data was
    not compared with the suite.
    """
    data = _training_data(evidence)
    if isinstance(data, Judgement):
        return data

    def judge(run: Rows, planned: PlannedSuite) -> Judgement:
        comparisons = [
            item for item in evidence.overlaps if _fits(gate, item.overlap, planned, evidence, data)
        ]
        if not comparisons:
            return missing(
                f"The training data was not compared with {gate.suite} by {gate.ngram} words in a row.",
                _COMPARE,
            )
        return max(
            (_judge(gate, run, planned, item, evidence, setting) for item in comparisons),
            key=lambda one: badness(one.outcome),
        ).citing(*(item.record for item in comparisons))

    return judge_runs(gate, evidence, judge)


def without_documents(evidence: Evidence, suite: Digest, documents: Iterable[int]) -> Evidence:
    """Return `evidence` as if `suite` (a digest) had been planned and measured without `documents`."""
    dropped = set(documents)

    def rows(runs: tuple[Rows, ...]) -> tuple[Rows, ...]:
        return tuple(_without(run, dropped) if run.measurement.suite.digest == suite else run for run in runs)

    def plan(entry: RecordedPlan) -> RecordedPlan:
        suites = tuple(
            _planned_without(one, dropped) if one.suite.digest == suite else one for one in entry.plan.suites
        )
        return replace(entry, plan=entry.plan.model_copy(update={"suites": suites}))

    return replace(
        evidence,
        plans=tuple(plan(entry) for entry in evidence.plans),
        runs=rows(evidence.runs),
        base_runs=rows(evidence.base_runs),
        reference_runs=rows(evidence.reference_runs),
    )


def _without(run: Rows, dropped: set[int]) -> Rows:
    kept = [number for number, document in enumerate(run.measurement.samples) if document not in dropped]
    values = tuple(run.values[number] for number in kept)
    measurement = run.measurement.model_copy(
        update={
            "samples": tuple(run.measurement.samples[number] for number in kept),
            "n": len(kept),
            "mean": float(decimal_string(math.fsum(values) / len(values))) if values else 0.0,
        }
    )
    ids = tuple(run.ids[number] for number in kept) if run.ids else ()
    return replace(run, measurement=measurement, values=values, ids=ids)


def _planned_without(planned: PlannedSuite, dropped: set[int]) -> PlannedSuite:
    groups = planned.groups and {
        column: {
            name: kept
            for name, members in parts.items()
            if (kept := tuple(document for document in members if document not in dropped))
        }
        for column, parts in planned.groups.items()
    }
    samples = tuple(document for document in planned.samples if document not in dropped)
    return planned.model_copy(update={"samples": samples, "groups": groups})


def _training_data(evidence: Evidence) -> set[Digest] | Judgement:
    """Return the digests of all data that the adapter and its ancestors were trained on, by trainers' word."""
    statements = all_statements(evidence)
    if isinstance(statements, Judgement):
        return statements
    unnamed = [item for item in statements if not item.datasets]
    if unnamed:
        return missing(
            "A training statement names no data.",
            "Have the trainer sign a statement that names the data by digest.",
        ).citing(*(item.record for item in unnamed))
    return {item.digest for statement in statements for item in statement.datasets}


def _fits(
    gate: ContaminationGate, overlap: Overlap, planned: PlannedSuite, evidence: Evidence, data: set[Digest]
) -> bool:
    return (
        overlap.subject == evidence.adapter.weights_id
        and overlap.suite == planned.suite
        and overlap.ngram == gate.ngram
        and overlap.documents == planned.documents
        and data <= set(overlap.datasets)
    )


def _judge(
    gate: ContaminationGate,
    run: Rows,
    planned: PlannedSuite,
    compared: RecordedOverlap,
    evidence: Evidence,
    setting: Setting,
) -> Judgement:
    found = compared.overlap.found
    seen = {document for document in planned.samples if found.get(str(document), 0.0) > gate.seen_above}
    share = len(seen) / len(planned.samples)
    clean = [value for document, value in run.by_document().items() if document not in seen]
    said = (
        f"{len(seen)} of {plural(len(planned.samples), 'document')} of {gate.suite} stand in the training data "
        f"({gate.ngram} words in a row)"
    )
    if seen and clean:
        all_, rest = (_score(values, planned.value_range) for values in (run.values, clean))
        said += f"; the adapter's {run.measurement.metric} is {all_} on all and {rest} without them"
    draft = Judgement(
        Outcome.FAIL,
        f"{said}: that is more than the share of {figure(gate.max_share)} allowed.",
        "Take those documents out of the training data and train again, or measure a suite that was not in it.",
        figure=share,
        threshold=gate.max_share,
        comparison=f"share seen ≤ {figure(gate.max_share)}",
        n=len(planned.samples),
    )
    if share > gate.max_share or not clean:
        return draft
    passed = replace(draft, outcome=Outcome.PASS, reason=f"{said}.", fix="")
    if not gate.recheck:
        return passed
    unseen = without_documents(evidence, planned.suite.digest, seen)
    again = [(name, setting.judge(setting.gates[name], unseen)) for name in gate.recheck]
    name, worst = max(again, key=lambda pair: badness(pair[1].outcome))
    names = ", ".join(gate.recheck)
    if worst.outcome is Outcome.PASS:
        return passed.adding(f"On the others {names} holds too." if seen else f"So {names} holds as it is.")
    return replace(
        passed,
        outcome=worst.outcome,
        reason=f"{said}. On the others, {name} is {worst.outcome}: {worst.reason}",
        fix=worst.fix,
    )


def _score(values: Iterable[float], within: Range | None) -> str:
    """Return a mean with its interval, in words."""
    held = tuple(values)
    mean = figure(math.fsum(held) / len(held))
    try:
        bounds = mean_bounds(held, _ALPHA, within=within).rounded_outward()
    except NotEstimableError:
        return mean
    return f"{mean} ({figure(bounds.low)} to {figure(bounds.high)}, each at {percent(_ALPHA)})"
