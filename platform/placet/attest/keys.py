"""Ed25519 keys: made, kept as encrypted PKCS#8 files, opened for signing.

A key's id is the SHA-256 of its public SubjectPublicKeyInfo (DER), so one key has one id whatever it is called.
A private key is only ever written encrypted; a passphrase comes from the environment or a prompt, never from
the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from placet.domain.digests import Digest, digest_bytes
from placet.domain.errors import IntegrityError, KeyAccessError, StorageError

MIN_PASSPHRASE_CHARACTERS = 8

_FIELD = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = {y + k * _FIELD for y in (0, 1, _FIELD - 1, _ORDER_8, _FIELD - _ORDER_8) for k in (0, 1)}
"""y coordinates of the curve's points of order 1, 2, 4 and 8: anybody can sign for such a key."""


class Signer(Protocol):
    """Signs with one key; where the key lives is its own business."""

    @property
    def public(self) -> PublicKey:
        """The key's public half."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key: 32 raw bytes."""

    raw: bytes

    @property
    def key_id(self) -> Digest:
        """SHA-256 of the DER SubjectPublicKeyInfo."""
        der = self._key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return digest_bytes(der)

    @property
    def pem(self) -> str:
        """The key as SubjectPublicKeyInfo PEM."""
        return (
            self._key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if `signature` is this key's over `message`.

        Raises:
            IntegrityError: It is not.
        """
        try:
            self._key().verify(signature, message)
        except InvalidSignature as error:
            raise IntegrityError(
                "a signature does not match its message",
                hint="the bytes were altered, or another key signed them",
            ) from error

    def _key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)


def parse_public_key(pem: str) -> PublicKey:
    """Return the public key in `pem`.

    Raises:
        IntegrityError: Not PEM, not an Ed25519 key, or one of small order, for which anybody can sign.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityError("not a public key in PEM form", hint="give an Ed25519 public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise IntegrityError("not an Ed25519 key", hint="records are signed with Ed25519: `placet keys new`")
    raw = key.public_bytes_raw()
    if int.from_bytes(raw, "little") % (1 << 255) in _SMALL_ORDER:
        raise IntegrityError("a key that anybody can sign for", hint="make one with `placet keys new`")
    return PublicKey(raw)


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """Signs with a private key held in memory."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The key's public half."""
        return PublicKey(self.private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature of `message` (64 bytes)."""
        return self.private.sign(message)


def new_signer() -> LocalSigner:
    """Return a signer with a fresh key."""
    return LocalSigner(Ed25519PrivateKey.generate())


def save_key(signer: LocalSigner, path: Path, passphrase: str) -> None:
    """Write the private key to `path` (encrypted PKCS#8, mode 0600) and the public one to `path` + ``.pub``.

    The file appears whole or not at all.

    Raises:
        KeyAccessError: The passphrase is too short, or a key file is already there.
        StorageError: The disk is full, read-only or unreadable.
    """
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise KeyAccessError(
            f"the passphrase is shorter than {MIN_PASSPHRASE_CHARACTERS} characters",
            hint="choose a longer one; a sentence is easy to remember",
        )
    data = signer.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # A link, unlike a rename, never takes the place of a file that is there.
        os.link(unfinished, path)
        path.with_name(path.name + ".pub").write_text(signer.public.pem)
    except FileExistsError as error:
        raise KeyAccessError(
            f"{path.name} exists already", hint="a key is never overwritten; choose another name"
        ) from error
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written: {error.strerror}", hint="check free space and permissions"
        ) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def load_signer(path: Path, passphrase: str) -> LocalSigner:
    """Return a signer with the key at `path`.

    Raises:
        KeyAccessError: No such file, unencrypted, wrong passphrase, or not Ed25519.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeyAccessError(
            f"no key file {path}", hint="`placet keys list` names the keys here; `placet keys new` makes one"
        ) from error
    try:
        key = serialization.load_pem_private_key(data, passphrase.encode())
    except TypeError as error:
        raise KeyAccessError(
            f"{path.name} is not encrypted", hint="a private key is kept encrypted: make a new one"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyAccessError(
            f"{path.name} does not open: wrong passphrase, or a damaged file", hint="try the passphrase again"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyAccessError(f"{path.name} is not an Ed25519 key", hint="make one with `placet keys new`")
    return LocalSigner(key)


def passphrase_for(name: str, prompt: Callable[[str], str] | None = None) -> str:
    """Return the passphrase of key `name`: ``PLACET_PASSPHRASE_<NAME>``, ``PLACET_PASSPHRASE``, or `prompt`.

    Raises:
        KeyAccessError: Neither is set and there is nobody to ask.
    """
    variable = "PLACET_PASSPHRASE_" + name.upper().replace("-", "_").replace(".", "_")
    for candidate in (variable, "PLACET_PASSPHRASE"):
        if value := os.environ.get(candidate):
            return value
    if prompt is not None:
        return prompt(name)
    raise KeyAccessError(
        f"the passphrase of key {name!r} is not known",
        hint=f"run in a terminal to be asked, or set {variable} (or PLACET_PASSPHRASE)",
    )
