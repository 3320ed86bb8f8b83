"""A fair lock file that lets several processes take turns with one DuckDB file.

DuckDB shuts every other process out while one holds a read-write connection, so each use of the ledger is
short: take the lock, open, work, close. Writers hold it exclusively, readers share it. Who comes first is served
first (:mod:`placet.ledger.queue`): a writer is not passed by readers, nor a reader by writers. Whoever has to wait
longer than allowed is told who holds it. The kernel drops the lock when its holder dies, however it dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from placet.domain.errors import LedgerBusyError, StorageError
from placet.ledger.queue import Queue, Ticket

DEFAULT_WAIT_S = 30.0
_POLL_S = 0.003
_CLAIMED_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What waiting brought: the lock, or (`answer`) what the process that had it did for this one meanwhile."""

    queue: Queue
    answer: bytes | None = None


@contextmanager
def ledger_lock(
    path: Path, *, exclusive: bool, wait_s: float = DEFAULT_WAIT_S, what: str = "the ledger"
) -> Iterator[None]:
    """Hold the lock file at `path` while the block runs; `what` is what it guards, for messages.

    Raises:
        LedgerBusyError: Other processes held it for all of `wait_s` seconds.
        StorageError: The lock file cannot be made or opened.
    """
    with ledger_turn(path, exclusive=exclusive, wait_s=wait_s, what=what):
        yield


@contextmanager
def ledger_turn(
    path: Path,
    *,
    exclusive: bool,
    wait_s: float = DEFAULT_WAIT_S,
    what: str = "the ledger",
    request: bytes = b"",
) -> Iterator[Turn]:
    """Hold the lock, as :func:`ledger_lock` does, or get an answer to `request` from a process that held it.

    Raises:
        LedgerBusyError, StorageError: As there.
    """
    try:
        handle = _open(path, exclusive)
    except OSError as error:
        raise StorageError(
            f"the lock file of {what} cannot be opened: {error.strerror}",
            hint=f"check that {path.parent} exists and is writable",
        ) from error
    try:
        waiting = _Waiting(handle, path, exclusive, time.monotonic() + wait_s, wait_s, what)
        turn = waiting.turn(request)
        if exclusive and turn.answer is None:
            _write_holder(handle)
        try:
            yield turn
        finally:
            if exclusive and turn.answer is None:
                _forget_holder(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class _Waiting:
    handle: int
    path: Path
    exclusive: bool
    deadline: float
    wait_s: float
    what: str

    def turn(self, request: bytes) -> Turn:
        queue = Queue(self.path.with_name(self.path.name.removesuffix(".lock") + ".queue"))
        # Without a ticket only while nobody waits: otherwise who comes back quickest would always be first.
        if not queue.anybody() and self._try():
            return Turn(queue)
        with queue.ticket(writes=self.exclusive, request=request) as ticket:
            while True:
                if ticket is not None and request and (answer := ticket.answer()) is not None:
                    return Turn(queue, answer)
                if (ticket is None or ticket.is_next()) and self._try():
                    # Who had it may have answered just before letting go.
                    answer = ticket.answer() if ticket is not None and request else None
                    if answer is not None:
                        fcntl.flock(self.handle, fcntl.LOCK_UN)
                    return Turn(queue, answer)
                if time.monotonic() >= self.deadline:
                    self._give_up(ticket, bool(request))
                time.sleep(_POLL_S)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.handle, (fcntl.LOCK_EX if self.exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR}:
                raise StorageError(
                    f"{self.what} cannot be locked: {error.strerror}",
                    hint="keep the office on a local disk; some network file systems have no locks",
                ) from error
            return False
        return True

    def _give_up(self, ticket: Ticket | None, requested: bool) -> None:
        """Raise, unless another process is just about to do what was asked: then wait for that a little longer."""
        claimed = ticket is not None and requested and not ticket.withdraw()
        if claimed and time.monotonic() < self.deadline + _CLAIMED_WAIT_S:
            return
        holder = self.path.read_text(errors="replace").strip() or "another process"
        raise LedgerBusyError(
            f"{self.what} is held by {holder}; waited {self.wait_s:g} s",
            hint="it took this on and has not said how it went: repeat it, nothing is ever added twice"
            if claimed
            else "let it finish and try again; nothing of yours was lost",
        )


def _open(path: Path, exclusive: bool) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if exclusive or error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM}:
            raise
    # A copy to look at only, on a disk or in a folder where this user cannot write.
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _write_holder(handle: int) -> None:
    text = f"process {os.getpid()} ({Path(sys.argv[0]).name} {' '.join(sys.argv[1:3])})\n"
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)
    except OSError:
        # Only the words of a message depend on it; a full disk shows itself where the ledger is written.
        return


def _forget_holder(handle: int) -> None:
    # Readers leave no name: whoever waits for one must not be told of the last writer instead.
    with suppress(OSError):
        os.ftruncate(handle, 0)
