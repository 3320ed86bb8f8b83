"""What is known of an adapter beside what was measured: all that a gate which rests on no suite may look at.

Such evidence is small, so it is kept of past verdicts: a policy with a new gate of that kind is tried on them without
reading their records again. Guarantees: a gate without a suite judges what is kept as it judges the evidence itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from placet.domain.digests import Digest
from placet.domain.records import AdapterRef, Base, BaseRef, BaseStatus, Intake, Outcome, PolicyRef, Verdict
from placet.policy.evidence import (
    Dataset,
    Evidence,
    ModelCard,
    RecordedBase,
    RecordedIntake,
    RecordedStatus,
    TrainingStatement,
)
from placet.policy.gates import kind_of
from placet.policy.gates.evidence_age import EvidenceAgeGate, judge_ages, measured_between
from placet.policy.model import Gate, Setting, SuiteGate

Shared = dict[str, Any]
"""Record id → its kept form, each once for all the verdicts that rest on it."""


@dataclass(frozen=True, slots=True)
class About:
    """A verdict's evidence without what was measured, and when that was."""

    evidence: Evidence
    at: datetime
    measured: tuple[datetime, datetime] | None


def outcome_about(gate: Gate, about: About) -> Outcome:
    """Return the outcome of a gate that rests on no suite.

    Raises:
        ValueError: It rests on one.
    """
    if isinstance(gate, SuiteGate):
        raise ValueError(f"gate {gate.id} rests on a suite")
    if isinstance(gate, EvidenceAgeGate):
        return judge_ages(gate, about.measured, about.at)
    setting = Setting(at=about.at, gates={}, judge=lambda other, _: _unasked(other))
    return kind_of(gate).judge(gate, about.evidence, setting).outcome


def _unasked(gate: Gate) -> Any:
    raise ValueError(f"a gate without a suite asked for gate {gate.id}")


def kept_about(verdict: Verdict, evidence: Evidence, shared: Shared) -> list[Any]:
    """Return the form in which it is kept; adds the records it names to `shared`."""
    for statement in evidence.training:
        shared.setdefault(statement.record, asdict(statement))
    if evidence.intake is not None and evidence.intake.record not in shared:
        # Whoever judges an intake asks for its checks; the files' names may be thousands.
        slim = evidence.intake.intake.model_copy(update={"files": ()})
        shared[evidence.intake.record] = slim.to_json()
    for recorded in (evidence.base_record, evidence.base_status):
        if isinstance(recorded, RecordedBase):
            shared.setdefault(recorded.record, recorded.base.to_json())
        elif isinstance(recorded, RecordedStatus):
            shared.setdefault(recorded.record, recorded.status.to_json())
    card, span = evidence.card, measured_between(evidence)
    return [
        evidence.adapter.to_json(),
        evidence.base.to_json(),
        verdict.policy.to_json(),
        verdict.plan,
        verdict.decided_at.isoformat(),
        None if span is None else [moment.isoformat() for moment in span],
        [statement.record for statement in evidence.training],
        None if evidence.intake is None else evidence.intake.record,
        None if evidence.base_record is None else evidence.base_record.record,
        None if evidence.base_status is None else evidence.base_status.record,
        None if card is None else [card.record, sorted(card.fields), sorted(card.sections), card.problem],
    ]


def about_from(kept: list[Any], shared: Mapping[str, Any]) -> About:
    """Return what `kept` and `shared` are the kept form of."""
    adapter, base, policy, plan, at, span, training, intake, base_record, status, card = kept
    evidence = Evidence(
        adapter=AdapterRef.from_json(adapter),
        base=BaseRef.from_json(base),
        policy=PolicyRef.from_json(policy),
        plan=plan,
        plans=(),
        runs=(),
        base_runs=(),
        intake=None if intake is None else RecordedIntake(intake, Intake.from_json(shared[intake])),
        training=tuple(_statement(shared[record]) for record in training),
        listed=(),
        base_record=None
        if base_record is None
        else RecordedBase(base_record, Base.from_json(shared[base_record])),
        base_status=None if status is None else RecordedStatus(status, BaseStatus.from_json(shared[status])),
        card=None if card is None else ModelCard(card[0], frozenset(card[1]), frozenset(card[2]), card[3]),
    )
    times = None if span is None else (datetime.fromisoformat(span[0]), datetime.fromisoformat(span[1]))
    return About(evidence, datetime.fromisoformat(at), times)


def _statement(kept: Mapping[str, Any]) -> TrainingStatement:
    return TrainingStatement(
        **{
            **kept,
            "parents": tuple(Digest(parent) for parent in kept["parents"]),
            "datasets": tuple(Dataset(**data) for data in kept["datasets"]),
        }
    )
