"""DuckDB connections that are listened to, and that fail or end the process where a test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest

from placet.ledger.store import instance

Listener = Callable[[str], None]
FULL_DISK = "IO Error: Could not write file: No space left on device"


class Watched:
    """A connection that tells of each statement before and after it is run; what the listeners raise it raises."""

    def __init__(self, inner: duckdb.DuckDBPyConnection, before: Listener, after: Listener) -> None:
        self._inner, self._before, self._after = inner, before, after

    def execute(self, statement: str, *values: Any) -> Any:
        self._before(statement)
        result = self._inner.execute(statement, *values)
        self._after(statement)
        return result

    def cursor(self) -> Watched:
        return Watched(self._inner.cursor(), self._before, self._after)

    def close(self) -> None:
        self._inner.close()


def silent(_: str) -> None:
    pass


@contextmanager
def watched(before: Listener = silent, after: Listener = silent) -> Iterator[None]:
    """Let every store made inside the block tell of its statements."""
    real = duckdb.connect
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(instance.duckdb, "connect", lambda *a, **k: Watched(real(*a, **k), before, after))
        yield


@contextmanager
def faulty(fails: Callable[[str], bool], *, after: bool) -> Iterator[None]:
    """Let statements fail as on a full disk, before or after they took effect, in stores made inside the block."""

    def fail(statement: str) -> None:
        if fails(statement):
            raise duckdb.IOException(FULL_DISK)

    with watched(after=fail) if after else watched(before=fail):
        yield
