"""An office of many adapters, with real signatures, in seconds: what pages have to stay quick with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from placet.attest.envelope import Envelope
from placet.attest.keys import Signer
from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import Verified, sign_record
from placet.domain.records import Decision, Outcome, Record, Review, ReviewDecision
from placet.office import Office
from tests.support import offices
from tests.support.offices import SampleOffice

_BATCH = 2000


class _Buffered(SampleOffice):
    """Logs records by the thousand: a checkpoint for each would take hours."""

    waiting: list[Envelope]

    def record(
        self, kind: Kind, record: Record, subjects: Sequence[Subject], signer: Signer | None = None
    ) -> Verified[Any]:
        envelope = sign_record(kind, record, tuple(subjects), signer or self.evaluator)
        self.waiting.append(envelope)
        self.clock.advance(seconds=20)
        trust = self.office.trust  # type: ignore[attr-defined]
        return trust.verify(envelope, self.office.head.size)  # type: ignore[attr-defined,no-any-return]


class _Frozen:
    """Stands for the office while records are made: its head moves only when they are logged."""

    def __init__(self, office: Office) -> None:
        self.office, self.blobs, self.home = office, office.blobs, office.home
        self.refresh()

    def refresh(self) -> None:
        reader = self.office.reader()
        self.trust, self.head = reader.trust, reader.head()

    def reader(self) -> _Frozen:
        return self

    def signer(self, name: str) -> Signer:
        return self.office.signer(name)


class _Head:
    def __init__(self, frozen: _Frozen) -> None:
        self._frozen = frozen

    def head(self) -> Any:
        return self._frozen.head


def make_large_office(home: Path, adapters: int) -> Office:
    """Make an office with `adapters` adapters of ten records each, a third of them waiting for somebody."""
    sample = offices.make_office(home, "Large office")
    frozen = _Frozen(sample.office)
    frozen.reader = lambda: _Head(frozen)  # type: ignore[method-assign,assignment,return-value]
    buffered = _Buffered(frozen, sample.clock, sample.signers)  # type: ignore[arg-type]
    buffered.waiting = []
    base = offices.add_base(buffered).record.ref
    for number in range(adapters):
        _walk(buffered, f"adapter-{number:05d}", base, number)
        if len(buffered.waiting) >= _BATCH:
            _log(sample.office, buffered, frozen)
    _log(sample.office, buffered, frozen)
    return sample.office


def _log(office: Office, buffered: _Buffered, frozen: _Frozen) -> None:
    office.append(buffered.waiting)
    buffered.waiting = []
    frozen.refresh()


def _walk(sample: _Buffered, label: str, base: Any, number: int) -> None:
    decision = (Decision.ALLOW, Decision.DENY, Decision.NEEDS_REVIEW)[number % 3]
    gates = {
        Decision.ALLOW: [offices.passing_gate()],
        Decision.DENY: [offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})],
        Decision.NEEDS_REVIEW: [offices.inconclusive_gate()],
    }[decision]
    adapter = offices.make_adapter(sample, label)
    training = offices.add_training(sample, adapter, base)
    intake = offices.add_intake(sample, adapter, base)
    offices.add_submission(sample, adapter, base, training=(training.id,))
    plan = offices.add_plan(sample, adapter.ref, base, suites=("support-desk", "general-piqa"))
    values = [float(place % 3 > 0) for place in range(12)]
    runs = [
        offices.add_measurement(sample, suite, plan, values, subject=who)
        for suite in ("support-desk", "general-piqa")
        for who in (adapter.ref, base)
    ]
    evidence = [training.id, intake.id, plan.id, *(run.id for run in runs)]
    verdict = offices.add_verdict(sample, plan, decision, evidence=evidence, gates=gates)
    if decision is Decision.ALLOW and number % 2:
        _review(sample, verdict, "ada")


def _review(sample: _Buffered, verdict: Verified[Any], person: str) -> None:
    record = verdict.record
    review = Review(
        adapter=record.adapter,
        base=record.base,
        policy=record.policy,
        verdict=verdict.id,
        evidence=record.evidence,
        head=record.head,
        decision=ReviewDecision.APPROVE,
        comment="Looked at it.",
        reviewer=person,
        reviewed_at=sample.clock(),
        expires_at=sample.clock().replace(year=sample.clock().year + 1),
    )
    sample.record(
        Kind.REVIEW, review, (Subject(record.adapter.label, record.adapter.id),), sample.signers[person]
    )
