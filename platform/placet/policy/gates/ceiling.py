"""Gate kind `ceiling`: the mean of a suite is shown to be at most a threshold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from placet.domain.records import Outcome, PlannedSuite
from placet.policy.evidence import Evidence, Rows
from placet.policy.judgement import Judgement
from placet.policy.means import Limit, judge_mean
from placet.policy.model import Number, Setting, StatisticalGate
from placet.policy.runs import judge_runs
from placet.stats.noninferiority import judge_ceiling
from placet.stats.planning import documents_for_ceiling, most_successes
from placet.stats.sequential import Kind


class CeilingGate(StatisticalGate):
    """The upper bound of the suite's mean does not exceed the threshold."""

    kind: Literal["ceiling"]
    threshold: Number = Field(description="the greatest mean that is acceptable, in the metric's unit")


def judge_ceiling_gate(gate: CeilingGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if the upper bound is within the threshold, FAIL if the lower is not, else INCONCLUSIVE."""

    def judge(run: Rows, planned: PlannedSuite) -> Judgement:
        return judge_mean(gate, gate.threshold, run, planned, _CEILING)

    return judge_runs(gate, evidence, judge)


def _fix_counts(ones: int, n: int, threshold: float, alpha: float, outcome: Outcome) -> str:
    allowed = most_successes(n, threshold, alpha)
    if allowed is None:
        return f"No result on {n} documents can show this; measure more."
    text = f"On {n} documents at most {allowed} may count (now {ones}: {ones - allowed} fewer)."
    if (
        outcome is Outcome.INCONCLUSIVE
        and (more := documents_for_ceiling(threshold, ones / n, alpha)) is not None
    ):
        text += f" If the share stays as it is, about {more} documents settle it."
    return text


_CEILING = Limit(
    word="ceiling",
    sign="≤",
    kept="stays within",
    broken="exceeds",
    judge=judge_ceiling,
    bound_said=lambda outcome: "at least" if outcome is Outcome.FAIL else "at most",
    bound_used=lambda bounds, outcome: bounds.low if outcome is Outcome.FAIL else bounds.high,
    kind=Kind.CEILING,
    fix_counts=_fix_counts,
    fix_other="Lower the mean, or measure more documents if it is already below the ceiling.",
)
