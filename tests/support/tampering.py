"""What whoever can write an office's folder, and holds its keys, can do to the ledger file. For tests only."""

from __future__ import annotations

from typing import Any

import duckdb

from placet.attest.envelope import Envelope
from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import digest_bytes
from placet.domain.records import Revocation
from placet.ledger.checkpoint import sign_checkpoint
from placet.ledger.merkle import leaf_hash, tree_root
from placet.office import LOG_KEY, Office
from tests.support import offices
from tests.support.offices import signer_named


def sql(office: Office, statement: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(office.store.local().path)) as db:
        return db.execute(statement, values or []).fetchall()


def replace(
    office: Office, index: int, raw: bytes, *, leaf: bool = True, record_id: str | None = None
) -> None:
    """Put other bytes in a row; with `leaf`, its stored hash too, as somebody careful would."""
    sql(office, "UPDATE entries SET envelope = ? WHERE idx = ?", [raw, index])
    if leaf:
        sql(office, "UPDATE entries SET leaf = ? WHERE idx = ?", [leaf_hash(raw), index])
    if record_id is not None:
        sql(office, "UPDATE entries SET record_id = ? WHERE idx = ?", [record_id, index])


def resign(office: Office) -> None:
    """Sign the whole stored log anew with its real key, as its own operator can."""
    rows = sql(office, "SELECT envelope FROM entries ORDER BY idx")
    leaves = [leaf_hash(row[0]) for row in rows]
    sql(office, "DELETE FROM checkpoints")
    for size in range(1, len(leaves) + 1):
        note = sign_checkpoint(
            office.settings.origin, size, tree_root(leaves[:size]), office.signer(LOG_KEY)
        ).note
        sql(office, "INSERT INTO checkpoints VALUES (?, ?)", [size, note])


def logged(office: Office, envelope: Envelope) -> int:
    """Append past every check, as the holder of the log's key can."""
    return office.store.append([envelope], office.signer(LOG_KEY))[0].index


def delete_and_renumber(office: Office, gone: int) -> None:
    for table in ("entries", "records", "subjects"):
        sql(office, f"DELETE FROM {table} WHERE idx = ?", [gone])
        later = sql(office, f"SELECT DISTINCT idx FROM {table} WHERE idx > ? ORDER BY idx", [gone])
        for (index,) in later:
            sql(office, f"UPDATE {table} SET idx = ? WHERE idx = ?", [index - 1, index])


def revocation_by(name: str, person: str) -> Envelope:
    record = Revocation(
        target=digest_bytes(b"x"),
        target_kind="adapter",
        reason="r",
        revoked_by=person,
        revoked_at=offices.START,
    )
    return sign_record(Kind.REVOCATION, record, (Subject("x", record.target),), signer_named(name))


def truncate(office: Office, size: int) -> None:
    for table in ("entries", "records", "subjects"):
        sql(office, f"DELETE FROM {table} WHERE idx >= ?", [size])
    sql(office, "DELETE FROM checkpoints WHERE size > ?", [size])
    sql(
        office,
        "DELETE FROM words WHERE id NOT IN (SELECT type_id FROM records UNION SELECT key_id FROM records)",
    )
