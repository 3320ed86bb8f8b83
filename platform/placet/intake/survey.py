"""What lies in a folder, seen without following a symlink and without reading a file."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from placet.domain.errors import SourceError
from placet.intake.limits import Limits


class Kind(StrEnum):
    """What an entry of a folder is."""

    FILE = "file"
    SYMLINK = "symlink"
    SPECIAL = "special"


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry: path relative to the folder with forward slashes, what it is, size in bytes."""

    path: str
    kind: Kind
    size: int


@dataclass(frozen=True, slots=True)
class Survey:
    """All entries below a folder, sorted by path; `complete` is False where limits cut it short."""

    entries: tuple[Seen, ...]
    complete: bool

    def of(self, kind: Kind) -> tuple[Seen, ...]:
        """Return the entries of one kind."""
        return tuple(entry for entry in self.entries if entry.kind is kind)


def survey(root: Path, limits: Limits) -> Survey:
    """Return what lies below `root`. A `root` that is itself a symlink is one entry named ``.``.

    Raises:
        SourceError: `root` is missing, no folder, or unreadable.
    """
    try:
        descriptor = _open_folder(root)
    except OSError as error:
        if root.is_symlink():
            return Survey((Seen(".", Kind.SYMLINK, 0),), complete=True)
        what = "is not a folder" if error.errno == errno.ENOTDIR else f"cannot be read: {error.strerror}"
        raise SourceError(f"{root} {what}", hint="give the folder that holds adapter_config.json") from error
    entries: list[Seen] = []
    try:
        complete = _walk(descriptor, "", 0, entries, limits)
    except OSError as error:
        raise SourceError(
            f"a folder below {root} cannot be read: {error.strerror}", hint="check its owner and permissions"
        ) from error
    finally:
        os.close(descriptor)
    return Survey(tuple(sorted(entries, key=lambda entry: entry.path)), complete)


def _open_folder(name: Path | str, dir_fd: int | None = None) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def _walk(folder: int, prefix: str, depth: int, entries: list[Seen], limits: Limits) -> bool:
    with os.scandir(folder) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        if len(entries) >= limits.max_entries:
            return False
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        path = prefix + name
        if stat.S_ISDIR(status.st_mode):
            if depth >= limits.max_depth:
                return False
            inner = _open_folder(name, folder)
            try:
                if not _walk(inner, f"{path}/", depth + 1, entries, limits):
                    return False
            finally:
                os.close(inner)
        elif stat.S_ISLNK(status.st_mode):
            entries.append(Seen(path, Kind.SYMLINK, 0))
        elif stat.S_ISREG(status.st_mode):
            entries.append(Seen(path, Kind.FILE, status.st_size))
        else:
            entries.append(Seen(path, Kind.SPECIAL, 0))
    return True
