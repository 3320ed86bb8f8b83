"""The tables of a log in PostgreSQL: their forms, and rows that go in and come out."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from psycopg.rows import TupleRow

from placet.domain.digests import Digest
from placet.domain.errors import StorageError, UsageError
from placet.ledger.merkle import leaf_hash
from placet.ledger.store.base import Entry
from placet.ledger.store.postgres_queue import HEAD_LOCK, Connection

FORM = 2
"""The form of the tables: the number of the last migration."""

_INSERTED_AT_ONCE = 4096
STATE = "SELECT origin, form, moved FROM placet_log"
STATE_AND_COUNT = """
SELECT origin, form, moved, (SELECT count(*) FROM placet_entries WHERE predicate_type = ANY(%s)) FROM placet_log
"""


def bring_up_to_date(db: Connection) -> None:
    """Make the tables that a database of an earlier form lacks, and forget what writers left long ago."""
    state = db.execute(STATE).fetchone()
    if state is not None and state[1] < FORM:
        with db.transaction():
            db.execute("SELECT pg_advisory_xact_lock(%s)", [HEAD_LOCK])
            state = db.execute(STATE).fetchone()
            if state is not None and state[1] < FORM:
                migrate(db, state[1])
    db.execute("DELETE FROM placet_waiting WHERE asked_at < clock_timestamp() - interval '1 day'")


def migrate(db: Connection, form: int) -> None:
    """Bring the tables from `form` (0: none) to today's."""
    folder = resources.files("placet.ledger") / "migrations" / "postgres"
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        if file.name.endswith(".sql") and int(file.name[:4]) > form:
            db.execute(file.read_bytes())
    db.execute("UPDATE placet_log SET form = %s", [FORM])


def insert(db: Connection, entries: Sequence[Entry], predicate_types: Sequence[str]) -> None:
    """Add rows by columns: one statement for many."""
    rows = [
        (entry.index, entry.record_id, predicate_type, entry.envelope)
        for entry, predicate_type in zip(entries, predicate_types, strict=True)
    ]
    for start in range(0, len(rows), _INSERTED_AT_ONCE):
        columns = zip(*rows[start : start + _INSERTED_AT_ONCE], strict=True)
        query = "INSERT INTO placet_entries SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::bytea[])"
        db.execute(query, [list(column) for column in columns])


def stored_entry(index: int, record_id: str, envelope: Any) -> Entry:
    """Return a row as an entry, its leaf hashed anew."""
    raw = bytes(envelope)
    return Entry(index, Digest(record_id), leaf_hash(raw), raw)


def check_state(state: TupleRow | None, origin: str, *, read: bool = False) -> None:
    """Return if the database holds this log, in a form known here; to append (not `read`), it must not have moved.

    Raises:
        UsageError: It holds another log, or the log moved.
        StorageError: Its tables are of a newer form.
    """
    if state is None or state[0] != origin:
        raise UsageError(
            f"the database holds the ledger {state[0] if state else None!r}, not {origin!r}",
            hint="each ledger has a database of its own: check the connection in office.json",
        )
    if state[1] > FORM:
        raise StorageError(
            f"the database's tables are of form {state[1]}, this Placet knows up to {FORM}",
            hint="a newer Placet made them: use that one",
        )
    if state[2] is not None and not read:
        raise UsageError(f"the ledger was moved to {state[2]}", hint="append there")
