"""The kinds of record, their predicate types, their models, and which role may sign each.

One literal table; a record of a kind that is not in it is kept and shown, never trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.domain.names import one_name
from placet.domain.records import (
    Base,
    BaseRef,
    BaseStatus,
    FeedStatement,
    Intake,
    Measurement,
    Moment,
    Overlap,
    Plan,
    Record,
    Release,
    Review,
    Revocation,
    Sha256,
    Submission,
    Verdict,
    Waiver,
)


class Role(StrEnum):
    """What a key may be used for."""

    ROOT = "root"
    TRAINER = "trainer"
    SUBMITTER = "submitter"
    EVALUATOR = "evaluator"
    APPROVER = "approver"
    RELEASER = "releaser"
    LOG = "log"
    WITNESS = "witness"


class Kind(StrEnum):
    """The steps that leave a record."""

    ROLES = "roles"
    ROOT = "root"
    BASE = "base"
    BASE_STATUS = "base-status"
    TRAINING = "training"
    SUBMISSION = "submission"
    INTAKE = "intake"
    PLAN = "plan"
    EVALUATION = "evaluation"
    SAFETY = "safety"
    OVERLAP = "overlap"
    VERDICT = "verdict"
    REVIEW = "review"
    WAIVER = "waiver"
    RELEASE = "release"
    REVOCATION = "revocation"
    FEED = "feed"


class KeyGrant(Record):
    """A person's key and what it may sign, from ledger index `valid_from` until before `valid_until`."""

    key_id: Sha256
    public_key: str
    person: Annotated[str, AfterValidator(one_name)]
    roles: tuple[Role, ...] = Field(min_length=1)
    valid_from: int = Field(ge=0)
    valid_until: int | None = Field(default=None, ge=0)

    def holds_at(self, index: int) -> bool:
        """Tell whether it covers ledger `index`."""
        return self.valid_from <= index and (self.valid_until is None or index < self.valid_until)


class Roles(Record):
    """Who may sign what: the office's people and keys. Versions count up by one; none is ever replaced."""

    office: str
    version: int = Field(ge=1)
    grants: tuple[KeyGrant, ...] = Field(min_length=1)
    issued_at: Moment


class RootChange(Record):
    """A new version of the trust root, so that whoever follows the log has it. Its own signatures are what counts."""

    office: str
    version: int = Field(ge=2)
    file: str = Field(
        description="the version's file: TUF root metadata, signed by enough holders of old and new"
    )


class ResourceDescriptor(Record):
    """An artifact that training used (in-toto ResourceDescriptor, reduced)."""

    name: str
    digest: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)


class BuildDefinition(Record):
    """SLSA provenance v1 `buildDefinition`."""

    build_type: str
    external_parameters: dict[str, str]
    internal_parameters: dict[str, str] = Field(default_factory=dict)
    resolved_dependencies: tuple[ResourceDescriptor, ...]


class RunMetadata(Record):
    """SLSA provenance v1 `runDetails.metadata`."""

    invocation_id: str
    started_on: Moment
    finished_on: Moment


class Builder(Record):
    """SLSA provenance v1 `runDetails.builder`."""

    id: str
    version: dict[str, str] = Field(default_factory=dict)


class RunDetails(Record):
    """SLSA provenance v1 `runDetails`."""

    builder: Builder
    metadata: RunMetadata


class Training(Record):
    """How an adapter was trained: a SLSA provenance v1 predicate whose subject is the adapter's weights id."""

    build_definition: BuildDefinition
    run_details: RunDetails

    def dependency(self, role: str) -> tuple[ResourceDescriptor, ...]:
        """Return the dependencies annotated with `role`: ``base``, ``dataset`` or ``parent-adapter``."""
        return tuple(
            item
            for item in self.build_definition.resolved_dependencies
            if item.annotations.get("role") == role
        )

    @property
    def base(self) -> BaseRef | None:
        """The base it was trained on, if exactly one is named."""
        bases = self.dependency("base")
        if len(bases) != 1:
            return None
        return BaseRef(id=Digest("sha256:" + bases[0].digest.get("sha256", "")), label=bases[0].name)


