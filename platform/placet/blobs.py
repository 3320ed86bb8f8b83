"""The content-addressed store that every later stage reads from.

Guarantees:

* A blob's name is the SHA-256 of its bytes. It appears whole or not at all: bytes are hashed while they are
  copied, flushed to disk, and only then renamed into place, so a killed process leaves no half blob.
* :meth:`BlobStore.read` and :meth:`BlobStore.verify` return only after the bytes were hashed again.
* Several processes may put the same or different blobs at once.

It does not stop somebody with write access to the folder from altering a blob; it makes that visible.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from placet.domain.digests import Digest, digest_bytes, digest_stream, parse_digest
from placet.domain.errors import Error, IntegrityError, SourceError, StorageError

_CHUNK_BYTES = 1 << 20
_READ_ONLY = 0o444
_ALGORITHM = "sha256"
_STALE_AFTER_S = 24 * 3600.0


class TooLargeError(Error):
    """A stream held more bytes than its reader allowed; nothing of it was kept."""


class BlobStore:
    """Blobs below `root`, each at ``sha256/ab/cdef…``; `root` is made on the first put."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Return where the blob `digest` lies or would lie; its bytes are not checked here."""
        name = parse_digest(digest).removeprefix(f"{_ALGORITHM}:")
        return self.root / _ALGORITHM / name[:2] / name[2:]

    def has(self, digest: str) -> bool:
        """Return whether a blob of that name is stored; its bytes are not checked here."""
        return self.path(digest).is_file()

    def put_bytes(self, data: bytes) -> Digest:
        """Store `data` and return its digest.

        Raises:
            StorageError: The disk is full, read-only or unreadable.
        """
        digest = digest_bytes(data)
        if self._intact(digest):
            return digest
        with self._staged() as (stream, staged):
            stream.write(data)
            self._settle(stream, staged, digest)
        return digest

    def put_file(self, path: Path, *, max_bytes: int | None = None) -> tuple[Digest, int]:
        """Store a copy of the file at `path`, never following a symlink; return its digest and size.

        Raises:
            SourceError: `path` is missing, unreadable, a symlink or not a plain file.
            TooLargeError: It holds more than `max_bytes`.
            StorageError: The store's disk is full, read-only or unreadable.
        """
        with open_plain(path) as stream:
            return self.put_stream(stream, max_bytes=max_bytes)

    def put_stream(self, source: BinaryIO, *, max_bytes: int | None = None) -> tuple[Digest, int]:
        """Store what is left of `source`, read once; return its digest and size in bytes.

        Raises:
            TooLargeError: `source` holds more than `max_bytes`.
            StorageError: The store's disk is full, read-only or unreadable.
        """
        hasher, size = hashlib.sha256(), 0
        with self._staged() as (stream, staged):
            while chunk := source.read(_CHUNK_BYTES):
                size += len(chunk)
                if max_bytes is not None and size > max_bytes:
                    raise TooLargeError(f"more than {max_bytes:,} bytes", hint="submit a smaller file")
                hasher.update(chunk)
                stream.write(chunk)
            digest = Digest(f"{_ALGORITHM}:{hasher.hexdigest()}")
            self._settle(stream, staged, digest)
        return digest, size

    @contextmanager
    def open(self, digest: str) -> Iterator[BinaryIO]:
        """Open a blob for reading. What is read is not checked: call :meth:`verify` before relying on it.

        Raises:
            IntegrityError: No such blob, or it is not a plain file.
            StorageError: It cannot be read.
        """
        try:
            descriptor = os.open(self.path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise IntegrityError(
                f"blob {digest} is missing from the store",
                hint="submit it again, or restore a backup of the office",
            ) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise IntegrityError(
                    f"blob {digest} was replaced by a symlink",
                    hint="run `placet audit`, restore it from a backup",
                ) from error
            raise _storage_error(self.root, error) from error
        with os.fdopen(descriptor, "rb") as stream:
            yield stream

    def read(self, digest: str) -> bytes:
        """Return a blob's bytes, hashed while reading.

        Raises:
            IntegrityError: No such blob, or its bytes do not hash to its name.
        """
        with self.open(digest) as stream:
            data = stream.read()
        if digest_bytes(data) != digest:
            raise _altered(digest)
        return data

    def verify(self, digest: str) -> int:
        """Hash a blob again and return its size in bytes; memory stays constant.

        Raises:
            IntegrityError: No such blob, or its bytes do not hash to its name.
        """
        with self.open(digest) as stream:
            found, size = digest_stream(stream)
        if found != digest:
            raise _altered(digest)
        return size

    def sweep(self, *, older_than_s: float = _STALE_AFTER_S) -> int:
        """Remove what killed processes left half copied; return how many files that were."""
        removed = 0
        for path in self._staging.glob("*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    removed += 1
        return removed

    @property
    def _staging(self) -> Path:
        return self.root / "staging"

    def _intact(self, digest: Digest) -> bool:
        if not self.has(digest):
            return False
        try:
            self.verify(digest)
        except IntegrityError:
            return False  # these bytes are the right ones: storing them mends the blob
        return True

    @contextmanager
    def _staged(self) -> Iterator[tuple[BinaryIO, Path]]:
        staged: Path | None = None
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._staging)
            staged = Path(name)
            with os.fdopen(descriptor, "wb") as stream:
                yield stream, staged
        except OSError as error:
            raise _storage_error(self.root, error) from error
        finally:
            if staged is not None:
                with suppress(OSError):
                    staged.unlink(missing_ok=True)

    def _settle(self, stream: BinaryIO, staged: Path, digest: Digest) -> None:
        # A blob already there is replaced by equal bytes: that costs nothing and mends one that was damaged.
        stream.flush()
        os.fchmod(stream.fileno(), _READ_ONLY)
        os.fsync(stream.fileno())
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)
        sync_folder(target.parent)


@contextmanager
def open_plain(path: Path | str, *, dir_fd: int | None = None) -> Iterator[BinaryIO]:
    """Open a plain file for reading without following a symlink in its last component.

    Args:
        path: The file; relative to `dir_fd` where one is given.
        dir_fd: An open folder.

    Raises:
        SourceError: Missing, unreadable, a symlink, or a folder, pipe or device.
    """
    # O_NONBLOCK: opening a pipe that nobody writes to must not hang; plain files ignore it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SourceError(f"{path} is a symlink", hint="give the file itself") from error
        raise SourceError(
            f"{path} cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceError(f"{path} is not a plain file", hint="give a file, not a folder, pipe or device")
    with os.fdopen(descriptor, "rb") as stream:
        yield stream


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _altered(digest: str) -> IntegrityError:
    return IntegrityError(
        f"blob {digest} no longer holds the bytes it is named by",
        hint="run `placet audit` to see what rests on it, then restore it from a backup",
    )


def _storage_error(root: Path, error: OSError) -> StorageError:
    hints = {
        errno.ENOSPC: "the disk is full: free some space, then run the same command again",
        errno.EDQUOT: "your disk quota is used up: free some space, then run the same command again",
        errno.EROFS: "the disk is mounted read-only: put the office elsewhere (PLACET_HOME)",
        errno.EACCES: "this user may not write there: check the folder's owner and permissions",
    }
    return StorageError(
        f"the blob store {root} failed: {error.strerror or error}",
        hint=hints.get(error.errno or 0, "check the disk, then run the same command again"),
    )
