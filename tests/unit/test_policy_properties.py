"""What must hold for every policy and all evidence: nothing is won by leaving out, adding or shuffling."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from placet.domain.errors import UndecidedError
from placet.domain.records import Decision, LedgerHead, Outcome
from placet.policy.casefile import EvidenceCase
from placet.policy.decide import decide
from placet.policy.evidence import Evidence, Rows
from placet.policy.fabricate import THEN, fabricate_evidence
from placet.policy.gates import KINDS
from placet.policy.schema import Policy
from tests.support.policies import small_policy

HEAD = LedgerHead(size=1, root="0" * 64)
NOW = THEN

POOL: tuple[dict[str, Any], ...] = (
    {"id": "files", "kind": "intake"},
    {"id": "origin", "kind": "provenance"},
    {"id": "job", "kind": "floor", "suite": "a", "threshold": 0.5},
    {"id": "calm", "kind": "ceiling", "suite": "b", "threshold": 0.5},
    {"id": "keep", "kind": "not_worse", "suite": "a", "margin": 0.1},
    {"id": "secret", "kind": "leakage", "suite": "c", "max_recovered": 2, "max_excess": 1},
    {"id": "gain", "kind": "better", "suite": "a", "planning": {"difference": 0.2, "discordance": 0.5}},
    {"id": "pinned", "kind": "no_new_failure", "suite": "a", "documents": ["one", "two"]},
    {"id": "parts", "kind": "subgroups", "suite": "a", "by": "kind", "floor": 0.3},
    {"id": "seen", "kind": "contamination", "suite": "a", "max_share": 0.1},
    {"id": "licences", "kind": "license", "allow": ["Apache-2.0", "CC-BY-4.0"]},
    {"id": "support", "kind": "base_supported"},
    {"id": "card", "kind": "documentation", "sections": ["Limits"]},
    {"id": "recent", "kind": "evidence_age", "max_days": 30},
    {
        "id": "running",
        "kind": "better",
        "suite": "a",
        "than": "channel:live",
        "planning": {"difference": 0.2, "discordance": 0.5},
    },
    {"id": "named", "kind": "not_worse", "suite": "a", "than": "adapter:desk-7", "margin": 0.1},
    {"id": "each", "kind": "subgroups", "suite": "a", "by": "kind", "margin": 0.3},
    {"id": "reseen", "kind": "contamination", "suite": "a", "ngram": 8, "max_share": 0.5, "recheck": ["job"]},
    {
        "id": "judged",
        "kind": "floor",
        "suite": "b",
        "threshold": 0.0,
        "judge_error": {"true_positives": 90, "positives": 100, "true_negatives": 90, "negatives": 100},
    },
    {"id": "soon", "kind": "not_worse", "suite": "d", "margin": 0.2},
    {"id": "sooner", "kind": "floor", "suite": "d", "threshold": 0.2},
    {"id": "clauses", "kind": "floor", "suite": "e", "threshold": 0.2},
    {"id": "clauses-kept", "kind": "not_worse", "suite": "e", "margin": 0.3},
    {"id": "population", "kind": "floor", "suite": "f", "threshold": 0.2},
)
SUITES: dict[str, dict[str, Any]] = {
    "a": {"samples": "all"},
    "b": {"samples": "all"},
    "c": {"samples": "all"},
    "d": {"samples": "all", "mode": "sequential", "claim": "benchmark"},
    "e": {"samples": "all", "cluster": "clause"},
    "f": {"samples": "all", "mode": "sequential", "claim": "population"},
}
ORDERED = ("d", "f")


def test_every_kind_of_gate_is_in_the_pool() -> None:
    assert {gate["kind"] for gate in POOL} == {kind.name for kind in KINDS}


def policy_of(gates: list[dict[str, Any]]) -> Policy:
    suites = sorted({gate["suite"] for gate in gates if "suite" in gate})
    ids = {gate["id"] for gate in gates}
    gates = [
        {**gate, "recheck": [name for name in gate["recheck"] if name in ids]} if "recheck" in gate else gate
        for gate in gates
    ]
    return small_policy(
        {suite: SUITES[suite] for suite in suites}, [{"why": "because", **gate} for gate in gates]
    )


def is_a_policy(gates: list[dict[str, Any]]) -> bool:
    """Whether a policy may have just these gates: the age of nothing cannot be asked for."""
    return any("suite" in gate for gate in gates) or all(gate["kind"] != "evidence_age" for gate in gates)


gate_lists = st.lists(
    st.sampled_from(POOL), min_size=1, max_size=6, unique_by=lambda gate: gate["id"]
).filter(is_a_policy)
cells = {
    "both": st.integers(0, 40),
    "gained": st.integers(0, 40),
    "lost": st.integers(0, 20),
    "neither": st.integers(1, 20),
}
tables = st.fixed_dictionaries(cells)
states = st.sampled_from(["measured"] * 8 + ["missing", "partial", "unplanned", "base-missing"])


@st.composite
def shown(draw: st.DrawFn) -> dict[str, Any]:
    """What a suite shows, in one of the forms that a case may have."""
    form = draw(st.sampled_from(["table", "table", "groups", "values"]))
    if form == "table":
        told = draw(tables)
    elif form == "groups":
        told = {"groups": draw(st.dictionaries(st.sampled_from("xyz"), tables, min_size=1, max_size=3))}
    else:
        levels = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])
        n = draw(st.sampled_from([5, 40]))
        few = draw(st.lists(st.tuples(levels, levels), min_size=1, max_size=5))
        mine, base = zip(*(few[number % len(few)] for number in range(n)), strict=True)
        told = {"values": list(mine), "base_values": list(base)}
    extra = {
        "higher_is_better": st.sampled_from([True] * 3 + [False]),
        "seen": st.sampled_from([0, 0, 0, 1, 3, 30]),
        "compared": st.sampled_from([True] * 4 + [False]),
        "cluster_size": st.sampled_from([1, 2, 7]),
        "reference": st.sampled_from(["base"] * 3 + ["adapter", "perfect", "missing"]),
    }
    return {**told, **draw(st.fixed_dictionaries(extra))}


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Gates, and evidence about every suite that any gate of the pool could ask for."""
    suites = {name: {**draw(shown()), "state": draw(states)} for name in SUITES}
    earlier = {name: draw(shown()) for name in draw(st.sets(st.sampled_from(sorted(SUITES)), max_size=1))}
    return draw(gate_lists), {
        "intake": draw(st.sampled_from(["clean"] * 4 + ["warned", "refused", "missing"])),
        "provenance": draw(
            st.sampled_from(
                ["signed"] * 3 + ["continued"] * 2 + ["unsigned", "missing", "other-base", "parent-missing"]
            )
        ),
        "suites": suites,
        "earlier": earlier,
        "license": draw(st.sampled_from(["Apache-2.0"] * 3 + ["GPL-3.0-only", "unstated"])),
        "data": draw(st.sampled_from(["named"] * 4 + ["unnamed"])),
        "base_status": draw(st.sampled_from(["supported"] * 3 + ["advisory", "end-of-life", "missing"])),
        "card": draw(st.sampled_from(["complete"] * 3 + ["missing", "unreadable"])),
        "age_days": draw(st.sampled_from([1, 1, 60])),
        "release": draw(st.sampled_from(["running"] * 3 + ["none", "changed"])),
        "steadied": draw(st.booleans()),
    }


