"""A policy document: what must hold before an adapter may be released, and who has to sign for it.

Guarantees: a :class:`Policy` that exists is not empty, names every gate once, contradicts itself nowhere that can
be seen without evidence, and has an id made of what is written in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from placet.domain.digests import digest_json
from placet.domain.errors import IntegrityError
from placet.domain.records import PolicyRef, ReviewRule
from placet.policy.gates import KINDS
from placet.policy.gates.better import BetterGate
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.contamination import ContaminationGate
from placet.policy.gates.evidence_age import EvidenceAgeGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.leakage import LeakageGate
from placet.policy.gates.no_new_failure import NoNewFailureGate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.gates.subgroups import SubgroupsGate
from placet.policy.model import Count, Document, Gate, OtherGate, Slug, StatisticalGate, SuiteGate, Text
from placet.policy.tiers import RULES, Review, RiskTier, too_lax

if TYPE_CHECKING:
    AnyGate = Gate
else:
    # The union is read from the table of kinds, which no type checker can follow.
    AnyGate = Annotated[Union[tuple(kind.model for kind in KINDS)], Field(discriminator="kind")]  # noqa: UP007

DEFAULT_CHUNK = 50
"""After how many documents a sequential run looks, where the policy says nothing else."""

Location = tuple[str | int, ...]
"""Where something stands in a document: field names and list positions, from the top."""


def _samples(value: Any) -> Any:
    if value != "all" and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValueError("must be a whole number, or the word all")
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


class ContradictionError(ValueError):
    """A policy that contradicts itself: where, and how."""

    def __init__(self, problems: tuple[tuple[Location, str], ...]) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = problems


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
        problems = tuple(_contradictions(self))
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


def _contradictions(policy: Policy) -> Iterator[tuple[Location, str]]:
    yield from _repeated(policy)
    yield from _review(policy)
    yield from _sampling(policy)
    yield from _suites(policy)
    yield from _rechecks(policy)
    yield from _ages(policy)
    yield from _single_gates(policy)
    yield from _pairs(policy)


def _repeated(policy: Policy) -> Iterator[tuple[Location, str]]:
    counts = Counter(gate.id for gate in policy.gates)
    for index, gate in enumerate(policy.gates):
        if counts[gate.id] > 1 and any(other.id == gate.id for other in policy.gates[:index]):
            yield ("gates", index, "id"), f"a gate named {gate.id} stands above; give this one another name"
    if not any(gate.required for gate in policy.gates):
        yield ("gates",), "no gate is required, so everything would pass; require at least one"
    if len(set(policy.review.separate_from)) != len(policy.review.separate_from):
        yield ("review", "separate_from"), "names someone twice; name each once"


def _review(policy: Policy) -> Iterator[tuple[Location, str]]:
    least = RULES[policy.risk_tier]
    for field, text in too_lax(policy.review, least):
        yield (
            ("review", field),
            f"{text}, as risk tier {policy.risk_tier} asks; be stricter, or justify a lower tier",
        )


def _sampling(policy: Policy) -> Iterator[tuple[Location, str]]:
    whole = (LeakageGate, NoNewFailureGate, SubgroupsGate, ContaminationGate)
    for suite, sampling in policy.suites.items():
        if sampling.mode == "fixed":
            for name in ("claim", "chunk"):
                if getattr(sampling, name) is not None:
                    yield (
                        ("suites", suite, name),
                        "is for sequential runs; remove it, or write mode: sequential",
                    )
            continue
        if sampling.claim is None:
            yield (
                ("suites", suite),
                "a sequential run needs a claim: `claim: population` or `claim: benchmark`",
            )
        if sampling.claim == "population" and sampling.cluster is not None:
            yield (
                ("suites", suite, "cluster"),
                "a sequential claim about a population needs independent documents; write claim: benchmark",
            )
        for gate in policy.gates_on(suite):
            if isinstance(gate, StatisticalGate) and gate.judge_error is not None:
                yield (
                    ("suites", suite, "mode"),
                    f"gate {gate.id} corrects for a scorer's error, which no sequential test here does; "
                    "write mode: fixed",
                )
            if isinstance(gate, BetterGate) and gate.by > 0.0:
                yield (
                    ("suites", suite, "mode"),
                    f"gate {gate.id} asks for a gain above {gate.by:g}, which no sequential test here shows; "
                    "write mode: fixed, or `by: 0`",
                )
            if isinstance(gate, whole):
                yield (
                    ("suites", suite, "mode"),
                    f"gate {gate.id} ({gate.kind}) looks at every document; write mode: fixed",
                )


def _rechecks(policy: Policy) -> Iterator[tuple[Location, str]]:
    gates = {gate.id: gate for gate in policy.gates}
    for index, gate in enumerate(policy.gates):
        if not isinstance(gate, ContaminationGate):
            continue
        for place, name in enumerate(gate.recheck):
            other = gates.get(name)
            where = ("gates", index, "recheck", place)
            if other is None:
                yield where, f"there is no gate {name}; name one of this policy"
            elif (
                not isinstance(other, SuiteGate)
                or other.suite != gate.suite
                or isinstance(other, ContaminationGate)
            ):
                yield where, f"gate {name} does not judge {gate.suite}; name one that does"
            elif isinstance(other, NoNewFailureGate | LeakageGate):
                yield where, f"gate {name} needs every document; leave it out"


def _ages(policy: Policy) -> Iterator[tuple[Location, str]]:
    # It would never pass; and a gate with a suite, added to it, would let pass what was refused before.
    if policy.suites:
        return
    for index, gate in enumerate(policy.gates):
        if isinstance(gate, EvidenceAgeGate):
            yield (
                ("gates", index),
                "nothing is measured under this policy, so no evidence has an age; remove this gate, "
                "or add one that rests on a suite",
            )


def _suites(policy: Policy) -> Iterator[tuple[Location, str]]:
    used = {gate.suite for gate in policy.gates if isinstance(gate, SuiteGate)}
    for suite in policy.suites:
        if suite not in used:
            yield ("suites", suite), "no gate uses this suite; remove it, or add the gate that was meant"
    for index, gate in enumerate(policy.gates):
        if not isinstance(gate, SuiteGate):
            continue
        if gate.suite not in policy.suites:
            yield (
                ("gates", index, "suite"),
                f"suite {gate.suite} is not among `suites`; add it there with its `samples`",
            )
        elif isinstance(gate, LeakageGate | NoNewFailureGate) and policy.samples_of(gate.suite) is not None:
            what = "every canary" if isinstance(gate, LeakageGate) else "documents by name"
            yield (
                ("suites", gate.suite, "samples"),
                f"gate {gate.id} counts {what}; measure all of them: samples: all",
            )


def _single_gates(policy: Policy) -> Iterator[tuple[Location, str]]:
    for index, gate in enumerate(policy.gates):
        if gate.waivers is not None and not gate.waivable:
            yield (
                ("gates", index, "waivers"),
                "the gate cannot be waived; add `waivable: true`, or remove this",
            )
        if (
            isinstance(gate, LeakageGate)
            and gate.max_excess is not None
            and gate.max_excess > gate.max_recovered
        ):
            yield (
                ("gates", index, "max_excess"),
                f"more than max_recovered ({gate.max_recovered}), so it can never matter; lower it or remove it",
            )
        if (
            isinstance(gate, OtherGate)
            and "without_release" in gate.model_fields_set
            and not gate.than.startswith("channel:")
        ):
            yield (
                ("gates", index, "without_release"),
                "says what holds where a channel runs nothing, and `than` names no channel; remove it",
            )
        if (
            isinstance(gate, StatisticalGate)
            and gate.judge_error is not None
            and (
                isinstance(gate, SubgroupsGate)
                or (gate.suite in policy.suites and policy.suites[gate.suite].cluster)
            )
        ):
            yield (
                ("gates", index, "judge_error"),
                "is not for groups or clusters of documents; remove it, or the grouping",
            )
        if isinstance(gate, NotWorseGate | BetterGate):
            guess = gate.planning
            limit = -gate.margin if isinstance(gate, NotWorseGate) else gate.by
            asked = "margin" if isinstance(gate, NotWorseGate) else "by"
            if guess.difference <= limit:
                yield (
                    ("gates", index, "planning" if "planning" in gate.model_fields_set else asked),
                    f"expects a difference of {guess.difference:g}, which {asked} {abs(limit):g} does not "
                    "allow; where a gain is asked for, state the one expected: planning: {difference: …}",
                )
            if abs(guess.difference) > guess.discordance:
                yield (
                    ("gates", index, "planning"),
                    f"a difference of {guess.difference:g} needs at least that discordance, not "
                    f"{guess.discordance:g}; raise `discordance`",
                )


def _pairs(policy: Policy) -> Iterator[tuple[Location, str]]:
    for index, gate in enumerate(policy.gates):
        for earlier in policy.gates[:index]:
            if not isinstance(gate, SuiteGate) or not isinstance(earlier, SuiteGate):
                if gate.kind == earlier.kind:
                    yield ("gates", index), f"asks the same as gate {earlier.id}; remove one of them"
                continue
            if (gate.suite, gate.metric) != (earlier.suite, earlier.metric):
                continue
            if (
                gate.kind == earlier.kind
                and _asks(gate) == _asks(earlier)
                and gate.required == earlier.required
            ):
                yield (
                    ("gates", index),
                    f"gate {earlier.id} already is a {gate.kind} on {gate.suite}; keep the stricter one",
                )
            floor = next((one for one in (gate, earlier) if isinstance(one, FloorGate)), None)
            ceiling = next((one for one in (gate, earlier) if isinstance(one, CeilingGate)), None)
            if floor and ceiling and floor.threshold >= ceiling.threshold:
                yield (
                    ("gates", index, "threshold"),
                    f"the floor {floor.threshold:g} of {floor.id} is not below the ceiling {ceiling.threshold:g} "
                    f"of {ceiling.id}, so nothing can pass both",
                )


def _asks(gate: SuiteGate) -> tuple[object, ...]:
    """Return by what two gates of a kind on a suite may differ and both be meant."""
    if isinstance(gate, SubgroupsGate):
        return (gate.than, gate.by, gate.margin is None, gate.floor is None)
    if isinstance(gate, ContaminationGate):
        return (gate.ngram,)
    return (gate.than,) if isinstance(gate, OtherGate) else ()
