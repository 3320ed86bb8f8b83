"""Where keys are kept: encrypted files, or a name for one that a token or a key service holds.

A folder of keys holds, for each name, ``NAME.pem`` (encrypted PKCS#8) or ``NAME.uri`` (the URI of a key held
elsewhere), and beside it ``NAME.pem.pub``, the public half. A private key is only ever written encrypted. A passphrase
or PIN comes from the environment, the system's keyring or a prompt, in this order, never from the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.attest.keys import LocalSigner, PublicKey, Signer, parse_public_key
from placet.domain.digests import Digest
from placet.domain.errors import Error, IntegrityError, KeyAccessError, StorageError, UsageError

MIN_PASSPHRASE_CHARACTERS = 8
KEYRING_SERVICE = "placet"

Ask = Callable[[str], str]
"""Returns the passphrase of the key it is given the name of."""


@dataclass(frozen=True, slots=True)
class KeyFolder:
    """The keys that work on this machine, by name."""

    path: Path

    def names(self) -> tuple[str, ...]:
        """Return the names of the keys here, sorted."""
        found = {item.stem for suffix in ("pem", "uri") for item in self.path.glob(f"*.{suffix}")}
        return tuple(sorted(found))

    def holds(self, name: str) -> bool:
        """Tell whether there is a key of that name."""
        return self.file(name).exists() or self._uri_file(name).exists()

    def where(self, name: str) -> str:
        """Return in words where the private half of key `name` is."""
        if self._uri_file(name).exists():
            return self._uri_file(name).read_text(encoding="utf-8").strip()
        return f"{name}.pem"

    def file(self, name: str) -> Path:
        """Return where the encrypted private key `name` is or would be."""
        return self.path / f"{name}.pem"

    def public(self, name: str) -> PublicKey:
        """Return the public half of key `name`.

        Raises:
            KeyAccessError: There is no such key.
            IntegrityError: Its file holds none.
        """
        try:
            text = self.file(name).with_name(f"{name}.pem.pub").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise KeyAccessError(f"no key {name!r} here", hint="`placet keys list` names them") from error
        return parse_public_key(text)

    def has_public(self, name: str) -> bool:
        """Tell whether the public half of key `name` lies beside it."""
        return self.file(name).with_name(f"{name}.pem.pub").exists()

    def write_public(self, name: str, public: PublicKey) -> None:
        """Put the public half of key `name` beside it."""
        self.file(name).with_name(f"{name}.pem.pub").write_text(public.pem)

    def name_of(self, key_id: str) -> str | None:
        """Return the name under which the key lies here, if it does."""
        for name in self.names():
            with suppress(Error):
                if self.public(name).key_id == key_id:
                    return name
        return None

    def signer(self, name: str, ask: Ask | None = None) -> Signer:
        """Return the signer of key `name`.

        Raises:
            KeyAccessError: No such key, or it does not open.
        """
        if self._uri_file(name).exists():
            key = self.public(name).key_id
            return self._remote(name, lambda: passphrase_for(name, ask, key))
        path = self.file(name)
        key_id: Digest | None = None
        with suppress(Error):
            key_id = self.public(name).key_id
        return load_signer(path, passphrase_for(name, ask, key_id) if path.exists() else "")

    def open(self, name: str, passphrase: str) -> Signer:
        """Return the signer of key `name`, with this very passphrase or PIN and no other.

        Raises:
            KeyAccessError: No such key, or it does not open.
        """
        if self._uri_file(name).exists():
            return self._remote(name, lambda: passphrase)
        return load_signer(self.file(name), passphrase)

    def add(self, name: str, signer: LocalSigner, passphrase: str) -> None:
        """Keep a private key under `name`; see :func:`save_key`."""
        require_name(name)
        if self.holds(name):
            raise _taken(name)
        save_key(signer, self.file(name), passphrase)

    def add_uri(self, name: str, uri: str, public: PublicKey) -> None:
        """Keep the URI of a key that a token or a key service holds.

        Raises:
            UsageError: A URI of a kind that is not used here.
            KeyAccessError: The name is taken.
        """
        from placet.attest.remote import require_scheme

        require_name(name)
        require_scheme(uri)
        if self.holds(name):
            raise _taken(name)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_public(name, public)
            self._uri_file(name).write_text(uri + "\n")
        except OSError as error:
            raise _unwritable(f"{name}.uri", error) from error

    def _remote(self, name: str, secret: Callable[[], str]) -> Signer:
        from placet.attest.remote import RemoteSigner

        uri = self._uri_file(name).read_text(encoding="utf-8").strip()
        return RemoteSigner(name, uri, self.public(name), secret)

    def _uri_file(self, name: str) -> Path:
        return self.path / f"{name}.uri"


def require_name(name: str) -> None:
    """Return if `name` can name a key's file.

    Raises:
        UsageError: It cannot.
    """
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise UsageError(f"{name!r} cannot name a key", hint="use letters, digits, '-', '_' and '.'")


def save_key(signer: LocalSigner, path: Path, passphrase: str) -> None:
    """Write the private key to `path` (encrypted PKCS#8, mode 0600) and the public one to `path` + ``.pub``.

    The file appears whole or not at all.

    Raises:
        KeyAccessError: The passphrase is too short, or a key file is already there.
        StorageError: The disk is full, read-only or unreadable.
    """
    from cryptography.hazmat.primitives import serialization

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
        raise _taken(path.stem) from error
    except OSError as error:
        raise _unwritable(path.name, error) from error
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def load_signer(path: Path, passphrase: str) -> LocalSigner:
    """Return a signer with the key at `path`.

    Raises:
        KeyAccessError: No such file, unencrypted, wrong passphrase, or a kind of key that is not used here.
    """
    from cryptography.hazmat.primitives import serialization

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
    if isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
        signer = LocalSigner(key)
        with suppress(IntegrityError):
            _ = signer.public  # P-256 is the only curve of ours
            return signer
    raise KeyAccessError(
        f"{path.name} is neither an Ed25519 nor a P-256 key", hint="make one with `placet keys new`"
    )


def passphrase_for(name: str, prompt: Ask | None = None, key_id: str | None = None) -> str:
    """Return the passphrase of key `name`: from the environment, the keyring, or `prompt`.

    The environment is ``PLACET_PASSPHRASE_<NAME>``, then ``PLACET_PASSPHRASE``. The keyring is asked by the key's id.

    Raises:
        KeyAccessError: None knows it and there is nobody to ask.
    """
    variable = "PLACET_PASSPHRASE_" + name.upper().replace("-", "_").replace(".", "_")
    for candidate in (variable, "PLACET_PASSPHRASE"):
        if value := os.environ.get(candidate):
            return value
    if key_id is not None and (value := _remembered(key_id)) is not None:
        return value
    if prompt is not None:
        return prompt(name)
    raise KeyAccessError(
        f"the passphrase of key {name!r} is not known",
        hint=f"run in a terminal to be asked, or set {variable} (or PLACET_PASSPHRASE)",
    )


def remember(key_id: str, passphrase: str) -> None:
    """Put a passphrase into the system's keyring.

    Raises:
        KeyAccessError: There is no keyring, or it refused.
    """
    keyring, errors = _keyring()
    try:
        keyring.set_password(KEYRING_SERVICE, key_id, passphrase)
    except errors.KeyringError as error:
        raise KeyAccessError(
            f"the keyring did not take it: {error}",
            hint="is there a keyring on this system, and is it unlocked?",
        ) from error


def forget(key_id: str) -> None:
    """Take a passphrase out of the system's keyring.

    Raises:
        KeyAccessError: There is no keyring, or it holds none for this key.
    """
    keyring, errors = _keyring()
    try:
        keyring.delete_password(KEYRING_SERVICE, key_id)
    except errors.KeyringError as error:
        raise KeyAccessError(
            f"the keyring holds nothing for this key: {error}", hint="`placet keys remember` puts it there"
        ) from error


def _remembered(key_id: str) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError:
        return None  # an optional extra
    try:
        return keyring.get_password(KEYRING_SERVICE, key_id)
    except KeyringError:
        return None  # a machine without a keyring, or a locked one: the prompt is next


def _keyring() -> tuple[Any, Any]:
    try:
        import keyring
        from keyring import errors
    except ModuleNotFoundError as error:
        raise KeyAccessError(
            "the keyring library is not installed", hint="pip install 'placet[keyring]'"
        ) from error
    return keyring, errors


def _taken(name: str) -> KeyAccessError:
    return KeyAccessError(
        f"{name}.pem exists already", hint="a key is never overwritten; choose another name"
    )


def _unwritable(name: str, error: OSError) -> StorageError:
    return StorageError(
        f"{name} cannot be written: {error.strerror}", hint="check free space and permissions"
    )
