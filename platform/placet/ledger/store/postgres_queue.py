"""Taking turns at the head of a log in PostgreSQL: who waits has its records appended by the one whose turn it is.

A writer leaves a **request** in a table, committed but not synced, and waits for the head's advisory lock. Whoever gets
the lock claims the requests that it can serve (:meth:`PostgresQueue.claims`), does what they ask along with its own
work, and leaves the answers in the same transaction: so an answer can be seen exactly when what it says is durable. Who
then gets the lock looks for its answer before anything else and, if there is one, passes the lock on, all of it within
the server. When a holder dies the server ends its transaction: nothing was added, the requests wait as before, and the
next in line has the lock.

A request is signed with the log's key, which every writer that may append has, and holds for the time its writer waits.
So whoever can write the table, but not sign for the log, can have nothing appended. An answer is not signed: it is
believed only once what it says was found in the log (:mod:`placet.ledger.store.postgres`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow

from placet.attest.keys import PublicKey, Signer
from placet.domain.digests import Digest
from placet.domain.errors import Error, LedgerBusyError
from placet.ledger.store.base import Seen
from placet.ledger.store.requests import AppendRequest, parse_request

Connection = psycopg.Connection[TupleRow]

HEAD_LOCK = int.from_bytes(b"placet:1", "big") >> 1
"""The advisory lock that whoever changes the log holds; one log to a database."""

MAX_CLAIMED = 64
MAX_REQUEST_BYTES = 1 << 18
"""Larger batches wait for the lock itself: they have little to gain, and 64 of them are in memory at once."""

_SIGNATURE_BYTES = 64
_DOMAIN = b"placet-append-request/v1\0"  # no checkpoint or other note begins like this

_POST: LiteralString = """
INSERT INTO placet_waiting AS w (writer, number, asked_at, served_with, request, record_ids)
VALUES (%s, %s, clock_timestamp(), %s, %b, %s)
ON CONFLICT (writer) DO UPDATE SET number = excluded.number, asked_at = excluded.asked_at,
    served_with = excluded.served_with, request = excluded.request, record_ids = excluded.record_ids, answer = NULL
"""
# What came of the wait, and the head as it now stands: its newest checkpoint and the leaves that the writer lacks,
# hashed there, because 32 bytes instead of 2 KB a record is what makes many writers cheap. One statement, one moment.
_TURN: LiteralString = """
SELECT w.answer, CASE WHEN w.answer IS NULL THEN FALSE ELSE pg_advisory_unlock(%(lock)s) END,
    newest.size, newest.note, (SELECT max(idx) FROM placet_entries),
    (SELECT string_agg(sha256(decode('00', 'hex') || envelope), ''::bytea ORDER BY idx)
     FROM placet_entries WHERE idx >= %(size)s)
FROM (SELECT 1) AS one
LEFT JOIN placet_waiting w ON w.writer = %(writer)s AND w.number = %(number)s
LEFT JOIN (SELECT size, note FROM placet_checkpoints ORDER BY size DESC LIMIT 1) AS newest ON TRUE
"""
_CLAIM: LiteralString = """
SELECT writer, number, request, record_ids FROM placet_waiting
WHERE served_with = %s AND request IS NOT NULL AND writer <> %s
ORDER BY asked_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
_REPLY: LiteralString = """
UPDATE placet_waiting w SET request = NULL, record_ids = NULL, answer = a.answer
FROM unnest(%b::bigint[], %b::bigint[], %b::bytea[]) AS a (writer, number, answer)
WHERE w.writer = a.writer AND w.number = a.number
"""
_WITHDRAW: LiteralString = """
UPDATE placet_waiting SET request = NULL, record_ids = NULL WHERE writer = %s AND number = %s AND answer IS NULL
RETURNING number
"""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a writer wants appended.

    Attributes:
        request: It, as another writer could do it for this one; empty: none could.
        record_ids: Of the records in it.
        seen: What whoever does it has to have seen, too; None: this writer does nothing for others.
        log: Signs the request, and whoever does it signs with the same key.
        key: The log's public key.
    """

    request: bytes
    record_ids: Sequence[Digest]
    seen: Seen | None
    log: Signer
    key: PublicKey

    @property
    def shared(self) -> bool:
        """Whether the request is left for others."""
        return 0 < len(self.request) <= MAX_REQUEST_BYTES

    @property
    def served_with(self) -> str:
        """What tells those who can serve each other from all others."""
        seen = self.seen or Seen((), -1)
        return f"{self.key.key_id} {' '.join(seen.predicate_types)} {seen.count}"


@dataclass(frozen=True, slots=True)
class Head:
    """The head as the database shows it: nothing of it is believed before its leaves make a signed root.

    Attributes:
        size: What its newest checkpoint is filed under.
        note: That checkpoint; None: there is none.
        last: The last record's index; None: there is none.
        leaves: The hashes of the records that were asked for, by index.
    """

    size: int | None
    note: str | None
    last: int | None
    leaves: bytes


@dataclass(frozen=True, slots=True)
class Turn:
    """What waiting brought: the head's lock, or the answer of who did what was asked meanwhile; and the head since."""

    answer: bytes | None
    head: Head


