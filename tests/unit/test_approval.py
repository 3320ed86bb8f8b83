from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.attest.keys import LocalSigner
from placet.attest.predicates import BuildDefinition, Builder, Kind, RunDetails, RunMetadata, Training
from placet.attest.statement import Subject
from placet.attest.trust import Verified, sign_record
from placet.domain.digests import Digest, digest_bytes
from placet.domain.records import (
    AdapterRef,
    BaseRef,
    Decision,
    GateResult,
    LedgerHead,
    Outcome,
    Record,
    Review,
    ReviewDecision,
    ReviewRule,
    SourceRef,
    Submission,
    Verdict,
    Waiver,
)
from placet.review.approval import Approval, barred_people, barred_reason, weigh_approval
from tests.support.offices import START, inconclusive_gate, passing_gate, policy_ref, signer_named

R = TypeVar("R", bound=Record)
ADAPTER = AdapterRef(id=digest_bytes(b"adapter"), weights_id=digest_bytes(b"weights"), label="desk-good")
OTHER = AdapterRef(id=digest_bytes(b"other"), weights_id=digest_bytes(b"weights"), label="desk-good")
BASE = BaseRef(id=digest_bytes(b"base"), label="tiny")
EVIDENCE = tuple(sorted((digest_bytes(b"e1"), digest_bytes(b"e2"))))
NOW = START + timedelta(days=1)
DAYS = 30
VERDICT_INDEX = 10


def _verified(
    kind: Kind, record: R, person: str, index: int, *, key: LocalSigner | None = None
) -> Verified[R]:
    signer = key or signer_named(person)
    envelope = sign_record(kind, record, (Subject("x", digest_bytes(b"x")),), signer)
    from placet.attest.statement import parse_statement

    return Verified(
        index, kind, record, parse_statement(envelope.payload), envelope, signer.public.key_id, person
    )


def _verdict(
    decision: Decision = Decision.ALLOW,
    gates: tuple[GateResult, ...] = (passing_gate(),),
    *,
    approvals: int = 2,
    separate_from: tuple[str, ...] = ("trainer", "submitter"),
    plan: bytes = b"plan",
) -> Verified[Verdict]:
    verdict = Verdict(
        adapter=ADAPTER,
        base=BASE,
        policy=policy_ref(),
        plan=digest_bytes(plan),
        decision=decision,
        gates=gates,
        evidence=EVIDENCE,
        plans_on_weights=(digest_bytes(plan),),
        review=ReviewRule(approvals=approvals, separate_from=separate_from, valid_days=DAYS),
        head=LedgerHead(size=VERDICT_INDEX, root="ab" * 32),
        decided_at=START,
    )
    return _verified(Kind.VERDICT, verdict, "evaluator", VERDICT_INDEX)


VERDICT = _verdict()
NEEDS_WAIVER = _verdict(Decision.NEEDS_REVIEW, (passing_gate(), inconclusive_gate()))


def _review(
    person: str,
    verdict: Verified[Verdict] = VERDICT,
    *,
    index: int = 20,
    key: LocalSigner | None = None,
    decision: ReviewDecision = ReviewDecision.APPROVE,
    **changed: Any,
) -> Verified[Review]:
    fields: dict[str, Any] = {
        "adapter": verdict.record.adapter,
        "base": verdict.record.base,
        "policy": verdict.record.policy,
        "verdict": verdict.id,
        "evidence": verdict.record.evidence,
        "head": LedgerHead(size=VERDICT_INDEX + 1, root="cd" * 32),
        "decision": decision,
        "comment": "looked at it",
        "reviewer": person,
        "reviewed_at": START,
        "expires_at": START + timedelta(days=DAYS),
    }
    return _verified(Kind.REVIEW, Review(**(fields | changed)), person, index, key=key)


def _waiver(
    person: str, gate: str = "general", *, index: int = 30, key: LocalSigner | None = None, **changed: Any
) -> Verified[Waiver]:
    fields: dict[str, Any] = {
        "adapter": ADAPTER,
        "policy": NEEDS_WAIVER.record.policy,
        "verdict": NEEDS_WAIVER.id,
        "gate": gate,
        "reason": "small sample",
        "reviewer": person,
        "waived_at": START,
        "expires_at": START + timedelta(days=DAYS),
    }
    return _verified(Kind.WAIVER, Waiver(**(fields | changed)), person, index, key=key)


