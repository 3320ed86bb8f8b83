"""The Merkle tree of RFC 6962: leaf and node hashes, roots, inclusion and consistency proofs.

Pure functions over 32-byte hashes. A proof that does not verify raises; nothing returns a bool. Sizes of zero
and hashes that are not 32 bytes are refused, since otherwise an empty proof would "verify".

Source: RFC 6962 section 2.1; verification algorithms from RFC 9162 sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from placet.domain.errors import IntegrityError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf holding `data`."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class GrowingTree:
    """The root of a log while leaves are added: O(log n) memory, O(log n) for each root.

    Args:
        frontier: The complete subtrees (leaves, root) to start from, largest first; none for an empty log.
    """

    def __init__(self, frontier: Sequence[tuple[int, bytes]] = ()) -> None:
        # Roots of the complete subtrees that make the tree up, largest first, as (size, hash).
        self._subtrees: list[tuple[int, bytes]] = list(frontier)
        self.size = sum(size for size, _ in frontier)

    @property
    def frontier(self) -> tuple[tuple[int, bytes], ...]:
        """The complete subtrees (leaves, root) that make the tree up, largest first."""
        return tuple(self._subtrees)

    def add(self, leaf: bytes) -> None:
        """Append a leaf hash."""
        self.add_subtree(1, leaf)

    def add_subtree(self, leaves: int, root: bytes) -> None:
        """Append a complete subtree of `leaves` leaves, a power of two that divides the size so far."""
        self.size += leaves
        while self._subtrees and self._subtrees[-1][0] == leaves:
            leaves, root = leaves * 2, node_hash(self._subtrees.pop()[1], root)
        self._subtrees.append((leaves, root))

    def root(self) -> bytes:
        """Return the root over all leaves so far; :data:`EMPTY_ROOT` for none."""
        if not self._subtrees:
            return EMPTY_ROOT
        *larger, (_, root) = self._subtrees
        for _, subtree in reversed(larger):
            root = node_hash(subtree, root)
        return root


class Subtrees:
    """The complete subtrees within a stretch of a log's leaves.

    Args:
        start: The index of the first leaf.
        leaves: Their hashes.
    """

    def __init__(self, start: int, leaves: Sequence[bytes]) -> None:
        self._levels: list[tuple[int, list[bytes]]] = [(start, list(leaves))]
        while True:
            first, row = self._levels[-1]
            skip = first & 1
            above = [node_hash(row[at], row[at + 1]) for at in range(skip, len(row) - 1, 2)]
            if not above:
                return
            self._levels.append((first + skip >> 1, above))

    def node(self, level: int, index: int) -> bytes:
        """Return the root of the complete subtree number `index` of a level, which lies within the stretch."""
        first, row = self._levels[level]
        return row[index - first]

    def cover(self, low: int, high: int) -> Iterator[tuple[int, bytes]]:
        """Yield the complete subtrees (leaves, root) that the leaves from `low` until before `high` make up."""
        while low < high:
            level = min((low & -low).bit_length() - 1 if low else 64, (high - low).bit_length() - 1)
            yield 1 << level, self.node(level, low >> level)
            low += 1 << level


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes `leaves`; :data:`EMPTY_ROOT` for none."""
    tree = GrowingTree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the audit path of leaf `index`, from the leaf up.

    Raises:
        IntegrityError: There is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IntegrityError(f"there is no record {index} among {len(leaves)}", hint="indices start at 0")
    if len(leaves) == 1:
        return ()
    split = largest_power_below(len(leaves))
    if index < split:
        return (*inclusion_proof(leaves[:split], index), tree_root(leaves[split:]))
    return (*inclusion_proof(leaves[split:], index - split), tree_root(leaves[:split]))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of the first `old_size` leaves is a prefix of the whole.

    Raises:
        IntegrityError: `old_size` is zero or larger than the tree.
    """
    if not 0 < old_size <= len(leaves):
        raise IntegrityError(
            f"no consistency proof from size {old_size} to {len(leaves)}", hint="the old size is 1 to the new"
        )
    return _subproof(leaves, old_size, True)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if `proof` shows that `leaf` is number `index` of the `size` leaves under `root`.

    Raises:
        IntegrityError: It does not.
    """
    _check_hashes((leaf, root, *proof))
    if not 0 <= index < size:
        raise IntegrityError(f"record {index} is not in a log of {size}", hint="the proof is for another log")
    node, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise IntegrityError("an inclusion proof is too long", hint="the proof was altered")
        if node & 1 or node == last:
            current = node_hash(sibling, current)
            if not node & 1:
                while node and not node & 1:
                    node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or current != root:
        raise IntegrityError(
            f"record {index} is not in the log of the checkpoint", hint="the record or the proof was altered"
        )


def hashes_before(index: int, size: int, proof: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return those hashes of an inclusion proof that stand for the leaves before `index`, nearest first.

    They are the roots of the complete subtrees that these leaves make up, which are the same at every size of the log.
    So two logs that hold a leaf at one index with the same hashes before it are the same up to that leaf.
    """
    node, last, before = index, size - 1, []
    for sibling in proof:
        if node & 1 or node == last:
            before.append(sibling)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        node, last = node >> 1, last >> 1
    return tuple(before)


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Return if `proof` shows that the log of `new_size` only appended to the log of `old_size`.

    Raises:
        IntegrityError: It does not.
    """
    _check_hashes((old_root, new_root, *proof))
    if not 0 < old_size <= new_size:
        raise IntegrityError(f"a log of {old_size} cannot grow to {new_size}", hint="the log was cut short")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise IntegrityError("two logs of one size differ", hint="the log was forked or rewritten")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise IntegrityError("a consistency proof is empty", hint="the proof was altered")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old, new = path[0], path[0]
    for sibling in path[1:]:
        if last == 0:
            raise IntegrityError("a consistency proof is too long", hint="the proof was altered")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            if not node & 1:
                while node and not node & 1:
                    node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise IntegrityError("the log does not continue the older one", hint="its history was rewritten")


def largest_power_below(size: int) -> int:
    """Return the largest power of two smaller than `size`: where RFC 6962 splits a tree."""
    return 1 << (size - 1).bit_length() - 1


def _subproof(leaves: Sequence[bytes], old_size: int, complete: bool) -> tuple[bytes, ...]:
    if old_size == len(leaves):
        return () if complete else (tree_root(leaves),)
    split = largest_power_below(len(leaves))
    if old_size <= split:
        return (*_subproof(leaves[:split], old_size, complete), tree_root(leaves[split:]))
    return (*_subproof(leaves[split:], old_size - split, False), tree_root(leaves[:split]))


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise IntegrityError("a hash is not 32 bytes", hint="the proof was altered")
