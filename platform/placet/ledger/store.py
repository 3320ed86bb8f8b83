"""The DuckDB store of the log: the only module that imports DuckDB.

Guarantees, when :meth:`LedgerStore.append` has returned: the records are durable, each has an index without
gaps, a checkpoint signed by the log's key covers them, and appending the same record again returns the same
index. When it raised, none of the records was added. It never signs over a log that does not match its last
checkpoint. It does not protect the file against whoever can write it: :mod:`placet.ledger.audit` finds that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import duckdb

from placet.attest.envelope import Envelope, parse_envelope
from placet.attest.keys import PublicKey, Signer
from placet.attest.statement import parse_statement
from placet.domain.digests import Digest
from placet.domain.errors import Error, IntegrityError, StorageError, UsageError
from placet.ledger.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint_by_any
from placet.ledger.lock import DEFAULT_WAIT_S, ledger_lock
from placet.ledger.merkle import leaf_hash, tree_root

Check = Callable[[Envelope, int], None]
"""Called with each new envelope and the index it would get; raises to refuse it."""

Draft = Callable[[int], Envelope]
"""Makes an envelope that depends on the index it gets."""


class StaleError(Error):
    """Records that the caller had taken into account were added to meanwhile: look again and repeat."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How many records of a predicate type the caller has seen."""

    predicate_type: str
    count: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the log as it is stored: verified by nobody yet."""

    index: int
    record_id: Digest
    leaf: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Derived:
    """A row of the derived tables."""

    index: int
    predicate_type: str
    key_id: str
    subjects: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the file holds at one moment: entries and derived rows by index, checkpoints (size, note) by size."""

    entries: tuple[Entry, ...]
    checkpoints: tuple[tuple[int, str], ...]
    derived: tuple[Derived, ...]


