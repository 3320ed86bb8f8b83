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
    walk = _Walk(limits)
    try:
        complete = walk.into(descriptor, "", 0)
    except OSError as error:
        raise SourceError(
            f"a folder below {root} cannot be read: {error.strerror}", hint="check its owner and permissions"
        ) from error
    finally:
        os.close(descriptor)
    return Survey(tuple(sorted(walk.entries, key=lambda entry: entry.path)), complete)


def _open_folder(name: Path | str, dir_fd: int | None = None) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


class _Walk:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.entries: list[Seen] = []
        self.visited = 0

    def into(self, folder: int, prefix: str, depth: int) -> bool:
        """Record what is below the open `folder`; return False where limits cut it short."""
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found)
        for name in names:
            self.visited += 1
            if self.visited > self.limits.max_entries:
                return False
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if depth >= self.limits.max_depth or not self._inside(folder, name, prefix, depth):
                    return False
            else:
                self.entries.append(_seen(prefix + name, status))
        return True

    def _inside(self, folder: int, name: str, prefix: str, depth: int) -> bool:
        inner = _open_folder(name, folder)
        try:
            return self.into(inner, f"{prefix}{name}/", depth + 1)
        finally:
            os.close(inner)


def _seen(path: str, status: os.stat_result) -> Seen:
    if stat.S_ISREG(status.st_mode):
        return Seen(path, Kind.FILE, status.st_size)
    return Seen(path, Kind.SYMLINK if stat.S_ISLNK(status.st_mode) else Kind.SPECIAL, 0)
