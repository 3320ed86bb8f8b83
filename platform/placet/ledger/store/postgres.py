"""The log in a PostgreSQL database, for teams on several machines.

The log lives in the database: envelopes and checkpoints. Whoever has the head's lock holds what was added since it
looked last against the checkpoint over it, and adds its own records and those of the writers that wait
(:mod:`placet.ledger.store.postgres_queue`) under one checkpoint of its own; unique indexes on record, index and size
keep two writers from making one head even without the lock. A writer whose records were added by another believes it
once they are where it was told, in a log that continues what it has seen, under the log key's checkpoint. Each machine
reads from a local
DuckDB index, which it builds by following the log: only envelopes that it verified itself go in, and at each step the
newest checkpoint has to continue what is there. So the database's operator can hide what is new, which a witness or
another machine notices, and can change nothing that a machine has seen.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg.rows import TupleRow

from placet.attest.envelope import Envelope, parse_envelope
from placet.attest.keys import PublicKey, Signer
from placet.attest.predicates import PREDICATES, Kind, spec_of
from placet.attest.root import TrustRoot
from placet.attest.trust import Trust, establish_trust
from placet.domain.collector import collector_paused
from placet.domain.digests import Digest
from placet.domain.errors import Error, IntegrityError, LedgerBusyError, StorageError, UsageError
from placet.ledger.checkpoint import sign_checkpoint, verify_log_checkpoint
from placet.ledger.derived import predicate_type_of
from placet.ledger.lock import DEFAULT_WAIT_S
from placet.ledger.merkle import GrowingTree, leaf_hash
from placet.ledger.store.base import Check, Draft, Entry, Seen, Snapshot, StaleError
from placet.ledger.store.batch import Batch
from placet.ledger.store.duck import DuckStore
from placet.ledger.store.postgres_queue import HEAD_LOCK, Ask, Claim, Connection, PostgresQueue
from placet.ledger.store.postgres_tables import (
    FORM,
    STATE,
    STATE_AND_COUNT,
    bring_up_to_date,
    check_state,
    insert,
    migrate,
    stored_entry,
)
from placet.ledger.store.postgres_view import View
from placet.ledger.store.requests import dump_answer, dump_request, parse_answer

_FOLLOWED_AT_ONCE = 4096
_ATTEMPTS = 20
_HELD = "SELECT idx, record_id, envelope FROM placet_entries WHERE record_id = ANY(%s)"
_HELD_BY_CLAIMS = """
SELECT idx, record_id, envelope FROM placet_entries WHERE record_id = ANY(%s::text[] || ARRAY(
    SELECT unnest(record_ids) FROM placet_waiting WHERE served_with = %s AND request IS NOT NULL))