def _submission(person: str, index: int = 2, key: LocalSigner | None = None) -> Verified[Submission]:
    submission = Submission(
        adapter=ADAPTER,
        base=BASE,
        source=SourceRef(kind="folder", location="."),
        files=(),
        submitter=person,
        submitted_at=START,
    )
    return _verified(Kind.SUBMISSION, submission, person, index, key=key)


def _training(person: str, key: LocalSigner | None = None) -> Verified[Training]:
    training = Training(
        build_definition=BuildDefinition(build_type="t", external_parameters={}, resolved_dependencies=()),
        run_details=RunDetails(
            builder=Builder(id="b"),
            metadata=RunMetadata(invocation_id="i", started_on=START, finished_on=START),
        ),
    )
    return _verified(Kind.TRAINING, training, person, 1, key=key)


def _weigh(
    *reviews: Verified[Review],
    verdict: Verified[Verdict] = VERDICT,
    waivers: tuple[Verified[Waiver], ...] = (),
    submitter: Verified[Submission] | None = None,
    trainer: Verified[Training] | None = None,
    now: datetime = NOW,
    resubmissions: tuple[Verified[Submission], ...] = (),
) -> Approval:
    return weigh_approval(
        verdict,
        reviews,
        waivers,
        submission=submitter or _submission("sam"),
        trainings=(trainer or _training("tara"),),
        now=now,
        resubmissions=resubmissions,
    )


def _refused(approval: Approval, reason: str) -> None:
    assert not approval.approved
    assert any(reason in item for item in approval.missing), approval.missing


# --- enough people -----------------------------------------------------------------------------------------


def test_two_different_people_approve() -> None:
    approval = _weigh(_review("ada"), _review("ben", index=21))

    assert approval.approved
    assert approval.approvers == ("ada", "ben")
    assert approval.missing == ()


def test_nobody_is_not_enough() -> None:
    _refused(_weigh(), "0 of 2 approvals by different people (not sam, tara)")


def test_one_person_twice_is_one() -> None:
    _refused(_weigh(_review("ada"), _review("ada", index=21, comment="again")), "1 of 2 approvals")


def test_one_person_with_two_keys_is_one() -> None:
    _refused(
        _weigh(_review("ada"), _review("ada", index=21, key=signer_named("ada's second"))), "1 of 2 approvals"
    )


def test_one_person_under_two_spellings_is_one() -> None:
    for spelling in ("Ada", "ADA", "ada\ufe0f"):
        approval = _weigh(_review("ada"), _review(spelling, index=21))
        _refused(approval, "1 of 2 approvals by different people")
        assert approval.approvers == (spelling,)


def test_a_rejection_is_taken_back_under_another_spelling_by_the_same_person() -> None:
    rejected = _review("Ada", decision=ReviewDecision.REJECT)

    assert _weigh(rejected, _review("ada", index=21), _review("ben", index=22)).approved
    _refused(
        _weigh(_review("ada"), _review("Ada", index=21, decision=ReviewDecision.REJECT)), "Ada rejected it"
    )


def test_waivers_of_one_person_under_two_spellings_are_one() -> None:
    waivers = (_waiver("ada"), _waiver("Ada", index=31))
    reviews = (_review("ada", NEEDS_WAIVER), _review("ben", NEEDS_WAIVER, index=21))

    _refused(
        _weigh(*reviews, verdict=NEEDS_WAIVER, waivers=waivers),
        "1 of 2 waivers for inconclusive gate general",
    )


def test_one_key_under_two_names_is_one() -> None:
    shared = signer_named("shared")

    _refused(_weigh(_review("ada", key=shared), _review("ben", index=21, key=shared)), "1 of 2 approvals")


def test_the_same_review_given_twice_is_one() -> None:
    review = _review("ada")

    _refused(_weigh(review, review), "1 of 2 approvals")


def test_an_approval_that_does_not_count_takes_nothing_from_those_that_do() -> None:
    lapsed = _review("cleo", index=22, expires_at=NOW)

    approval = _weigh(_review("ada"), _review("ben", index=21), lapsed, _review("sam", index=23))

    assert approval.approved
    assert approval.approvers == ("ada", "ben")


# --- separation of duties ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("person", "why"), [("sam", "submitted it"), ("tara", "trained it")])
def test_whoever_had_a_part_in_it_does_not_count(person: str, why: str) -> None:
    approval = _weigh(_review("ada"), _review(person, index=21))

    _refused(approval, f"the approval of {person} does not count: that person {why}")
    _refused(approval, "1 of 2 approvals")


