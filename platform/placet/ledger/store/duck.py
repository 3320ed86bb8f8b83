"""The log in a DuckDB file.

Every call opens the file, works and closes it again, behind a fair lock file: a held file, even one that is only
read, shuts every other process out. Whoever gets the lock to append also appends what others wait to append, in the
same transaction and under one checkpoint. It does not protect the file against whoever can write it:
:mod:`placet.ledger.audit` finds that.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from placet.attest.envelope import Envelope
from placet.attest.keys import PublicKey, Signer
from placet.domain.collector import collector_paused
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError, StorageError, UsageError
from placet.ledger.checkpoint import sign_checkpoint, verify_checkpoint_by_any
from placet.ledger.derived import Derived, derive
from placet.ledger.lock import DEFAULT_WAIT_S, ledger_lock, ledger_turn
from placet.ledger.merkle import leaf_hash
from placet.ledger.store.base import Check, Draft, Entry, Seen, Snapshot, StaleError
from placet.ledger.store.batch import Batch
from placet.ledger.store.form import Form, compare_form
from placet.ledger.store.instance import Instance
from placet.ledger.store.requests import dump_request, parse_answer
from placet.ledger.store.shared import SharedConnection
from placet.ledger.store.tables import Tables, digest_key, migrations
from placet.ledger.store.waiting import Waiting
from placet.ledger.tiles import TileTree


class DuckStore:
    """A log in a DuckDB file; see :class:`~placet.ledger.store.base.LedgerStore` for what it promises.

    Args:
        path: The DuckDB file; its lock file and queue lie beside it.
        origin: The log's name in its checkpoints.
        wait_s: How long a call waits for other processes, in seconds.
    """

    def __init__(self, path: Path, origin: str, *, wait_s: float = DEFAULT_WAIT_S) -> None:
        self.path = path
        self.origin = origin
        self._lock_path = path.with_name(path.name + ".lock")
        self._wait_s = wait_s
        self._instance = Instance(path)
        self._shared = SharedConnection()
        self._whole: _Whole | None = None

    def create(self, *, follows: str = "") -> None:
        """Make the file and its tables.

        Args:
            follows: The log elsewhere that it is to be the local index of, if it is not to be a log of its own.

        Raises:
            UsageError: There is a ledger already.
            StorageError: The file cannot be written.
        """
        if self.path.exists():
            raise UsageError(
                f"there is a ledger at {self.path}", hint="choose another folder for a new office"
            )
        # Made under another name and renamed, so that a killed process leaves no ledger without tables.
        unfinished = self.path.with_name(self.path.name + ".new")
        with ledger_lock(self._lock_path, exclusive=True, wait_s=self._wait_s):
            for leftover in (unfinished, unfinished.with_name(unfinished.name + ".wal")):
                leftover.unlink(missing_ok=True)
            with self._open(unfinished) as db:
                Tables(db).migrate(0, migrations())
                Tables(db).follow(follows)
            if self.path.exists():
                raise UsageError(f"there is a ledger at {self.path}", hint="another process made it just now")
            unfinished.rename(self.path)

    # --- appending --------------------------------------------------------------------------------------

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

        See :meth:`placet.ledger.store.base.LedgerStore.append`.
        """
        self._shared.let_go()
        # A check of one's own that rests on nothing named can be done by nobody else.
        shared = seen if check is not None else None
        request = dump_request(envelopes, shared, log.public.key_id)
        with ledger_turn(self._lock_path, exclusive=True, wait_s=self._wait_s, request=request) as turn:
            if turn.answer is not None:
                return parse_answer(turn.answer, envelopes)
            waiting = Waiting(turn.queue, shared, log.public.key_id)
            try:
                with collector_paused(), self._writing() as tables:
                    tree = self._match_checkpoint(tables, (log.public, *log_keys), seen)
                    batch = Batch(tree.size, tables.known)
                    entries = batch.add(envelopes, check)
                    waiting.serve(batch, check)
                    self._write(tables, tree, batch, log)
            except BaseException as error:
                waiting.fail(error)
                raise
            # Only now, when the transaction is durable and the file closed, anybody is told.
            waiting.reply()
            return entries

    def continue_with(self, entries: Sequence[Entry], notes: Sequence[tuple[int, str]], size: int) -> None:
        """Add records of the same log from elsewhere, with its own checkpoints: the caller verified all of them.

        Raises:
            StaleError: There are not `size` records here, as the caller thought.
            IntegrityError: They do not continue what is here: a gap, or a checkpoint over something else.
        """
        self._shared.let_go()
        with ledger_lock(self._lock_path, exclusive=True, wait_s=self._wait_s), self._writing() as tables:
            if tables.size() != size:
                raise StaleError("the local index changed meanwhile", hint="look again and repeat it")
            continue_log(tables, entries, notes)

    def follow_elsewhere(self, log: str, size: int) -> None:
        """Make this file the local index of a log that lives elsewhere (or, with no `log`, a log of its own again).

        Raises:
            StaleError: There are not `size` records here, as the caller thought.
        """
        self._shared.let_go()
        with ledger_lock(self._lock_path, exclusive=True, wait_s=self._wait_s), self._writing() as tables:
            if tables.size() != size:
                raise StaleError("the ledger changed meanwhile", hint="look again and repeat it")
            tables.follow(log)

    # --- what was looked at -----------------------------------------------------------------------------

    def whole_up_to(self) -> tuple[tuple[int, bytes], ...]:
        """Return the subtrees of the records that were found whole, if the file is as it was then; else none.

        As it was then, but for what this object wrote to it since: the file system's own moments of change say so.
        Somebody who can set the machine's clock, or write to the disk below the file system, can deceive this.
        """
        with self._reading():
            known = self._whole
            return known.frontier if known is not None and known.file == self._file() else ()

    def note_whole(self, frontier: tuple[tuple[int, bytes], ...]) -> None:
        """Remember, within :meth:`reading`, that the records under `frontier` and all about them were found whole."""
        self._whole = _Whole(self._file(), frontier)

    def _file(self) -> tuple[int, ...]:
        """Return what the file system changes whenever somebody writes to the file or puts another in its place."""
        found = self.path.stat()
        wal = self.path.with_name(self.path.name + ".wal").exists()
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, wal)

    def _match_checkpoint(self, tables: Tables, keys: Sequence[PublicKey], seen: Seen | None) -> TileTree:
        """Return the log's tree, if the stored hashes are those of the last checkpoint."""
        if tables.followed() is not None:
            raise UsageError(
                "this ledger file is the local index of a log that lives elsewhere: nothing is appended to it",
                hint="open the office anew, so that it appends to the log itself",
            )
        size, note = tables.size(), tables.last_note()
        if note is None and size:
            raise IntegrityError("the log has records but no checkpoint", hint="run `placet audit`")
        tree = tables.tree(max(size, 0))
        if note is not None:
            checkpoint = verify_checkpoint_by_any(note, self.origin, keys)
            if checkpoint.size != size or checkpoint.root != tree.root():
                raise IntegrityError(
                    "the stored log does not match its last checkpoint; nothing was appended",
                    hint="somebody changed the ledger file: run `placet audit` to see what",
                )
        if seen is not None:
            _require_seen(tables, seen)
        return tree

    def _write(self, tables: Tables, tree: TileTree, batch: Batch, log: Signer) -> None:
        """Write what is in `batch` under one checkpoint; nothing if nothing is new."""
        if not batch.new:
            return
        tiles = tree.extend([entry.leaf for entry in batch.new])
        checkpoint = sign_checkpoint(self.origin, tree.size, tree.root(), log)
        tables.insert(batch.new, batch.derived, tiles)
        tables.insert_note(checkpoint.size, checkpoint.note)

    # --- reading ----------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let this thread's queries inside the block share one connection, and so one moment, until it appends."""
        with self._shared.group():
            yield

    def size(self) -> int:
        """Return how many records the log holds.

        Raises:
            IntegrityError: Their numbers have gaps.
        """
        with self._reading() as tables:
            size = tables.size()
        if size < 0:
            raise IntegrityError("records are missing from the ledger file", hint="run `placet audit`")
        return size

    def entries(self, start: int = 0, stop: int | None = None) -> tuple[Entry, ...]:
        """Return the entries from index `start` until before `stop`, as stored, by index."""
        with self._reading() as tables:
            return tables.entries(start, stop)

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
        """Return the entries that fit all that is given, by index; see the protocol for what can be."""
        wanted = (
            ("type_id IN (SELECT id FROM words WHERE word = ?)", predicate_type),
            ("decision = ?", decision),
            ("suite = ?", suite),
            ("made_at >= ?", since),
        )
        clauses = [clause for clause, value in wanted if value is not None]
        values: list[object] = [value for _, value in wanted if value is not None]
        if subject is not None:
            clauses.append("idx IN (SELECT idx FROM subjects WHERE digest_key = ? AND digest = ?)")
            values += subject_values(subject)
        with self._reading() as tables:
            if record_id is None and not clauses and last is None:
                return tables.entries(0, None)
            indices = sorted(tables.indices_of([record_id]).values()) if record_id is not None else None
            if clauses or indices is None:
                found = tables.matching(clauses, values, last)
                indices = found if indices is None else [index for index in indices if index in set(found)]
            return tables.entries_at(indices)

    def indices_of(self, record_ids: Sequence[str]) -> dict[str, int]:
        """Return record id → index of those that the log has."""
        with self._reading() as tables:
            return tables.indices_of(record_ids)

    def record_ids(self, predicate_type: str) -> tuple[Digest, ...]:
        """Return the record ids of a predicate type, by index: without the envelopes, which may be many."""
        with self._reading() as tables:
            return tables.record_ids(predicate_type)

    def latest_moment(self, predicate_types: Sequence[str], before: int | None = None) -> str | None:
        """Return the latest moment (UTC, ISO 8601) that a record of some predicate types, before an index, gives."""
        with self._reading() as tables:
            return tables.latest_moment(predicate_types, before)

    def entries_at(self, indices: Sequence[int]) -> tuple[Entry, ...]:
        """Return the entries at `indices`, by index."""
        with self._reading() as tables:
            return tables.entries_at(indices)

    def filed_under(
        self, digests: Sequence[Digest], predicate_types: Sequence[str]
    ) -> dict[Digest, list[int]]:
        """Return, for each digest, the indices of the records of some predicate types that are about it, rising."""
        with self._reading() as tables:
            return tables.filed_under(digests, predicate_types)

    def checkpoint_notes(self, above: int = 0) -> tuple[tuple[int, str], ...]:
        """Return the stored checkpoints of sizes above `above` as (size, note), by size."""
        with self._reading() as tables:
            return tables.notes(above)

    def latest_checkpoint(self) -> str | None:
        """Return the newest checkpoint's note, or None for an empty log."""
        with self._reading() as tables:
            return tables.last_note()

    def inclusion_proofs(self, indices: Sequence[int], size: int) -> tuple[tuple[bytes, ...], ...]:
        """Return the audit path of each record in the log of `size`, made of stored hashes: check them."""
        with self._reading() as tables:
            tree = tables.tree(_enough(tables, size))
            return tuple(tree.inclusion_proof(index, size) for index in indices)

    def consistency_proof(self, old_size: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that the log of `size` continues that of `old_size`, made of stored hashes: check it."""
        with self._reading() as tables:
            return tables.tree(_enough(tables, size)).consistency_proof(old_size, size)

    def frontier(self, size: int) -> tuple[tuple[int, bytes], ...]:
        """Return the complete subtrees (records, root) of the log of `size`, largest first; check their root."""
        with self._reading() as tables:
            return tables.tree(_enough(tables, size)).frontier(size)

    def derived(self, start: int = 0, stop: int | None = None) -> tuple[Derived, ...]:
        """Return the derived tables' rows about a range of records, by index."""
        return self.snapshot(start, stop).derived

    def snapshot(self, start: int = 0, stop: int | None = None, *, derived: bool = True) -> Snapshot:
        """Return a range of everything, as of one moment; see the protocol."""
        with self._reading() as tables:
            return tables.snapshot(start, stop, derived=derived)

    def extra_rows(self, size: int) -> tuple[str, ...]:
        """Return, in words, each row that does not belong to a log of `size`."""
        with self._reading() as tables:
            return tables.extra_rows(size)

    def local(self) -> DuckStore:
        """Return the DuckDB file that holds the whole log: this one."""
        return self

    def extent(self) -> int:
        """Return the number behind the last record's, whether or not all before it are there."""
        with self._reading() as tables:
            return tables.extent()

    def gaps(self) -> tuple[tuple[int, int], ...]:
        """Return the (first, last) of each stretch of indices before the last record's at which there is none."""
        with self._reading() as tables:
            return tables.gaps()

    def form(self) -> Form:
        """Return how the file is built otherwise than a new one."""
        with self._reading() as tables:
            return compare_form(tables.db)

    def foreign_rows(self, follows: Sequence[str | None]) -> tuple[str, ...]:
        """Return, in words, each row that no ledger file holds; see :meth:`Tables.foreign_rows`."""
        with self._reading() as tables:
            return tables.foreign_rows(follows)

    def unused_words(self) -> tuple[str, ...]:
        """Return each word of the derived tables that no row about a record uses."""
        with self._reading() as tables:
            return tables.unused_words()

    def doubled(self) -> tuple[tuple[int, int], ...]:
        """Return (first, again) of records that are there under one id more than once."""
        with self._reading() as tables:
            return tables.doubled()

    def tile_roots(self, level: int, start: int, stop: int) -> tuple[bytes, ...]:
        """Return the stored roots of full tiles of a level, from number `start` until before `stop`."""
        with self._reading() as tables:
            return tuple(tables.tile_roots(level, start, stop))

    def rebuild(self) -> int:
        """Make all derived tables again from the envelopes and return how many records they hold."""
        self._shared.let_go()
        self._whole = None
        with ledger_lock(self._lock_path, exclusive=True, wait_s=self._wait_s), self._writing() as tables:
            return tables.rebuild()

    # --- connections ------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[Tables]:
        """Run the block in a transaction. The lock is held already."""
        known = self._whole
        untouched = known is not None and self.path.exists() and known.file == self._file()
        with self._open() as db:
            tables = Tables(db)
            version = _known_version(tables)
            db.execute("BEGIN TRANSACTION")
            try:
                if version < migrations()[-1].number:
                    tables.migrate(version, migrations())
                yield tables
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        if untouched and known is not None:
            self._whole = _Whole(self._file(), known.frontier)

    @contextmanager
    def _reading(self) -> Iterator[Tables]:
        if self._shared.grouped:
            tables = self._shared.tables or self._shared.keep(self._read_only())
            with _storage_errors():
                yield tables
            return
        with self._read_only() as tables:
            yield tables

    @contextmanager
    def _read_only(self) -> Iterator[Tables]:
        lock, newest = self._lock_path, migrations()[-1].number
        with ledger_lock(lock, exclusive=False, wait_s=self._wait_s), self._open(read_only=True) as db:
            tables = Tables(db)
            if _known_version(tables) == newest:
                yield tables
                return
        with ledger_lock(lock, exclusive=True, wait_s=self._wait_s), self._writing():
            pass  # what an older Placet made is brought up to date once
        with ledger_lock(lock, exclusive=False, wait_s=self._wait_s), self._open(read_only=True) as db:
            yield Tables(db)

    @contextmanager
    def _open(
        self, create: Path | None = None, *, read_only: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        if create is None and not self.path.exists():
            raise StorageError(f"no ledger at {self.path}", hint="make an office with `placet init`")
        instance = self._instance if create is None else Instance(create)
        with _storage_errors(), instance.opened(read_only=read_only) as db:
            yield db


def continue_log(tables: Tables, entries: Sequence[Entry], notes: Sequence[tuple[int, str]]) -> None:
    """Add `entries` and the checkpoints over them, each of which must have the root of what is then there.

    Raises:
        IntegrityError: They do not follow on what is there.
    """
    size = tables.size()
    tree = tables.tree(max(size, 0))
    if [entry.index for entry in entries] != list(range(size, size + len(entries))):
        raise IntegrityError(
            f"records do not follow on the {size} that are here", hint="run `placet audit` on both"
        )
    tables.insert(entries, [derive(entry.index, entry.envelope) for entry in entries], ())
    for checkpoint_size, note in notes:
        part = [leaf_hash(entry.envelope) for entry in entries[tree.size - size : checkpoint_size - size]]
        tables.insert((), (), tree.extend(part))
        root = note.split("\n")[2] if note.count("\n") > 2 else ""
        if tree.size != checkpoint_size or base64.b64encode(tree.root()).decode() != root:
            raise IntegrityError(
                f"the checkpoint of size {checkpoint_size} is over other records than these",
                hint="run `placet audit` on both",
            )
        tables.insert_note(checkpoint_size, note)
    if tree.size != size + len(entries):
        raise IntegrityError("records at the end are covered by no checkpoint", hint="run `placet audit`")


def subject_values(subject: str) -> list[object]:
    """Return what a subject's digest is compared with in the tables."""
    try:
        raw = bytes.fromhex(subject.removeprefix("sha256:"))
    except ValueError:
        raw = b""
    return [digest_key(raw), raw]


@dataclass(frozen=True, slots=True)
class _Whole:
    """A file as it was when its first records were found whole."""

    file: tuple[int, ...]
    frontier: tuple[tuple[int, bytes], ...]


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise StorageError(
            f"the ledger file refused: {str(error).splitlines()[0]}",
            hint="is the disk full, or the file read-only? nothing was added; if it is damaged, put a copy back and "
            "audit that with a checkpoint kept elsewhere, which shows whether it is the newest",
        ) from error


def _known_version(tables: Tables) -> int:
    version, newest = tables.version(), migrations()[-1].number
    if version > newest:
        raise StorageError(
            f"the ledger file is of form {version}, this Placet knows up to {newest}",
            hint="a newer Placet made it: use that one",
        )
    return version


def _enough(tables: Tables, size: int) -> int:
    held = tables.size()
    if size > held:
        raise IntegrityError(
            f"the ledger file has no {size} records",
            hint="it was cut short, or an old copy was put back: run `placet audit`",
        )
    return held


def _require_seen(tables: Tables, seen: Seen) -> None:
    if tables.count_of(seen.predicate_types) != seen.count:
        raise StaleError(
            "the ledger changed meanwhile; nothing was appended", hint="look again and repeat it"
        )
