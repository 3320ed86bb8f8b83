"""A lock file that lets several processes take turns with one DuckDB file.

DuckDB shuts every other process out while one holds a read-write connection, so each use of the ledger is
short: take the lock, open, work, close. Writers hold it exclusively, readers share it. Whoever has to wait
longer than allowed is told who holds it. The kernel drops the lock when its holder dies, however it dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from placet.domain.errors import LedgerBusyError, StorageError

DEFAULT_WAIT_S = 30.0
_POLL_S = 0.01


@contextmanager
def ledger_lock(
    path: Path, *, exclusive: bool, wait_s: float = DEFAULT_WAIT_S, what: str = "the ledger"
) -> Iterator[None]:
    """Hold the lock file at `path` while the block runs; `what` is what it guards, for messages.

    Raises:
        LedgerBusyError: Another process held it for all of `wait_s` seconds.
        StorageError: The lock file cannot be made or opened.
    """
    try:
        handle = _open(path, exclusive)
    except OSError as error:
        raise StorageError(
            f"the lock file of {what} cannot be opened: {error.strerror}",
            hint=f"check that {path.parent} exists and is writable",
        ) from error
    try:
        _acquire(handle, path, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, wait_s, what)
        if exclusive:
            _write_holder(handle)
        try:
            yield
        finally:
            if exclusive:
                _forget_holder(handle)
    finally:
        os.close(handle)


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


def _acquire(handle: int, path: Path, mode: int, wait_s: float, what: str) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, mode | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EINTR}:
                raise StorageError(
                    f"{what} cannot be locked: {error.strerror}",
                    hint="keep the office on a local disk; some network file systems have no locks",
                ) from error
        else:
            return
        if time.monotonic() >= deadline:
            holder = path.read_text(errors="replace").strip() or "another process"
            raise LedgerBusyError(
                f"{what} is held by {holder}; waited {wait_s:g} s",
                hint="let it finish and try again; nothing of yours was lost",
            )
        time.sleep(_POLL_S * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret


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