@dataclass(frozen=True, slots=True)
class Claim:
    """A waiting request that nobody else takes on, or takes back, until this transaction ends."""

    writer: int
    number: int
    request: AppendRequest | None
    """None where it cannot be served: its owner does it itself."""


class PostgresQueue:
    """One connection's place among those who wait for the head.

    Args:
        origin: The log.
        wait_s: How long to wait for others, in seconds.
    """

    def __init__(self, origin: str, wait_s: float) -> None:
        self._domain = _DOMAIN + origin.encode() + b"\0"
        self._wait_s = wait_s
        self._writer = secrets.randbits(63)
        self._number = 0
        self._shared = False

    def turn(self, db: Connection, ask: Ask, size: int) -> Turn:
        """Wait for the head's lock, which belongs to the connection's session then, or for an answer.

        Args:
            db: The connection, outside of any transaction.
            ask: What to have done.
            size: How many records of the log the writer knows.

        Raises:
            LedgerBusyError: Other writers had the lock for all of the time to wait.
        """
        self._number = secrets.randbits(63)
        self._shared = ask.shared
        try:
            with db.pipeline() as pipeline:
                if self._shared:
                    values = [self._writer, self._number, ask.served_with, self._signed(ask)]
                    db.execute(_POST, [*values, list(ask.record_ids)])
                    pipeline.sync()  # committed, for others to see
                db.execute("SELECT pg_advisory_lock(%s)", [HEAD_LOCK])
                found = self._look(db, size)
                return _turn(found)
        except psycopg.errors.LockNotAvailable as error:
            if self.withdraw(db):
                raise LedgerBusyError(
                    f"the ledger in the database is held by another writer; waited {self._wait_s:g} s",
                    hint="let it finish and try again; nothing of yours was lost",
                ) from error
            return _turn(self._look(db, size))

    def _look(self, db: Connection, size: int) -> psycopg.Cursor[TupleRow]:
        place = {"lock": HEAD_LOCK, "writer": self._writer, "number": self._number, "size": size}
        return db.execute(_TURN, place, binary=True)

    def claims(self, db: Connection, ask: Ask) -> psycopg.Cursor[TupleRow]:
        """Ask for the waiting requests that this writer may be able to serve; :meth:`read` takes the rows."""
        limit = 0 if ask.seen is None else MAX_CLAIMED
        return db.execute(_CLAIM, [ask.served_with, self._writer, limit], binary=True)

    def read(self, rows: Sequence[TupleRow], ask: Ask) -> list[Claim]:
        """Return the claims in `rows`: each request signed by the log's key and made on what this writer has seen."""
        return [Claim(row[0], row[1], self._verified(row, ask)) for row in rows]

    def reply(self, db: Connection, answers: Sequence[tuple[Claim, bytes | None]]) -> None:
        """Leave the answers; with the transaction they become seen. This writer's own request waits no more."""
        rows = [(claim.writer, claim.number, answer) for claim, answer in answers]
        if self._shared:
            rows.append((self._writer, self._number, None))
        if rows:
            db.execute(_REPLY, [list(column) for column in zip(*rows, strict=True)])

    def withdraw(self, db: Connection) -> bool:
        """Take the request back; False if it was answered meanwhile.

        Raises:
            LedgerBusyError: Another writer is just doing what was asked, and does not come to an end.
        """
        if not self._shared:
            return True
        try:
            row = db.execute(_WITHDRAW, [self._writer, self._number]).fetchone()
        except psycopg.errors.LockNotAvailable as error:
            raise LedgerBusyError(
                f"the ledger in the database is held by another writer; waited {2 * self._wait_s:g} s",
                hint="it took this on and has not said how it went: repeat it, nothing is ever added twice",
            ) from error
        return row is not None

    def _signed(self, ask: Ask) -> bytes:
        until = int(time.time() + self._wait_s) + 1
        body = b"%d %d %d\n%s" % (self._writer, self._number, until, ask.request)
        signature = ask.log.sign(self._domain + body)
        if len(signature) != _SIGNATURE_BYTES:
            raise Error("the log's key is no Ed25519 key", hint="checkpoints are signed with Ed25519")
        return signature + body

    def _verified(self, row: TupleRow, ask: Ask) -> AppendRequest | None:
        writer, number, signed, record_ids = row
        signature, body = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
        try:
            ask.key.verify(signature, self._domain + body)
            place, _, request = body.partition(b"\n")
            named, counted, until = map(int, place.split(b" "))
            parsed = parse_request(request)
        except (Error, ValueError, KeyError, TypeError):
            return None
        fits = (
            (named, counted) == (writer, number)
            and time.time() <= until
            and (parsed.seen, parsed.log_key) == (ask.seen, ask.key.key_id)
            and [item.record_id for item in parsed.envelopes] == record_ids
        )
        return parsed if fits else None


def _turn(found: psycopg.Cursor[TupleRow]) -> Turn:
    answer, _, size, note, last, leaves = found.fetchone() or (None,) * 6
    return Turn(answer, Head(size, note, last, leaves or b""))
