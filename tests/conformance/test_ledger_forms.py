"""RFC 6962 proofs and C2SP notes, held to definitions written anew and to the reader in sigstore."""

from __future__ import annotations

import base64
import hashlib
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint
from sigstore.errors import VerificationError

from placet.domain.errors import IntegrityError
from placet.ledger.checkpoint import sign_checkpoint, verify_checkpoint
from placet.ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.support.offices import signer_named

BODIES = [b"record %d" % number for number in range(6000)]
LEAVES = [leaf_hash(body) for body in BODIES]


def _root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + _root(leaves[:k]) + _root(leaves[k:])).digest()


def _sigstore_accepts(body: bytes, index: int, size: int, proof: tuple[bytes, ...], root: bytes) -> bool:
    inner = SimpleNamespace(
        inclusion_proof=SimpleNamespace(log_index=index, tree_size=size, hashes=list(proof), root_hash=root),
        canonicalized_body=body,
    )
    try:
        verify_merkle_inclusion(SimpleNamespace(_inner=inner))  # type: ignore[arg-type]
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize(
    "sizes", [range(start, min(start + 25, 301)) for start in range(1, 301, 25)], ids=str
)
def test_every_size_up_to_300(sizes: range) -> None:
    for size in sizes:
        leaves, root = LEAVES[:size], tree_root(LEAVES[:size])
        assert root == _root(leaves)
        for index in {*range(min(size, 4)), *range(0, size, 17), size // 2, size - 1}:
            proof = inclusion_proof(leaves, index)
            verify_inclusion(LEAVES[index], index, size, proof, root)
            assert _sigstore_accepts(BODIES[index], index, size, proof, root)
        for old in {1, *range(1, size, 13), (size + 1) // 2, size}:
            verify_consistency(old, size, tree_root(LEAVES[:old]), root, consistency_proof(leaves, old))


@settings(max_examples=40)
@given(st.integers(301, len(LEAVES)), st.data())
def test_random_larger_sizes(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    leaves, root = LEAVES[:size], tree_root(LEAVES[:size])

    proof = inclusion_proof(leaves, index)
    verify_inclusion(LEAVES[index], index, size, proof, root)
    assert _sigstore_accepts(BODIES[index], index, size, proof, root)
    verify_consistency(old, size, tree_root(LEAVES[:old]), root, consistency_proof(leaves, old))


@settings(max_examples=200)
@given(st.integers(1, 300), st.integers(0, 299), st.integers(1, 300), st.data())
def test_both_judge_any_proof_alike(size: int, index: int, claimed: int, data: st.DataObject) -> None:
    index %= size
    proof = list(inclusion_proof(LEAVES[:size], index))
    if proof and data.draw(st.booleans()):
        proof = data.draw(st.permutations(proof))
    root, said = tree_root(LEAVES[:size]), data.draw(st.integers(0, claimed - 1))
    try:
        verify_inclusion(LEAVES[index], said, claimed, proof, root)
        ours = True
    except IntegrityError:
        ours = False

    assert ours == _sigstore_accepts(BODIES[index], said, claimed, tuple(proof), root)


# --- signed notes ------------------------------------------------------------------------------------------


@given(st.integers(0, 2**40), st.binary(min_size=32, max_size=32))
def test_our_checkpoints_are_notes_that_others_read(size: int, root: bytes) -> None:
    signer, origin = signer_named("log"), "placet.dev/acme"
    note = sign_checkpoint(origin, size, root, signer).note

    read = SignedCheckpoint.from_text(note)

    assert (read.checkpoint.origin, read.checkpoint.log_size) == (origin, size)
    assert read.checkpoint.log_hash == root.hex()
    (line,) = read.signed_note.signatures
    # The C2SP key hash: name, newline, algorithm 1, key.
    key_hash = hashlib.sha256(origin.encode() + b"\n\x01" + signer.public.raw).digest()[:4]
    assert (line.name, bytes(line.sig_hash)) == (origin, key_hash)
    Ed25519PublicKey.from_public_bytes(signer.public.raw).verify(
        base64.b64decode(line.signature), read.signed_note.note.encode()
    )


def test_a_note_made_by_hand_to_the_letter_of_the_specification_is_read() -> None:
    signer, origin, root = signer_named("log"), "example.org/log", bytes(range(32))
    text = f"{origin}\n17\n{base64.b64encode(root).decode()}\n"
    blob = hashlib.sha256(origin.encode() + b"\n\x01" + signer.public.raw).digest()[:4]
    blob += signer.private.sign(text.encode())  # type: ignore[call-arg]
    note = f"{text}\n\u2014 {origin} {base64.b64encode(blob).decode()}\n"

    checkpoint = verify_checkpoint(note, origin, signer.public)

    assert (checkpoint.size, checkpoint.root) == (17, root)
