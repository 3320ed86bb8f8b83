"""Another policy tried on past verdicts decides as it would have: from counts, or from the evidence."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.domain.digests import digest_bytes
from placet.domain.errors import UndecidedError
from placet.domain.records import Decision, LedgerHead, Outcome, Verdict
from placet.policy.about import about_from, kept_about
from placet.policy.casefile import EvidenceCase
from placet.policy.conditions import condition_of
from placet.policy.decide import decide
from placet.policy.diff import diff_policies
from placet.policy.evidence import Evidence
from placet.policy.fabricate import THEN, fabricate_evidence
from placet.policy.facts import Facts, ReleaseFacts, Signed, facts_of
from placet.policy.loader import parse_policy
from placet.policy.schema import Policy
from placet.policy.simulate import Flip, decide_anew, difference_outcome, simulate
from placet.stats.mean import difference_bounds

HEAD = LedgerHead(size=1, root="0" * 64)
RECORD = digest_bytes(b"verdict")
TOP = """\
id: p
version: "VERSION"
title: t
description: d
risk_tier: minimal
risk: r
review: {approvals: 1, valid_days: 1}
"""


def policy_of(
    *gates: str, suites: str = "{a: {samples: all}, b: {samples: all}}", version: str = "1"
) -> Policy:
    lines = "".join(f"  - {{why: w, {gate}}}\n" for gate in gates)
    used = f"suites: {suites}\ngates:\n"
    return parse_policy(TOP.replace("VERSION", version) + used + lines)


OLD = policy_of(
    "id: job, kind: floor, suite: a, threshold: 0.5",
    "id: keep, kind: not_worse, suite: b, margin: 0.05",
    "id: files, kind: intake",
)


def decided(policy: Policy, suites: dict[str, Any], **other: Any) -> tuple[Verdict, Evidence]:
    evidence = fabricate_evidence(policy, EvidenceCase.model_validate({"suites": suites, **other}))
    return decide(policy, evidence, HEAD, THEN), evidence


def no_evidence(_: str) -> tuple[Verdict, Evidence]:
    raise AssertionError("the counts are enough")


def kept(facts: Facts, released: tuple[ReleaseFacts, ...] = ()) -> Facts:
    """Return `facts` as they come back from where they are kept."""
    releases = tuple(ReleaseFacts.from_json(json.loads(json.dumps(one.to_json()))) for one in released)
    return replace(Facts.from_json(json.loads(json.dumps(facts.to_json()))), released=releases)


tables = st.fixed_dictionaries(
    {
        "both": st.integers(0, 80),
        "gained": st.integers(0, 20),
        "lost": st.integers(0, 20),
        "neither": st.integers(1, 40),
    }
)
higher = st.booleans()
thresholds = st.sampled_from(["0.10", "0.35", "0.50", "0.62", "0.80"])
new_gates = st.fixed_dictionaries(
    {},
    optional={
        "id: job, kind: floor, suite: a, threshold: X": thresholds,
        "id: calm, kind: ceiling, suite: b, threshold: X": thresholds,
        "id: keep, kind: not_worse, suite: b, margin: X": st.sampled_from(["0.01", "0.05", "0.15"]),
        "id: gain, kind: better, suite: b, planning: {difference: 0.2, discordance: 0.5}": st.just(""),
        "id: files, kind: intake": st.just(""),
        "id: origin, kind: provenance": st.just(""),
        "id: old, kind: evidence_age, max_days: 9": st.just(""),
    },
).filter(bool)


@settings(deadline=None, max_examples=25)
@given(new_gates, tables, tables, higher, st.sampled_from(["clean", "refused", "missing"]))
def test_a_simulated_decision_is_the_decision(
    chosen: dict[str, str], a: dict[str, int], b: dict[str, int], up: bool, intake: str
) -> None:
    gates = [gate.replace("X", value) for gate, value in chosen.items()]
    suites = {"a": a, "b": {**b, "higher_is_better": up}}
    verdict, evidence = decided(OLD, suites, intake=intake)
    used = [name for name in ("a", "b") if any(f"suite: {name}" in gate for gate in gates)]
    if not used and any("evidence_age" in gate for gate in gates):
        return  # no policy: nothing is measured that could have an age
    listed = "{" + ", ".join(f"{name}: {{samples: all}}" for name in used) + "}"
    new = policy_of(*gates, suites=listed, version="2")
    again = fabricate_evidence(
        new,
        EvidenceCase.model_validate({"suites": {name: suites[name] for name in used}, "intake": intake}),
    )
    try:
        expected = decide(new, again, HEAD, THEN).decision.value
    except UndecidedError:
        expected = "undecided"
    facts = kept(facts_of(OLD, verdict, RECORD, evidence))
    done = simulate(new, [facts], lambda _: (verdict, evidence))
    after = done.flips[0].after if done.flips else verdict.decision.value
    assert after == expected
    assert decide_anew(new, verdict, evidence)[0] == expected


@settings(deadline=None, max_examples=25)
@given(tables, st.sampled_from([-0.1, -0.05, -0.02, 0.0, 0.05]))
def test_counts_decide_as_the_recorded_interval_does(table: dict[str, int], limit: float) -> None:
    n = sum(table.values())
    mine = (1.0,) * (table["both"] + table["gained"]) + (0.0,) * (table["lost"] + table["neither"])
    base = (
        (1.0,) * table["both"] + (0.0,) * table["gained"] + (1.0,) * table["lost"] + (0.0,) * table["neither"]
    )
    bounds = difference_bounds(mine, base, 0.05, limit=limit).rounded_outward()
    expected = (
        Outcome.PASS if bounds.low > limit else Outcome.FAIL if bounds.high < limit else Outcome.INCONCLUSIVE
    )
    assert difference_outcome(table["gained"], table["lost"], n, limit, 0.05) is expected


grouped = st.lists(tables, min_size=1, max_size=4).map(
    lambda found: {"groups": {f"g{number}": table for number, table in enumerate(found)}}
)
READ = policy_of(
    "id: job, kind: floor, suite: a, threshold: 0.5",
    "id: parts, kind: subgroups, suite: b, by: kind, floor: 0.3",
    "id: now, kind: better, suite: b, than: channel:live, planning: {difference: 0.2, discordance: 0.5}",
)
other_gates = st.sets(
    st.sampled_from(
        [
            "id: each, kind: subgroups, suite: b, by: kind, floor: 0.4",
            "id: kept, kind: subgroups, suite: b, by: kind, margin: 0.1, min_documents: 30",
            "id: most, kind: subgroups, suite: b, by: kind, ceiling: 0.7, alpha: 0.1",
            "id: other, kind: subgroups, suite: b, by: colour, margin: 0.2",
            "id: live, kind: subgroups, suite: b, by: kind, margin: 0.3, than: channel:live",
            "id: licences, kind: license, allow: [Apache-2.0, CC-BY-4.0]",
            "id: card, kind: documentation, fields: [license], sections: [Limits]",
            "id: support, kind: base_supported, stated_within_days: 30",
            "id: files, kind: intake, checks: [made-up]",
            "id: origin, kind: provenance",
            "id: recent, kind: evidence_age, max_days: 20",
        ]
    ),
    min_size=1,
).filter(lambda chosen: "suite: " in str(chosen) or "evidence_age" not in str(chosen))
ABOUTS = st.fixed_dictionaries(
    {},
    optional={
        "intake": st.sampled_from(["clean", "warned", "refused", "errored", "missing"]),
        "provenance": st.sampled_from(["signed", "continued", "unsigned", "missing", "other-base"]),
        "license": st.sampled_from(["Apache-2.0", "GPL-3.0-only", "unstated"]),
        "data_license": st.sampled_from(["CC-BY-4.0", "unstated"]),
        "base_status": st.sampled_from(
            ["supported", "advisory", "end-of-life", "stale", "missing", "unregistered"]
        ),
        "card": st.sampled_from(["complete", "missing", "unreadable"]),
        "age_days": st.integers(0, 60),
        "release": st.sampled_from(["running", "none", "changed"]),
    },
)


@settings(deadline=None, max_examples=60)
@given(other_gates, grouped, higher, ABOUTS)
def test_other_kinds_of_gates_are_decided_from_what_is_kept(
    chosen: set[str], b: dict[str, Any], up: bool, about: dict[str, Any]
) -> None:
    suites = {"a": {"both": 30, "gained": 4, "lost": 2, "neither": 9}, "b": {**b, "higher_is_better": up}}
    verdict, evidence = decided(READ, suites, **about)
    used = "{b: {samples: all}}" if any("suite: b" in gate for gate in chosen) else "{}"
    new = policy_of(*sorted(chosen), suites=used, version="2")
    shared: dict[str, Any] = {}
    about_kept = json.loads(json.dumps([kept_about(verdict, evidence, shared), shared]))
    facts = kept(facts_of(READ, verdict, RECORD, evidence))
    read: list[str] = []

    def evidence_of(record: str) -> tuple[Verdict, Evidence]:
        read.append(record)
        return verdict, evidence

    done = simulate(new, [facts], evidence_of, lambda _: about_from(*about_kept))
    expected, outcomes = decide_anew(new, verdict, evidence)
    after = done.flips[0].after if done.flips else verdict.decision.value
    assert after == expected
    if done.flips and after != "undecided":
        failing = {gate: one.value for gate, one in outcomes.items() if one is not Outcome.PASS}
        assert dict(done.flips[0].gates) == failing
    against_release = any("channel:live" in gate for gate in chosen)
    assert not read or against_release, "only a comparison that was not sound is read again"


GOOD = {
    "a": {"both": 70, "gained": 10, "lost": 5, "neither": 15},
    "b": {"both": 150, "gained": 9, "lost": 6, "neither": 35},
}


@pytest.mark.parametrize(
    ("gates", "gate", "outcome"),
    [
        (("id: job, kind: floor, suite: a, threshold: 0.9",), "job", "FAIL"),
        (("id: keep, kind: not_worse, suite: b, margin: 0.01",), "keep", "INCONCLUSIVE"),
        (
            ("id: gain, kind: better, suite: b, planning: {difference: 0.2, discordance: 0.5}",),
            "gain",
            "INCONCLUSIVE",
        ),
    ],
)
def test_a_flip_names_the_verdict_and_the_gates(gates: tuple[str, ...], gate: str, outcome: str) -> None:
    verdict, evidence = decided(OLD, GOOD)
    facts = facts_of(OLD, verdict, RECORD, evidence)
    suite = "a" if "suite: a" in gates[0] else "b"
    done = simulate(policy_of(*gates, suites=f"{{{suite}: {{samples: all}}}}"), [facts], no_evidence)
    (flip,) = done.flips
    assert (flip.record, flip.before, flip.gates) == (RECORD, "ALLOW", ((gate, outcome),))
    assert done.from_counts == 1
    assert not flip.refused, "it was never released"


def test_other_names_reasons_and_waivers_change_no_outcome() -> None:
    verdict, evidence = decided(OLD, GOOD)
    facts = facts_of(OLD, verdict, RECORD, evidence)
    renamed = policy_of(
        "id: work, kind: floor, suite: a, threshold: 0.5, waivable: true",
        "id: hold, kind: not_worse, suite: b, margin: 0.05",
        "id: bytes, kind: intake",
        version="2",
    )
    assert simulate(renamed, [facts], no_evidence).flips == ()
    assert {condition_of(OLD, gate) for gate in OLD.gates} == {
        condition_of(renamed, gate) for gate in renamed.gates
    }


def test_what_was_not_measured_is_missing() -> None:
    verdict, evidence = decided(OLD, GOOD)
    facts = facts_of(OLD, verdict, RECORD, evidence)
    new = policy_of("id: more, kind: floor, suite: c, threshold: 0.5", suites="{c: {samples: all}}")
    (flip,) = simulate(new, [facts], no_evidence).flips
    assert (flip.after, flip.gates) == ("DENY", (("more", "MISSING"),))


def test_what_counts_do_not_say_is_read_from_the_evidence() -> None:
    verdict, evidence = decided(OLD, GOOD, card="missing")
    facts = facts_of(OLD, verdict, RECORD, evidence)
    new = policy_of("id: card, kind: documentation, sections: [Limits]", suites="{}")
    done = simulate(new, [facts], lambda _: (verdict, evidence))
    assert (done.from_counts, done.flips[0].after) == (0, "DENY")


def test_two_runs_of_one_suite_are_left_to_the_evidence() -> None:
    verdict, evidence = decided(
        OLD, GOOD, earlier={"b": {"both": 100, "gained": 0, "lost": 60, "neither": 40}}
    )
    facts = facts_of(OLD, verdict, RECORD, evidence)
    assert set(facts.suites) == {"a"}
    new = policy_of("id: keep, kind: not_worse, suite: b, margin: 0.04", suites="{b: {samples: all}}")
    done = simulate(new, [facts], lambda _: (verdict, evidence))
    assert done.from_counts == 0
    assert decide_anew(new, verdict, evidence)[0] == "DENY"


ANN, BEN = Signed("Ann", (), 3600.0), Signed("Ben", (), 3600.0)


def test_a_release_that_would_have_been_refused_is_told() -> None:
    verdict, evidence = decided(OLD, GOOD)
    facts = facts_of(OLD, verdict, RECORD, evidence)
    released = replace(facts, released=(ReleaseFacts("production", (ANN,)),))
    new = policy_of("id: job, kind: floor, suite: a, threshold: 0.9", suites="{a: {samples: all}}")
    (flip,) = simulate(new, [kept(released, released.released)], no_evidence).flips
    assert flip.refused
    assert flip.released == ("production",)
    assert flip.lacking == ("production: DENY cannot be approved",)
    # What never was released lacks nothing.
    (flip,) = simulate(new, [facts], no_evidence).flips
    assert (flip.refused, flip.lacking) == (False, ())


WAIVED = policy_of(
    "id: job, kind: floor, suite: a, threshold: 0.75, waivable: true, waivers: 1",
    "id: keep, kind: not_worse, suite: b, margin: 0.05",
    version="w",
)
SHOWN = {"a": {"ones": 78, "of": 100}, "b": GOOD["b"]}


def waived(
    *gates: str, review: str = "", waivers: dict[str, tuple[Signed, ...]] | None = None
) -> Flip | None:
    """Return how a release that rested on a waived gate fares under a policy with these gates."""
    verdict, evidence = decided(WAIVED, SHOWN)
    assert verdict.decision is Decision.NEEDS_REVIEW
    facts = facts_of(WAIVED, verdict, RECORD, evidence)
    signed = {"job": (BEN,)} if waivers is None else waivers
    released = replace(facts, released=(ReleaseFacts("live", (ANN,), signed),))
    policy = policy_of(*gates)
    if review:
        text = TOP.replace("VERSION", "1").replace("{approvals: 1, valid_days: 1}", review)
        lines = "".join(f"  - {{why: w, {gate}}}\n" for gate in gates)
        policy = parse_policy(f"{text}suites: {{a: {{samples: all}}, b: {{samples: all}}}}\ngates:\n{lines}")
    done = simulate(policy, [kept(released, released.released)], no_evidence)
    assert len(done.flips) < 2
    return done.flips[0] if done.flips else None


JOB = "id: job, kind: floor, suite: a, threshold: 0.75, waivable: true, waivers: 1"
KEEP = "id: keep, kind: not_worse, suite: b, margin: 0.05"


def test_a_waived_release_stands_where_nothing_more_is_asked() -> None:
    assert waived(JOB, KEEP) is None
    assert waived(JOB.replace("id: job", "id: work"), KEEP) is None, "another name asks nothing else"
    assert waived(JOB.replace("0.75", "0.76"), KEEP) is None, (
        "the waiver was of that gate, and it is still open"
    )


@pytest.mark.parametrize(
    ("gates", "review", "lacking"),
    [
        (("id: job, kind: floor, suite: a, threshold: 0.75", KEEP), "", "gate job cannot be waived"),
        ((JOB.replace("waivers: 1", "waivers: 2"), KEEP), "", "1 of 2 waivers of gate job"),
        ((JOB, KEEP.replace("0.05", "0.01")), "", "gate keep cannot be waived"),
        ((JOB, KEEP.replace("0.05", "0.01, waivable: true")), "", "0 of 2 waivers of gate keep"),
        ((JOB, KEEP), "{approvals: 2, valid_days: 1}", "1 of 2 approvals"),
    ],
)
def test_a_release_for_which_others_would_have_had_to_sign_is_refused(
    gates: tuple[str, ...], review: str, lacking: str
) -> None:
    flip = waived(*gates, review=review)
    assert flip is not None
    assert (flip.before, flip.after) == ("NEEDS_REVIEW", "NEEDS_REVIEW")
    assert flip.refused
    assert flip.lacking == (f"live: {lacking}",)


@pytest.mark.parametrize(
    ("signed", "separate", "counted"),
    [
        (Signed("Ann", ("trainer",), 60.0), "[submitter]", True),
        (Signed("Ann", ("trainer",), 60.0), "[trainer, submitter]", False),
        (Signed("Ann", ("submitter",), 60.0), "[submitter]", False),
        (Signed("Ann", (), 2 * 86_400.0), "[submitter]", False),
    ],
)
def test_who_may_sign_and_for_how_long_is_asked_of_past_signatures(
    signed: Signed, separate: str, counted: bool
) -> None:
    verdict, evidence = decided(OLD, GOOD)
    facts = facts_of(OLD, verdict, RECORD, evidence)
    released = replace(facts, released=(ReleaseFacts("live", (signed, signed)),))
    text = TOP.replace("VERSION", "1").replace("valid_days: 1", f"valid_days: 1, separate_from: {separate}")
    policy = parse_policy(text + "suites: {}\ngates:\n  - {id: files, kind: intake, why: w}\n")
    flips = simulate(policy, [released], no_evidence).flips
    assert [flip.lacking for flip in flips] == ([] if counted else [("live: 0 of 1 approvals",)])


PLAIN, TWO = "{a: {samples: all}}", "id: job, kind: floor, suite: a, threshold: 0.5"
BY_PATIENT = "id: each, kind: subgroups, suite: a, by: patient, floor: 0.01"
MEASURED = {"ones": 60, "of": 100, "cluster_size": 20}


def as_if_planned(policy: Policy, evidence: Evidence, like: Evidence) -> Evidence:
    """Return `evidence` under a plan that `policy` would have made of the same documents, in the same order."""
    (entry,), (model,) = evidence.plans, like.plans
    suites = tuple(
        mine.model_copy(update={"cluster": theirs.cluster, "sequential": theirs.sequential})
        for mine, theirs in zip(entry.plan.suites, model.plan.suites, strict=True)
    )
    plan = entry.plan.model_copy(update={"policy": policy.ref, "suites": suites})
    return replace(evidence, policy=policy.ref, plans=(replace(entry, plan=plan),))


@pytest.mark.parametrize("ones", [30, 52, 60, 75, 95])
@pytest.mark.parametrize(
    "suites",
    [
        "{a: {samples: all, mode: sequential, claim: benchmark}}",
        "{a: {samples: all, mode: sequential, claim: population}}",
        "{a: {samples: all, cluster: patient}}",
        "{a: {samples: all, mode: sequential, claim: benchmark, cluster: patient}}",
    ],
)
@pytest.mark.parametrize("before", [PLAIN, "{a: {samples: all, mode: sequential, claim: benchmark}}"])
def test_how_a_suite_is_measured_is_simulated_as_it_is_decided(before: str, suites: str, ones: int) -> None:
    case = {"a": {**MEASURED, "ones": ones}}
    old, new = policy_of(TWO, suites=before, version="0"), policy_of(TWO, suites=suites)
    verdict, evidence = decided(old, case)
    done = simulate(new, [facts_of(old, verdict, RECORD, evidence)], lambda _: (verdict, evidence))
    after = done.flips[0].after if done.flips else verdict.decision.value
    like = fabricate_evidence(new, EvidenceCase.model_validate({"suites": case}))
    assert after == decide(new, as_if_planned(new, evidence, like), HEAD, THEN).decision.value
    if "cluster" in suites:
        assert after == "DENY", "the old plan does not tell the clusters"
        assert decide_anew(new, verdict, evidence)[1] == {"job": Outcome.MISSING}


@pytest.mark.parametrize("ones", [20, 60, 99])
def test_clusters_that_the_old_plan_tells_are_simulated_as_decided(ones: int) -> None:
    clustered = policy_of(TWO, suites="{a: {samples: all, cluster: patient}}")
    case = {"a": {**MEASURED, "ones": ones}}
    verdict, evidence = decided(policy_of(TWO, BY_PATIENT, suites=PLAIN, version="0"), case)
    really, known = decided(clustered, case)
    # The groups that a `subgroups` gate had recorded are those that the clusters are made of.
    (entry,), (theirs,) = evidence.plans, known.plans
    planned = entry.plan.suites[0].model_copy(update={"groups": theirs.plan.suites[0].groups})
    told = entry.plan.model_copy(update={"suites": (planned,)})
    evidence = replace(evidence, plans=(replace(entry, plan=told),))
    assert decide_anew(clustered, verdict, evidence)[0] == really.decision.value


def test_a_difference_is_said_in_words() -> None:
    new = policy_of(
        "id: job, kind: floor, suite: a, threshold: 0.6",
        "id: keep, kind: not_worse, suite: b, margin: 0.05, waivable: true",
        "id: gain, kind: better, suite: b, planning: {difference: 0.2, discordance: 0.5}",
        version="2",
    )
    told = {(change.where, change.effect): change.text for change in diff_policies(OLD, new)}
    assert told[("gate job", "stricter")] == "threshold is 0.6, was 0.5"
    assert told[("gate keep", "laxer")] == "waivable is true, was false"
    assert told[("gate files", "laxer")].startswith("(intake) is gone")
    assert told[("gate gain", "stricter")].startswith("(better) is new: suite b")
    assert told[("version", "")] == "version is 2, was 1"
    assert diff_policies(OLD, OLD) == ()
