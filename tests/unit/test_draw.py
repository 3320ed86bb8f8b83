"""The draw of a plan and the order that it gives: who can foresee it, and what is refused."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from placet.attest.draw import (
    MOST_DOCUMENTS,
    chosen_suites,
    draw_message,
    draw_order,
    drawn_otherwise,
    sign_draw,
    verify_draw,
)
from placet.attest.keys import KeyKind, new_signer
from placet.attest.predicates import KeyGrant, Kind, Role, Roles
from placet.attest.root import RootKey, new_root
from placet.attest.statement import Subject
from placet.attest.trust import Trust, sign_record
from placet.domain.digests import digest_bytes
from placet.domain.errors import DrawError, IntegrityError, UsageError
from placet.domain.records import (
    AdapterRef,
    BaseRef,
    EngineInfo,
    LedgerHead,
    Plan,
    PlannedSuite,
    PolicyRef,
    Sequential,
    Stage,
    SuiteRef,
)
from tests.support.offices import signer_named

SUITE = digest_bytes(b"suite")
HEAD = LedgerHead(size=7, root="ab" * 32)
EVALUATOR, SUBMITTER = signer_named("evaluator"), signer_named("sam")
DRAW = sign_draw(HEAD, EVALUATOR)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def plan(draw: str | None = DRAW, *, samples: int = 20, documents: int = 50, **suite: Any) -> Plan:
    """Return a plan for one suite, as its draw gives it."""
    drawn = draw_order(documents, samples, HEAD.root, draw, SUITE)
    values = {"samples": drawn, "documents": documents, **suite}
    adapter = AdapterRef(id=digest_bytes(b"a"), weights_id=digest_bytes(b"w"), label="mine")
    return Plan(
        adapter=adapter,
        base=BaseRef(id=digest_bytes(b"base"), label="base"),
        policy=PolicyRef(id="p", version="1", digest=digest_bytes(b"policy")),
        suites=(
            PlannedSuite(
                suite=SuiteRef(id="desk", version="1", digest=SUITE), stage=Stage.EVALUATION, **values
            ),
        ),
        engine=EngineInfo(name="placet", version="1", dtype="float32", device="cpu", layout="packed"),
        head=HEAD,
        draw=draw,
        planned_at=datetime(2026, 3, 2, tzinfo=UTC),
    )


# --- the order --------------------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.data())
def test_an_order_holds_distinct_documents_and_a_smaller_one_is_its_beginning(
    n: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, n))
    draw = data.draw(st.sampled_from([None, DRAW]))
    whole = draw_order(n, n, HEAD.root, draw, SUITE)
    assert sorted(whole) == list(range(n))
    assert draw_order(n, count, HEAD.root, draw, SUITE) == whole[:count]


def test_an_order_is_fixed_for_ever() -> None:
    assert draw_order(10, 4, "00" * 32, None, SUITE) == (6, 8, 5, 7)
    assert draw_order(10, 4, "00" * 32, base64.b64encode(bytes(64)).decode(), SUITE) == (0, 2, 5, 1)


def test_root_draw_and_suite_each_change_the_order() -> None:
    orders = {
        draw_order(50, 50, root, draw, suite)
        for root in ("00" * 32, "11" * 32)
        for draw in (None, DRAW, sign_draw(HEAD, SUBMITTER))
        for suite in (SUITE, digest_bytes(b""))
    }
    assert len(orders) == 12


@pytest.mark.parametrize("count", [0, 11, -1])
def test_more_samples_than_documents_are_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"cannot draw {count} of 10 documents"):
        draw_order(10, count, "00" * 32, None, SUITE)


def test_a_suite_that_nobody_could_draw_from_again_is_refused() -> None:
    with pytest.raises(UsageError, match="too large to be drawn from"):
        draw_order(MOST_DOCUMENTS + 1, 1, "00" * 32, None, SUITE)
    vast = plan().suites[0].model_copy(update={"documents": 2**53 - 1})
    assert drawn_otherwise(plan().model_copy(update={"suites": (vast,)})) == {"desk"}


def test_a_draw_that_is_not_base64_gives_no_order() -> None:
    with pytest.raises(IntegrityError, match="base64"):
        draw_order(10, 4, "00" * 32, "A", SUITE)


# --- who can foresee it -----------------------------------------------------------------------------------------


def test_whoever_knows_every_root_that_they_could_make_cannot_foresee_an_order() -> None:
    """A submitter tries wordings of the last record; for each there is another order, and none of theirs."""
    roots = [f"{number:064x}" for number in range(40)]
    theirs = {
        draw_order(50, 50, root, draw, SUITE)
        for root in roots
        for draw in (None, sign_draw(LedgerHead(size=7, root=root), SUBMITTER))
    }
    real = {
        draw_order(50, 50, root, sign_draw(LedgerHead(size=7, root=root), EVALUATOR), SUITE) for root in roots
    }

    assert len(real) == 40
    assert not real & theirs


def test_one_ed25519_key_gives_one_draw_for_a_state_and_p256_does_not() -> None:
    token = new_signer(KeyKind.P256)

    assert sign_draw(HEAD, EVALUATOR) == sign_draw(HEAD, EVALUATOR)
    assert sign_draw(HEAD, token) != sign_draw(HEAD, token)


def test_what_is_signed_is_no_envelope_and_no_checkpoint_and_names_all_of_the_state() -> None:
    message = draw_message(HEAD)

    assert message.startswith(b"placet draw v1\0")
    assert b"\0" not in message[len(b"placet draw v1\0") :]
    others = [LedgerHead(size=8, root=HEAD.root), LedgerHead(size=7, root="cd" * 32)]
    assert len({message, *map(draw_message, others)}) == 3


# --- what is held against a plan --------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", [EVALUATOR, new_signer(KeyKind.P256)], ids=["ed25519", "p256"])
def test_a_draw_of_the_plans_own_key_is_good(signer: Any) -> None:
    drawn = plan(sign_draw(HEAD, signer))

    verify_draw(drawn, signer.public)
    assert chosen_suites(drawn) == ()


def test_an_older_plan_has_nothing_to_verify_but_its_order() -> None:
    verify_draw(plan(None), EVALUATOR.public)
    assert chosen_suites(plan(None)) == ()


FALSE = {
    "of another key": sign_draw(HEAD, SUBMITTER),
    "over another size": sign_draw(LedgerHead(size=6, root=HEAD.root), EVALUATOR),
    "over another root": sign_draw(LedgerHead(size=7, root="cd" * 32), EVALUATOR),
    "made up": base64.b64encode(bytes(64)).decode(),
    "too short": base64.b64encode(b"short").decode(),
    "not base64": "A",
    "base64 with stray bits": DRAW.replace("==", "")[:-1] + "B==",
}


@pytest.mark.parametrize("draw", FALSE.values(), ids=FALSE)
def test_a_false_draw_is_refused(draw: str) -> None:
    false = plan().model_copy(update={"draw": draw})

    with pytest.raises(
        DrawError, match="not the signature of the plan's own key over the ledger state"
    ) as caught:
        verify_draw(false, EVALUATOR.public)
    assert "rest nothing on it" in caught.value.hint


def test_the_second_spelling_of_a_p256_signature_is_no_second_draw() -> None:
    token = new_signer(KeyKind.P256)
    r, s = decode_dss_signature(base64.b64decode(sign_draw(HEAD, token)))
    other = base64.b64encode(encode_dss_signature(r, P256_ORDER - s)).decode()

    with pytest.raises(DrawError):
        verify_draw(plan(other), token.public)


@pytest.mark.parametrize("text", ["", "not base64!", "A" * 201, "AAAA\n"])
def test_a_draw_that_is_no_text_of_a_signature_is_malformed(text: str) -> None:
    with pytest.raises(IntegrityError, match="a Plan record is malformed"):
        Plan.from_json(plan().to_json() | {"draw": text})


def test_documents_that_were_not_drawn_are_named() -> None:
    drawn = plan().suites[0].samples
    for samples in (drawn[::-1], (*drawn[:-1], next(n for n in range(50) if n not in drawn)), (), drawn * 3):
        assert chosen_suites(plan(samples=20).model_copy(update={"suites": _with(samples)})) == ("desk",)


def _with(samples: tuple[int, ...]) -> tuple[PlannedSuite, ...]:
    return tuple(item.model_copy(update={"samples": samples}) for item in plan().suites)


def test_without_its_draw_a_plan_is_an_older_one_whose_documents_do_not_fit() -> None:
    stripped = {"draw": None}

    assert chosen_suites(plan().model_copy(update=stripped)) == ("desk",)
    looked_at = plan(samples=50, sequential=Sequential(claim="benchmark", chunk=5))
    assert chosen_suites(looked_at.model_copy(update=stripped)) == ("desk",)
    # All documents, to the end: there was nothing to choose.
    assert chosen_suites(plan(samples=50).model_copy(update=stripped)) == ()
    assert drawn_otherwise(plan(samples=50).model_copy(update=stripped)) == {"desk"}
    twice = (*range(49), 48)
    assert chosen_suites(plan(None).model_copy(update={"suites": _with(twice)})) == ("desk",)


# --- wherever a record is believed ------------------------------------------------------------------------------


def _trust(*signers: Any) -> Trust:
    root_key = signer_named("root")
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    root = new_root("acme", [RootKey(root_key.public, "acme: root")], [root_key], expires=expires)
    grants = tuple(
        KeyGrant(
            key_id=item.public.key_id,
            public_key=item.public.pem,
            person=f"evaluator {number}",
            roles=(Role.EVALUATOR,),
            valid_from=0,
        )
        for number, item in enumerate(signers)
    )
    return Trust(
        root, Roles(office="acme", version=1, grants=grants, issued_at=datetime(2026, 1, 1, tzinfo=UTC))
    )


@pytest.mark.parametrize("signer", [EVALUATOR, new_signer(KeyKind.P256)], ids=["ed25519", "p256"])
def test_a_plan_is_believed_with_a_draw_of_its_own_signer_or_none(signer: Any) -> None:
    subjects = (Subject("it", digest_bytes(b"a")),)
    for draw in (sign_draw(HEAD, signer), None):
        envelope = sign_record(Kind.PLAN, plan(draw), subjects, signer)

        assert _trust(signer).verify(envelope, 7).record == plan(draw)


def test_a_plan_with_the_draw_of_another_evaluator_is_not_believed() -> None:
    other = signer_named("another evaluator")
    envelope = sign_record(Kind.PLAN, plan(), (Subject("it", digest_bytes(b"a")),), other)

    with pytest.raises(
        DrawError, match="the draw of the plan for mine is not the signature of the plan's own key"
    ):
        _trust(EVALUATOR, other).verify(envelope, 7)