@pytest.mark.parametrize(("person", "why"), [("Sam", "submitted it"), ("TARA", "trained it")])
def test_another_spelling_of_the_name_separates_nobody(person: str, why: str) -> None:
    approval = _weigh(_review("ada"), _review(person, index=21))

    _refused(approval, f"the approval of {person} does not count: that person {why}")
    barred = barred_people(VERDICT.record, _submission("sam"), (_training("tara"),))
    assert barred_reason(barred, person) == why
    assert barred_reason(barred, "ada") == ""


def test_whoever_submitted_the_same_weights_before_does_not_count() -> None:
    reviews = (_review("ada"), _review("ben", index=21))

    assert _weigh(*reviews).approved
    _refused(_weigh(*reviews, resubmissions=(_submission("ben", index=3),)), "that person submitted it")


def test_the_trainers_key_under_another_name_does_not_count() -> None:
    shared = signer_named("shared")

    _refused(
        _weigh(_review("ada"), _review("ben", index=21, key=shared), trainer=_training("tara", key=shared)),
        "its key trained or submitted it",
    )
    _refused(
        _weigh(
            _review("ada"), _review("ben", index=21, key=shared), submitter=_submission("sam", key=shared)
        ),
        "its key trained or submitted it",
    )


def test_a_policy_that_separates_nobody_lets_them_count() -> None:
    verdict = _verdict(separate_from=())
    reviews = (_review("sam", verdict), _review("tara", verdict, index=21))

    assert _weigh(*reviews, verdict=verdict).approved
    assert barred_people(verdict.record, _submission("sam"), (_training("tara"),)) == {}


def test_barred_people_are_named_with_the_reason() -> None:
    barred = barred_people(VERDICT.record, _submission("sam"), (_training("tara"),), (_submission("pat"),))

    assert barred == {"sam": "submitted it", "tara": "trained it", "pat": "submitted it"}


# --- what a decision covers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"adapter": OTHER}, "other bytes"),
        ({"adapter": ADAPTER.model_copy(update={"weights_id": digest_bytes(b"w2")})}, "other bytes"),
        ({"base": BASE.model_copy(update={"id": digest_bytes(b"b2")})}, "another base"),
        ({"policy": policy_ref(version="2")}, "another policy"),
        ({"evidence": EVIDENCE[:1]}, "does not name the verdict's evidence"),
        ({"evidence": ()}, "does not name the verdict's evidence"),
        ({"evidence": (*EVIDENCE, digest_bytes(b"e3"))}, "does not name the verdict's evidence"),
        ({"reviewer": "eve"}, "it names eve, whose key did not sign it"),
        ({"head": LedgerHead(size=VERDICT_INDEX, root="cd" * 32)}, "in which the verdict could be seen"),
        ({"head": LedgerHead(size=0, root="cd" * 32)}, "in which the verdict could be seen"),
        ({"head": LedgerHead(size=22, root="cd" * 32)}, "in which the verdict could be seen"),
        ({"expires_at": START + timedelta(hours=23)}, "it expired at 2026-03-03 08:00 UTC"),
        ({"expires_at": NOW}, "it expired"),
        ({"expires_at": START + timedelta(days=DAYS, seconds=1)}, "longer than the 30 days of the policy"),
        (
            {"reviewed_at": NOW + timedelta(seconds=1), "expires_at": NOW + timedelta(days=2)},
            "which is still to come",
        ),
    ],
)
def test_a_decision_about_something_else_does_not_count(change: dict[str, Any], reason: str) -> None:
    approval = _weigh(_review("ada"), _review("ben", index=21, **change))

    _refused(approval, reason)
    assert approval.approvers == ("ada",)


def test_an_approval_lapses_when_its_time_is_over() -> None:
    reviews = (_review("ada"), _review("ben", index=21))
    end = START + timedelta(days=DAYS)

    assert _weigh(*reviews, now=end - timedelta(seconds=1)).approved
    _refused(_weigh(*reviews, now=end), "it expired")


def test_approvals_of_an_older_verdict_are_not_counted_at_all() -> None:
    older = _verdict(plan=b"older plan")

    _refused(_weigh(_review("ada", older), _review("ben", older, index=21)), "0 of 2 approvals")


def test_an_unnamed_order_of_evidence_does_not_matter() -> None:
    assert _weigh(_review("ada", evidence=tuple(reversed(EVIDENCE))), _review("ben", index=21)).approved


# --- rejections and changes of mind ------------------------------------------------------------------------


