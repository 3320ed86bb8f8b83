"""The Merkle tree over stored hashes: roots and proofs of a large log from a few tiles of it.

A tile is 256 neighbouring hashes of one level: of level 0 leaf hashes, of level k the roots of 256 tiles of level
k - 1. What is stored of it is its root, once it is full, so it is written once and never changes; its hashes are
read from the level below. A root or a proof of a log of n records reads at most a few tiles a level, so O(log n)
hashes.

The stored roots are a cache: nothing is believed of them before a root made of them equals a signed one.

Source: RFC 6962 section 2.1; the tiling is that of C2SP tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from placet.domain.errors import IntegrityError
from placet.ledger.merkle import EMPTY_ROOT, HASH_BYTES, largest_power_below, node_hash

TILE_BITS = 8
TILE_HASHES = 1 << TILE_BITS


@dataclass(frozen=True, slots=True)
class Tile:
    """A full tile's place and the root over its 256 hashes."""

    level: int
    index: int
    root: bytes


class TileSource(Protocol):
    """Stored hashes; verified by nobody."""

    def leaf_range(self, start: int, stop: int) -> Sequence[bytes]:
        """Return the leaf hashes of the records from `start` until before `stop`."""

    def tile_roots(self, level: int, start: int, stop: int) -> Sequence[bytes]:
        """Return the roots of the full tiles of `level` from number `start` until before `stop`."""


class NoTiles:
    """The source of an empty log."""

    def leaf_range(self, start: int, stop: int) -> Sequence[bytes]:
        """Return nothing."""
        return ()

    def tile_roots(self, level: int, start: int, stop: int) -> Sequence[bytes]:
        """Return nothing."""
        return ()


class TileTree:
    """The tree over the first `size` records of a source.

    Args:
        size: How many records it has.
        source: Where its hashes are stored.
    """

    def __init__(self, size: int, source: TileSource) -> None:
        self.size = size
        self._source = source
        self._cache: dict[tuple[int, int], list[bytes]] = {}

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` records (all of them); :data:`EMPTY_ROOT` for none."""
        wanted = self.size if size is None else size
        return self._range_root(0, wanted) if wanted else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the audit path of record `index` in the tree of the first `size` records, from the leaf up.

        Raises:
            IntegrityError: There is no such record, or stored hashes are missing.
        """
        wanted = self.size if size is None else size
        if not 0 <= index < wanted <= self.size:
            raise IntegrityError(f"there is no record {index} among {wanted}", hint="indices start at 0")
        path: list[bytes] = []
        low, high = 0, wanted
        while high - low > 1:
            middle = low + largest_power_below(high - low)
            if index < middle:
                path.append(self._range_root(middle, high))
                high = middle
            else:
                path.append(self._range_root(low, middle))
                low = middle
        return tuple(reversed(path))

    def consistency_proof(self, old_size: int, size: int | None = None) -> tuple[bytes, ...]:
        """Return the proof that the first `old_size` records are a prefix of the first `size`.

        Raises:
            IntegrityError: `old_size` is zero or larger than the tree, or stored hashes are missing.
        """
        wanted = self.size if size is None else size
        if not 0 < old_size <= wanted <= self.size:
            raise IntegrityError(
                f"no consistency proof from size {old_size} to {wanted}", hint="the old size is 1 to the new"
            )
        path: list[bytes] = []
        low, high, complete = 0, wanted, True
        while old_size < high:
            middle = low + largest_power_below(high - low)
            if old_size <= middle:
                path.append(self._range_root(middle, high))
                high = middle
            else:
                path.append(self._range_root(low, middle))
                low, complete = middle, False
        if not complete:
            path.append(self._range_root(low, high))
        return tuple(reversed(path))

    def frontier(self, size: int | None = None) -> tuple[tuple[int, bytes], ...]:
        """Return the complete subtrees that make the tree of the first `size` records up, largest first."""
        wanted, low, found = self.size if size is None else size, 0, []
        for level in reversed(range(wanted.bit_length())):
            if wanted >> level & 1:
                found.append((1 << level, self._node(level, low >> level)))
                low += 1 << level
        return tuple(found)

    def extend(self, leaves: Sequence[bytes]) -> tuple[Tile, ...]:
        """Append leaf hashes and return the tiles that became full by it, lowest level first.

        Raises:
            IntegrityError: Hashes of the unfinished tiles are missing.
        """
        made: list[Tile] = []
        level, count, new = 0, self.size, list(leaves)
        while new:
            first = count >> TILE_BITS
            inner = count & TILE_HASHES - 1
            held = self._hashes(level, first, inner)[:inner] if inner else []
            row = held + new
            roots = []
            for offset in range(0, len(row) - TILE_HASHES + 1, TILE_HASHES):
                hashes = row[offset : offset + TILE_HASHES]
                tile = Tile(level, first + offset // TILE_HASHES, _fold(hashes))
                made.append(tile)
                roots.append(tile.root)
                self._cache[level, tile.index] = hashes
            left = len(row) % TILE_HASHES
            if left:
                self._cache[level, first + len(row) // TILE_HASHES] = row[-left:]
            level, count, new = level + 1, count >> TILE_BITS, roots
        self.size += len(leaves)
        return tuple(made)

    def _range_root(self, low: int, high: int) -> bytes:
        """Return the root over records `low` until before `high`, where `low` is where a subtree starts."""
        parts = []
        while low < high:
            level = (high - low).bit_length() - 1
            parts.append(self._node(level, low >> level))
            low += 1 << level
        root = parts.pop()
        while parts:
            root = node_hash(parts.pop(), root)
        return root

    def _node(self, level: int, index: int) -> bytes:
        tile_level, inner = divmod(level, TILE_BITS)
        start = index << inner
        offset = start & TILE_HASHES - 1
        hashes = self._hashes(tile_level, start >> TILE_BITS, offset + (1 << inner))
        return _fold(hashes[offset : offset + (1 << inner)])

    def _hashes(self, level: int, index: int, count: int) -> list[bytes]:
        """Return at least the first `count` hashes of a tile, full or not."""
        held = self._cache.get((level, index))
        if held is not None and len(held) >= count:
            return held
        start = index << TILE_BITS
        stored = self.size >> TILE_BITS * level
        stop = min(start + TILE_HASHES, stored)
        below = (
            self._source.tile_roots(level - 1, start, stop) if level else self._source.leaf_range(start, stop)
        )
        hashes = list(below)
        if len(hashes) < count or any(len(item) != HASH_BYTES for item in hashes):
            raise IntegrityError(
                f"the ledger file lacks hashes of its tree (level {level}, tile {index})",
                hint="`placet ledger rebuild` makes them again; `placet audit` says whether the log is whole",
            )
        self._cache[level, index] = hashes
        return hashes


def build_tiles(leaves: Sequence[bytes]) -> tuple[Tile, ...]:
    """Return every full tile of the tree over `leaves`."""
    return TileTree(0, NoTiles()).extend(leaves)


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of hashes."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]
