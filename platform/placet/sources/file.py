"""A plain file on this machine, pinned by its SHA-256 where one is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from placet.blobs import open_plain
from placet.domain.digests import Digest, digest_stream
from placet.domain.errors import SourceError
from placet.domain.progress import Progress
from placet.domain.records import SourceRef
from placet.sources.base import Fetched


@dataclass(frozen=True, slots=True)
class FileSource:
    """A local file and, if wanted, the digest it must have."""

    path: Path
    sha256: Digest | None = None

    def describe(self) -> str:
        """Return the file's path with its pin."""
        return f"file:{self.path}" + (f"#{self.sha256.replace(':', '=')}" if self.sha256 else "")

    def fetch(self, cache: Path, progress: Progress) -> Fetched:
        """Hash the file and return it; the digest found is recorded even where none was asked for.

        Raises:
            SourceError: Missing, unreadable, a symlink, or not the file that was pinned.
        """
        with open_plain(self.path) as stream:
            found, _ = digest_stream(stream)
        if self.sha256 is not None and found != self.sha256:
            raise SourceError(
                f"{self.path} is not the file that was pinned: it is {found}, expected {self.sha256}",
                hint="get the right file, or pin the new digest if the change is meant",
            )
        return Fetched(self.path, SourceRef(kind="file", location=str(self.path), sha256=found))
