"""What every store of the log promises, and the values that go in and come out.

:class:`LedgerStore` is kept by a DuckDB file (:mod:`placet.ledger.store.duck`) and by a PostgreSQL database with a
local index (:mod:`placet.ledger.store.postgres`); one contract suite holds both to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from placet.attest.envelope import Envelope
from placet.attest.keys import PublicKey, Signer
from placet.attest.statement import Statement
from placet.domain.digests import Digest
from placet.domain.errors import Error
from placet.ledger.derived import Derived
from placet.ledger.tiles import Tile

if TYPE_CHECKING:
    from placet.ledger.store.duck import DuckStore

IN_POSTGRES = "a log in PostgreSQL"
"""What the local index of such a log is told to follow."""

Check = Callable[[Envelope, int], Statement | None]
"""Called with each new envelope and the index it would get; raises to refuse it.

Returns the statement if it read it, so that it is read once.
"""

Draft = Callable[[int], Envelope]
"""Makes an envelope that depends on the index it gets."""


class StaleError(Error):
    """Records that the caller had taken into account were added to meanwhile: look again and repeat."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How many records of some predicate types, together, the caller has seen."""

    predicate_types: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the log as it is stored: verified by nobody yet."""

    index: int
    record_id: Digest
    leaf: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A range of the log as of one moment.

    Entries and derived rows come by index, checkpoints (size, note) and tiles as they are stored.
    """

    entries: tuple[Entry, ...]
    checkpoints: tuple[tuple[int, str], ...]
    derived: tuple[Derived, ...]
    tiles: tuple[Tile, ...] = ()


class LedgerStore(Protocol):
    """A log of envelopes that only grows.

    When :meth:`append` has returned, the records are durable, each has an index without gaps, a checkpoint signed by
    the log's key covers them, and appending the same record again returns the same index. When it raised, none of
    them was added, unless the error says that this could not be found out; repeating it is always safe.

    What an append checks, reading O(log n) hashes: that the last checkpoint is the log key's own, that the number of
    records is the checkpoint's, and that the stored hashes give its root. What it signs is made of these hashes, so
    every checkpoint continues the one before. An older row that somebody edited since is not read by it, and does not
    make anything of it signed: only an audit, which hashes every row, finds that.
    """

    origin: str

    def append(
        self,
        envelopes: Sequence[Envelope | Draft],
        log: Signer,
        check: Check | None = None,
        *,
        seen: Seen | None = None,
        log_keys: Sequence[PublicKey] = (),
    ) -> tuple[Entry, ...]:
        """Add `envelopes` in order, in one transaction under one checkpoint, and return their entries.

        Args:
            envelopes: What to add. One whose record is in the log already is not added again.
            log: The log's signing key.
            check: Decides about each new envelope, given its index.
            seen: What `check` rests on; nothing is added if the log has more of it by now. Whoever gives the same
                `seen` must decide alike: the process that holds the log adds what others wait to add, by its own check.
            log_keys: Keys that may have signed the last checkpoint, besides `log`: the log's key may have changed.

        Raises:
            StaleError: It has.
            IntegrityError: The stored log does not match its last checkpoint, or `check` refused.
            LedgerBusyError, StorageError: See there; nothing was added.
        """

    def reading(self) -> AbstractContextManager[None]:
        """Let this thread's queries inside the block share one connection, and so one moment, until it appends.

        Others cannot write meanwhile: keep the block short, and never run a model in it.
        """

    def size(self) -> int:
        """Return how many records the log holds."""

    def entries(self, start: int = 0, stop: int | None = None) -> tuple[Entry, ...]:
        """Return the entries from index `start` until before `stop`, as stored, by index."""

    def find(
        self,
        *,
        predicate_type: str | None = None,
        subject: str | None = None,
        record_id: str | None = None,
        decision: str | None = None,
        suite: str | None = None,
        since: str | None = None,
        last: int | None = None,
    ) -> tuple[Entry, ...]:
        """Return the entries that fit all that is given, by index.

        Args:
            predicate_type: Their predicate type.
            subject: A digest they are about.
            record_id: Their record id.
            decision: What the verdict or review decided.
            suite: The id of the measurement's suite.
            since: The moment (UTC, ISO 8601) at or after which they were made, as they say themselves.
            last: Only the newest so many.
        """

    def indices_of(self, record_ids: Sequence[str]) -> dict[str, int]:
        """Return record id → index of those that the log has."""

    def record_ids(self, predicate_type: str) -> tuple[Digest, ...]:
        """Return the record ids of a predicate type, by index: without the envelopes, which may be many."""

    def latest_moment(self, predicate_types: Sequence[str], before: int | None = None) -> str | None:
        """Return the latest moment (UTC, ISO 8601) that a record of some predicate types, before an index, gives."""

    def checkpoint_notes(self, above: int = 0) -> tuple[tuple[int, str], ...]:
        """Return the stored checkpoints of sizes above `above` as (size, note), by size."""

    def latest_checkpoint(self) -> str | None:
        """Return the newest checkpoint's note, or None for an empty log."""

    def inclusion_proofs(self, indices: Sequence[int], size: int) -> tuple[tuple[bytes, ...], ...]:
        """Return the audit path of each record in the log of `size`, made of stored hashes: check them.

        Raises:
            IntegrityError: There is no such record, or stored hashes are missing.
        """

    def consistency_proof(self, old_size: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that the log of `size` continues that of `old_size`, made of stored hashes: check it.

        Raises:
            IntegrityError: There is no such proof, or stored hashes are missing.
        """

    def frontier(self, size: int) -> tuple[tuple[int, bytes], ...]:
        """Return the complete subtrees (records, root) of the log of `size`, largest first; check their root."""

    def snapshot(self, start: int = 0, stop: int | None = None, *, derived: bool = True) -> Snapshot:
        """Return a range of everything (without `derived`, of the log alone) as of one moment: without limits, all.

        Checkpoints are those of sizes above `start` up to `stop`; tiles of level k those that become full in it.
        """

    def local(self) -> DuckStore:
        """Return the DuckDB file on this machine that holds the whole log, as it stands now: what an audit reads."""

    def extra_rows(self, size: int) -> tuple[str, ...]:
        """Return, in words, each row that does not belong to a log of `size`: doubled, or about no record of it."""

    def rebuild(self) -> int:
        """Make all derived tables again from the envelopes and return how many records they hold."""
