"""One connection to a ledger file for a thread's group of queries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from placet.ledger.store.tables import Tables


class SharedConnection(threading.local):
    """This thread's connection for a group of queries, if it is in one."""

    def __init__(self) -> None:
        self.depth = 0
        self.tables: Tables | None = None
        self._stack = ExitStack()

    @property
    def grouped(self) -> bool:
        """Whether this thread is in a group of queries."""
        return self.depth > 0

    @contextmanager
    def group(self) -> Iterator[None]:
        """Let queries inside the block share a connection; groups may be nested."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            if not self.depth:
                self.let_go()

    def keep(self, opened: AbstractContextManager[Tables]) -> Tables:
        """Open a connection and keep it until the group ends."""
        self.tables = self._stack.enter_context(opened)
        return self.tables

    def let_go(self) -> None:
        """Close the connection, if there is one."""
        self.tables = None
        self._stack.close()
