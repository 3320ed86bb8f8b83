"""The download cache: one folder for a person, shared by all offices, safe to delete at any time.

Guarantees: an entry appears whole or not at all (staged beside it, then renamed), and two processes that want
the same entry do not both fetch it: the second waits for the first and then finds it there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from placet.blobs import sync_folder
from placet.domain.errors import Error, SourceError, StorageError
from placet.domain.progress import NullProgress, Progress

_POLL_S = 0.2
_STALE_AFTER_S = 24 * 3600.0


def cache_dir() -> Path:
    """Return the cache folder: ``$PLACET_CACHE``, else ``$XDG_CACHE_HOME/placet``, else ``~/.cache/placet``."""
    if own := os.environ.get("PLACET_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser() / "placet"
    return Path.home() / ".cache" / "placet"


@contextmanager
def locked(
    cache: Path, key: str, *, timeout_s: float = 3600.0, progress: Progress | None = None
) -> Iterator[None]:
    """Hold the entry `key` of `cache` for this process alone; a process that dies lets go.

    Raises:
        SourceError: Another process held it for `timeout_s`.
        StorageError: The cache cannot be written.
    """
    progress = progress or NullProgress()
    try:
        folder = cache / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cache_error(cache, error) from error
    try:
        _acquire(descriptor, key, timeout_s, progress)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, key: str, timeout_s: float, progress: Progress) -> None:
    deadline, told = time.monotonic() + timeout_s, False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise SourceError(
                    f"another process has been fetching {key} for {timeout_s:.0f} s",
                    hint="wait for it, or stop it and run the same command again",
                ) from error
            if not told:
                progress.note(f"Another process is fetching {key}; waiting for it")
                told = True
            time.sleep(_POLL_S)
        else:
            return


@contextmanager
def staging(cache: Path) -> Iterator[Path]:
    """Give an empty folder inside `cache` that is removed when the block is left, however it is left.

    Raises:
        StorageError: The cache cannot be written, or the block met a full or read-only disk.
    """
    parent = cache / "staging"
    folder: Path | None = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent))
        yield folder
    except OSError as error:
        raise cache_error(cache, error) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def settle(staged: Path, target: Path) -> None:
    """Move a finished file or folder from staging to its place in the cache, durably."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in (staged, *staged.rglob("*")) if staged.is_dir() else (staged,):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    try:
        staged.rename(target)
    except OSError as error:
        # A folder cannot replace a folder that is not empty: someone else put the same entry there.
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
    sync_folder(target.parent)


def cache_error(cache: Path, error: OSError) -> Error:
    """Wrap an error of the cache's disk in words that say how to mend it."""
    hint = f"make room or permission in {cache}, or set PLACET_CACHE to another folder"
    return StorageError(f"the cache {cache} failed: {error.strerror or error}", hint=hint)


def _sweep(parent: Path) -> None:
    for path in parent.iterdir():
        try:
            stale = time.time() - path.stat().st_mtime > _STALE_AFTER_S
        except FileNotFoundError:
            continue
        if stale:
            shutil.rmtree(path, ignore_errors=True)
