"""The two libraries that verify Ed25519 signatures: what libsodium accepts, OpenSSL accepts.

A record that one let in and the other refuses would be in the log and could not be read. The hard cases are points of
small order, of which RFC 8032 lets a verifier choose what to do, and second spellings of points and scalars.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.attest import signatures
from placet.attest.keys import PublicKey
from placet.attest.signatures import WORTH_IT, good_signatures
from placet.domain.errors import IntegrityError

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int]
MESSAGE = b"what was signed"


def _add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, P - 2, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, P - 2, P)
    return x % P, y % P


def _times(number: int, point: Point) -> Point:
    found = (0, 1)
    while number:
        if number & 1:
            found = _add(found, point)
        point, number = _add(point, point), number >> 1
    return found


def _with_y(y: int) -> Point:
    squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(squared, (P + 3) // 8, P)
    if (x * x - squared) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    return (P - x if x & 1 else x), y


def _spelled(point: Point, more: int = 0) -> bytes:
    return (point[1] + more | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = _with_y(4 * pow(5, P - 2, P) % P)
TWIST = _with_y(0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826)
"""A point of order 8."""


def _challenge(first: bytes, key: bytes) -> int:
    return int.from_bytes(hashlib.sha512(first + key + MESSAGE).digest(), "little") % L


def _cases(secret: int, nonce: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield (public key, signature): made as it should be, and with points of small order everywhere."""
    for key_twist in range(8):
        key = _spelled(_add(_times(secret, BASE), _times(key_twist, TWIST)))
        for twist in range(8):
            first = _spelled(_add(_times(nonce, BASE), _times(twist, TWIST)))
            scalar = (nonce + _challenge(first, key) * secret) % L
            yield key, first + scalar.to_bytes(32, "little")
            if scalar + L < 2**256:
                yield key, first + (scalar + L).to_bytes(32, "little")
    # Keys and first halves that are of small order themselves, in all spellings there are.
    small = [_times(number, TWIST) for number in range(8)]
    spelled = [_spelled(point) for point in small]
    spelled += [_spelled(point, P) for point in small if point[1] < 19]
    for key in spelled:
        for first in spelled:
            yield key, first + bytes(32)
            yield key, first + _challenge(first, key).to_bytes(32, "little")


def _by_openssl(key: PublicKey, signature: bytes) -> bool:
    try:
        key.verify(signature, MESSAGE)
    except IntegrityError:
        return False
    return True


def _by_libsodium(key: PublicKey, signature: bytes) -> bool:
    good = good_signatures([(key, signature, MESSAGE)] * WORTH_IT, 1)
    return good.has(key, signature, MESSAGE)


def test_the_arithmetic_here_is_that_of_the_curve() -> None:
    assert _times(L, BASE) == (0, 1) == _times(8, TWIST)
    assert _times(4, TWIST) != (0, 1)


@pytest.mark.parametrize(("secret", "nonce"), [(7, 11), (2**251 + 9, 2**200 + 3), (L - 1, 1)])
def test_what_libsodium_accepts_openssl_accepts(secret: int, nonce: int) -> None:
    accepted = [
        (_by_libsodium(PublicKey(key), signature), _by_openssl(PublicKey(key), signature))
        for key, signature in _cases(secret, nonce)
    ]
    assert (True, False) not in accepted
    assert accepted[0] == (True, True)
    assert (False, True) in accepted, "the cases are hard enough to tell the two apart"


@given(st.integers(1, L - 1), st.integers(1, L - 1), st.integers(0, 7))
def test_a_point_of_small_order_added_to_a_signature_is_seen_by_both(
    secret: int, nonce: int, twist: int
) -> None:
    key = _spelled(_times(secret, BASE))
    first = _spelled(_add(_times(nonce, BASE), _times(twist, TWIST)))
    scalar = (nonce + _challenge(first, key) * secret) % L
    signature = first + scalar.to_bytes(32, "little")

    assert _by_libsodium(PublicKey(key), signature) is (twist == 0)
    assert _by_openssl(PublicKey(key), signature) is (twist == 0)


def test_the_signature_by_which_a_cofactor_shows_is_one() -> None:
    key, signature = signatures._COFACTOR_KEY, signatures._COFACTOR_SIGNATURE
    secret, nonce = 7, 11
    moved = _add(_times(nonce, BASE), TWIST)
    assert (key, signature[:32]) == (_spelled(_times(secret, BASE)), _spelled(moved))
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key).digest(), "little") % L
    left = _times(int.from_bytes(signature[32:], "little"), BASE)
    right = _add(moved, _times(challenge * secret, BASE))
    assert left != right
    assert _times(8, left) == _times(8, right)
