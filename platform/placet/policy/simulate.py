"""What would another policy have decided? Past verdicts, tried under it.

Guarantees: a gate that asks what the old policy asked keeps its outcome; one that asks something else of counted values
is judged by the very tests of a real verdict, on the counts; one that rests on no suite is judged on what is kept of
the evidence beside the values; every other is left to :func:`decide` on the evidence itself. So a simulated decision is
the decision. What the old plan did not measure is MISSING, as it would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache

from placet.domain.digests import Digest
from placet.domain.errors import UndecidedError
from placet.domain.progress import NullProgress, Progress, tracked
from placet.domain.records import Decision, Outcome, PlannedSuite, PolicyRef, Sequential, Verdict
from placet.policy.about import About, outcome_about
from placet.policy.conditions import condition_of
from placet.policy.decide import decide
from placet.policy.evidence import Evidence, RecordedPlan
from placet.policy.facts import Facts, Signed, SuiteFacts
from placet.policy.gates.better import BetterGate
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.gates.subgroups import SubgroupsGate, outcome_by_group
from placet.policy.model import OtherGate, StatisticalGate, SuiteGate
from placet.policy.schema import DEFAULT_CHUNK, Policy
from placet.stats.exact import least_gained
from placet.stats.noninferiority import judge_ceiling, judge_floor
from placet.stats.proportion import clopper_pearson

_READING = "reading the evidence of past verdicts"
_DAY_S = 86_400

UNDECIDED = "undecided"
"""The decision of a policy that could not decide."""

EvidenceOf = Callable[[Digest], tuple[Verdict, Evidence]]
"""Gives the verdict of a record id, and the evidence it rests on."""

AboutOf = Callable[[Digest], About | None]
"""Gives what is kept of a verdict's evidence beside what was measured; None where nothing is."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A past verdict that another policy would not have given.

    Attributes:
        record: Its record id.
        label: The adapter.
        before: What was decided.
        after: What would have been: a decision, or ``undecided``.
        gates: Gates of the new policy that do not pass, each with its outcome.
        released: Channels that the adapter was released to on that verdict.
        lacking: What those releases lack under the new policy: a decision that can be approved, approvals, waivers.
    """

    record: Digest
    label: str
    before: str
    after: str
    gates: tuple[tuple[str, str], ...]
    released: tuple[str, ...]
    lacking: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether a release was made that would not have been: by the decision, or for want of people who signed."""
        return bool(self.lacking)


@dataclass(frozen=True, slots=True)
class Simulation:
    """All past verdicts under another policy.

    Attributes:
        policy: The policy tried.
        verdicts: How many were tried.
        flips: Those that come out otherwise, in the order given.
        from_counts: How many were decided without reading their evidence.
    """

    policy: PolicyRef
    verdicts: int
    flips: tuple[Flip, ...]
    from_counts: int


def simulate(
    policy: Policy,
    past: Iterable[Facts],
    evidence_of: EvidenceOf,
    about_of: AboutOf = lambda _: None,
    *,
    progress: Progress | None = None,
) -> Simulation:
    """Return how `policy` decides what was decided in `past`.

    Args:
        policy: The policy to try.
        past: Facts of past verdicts.
        evidence_of: Reads a verdict's evidence, where its facts do not say enough.
        about_of: Gives what is kept beside the counts, for gates that rest on no suite.
        progress: Listens; told of verdicts whose evidence has to be read.

    Raises:
        IntegrityError: Evidence that had to be read does not verify.
    """
    conditions = {gate.id: condition_of(policy, gate) for gate in policy.gates}
    everything = list(past)
    decided = [_outcomes(policy, conditions, facts, about_of) for facts in everything]
    unread = decided.count(None)
    flips = []
    with tracked(progress or NullProgress(), _READING, unread, "verdicts") if unread else nullcontext():
        for facts, outcomes in zip(everything, decided, strict=True):
            if outcomes is None:
                after, outcomes = decide_anew(policy, *evidence_of(facts.record))
                (progress or NullProgress()).advance(_READING)
            else:
                after = _decision(policy, outcomes)
            lacking = tuple(dict.fromkeys(lacking_of(policy, conditions, facts, after, outcomes)))
            if after != facts.decision or lacking:
                gates = tuple((gate, one.value) for gate, one in outcomes.items() if one is not Outcome.PASS)
                channels = tuple(dict.fromkeys(one.channel for one in facts.released))
                flip = Flip(facts.record, facts.label, facts.decision, after, gates, channels, lacking)
                flips.append(flip)
    return Simulation(policy.ref, len(everything), tuple(flips), len(everything) - unread)