@dataclass(frozen=True, slots=True)
class PredicateSpec:
    """A kind's predicate type, model and signing roles."""

    kind: Kind
    predicate_type: str
    model: type[Record]
    roles: tuple[Role, ...]
    about: str


PREDICATES: tuple[PredicateSpec, ...] = (
    PredicateSpec(Kind.ROLES, "https://placet.dev/roles/v1", Roles, (Role.ROOT,), "who may sign what"),
    PredicateSpec(
        Kind.ROOT,
        "https://placet.dev/root/v1",
        RootChange,
        (Role.EVALUATOR,),
        "a new version of the trust root",
    ),
    PredicateSpec(
        Kind.BASE, "https://placet.dev/base/v1", Base, (Role.EVALUATOR,), "a base model registered"
    ),
    PredicateSpec(
        Kind.BASE_STATUS,
        "https://placet.dev/base-status/v1",
        BaseStatus,
        (Role.APPROVER, Role.RELEASER),
        "what is known of a base's support",
    ),
    PredicateSpec(
        Kind.TRAINING,
        "https://slsa.dev/provenance/v1",
        Training,
        (Role.TRAINER,),
        "how an adapter was trained, from what",
    ),
    PredicateSpec(
        Kind.SUBMISSION,
        "https://placet.dev/submission/v1",
        Submission,
        (Role.SUBMITTER,),
        "an adapter handed in",
    ),
    PredicateSpec(
        Kind.INTAKE,
        "https://placet.dev/intake/v1",
        Intake,
        (Role.EVALUATOR,),
        "what its files held, or why refused",
    ),
    PredicateSpec(
        Kind.PLAN,
        "https://placet.dev/plan/v1",
        Plan,
        (Role.EVALUATOR,),
        "what will be measured, before it is",
    ),
    PredicateSpec(
        Kind.EVALUATION,
        "https://placet.dev/evaluation/v1",
        Measurement,
        (Role.EVALUATOR,),
        "one benchmark suite measured on one subject",
    ),
    PredicateSpec(
        Kind.SAFETY,
        "https://placet.dev/safety/v1",
        Measurement,
        (Role.EVALUATOR,),
        "one safety suite measured on one subject",
    ),
    PredicateSpec(
        Kind.OVERLAP,
        "https://placet.dev/overlap/v1",
        Overlap,
        (Role.EVALUATOR,),
        "how much of a suite was in the training data",
    ),
    PredicateSpec(
        Kind.VERDICT,
        "https://placet.dev/verdict/v1",
        Verdict,
        (Role.EVALUATOR,),
        "what the policy says of it",
    ),
    PredicateSpec(
        Kind.REVIEW,
        "https://placet.dev/review/v1",
        Review,
        (Role.APPROVER,),
        "a person's decision about a verdict",
    ),
    PredicateSpec(
        Kind.WAIVER,
        "https://placet.dev/waiver/v1",
        Waiver,
        (Role.APPROVER,),
        "consent to an inconclusive gate",
    ),
    PredicateSpec(
        Kind.RELEASE,
        "https://placet.dev/release/v1",
        Release,
        (Role.RELEASER,),
        "an adapter put on a channel",
    ),
    PredicateSpec(
        Kind.REVOCATION,
        "https://placet.dev/revocation/v1",
        Revocation,
        (Role.RELEASER, Role.APPROVER),
        "an adapter or base taken back",
    ),
    PredicateSpec(
        Kind.FEED,
        "https://placet.dev/feed/v1",
        FeedStatement,
        (Role.EVALUATOR, Role.RELEASER),
        "all that a revocation feed holds, up to here",
    ),
)

_BY_TYPE = {spec.predicate_type: spec for spec in PREDICATES}
_BY_KIND = {spec.kind: spec for spec in PREDICATES}


def spec_of(kind: Kind) -> PredicateSpec:
    """Return the table's row of `kind`."""
    return _BY_KIND[kind]


def spec_for_type(predicate_type: str) -> PredicateSpec:
    """Return the row of `predicate_type`.

    Raises:
        IntegrityError: No kind of ours has it.
    """
    try:
        return _BY_TYPE[predicate_type]
    except KeyError:
        raise IntegrityError(
            f"records of type {predicate_type} are not known here",
            hint="they are kept and shown but not trusted; a newer Placet may know them",
        ) from None
