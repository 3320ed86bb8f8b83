"""What a policy is asked about: everything known of one adapter on one base, by value.

Guarantees: a value of this kind holds all that a decision may use. `listed` names every record that the ledger
has on the same weights, so that evidence left out is noticed instead of trusted to be absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from placet.domain.digests import Digest
from placet.domain.records import AdapterRef, BaseRef, Intake, Measurement, Plan, PolicyRef


@dataclass(frozen=True, slots=True)
class RecordedIntake:
    """An intake record and its id."""

    record: Digest
    intake: Intake


@dataclass(frozen=True, slots=True)
class RecordedPlan:
    """A plan and its record id."""

    record: Digest
    plan: Plan


@dataclass(frozen=True, slots=True)
class Rows:
    """A measurement, its record id, and one value for each document of ``measurement.samples``, in that order."""

    record: Digest
    measurement: Measurement
    values: tuple[float, ...]

    def by_document(self) -> dict[int, float]:
        """Return the value of each document."""
        return dict(zip(self.measurement.samples, self.values, strict=True))


@dataclass(frozen=True, slots=True)
class TrainingStatement:
    """A training statement whose signature was verified.

    Attributes:
        record: Its record id.
        weights_id: Which adapter weights it says were trained.
        base: Id of the base it names; None if it names none or several.
        parents: Weights ids of the adapters that training started from.
        signer: Who signed it, for people.
        by_trainer: Whether the key had the trainer role when it signed.
    """

    record: Digest
    weights_id: Digest
    base: Digest | None
    parents: tuple[Digest, ...]
    signer: str
    by_trainer: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one adapter on one base.

    Attributes:
        adapter: The adapter in question.
        base: The base it is to run on.
        policy: The policy it is to be judged by.
        plan: Record id of the plan this verdict is about.
        plans: Every plan logged on the same weights, whatever its policy, in the ledger's order.
        runs: Every measurement of the same weights, in the ledger's order.
        base_runs: Every measurement of the base on the suites in question.
        intake: What intake saw in exactly these files; None if it was not examined.
        training: Training statements of these weights and of all their ancestors.
        listed: Record ids of all of the above as the ledger lists them.
        errors: Suite id → why its measurement could not be made, where it was tried and could not.
    """

    adapter: AdapterRef
    base: BaseRef
    policy: PolicyRef
    plan: Digest
    plans: tuple[RecordedPlan, ...]
    runs: tuple[Rows, ...]
    base_runs: tuple[Rows, ...]
    intake: RecordedIntake | None
    training: tuple[TrainingStatement, ...]
    listed: tuple[Digest, ...]
    errors: dict[str, str] = field(default_factory=dict)

    def records(self) -> Iterator[Digest]:
        """Yield the record id of everything held here."""
        yield from (plan.record for plan in self.plans)
        yield from (run.record for run in self.runs)
        yield from (run.record for run in self.base_runs)
        yield from (statement.record for statement in self.training)
        if self.intake is not None:
            yield self.intake.record

    def own_plan(self) -> Plan | None:
        """Return the plan this verdict is about, if it is here."""
        return next((entry.plan for entry in self.plans if entry.record == self.plan), None)