def lacking_of(
    policy: Policy,
    conditions: Mapping[str, str],
    facts: Facts,
    after: str,
    outcomes: Mapping[str, Outcome],
) -> Iterator[str]:
    """Yield what the releases on a verdict lack under `policy`, which decides `after` with these outcomes.

    Who signed then is taken to have signed now: approvals and waivers of a gate that has the same id, or asks the same.
    """
    for release in facts.released:
        if after not in {Decision.ALLOW.value, Decision.NEEDS_REVIEW.value}:
            yield f"{release.channel}: {after} cannot be approved"
            continue
        counted = _counting(policy, release.approvals)
        if counted < policy.review.approvals:
            yield f"{release.channel}: {counted} of {policy.review.approvals} approvals"
        for gate in policy.gates:
            if not gate.required or outcomes[gate.id] is not Outcome.INCONCLUSIVE:
                continue
            if not gate.waivable:
                yield f"{release.channel}: gate {gate.id} cannot be waived"
                continue
            needed = gate.waivers if gate.waivers is not None else policy.review.waivers_needed
            before = facts.names.get(conditions[gate.id], gate.id)
            signed = release.waivers.get(gate.id) or release.waivers.get(before, ())
            counted = _counting(policy, signed)
            if counted < needed:
                yield f"{release.channel}: {counted} of {needed} waivers of gate {gate.id}"


def _counting(policy: Policy, signed: Iterable[Signed]) -> int:
    """Return how many people's signatures count under a policy's review rule."""
    barred, term = set(policy.review.separate_from), policy.review.valid_days * _DAY_S
    return len({one.person for one in signed if not barred & set(one.parts) and one.age_s <= term})


def decide_anew(policy: Policy, verdict: Verdict, evidence: Evidence) -> tuple[str, dict[str, Outcome]]:
    """Return what `policy` decides on the evidence of a past verdict, and each gate's outcome.

    The plans made under the old policy are taken for plans under this one.
    """
    old = verdict.policy.digest

    def plan(entry: RecordedPlan) -> RecordedPlan:
        if entry.plan.policy.digest != old:
            return entry
        suites = tuple(_as_planned(policy, one) for one in entry.plan.suites)
        changed = entry.plan.model_copy(update={"policy": policy.ref, "suites": suites})
        return replace(entry, plan=changed)  # `decide` says what this policy asks of it

    asked = replace(evidence, policy=policy.ref, plans=tuple(plan(entry) for entry in evidence.plans))
    try:
        again = decide(policy, asked, verdict.head, verdict.decided_at)
    except UndecidedError:
        return UNDECIDED, {}
    return again.decision.value, {gate.gate: gate.outcome for gate in again.gates}


def _as_planned(policy: Policy, planned: PlannedSuite) -> PlannedSuite:
    """Return a suite of an old plan as this policy would have it looked at; what was run stays what it was.

    Where the plan does not tell the clusters that this policy names, the gate is MISSING, as it would be.
    """
    sampling = policy.suites.get(planned.suite.id)
    if sampling is None:
        return planned
    sequential = None
    if sampling.mode == "sequential" and sampling.claim is not None:
        sequential = Sequential(claim=sampling.claim, chunk=sampling.chunk or DEFAULT_CHUNK)
    return planned.model_copy(update={"sequential": sequential, "cluster": sampling.cluster})


