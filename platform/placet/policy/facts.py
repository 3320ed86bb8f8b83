"""What is kept of a past verdict so that another policy can be tried on it without reading its evidence again.

Guarantees: facts are made of the evidence that the verdict rests on and of nothing else. They hold counts only where
the counts say all that a gate asks: one run, complete and sound, of 0/1 values, and one run to compare it with.
Everything else is left to the evidence itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from placet.domain.digests import Digest
from placet.domain.records import Outcome, PlannedSuite, Verdict
from placet.policy.baseline import Other, judge_against, the_base
from placet.policy.conditions import condition_of
from placet.policy.evidence import Evidence, Rows
from placet.policy.judgement import Judgement
from placet.policy.runs import runs_that_count, unsound
from placet.policy.schema import Policy
from placet.stats.bounds import counted
from placet.stats.mean import is_binary


@dataclass(frozen=True, slots=True)
class SuiteFacts:
    """One suite's counts in a past verdict.

    Attributes:
        metric: The metric's name.
        higher_is_better: Its good direction.
        n: Documents run, all that were planned.
        documents: Documents that the suite has.
        ones: How many of the values are 1.
        pairs: What was compared with (``base`` or a reference's name) → documents gained and lost, in the metric's own
            direction: gained are those that are 1 for the adapter alone.
        groups: Column that the plan knows → its value → what was compared with (``""`` for nothing) → counts of
            documents that are 1 for both, for the adapter alone, for the other alone, and for neither. A column whose
            groups are not the run's documents holds nothing.
    """

    metric: str
    higher_is_better: bool
    n: int
    documents: int
    ones: int
    pairs: Mapping[str, tuple[int, int]]
    groups: Mapping[str, Mapping[str, Mapping[str, Sequence[int]]]] = field(default_factory=dict)

    def values_by_group(self, column: str, other: str) -> dict[str, tuple[tuple[float, float], ...]] | None:
        """Return the documents of each group of a column, each its value and the other's, in no order.

        None where the column is not known, or `other` was not measured beside it.
        """
        found: dict[str, tuple[tuple[float, float], ...]] = {}
        for name, tables in self.groups.get(column, {}).items():
            if other not in tables:
                return None
            both, gained, lost, neither = tables[other]
            pairs = ((1.0, 1.0),) * both + ((1.0, 0.0),) * gained + ((0.0, 1.0),) * lost
            found[name] = pairs + ((0.0, 0.0),) * neither
        return found or None


@dataclass(frozen=True, slots=True)
class Signed:
    """An approval or a waiver that a release names.

    Attributes:
        person: Who signed it.
        parts: Which part that person (or the key) had in the adapter: ``trainer``, ``submitter``.
        age_s: How old it was when the release was made, in seconds.
    """

    person: str
    parts: tuple[str, ...]
    age_s: float


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """A release that rests on a verdict, and what people signed for it.

    Attributes:
        channel: Where it was put.
        approvals: The approvals it names.
        waivers: Gate id → the waivers it names for that gate.
    """

    channel: str
    approvals: tuple[Signed, ...] = ()
    waivers: Mapping[str, tuple[Signed, ...]] = field(default_factory=dict)

    def to_json(self) -> list[Any]:
        """Return the form in which it is kept."""
        kept = {gate: [astuple(one) for one in signed] for gate, signed in self.waivers.items()}
        return [self.channel, [astuple(one) for one in self.approvals], kept]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> ReleaseFacts:
        """Return the release that `value` is the kept form of."""
        channel, approvals, waivers = value

        def signed(kept: Sequence[Any]) -> tuple[Signed, ...]:
            return tuple(Signed(person, tuple(parts), age) for person, parts, age in kept)

        return cls(channel, signed(approvals), {gate: signed(kept) for gate, kept in waivers.items()})


@dataclass(frozen=True, slots=True)
class Facts:
    """What a past verdict said, and the counts behind it.

    Attributes:
        record: The verdict's record id.
        label: The adapter's label.
        decision: What it decided.
        policy: Digest of the policy it was made under.
        outcomes: Condition (see :func:`placet.policy.conditions.condition_of`) → outcome, for each of its gates.
        planned: Suites that its plan holds.
        suites: Suite id → counts, where counts say all.
        names: Condition → id of the gate, for each that needed a waiver.
        released: Releases that rest on the verdict.
    """

    record: Digest
    label: str
    decision: str
    policy: Digest
    outcomes: Mapping[str, str]
    planned: tuple[str, ...]
    suites: Mapping[str, SuiteFacts] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    released: tuple[ReleaseFacts, ...] = ()

    def to_json(self) -> list[Any]:
        """Return the form in which facts are kept."""
        suites = {}
        for name in self.suites:
            one = self.suite(name)
            if one is not None:
                pairs = {other: list(pair) for other, pair in one.pairs.items()}
                kept = [one.metric, one.higher_is_better, one.n, one.documents, one.ones, pairs]
                suites[name] = [*kept, one.groups] if one.groups else kept
        return [
            self.record,
            self.label,
            self.decision,
            self.policy,
            dict(self.outcomes),
            list(self.planned),
            suites,
            dict(self.names),
        ]

    @classmethod
    def from_json(cls, value: list[Any]) -> Facts:
        """Return the facts that `value` is the kept form of."""
        record, label, decision, policy, outcomes, planned, suites, names = value
        return cls(record, label, decision, policy, outcomes, tuple(planned), suites, names)

    def suite(self, name: str) -> SuiteFacts | None:
        """Return a suite's counts, or None where they are not all."""
        kept: Any = self.suites.get(name)
        return SuiteFacts(*kept) if isinstance(kept, list) else kept


def facts_of(policy: Policy, verdict: Verdict, record: Digest, evidence: Evidence) -> Facts:
    """Return the facts of `verdict`, which `policy` gave on `evidence`."""
    gates, plan = {gate.id: gate for gate in policy.gates}, evidence.own_plan()
    suites = {}
    outcomes = {one.gate: one.outcome for one in verdict.gates}
    for name in policy.suites:
        if all(outcomes[gate.id] is Outcome.MISSING for gate in policy.gates_on(name)):
            continue  # what was measured may not be what the plan says, which counts do not tell
        found = _suite_facts(name, evidence)
        if found is not None:
            suites[name] = found
    return Facts(
        record=record,
        label=verdict.adapter.label,
        decision=verdict.decision.value,
        policy=verdict.policy.digest,
        outcomes={condition_of(policy, gates[one.gate]): one.outcome.value for one in verdict.gates},
        planned=tuple(one.suite.id for one in plan.suites) if plan else (),
        suites=suites,
        names={
            condition_of(policy, gates[one.gate]): one.gate
            for one in verdict.gates
            if one.required and one.outcome is Outcome.INCONCLUSIVE
        },
    )


def _suite_facts(suite: str, evidence: Evidence) -> SuiteFacts | None:
    counted = runs_that_count(suite, evidence)
    if counted is None:
        return None
    run, planned = counted
    if not _plain(run, planned) or unsound(run, evidence) is not None:
        return None
    plan = evidence.own_plan()
    others = {"base": the_base(evidence)}
    for item in (plan and plan.references) or ():
        if item == evidence.reference(item.name):
            runs = tuple(
                one for one in evidence.reference_runs if one.measurement.subject == item.adapter.weights_id
            )
            others[item.name] = Other(item.name, "adapter", item.adapter.weights_id, runs)
    paired = {name: values for name, other in others.items() if (values := _paired(run, other, evidence))}
    return SuiteFacts(
        run.measurement.metric,
        run.measurement.higher_is_better,
        run.measurement.n,
        planned.documents,
        sum(1 for value in run.values if value),
        {name: _differing(run.values, values) for name, values in paired.items()},
        _groups(run, planned, paired),
    )


def _groups(
    run: Rows, planned: PlannedSuite, paired: Mapping[str, tuple[float, ...]]
) -> dict[str, dict[str, dict[str, tuple[int, int, int, int]]]]:
    place = {document: number for number, document in enumerate(run.measurement.samples)}
    beside = {"": (0.0,) * len(run.values), **paired}
    found: dict[str, dict[str, dict[str, tuple[int, int, int, int]]]] = {}
    for column, parts in (planned.groups or {}).items():
        whole = sorted(document for members in parts.values() for document in members) == sorted(place)
        found[column] = {
            name: {
                other: _counts(
                    [run.values[place[document]] for document in members],
                    [values[place[document]] for document in members],
                )
                for other, values in beside.items()
            }
            # A plan whose groups are not its documents is left to the evidence.
            for name, members in (parts.items() if whole else ())
        }
    return found


def _differing(mine: Sequence[float], other: Sequence[float]) -> tuple[int, int]:
    _, gained, lost, _ = _counts(mine, other)
    return gained, lost


def _counts(mine: Sequence[float], other: Sequence[float]) -> tuple[int, int, int, int]:
    table = Counter(zip(mine, other, strict=True))
    return table[1.0, 1.0], table[1.0, 0.0], table[0.0, 1.0], table[0.0, 0.0]


def _plain(run: Rows, planned: PlannedSuite) -> bool:
    return (
        planned.sequential is None
        and planned.cluster is None
        and run.measurement.samples == planned.samples
        and run.measurement.suite == planned.suite
        and counted(run.values, planned.value_range)
    )


def _paired(run: Rows, other: Other, evidence: Evidence) -> tuple[float, ...] | None:
    """Return the other's values beside the run's, if exactly one of its runs pairs and its values are 0 or 1."""
    paired: list[tuple[float, ...]] = []

    def keep(values: tuple[float, ...], _: Rows) -> Judgement:
        paired.append(values)
        return Judgement(Outcome.PASS, "")

    judge_against(other, run, evidence, keep)
    return paired[0] if len(paired) == 1 and is_binary(paired[0]) else None
