"""Gate kind `no_new_failure`: of the documents that the policy names, none fails that passed before.

The documents are named one by one, so what is counted is the truth about them and needs no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from placet.domain.records import Outcome, PlannedSuite
from placet.domain.text import plural
from placet.policy.baseline import find_other, judge_against
from placet.policy.evidence import Evidence, Rows
from placet.policy.judgement import Judgement, missing
from placet.policy.model import Number, OtherGate, Setting, Text
from placet.policy.runs import judge_runs

_TOLD = 5


def _distinct(documents: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(documents)) != len(documents):
        raise ValueError("names a document twice; name each once")
    return documents


class NoNewFailureGate(OtherGate):
    """Each document of a list that passes for the other passes for the adapter too."""

    kind: Literal["no_new_failure"]
    documents: Annotated[tuple[Text, ...], AfterValidator(_distinct)] = Field(
        min_length=1, max_length=1000, description="the documents' ids in the suite"
    )
    passes_at: Number = Field(
        default=1.0,
        description="the value from which on a document passes; where less is better, below which it does",
    )


def judge_no_new_failure_gate(gate: NoNewFailureGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return FAIL if a listed document passed for the other and fails for the adapter, MISSING if one was not run."""
    other = find_other(gate, evidence)
    if isinstance(other, Judgement):
        return other

    def against(run: Rows, planned: PlannedSuite) -> Judgement:
        return judge_against(other, run, evidence, lambda values, _: _judge(gate, run, values, other.word))

    return judge_runs(gate, evidence, against)


def _judge(gate: NoNewFailureGate, run: Rows, theirs: Sequence[float], word: str) -> Judgement:
    place = {name: number for number, name in enumerate(run.ids)}
    absent = [name for name in gate.documents if name not in place]
    if absent:
        return missing(
            f"{plural(len(absent), 'listed document')} of {gate.suite} were not run, {absent[0]} among them.",
            "Name documents that the suite has, and measure all of them.",
        )
    upward = run.measurement.higher_is_better

    def passes(value: float) -> bool:
        return value >= gate.passes_at if upward else value < gate.passes_at

    failed = [
        name for name in gate.documents if passes(theirs[place[name]]) and not passes(run.values[place[name]])
    ]
    count = len(gate.documents)
    said = (
        f"Of {plural(count, 'listed document')} of {gate.suite}, {len(failed)} pass for {word} and fail here"
    )
    told = ", ".join(failed[:_TOLD]) + (f" and {len(failed) - _TOLD} more" if len(failed) > _TOLD else "")
    return Judgement(
        Outcome.FAIL if failed else Outcome.PASS,
        f"{said}: {told}." if failed else f"{said}.",
        "Look at what the adapter answers there, and train it not to lose them." if failed else "",
        figure=float(len(failed)),
        threshold=0.0,
        comparison="new failures = 0",
        n=count,
        compared_with=None if word == "the base" else word,
    )
