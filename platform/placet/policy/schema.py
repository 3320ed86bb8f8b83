"""A policy document: what must hold before an adapter may be released, and who has to sign for it.

Guarantees: a :class:`Policy` that exists is not empty, names every gate once, contradicts itself nowhere that can
be seen without evidence, and has an id made of what is written in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from placet.domain.digests import digest_json
from placet.domain.errors import IntegrityError
from placet.domain.records import PolicyRef, ReviewRule
from placet.policy.contradictions import ContradictionError, contradictions
from placet.policy.gates import KINDS
from placet.policy.gates.evidence_age import EvidenceAgeGate
from placet.policy.gates.subgroups import SubgroupsGate
from placet.policy.model import MOST, Count, Document, Gate, OtherGate, Slug, SuiteGate, Text
from placet.policy.tiers import Review, RiskTier

if TYPE_CHECKING:
    AnyGate = Gate
else:
    # The union is read from the table of kinds, which no type checker can follow.
    AnyGate = Annotated[Union[tuple(kind.model for kind in KINDS)], Field(discriminator="kind")]  # noqa: UP007

DEFAULT_CHUNK = 50
"""After how many documents a sequential run looks, where the policy says nothing else."""


def _samples(value: Any) -> Any:
    if value != "all" and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("must be a whole number, or the word all")
    if value != "all" and not 1 <= value <= MOST:
        raise ValueError(f"must be a whole number from 1 to {MOST:,}, or the word all")
    return value


class Sampling(Document):
    """How many documents of a suite are measured, and whether measuring may stop early."""

    samples: Annotated[Count | Literal["all"], BeforeValidator(_samples)] = Field(
        description="`all`, or how many documents the plan draws"
    )
    mode: Literal["fixed", "sequential"] = Field(
        default="fixed",
        description="`fixed`: every document is measured and looked at once; `sequential`: measuring stops as soon as "
        "the suite's gates are decided, by tests that stay valid whenever it stops",
    )
    claim: Literal["population", "benchmark"] | None = Field(
        default=None,
        description="what a sequential decision is about: all documents of this kind (`population`), or these alone "
        "(`benchmark`, which needs fewer)",
    )
    cluster: Text | None = Field(
        default=None,
        description="the column of the suite's documents that tells which belong together (one passage, one patient)",
    )
    chunk: Count | None = Field(
        default=None, description="after how many documents a sequential run looks; left out: 50"
    )


class Policy(Document):
    """A whole policy document."""

    id: Slug = Field(description="the policy's name")
    version: Text = Field(description="its version, in quotes; raise it with every change")
    title: Text = Field(description="what it is for, in one line")
    description: Text = Field(description="what it demands and why, for the people who sign under it")
    risk_tier: RiskTier = Field(
        description="how much harm a bad release could do: `minimal`, `limited` or `high`; sets the least strict review"
    )
    risk: Text = Field(description="why it is that tier: who could be harmed, and how")
    review: Review
    suites: dict[Slug, Sampling] = Field(description="suite id → how much of it is measured")
    gates: tuple[AnyGate, ...] = Field(
        min_length=1, description="the conditions, in the order reports show them"
    )
    underpowered: Literal["refuse", "mark"] = Field(
        default="mark", description="a gate whose sample cannot show what it asks: refuse to plan, or mark it"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = tuple(contradictions(self))
        if problems:
            raise ContradictionError(problems)
        return self

    @property
    def ref(self) -> PolicyRef:
        """The policy by content: the digest is over what is written in it, not over how it is laid out."""
        return PolicyRef(id=self.id, version=self.version, digest=digest_json(self.to_json()))

    @property
    def review_rule(self) -> ReviewRule:
        """The review rule as verdicts record it."""
        return ReviewRule(
            approvals=self.review.approvals,
            separate_from=tuple(self.review.separate_from),
            valid_days=self.review.valid_days,
            waivers_needed=self.review.waivers_needed,
            lapses_on=tuple(self.review.lapses_on),
        )

    def gates_on(self, suite: str) -> tuple[SuiteGate, ...]:
        """Return the gates that rest on `suite`."""
        return tuple(gate for gate in self.gates if isinstance(gate, SuiteGate) and gate.suite == suite)

    def columns_of(self, suite: str) -> tuple[str, ...]:
        """Return the columns of the suite's documents by which there are groups or clusters."""
        gates = (gate for gate in self.gates_on(suite) if isinstance(gate, SubgroupsGate))
        cluster = self.suites[suite].cluster
        return tuple(dict.fromkeys((*(gate.by for gate in gates), *((cluster,) if cluster else ()))))

    @property
    def others(self) -> tuple[str, ...]:
        """What gates compare with beside the base: ``channel:…`` and ``adapter:…``, each once."""
        than = (gate.than for gate in self.gates if isinstance(gate, OtherGate))
        return tuple(dict.fromkeys(name for name in than if name != "base"))

    @property
    def max_age_days(self) -> int | None:
        """How old a measurement may be; None if no gate asks."""
        return min((gate.max_days for gate in self.gates if isinstance(gate, EvidenceAgeGate)), default=None)

    def samples_of(self, suite: str) -> int | None:
        """Return how many documents of `suite` are to be drawn; None for all."""
        samples = self.suites[suite].samples
        return None if samples == "all" else samples

    def to_json(self) -> dict[str, Any]:
        """Return what is written in the policy, numbers as decimal strings; what is left to a default is left out."""
        written: dict[str, Any] = self.model_dump(mode="json", exclude_unset=True)
        return written

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Return the policy that `value` is the recorded form of.

        Raises:
            IntegrityError: `value` is not a valid policy.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise IntegrityError(
                f"a recorded policy is malformed: {error.errors()[0]['msg']}",
                hint="it was written by another version, or tampered with; run `placet audit`",
            ) from error


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of policy documents, for editors."""
    return Policy.model_json_schema(mode="validation")
