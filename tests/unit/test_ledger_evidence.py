"""What a verdict must account for, rule by rule: what is objected to, and what honest runs may look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from placet.attest.draw import draw_order
from placet.attest.predicates import Kind
from placet.domain.digests import Digest, digest_bytes, digest_json
from placet.domain.records import (
    AdapterRef,
    BaseRef,
    CheckResult,
    CheckStatus,
    Decision,
    EngineInfo,
    GateResult,
    Intake,
    LedgerHead,
    Measurement,
    Outcome,
    Plan,
    PlannedReference,
    PlannedSuite,
    PolicyRef,
    ReviewRule,
    Sequential,
    SourceRef,
    Stage,
    SuiteRef,
    Verdict,
)
from placet.ledger.evidence import Surroundings, objections, run_objection

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
BASE = BaseRef(id=digest_bytes(b"base"), label="base")
OTHER_BASE = BaseRef(id=digest_bytes(b"other base"), label="other")
ENGINE = EngineInfo(name="placet", version="1", dtype="float32", device="cpu", layout="packed")
POLICY = PolicyRef(id="p", version="1", digest=digest_bytes(b"policy"))
SUITE = SuiteRef(id="desk", version="1", digest=digest_bytes(b"desk"))
ROOT = "0" * 64
SAFE = SuiteRef(id="safe", version="1", digest=digest_bytes(b"safe"))


def adapter(name: str) -> AdapterRef:
    return AdapterRef(
        id=digest_bytes(name.encode()), weights_id=digest_bytes(f"{name} weights".encode()), label=name
    )


MINE, THEIRS = adapter("mine"), adapter("theirs")


@dataclass(frozen=True)
class Held:
    index: int
    kind: Kind
    record: Any

    @property
    def id(self) -> Digest:
        return digest_json([self.index, self.kind])


def plan(
    *, sequential: bool = False, of: AdapterRef = MINE, compared: Sequence[AdapterRef] = (), samples: int = 10
) -> Plan:
    suite = PlannedSuite(
        suite=SUITE,
        stage=Stage.EVALUATION,
        documents=samples,
        samples=draw_order(samples, samples, ROOT, None, SUITE.digest),
        sequential=Sequential(claim="benchmark", chunk=2) if sequential else None,
    )
    references = tuple(
        PlannedReference(name=f"adapter:{item.label}", adapter=item, record=digest_bytes(b"r"))
        for item in compared
    )
    return Plan(
        adapter=of,
        base=BASE,
        policy=POLICY,
        suites=(suite,),
        engine=ENGINE,
        head=LedgerHead(size=0, root=ROOT),
        planned_at=NOW,
        references=references or None,
    )


def run(under: Held, mean: float = 0.5, **changed: Any) -> Measurement:
    samples = under.record.suites[0].samples
    values: dict[str, Any] = {
        "subject": MINE.weights_id,
        "subject_kind": "adapter",
        "base": BASE,
        "stage": Stage.EVALUATION,
        "suite": SUITE,
        "metric": "acc",
        "higher_is_better": True,
        "n": len(changed.get("samples", samples)),
        "mean": mean,
        "samples": samples,
        "rows_digest": digest_bytes(b"rows"),
        "blob": digest_bytes(b"blob"),
        "engine": ENGINE,
        "plan": under.id,
        "started_at": NOW,
        "finished_at": NOW,
        **changed,
    }
    return Measurement(**values)


# --- a run and its plan -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"subject": BASE.id, "subject_kind": "base"},
        {"subject": THEIRS.weights_id},
        {"reused": (digest_bytes(b"earlier"),)},
        {"started_at": NOW - timedelta(hours=20)},  # another machine's clock
        {"engine": ENGINE.model_copy(update={"device": "cuda"})},
    ],
)
def test_what_a_plan_asks_for(changed: dict[str, Any]) -> None:
    held = Held(1, Kind.PLAN, plan(compared=[THEIRS]))

    assert run_objection(run(held, **changed), Kind.EVALUATION, held.record) == ""


@pytest.mark.parametrize("count", [2, 5, 10])
def test_a_run_may_be_a_beginning_where_the_plan_lets_it_stop(count: int) -> None:
    held = Held(1, Kind.PLAN, plan(sequential=True))
    samples = held.record.suites[0].samples[:count]

    assert run_objection(run(held, samples=samples), Kind.EVALUATION, held.record) == ""


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"samples": (9, 8)}, "2 documents of desk, which are not the 10 of its plan"),
        ({"samples": tuple(range(10))}, "not the 10 of its plan in the order drawn"),
        ({"n": 9}, "says 9 documents and names 10"),
        ({"subject": THEIRS.weights_id}, "other weights than its plan"),
        ({"subject": OTHER_BASE.id, "subject_kind": "base"}, "other weights than its plan"),
        ({"base": OTHER_BASE}, "another base than its plan"),
        ({"suite": SAFE}, "does not name suite safe 1"),
        ({"suite": SUITE.model_copy(update={"digest": SAFE.digest})}, "suite desk 1 with that content"),
        ({"stage": Stage.SAFETY}, "names desk as evaluation"),
        ({"started_at": NOW - timedelta(days=2)}, "began on 2026-02-28, before its plan of 2026-03-02"),
    ],
)
def test_what_a_plan_does_not_ask_for(changed: dict[str, Any], words: str) -> None:
    held = Held(1, Kind.PLAN, plan())

    assert words in run_objection(run(held, **changed), Kind.EVALUATION, held.record)


def test_a_run_is_filed_as_the_kind_of_its_stage() -> None:
    held = Held(1, Kind.PLAN, plan())

    assert "names desk as evaluation" in run_objection(run(held), Kind.SAFETY, held.record)


@pytest.mark.parametrize("samples", [(), (8, 9), (9, 7)])
def test_a_run_that_may_stop_is_still_a_beginning_of_the_order(samples: tuple[int, ...]) -> None:
    held = Held(1, Kind.PLAN, plan(sequential=True))

    assert "in the order drawn" in run_objection(run(held, samples=samples), Kind.EVALUATION, held.record)


# --- a verdict and its runs -------------------------------------------------------------------------------------


def gate(figure: float | None, n: int, *cites: Held, **changed: Any) -> GateResult:
    values: dict[str, Any] = {
        "gate": "job",
        "kind": "floor",
        "outcome": Outcome.PASS,
        "figure": figure,
        "n": n,
        "reason": "r",
        "evidence": tuple(item.id for item in cites),
        **changed,
    }
    return GateResult(**values)


def intake() -> Held:
    seen = Intake(
        source=SourceRef(kind="folder", location="x"),
        files=(),
        files_id=MINE.id,
        base=BASE,
        checks=(CheckResult(check="files", version="1", status=CheckStatus.PASSED),),
        adapter=MINE,
        examined_at=NOW,
    )
    return Held(0, Kind.INTAKE, seen)


def said(
    own: Held, runs: Sequence[Held], gates: Sequence[GateResult], *, more: Sequence[Held] = (), **changed: Any
) -> list[tuple[str, str]]:
    """Return what is objected to a verdict at 50 that rests on `runs`, where `more` is on record as well."""
    values: dict[str, Any] = {
        "adapter": MINE,
        "base": BASE,
        "policy": POLICY,
        "plan": own.id,
        "decision": Decision.ALLOW,
        "gates": tuple(gates),
        "evidence": tuple(sorted({own.id, *(item.id for item in runs)})),
        "plans_on_weights": (own.id,),
        "review": ReviewRule(approvals=1, valid_days=1),
        "head": LedgerHead(size=0, root="0" * 64),
        "decided_at": NOW,
        **changed,
    }
    verdict = Held(50, Kind.VERDICT, Verdict(**values))
    everything = [own, intake(), *runs, *more]
    around = Surroundings(
        plans=[item for item in everything if item.kind is Kind.PLAN],
        runs=[
            item
            for item in everything
            if isinstance(item.record, Measurement) and item.record.subject == MINE.weights_id
        ],
        intakes=[item for item in everything if item.kind is Kind.INTAKE],
        rests_on={item.id: item for item in everything},
    )
    return [(item.id, item.message) for item in objections(verdict, around)]


def measured(index: int, under: Held, mean: float = 0.5, **changed: Any) -> Held:
    return Held(index, Kind.EVALUATION, run(under, mean, **changed))


def test_an_honest_verdict_on_a_run_the_bases_and_a_references() -> None:
    own = Held(1, Kind.PLAN, plan(compared=[THEIRS]))
    mine = measured(2, own, 0.7)
    elsewhere = Held(90, Kind.PLAN, plan(of=THEIRS))  # the base ran under another adapter's plan
    base = measured(3, elsewhere, 0.4, subject=BASE.id, subject_kind="base", plan=elsewhere.id)
    theirs = measured(4, own, 0.6, subject=THEIRS.weights_id)
    gates = [
        gate(0.7, 10, mine),
        gate(0.7, 10, mine, base, kind="better", baseline=0.4),
        gate(0.7, 10, mine, theirs, kind="not_worse", baseline=0.6),
        gate(3.0, 24, mine, kind="leakage"),
        gate(None, 0, kind="intake"),
    ]

    assert said(own, [mine, base, theirs], gates) == []


def test_an_earlier_run_under_another_plan_and_policy_is_evidence_and_no_objection() -> None:
    before = Held(1, Kind.PLAN, plan(samples=20))
    own = Held(5, Kind.PLAN, plan())
    bad, good = measured(2, before, 0.1), measured(6, own, 0.7)
    gates = [gate(0.1, 20, bad, good, outcome=Outcome.FAIL)]
    options = {"plans_on_weights": (before.id, own.id), "decision": Decision.DENY}

    assert said(own, [bad, good], gates, more=[before], **options) == []


@pytest.mark.parametrize("decision", [Decision.ALLOW, Decision.NEEDS_REVIEW, Decision.DENY])
def test_a_verdict_on_documents_that_were_not_drawn_lets_nothing_through(decision: Decision) -> None:
    drawn = plan(sequential=True)
    (suite,) = drawn.suites
    turned = suite.model_copy(update={"samples": suite.samples[::-1]})
    own = Held(1, Kind.PLAN, drawn.model_copy(update={"suites": (turned,)}))
    mine = measured(2, own, 0.7)

    found = said(own, [mine], [gate(0.7, 10, mine)], decision=decision)

    why = "its plan has other documents of desk, or in another order, than were drawn"
    assert found == ([] if decision is Decision.DENY else [("false-draw", why)])


def test_a_verdict_whose_plan_is_another_kind_of_record() -> None:
    own = Held(1, Kind.PLAN, plan())
    mine = measured(2, own, 0.7)

    assert said(mine, [mine], [gate(0.7, 10, mine)]) == [
        ("foreign-evidence", "what it names as its plan is another kind of record")
    ]


def test_what_was_logged_after_the_verdict_is_not_left_out() -> None:
    own = Held(1, Kind.PLAN, plan())
    mine = measured(2, own, 0.7)
    later = [Held(51, Kind.PLAN, plan()), measured(52, own, 0.0)]

    assert said(own, [mine], [gate(0.7, 10, mine)], more=later) == []


def test_a_plan_for_another_adapter_that_compares_with_these_weights_counts() -> None:
    own = Held(1, Kind.PLAN, plan())
    mine = measured(2, own, 0.7)
    theirs = Held(3, Kind.PLAN, plan(of=THEIRS, compared=[MINE]))
    unrelated = Held(4, Kind.PLAN, plan(of=THEIRS))

    found = said(own, [mine], [gate(0.7, 10, mine)], more=[theirs, unrelated])

    assert found == [("left-out-run", "the verdict leaves out the plan at 3 on the same weights")]


def test_a_denied_adapter_may_lack_runs_and_intake() -> None:
    own = Held(1, Kind.PLAN, plan())

    assert said(own, [], [gate(None, 0, outcome=Outcome.MISSING)], decision=Decision.DENY) == []
    assert [finding for finding, _ in said(own, [], [gate(None, 0)])] == ["unmeasured-suite"]


@pytest.mark.parametrize(
    ("used", "figure", "fits"),
    [
        (4, 1.0, True),  # four of the first four, and one of the next six
        (4, 0.0, True),  # none of the first four, and five of the next six
        (4, 0.75, True),
        (8, 0.0, False),  # five of the next two
        (8, 0.9, False),  # seven of eight, where five of ten count
        (10, 0.5, True),
        (10, 0.6, False),
        (12, 0.5, False),
    ],
)
def test_the_figure_of_a_gate_that_was_decided_early_is_that_of_a_beginning(
    used: int, figure: float, fits: bool
) -> None:
    own = Held(1, Kind.PLAN, plan(sequential=True))
    mine = measured(2, own, 0.5)

    found = [finding for finding, _ in said(own, [mine], [gate(figure, used, mine)])]

    assert found == ([] if fits else ["contradicted-figure"])


def test_a_baseline_on_more_documents_than_the_adapters_is_not_compared() -> None:
    own = Held(1, Kind.PLAN, plan())
    whole = Held(3, Kind.PLAN, plan(samples=20))
    mine = measured(2, own, 0.7)
    base = {"subject": BASE.id, "subject_kind": "base"}
    more, same = measured(4, whole, 0.4, **base), measured(5, own, 0.4, **base)
    lie = {"kind": "better", "baseline": 0.1}

    assert said(own, [mine, more], [gate(0.7, 10, mine, more, **lie)]) == []
    assert said(own, [mine, same], [gate(0.7, 10, mine, same, **lie)]) == [
        ("contradicted-figure", "gate job says 0.1 on 10 documents, where its runs say 0.4 on 10")
    ]


def test_weights_may_be_compared_with_themselves_where_the_plan_says_so() -> None:
    own, alone = Held(1, Kind.PLAN, plan(compared=[MINE])), Held(1, Kind.PLAN, plan())
    base = measured(3, own, 0.4, subject=BASE.id, subject_kind="base")
    itself = {"kind": "not_worse", "baseline": 0.7, "compared_with": "adapter:mine (mine)"}
    mine = measured(2, own, 0.7)

    assert said(own, [mine, base], [gate(0.7, 10, mine, **itself)]) == []
    assert [found for found, _ in said(alone, [mine, base], [gate(0.7, 10, mine, **itself)])] == [
        "contradicted-figure"
    ]


def test_the_figure_of_an_undecided_gate_is_compared_with_the_runs_it_cites_only() -> None:
    own = Held(1, Kind.PLAN, plan())
    mine = measured(2, own, 0.7)
    undecided = {"outcome": Outcome.INCONCLUSIVE}

    assert said(own, [mine], [gate(0.2, 99, **undecided)]) == []
    assert [found for found, _ in said(own, [mine], [gate(0.2, 10, mine, **undecided)])] == [
        "contradicted-figure"
    ]


def test_a_gate_that_cites_what_the_verdict_does_not_name() -> None:
    own = Held(1, Kind.PLAN, plan())
    mine, hidden = measured(2, own, 0.7), Held(9, Kind.OVERLAP, None)

    found = said(own, [mine], [gate(0.7, 10, mine, hidden)])

    assert found == [("foreign-evidence", "a gate cites what is not among the verdict's evidence")]
