"""What an audit knows while it runs."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from placet.attest.keys import PublicKey
from placet.attest.predicates import Kind
from placet.attest.trust import Trust
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.domain.records import LedgerHead
from placet.ledger.audit.part import Scope
from placet.ledger.audit.report import Findings
from placet.ledger.checkpoint import Checkpoint
from placet.ledger.merkle import HASH_BYTES, GrowingTree
from placet.ledger.store import DuckStore


@dataclass(frozen=True, slots=True)
class Outside:
    """A checkpoint note that was kept elsewhere; with `witness`, believed only if that key co-signed it."""

    note: str
    witness: tuple[str, PublicKey] | None = None


class Roots:
    """Roots of the log at sizes that were recomputed, 40 bytes each."""

    def __init__(self) -> None:
        self._sizes = array("q")
        self._hashes = bytearray()

    def add(self, size: int, root: bytes) -> None:
        """Keep the root at `size`, which is larger than those before."""
        self._sizes.append(size)
        self._hashes += root

    def get(self, size: int) -> bytes | None:
        """Return the root at `size` if it was kept."""
        at = bisect_left(self._sizes, size)
        if at == len(self._sizes) or self._sizes[at] != size:
            return None
        return bytes(self._hashes[at * HASH_BYTES : (at + 1) * HASH_BYTES])


@dataclass(frozen=True, slots=True)
class Dated:
    """A record and the moment that it gives."""

    moment: datetime
    index: int
    who: str


@dataclass
class AuditRun:
    """What one audit has looked at and found so far."""

    store: DuckStore
    trust: Trust | None
    scope: Scope
    size: int
    gaps: tuple[tuple[int, int], ...] = ()
    start: int = 0
    found: Findings = field(default_factory=Findings)
    checked: list[str] = field(default_factory=list)
    outside: list[Checkpoint] = field(default_factory=list)
    tree: GrowingTree = field(default_factory=GrowingTree)
    good_up_to: int = 0
    comparing: bool = True
    roots: Roots = field(default_factory=Roots)
    tile_roots: list[bytes] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    unverified: set[int] = field(default_factory=set)
    trust_records: list[tuple[Kind, int, bytes]] = field(default_factory=list)
    """Roles statements and versions of the root, as the records themselves show them."""
    audited: Checkpoint | None = None
    """Up to where an earlier audit looked, where this one goes on from there."""
    verdicts: array[int] = field(default_factory=lambda: array("q"))
    latest: Dated | None = None
    """The record with the latest moment so far."""
    drawn: tuple[int, LedgerHead] | None = None
    """The last plan's index and the state that its order was drawn from."""
    blobs: dict[Digest, int] = field(default_factory=dict)
    releases: int = 0
    feeds: int = 0

    def lacks_checkpoint(self, size: int) -> bool:
        """Tell whether no checkpoint is stored at a size that was read; False where that was not looked at."""
        return self.comparing and size > self.start and self.roots.get(size) is None

    @property
    def held(self) -> int:
        """How many records there are: as many as the last one's number says, without those that are missing."""
        return self.size - sum(last - first + 1 for first, last in self.gaps)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Yield the new records as (first, one past the last), without those that are missing."""
        low = self.start
        for first, last in self.gaps:
            if first > low:
                yield low, first
            low = max(low, last + 1)
        if low < self.size:
            yield low, self.size

    def root_at(self, size: int) -> bytes | None:
        """Return the root of the log at `size`, from what was read or else from stored hashes; None without them."""
        known = self.roots.get(size)
        if known is not None:
            return known
        try:
            return GrowingTree(self.store.frontier(size)).root()
        except IntegrityError:
            return None
