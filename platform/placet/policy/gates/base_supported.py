"""Gate kind `base_supported`: somebody looked lately, and the base is supported and has no open advisory.

Nothing known is not nothing wrong: without a statement that is young enough the gate does not pass.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from placet.domain.records import Outcome
from placet.domain.text import plural
from placet.policy.evidence import Evidence
from placet.policy.judgement import Judgement, error, missing
from placet.policy.model import Days, Gate, Setting

_STATE = "Look it up and state it: `placet base status`."


class BaseSupportedGate(Gate):
    """The newest statement about the base is young enough, and says nothing against it."""

    kind: Literal["base_supported"]
    stated_within_days: Days = Field(default=90, description="how old the statement may be")


def judge_base_supported_gate(gate: BaseSupportedGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return FAIL for an end of life or an open advisory, MISSING for no statement or an old one, else PASS."""
    if evidence.base_record is None:
        return missing("The base is not in the register.", "Register it: `placet base add`.")
    if evidence.base_status is None:
        return missing(f"Nobody said whether {evidence.base.label} is supported.", _STATE).citing(
            evidence.base_record.record
        )
    return _judge(gate, evidence, setting).citing(evidence.base_record.record, evidence.base_status.record)


def _judge(gate: BaseSupportedGate, evidence: Evidence, setting: Setting) -> Judgement:
    assert evidence.base_status is not None  # noqa: S101 - the caller looked
    status, label = evidence.base_status.status, evidence.base.label
    condition = f"supported, no open advisory, stated within {gate.stated_within_days} days"
    if status.base.id != evidence.base.id:
        return error("The statement is about another base.", "Gather the evidence again.")
    against = []
    if status.end_of_life:
        against.append("it is at its end of life")
    if status.supported_until is not None and status.supported_until <= setting.at:
        against.append(f"its support ended on {status.supported_until:%Y-%m-%d}")
    if status.advisories:
        told = "; ".join(f"{item.id}: {item.summary.rstrip('.')}" for item in status.advisories)
        against.append(
            f"it has {plural(len(status.advisories), 'open advisory').replace('advisorys', 'advisories')} ({told})"
        )
    if against:
        return Judgement(
            Outcome.FAIL,
            f"Against {label}: {' and '.join(against)}.",
            "Train on a base that is supported, or state that this one is mended: `placet base status`.",
            figure=float(len(status.advisories)),
            threshold=0.0,
            comparison=condition,
        )
    if status.stated_at > setting.at:
        return error(f"The statement about {label} is dated after this decision.", "Check the clocks.")
    if setting.at - status.stated_at > timedelta(days=gate.stated_within_days):
        return missing(
            f"The last word on {label} is of {status.stated_at:%Y-%m-%d}, more than {gate.stated_within_days} days "
            "ago.",
            _STATE,
        )
    return Judgement(
        Outcome.PASS,
        f"{status.stated_by} stated on {status.stated_at:%Y-%m-%d} that {label} is supported and has no open advisory.",
        figure=0.0,
        threshold=0.0,
        comparison=condition,
    )
