from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.attest import signatures
from placet.attest.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    pre_authentication_encoding,
    sign_statement,
    verify_envelope,
)
from placet.attest.keys import KeyKind, PublicKey, new_signer
from placet.attest.signatures import WORTH_IT, Signed, good_signatures
from placet.attest.statement import Subject, build_statement
from placet.domain.digests import digest_bytes
from placet.domain.errors import IntegrityError
from tests.support.offices import signer_named

ADA, BEN = signer_named("ada"), signer_named("ben")
COUNT = 2 * WORTH_IT
MESSAGES = [b"message %d" % number for number in range(COUNT)]
SIGNED: list[Signed] = [(ADA.public, ADA.sign(message), message) for message in MESSAGES]


def _altered(item: Signed) -> list[Signed]:
    key, signature, message = item
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    return [
        (key, flipped, message),
        (key, signature, message + b" "),
        (BEN.public, signature, message),
        (key, signature[:-1], message),
        (key, b"", message),
        (PublicKey(key.raw[:-1]), signature, message),
        (PublicKey(b""), signature, message),
    ]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_good_signatures_are_found_good_in_any_order(threads: int) -> None:
    good = good_signatures(SIGNED, threads)
    assert all(good.has(*item) for item in reversed(SIGNED))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("at", [0, 1, COUNT // 2, COUNT - 1])
def test_what_is_not_signed_is_not_found_good_and_spoils_nothing_else(threads: int, at: int) -> None:
    for bad in _altered(SIGNED[at]):
        given: Sequence[Signed] = [*SIGNED[:at], bad, *SIGNED[at + 1 :]]
        good = good_signatures(given, threads)
        assert [good.has(*item) for item in given] == [item is not bad for item in given]


@given(st.integers(0, 63), st.integers(1, 255), st.integers(0, COUNT - 1))
def test_no_flipped_byte_of_a_signature_is_found_good(position: int, flip: int, at: int) -> None:
    key, signature, message = SIGNED[at]
    flipped = signature[:position] + bytes([signature[position] ^ flip]) + signature[position + 1 :]
    good = good_signatures([(key, flipped, message)] * WORTH_IT, 1)
    assert not good.has(key, flipped, message)


def test_nothing_is_good_that_was_not_asked_for() -> None:
    extra = (ADA.public, ADA.sign(b"another"), b"another")
    good = good_signatures(SIGNED)
    assert not good.has(*extra)
    assert not good.has(ADA.public, SIGNED[0][1], MESSAGES[1])


def test_few_signatures_and_other_kinds_of_key_are_left_to_the_ordinary_way() -> None:
    token = new_signer(KeyKind.P256)
    others = [(token.public, token.sign(message), message) for message in MESSAGES]
    good = good_signatures(SIGNED[: WORTH_IT - 1])
    assert not good.has(*SIGNED[0])
    good = good_signatures(others)
    assert not good.has(*others[0])


def test_a_failure_while_checking_is_raised_and_no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(part: Sequence[Signed]) -> list[Signed]:
        raise MemoryError("no memory")

    monkeypatch.setattr(signatures, "_good", fails)
    with pytest.raises(MemoryError, match="no memory"):
        good_signatures(SIGNED, 2)
    assert not any(thread.name.startswith("signatures") for thread in threading.enumerate())


def test_an_envelope_is_opened_without_verifying_again_only_under_the_key_it_names() -> None:
    subject = (Subject("x", digest_bytes(b"x")),)
    made = [
        sign_statement(build_statement("https://example.org/x/v1", subject, {"n": number}), ADA)
        for number in range(COUNT)
    ]
    signed = [
        (ADA.public, item.signature, pre_authentication_encoding(PAYLOAD_TYPE, item.payload)) for item in made
    ]
    good = good_signatures(signed)
    assert [verify_envelope(item, ADA.public, good).predicate["n"] for item in made] == [*range(COUNT)]
    with pytest.raises(IntegrityError, match="names another key"):
        verify_envelope(made[0], BEN.public, good)
    swapped = Envelope(made[1].payload, made[0].key_id, made[0].signature, made[0].raw)
    with pytest.raises(IntegrityError, match="does not match"):
        verify_envelope(swapped, ADA.public, good)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_library_that_multiplies_by_the_cofactor_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr("nacl.bindings.crypto_sign_open", lambda signed, key: signed[64:])
    signatures._without_cofactor.cache_clear()
    try:
        good = good_signatures(SIGNED, threads)
        assert not any(good.has(*item) for item in SIGNED)
    finally:
        signatures._without_cofactor.cache_clear()
