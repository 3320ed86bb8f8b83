"""Gate kind `not_worse`: on the same documents, the adapter is shown to lose less than a margin against another."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from placet.policy.differences import judge_difference
from placet.policy.evidence import Evidence
from placet.policy.judgement import Judgement
from placet.policy.model import ComparisonGate, Number, PlanningGuess, Setting


class NotWorseGate(ComparisonGate):
    """The lower bound of the paired difference is above minus the margin."""

    kind: Literal["not_worse"]
    margin: Number = Field(
        ge=0.0,
        lt=1.0,
        description="how much loss is tolerated, in the metric's unit; 0 asks for a proven gain",
    )
    planning: PlanningGuess = Field(
        default=PlanningGuess(),
        description="what is expected; used only before running, never in the verdict",
    )


def judge_not_worse_gate(gate: NotWorseGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if the loss is shown to be below the margin, FAIL if shown to be above, else INCONCLUSIVE."""
    return judge_difference(gate, -gate.margin, evidence)
