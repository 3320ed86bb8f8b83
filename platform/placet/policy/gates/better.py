"""Gate kind `better`: on the same documents, the adapter is shown to gain more than an amount against another."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from placet.policy.differences import judge_difference
from placet.policy.evidence import Evidence
from placet.policy.judgement import Judgement
from placet.policy.model import ComparisonGate, Number, PlanningGuess, Setting


class BetterGate(ComparisonGate):
    """The lower bound of the paired difference is above an amount."""

    kind: Literal["better"]
    by: Number = Field(
        default=0.0, ge=0.0, lt=1.0, description="how much gain is asked, in the metric's unit"
    )
    planning: PlanningGuess = Field(
        default=PlanningGuess(discordance=0.3, difference=0.2),
        description="what is expected; used only before running, never in the verdict",
    )


def judge_better_gate(gate: BetterGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if more gain than `by` is shown, FAIL if less is shown, else INCONCLUSIVE."""
    return judge_difference(gate, gate.by, evidence)