"""
# Whatever the rule is for others here: each statement sees what is there when it begins, so also what was added while
# it waited; acknowledged is durable; and a machine that is gone is noticed within a minute, with the lock it has.
_SESSION = """
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
"""
_ROLES, _ROOT = (spec_of(kind).predicate_type for kind in (Kind.ROLES, Kind.ROOT))
_KNOWN = {spec.predicate_type for spec in PREDICATES}
_HINT = "is the server running and reachable (office.json names it)? repeat it: nothing is ever added twice"


class PostgresStore:
    """A log in PostgreSQL with a local index; see :class:`~placet.ledger.store.base.LedgerStore` for what it promises.

    Args:
        dsn: The database, as libpq names it; passwords belong in its password file or ``$PGPASSWORD``.
        index: The local index.
        root: The pinned trust root, by which envelopes are verified before they go into the index.
        wait_s: How long an append waits for other writers, in seconds.
    """

    def __init__(
        self, dsn: str, index: DuckStore, root: TrustRoot, *, wait_s: float = DEFAULT_WAIT_S
    ) -> None:
        self.dsn = dsn
        self.origin = index.origin
        self._index = index
        self._root = root
        self._wait_s = wait_s
        self._mine = _Mine(self.origin, wait_s)

    def create(self, *, again: bool = False) -> None:
        """Make the tables.

        Args:
            again: Tables of this log that are there already are fine.

        Raises:
            UsageError: The database holds a log already, or another one.
            StorageError: It cannot be reached or written.
        """
        with self._transaction() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", [HEAD_LOCK])
            if db.execute("SELECT to_regclass('placet_log')").fetchone() != (None,):
                if again:
                    check_state(db.execute(STATE).fetchone(), self.origin, read=True)
                    return
                raise UsageError(
                    "the database holds a ledger already",
                    hint="name another database, or drop its placet_ tables",
                )
            migrate(db, 0)
            db.execute("INSERT INTO placet_log VALUES (%s, %s, NULL)", [self.origin, FORM])

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
        mine = self._mine
        if mine.view is None:
            self.follow()
            size = self._index.size()
            mine.view = View(size, GrowingTree(self._index.frontier(size)))
        # A check of one's own that rests on nothing named can be done by nobody else.
        shared, key = (seen if check is not None else None), log.public
        ids = [item.record_id for item in envelopes if isinstance(item, Envelope)]
        ask = Ask(dump_request(envelopes, shared, key.key_id), ids, shared, log, key)
        try:
            with self._appending() as db:
                turn = mine.queue.turn(db, ask, mine.view.size)
                mine.view.advance(turn.head, self.origin, (key, *log_keys))
                if turn.answer is None:
                    return self._add(db, mine.view, envelopes, ask, check, seen)
                entries = parse_answer(turn.answer, envelopes)
                self._require_logged(entries, mine.view)
                return entries
        except BaseException:
            # What was added to the view may not be in the log: look again from the index next time.
            mine.view = None
            raise

    @collector_paused()
    def _add(
        self,
        db: Connection,
        view: View,
        envelopes: Sequence[Envelope | Draft],
        ask: Ask,
        check: Check | None,
        seen: Seen | None,
    ) -> tuple[Entry, ...]:
        """Add `envelopes`, and what others wait to have added, while this session has the head's lock."""
        queue = self._mine.queue
        with db.pipeline():
            db.execute("BEGIN")
            state = db.execute(STATE_AND_COUNT, [list(seen.predicate_types) if seen else []])
            claimed = queue.claims(db, ask)
            held = db.execute(_HELD_BY_CLAIMS, [list(ask.record_ids), ask.served_with], binary=True)
            row = state.fetchone()
            check_state(row, self.origin)
            claims = queue.read(claimed.fetchall(), ask)
            known: dict[str, Entry] = {row[1]: stored_entry(*row) for row in held.fetchall()}
        if seen is not None and (row is None or row[3] != seen.count):
            raise StaleError(
                "the ledger changed meanwhile; nothing was appended", hint="look again and repeat it"
            )
        asked = {*ask.record_ids, *(i.record_id for c in claims if c.request for i in c.request.envelopes)}

        def lookup(record_ids: Sequence[Digest]) -> dict[str, Entry]:
            found = {item: known[item] for item in record_ids if item in known}
            drafted = [item for item in record_ids if item not in asked]
            rows = db.execute(_HELD, [drafted], binary=True).fetchall() if drafted else ()
            return {**found, **{row[1]: stored_entry(*row) for row in rows}}

        batch = Batch(view.size, lookup)
        entries = batch.add(envelopes, check)
        answers = [(claim, _served(batch, claim, check)) for claim in claims]
        self._require_logged([entry for entry in entries if entry.index < view.size], view)
        with db.pipeline():
            if batch.new:
                view.add([entry.leaf for entry in batch.new])
                note = sign_checkpoint(self.origin, view.size, view.root(), ask.log).note
                insert(db, batch.new, [row.predicate_type for row in batch.derived])
                db.execute("INSERT INTO placet_checkpoints VALUES (%s, %s)", [view.size, note])
            queue.reply(db, answers)
            db.execute("COMMIT")
            db.execute("SELECT pg_advisory_unlock(%s)", [HEAD_LOCK])
        return entries

    def _require_logged(self, entries: Sequence[Entry], view: View) -> None:
        """Return if `entries` are what the log has at their indices, as far as this machine verified it."""
        for entry in entries:
            leaf = view.leaf(entry.index)
            if leaf is None:
                (stored,) = self._index.entries(entry.index, entry.index + 1) or (None,)
                leaf = None if stored is None else leaf_hash(stored.envelope)
            if leaf != entry.leaf:
                raise IntegrityError(
                    f"the database says that record {entry.record_id} is number {entry.index}, but the log has "
                    "another one there, or none",
                    hint="somebody changed the database: run `placet audit` to see what",
                )

    # --- following --------------------------------------------------------------------------------------

    def follow(self) -> int:
        """Bring the local index up to the newest checkpoint and return how many records it holds.

        Raises:
            IntegrityError: What the database shows does not continue what this machine saw, or does not verify.
            StorageError: The database cannot be reached.
        """
        for _ in range(_ATTEMPTS):
            try:
                while self._follow_a_part():
                    pass
                return self._index.size()
            except StaleError:
                continue  # another process of this machine was quicker
        raise LedgerBusyError("other processes keep changing the local index", hint="try again")

    def _follow_a_part(self) -> bool:
        """Take over the next records; False if there are none."""
        with self._index.reading():
            size, mine = self._index.size(), self._index.latest_checkpoint()
        with self._transaction() as db:
            check_state(db.execute(STATE).fetchone(), self.origin, read=True)
            newest = db.execute(
                "SELECT size, note FROM placet_checkpoints ORDER BY size DESC LIMIT 1"
            ).fetchone()
            if newest is None or newest[0] <= size:
                self._compare_heads(size, mine, newest)
                return False
            # The last checkpoint within reach; a batch under one checkpoint may be larger, then it is taken whole.
            found = db.execute(
                "SELECT coalesce(max(size) FILTER (WHERE size <= %s), min(size)) FROM placet_checkpoints "
                "WHERE size > %s",
                [size + _FOLLOWED_AT_ONCE, size],
            ).fetchone()
            upper = found[0] if found is not None else newest[0]
            query = "SELECT idx, record_id, envelope FROM placet_entries WHERE idx >= %s AND idx < %s ORDER BY idx"
            entries = [stored_entry(*row) for row in db.execute(query, [size, upper]).fetchall()]
            query = "SELECT size, note FROM placet_checkpoints WHERE size > %s AND size <= %s ORDER BY size"
            notes = [(row[0], row[1]) for row in db.execute(query, [size, upper]).fetchall()]
        self._verify(entries, notes, size)
        self._index.continue_with(entries, notes, size)
        return True

    def _compare_heads(self, size: int, mine: str | None, newest: TupleRow | None) -> None:
        """Raise if the database has fewer records than this machine saw, or others."""
        if newest is None and not size:
            return
        if newest is None or newest[0] < size:
            raise IntegrityError(
                f"the database holds {newest[0] if newest else 0} records, this machine has seen {size}: "
                "the log was cut short, or an old copy was put back",
                hint="the local index still has them: `placet audit`, then look for who restored the database",
            )
        if _text(newest[1]) != _text(mine or ""):
            raise IntegrityError(
                f"the database shows another history of {size} records than this machine has seen",
                hint="the log was forked: keep the local index as evidence, and run `placet audit`",
            )

    def _verify(self, entries: Sequence[Entry], notes: Sequence[tuple[int, str]], size: int) -> None:
        """Return if each record is signed by a key that held the role, and each checkpoint by the log's key."""
        trust = self._trust_after(entries, size)
        for entry in entries:
            try:
                if predicate_type_of(_payload(entry)) in _KNOWN:
                    trust.verify(entry.envelope, entry.index)
            except Error as error:
                raise IntegrityError(
                    f"record {entry.index} of the database does not verify and was not taken over: {error}",
                    hint="somebody logged it past every check: find out who, with `placet audit`",
                ) from error
        for _, note in notes:
            verify_log_checkpoint(trust, note, self.origin)

    def _trust_after(self, entries: Sequence[Entry], size: int) -> Trust:
        """Return the trust as it stands after `entries`, each roles statement held to the one before it."""
        types = [predicate_type_of(_payload(entry)) for entry in entries]

        def all_of(predicate_type: str) -> list[tuple[int, bytes]]:
            known = self._index.find(predicate_type=predicate_type) if size else ()
            new = (entry for entry, kind in zip(entries, types, strict=True) if kind == predicate_type)
            return [(entry.index, entry.envelope) for entry in (*known, *new)]

        return establish_trust(self._root, all_of(_ROLES), all_of(_ROOT))

    def differences(self, size: int | None = None) -> Iterator[tuple[int, str]]:
        """Yield (index, what) of each of the first `size` records that the database holds otherwise than the index.

        Args:
            size: How many records are compared; all that the index has by default.

        Raises:
            StorageError: The database cannot be reached.
        """
        start, size = 0, self._index.extent() if size is None else size
        gaps = deque(self._index.gaps())
        while start < size:
            stop = start + _FOLLOWED_AT_ONCE
            while gaps and gaps[0][0] < stop:  # what the index lacks is not compared, however much it is
                first, last = gaps.popleft()
                stop += last - first + 1
            stop = min(size, stop)
            mine = {entry.index: entry for entry in self._index.entries(start, stop)}
            with self._transaction() as db:
                query = "SELECT idx, record_id, envelope FROM placet_entries WHERE idx = ANY(%s)"
                theirs = {row[0]: stored_entry(*row) for row in db.execute(query, [list(mine)]).fetchall()}
            for index, entry in sorted(mine.items()):
                if index not in theirs:
                    yield index, f"record {index} is missing from the database"
                elif theirs[index] != entry:
                    yield (
                        index,
                        f"record {index} was edited in the database: it is not the one this machine saw",
                    )
            start = stop

    # --- reading: from the local index ------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Follow once, then let this thread's queries inside the block share one connection to the local index."""
        if not self._mine.groups:
            self.follow()
        self._mine.groups += 1
        try:
            with self._index.reading():
                yield
        finally:
            self._mine.groups -= 1

    def local(self) -> DuckStore:
        """Return the local index, brought up to date unless this is within a group of queries."""
        if not self._mine.groups:
            self.follow()
        return self._index

    def size(self) -> int:
        """Return how many records the log holds."""
        return self.local().size()

    def entries(self, start: int = 0, stop: int | None = None) -> tuple[Entry, ...]:
        """Return the entries from index `start` until before `stop`, by index."""
        return self.local().entries(start, stop)

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
        """Return the entries that fit all that is given, by index; see the protocol."""
        return self.local().find(
            predicate_type=predicate_type,
            subject=subject,
            record_id=record_id,
            decision=decision,
            suite=suite,
            since=since,
            last=last,
        )

    def indices_of(self, record_ids: Sequence[str]) -> dict[str, int]:
        """Return record id → index of those that the log has."""
        return self.local().indices_of(record_ids)

    def record_ids(self, predicate_type: str) -> tuple[Digest, ...]:
        """Return the record ids of a predicate type, by index."""
        return self.local().record_ids(predicate_type)

    def latest_moment(self, predicate_types: Sequence[str], before: int | None = None) -> str | None:
        """Return the latest moment that a record of some predicate types, before an index, gives."""
        return self.local().latest_moment(predicate_types, before)

    def checkpoint_notes(self, above: int = 0) -> tuple[tuple[int, str], ...]:
        """Return the checkpoints of sizes above `above` as (size, note), by size."""
        return self.local().checkpoint_notes(above)

    def latest_checkpoint(self) -> str | None:
        """Return the newest checkpoint's note, or None for an empty log."""
        return self.local().latest_checkpoint()

    def inclusion_proofs(self, indices: Sequence[int], size: int) -> tuple[tuple[bytes, ...], ...]:
        """Return the audit path of each record in the log of `size`."""
        return self.local().inclusion_proofs(indices, size)

    def consistency_proof(self, old_size: int, size: int) -> tuple[bytes, ...]:
        """Return the proof that the log of `size` continues that of `old_size`."""
        return self.local().consistency_proof(old_size, size)

    def frontier(self, size: int) -> tuple[tuple[int, bytes], ...]:
        """Return the complete subtrees (records, root) of the log of `size`, largest first."""
        return self.local().frontier(size)

    def snapshot(self, start: int = 0, stop: int | None = None, *, derived: bool = True) -> Snapshot:
        """Return a range of everything, as of one moment."""
        return self.local().snapshot(start, stop, derived=derived)

    def extra_rows(self, size: int) -> tuple[str, ...]:
        """Return, in words, each row of the local index that does not belong to a log of `size`."""
        return self.local().extra_rows(size)

    def rebuild(self) -> int:
        """Make the local index's derived tables again from its envelopes."""
        return self.local().rebuild()

    # --- moving -----------------------------------------------------------------------------------------

    def take_over(self, entries: Sequence[Entry], notes: Sequence[tuple[int, str]]) -> None:
        """Add records of the same log from elsewhere with their own checkpoints: the caller verified them.

        Raises:
            IntegrityError: They do not follow on what is there.
        """
        with self._transaction() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", [HEAD_LOCK])
            row = db.execute("SELECT count(*) FROM placet_entries").fetchone()
            start = row[0] if row else 0
            if [entry.index for entry in entries] != list(range(start, start + len(entries))):
                raise IntegrityError(
                    f"records do not follow on the {start} in the database",
                    hint="begin with an empty database",
                )
            insert(db, entries, [predicate_type_of(_payload(entry)) for entry in entries])
            with db.cursor() as cursor:
                cursor.executemany("INSERT INTO placet_checkpoints VALUES (%s, %s)", list(notes))
        self._mine.view = None

    def remote_size(self) -> int:
        """Return how many records the database holds, whatever they are."""
        with self._transaction() as db:
            row = db.execute("SELECT count(*) FROM placet_entries").fetchone()
        return int(row[0]) if row else 0

    def open_log(self) -> None:
        """Let the log be appended to here (again)."""
        with self._transaction() as db:
            db.execute("UPDATE placet_log SET moved = NULL")

    def close_log(self, where: str) -> None:
        """Let nothing be appended here any more: the log went to `where`."""
        with self._transaction() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", [HEAD_LOCK])
            db.execute("UPDATE placet_log SET moved = %s", [where])

    # --- connections ------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._connected() as db, db.transaction():
            yield db

    @contextmanager
    def _appending(self) -> Iterator[Connection]:
        """Give a connection for an append, which begins and ends its transactions itself."""
        with self._connected() as db:
            if not self._mine.ready:
                bring_up_to_date(db)
                self._mine.ready = True
            try:
                yield db
            except Exception:
                self._let_go(db)
                raise
            except BaseException:
                # Interrupted between two words: the server finds out what the connection held when it is closed.
                db.close()
                raise

    def _let_go(self, db: Connection) -> None:
        """End what the connection is in, so that what failed is not done by another writer afterwards."""
        try:
            db.execute("ROLLBACK")
            self._mine.queue.withdraw(db)
            db.execute("SELECT pg_advisory_unlock_all()")
        except (psycopg.Error, LedgerBusyError):
            db.close()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            if self._mine.db is None or self._mine.db.closed:
                self._mine.db = psycopg.connect(self.dsn, connect_timeout=10, autocommit=True)
                self._mine.db.prepare_threshold = 2
                self._mine.db.execute(_SESSION)
                timeout = f"{max(1, int(self._wait_s * 1000))}ms"
                self._mine.db.execute("SELECT set_config('lock_timeout', %s, false)", [timeout])
                self._mine.ready = False
            yield self._mine.db
        except psycopg.errors.LockNotAvailable as error:
            raise LedgerBusyError(
                f"the ledger in the database is held by another writer; waited {self._wait_s:g} s",
                hint="let it finish and try again; nothing of yours was lost",
            ) from error
        except psycopg.errors.UndefinedTable as error:
            raise StorageError(
                "the database holds no ledger", hint="`placet ledger migrate` moves one there"
            ) from error
        except psycopg.errors.UniqueViolation as error:
            raise StaleError("another writer was quicker; nothing was appended", hint="repeat it") from error
        except psycopg.Error as error:
            words = str(error).strip().splitlines()
            raise StorageError(
                f"the database refused: {words[0] if words else error!r}", hint=_HINT
            ) from error


class _Mine(threading.local):
    """This thread's connection, its place in the queue, and what it has seen of the log."""

    def __init__(self, origin: str, wait_s: float) -> None:
        self.db: Connection | None = None
        self.ready = False
        self.queue = PostgresQueue(origin, wait_s)
        self.view: View | None = None
        self.groups = 0


def _served(batch: Batch, claim: Claim, check: Check | None) -> bytes | None:
    """Take what a claim asks for into the batch and return the answer; None where that cannot be done here."""
    if claim.request is None:
        return None
    envelopes = claim.request.envelopes
    try:
        return dump_answer(batch.add(envelopes, check), envelopes)
    except Error as error:
        return dump_answer(error)


def _payload(entry: Entry) -> bytes:
    return parse_envelope(entry.envelope).payload


def _text(note: str) -> str:
    return note.partition("\n\n")[0]