def evidence_for(policy: Policy, case: dict[str, Any]) -> Evidence:
    kept = {
        key: {s: one for s, one in case[key].items() if s in policy.suites} for key in ("suites", "earlier")
    }
    told = {key: value for key, value in case.items() if key != "steadied"}
    made = fabricate_evidence(policy, EvidenceCase.model_validate({**told, **kept}))
    return steadied(made) if case.get("steadied") else made


def steadied(evidence: Evidence) -> Evidence:
    """Return `evidence` under plans that name the base's run to steady sequential comparisons."""
    whole = {run.measurement.suite.id: run.record for run in evidence.base_runs}
    plans = []
    for entry in evidence.plans:
        suites = tuple(
            one.model_copy(update={"companions": whole.get(one.suite.id) if one.sequential else None})
            for one in entry.plan.suites
        )
        plans.append(replace(entry, plan=entry.plan.model_copy(update={"suites": suites})))
    return replace(evidence, plans=tuple(plans))


def decision(policy: Policy, evidence: Evidence) -> Decision | None:
    """Return the decision; None if there is none."""
    try:
        return decide(policy, evidence, HEAD, NOW).decision
    except UndecidedError:
        return None


ASKED_FOR = ("runs", "training", "overlaps", "references")
"""Of these each gate asks that they are there; of the others, that the worst of what is there passes."""
SINGLE = ("intake", "base_record", "base_status", "card")


