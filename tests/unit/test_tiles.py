"""Roots and proofs from tiles are those that RFC 6962's definitions give over all leaves."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest

from placet.domain.errors import IntegrityError
from placet.ledger.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from placet.ledger.tiles import NoTiles, Tile, TileTree, build_tiles


def _leaves(count: int) -> list[bytes]:
    return [sha256(b"%d" % number).digest() for number in range(count)]


class Stored:
    """Hashes kept as a store keeps them: leaves, and full tiles only. Counts what is read."""

    def __init__(self, leaves: list[bytes], tiles: tuple[Tile, ...] | None = None) -> None:
        self.leaves = leaves
        self.tiles = {(t.level, t.index): t for t in (build_tiles(leaves) if tiles is None else tiles)}
        self.read = 0

    def leaf_range(self, start: int, stop: int) -> list[bytes]:
        self.read += stop - start
        return self.leaves[start:stop]

    def tile_roots(self, level: int, start: int, stop: int) -> list[bytes]:
        self.read += stop - start
        return [self.tiles[level, i].root for i in range(start, stop) if (level, i) in self.tiles]


SIZES = [1, 2, 3, 5, 255, 256, 257, 300, 511, 512, 513, 777, 1024, 2000]


@pytest.mark.parametrize("size", SIZES)
def test_roots_of_every_smaller_log_are_right(size: int) -> None:
    leaves = _leaves(size)
    tree = TileTree(size, Stored(leaves))

    for smaller in {0, 1, size // 2, size // 2 + 1, size - 1, size}:
        assert tree.root(smaller) == tree_root(leaves[:smaller])
    assert TileTree(0, NoTiles()).root() == EMPTY_ROOT


@pytest.mark.parametrize("size", SIZES)
def test_inclusion_proofs_are_those_of_the_definition(size: int) -> None:
    leaves, rng = _leaves(size), random.Random(size)
    tree = TileTree(size, Stored(leaves))

    for index in {0, size - 1, *(rng.randrange(size) for _ in range(5))}:
        for at in {size, rng.randint(index + 1, size)}:
            proof = tree.inclusion_proof(index, at)
            assert proof == inclusion_proof(leaves[:at], index)
            verify_inclusion(leaves[index], index, at, proof, tree_root(leaves[:at]))


@pytest.mark.parametrize("size", SIZES)
def test_consistency_proofs_are_those_of_the_definition(size: int) -> None:
    leaves, rng = _leaves(size), random.Random(size)
    tree = TileTree(size, Stored(leaves))

    for old in {1, size, *(rng.randint(1, size) for _ in range(5))}:
        at = rng.randint(old, size)
        proof = tree.consistency_proof(old, at)
        assert proof == consistency_proof(leaves[:at], old)
        verify_consistency(old, at, tree_root(leaves[:old]), tree_root(leaves[:at]), proof)


def test_proofs_hold_for_all_sizes_to_300() -> None:
    leaves = _leaves(300)
    tree, root = TileTree(300, Stored(leaves)), tree_root(leaves)
    for old in range(1, 301):
        verify_consistency(old, 300, tree_root(leaves[:old]), root, tree.consistency_proof(old))
        verify_inclusion(leaves[old - 1], old - 1, 300, tree.inclusion_proof(old - 1), root)


@pytest.mark.parametrize("steps", [[1] * 600, [255, 1, 1], [256, 256], [100, 700, 3, 1300], [70_000]])
def test_growing_step_by_step_makes_the_tiles_and_roots_of_growing_at_once(steps: list[int]) -> None:
    leaves = _leaves(sum(steps))
    made: list[Tile] = []
    size = 0
    for step in steps:
        tree = TileTree(size, Stored(leaves[:size], tuple(made)))
        made += tree.extend(leaves[size : size + step])
        size += step
        if len(steps) < 10 or size % 97 == 0:
            assert tree.root() == tree_root(leaves[:size])
    whole = build_tiles(leaves)
    assert sorted(made, key=lambda t: (t.level, t.index)) == sorted(whole, key=lambda t: (t.level, t.index))
    for tile in whole:
        span = 256 ** (tile.level + 1)
        assert tile.root == tree_root(leaves[tile.index * span : (tile.index + 1) * span])


def test_a_proof_reads_a_few_tiles_of_a_large_log() -> None:
    leaves = _leaves(200_000)
    stored = Stored(leaves)
    tree = TileTree(len(leaves), stored)

    tree.inclusion_proof(123_456)

    assert stored.read <= 256 * 2 * 3


def test_the_frontier_is_the_complete_subtrees_largest_first() -> None:
    leaves = _leaves(777)
    tree = TileTree(777, Stored(leaves))

    assert [size for size, _ in tree.frontier()] == [512, 256, 8, 1]
    assert tree.frontier()[1][1] == tree_root(leaves[512:768])
    assert tree.frontier(0) == ()


def test_missing_and_torn_hashes_are_an_error_not_another_root() -> None:
    leaves = _leaves(700)
    gone = Stored(leaves)
    del gone.tiles[0, 0]
    with pytest.raises(IntegrityError, match="lacks hashes"):
        TileTree(700, gone).root()
    torn = Stored(leaves)
    torn.leaves[699] = b"short"
    with pytest.raises(IntegrityError, match="lacks hashes"):
        TileTree(700, torn).inclusion_proof(699)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0), (0, 6)])
def test_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(IntegrityError):
        TileTree(5, Stored(_leaves(5))).inclusion_proof(index, size)
    with pytest.raises(IntegrityError):
        TileTree(5, Stored(_leaves(5))).consistency_proof(0 if index <= 0 else 6, 5)
