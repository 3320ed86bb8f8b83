from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.domain.errors import IntegrityError
from placet.ledger.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    hashes_before,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The standard test leaves of Certificate Transparency and the roots of their first 1 to 8.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
MANY = [leaf_hash(index.to_bytes(4, "big")) for index in range(2000)]


def _reference_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(_reference_root(leaves[:split]), _reference_root(leaves[split:]))


def test_the_roots_are_those_of_certificate_transparency() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree_root([]) == EMPTY_ROOT
    assert [tree_root(HASHES[:size]).hex() for size in range(1, 9)] == ROOTS


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_the_audit_paths_are_those_of_certificate_transparency(
    index: int, size: int, path: list[str]
) -> None:
    proof = inclusion_proof(HASHES[:size], index)

    assert [item.hex() for item in proof] == path
    verify_inclusion(HASHES[index], index, size, proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_the_consistency_proofs_are_those_of_certificate_transparency(
    old: int, new: int, path: list[str]
) -> None:
    proof = consistency_proof(HASHES[:new], old)

    assert [item.hex() for item in proof] == path
    verify_consistency(old, new, bytes.fromhex(ROOTS[old - 1]), bytes.fromhex(ROOTS[new - 1]), proof)


@pytest.mark.parametrize("size", [*range(1, 70), 127, 128, 129, 255, 256, 257, 300])
def test_every_root_and_inclusion_proof_up_to_300_holds(size: int) -> None:
    leaves = MANY[:size]
    root = tree_root(leaves)

    assert root == _reference_root(leaves)
    for index in range(0, size, max(1, size // 40)):
        verify_inclusion(leaves[index], index, size, inclusion_proof(leaves, index), root)


@given(data=st.data())
def test_the_hashes_before_a_leaf_are_the_same_at_every_size_and_for_no_other_leaves(
    data: st.DataObject,
) -> None:
    size = data.draw(st.integers(1, 200), label="size")
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1), label="index")
    shorter = data.draw(st.integers(index + 1, size), label="shorter")
    before = hashes_before(index, size, inclusion_proof(leaves, index))

    assert hashes_before(index, shorter, inclusion_proof(leaves[:shorter], index)) == before
    if index:
        other = list(leaves)
        other[data.draw(st.integers(0, index - 1), label="changed")] = leaf_hash(b"another")
        assert hashes_before(index, size, inclusion_proof(other, index)) != before


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_consistency_proof_holds(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, len(MANY)))
    old = data.draw(st.integers(1, new))

    verify_consistency(
        old, new, tree_root(MANY[:old]), tree_root(MANY[:new]), consistency_proof(MANY[:new], old)
    )


Case = tuple[list[bytes], int, tuple[bytes, ...], bytes]


def _drawn(data: st.DataObject) -> Case:
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    leaves = MANY[:size]
    return leaves, index, inclusion_proof(leaves, index), tree_root(leaves)


def _refused(leaf: bytes, index: int, size: int, proof: tuple[bytes, ...], root: bytes) -> None:
    with pytest.raises(IntegrityError):
        verify_inclusion(leaf, index, size, proof, root)


def _flipped(data: st.DataObject, value: bytes) -> bytes:
    position, flip = data.draw(st.integers(0, len(value) - 1)), data.draw(st.integers(1, 255))
    return value[:position] + bytes([value[position] ^ flip]) + value[position + 1 :]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_flipped_byte_anywhere_breaks_an_inclusion_proof(data: st.DataObject) -> None:
    leaves, index, proof, root = _drawn(data)
    size = len(leaves)

    _refused(_flipped(data, leaves[index]), index, size, proof, root)
    _refused(leaves[index], index, size, proof, _flipped(data, root))
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        _refused(leaves[index], index, size, (*proof[:at], _flipped(data, proof[at]), *proof[at + 1 :]), root)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_another_index_or_another_size_breaks_an_inclusion_proof(data: st.DataObject) -> None:
    leaves, index, proof, root = _drawn(data)
    size = len(leaves)
    other = data.draw(st.integers(-2, size + 2).filter(lambda item: item != index))

    _refused(leaves[index], other, size, proof, root)
    _refused(leaves[index], index, 0, proof, root)
    _refused(leaves[index], index, -size, proof, root)
    _refused(leaves[index], index, index, proof, root)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_proof_cut_short_or_made_longer_is_refused(data: st.DataObject) -> None:
    leaves, index, proof, root = _drawn(data)
    size = len(leaves)

    _refused(leaves[index], index, size, (*proof, MANY[0]), root)
    if proof:
        _refused(leaves[index], index, size, proof[:-1], root)
        _refused(leaves[index], index, size, proof[1:], root)
    if len(proof) > 1:
        _refused(leaves[index], index, size, tuple(reversed(proof)), root)