class LedgerStore:
    """A log in a DuckDB file. Every call opens the file, works and closes it again.

    Args:
        path: The DuckDB file; its lock file lies beside it.
        origin: The log's name in its checkpoints.
        wait_s: How long a call waits for other processes, in seconds.
    """

    def __init__(self, path: Path, origin: str, *, wait_s: float = DEFAULT_WAIT_S) -> None:
        self.path = path
        self.origin = origin
        self._lock_path = path.with_name(path.name + ".lock")
        self._wait_s = wait_s

    def create(self) -> None:
        """Make the file and its tables.

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
                for migration in _migrations():
                    db.execute(migration)
            if self.path.exists():
                raise UsageError(f"there is a ledger at {self.path}", hint="another process made it just now")
            unfinished.rename(self.path)

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
            seen: What `check` rests on; nothing is added if the log has more of it by now.
            log_keys: Keys that may have signed the last checkpoint, besides `log`: the log's key may have changed.

        Raises:
            StaleError: It has.
            IntegrityError: The stored log does not match its last checkpoint, or `check` refused.
            LedgerBusyError, StorageError: See there; nothing was added.
        """
        with self._writing() as db:
            leaves = self._leaves(db)
            self._match_checkpoint(db, leaves, (log.public, *log_keys))
            if seen is not None:
                _require_seen(db, seen)
            entries, added = [], 0
            for item in envelopes:
                envelope = item if isinstance(item, Envelope) else item(len(leaves))
                known = db.execute(
                    "SELECT idx, record_id, leaf, envelope FROM entries WHERE record_id = ?",
                    [envelope.record_id],
                ).fetchone()
                if known is not None:
                    entries.append(Entry(known[0], Digest(known[1]), known[2], known[3]))
                    continue
                if check is not None:
                    check(envelope, len(leaves))
                entry = Entry(len(leaves), envelope.record_id, leaf_hash(envelope.raw), envelope.raw)
                _insert(db, entry, derive(entry))
                leaves.append(entry.leaf)
                entries.append(entry)
                added += 1
            if added:
                checkpoint = sign_checkpoint(self.origin, len(leaves), tree_root(leaves), log)
                db.execute("INSERT INTO checkpoints VALUES (?, ?)", [checkpoint.size, checkpoint.note])
            return tuple(entries)

    def entries(self, start: int = 0, stop: int | None = None) -> tuple[Entry, ...]:
        """Return the entries from index `start` until before `stop`, as stored, by index."""
        return self._select("WHERE idx >= ? AND idx < ?", [start, 2**62 if stop is None else stop])

    def find(
        self, *, predicate_type: str | None = None, subject: str | None = None, record_id: str | None = None
    ) -> tuple[Entry, ...]:
        """Return the entries of a predicate type, about a subject digest, with a record id; by index."""
        clauses: list[str] = ["TRUE"]
        values: list[object] = []
        if predicate_type is not None:
            clauses.append("idx IN (SELECT idx FROM records WHERE predicate_type = ?)")
            values.append(predicate_type)
        if subject is not None:
            clauses.append("idx IN (SELECT idx FROM subjects WHERE digest = ?)")
            values.append(subject)
        if record_id is not None:
            clauses.append("record_id = ?")
            values.append(record_id)
        return self._select("WHERE " + " AND ".join(clauses), values)

    def record_ids(self, predicate_type: str) -> tuple[Digest, ...]:
        """Return the record ids of a predicate type, by index: without the envelopes, which may be many."""
        with self._reading() as db:
            found = db.execute(
                "SELECT record_id FROM entries WHERE idx IN (SELECT idx FROM records WHERE predicate_type = ?) "
                "ORDER BY idx",
                [predicate_type],
            ).fetchall()
        return tuple(Digest(row[0]) for row in found)

    def leaves(self) -> tuple[bytes, ...]:
        """Return the stored leaf hashes by index."""
        with self._reading() as db:
            return tuple(self._leaves(db))

    def checkpoint_notes(self) -> tuple[tuple[int, str], ...]:
        """Return all stored checkpoints as (size, note), by size."""
        with self._reading() as db:
            return _notes(db)

    def latest_checkpoint(self) -> str | None:
        """Return the newest checkpoint's note, or None for an empty log."""
        notes = self.checkpoint_notes()
        return notes[-1][1] if notes else None

    def derived(self) -> tuple[Derived, ...]:
        """Return the derived tables' rows by index."""
        with self._reading() as db:
            return _derived(db)

    def snapshot(self) -> Snapshot:
        """Return everything, as of one moment: nothing is appended between one table and the next."""
        with self._reading() as db:
            return Snapshot(_select(db, "", []), _notes(db), _derived(db))

    def rebuild(self) -> int:
        """Make the derived tables again from the envelopes and return how many records they hold."""
        with self._writing() as db:
            db.execute("DELETE FROM records")
            db.execute("DELETE FROM subjects")
            rows = db.execute("SELECT idx, record_id, leaf, envelope FROM entries ORDER BY idx").fetchall()
            for row in rows:
                _insert_derived(db, derive(Entry(row[0], Digest(row[1]), row[2], row[3])))
            return len(rows)

    def _select(self, where: str, values: list[object]) -> tuple[Entry, ...]:
        with self._reading() as db:
            return _select(db, where, values)

    @staticmethod
    def _leaves(db: duckdb.DuckDBPyConnection) -> list[bytes]:
        return [row[0] for row in db.execute("SELECT leaf FROM entries ORDER BY idx").fetchall()]

    def _match_checkpoint(
        self, db: duckdb.DuckDBPyConnection, leaves: Sequence[bytes], keys: Sequence[PublicKey]
    ) -> Checkpoint | None:
        row = db.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        if row is None:
            if leaves:
                raise IntegrityError("the log has records but no checkpoint", hint="run `placet audit`")
            return None
        checkpoint = verify_checkpoint_by_any(row[0], self.origin, keys)
        if checkpoint.size != len(leaves) or checkpoint.root != tree_root(leaves):
            raise IntegrityError(
                "the stored log does not match its last checkpoint; nothing was appended",
                hint="somebody changed the ledger file: run `placet audit` to see what",
            )
        return checkpoint

    @contextmanager
    def _writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with ledger_lock(self._lock_path, exclusive=True, wait_s=self._wait_s), self._open() as db:
            db.execute("BEGIN TRANSACTION")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with (
            ledger_lock(self._lock_path, exclusive=False, wait_s=self._wait_s),
            self._open(read_only=True) as db,
        ):
            yield db

    @contextmanager
    def _open(
        self, create: Path | None = None, *, read_only: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        if create is None and not self.path.exists():
            raise StorageError(f"no ledger at {self.path}", hint="make an office with `placet init`")
        try:
            db = duckdb.connect(str(create or self.path), read_only=read_only)
            try:
                # Nothing outside the file is ever read by a query, and no extension is fetched.
                db.execute("SET enable_external_access = false")
                yield db
            finally:
                db.close()
        except duckdb.Error as error:
            raise StorageError(
                f"the ledger file refused: {str(error).splitlines()[0]}",
                hint="is the disk full, or the file read-only or damaged? nothing was added; `placet audit` checks it",
            ) from error


def _select(db: duckdb.DuckDBPyConnection, where: str, values: list[object]) -> tuple[Entry, ...]:
    query = f"SELECT idx, record_id, leaf, envelope FROM entries {where} ORDER BY idx"  # noqa: S608
    return tuple(Entry(i, Digest(r), leaf, raw) for i, r, leaf, raw in db.execute(query, values).fetchall())


def _notes(db: duckdb.DuckDBPyConnection) -> tuple[tuple[int, str], ...]:
    return tuple(db.execute("SELECT size, note FROM checkpoints ORDER BY size").fetchall())


def _derived(db: duckdb.DuckDBPyConnection) -> tuple[Derived, ...]:
    subjects: dict[int, list[tuple[str, str]]] = {}
    for index, name, digest in db.execute("SELECT idx, name, digest FROM subjects").fetchall():
        subjects.setdefault(index, []).append((name, digest))
    rows = db.execute("SELECT idx, predicate_type, key_id FROM records ORDER BY idx").fetchall()
    found = [Derived(i, kind, key, tuple(sorted(subjects.pop(i, ())))) for i, kind, key in rows]
    # Subjects of no record cannot come from us; shown as they are, so that a comparison sees them.
    found += [Derived(i, "", "", tuple(sorted(left))) for i, left in sorted(subjects.items())]
    return tuple(found)


def derive(entry: Entry) -> Derived:
    """Return what the derived tables hold about `entry`.

    Raises:
        IntegrityError: The envelope cannot be taken apart.
    """
    envelope = parse_envelope(entry.envelope)
    statement = parse_statement(envelope.payload)
    subjects = tuple(sorted((subject.name, str(subject.digest)) for subject in statement.subjects))
    return Derived(entry.index, statement.predicate_type, envelope.key_id, subjects)


def _require_seen(db: duckdb.DuckDBPyConnection, seen: Seen) -> None:
    query = "SELECT count(*) FROM records WHERE predicate_type = ?"
    row = db.execute(query, [seen.predicate_type]).fetchone()
    if row is None or row[0] != seen.count:
        raise StaleError(
            "the ledger changed meanwhile; nothing was appended", hint="look again and repeat it"
        )


def _insert(db: duckdb.DuckDBPyConnection, entry: Entry, derived: Derived) -> None:
    db.execute(
        "INSERT INTO entries VALUES (?, ?, ?, ?)", [entry.index, entry.record_id, entry.leaf, entry.envelope]
    )
    _insert_derived(db, derived)


def _insert_derived(db: duckdb.DuckDBPyConnection, row: Derived) -> None:
    db.execute("INSERT INTO records VALUES (?, ?, ?)", [row.index, row.predicate_type, row.key_id])
    for name, digest in row.subjects:
        db.execute("INSERT INTO subjects VALUES (?, ?, ?)", [row.index, name, digest])


def _migrations() -> tuple[str, ...]:
    folder = resources.files("placet.ledger") / "migrations"
    files = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name
    )
    return tuple(item.read_text() for item in files)
