"""Proof files: a record's place in the log with all that is needed to check it offline, as text.

Source: C2SP tlog-proof.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from placet.attest.strict_json import parse_base64
from placet.domain.errors import Error, IntegrityError, UsageError
from placet.ledger.checkpoint import Checkpoint, verify_checkpoint_by_any
from placet.ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from placet.ledger.note import LOG_KEY_TYPE, WITNESS_KEY_TYPE, parse_verifier_key, verify_cosignature

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


def verify_offline(
    text: str, envelope: bytes, logs: Sequence[str], witness: str | None = None
) -> tuple[int, Checkpoint]:
    """Return what :func:`verify_proof` does, for somebody who has nothing of the office but its log's verifier key.

    Args:
        text: The proof file.
        envelope: The record's exact bytes.
        logs: Verifier keys of the log: one of them has to have signed the checkpoint.
        witness: The verifier key of a witness that has to have co-signed it, too.

    Raises:
        UsageError: A key is none, there is none, or they are of several logs.
        IntegrityError: The proof does not hold.
    """
    keys = [parse_verifier_key(item, LOG_KEY_TYPE) for item in logs]
    origins = sorted({item.name for item in keys})
    if len(origins) != 1:
        raise UsageError(
            f"{len(origins)} ledgers are named, and a proof is of one",
            hint="--log KEY: what `placet ledger key` prints of that ledger",
        )
    named = None if witness is None else parse_verifier_key(witness, WITNESS_KEY_TYPE)

    def verify_note(note: str) -> Checkpoint:
        checkpoint = verify_checkpoint_by_any(note, origins[0], [item.key for item in keys])
        if named is not None:
            verify_cosignature(note, named.name, named.key)
        return checkpoint

    return verify_proof(text, envelope, verify_note)


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