def test_a_rejection_blocks_however_many_approve() -> None:
    approval = _weigh(
        _review("ada"),
        _review("ben", index=21),
        _review("cleo", index=22, decision=ReviewDecision.REJECT, comment="brittle"),
    )

    _refused(approval, "cleo rejected it: brittle")


def test_the_newest_decision_of_a_person_stands_whatever_their_order_here() -> None:
    approve, reject = _review("ada", index=30), _review("ada", index=20, decision=ReviewDecision.REJECT)
    ben = _review("ben", index=21)

    assert _weigh(approve, reject, ben).approved
    assert _weigh(reject, ben, approve).approved
    later = replace(reject, index=31)
    _refused(_weigh(later, approve, ben), "ada rejected it")


@pytest.mark.parametrize(
    "change",
    [{"expires_at": START}, {"evidence": ()}, {"adapter": OTHER}],
    ids=["expired", "evidence", "bytes"],
)
def test_a_rejection_stands_even_where_an_approval_would_not_count(change: dict[str, Any]) -> None:
    rejection = _review("cleo", index=22, decision=ReviewDecision.REJECT, **change)

    _refused(_weigh(_review("ada"), _review("ben", index=21), rejection), "cleo rejected it")


# --- what can be approved ----------------------------------------------------------------------------------


def test_a_denial_cannot_be_approved() -> None:
    verdict = _verdict(Decision.DENY, (passing_gate().model_copy(update={"outcome": Outcome.FAIL}),))

    _refused(
        _weigh(_review("ada", verdict), _review("ben", verdict, index=21), verdict=verdict),
        "the verdict is DENY",
    )


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.MISSING, Outcome.ERROR])
@pytest.mark.parametrize("decision", [Decision.ALLOW, Decision.NEEDS_REVIEW])
def test_a_verdict_that_contradicts_its_gates_cannot_be_approved(
    outcome: Outcome, decision: Decision
) -> None:
    verdict = _verdict(decision, (passing_gate(), passing_gate("b").model_copy(update={"outcome": outcome})))

    _refused(
        _weigh(_review("ada", verdict), _review("ben", verdict, index=21), verdict=verdict),
        f"gate b is {outcome}, which no approval covers",
    )


@pytest.mark.parametrize("gates", [(), (passing_gate().model_copy(update={"required": False}),)])
def test_a_verdict_that_rests_on_no_gate_cannot_be_approved(gates: tuple[GateResult, ...]) -> None:
    verdict = _verdict(gates=gates)

    _refused(
        _weigh(_review("ada", verdict), _review("ben", verdict, index=21), verdict=verdict),
        "rests on no required gate",
    )


def test_a_gate_that_is_only_shown_blocks_nothing() -> None:
    shown = passing_gate("b").model_copy(update={"outcome": Outcome.FAIL, "required": False})
    verdict = _verdict(gates=(passing_gate(), shown))

    assert _weigh(_review("ada", verdict), _review("ben", verdict, index=21), verdict=verdict).approved


# --- waivers -----------------------------------------------------------------------------------------------

REVIEWS = (_review("ada", NEEDS_WAIVER), _review("ben", NEEDS_WAIVER, index=21))


def _waived(
    *waivers: Verified[Waiver], verdict: Verified[Verdict] = NEEDS_WAIVER, **options: Any
) -> Approval:
    return _weigh(*REVIEWS, verdict=verdict, waivers=waivers, **options)


def test_an_inconclusive_gate_needs_its_own_waivers_of_two_people() -> None:
    _refused(_waived(), "0 of 2 waivers for inconclusive gate general")
    _refused(_waived(_waiver("ada")), "1 of 2 waivers")

    approval = _waived(_waiver("ada"), _waiver("ben", index=31))

    assert approval.approved
    assert {item.person for item in approval.waivers} == {"ada", "ben"}


def test_waivers_alone_are_no_approval() -> None:
    waivers = (_waiver("ada"), _waiver("ben", index=31))

    _refused(_weigh(verdict=NEEDS_WAIVER, waivers=waivers), "0 of 2 approvals")


def test_waivers_count_people_and_keys_once_each() -> None:
    shared = signer_named("shared")

    _refused(_waived(_waiver("ada"), _waiver("ada", index=31, reason="again")), "1 of 2 waivers")
    _refused(_waived(_waiver("ada"), _waiver("ada", index=31, key=shared)), "1 of 2 waivers")
    _refused(_waived(_waiver("ada", key=shared), _waiver("ben", index=31, key=shared)), "1 of 2 waivers")


