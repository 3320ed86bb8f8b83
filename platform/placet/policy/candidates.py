"""Choosing among many candidates: which of those that a policy allows may be taken together. Pure.

A policy's verdict errs at the margin with probability `alpha` for each adapter, so of a hundred harmful ones some five
are allowed, and among those taken they may be the most. Guarantees: of the candidates chosen at a rate, a share of at
most that rate is harmful on average, however they hang together (e-BH). What counts as a candidate is every set of
weights that was planned under the policy; one without a verdict, or not allowed, has shown nothing and still counts.

An adapter is harmful if it is beyond the limit of any required gate. Its e-value is therefore the least of its gates':
the capital of a sequential test; 1 / `alpha` for another test that passed at `alpha`, 0 for one that did not; and
without bound for a gate that states a fact and rests on no sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from placet.domain.digests import Digest
from placet.domain.records import Decision, GateResult, Outcome, Verdict
from placet.policy.gates.contamination import ContaminationGate
from placet.policy.model import Gate, StatisticalGate
from placet.policy.schema import Policy
from placet.policy.sequential import CERTAIN
from placet.stats.multiplicity import e_bh


@dataclass(frozen=True, slots=True)
class Candidate:
    """Weights that were planned under a policy, with their newest verdict.

    Attributes:
        label: The adapter.
        weights_id: Its weights.
        record: Record id of the verdict; None if there is none.
        verdict: The verdict.
    """

    label: str
    weights_id: Digest
    record: Digest | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a candidate has shown, and whether it is among those chosen.

    Attributes:
        candidate: Which.
        e_value: The evidence against its being harmful.
        gate: The gate that it rests on; empty where no gate limits it or none was passed.
        chosen: Whether it is chosen.
    """

    candidate: Candidate
    e_value: float
    gate: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """All candidates, those that have shown most first.

    Attributes:
        weighed: The candidates.
        rate: The greatest share of harmful ones, on average, among those chosen.
        needed: The e-value that each of the allowed ones would need for all of them to be chosen; None if none is.
        rate_of_all: The least rate at which all that are allowed are chosen; None if none is allowed.
    """

    weighed: tuple[Weighed, ...]
    rate: float
    needed: float | None
    rate_of_all: float | None

    @property
    def chosen(self) -> tuple[Weighed, ...]:
        """Those chosen."""
        return tuple(item for item in self.weighed if item.chosen)


def choose(policy: Policy, candidates: Sequence[Candidate], rate: float) -> Choice:
    """Return which of `candidates` may be taken so that at most the share `rate` of them is harmful on average.

    Args:
        policy: The policy that they were judged under.
        candidates: All of them, those that failed too: leaving one out makes the rate untrue.
        rate: Between 0 and 1.

    Raises:
        ValueError: No candidates, or `rate` is not between 0 and 1.
    """
    shown = [e_value_of(policy, item.verdict) for item in candidates]
    taken = e_bh([value for value, _ in shown], rate)
    weighed = [
        Weighed(candidate, value, gate, chosen)
        for candidate, (value, gate), chosen in zip(candidates, shown, taken, strict=True)
    ]
    allowed = [value for value, _ in shown if value > 0.0]
    count, most = len(candidates), len(allowed)
    return Choice(
        tuple(sorted(weighed, key=lambda item: (-item.e_value, item.candidate.label))),
        rate,
        needed=count / (most * rate) if most else None,
        rate_of_all=count / (most * min(allowed)) if most else None,
    )


def e_value_of(policy: Policy, verdict: Verdict | None) -> tuple[float, str]:
    """Return the evidence that a verdict under `policy` holds against harm, and the gate that limits it.

    0 unless every required gate passed.
    """
    if verdict is None or verdict.decision is not Decision.ALLOW:
        return 0.0, ""
    gates = {gate.id: gate for gate in policy.gates}
    least, limiting = math.inf, ""
    for result in verdict.gates:
        if not result.required:
            continue
        value = _shown(gates, gates[result.gate], result)
        if value < least:
            least, limiting = value, result.gate
    return least, limiting


def _shown(gates: dict[str, Gate], gate: Gate, result: GateResult) -> float:
    if result.outcome is not Outcome.PASS:
        return 0.0
    if isinstance(gate, ContaminationGate):
        rechecked = (gates[name] for name in gate.recheck)
        return min((_at_least(other) for other in rechecked), default=math.inf)
    if result.path and isinstance(gate, StatisticalGate):
        last = result.path[-1].to_pass
        return math.inf if last >= CERTAIN else max(10.0**last, _at_least(gate))
    return _at_least(gate)


def _at_least(gate: Gate) -> float:
    """Return the e-value of having passed: 1 / alpha on passing and 0 otherwise is 1 at most on average, under harm."""
    return 1.0 / gate.alpha if isinstance(gate, StatisticalGate) else math.inf
