"""A folder on this machine, as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from placet.domain.errors import SourceError
from placet.domain.progress import Progress
from placet.domain.records import SourceRef
from placet.sources.base import Fetched


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A local folder. It carries no pin: intake names what it found there by content."""

    path: Path

    def describe(self) -> str:
        """Return the folder's path."""
        return str(self.path)

    def fetch(self, cache: Path, progress: Progress) -> Fetched:
        """Return the folder itself; nothing is copied and no symlink is resolved.

        Raises:
            SourceError: There is no such folder, or it is a file.
        """
        if not self.path.exists() and not self.path.is_symlink():
            raise SourceError(
                f"there is no folder {self.path}", hint="check the path; it is relative to where you are"
            )
        if self.path.is_file() and not self.path.is_symlink():
            raise SourceError(
                f"{self.path} is a file, not a folder", hint="give the folder that holds adapter_config.json"
            )
        return Fetched(self.path, SourceRef(kind="folder", location=str(self.path)))