def test_an_inner_node_is_not_taken_for_a_leaf() -> None:
    # Second preimage: the node over leaves 0 and 1 offered as a leaf of a smaller tree.
    inner = node_hash(HASHES[0], HASHES[1])
    assert leaf_hash(HASHES[0] + HASHES[1]) != inner
    _refused(
        leaf_hash(HASHES[0] + HASHES[1]), 0, 2, (node_hash(HASHES[2], HASHES[3]),), tree_root(HASHES[:4])
    )


@pytest.mark.parametrize("wrong", [b"", b"\0" * 31, b"\0" * 33, b"\0" * 64])
def test_a_hash_that_is_not_32_bytes_is_refused(wrong: bytes) -> None:
    root = tree_root(HASHES[:2])
    calls: list[Callable[[], None]] = [
        lambda: verify_inclusion(wrong, 0, 1, (), wrong),
        lambda: verify_inclusion(HASHES[0], 0, 2, (wrong,), root),
        lambda: verify_consistency(1, 2, wrong, root, (HASHES[1],)),
        lambda: verify_consistency(1, 1, wrong, wrong, ()),
    ]
    for call in calls:
        with pytest.raises(IntegrityError, match="not 32 bytes"):
            call()


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_an_altered_consistency_proof_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 300))
    old = data.draw(st.integers(1, new - 1))
    leaves = MANY[:new]
    proof = consistency_proof(leaves, old)
    old_root, new_root = tree_root(leaves[:old]), tree_root(leaves)
    at = data.draw(st.integers(0, len(proof) - 1))
    altered = [
        (old, new, _flipped(data, old_root), new_root, proof),
        (old, new, old_root, _flipped(data, new_root), proof),
        (old, new, old_root, new_root, (*proof[:at], _flipped(data, proof[at]), *proof[at + 1 :])),
        (old, new, old_root, new_root, proof[:-1]),
        (old, new, old_root, new_root, (*proof, proof[-1])),
        (old, new, old_root, new_root, ()),
        (new, old, new_root, old_root, proof),
        (0, new, old_root, new_root, proof),
        (-1, new, old_root, new_root, proof),
        (new, new, old_root, new_root, ()),
        (new, new, new_root, new_root, proof),
    ]
    for case in altered:
        with pytest.raises(IntegrityError):
            verify_consistency(*case)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_proof_is_found_for_a_rewritten_past(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 200))
    old = data.draw(st.integers(1, new - 1))
    at = data.draw(st.integers(0, old - 1))
    rewritten = [*MANY[:at], leaf_hash(b"rewritten"), *MANY[at + 1 : new]]

    with pytest.raises(IntegrityError, match=r"does not continue the older one|two logs of one size differ"):
        verify_consistency(
            old, new, tree_root(MANY[:old]), tree_root(rewritten), consistency_proof(rewritten, old)
        )


@pytest.mark.parametrize("index", [-1, 8, 100])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IntegrityError, match=f"no record {index} among 8"):
        inclusion_proof(HASHES, index)


@pytest.mark.parametrize("old", [-1, 0, 9])
def test_there_is_no_consistency_with_nothing_or_with_the_future(old: int) -> None:
    with pytest.raises(IntegrityError, match="no consistency proof from size"):
        consistency_proof(HASHES, old)
