"""Signed notes: verifier keys, and the co-signatures of witnesses.

A co-signature says: this witness saw, at that moment, that this checkpoint continues every one it co-signed before.

Source: C2SP signed-note (verifier keys) and tlog-cosignature (signature type 0x04, ``cosignature/v1``).
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from placet.attest.keys import PublicKey, Signer
from placet.attest.strict_json import parse_base64
from placet.domain.errors import Error, IntegrityError, UsageError

LOG_KEY_TYPE = 0x01
WITNESS_KEY_TYPE = 0x04
_DASH = "\u2014"
_NAME = re.compile(r"[^\s+]+")
_SIGNATURE_BYTES = 8 + 64


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named key as signed notes spell it: ``NAME+HASH+BASE64``."""

    name: str
    kind: int
    key: PublicKey

    @property
    def hash(self) -> bytes:
        """The four bytes by which a signature line names the key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key.raw).digest()[:4]

    def __str__(self) -> str:
        """Return the key's text form."""
        encoded = base64.b64encode(bytes([self.kind]) + self.key.raw).decode()
        return f"{self.name}+{self.hash.hex()}+{encoded}"


def parse_verifier_key(text: str, kind: int) -> VerifierKey:
    """Return the key in `text`, of a kind.

    Raises:
        UsageError: It is none.
    """
    name, _, rest = text.strip().partition("+")
    wanted, _, encoded = rest.partition("+")
    hint = "it has the form NAME+HASH+BASE64: `placet witness show` and `placet ledger key` print it"
    try:
        blob = parse_base64(encoded)
    except Error as error:
        raise UsageError(f"{text[:80]!r} is no verifier key", hint=hint) from error
    if not _NAME.fullmatch(name) or len(blob) != 33 or blob[0] != kind:
        what = "a log's" if kind == LOG_KEY_TYPE else "a witness's"
        raise UsageError(f"{text[:80]!r} is not {what} verifier key", hint=hint)
    key = VerifierKey(name, kind, PublicKey(blob[1:]))
    if key.hash.hex() != wanted:
        raise UsageError(f"the hash in verifier key {name!r} is not the key's", hint="copy it again")
    return key


def check_name(name: str) -> None:
    """Return if `name` can name a key.

    Raises:
        UsageError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a witness", hint="no spaces and no '+': witness.example.org/ada, say"
        )


def cosign(note: str, name: str, signer: Signer, seconds: int) -> str:
    """Return `note` with one more signature: `name` saw it at `seconds` since 1970, and it continued the one before."""
    text = note.partition("\n\n")[0] + "\n"
    key = VerifierKey(name, WITNESS_KEY_TYPE, signer.public)
    signature = key.hash + seconds.to_bytes(8, "big") + signer.sign(_message(text, seconds))
    return f"{note}{_DASH} {name} {base64.b64encode(signature).decode()}\n"


def verify_cosignature(note: str, name: str, key: PublicKey) -> int:
    """Return when the witness co-signed the checkpoint in `note`, in seconds since 1970.

    Raises:
        IntegrityError: It did not.
    """
    text, separator, signatures = note.partition("\n\n")
    wanted = VerifierKey(name, WITNESS_KEY_TYPE, key).hash
    for line in signatures.removesuffix("\n").split("\n") if separator else ():
        dash, _, rest = line.partition(" ")
        signer, _, encoded = rest.rpartition(" ")
        if dash != _DASH or signer != name:
            continue
        try:
            blob = parse_base64(encoded)
        except Error:
            continue
        if blob[:4] == wanted and len(blob) == 4 + _SIGNATURE_BYTES:
            seconds = int.from_bytes(blob[4:12], "big")
            key.verify(blob[12:], _message(text + "\n", seconds))
            return seconds
    raise IntegrityError(
        f"the checkpoint is not co-signed by {name}", hint="get it from the witness, not from the office"
    )


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
