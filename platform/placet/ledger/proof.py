"""Proof files: a record's place in the log with all that is needed to check it offline, as text.

Source: C2SP tlog-proof.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from placet.attest.strict_json import parse_base64
from placet.domain.errors import Error, IntegrityError
from placet.ledger.checkpoint import Checkpoint
from placet.ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion

FIRST_LINE = "c2sp.org/tlog-proof@v1"
_MAX_HASHES = 64


@dataclass(frozen=True, slots=True)
class ProofFile:
    """A proof as it is written; verified by nobody yet."""

    index: int
    path: tuple[bytes, ...]
    checkpoint: str


def dump_proof(proof: ProofFile) -> str:
    """Return the text of a proof file."""
    lines = [FIRST_LINE, f"index {proof.index}", *(base64.b64encode(item).decode() for item in proof.path)]
    return "\n".join(lines) + "\n\n" + proof.checkpoint


def parse_proof(text: str) -> ProofFile:
    """Return the proof in `text`.

    Raises:
        IntegrityError: It is no proof file.
    """
    head, separator, note = text.partition("\n\n")
    first, *rest = head.split("\n")
    try:
        if first != FIRST_LINE or not separator or not rest:
            raise ValueError("it does not begin like one")
        # Opaque data of the one who made it may stand here; it proves nothing.
        if rest[0].startswith("extra "):
            parse_base64(rest.pop(0).removeprefix("extra "))
        word, _, number = rest[0].partition(" ") if rest else ("", "", "")
        if word != "index" or not number.isdecimal() or str(int(number)) != number:
            raise ValueError("it names no index")
        path = tuple(parse_base64(line) for line in rest[1:])
        if len(path) > _MAX_HASHES or any(len(item) != HASH_BYTES for item in path):
            raise ValueError("a hash is 32 bytes")
    except (Error, ValueError) as error:
        raise IntegrityError(
            f"not a proof file: {error}", hint="make it with `placet ledger proof`"
        ) from error
    return ProofFile(int(number), path, note)


def verify_proof(
    text: str, envelope: bytes, verify_note: Callable[[str], Checkpoint]
) -> tuple[int, Checkpoint]:
    """Return the index at which a proof file shows `envelope` to be, and the checkpoint it shows it under.

    Args:
        text: The proof file.
        envelope: The record's exact bytes.
        verify_note: Verifies the checkpoint's signature: by the log's key, and by witnesses if that is wanted.

    Raises:
        IntegrityError: The proof does not hold.
    """
    proof = parse_proof(text)
    checkpoint = verify_note(proof.checkpoint)
    verify_inclusion(leaf_hash(envelope), proof.index, checkpoint.size, proof.path, checkpoint.root)
    return proof.index, checkpoint
