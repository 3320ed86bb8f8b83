"""Which documents a plan runs, and in which order: drawn so that nobody who hands something in can foresee it.

The seed of the order is the root of a ledger state, the suite's digest and the plan's *draw*: the signature over that
state by the key that signs the plan. State and suite are fixed before the plan is written, and once it is logged
anybody can draw it again. The root alone would not do: whoever adds the last record before a plan can work out the root
that each wording of it gives. The signature takes the evaluator's private key.

A plan without a draw is older than draws are; its order comes of the root.

What this does not give: whoever holds the evaluator's key knows the order first. They can add a record and look again,
and with a P-256 key, or with an Ed25519 signer that does not follow RFC 8032, sign one state until an order suits.
`docs/explanation/statistics.md` says what follows.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache

from placet.attest.keys import PublicKey, Signer
from placet.attest.strict_json import parse_base64
from placet.domain.digests import Digest
from placet.domain.errors import DrawError, IntegrityError, UsageError
from placet.domain.records import LedgerHead, Plan

MOST_DOCUMENTS = 5_000_000
"""No suite has more: whoever draws an order again must not be kept at it for hours by a number in a record."""

_DRAW = b"placet draw v1\0"
_ORDER_OF_ROOT = b"placet sample order v1\0"
_ORDER = b"placet sample order v2\0"


# --- the draw ---------------------------------------------------------------------------------------------------


def draw_message(head: LedgerHead) -> bytes:
    """Return what is signed to draw from a ledger state.

    It begins like nothing else that a key of an office signs: envelopes' encodings begin with ``DSSEv1``, checkpoints
    with the name of a log, which holds no NUL.
    """
    return _DRAW + f"{head.size}\n{head.root}\n".encode()


def sign_draw(head: LedgerHead, signer: Signer) -> str:
    """Return the draw from a ledger state for plans that `signer` is going to sign, in base64."""
    return base64.b64encode(signer.sign(draw_message(head))).decode()


def verify_draw(plan: Plan, key: PublicKey) -> None:
    """Return if a plan's draw is the signature of `key`, which signed the plan, over the state that the plan names.

    A plan without a draw is an older one, of which there is nothing to verify.

    Raises:
        DrawError: It is not.
    """
    if plan.draw is None:
        return
    try:
        key.verify(parse_base64(plan.draw), draw_message(plan.head))
    except IntegrityError as error:
        raise DrawError(
            f"the draw of the plan for {plan.adapter.label} is not the signature of the plan's own key over the ledger "
            "state that it names",
            hint="somebody may have chosen its documents: rest nothing on it, and run `placet audit`",
        ) from error


# --- the order --------------------------------------------------------------------------------------------------


def draw_order(documents: int, samples: int, root: str, draw: str | None, suite: Digest) -> tuple[int, ...]:
    """Return `samples` distinct document numbers out of ``range(documents)``, in the order they run.

    Document ``i`` has the key SHA-256(seed, i) with the seed SHA-256(domain, root, suite, draw); the order is that of
    the keys. A smaller order with the same seed is the beginning of a larger one.

    Args:
        documents: How many documents the suite has.
        samples: How many to draw.
        root: Merkle root of the ledger state, hexadecimal.
        draw: The plan's draw, in base64; None for an older plan, whose order comes of the root alone.
        suite: The suite's digest.

    Raises:
        UsageError: `samples` is not between 1 and `documents`, or those are too many.
        IntegrityError: The draw is not base64.
    """
    if not 1 <= samples <= documents:
        raise UsageError(
            f"cannot draw {samples} of {documents} documents", hint=f"ask for 1 to {documents} samples"
        )
    if documents > MOST_DOCUMENTS:
        raise UsageError(
            f"a suite of {documents} documents is too large to be drawn from",
            hint=f"make suites of at most {MOST_DOCUMENTS} documents",
        )
    named = root.encode() + b"\0" + suite.encode() + b"\0"
    material = _ORDER_OF_ROOT + named if draw is None else _ORDER + named + parse_base64(draw)
    return _order(documents, hashlib.sha256(material).digest())[:samples]


@lru_cache(maxsize=8)  # plans that are drawn together share their orders
def _order(documents: int, seed: bytes) -> tuple[int, ...]:
    keys = [hashlib.sha256(seed + number.to_bytes(8, "big")).digest() for number in range(documents)]
    return tuple(sorted(range(documents), key=keys.__getitem__))


# --- a plan's documents -----------------------------------------------------------------------------------------


def drawn_otherwise(plan: Plan) -> frozenset[str]:
    """Return the suites of a plan whose documents are not those drawn for it, in that order.

    Whether the draw is its signer's is not asked here: see :func:`verify_draw`.
    """
    return frozenset(
        item.suite.id
        for item in plan.suites
        if not 1 <= len(item.samples) <= item.documents <= MOST_DOCUMENTS
        or item.samples
        != draw_order(item.documents, len(item.samples), plan.head.root, plan.draw, item.suite.digest)
    )


def chosen_suites(plan: Plan) -> tuple[str, ...]:
    """Return the suites of a plan whose documents somebody chose instead of drawing them, sorted.

    Those of :func:`drawn_otherwise`; of an older plan, without a draw, only those where an order decides anything: not
    a suite that is run whole and to its end.
    """
    otherwise = drawn_otherwise(plan)
    if plan.draw is None and otherwise:
        whole = {
            item.suite.id
            for item in plan.suites
            if item.sequential is None
            and len(item.samples) == item.documents
            and set(item.samples) == set(range(item.documents))
        }
        otherwise -= whole
    return tuple(sorted(otherwise))
