"""Moves an office's log between its folder and a PostgreSQL database."""

from __future__ import annotations

from placet.domain.digests import canonical_json
from placet.domain.errors import IntegrityError, UsageError
from placet.office.office import Office
from placet.office.root_files import write_whole


def migrate_ledger(office: Office, postgres: str | None) -> Office:
    """Move the office's log to a PostgreSQL database, or (None) back into its folder; return the office as it is now.

    Every record and checkpoint is audited before it moves and is the same afterwards. An interrupted move is simply
    repeated. Other machines of the office name the database in their own office.json.

    Raises:
        UsageError: The log is there already, the database holds another log, or `postgres` is malformed or holds a
            password.
        IntegrityError: The log is not whole: it is not moved.
        StorageError, LedgerBusyError: A store refused; the log is where it was.
    """
    from placet.ledger.migrate import move_to_file, move_to_postgres
    from placet.ledger.store.postgres import PostgresStore
    from placet.ledger.store.postgres_connection import check_connection

    if postgres is not None:
        check_connection(postgres)
    if postgres == office.settings.postgres:
        where = "in that database" if postgres else "in the office's folder"
        raise UsageError(f"the log is {where} already", hint="`placet ledger checkpoint` shows its state")
    if postgres is not None and office.settings.postgres is not None:
        raise UsageError("the log is in another database", hint="move it to the folder first: --to folder")
    report = office.audit(blobs=False, moving=True)
    if not report.whole:
        raise IntegrityError(
            f"the log is not whole and is not moved: {report.findings[0].message}", hint="run `placet audit`"
        )
    settings = office.settings.model_copy(update={"postgres": postgres})
    if postgres is not None:
        move_to_postgres(office.store.local(), postgres, office.root)
    elif isinstance(office.store, PostgresStore):
        move_to_file(office.store)
    write_whole(office.home / "office.json", canonical_json(settings.to_json()), overwrite=True)
    return Office.open(office.home, ask=office.ask, clock=office.clock, wait_s=office.wait_s)
