"""What a thread has verified of a log in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from placet.attest.keys import PublicKey
from placet.domain.errors import IntegrityError
from placet.ledger.checkpoint import verify_checkpoint_by_any
from placet.ledger.merkle import HASH_BYTES, GrowingTree
from placet.ledger.store.postgres_queue import Head


class View:
    """What this thread verified of the log: its tree, and the leaves since it began to look."""

    def __init__(self, start: int, tree: GrowingTree) -> None:
        self._start = start
        self._tree = tree
        self._leaves = bytearray()

    @property
    def size(self) -> int:
        """How many records that is."""
        return self._tree.size

    def root(self) -> bytes:
        """Return the root over them."""
        return self._tree.root()

    def leaf(self, index: int) -> bytes | None:
        """Return the leaf at `index`; None before the ones that are kept."""
        at = (index - self._start) * HASH_BYTES
        return bytes(self._leaves[at : at + HASH_BYTES]) if at >= 0 else None

    def add(self, leaves: Iterable[bytes]) -> None:
        """Take in what this thread is about to add."""
        for leaf in leaves:
            self._tree.add(leaf)
            self._leaves += leaf

    def advance(self, head: Head, origin: str, keys: Sequence[PublicKey]) -> None:
        """Take in what was added since, if it makes the root that the log's key signed.

        The hashes are the database's word: others than the records' would make another root.
        """
        new = head.leaves
        self.add(new[at : at + HASH_BYTES] for at in range(0, len(new), HASH_BYTES))
        if head.note is None:
            if self.size or head.last is not None:
                raise IntegrityError("the log has records but no checkpoint", hint="run `placet audit`")
            return
        checkpoint = verify_checkpoint_by_any(head.note, origin, keys)
        last = None if head.last is None else head.last + 1
        if (checkpoint.root, checkpoint.size, head.size, last) != (self.root(), *[self.size] * 3):
            raise IntegrityError(
                "the log in the database does not match its last checkpoint; nothing was appended",
                hint="somebody changed the database: run `placet audit` to see what",
            )
