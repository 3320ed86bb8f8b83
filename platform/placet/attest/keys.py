"""Keys: what they are called, how their signatures are checked, and signing with one held in memory.

Records and checkpoints are signed with Ed25519. ECDSA over P-256 is there for released files (the OpenSSF format
knows no Ed25519) and for tokens and key services that hold no Ed25519 key. A key's id is the SHA-256 of its public
SubjectPublicKeyInfo (DER), computed from the key itself, so one key has one id however its file is spelled. An ECDSA
signature counts only in its low-S form, so that nobody without the key can turn one into a second one.

Sources: RFC 8032, RFC 8410, RFC 5480, FIPS 186-5; low-S as in BIP 146.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_FIELD = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = {y + k * _FIELD for y in (0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8) for k in (0, 1)}
"""y coordinates of the curve's points of order 1, 2, 4 and 8: anybody can sign for such a key."""

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class KeyKind(StrEnum):
    """The two kinds of key."""

    ED25519 = "ed25519"
    P256 = "p256"


# DER of SubjectPublicKeyInfo up to the key's own bytes, and how many of those there are.
_SPKI: dict[KeyKind, tuple[bytes, int]] = {
    KeyKind.ED25519: (bytes.fromhex("302a300506032b6570032100"), 32),
    KeyKind.P256: (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"), 65),
}


class Signer(Protocol):
    """Signs with one key; where the key lives is its own business."""

    @property
    def public(self) -> PublicKey:
        """The key's public half."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: 32 raw bytes of Ed25519, or the 65 bytes of an uncompressed P-256 point."""

    raw: bytes
    kind: KeyKind = KeyKind.ED25519

    def __hash__(self) -> int:
        return hash(self.raw)  # asked for several times a record

    @property
    def der(self) -> bytes:
        """The key as SubjectPublicKeyInfo."""
        return _SPKI[self.kind][0] + self.raw

    @property
    def key_id(self) -> Digest:
        """SHA-256 of the DER SubjectPublicKeyInfo."""
        return _key_id(self)

    @property
    def pem(self) -> str:
        """The key as SubjectPublicKeyInfo PEM."""
        text = base64.b64encode(self.der).decode()
        lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
        return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if `signature` is this key's over `message`.

        Raises:
            IntegrityError: It is not, or it is an ECDSA signature in its second spelling.
        """
        key = _loaded(self)
        try:
            if isinstance(key, Ed25519PublicKey):
                key.verify(signature, message)
            elif low_s(signature) != signature:
                raise InvalidSignature
            else:
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError) as error:
            raise IntegrityError(
                "a signature does not match its message",
                hint="the bytes were altered, or another key signed them",
            ) from error


@lru_cache(maxsize=1024)
def _key_id(key: PublicKey) -> Digest:
    return Digest("sha256:" + hashlib.sha256(key.der).hexdigest())


@lru_cache(maxsize=1024)
def _loaded(key: PublicKey) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
    if key.kind is KeyKind.ED25519:
        return Ed25519PublicKey.from_public_bytes(key.raw)
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.raw)


def low_s(signature: bytes) -> bytes:
    """Return the one spelling of an ECDSA signature (DER) over P-256 that counts.

    Raises:
        ValueError: Not the DER of two integers.
    """
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, _P256_ORDER - s))


@lru_cache(maxsize=1024)
def parse_public_key(pem: str) -> PublicKey:
    """Return the public key in `pem`.

    Raises:
        IntegrityError: Not PEM, neither an Ed25519 nor a P-256 key, or one of small order, for which anybody can sign.
    """
    key = _plain(pem)
    if key is None:
        key = _any_spelling(pem)
    if key.kind is KeyKind.ED25519 and int.from_bytes(key.raw, "little") % (1 << 255) in _SMALL_ORDER:
        raise IntegrityError("a key that anybody can sign for", hint="make one with `placet keys new`")
    return key


def _plain(pem: str) -> PublicKey | None:
    """Return the key if `pem` is spelled as we spell it; parsing the rest loads half of a cryptographic library."""
    try:
        lines = pem.split("\n")
        der = base64.b64decode("".join(lines[1:-2]), validate=True)
    except ValueError:
        return None
    for kind, (prefix, size) in _SPKI.items():
        if der.startswith(prefix) and len(der) == len(prefix) + size:
            key = PublicKey(der[len(prefix) :], kind)
            if key.pem == pem and (kind is KeyKind.ED25519 or _is_point(key)):
                return key
    return None


def _is_point(key: PublicKey) -> bool:
    try:
        _loaded(key)
    except ValueError:
        return False
    return True


def _any_spelling(pem: str) -> PublicKey:
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityError(
            "not a public key in PEM form", hint="give an Ed25519 or P-256 public key"
        ) from error
    return public_key(key)


def public_key(key: PublicKeyTypes) -> PublicKey:
    """Return our form of a key of the cryptography library.

    Raises:
        IntegrityError: It is neither an Ed25519 nor a P-256 key.
    """
    from cryptography.hazmat.primitives import serialization

    if isinstance(key, Ed25519PublicKey):
        return PublicKey(key.public_bytes_raw())
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        form = serialization.PublicFormat.UncompressedPoint
        return PublicKey(key.public_bytes(serialization.Encoding.X962, form), KeyKind.P256)
    raise IntegrityError(
        "neither an Ed25519 nor a P-256 key", hint="make one that we can use: `placet keys new`"
    )


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """Signs with a private key held in memory."""

    private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey

    @property
    def public(self) -> PublicKey:
        """The key's public half."""
        return public_key(self.private.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`: 64 bytes of Ed25519, or ECDSA over SHA-256 in DER and low-S."""
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(message)
        return low_s(self.private.sign(message, ec.ECDSA(hashes.SHA256())))


def new_signer(kind: KeyKind = KeyKind.ED25519) -> LocalSigner:
    """Return a signer with a fresh key."""
    if kind is KeyKind.ED25519:
        return LocalSigner(Ed25519PrivateKey.generate())
    return LocalSigner(ec.generate_private_key(ec.SECP256R1()))
