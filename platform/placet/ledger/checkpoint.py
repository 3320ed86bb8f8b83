"""Signed checkpoints: the size and root of the log at a moment, as C2SP signed notes.

Source: C2SP tlog-checkpoint and signed-note (Ed25519, signature type 0x01).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from placet.attest.keys import PublicKey, Signer, parse_public_key
from placet.attest.predicates import Role
from placet.attest.strict_json import parse_base64
from placet.attest.trust import Trust
from placet.domain.errors import Error, IntegrityError, NotAuthorizedError
from placet.domain.records import LedgerHead

_ED25519 = b"\x01"
_DASH = "\u2014"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint with the note it was read from."""

    origin: str
    size: int
    root: bytes
    note: str

    @property
    def head(self) -> LedgerHead:
        """Size and root as they are named in records."""
        return LedgerHead(size=self.size, root=self.root.hex())


def key_hash(name: str, key: PublicKey) -> bytes:
    """Return the 4-byte key hash of signed notes."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + key.raw).digest()[:4]


def sign_checkpoint(origin: str, size: int, root: bytes, signer: Signer) -> Checkpoint:
    """Return the checkpoint of a log of `size` records under `root`, signed by the log's key."""
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = key_hash(origin, signer.public) + signer.sign(text.encode())
    note = f"{text}\n{_DASH} {origin} {base64.b64encode(signature).decode()}\n"
    return Checkpoint(origin, size, root, note)


def verify_checkpoint(note: str, origin: str, key: PublicKey) -> Checkpoint:
    """Return the checkpoint in `note` if it is `origin`'s and signed by `key`.

    Raises:
        IntegrityError: Malformed, of another log, or not signed by the key.
    """
    text, separator, signatures = note.partition("\n\n")
    lines = text.split("\n")
    try:
        if not separator or len(lines) < 3 or not signatures.endswith("\n"):
            raise ValueError("not a signed note")
        if lines[1] != str(int(lines[1])) or int(lines[1]) < 0:
            raise ValueError("a log size is a plain decimal number")
        size, root = int(lines[1]), parse_base64(lines[2])
        if len(root) != hashlib.sha256().digest_size:
            raise ValueError("a root is 32 bytes")
        found = _signature_of(signatures, origin, key)
    except (Error, ValueError) as error:
        raise IntegrityError(
            f"a checkpoint is malformed: {error}", hint="get it from the office again"
        ) from error
    if lines[0] != origin:
        raise IntegrityError(f"a checkpoint of {lines[0]!r}, not of {origin!r}", hint="it is another log's")
    if found is None:
        raise IntegrityError(
            "the checkpoint is not signed by the log's key",
            hint="it was forged, or the log's key was changed",
        )
    key.verify(found, (text + "\n").encode())
    return Checkpoint(origin, size, root, note)


def verify_checkpoint_by_any(note: str, origin: str, keys: Sequence[PublicKey]) -> Checkpoint:
    """Return the checkpoint in `note` if it is `origin`'s and signed by one of `keys`.

    Raises:
        IntegrityError: Malformed, of another log, or signed by none of them.
    """
    failure: IntegrityError | None = None
    for key in keys:
        try:
            return verify_checkpoint(note, origin, key)
        except IntegrityError as error:
            failure = failure or error
    raise failure or IntegrityError(
        "no key may sign checkpoints", hint="grant the log role: `placet trust add`"
    )


def verify_log_checkpoint(trust: Trust, note: str, origin: str) -> Checkpoint:
    """Return the checkpoint in `note`, signed by a key that held the log role when the log had that size.

    A log key signs from the record that grants it the role up to the one that ends the grant.

    Raises:
        IntegrityError: No such key signed it.
        NotAuthorizedError: One did, for a size at which it did not hold the role.
    """
    failure: IntegrityError | None = None
    for grant in trust.roles.grants:
        if Role.LOG not in grant.roles:
            continue
        try:
            checkpoint = verify_checkpoint(note, origin, parse_public_key(grant.public_key))
        except IntegrityError as error:
            failure = failure or error
            continue
        until = grant.valid_until
        if grant.valid_from < checkpoint.size and (until is None or checkpoint.size <= until + 1):
            return checkpoint
        failure = NotAuthorizedError(
            f"the log's key of {grant.person} signed a checkpoint of size {checkpoint.size}, but it held the role "
            f"from {grant.valid_from}" + ("" if until is None else f" until {until}"),
            hint="a log key that was retired must not sign any more: get the checkpoint from the office again",
        )
    raise failure or IntegrityError("no key holds the log role", hint="grant it: `placet trust add`")


def _signature_of(block: str, name: str, key: PublicKey) -> bytes | None:
    found: bytes | None = None
    # Every line is looked at, so that nothing can be hung on behind the signature.
    for line in block.removesuffix("\n").split("\n"):
        dash, _, rest = line.partition(" ")
        signer, _, encoded = rest.rpartition(" ")
        if dash != _DASH:
            raise ValueError("a signature line starts with a dash")
        blob = parse_base64(encoded)
        if found is None and signer == name and blob[:4] == key_hash(name, key):
            found = blob[4:]
    return found
