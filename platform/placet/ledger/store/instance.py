"""A DuckDB in this process's memory that may open one ledger file, and nothing else.

Starting DuckDB takes ten times as long as opening a file in one that runs. So it is started once for a store, and what
is short is the time that the file is open.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

_BESIDE = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
"""What DuckDB keeps a database in, by how the names go on: its file, its log, and the log while either is written."""


class Instance:
    """A DuckDB for one ledger file, shared by this process's threads.

    Whoever opens the file holds its lock (:mod:`placet.ledger.lock`): many to read, or one to write.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path.absolute())
        self._mutex = threading.Lock()
        self._db: duckdb.DuckDBPyConnection | None = None
        self._users = 0
        self._sound = True

    @contextmanager
    def opened(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the file for the block, in a connection of its own.

        Raises:
            duckdb.Error: It cannot be opened.
        """
        with self._mutex:
            connection = self._enter(read_only)
        try:
            connection.execute("USE ledger")
            yield connection
        except BaseException:
            self._sound = False  # what was going on is not known: nobody goes on with this one
            raise
        finally:
            with self._mutex:
                self._leave(connection)

    def _enter(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        if self._db is None:
            self._db, self._sound = self._start(), True
        try:
            if not self._users:
                self._db.execute(
                    f"ATTACH {_quoted(self._path)} AS ledger (TYPE duckdb{', READ_ONLY' * read_only})"
                )
            connection = self._db.cursor()
        except BaseException:
            if not self._users:
                self._end()
            raise
        self._users += 1
        return connection

    def _leave(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._users -= 1
        try:
            connection.close()
            if not self._users and self._sound and self._db is not None:
                self._db.execute("DETACH ledger")
        except duckdb.Error:
            # Its log could not be written into the file: the disk is full, or may no longer be written to. What was
            # committed is on the disk in the log, and whoever opens the file next reads it and tries again.
            self._sound = False
        except BaseException:
            self._sound = False
            raise
        finally:
            if not self._users and not self._sound:
                self._end()

    def _start(self) -> duckdb.DuckDBPyConnection:
        db = duckdb.connect(":memory:")
        allowed = ", ".join(_quoted(self._path + suffix) for suffix in _BESIDE)
        try:
            # Nothing but the file is ever read by a query, whatever it holds, and no extension is fetched.
            db.execute(
                f"SET temp_directory = {_quoted(self._path + '.tmp')}; SET allowed_paths = [{allowed}]"
            )
            db.execute("SET enable_external_access = false; SET enable_progress_bar = false")
        except BaseException:
            db.close()
            raise
        return db

    def _end(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