def dropping_one(evidence: Evidence, *names: str) -> list[Evidence]:
    """Return every way of leaving out one piece of `evidence`, the ledger's list unchanged."""
    fewer = []
    for name in names:
        items = getattr(evidence, name)
        fewer += [replace(evidence, **{name: items[:i] + items[i + 1 :]}) for i in range(len(items))]
    for name in SINGLE:
        if getattr(evidence, name) is not None:
            fewer.append(replace(evidence, **{name: None}))
    return fewer


def cutting_one(evidence: Evidence) -> list[Evidence]:
    """Return every way of cutting the last value off a run."""
    fewer = []
    for index, run in enumerate(evidence.runs):
        shorter = replace(run, values=run.values[:-1])
        fewer.append(replace(evidence, runs=(*evidence.runs[:index], shorter, *evidence.runs[index + 1 :])))
    return fewer


def unlisted(evidence: Evidence) -> Evidence:
    """Return `evidence` as a ledger that lost the same records would list it."""
    return replace(evidence, listed=tuple(evidence.records()))


@settings(deadline=None, max_examples=40)
@given(situations())
def test_evidence_that_the_ledger_lists_cannot_be_left_out(
    situation: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    gates, case = situation
    policy = policy_of(gates)
    full = evidence_for(policy, case)
    for fewer in dropping_one(full, "plans", "runs", "base_runs", "training", "overlaps", "reference_runs"):
        assert decision(policy, fewer) is None
    for fewer in cutting_one(full):
        assert decision(policy, fewer) is not Decision.ALLOW


@settings(deadline=None, max_examples=150)
@given(situations())
def test_no_refusal_becomes_allow_where_the_ledger_lost_evidence(
    situation: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    gates, case = situation
    policy = policy_of(gates)
    full = evidence_for(policy, case)
    if decision(policy, full) is Decision.ALLOW:
        return
    for fewer in dropping_one(full, *ASKED_FOR):
        assert decision(policy, unlisted(fewer)) is not Decision.ALLOW


GOOD = {"both": 30, "gained": 30, "lost": 0, "neither": 0}
LOW = {"both": 0, "gained": 0, "lost": 0, "neither": 60}
GOOD_GROUPS = {"groups": {"x": GOOD, "y": {**GOOD, "both": 40}}}


@settings(deadline=None, max_examples=60)
@given(gate_lists, st.sampled_from(["signed", "continued"]), st.booleans(), st.sampled_from([0, 3]))
def test_even_a_ledger_that_lost_what_a_gate_needs_yields_no_allow(
    gates: list[dict[str, Any]], provenance: str, grouped: bool, seen: int
) -> None:
    policy = policy_of(gates)
    suites = {
        "a": {**(GOOD_GROUPS if grouped else GOOD), "seen": seen},
        "b": LOW,
        "c": LOW,
        "d": GOOD,
        "e": GOOD,
        "f": GOOD,
    }
    full = evidence_for(policy, {"suites": suites, "earlier": {}, "steadied": True, "provenance": provenance})
    assert decision(policy, full) is Decision.ALLOW
    # The age of evidence is that of what is there: taking a run away makes nothing older.
    needed = {
        record
        for gate in decide(policy, full, HEAD, NOW).gates
        if gate.kind != "evidence_age"
        for record in gate.evidence
    }
    for fewer in dropping_one(full, *ASKED_FOR, "base_runs", "reference_runs"):
        if (set(full.records()) - set(fewer.records())) & needed:
            assert decision(policy, unlisted(fewer)) is not Decision.ALLOW


@settings(deadline=None, max_examples=25)
@given(situations(), st.sampled_from(POOL))
def test_adding_a_gate_never_turns_a_refusal_into_allow(
    situation: tuple[list[dict[str, Any]], dict[str, Any]], extra: dict[str, Any]
) -> None:
    gates, case = situation
    if any(gate["id"] == extra["id"] for gate in gates) or not is_a_policy([*gates, extra]):
        return
    small, large = policy_of(gates), policy_of([*gates, extra])
    before, after = (decision(policy, evidence_for(policy, case)) for policy in (small, large))
    if before is not Decision.ALLOW:
        assert after is not Decision.ALLOW
    if before is Decision.DENY:
        assert after in {Decision.DENY, None}


@settings(deadline=None, max_examples=20)
@given(situations(), st.randoms(use_true_random=False))
def test_sample_order_does_not_change_a_fixed_samples_verdict(
    situation: tuple[list[dict[str, Any]], dict[str, Any]], rng: random.Random
) -> None:
    gates, case = situation
    fixed = [gate for gate in gates if gate.get("suite") not in ORDERED]
    if not fixed or not is_a_policy(fixed):
        return  # a sequential test goes by the order, which the plan draws
    policy = policy_of(fixed)
    evidence = evidence_for(policy, case)
    shuffled = _shuffled(evidence, rng)
    assert decision(policy, shuffled) is decision(policy, evidence)
    if decision(policy, evidence) is not None:
        before, after = (decide(policy, one, HEAD, NOW).gates for one in (evidence, shuffled))
        assert [(gate.outcome, gate.figure, gate.interval) for gate in after] == [
            (gate.outcome, gate.figure, gate.interval) for gate in before
        ]


def _shuffled(evidence: Evidence, rng: random.Random) -> Evidence:
    """Return the same answers to the same documents, planned and run in another order."""
    order: dict[int, float] = {}

    def key(document: int) -> float:
        return order.setdefault(document, rng.random())

    def turned(run: Rows) -> Rows:
        rows = zip(run.measurement.samples, run.values, run.ids, strict=True)
        pairs = sorted(rows, key=lambda pair: key(pair[0]))
        samples = tuple(document for document, _, _ in pairs)
        return replace(
            run,
            measurement=run.measurement.model_copy(update={"samples": samples}),
            values=tuple(value for _, value, _ in pairs),
            ids=tuple(name for _, _, name in pairs),
        )

    plans = []
    for entry in evidence.plans:
        suites = tuple(
            suite.model_copy(update={"samples": tuple(sorted(suite.samples, key=key))})
            for suite in entry.plan.suites
        )
        plans.append(replace(entry, plan=entry.plan.model_copy(update={"suites": suites})))
    return replace(
        evidence,
        plans=tuple(plans),
        runs=tuple(turned(run) for run in evidence.runs),
        base_runs=tuple(turned(run) for run in evidence.base_runs),
        reference_runs=tuple(turned(run) for run in evidence.reference_runs),
    )


@settings(deadline=None, max_examples=20)
@given(situations())
def test_allow_means_that_every_gate_passed(situation: tuple[list[dict[str, Any]], dict[str, Any]]) -> None:
    gates, case = situation
    policy = policy_of(gates)
    evidence = evidence_for(policy, case)
    try:
        verdict = decide(policy, evidence, HEAD, NOW)
    except UndecidedError:
        return
    outcomes = {gate.outcome for gate in verdict.gates}
    assert (verdict.decision is Decision.ALLOW) == (outcomes == {Outcome.PASS})
    assert len(verdict.gates) == len(policy.gates)
    assert all(gate.reason and gate.why for gate in verdict.gates)
    assert all(gate.fix for gate in verdict.gates if gate.outcome is not Outcome.PASS)
