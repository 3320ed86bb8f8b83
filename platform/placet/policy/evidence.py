"""What a policy is asked about: everything known of one adapter on one base, by value.

Guarantees: a value of this kind holds all that a decision may use. `listed` names every record that the ledger
has on the same weights, so that evidence left out is noticed instead of trusted to be absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from placet.domain.digests import Digest
from placet.domain.records import (
    AdapterRef,
    Base,
    BaseRef,
    BaseStatus,
    Intake,
    Measurement,
    Overlap,
    Plan,
    PlannedReference,
    PolicyRef,
)


@dataclass(frozen=True, slots=True)
class RecordedIntake:
    """An intake record and its id."""

    record: Digest
    intake: Intake


@dataclass(frozen=True, slots=True)
class RecordedPlan:
    """A plan and its record id.

    Attributes:
        record: Its record id.
        plan: The plan.
        asked: What each gate of the policy it was made under asks of its suite, by the gate's id (see
            :func:`placet.policy.conditions.questions_of`); None if that policy cannot be read.
        drawn_otherwise: Suites whose documents are not those drawn for the plan.
    """

    record: Digest
    plan: Plan
    asked: Mapping[str, str] | None = None
    drawn_otherwise: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rows:
    """A measurement, its record id, and one value for each document of ``measurement.samples``, in that order.

    `ids` are the documents' names in the suite, in the same order; gates that name documents need them.
    """

    record: Digest
    measurement: Measurement
    values: tuple[float, ...]
    ids: tuple[str, ...] = ()

    def by_document(self) -> dict[int, float]:
        """Return the value of each document."""
        return dict(zip(self.measurement.samples, self.values, strict=True))


@dataclass(frozen=True, slots=True)
class RecordedBase:
    """A base of the register and its record id."""

    record: Digest
    base: Base


@dataclass(frozen=True, slots=True)
class RecordedStatus:
    """The newest statement about a base's support, and its record id."""

    record: Digest
    status: BaseStatus


@dataclass(frozen=True, slots=True)
class RecordedOverlap:
    """A comparison of training data with a suite, and its record id."""

    record: Digest
    overlap: Overlap


@dataclass(frozen=True, slots=True)
class Dataset:
    """Data that training used, as its statement names it; `license` is an SPDX expression, None if unsaid."""

    name: str
    digest: Digest
    license: str | None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What an adapter's README.md says of it.

    Attributes:
        record: Record id of the submission whose files hold it.
        fields: Fields of its YAML head that say something.
        sections: Its headings under which something is written, in lower case.
        problem: Why it could not be read; empty if it could.
    """

    record: Digest
    fields: frozenset[str]
    sections: frozenset[str]
    problem: str = ""


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
        datasets: The data it names.
    """

    record: Digest
    weights_id: Digest
    base: Digest | None
    parents: tuple[Digest, ...]
    signer: str
    by_trainer: bool
    datasets: tuple[Dataset, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one adapter on one base.

    Attributes:
        adapter: The adapter in question.
        base: The base it is to run on.
        policy: The policy it is to be judged by.
        plan: Record id of the plan this verdict is about.
        plans: Every plan logged on the same weights, whatever its policy, in the ledger's order; plans for other
            adapters that were to be compared with these weights among them.
        runs: Every measurement of the same weights, in the ledger's order.
        base_runs: Every measurement of the base on the suites in question.
        intake: What intake saw in exactly these files; None if it was not examined.
        training: Training statements of these weights and of all their ancestors.
        listed: Record ids of all of the above as the ledger lists them.
        errors: Suite id → why its measurement could not be made, where it was tried and could not.
        base_record: The base's entry in the register.
        base_status: The newest statement about the base's support.
        card: The adapter's model card; None if it has none.
        overlaps: Comparisons of the training data with suites.
        references: What the channels and adapters that the policy compares with are now. They are no records of
            their own here: the plan names them, and a gate holds the two against each other.
        reference_runs: Every measurement of those, on the suites in question.
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
    base_record: RecordedBase | None = None
    base_status: RecordedStatus | None = None
    card: ModelCard | None = None
    overlaps: tuple[RecordedOverlap, ...] = ()
    references: tuple[PlannedReference, ...] = ()
    reference_runs: tuple[Rows, ...] = ()

    def records(self) -> Iterator[Digest]:
        """Yield the record id of everything held here."""
        yield from (plan.record for plan in self.plans)
        yield from (run.record for run in self.runs)
        yield from (run.record for run in self.base_runs)
        yield from (statement.record for statement in self.training)
        yield from (overlap.record for overlap in self.overlaps)
        yield from (run.record for run in self.reference_runs)
        single = (self.intake, self.base_record, self.base_status, self.card)
        yield from (item.record for item in single if item is not None)

    def reference(self, name: str) -> PlannedReference | None:
        """Return what `name` (``channel:…`` or ``adapter:…``) stands for now; None if for nothing."""
        return next((item for item in self.references if item.name == name), None)

    def own_plan(self) -> Plan | None:
        """Return the plan this verdict is about, if it is here."""
        return next((entry.plan for entry in self.plans if entry.record == self.plan), None)
