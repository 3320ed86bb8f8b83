"""Checking many signatures at once, ahead of everything else that is checked of their records.

What comes out is which signatures are good, and no more: whoever opens an envelope asks for it, and verifies what was
not found good as always (:func:`placet.attest.envelope.verify_envelope`). So nothing is ever taken unchecked, and what
is refused is refused at its place in the order, with the same words.

Ed25519 only, by libsodium: it takes about half the time of OpenSSL, and while it computes, other threads go on. It
accepts nothing that OpenSSL refuses; conformance tests hold both to that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from placet.attest.keys import KeyKind, PublicKey

WORTH_IT = 64
"""Fewer signatures are verified sooner than the library is loaded."""

_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
_AT_ONCE = 128
_MOST_THREADS = 8  # between its calls each needs the interpreter, which is one

# Over the empty message, the first half moved by a point of order 8: good only where the equation is multiplied by the
# cofactor, as RFC 8032, section 5.1.7, allows and OpenSSL does not do.
_COFACTOR_KEY = bytes.fromhex("b862409fb5c4c4123df2abf7462b88f041ad36dd6864ce872fd5472be363c5b1")
_COFACTOR_SIGNATURE = bytes.fromhex(
    "5b94d525f09dbb3f8bec71da454b8a76c21f9edc1a6b2c8a2650090c0c6a2bd6"
    "35add1fcb6a33c4cb13951738f7443c5ca263a23d6c070067a0fad37d0533c01"
)

Signed = tuple[PublicKey, bytes, bytes]
"""A key, a signature and the message."""


class GoodSignatures:
    """Signatures that were verified.

    Args:
        good: They.
    """

    def __init__(self, good: Iterable[Signed]) -> None:
        self._messages = {(key, signature): message for key, signature, message in good}

    def has(self, key: PublicKey, signature: bytes, message: bytes) -> bool:
        """Tell whether it was found that `signature` is `key`'s over `message`."""
        return self._messages.get((key, signature)) == message


def good_signatures(signed: Iterable[Signed], threads: int | None = None) -> GoodSignatures:
    """Return which of `signed` are good, as far as that can be told quickly.

    Args:
        signed: What to look at.
        threads: How many at a time; as many as there are cores by default, and at most eight.
    """
    # The library reads as many bytes as these should be, without looking.
    form = (KeyKind.ED25519, _KEY_BYTES, _SIGNATURE_BYTES)
    work = [item for item in signed if (item[0].kind, len(item[0].raw), len(item[1])) == form]
    if len(work) < WORTH_IT:
        return GoodSignatures(())
    parts = [work[at : at + _AT_ONCE] for at in range(0, len(work), _AT_ONCE)]
    count = threads or min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    if count == 1:
        return GoodSignatures(item for part in parts for item in _good(part))
    with ThreadPoolExecutor(count, thread_name_prefix="signatures") as pool:
        return GoodSignatures(item for part in pool.map(_good, parts) for item in part)


def _good(part: Sequence[Signed]) -> list[Signed]:
    if not _without_cofactor():
        return []  # every one is then verified at its place, as it would be without this module
    return [item for item in part if _opens(*item)]


@cache
def _without_cofactor() -> bool:
    return not _opens(PublicKey(_COFACTOR_KEY), _COFACTOR_SIGNATURE, b"")


def _opens(key: PublicKey, signature: bytes, message: bytes) -> bool:
    from nacl.bindings import crypto_sign_open
    from nacl.exceptions import BadSignatureError

    try:
        crypto_sign_open(signature + message, key.raw)
    except BadSignatureError:
        return False
    return True