@pytest.mark.parametrize(
    "second",
    [
        _waiver("sam", index=31),
        _waiver("tara", index=31),
        _waiver("ben", "another-gate", index=31),
        _waiver("ben", index=31, verdict=VERDICT.id),
        _waiver("ben", index=31, adapter=OTHER),
        _waiver("ben", index=31, policy=policy_ref(version="2")),
        _waiver("ben", index=31, reviewer="eve"),
        _waiver("ben", index=31, expires_at=NOW),
        _waiver("ben", index=31, expires_at=START + timedelta(days=DAYS, seconds=1)),
        _waiver("ben", index=31, waived_at=NOW + timedelta(days=1), expires_at=NOW + timedelta(days=2)),
    ],
    ids=[
        "submitter",
        "trainer",
        "other gate",
        "other verdict",
        "other bytes",
        "other policy",
        "other name",
        "expired",
        "too long",
        "in the future",
    ],
)
def test_a_waiver_that_does_not_fit_is_not_counted(second: Verified[Waiver]) -> None:
    _refused(_waived(_waiver("ada"), second), "1 of 2 waivers")


def test_a_gate_that_its_policy_lets_nobody_waive_stays_shut() -> None:
    verdict = _verdict(Decision.NEEDS_REVIEW, (inconclusive_gate(waivable=False),))
    reviews = (_review("ada", verdict), _review("ben", verdict, index=21))
    waivers = tuple(
        _waiver(person, index=40 + n, verdict=verdict.id) for n, person in enumerate(("ada", "ben", "cleo"))
    )

    _refused(_weigh(*reviews, verdict=verdict, waivers=waivers), "its policy allows no waiver")


def test_a_gate_may_ask_for_more_waivers_than_two() -> None:
    verdict = _verdict(Decision.NEEDS_REVIEW, (inconclusive_gate(waivers_needed=3),))
    reviews = (_review("ada", verdict), _review("ben", verdict, index=21))
    waivers = [_waiver(p, index=40 + n, verdict=verdict.id) for n, p in enumerate(("ada", "ben", "cleo"))]

    _refused(_weigh(*reviews, verdict=verdict, waivers=tuple(waivers[:2])), "2 of 3 waivers")
    assert _weigh(*reviews, verdict=verdict, waivers=tuple(waivers)).approved


def test_an_inconclusive_gate_under_an_allow_still_needs_its_waivers() -> None:
    verdict = _verdict(Decision.ALLOW, (passing_gate(), inconclusive_gate()))
    reviews = (_review("ada", verdict), _review("ben", verdict, index=21))

    _refused(_weigh(*reviews, verdict=verdict), "0 of 2 waivers")


# --- dropping never helps ----------------------------------------------------------------------------------

_PEOPLE = ("ada", "ben", "cleo", "sam", "tara")
_DECISIONS = st.lists(
    st.tuples(st.sampled_from(_PEOPLE), st.sampled_from(["ada", "ben", "shared"]), st.booleans()), max_size=6
)


@settings(deadline=None)
@given(_DECISIONS)
def test_an_approval_always_has_enough_clean_people_and_keys(drawn: list[tuple[str, str, bool]]) -> None:
    reviews = [
        _review(
            person,
            index=20 + n,
            key=signer_named(key),
            decision=ReviewDecision.APPROVE if approves else ReviewDecision.REJECT,
            comment=f"decision {n}",
        )
        for n, (person, key, approves) in enumerate(drawn)
    ]

    approval = _weigh(*reviews)

    last = {review.person: review for review in reviews}
    rejected = any(r.record.decision is ReviewDecision.REJECT for r in last.values())
    clean = {p: r for p, r in last.items() if p not in {"sam", "tara"}}
    keys: set[Digest] = {r.key_id for r in clean.values()}
    if approval.approved:
        assert not rejected
        assert not set(approval.approvers) & {"sam", "tara"}
        assert len(set(approval.approvers)) >= 2
        assert len({r.key_id for r in approval.reviews}) == len(approval.reviews) >= 2
    elif not rejected:
        assert min(len(clean), len(keys)) < 2
    for drop in range(len(reviews)):
        without = [r for n, r in enumerate(reviews) if n != drop]
        if _weigh(*without).approved and not approval.approved:
            # Only leaving out a rejection, or the later word of somebody, can turn it.
            gone = reviews[drop]
            assert gone.record.decision is ReviewDecision.REJECT or any(
                r.person == gone.person or r.key_id == gone.key_id for r in without
            )
