"""Plans whose documents somebody chose: refused where a plan is logged, judged, released, audited and verified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from placet.attest.draw import draw_order, sign_draw
from placet.attest.keys import KeyKind, LocalSigner, new_signer
from placet.attest.predicates import Kind, Role
from placet.domain.errors import DrawError, Error, RefusedError
from placet.domain.records import Plan
from placet.office import EVALUATOR_KEY, TrustDesk
from placet.pipeline.evidence import gather
from placet.verify.verifier import VerificationError, verify_bundle
from tests.support import dishonest, offices
from tests.support.offices import Released, Walk, released_office

Lie = Callable[[Released], Walk]

NOT_SIGNED = (
    "the draw of the plan for desk-good is not the signature of the plan's own key over the ledger state"
)
CHOSEN = "other documents of support-desk, or in another order, than were drawn"
FALSE: list[Lie] = [
    dishonest.draws_with_anothers_key,
    dishonest.draws_over_another_state,
    dishonest.makes_a_draw_up,
]
OTHERWISE: list[Lie] = [dishonest.chooses_documents, dishonest.leaves_out_its_draw]
LIES = [(lie, NOT_SIGNED) for lie in FALSE] + [(lie, CHOSEN) for lie in OTHERWISE]
each_lie = pytest.mark.parametrize(("lie", "words"), LIES, ids=[lie.__name__ for lie, _ in LIES])


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _past_the_office(made: Released, lie: Lie) -> tuple[Walk, Path]:
    """Log a lie and release it, by an office that looks at no draw."""
    with pytest.MonkeyPatch.context() as careless:
        careless.setattr("placet.attest.trust.verify_draw", lambda plan, key: None)
        careless.setattr("placet.ledger.evidence.chosen_suites", lambda plan: ())
        walk = lie(made)
        return walk, offices.release(made.sample, walk.ref, "production")[1]


@pytest.mark.parametrize("lie", FALSE, ids=[lie.__name__ for lie in FALSE])
def test_a_plan_with_a_false_draw_gets_no_place_in_the_log(made: Released, lie: Lie) -> None:
    size = made.office.store.size()

    with pytest.raises(DrawError, match=NOT_SIGNED):
        lie(made)

    assert made.office.store.size() == size


@each_lie
def test_the_desk_signs_no_release_on_it(made: Released, lie: Lie, words: str) -> None:
    walk, _ = _past_the_office(made, lie)
    size = made.office.store.size()

    with pytest.raises(DrawError if lie in FALSE else RefusedError, match=words) as caught:
        offices.release(made.sample, walk.ref, "staging")

    assert caught.value.hint
    assert made.office.store.size() == size


@each_lie
def test_every_audit_finds_it(made: Released, lie: Lie, words: str) -> None:
    since = made.office.audit().checkpoint
    walk, _ = _past_the_office(made, lie)

    for report in (made.office.audit(), made.office.audit(since=since)):
        found = [item for item in report.findings if item.id == "false-draw"]
        assert [item.index for item in found] == [walk.plan.index]
        assert words in found[0].message
        # It is said of the plan once; what was released on it should not have been.
        others = {item.id for item in report.findings} - {"false-draw"}
        assert "unallowed-release" in others
        assert others <= {"unallowed-release", "missing-evidence"}
        assert ("missing-evidence" in others) == (lie in FALSE)


@each_lie
def test_a_bundle_of_it_does_not_verify_offline(made: Released, lie: Lie, words: str) -> None:
    _, bundle = _past_the_office(made, lie)

    with pytest.raises(VerificationError, match=words) as caught:
        verify_bundle(bundle, made.office.root.pin, now=made.sample.clock())

    assert caught.value.step == ("records" if lie in FALSE else "evidence")


@each_lie
def test_it_is_not_judged(made: Released, lie: Lie, words: str) -> None:
    walk, _ = _past_the_office(made, lie)

    def gathered() -> frozenset[str]:
        evidence = gather(
            made.office.reader(),
            made.office.blobs,
            walk.submission.record,
            walk.plan.record.policy,
            walk.plan,
            [offices.DESK.digest],
        )
        return next(item for item in evidence.plans if item.record == walk.plan.id).drawn_otherwise

    with pytest.MonkeyPatch.context() as patched:
        # The rows of these made-up runs are none.
        patched.setattr("placet.pipeline.evidence.load_rows_of", lambda run, blobs: run)
        patched.setattr("placet.pipeline.evidence.Evidence.records", lambda self: ())
        if lie in FALSE:
            with pytest.raises(DrawError, match=words):
                gathered()
        else:
            assert gathered() == {"support-desk"}


# --- honest plans -----------------------------------------------------------------------------------------------


def _releasable(made: Released, plan: Plan, signer: LocalSigner | None = None) -> Path:
    """Log a plan, a run, a verdict and a release; return the bundle."""
    sample, walk = made.sample, made.walk
    logged = sample.record(Kind.PLAN, plan, walk.plan.statement.subjects, signer)
    values = [float(document % 10 > 0) for document in range(120)]
    run = offices.add_measurement(sample, "support-desk", logged, values)
    evidence = {*walk.verdict.record.evidence, logged.id, run.id}
    again = offices.decide_again(
        made,
        plan=logged.id,
        plans_on_weights=(walk.plan.id, logged.id),
        evidence=tuple(sorted(evidence)),
        gates=[offices.passing_gate(evidence=[run.id])],
        approved_by=("ada", "ben"),
    )
    return offices.release(sample, again.ref, "production")[1]


def test_an_older_plan_without_a_draw_is_held_to_the_order_of_its_root(made: Released) -> None:
    older = offices.drawn_again(made.sample, made.walk.plan.record, draw=None)
    assert older.suites[0].samples == draw_order(120, 120, older.head.root, None, offices.DESK.digest)
    bundle = _releasable(made, older)

    assert made.office.audit().findings == ()
    verified = verify_bundle(bundle, made.office.root.pin, now=made.sample.clock())
    assert any("the plan is older than draws" in line for line in verified.unknown)
    newer = verify_bundle(made.bundle, made.office.root.pin, now=made.sample.clock())
    assert not any("the plan is older than draws" in line for line in newer.unknown)


def test_an_evaluators_key_may_be_p256(made: Released) -> None:
    token = new_signer(KeyKind.P256)
    TrustDesk(made.office).rotate_key(made.sample.evaluator.public.key_id, token.public)
    made.office.opened[EVALUATOR_KEY] = token
    plan = offices.drawn_again(made.sample, made.walk.plan.record)
    assert plan.draw != sign_draw(plan.head, token)

    bundle = _releasable(made, plan)

    assert made.office.audit().findings == ()
    assert verify_bundle(bundle, made.office.root.pin, now=made.sample.clock()).approvers == ("ada", "ben")


def test_an_audit_names_the_false_draw_of_a_p256_key(made: Released) -> None:
    token = new_signer(KeyKind.P256)
    TrustDesk(made.office).grant(token.public, "second machine", (Role.EVALUATOR,))
    # Drawn by the office's own evaluator, and signed by another.
    plan = offices.drawn_again(made.sample, made.walk.plan.record)
    with pytest.MonkeyPatch.context() as careless:
        careless.setattr("placet.attest.trust.verify_draw", lambda plan, key: None)
        index = made.sample.record(Kind.PLAN, plan, made.walk.plan.statement.subjects, token).index

    (finding,) = made.office.audit().findings

    assert (finding.id, finding.index) == ("false-draw", index)
    assert NOT_SIGNED in finding.message


def test_an_audit_finds_chosen_documents_though_nothing_rests_on_them(made: Released) -> None:
    plan = offices.drawn_again(made.sample, made.walk.plan.record)
    (suite,) = plan.suites
    turned = plan.model_copy(update={"suites": (suite.model_copy(update={"samples": suite.samples[::-1]}),)})
    index = made.sample.record(Kind.PLAN, turned, made.walk.plan.statement.subjects).index

    (finding,) = made.office.audit().findings

    assert (finding.id, finding.index) == ("false-draw", index)
    assert f"record {index} (plan by Sample office: evaluator) has {CHOSEN}" in finding.message


def test_every_draw_that_is_refused_says_what_to_do(made: Released) -> None:
    with pytest.raises(Error) as caught:
        dishonest.makes_a_draw_up(made)
    assert "`placet audit`" in caught.value.hint
