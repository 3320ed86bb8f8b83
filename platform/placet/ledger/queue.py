"""The queue beside a lock file: who waits, in which order, and what writers want written.

Whoever has to wait for the lock puts a **ticket** into a folder: a small file, numbered by the moment, on which its
owner holds a kernel lock, so that a dead owner's ticket is told from a living one's. A process takes the lock only
when no living ticket is ahead of its own; so nobody is passed by twice, and readers, who share the lock, do not keep
a writer out.

A writer's ticket may hold a **request**. The process that has the lock claims the requests that it can serve, does
what they ask along with its own work, and puts an answer beside each ticket after its own work is durable. Tickets,
requests and answers are messages between living processes and no store: one whose answer is lost with its writer
is simply made again by the owner once it has the lock, and finds itself done (appending is idempotent). Therefore
nothing in the folder is ever synced to the disk, and all of it may be deleted when nobody waits.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MAX_REQUEST_BYTES = 4 << 20
MAX_CLAIMED = 256
_ABANDONED_S = 60.0
_WRITER, _READER, _CLAIMED, _DONE = ".w", ".r", ".claimed", ".done"


@dataclass
class Ticket:
    """A place in the queue, held open by this process."""

    folder: Path
    stem: str
    writes: bool
    handle: int

    @property
    def path(self) -> Path:
        """Where the ticket lies while it waits."""
        return self.folder / (self.stem + (_WRITER if self.writes else _READER))

    @property
    def _claimed(self) -> Path:
        return self.folder / (self.stem + _CLAIMED)

    @property
    def _done(self) -> Path:
        return self.folder / (self.stem + _DONE)

    def is_next(self) -> bool:
        """Tell whether no living ticket that matters is ahead: for a reader, a writer's; for a writer, any."""
        ahead = (_WRITER,) if not self.writes else (_WRITER, _READER)
        for name in _names(self.folder):
            stem, suffix = _split(name)
            if stem >= self.stem:
                return True
            if suffix in ahead and not _bury(self.folder / name):
                return False
        return True

    def answer(self) -> bytes | None:
        """Return the answer to this ticket's request, if there is one."""
        try:
            return self._done.read_bytes()
        except FileNotFoundError:
            return None

    def withdraw(self) -> bool:
        """Take the request back; False if somebody claimed it."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        """Leave the queue."""
        for path in (self.path, self._claimed, self._done):
            with suppress(OSError):
                path.unlink(missing_ok=True)
        os.close(self.handle)


@dataclass(frozen=True)
class Claim:
    """A request that this process took on; it is answered, or its owner takes it up again."""

    folder: Path
    stem: str
    request: bytes

    def reply(self, answer: bytes) -> None:
        """Tell the owner how it went. An answer that cannot be written is found out by the owner itself."""
        temporary = self.folder / f".{self.stem}{_DONE}"
        with suppress(OSError):
            temporary.write_bytes(answer)
            temporary.rename(self.folder / (self.stem + _DONE))


class Queue:
    """The folder of those who wait for one lock file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def anybody(self) -> bool:
        """Tell whether there are tickets, of the living or of the dead."""
        return any(name.endswith((_WRITER, _READER)) for name in _names(self.folder))

    @contextmanager
    def ticket(self, *, writes: bool, request: bytes = b"") -> Iterator[Ticket | None]:
        """Stand in the queue while the block runs; None where this user cannot write: then without a place."""
        try:
            made = self._draw(writes, request)
        except OSError:
            yield None
            return
        try:
            yield made
        finally:
            made.close()

    def claims(self) -> Iterator[Claim]:
        """Take on waiting requests one after the other, oldest first. Only for the holder of the lock."""
        taken = 0
        for name in _names(self.folder):
            stem, suffix = _split(name)
            path = self.folder / name
            if suffix != _WRITER or taken == MAX_CLAIMED or _bury(path):
                continue
            with suppress(OSError):
                if 0 < path.stat().st_size <= MAX_REQUEST_BYTES:
                    request = path.read_bytes()
                    path.rename(self.folder / (stem + _CLAIMED))
                    taken += 1
                    yield Claim(self.folder, stem, request)

    def give_back(self, claim: Claim) -> None:
        """Let a claimed request wait again: this process cannot serve it."""
        with suppress(OSError):
            (self.folder / (claim.stem + _CLAIMED)).rename(self.folder / (claim.stem + _WRITER))

    def sweep(self) -> None:
        """Remove what dead processes left. Only for the holder of the lock."""
        names = _names(self.folder)
        for name in names:
            stem, suffix = _split(name)
            path = self.folder / name
            if suffix == _CLAIMED and _bury(path):
                (self.folder / (stem + _DONE)).unlink(missing_ok=True)
            elif suffix == _DONE and not name.startswith(".") and stem + _CLAIMED not in names:
                # Its owner is gone, or just took it; it takes it under a name of its own either way.
                path.unlink(missing_ok=True)
            elif name.startswith("."):
                with suppress(OSError):
                    if time.time() - path.stat().st_mtime > _ABANDONED_S:
                        path.unlink()

    def _draw(self, writes: bool, request: bytes) -> Ticket:
        self.folder.mkdir(exist_ok=True)
        # The clock since boot is the same in every process. Equal numbers are told apart by the rest of the name.
        stem = f"{time.monotonic_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
        unfinished = self.folder / f".{stem}"
        handle = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(handle, request) != len(request):
                raise OSError(errno.ENOSPC, "the request does not fit")
            ticket = Ticket(self.folder, stem, writes, handle)
            unfinished.rename(ticket.path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            os.close(handle)
            raise
        return ticket


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is wanted, and this is polled
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _split(name: str) -> tuple[str, str]:
    stem, dot, rest = name.rpartition(".")
    return stem, dot + rest


def _bury(path: Path) -> bool:
    """Remove the ticket at `path` if its owner is dead; True if there is none any more."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        # Removed under the shared lock, so a living owner, who holds it alone, is never mistaken.
        with suppress(OSError):
            path.unlink()
        return True
    finally:
        os.close(handle)
