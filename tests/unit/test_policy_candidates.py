"""Many candidates: what may be taken together, and that no harmful share beyond the rate slips in by their number."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from placet.domain.digests import digest_bytes
from placet.domain.records import Decision, LedgerHead, Outcome, PathPoint, Verdict
from placet.policy.candidates import Candidate, choose, e_value_of
from placet.policy.casefile import EvidenceCase
from placet.policy.decide import decide
from placet.policy.fabricate import THEN, fabricate_evidence
from placet.policy.schema import Policy
from tests.support.policies import small_policy

HEAD = LedgerHead(size=1, root="0" * 64)


def policy_of(*gates: dict[str, Any], alpha: float = 0.05, mode: dict[str, Any] | None = None) -> Policy:
    suites = sorted({gate["suite"] for gate in gates if "suite" in gate})
    return small_policy(
        {suite: {"samples": "all", **(mode or {})} for suite in suites},
        [
            {"why": "w", **({"alpha": alpha} if gate["kind"] in {"floor", "ceiling"} else {}), **gate}
            for gate in ({"id": "files", "kind": "intake"}, *gates)
        ],
    )


FLOOR = {"id": "job", "kind": "floor", "suite": "a", "threshold": 0.5}
GOOD, BAD = {"ones": 90, "of": 100}, {"ones": 30, "of": 100}


def verdict(policy: Policy, suites: dict[str, Any], **other: Any) -> Verdict:
    evidence = fabricate_evidence(policy, EvidenceCase.model_validate({"suites": suites, **other}))
    return decide(policy, evidence, HEAD, THEN)


def candidate(name: str, found: Verdict | None) -> Candidate:
    weights = digest_bytes(name.encode())
    return Candidate(name, weights, None if found is None else digest_bytes(name.encode()), found)


def test_a_gate_that_passed_is_worth_one_over_its_alpha() -> None:
    policy = policy_of(FLOOR, alpha=0.02)
    assert e_value_of(policy, verdict(policy, {"a": GOOD})) == (50.0, "job")
    assert e_value_of(policy, verdict(policy, {"a": BAD})) == (0.0, "")
    assert e_value_of(policy, None) == (0.0, "")


def test_facts_limit_nothing_and_advisory_gates_count_for_nothing() -> None:
    facts = policy_of()
    assert e_value_of(facts, verdict(facts, {})) == (math.inf, "")
    advisory = policy_of({**FLOOR, "required": False})
    assert e_value_of(advisory, verdict(advisory, {"a": BAD})) == (math.inf, "")


def test_the_weakest_gate_limits() -> None:
    policy = policy_of(
        {**FLOOR, "alpha": 0.01}, {"id": "calm", "kind": "ceiling", "suite": "b", "threshold": 0.5}
    )
    found = verdict(policy, {"a": GOOD, "b": BAD})
    assert found.decision is Decision.ALLOW
    assert e_value_of(policy, found) == (20.0, "calm")


def test_a_sequential_gate_is_worth_its_capital() -> None:
    policy = policy_of(FLOOR, mode={"mode": "sequential", "claim": "benchmark"})
    found = verdict(policy, {"a": GOOD})
    (result,) = (gate for gate in found.gates if gate.gate == "job")
    assert result.path is not None
    value, gate = e_value_of(policy, found)
    assert gate == "job"
    assert value == pytest.approx(10 ** result.path[-1].to_pass)
    assert value >= 20.0
    certain = result.model_copy(
        update={"path": (*result.path, PathPoint(n=100, to_pass=99.0, to_fail=-99.0))}
    )
    gates = tuple(certain if one is result else one for one in found.gates)
    assert e_value_of(policy, found.model_copy(update={"gates": gates}))[0] == math.inf


def test_rechecked_gates_limit_a_contamination_gate() -> None:
    seen = {"id": "seen", "kind": "contamination", "suite": "a", "max_share": 0.5, "recheck": ["job"]}
    policy = policy_of({**FLOOR, "alpha": 0.1, "required": False}, seen)
    assert e_value_of(policy, verdict(policy, {"a": GOOD})) == (10.0, "seen")


def test_fewer_are_chosen_among_more_candidates() -> None:
    policy = policy_of(FLOOR, alpha=0.01)
    good = [candidate(f"good-{n}", verdict(policy, {"a": GOOD})) for n in range(2)]
    few = choose(policy, [*good, candidate("bad", verdict(policy, {"a": BAD}))], 0.05)
    assert {item.candidate.label for item in few.chosen} == {"good-0", "good-1"}
    assert few.rate_of_all == pytest.approx(3 / (2 * 100))
    unfinished = [candidate(f"left-{n}", None) for n in range(20)]
    many = choose(policy, [*good, *unfinished], 0.05)
    assert many.chosen == ()
    assert many.needed == pytest.approx(22 / (2 * 0.05))
    assert choose(policy, [*good, *unfinished], 0.11).chosen != ()


def test_the_harmful_share_stays_within_the_rate() -> None:
    # Every harmful candidate is at the limit and passes with probability alpha; good ones always pass.
    rng, rate, alpha = random.Random(7), 0.2, 0.05
    policy = policy_of(FLOOR, alpha=alpha)
    allowed = verdict(policy, {"a": GOOD})
    shares = []
    for _ in range(400):
        harmful = [candidate(f"h{n}", allowed if rng.random() < alpha else None) for n in range(16)]
        fine = [candidate(f"g{n}", allowed) for n in range(4)]
        chosen = choose(policy, [*harmful, *fine], rate).chosen
        bad = sum(item.candidate.label.startswith("h") for item in chosen)
        shares.append(bad / len(chosen) if chosen else 0.0)
    assert 0.0 < sum(shares) / len(shares) <= rate


def test_waived_and_denied_adapters_have_shown_nothing() -> None:
    policy = policy_of(FLOOR)
    found = verdict(policy, {"a": {"ones": 52, "of": 100}})
    assert found.decision is Decision.NEEDS_REVIEW
    assert e_value_of(policy, found) == (0.0, "")
    allowed = verdict(policy, {"a": GOOD})
    failed = replace_gate(allowed, "job", Outcome.FAIL)
    assert e_value_of(policy, failed) == (0.0, "job")


def replace_gate(found: Verdict, gate: str, outcome: Outcome) -> Verdict:
    gates = tuple(
        one.model_copy(update={"outcome": outcome}) if one.gate == gate else one for one in found.gates
    )
    return found.model_copy(update={"gates": gates})


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_is_a_share(rate: float) -> None:
    policy = policy_of(FLOOR)
    with pytest.raises(ValueError, match="alpha must be"):
        choose(policy, [replace(candidate("x", None))], rate)
