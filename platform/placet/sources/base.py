"""What a source is: a pinned place that bytes come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from placet.domain.progress import Progress
from placet.domain.records import SourceRef


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes on this machine: a file or a folder at `path`, and where they came from.

    `path` belongs to the cache or to the submitter. Only read it; nothing that matters later may rest on it.
    """

    path: Path
    ref: SourceRef


class Source(Protocol):
    """A pinned place that bytes come from."""

    def describe(self) -> str:
        """Return the source as a person would write it."""

    def fetch(self, cache: Path, progress: Progress) -> Fetched:
        """Bring the bytes to this machine and check them against their pin.

        Fetching again is cheap and needs no network once the bytes are in `cache`.

        Raises:
            SourceError: They cannot be had, or are not the ones pinned; the hint says what to do.
            StorageError: `cache` is full, read-only or unreadable.
        """
