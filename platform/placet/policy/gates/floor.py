"""Gate kind `floor`: the mean of a suite is shown to be at least a threshold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from placet.domain.records import Outcome, PlannedSuite
from placet.policy.evidence import Evidence, Rows
from placet.policy.judgement import Judgement
from placet.policy.means import Limit, judge_mean
from placet.policy.model import Number, Setting, StatisticalGate
from placet.policy.runs import judge_runs
from placet.stats.noninferiority import judge_floor
from placet.stats.planning import documents_for_floor, least_successes
from placet.stats.sequential import Kind


class FloorGate(StatisticalGate):
    """The lower bound of the suite's mean reaches the threshold."""

    kind: Literal["floor"]
    threshold: Number = Field(description="the least mean that is acceptable, in the metric's unit")


def judge_floor_gate(gate: FloorGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if the lower bound reaches the threshold, FAIL if the upper one does not, else INCONCLUSIVE."""

    def judge(run: Rows, planned: PlannedSuite) -> Judgement:
        return judge_mean(gate, gate.threshold, run, planned, _FLOOR)

    return judge_runs(gate, evidence, judge)


def _fix_counts(ones: int, n: int, threshold: float, alpha: float, outcome: Outcome) -> str:
    needed = least_successes(n, threshold, alpha)
    if needed is None:
        return f"No result on {n} documents can show this; measure more."
    text = f"On {n} documents at least {needed} must count (now {ones}: {needed - ones} more)."
    if (
        outcome is Outcome.INCONCLUSIVE
        and (more := documents_for_floor(threshold, ones / n, alpha)) is not None
    ):
        text += f" If the share stays as it is, about {more} documents settle it."
    return text


_FLOOR = Limit(
    word="floor",
    sign="≥",
    kept="reaches",
    broken="falls short of",
    judge=judge_floor,
    bound_said=lambda outcome: "at most" if outcome is Outcome.FAIL else "at least",
    bound_used=lambda bounds, outcome: bounds.high if outcome is Outcome.FAIL else bounds.low,
    kind=Kind.FLOOR,
    fix_counts=_fix_counts,
    fix_other="Raise the mean, or measure more documents if it is already above the floor.",
)
