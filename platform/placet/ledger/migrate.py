"""Moves a log between a DuckDB file and a PostgreSQL database: the same records, the same checkpoints, the same key.

The caller has audited the log. A move that was interrupted is repeated: what is at the other end already is compared
and not moved again. At no moment do both ends take new records.
"""

from __future__ import annotations

from placet.attest.root import TrustRoot
from placet.domain.errors import IntegrityError
from placet.ledger.store import IN_POSTGRES, DuckStore, StaleError
from placet.ledger.store.postgres import PostgresStore

_MOVED_AT_ONCE = 4096


def move_to_postgres(file: DuckStore, dsn: str, root: TrustRoot) -> PostgresStore:
    """Move the log in `file` to a database; the file becomes the local index of the log there.

    Raises:
        UsageError: The database holds another log.
        IntegrityError: What it holds of this log is something else.
        StorageError, LedgerBusyError: A store refused.
    """
    store = PostgresStore(dsn, file, root)
    store.create(again=True)
    while True:
        size, there = file.size(), store.remote_size()
        for _, what in store.differences(there):
            raise IntegrityError(
                what, hint="the database holds something else: empty it, and repeat the move"
            )
        while there < size:
            stop = min(size, there + _MOVED_AT_ONCE)
            notes = [item for item in file.checkpoint_notes(there) if item[0] <= stop]
            store.take_over(file.entries(there, stop), notes)
            there = stop
        try:
            file.follow_elsewhere(IN_POSTGRES, size)
        except StaleError:
            continue  # somebody appended meanwhile: move that, too
        store.open_log()
        return store


def move_to_file(store: PostgresStore) -> DuckStore:
    """Move the log in a database to the local index, which becomes a log of its own.

    Raises:
        IntegrityError: The database does not continue what this machine has seen.
        StorageError, LedgerBusyError: A store refused.
    """
    store.close_log("the folder of an office")
    file = store.local()
    file.follow_elsewhere("", file.size())
    return file