def _outcomes(
    policy: Policy, conditions: dict[str, str], facts: Facts, about_of: AboutOf
) -> dict[str, Outcome] | None:
    """Return each gate's outcome, or None if one cannot be told without the evidence."""
    found = {}
    for gate in policy.gates:
        recorded = facts.outcomes.get(conditions[gate.id])
        if recorded is not None:
            found[gate.id] = Outcome(recorded)
            continue
        if isinstance(gate, SuiteGate):
            outcome = _counted(policy, gate, facts)
        else:
            about = about_of(facts.record)
            outcome = None if about is None else outcome_about(gate, about)
        if outcome is None:
            return None
        found[gate.id] = outcome
    return found


def _counted(policy: Policy, gate: SuiteGate, facts: Facts) -> Outcome | None:
    """Return a gate's outcome from counts alone, or None if they do not say it."""
    if gate.suite not in facts.planned:
        return Outcome.MISSING
    if not isinstance(gate, StatisticalGate):
        return None
    sampling, counts = policy.suites[gate.suite], facts.suite(gate.suite)
    plain = sampling.mode == "fixed" and sampling.cluster is None and gate.judge_error is None
    if counts is None or not plain or gate.metric not in {None, counts.metric}:
        return None
    if counts.n != (policy.samples_of(gate.suite) or counts.documents):
        return Outcome.MISSING
    if isinstance(gate, FloorGate | CeilingGate):
        return _mean_outcome(isinstance(gate, FloorGate), counts.ones, counts.n, gate.threshold, gate.alpha)
    if isinstance(gate, NotWorseGate | BetterGate):
        limit = -gate.margin if isinstance(gate, NotWorseGate) else gate.by
        return _paired(gate, counts, limit)
    return _grouped(gate, counts) if isinstance(gate, SubgroupsGate) else None


def _grouped(gate: SubgroupsGate, counts: SuiteFacts) -> Outcome | None:
    other = "" if gate.margin is None else gate.than
    if gate.margin is not None and other not in counts.pairs:
        return None
    if gate.by not in counts.groups:
        return Outcome.MISSING  # the plan does not say which documents are in which group
    parts = counts.values_by_group(gate.by, other)
    return None if parts is None else outcome_by_group(gate, parts, higher_is_better=counts.higher_is_better)


def _paired(gate: OtherGate, counts: SuiteFacts, limit: float) -> Outcome | None:
    pair = counts.pairs.get(gate.than)
    if pair is None:
        return None
    gained, lost = pair if counts.higher_is_better else (pair[1], pair[0])
    alpha: float = getattr(gate, "alpha")  # noqa: B009 - both kinds have it
    return difference_outcome(gained, lost, counts.n, limit, alpha)


@lru_cache(maxsize=1 << 16)
def _mean_outcome(floor: bool, ones: int, n: int, threshold: float, alpha: float) -> Outcome:
    bounds = clopper_pearson(ones, n, alpha).rounded_outward()
    return judge_floor(bounds, threshold) if floor else judge_ceiling(bounds, threshold)


@lru_cache(maxsize=1 << 16)
def difference_outcome(gained: int, lost: int, n: int, limit: float, alpha: float) -> Outcome:
    """Return the outcome of a paired difference against `limit`, more being better, by the exact test alone.

    It is that of :func:`placet.policy.differences.outcome_of` on the exact interval, which is put on the side of the
    limit on which this test puts it; a test's table for one number of differing documents serves every verdict.
    """
    differing = gained + lost
    if gained >= least_gained(differing, n, -limit, alpha):
        return Outcome.PASS
    if (gained - lost) / n >= limit:
        return Outcome.INCONCLUSIVE
    return Outcome.FAIL if lost >= least_gained(differing, n, limit, alpha) else Outcome.INCONCLUSIVE


def _decision(policy: Policy, outcomes: dict[str, Outcome]) -> str:
    required = {outcomes[gate.id] for gate in policy.gates if gate.required}
    if Outcome.ERROR in required:
        return UNDECIDED
    if required & {Outcome.FAIL, Outcome.MISSING}:
        return Decision.DENY.value
    return (Decision.ALLOW if required == {Outcome.PASS} else Decision.NEEDS_REVIEW).value
