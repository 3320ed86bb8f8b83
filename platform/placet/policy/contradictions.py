"""What a policy can contradict itself in, seen without evidence: where, what is wrong there, and how to mend it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from placet.policy.gates.better import BetterGate
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.contamination import ContaminationGate
from placet.policy.gates.evidence_age import EvidenceAgeGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.leakage import LeakageGate
from placet.policy.gates.no_new_failure import NoNewFailureGate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.gates.subgroups import SubgroupsGate
from placet.policy.model import OtherGate, StatisticalGate, SuiteGate
from placet.policy.tiers import RULES, too_lax
from placet.policy.yamltree import Location

if TYPE_CHECKING:
    from placet.policy.schema import Policy


class ContradictionError(ValueError):
    """A policy that contradicts itself: where, and how."""

    def __init__(self, problems: tuple[tuple[Location, str], ...]) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = problems


def contradictions(policy: Policy) -> Iterator[tuple[Location, str]]:
    """Yield where a policy contradicts itself, and how."""
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
    for index, gate in enumerate(policy.gates):
        if gate.waivers is not None and gate.waivers < least.waivers_needed:
            yield (
                ("gates", index, "waivers"),
                f"at least {least.waivers_needed}, as risk tier {policy.risk_tier} asks of every waiver; raise it, or "
                "remove it",
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
            if isinstance(gate, FloorGate | CeilingGate) and not 0.0 <= gate.threshold <= 1.0:
                yield (
                    ("gates", policy.gates.index(gate), "threshold"),
                    "is beyond 0 to 1, and a sequential test is of metrics between 0 and 1 alone; write another, or "
                    "measure with mode: fixed",
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
            if gate.suite != earlier.suite or not _same_metric(gate, earlier):
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
            yield from _apart(index, gate, earlier)


def _same_metric(gate: SuiteGate, other: SuiteGate) -> bool:
    """Return whether two gates on a suite may be about one metric: a suite reports one, named or not."""
    return gate.metric == other.metric or None in {gate.metric, other.metric}


def _apart(index: int, gate: SuiteGate, earlier: SuiteGate) -> Iterator[tuple[Location, str]]:
    """Yield that nothing can pass both gates; a limit that every group keeps is kept by the whole, too."""
    for low, high in ((gate, earlier), (earlier, gate)):
        floor = low.threshold if isinstance(low, FloorGate) else getattr(low, "floor", None)
        ceiling = high.threshold if isinstance(high, CeilingGate) else getattr(high, "ceiling", None)
        if floor is not None and ceiling is not None and floor >= ceiling:
            own = "floor" if gate is low else "ceiling"
            yield (
                ("gates", index, "threshold" if isinstance(gate, FloorGate | CeilingGate) else own),
                f"the floor {floor:g} of {low.id} is not below the ceiling {ceiling:g} of {high.id}, so nothing can "
                "pass both",
            )


def _asks(gate: SuiteGate) -> tuple[object, ...]:
    """Return by what two gates of a kind on a suite may differ and both be meant."""
    if isinstance(gate, SubgroupsGate):
        return (gate.than, gate.by, gate.margin is None, gate.floor is None)
    if isinstance(gate, ContaminationGate):
        return (gate.ngram,)
    return (gate.than,) if isinstance(gate, OtherGate) else ()
