"""A repository on the Hugging Face Hub, or on a server that speaks its API.

Guarantees: a branch or tag is resolved to a commit first, only that commit is read, and the commit is recorded.
Every file that the Hub lists for the commit (and the patterns admit) is there, with the size and the content id
listed for it; otherwise nothing is handed on. What is handed on holds no symlinks.

It does not vouch for the Hub: the content ids come from the same server. Intake names the bytes by content.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self

from placet.domain.digests import digest_json, short
from placet.domain.errors import Error, SourceError, UsageError
from placet.domain.progress import Progress, tracked
from placet.domain.records import SourceRef
from placet.sources.base import Fetched
from placet.sources.cache import locked, settle, staging

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_CHUNK_BYTES = 1 << 20
_DEFAULT_MAX_BYTES = 64 << 30


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model repository at a revision.

    Args:
        repo: ``owner/name``.
        revision: Branch, tag or commit of 40 hex digits.
        allow_patterns: Globs of the files wanted; empty for all.
        endpoint: The server; None for ``$HF_ENDPOINT`` or the public Hub.
        max_bytes: Refuse to download more than this.
    """

    repo: str
    revision: str = "main"
    allow_patterns: tuple[str, ...] = ()
    endpoint: str | None = None
    max_bytes: int = _DEFAULT_MAX_BYTES

    def __post_init__(self) -> None:
        if not _REPO.fullmatch(self.repo) or ".." in self.repo or not self.revision:
            raise UsageError(
                f"hf:{self.repo}@{self.revision} names no repository", hint="write hf:OWNER/NAME@REVISION"
            )

    def describe(self) -> str:
        """Return the source as it is written on the command line."""
        return f"hf:{self.repo}@{self.revision}"

    def fetch(self, cache: Path, progress: Progress) -> Fetched:
        """Return a folder with the repository's files at one commit.

        A commit that is in `cache` needs no network.

        Raises:
            SourceError: Not found, not allowed, no network, too much, or not what the Hub listed.
            StorageError: The cache is full, read-only or unreadable.
        """
        if _COMMIT.fullmatch(self.revision) and self._target(cache, self.revision).is_dir():
            return self._fetched(cache, self.revision)
        with self._explained():
            commit, files = self._listing()
        with locked(cache, f"hf:{self.repo}@{commit}", progress=progress):
            target = self._target(cache, commit)
            if not target.is_dir():
                with staging(cache) as folder:
                    staged = folder / "snapshot"
                    staged.mkdir()
                    self._download(commit, files, staged, progress)
                    settle(staged, target)
        return self._fetched(cache, commit)

    def _admits(self, name: str) -> bool:
        if name == ".gitattributes":  # the Hub's own bookkeeping, in every repository
            return False
        return not self.allow_patterns or any(fnmatch(name, pattern) for pattern in self.allow_patterns)

    def _target(self, cache: Path, commit: str) -> Path:
        choice = digest_json([self._server(), sorted(self.allow_patterns)])
        return cache / "hub" / self.repo.replace("/", "--") / f"{commit}-{short(choice)}"

    def _fetched(self, cache: Path, commit: str) -> Fetched:
        return Fetched(
            self._target(cache, commit), SourceRef(kind="hub", location=self.repo, revision=commit)
        )

    def _server(self) -> str | None:
        return self.endpoint or os.environ.get("HF_ENDPOINT") or None

    def _listing(self) -> tuple[str, dict[str, _Listed]]:
        """Return the commit that the revision stands for, and the files wanted of it."""
        from huggingface_hub import HfApi

        info = HfApi(endpoint=self._server()).model_info(
            self.repo, revision=self.revision, files_metadata=True
        )
        commit = info.sha or ""
        if not _COMMIT.fullmatch(commit):
            raise SourceError(f"{self.describe()}: the server named no commit", hint="check HF_ENDPOINT")
        if _COMMIT.fullmatch(self.revision) and commit != self.revision:
            raise SourceError(
                f"{self.describe()}: the server answered with commit {commit}", hint="check HF_ENDPOINT"
            )
        listed = {
            item.rfilename: _Listed(item.size, item.blob_id, item.lfs.sha256 if item.lfs else None)
            for item in info.siblings or []
        }
        wanted = {name for name in listed if self._admits(name)}
        if not wanted:
            raise SourceError(
                f"{self.describe()} holds no file that was asked for",
                hint="check the repository and the patterns: "
                + (", ".join(self.allow_patterns) or "none given"),
            )
        total = sum(listed[name].size or 0 for name in wanted)
        if total > self.max_bytes:
            raise SourceError(
                f"{self.describe()} holds {total:,} bytes, more than the {self.max_bytes:,} allowed",
                hint="name a smaller repository, or the files wanted",
            )
        return commit, {name: listed[name] for name in sorted(wanted)}

    def _download(self, commit: str, files: dict[str, _Listed], staged: Path, progress: Progress) -> None:
        from huggingface_hub import hf_hub_download

        step = f"download {self.repo}"
        total = sum(listed.size or 0 for listed in files.values())
        with tracked(progress, step, total, "B"), self._explained():
            for name, listed in files.items():
                hf_hub_download(
                    self.repo,
                    name,
                    revision=commit,
                    local_dir=staged,
                    endpoint=self._server(),
                    tqdm_class=_bar(progress, step),
                )
                listed.check(staged / name, f"{self.describe()}: {name}")
        shutil.rmtree(staged / ".cache", ignore_errors=True)
        if any(path.is_symlink() for path in staged.rglob("*")):
            raise SourceError(
                f"{self.describe()}: the download made symlinks", hint="set HF_ENDPOINT to a real server"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what huggingface_hub raises into words that say how to mend it."""
        from huggingface_hub import errors

        # In order of precedence: a gated repository is also one "not found" to the library.
        kinds: tuple[tuple[type[Exception], str, str], ...] = (
            (
                errors.GatedRepoError,
                "is gated, and you have not been let in",
                "ask for access on its page, set HF_TOKEN",
            ),
            (
                errors.RepositoryNotFoundError,
                "was not found, or is private",
                "check the name; if private, set HF_TOKEN",
            ),
            (
                errors.RevisionNotFoundError,
                "has no such revision",
                "name a branch, tag or commit that exists",
            ),
            (
                errors.LocalEntryNotFoundError,
                "could not be read to the end",
                "check network and HF_ENDPOINT, run again",
            ),
            (errors.EntryNotFoundError, "lost a file while it was read", "run the same command again"),
            (errors.OfflineModeIsEnabled, "cannot be reached: HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"),
        )
        try:
            yield
        except Error:
            raise
        except Exception as error:
            for kind, what, hint in kinds:
                if isinstance(error, kind):
                    raise SourceError(f"{self.describe()} {what}", hint=hint) from error
            raise self._unexpected(error) from error

    def _unexpected(self, error: Exception) -> Exception:
        """Return what to raise for an error that is none of the Hub's well-known ones."""
        from huggingface_hub import errors

        server = self._server() or "https://huggingface.co"
        if isinstance(error, errors.HfHubHTTPError):
            status = error.response.status_code
            if status in {401, 403}:
                return SourceError(
                    f"{self.describe()}: access refused ({status})", hint="set HF_TOKEN to a valid token"
                )
            return SourceError(f"{self.describe()}: {server} answered {status}", hint="try again in a while")
        # Its HTTP library differs between versions, so its errors are known by where they come from.
        if type(error).__module__.partition(".")[0] in {
            "httpx",
            "httpx2",
            "httpcore",
            "requests",
            "urllib3",
        } or (isinstance(error, ConnectionError | TimeoutError)):
            return SourceError(
                f"{self.describe()}: {server} cannot be reached ({type(error).__name__})",
                hint="check the network and HF_ENDPOINT, or download the folder elsewhere and submit that",
            )
        if isinstance(error, OSError | ValueError):
            return SourceError(f"{self.describe()}: {error}", hint="check the repository's name and the disk")
        return error


@dataclass(frozen=True, slots=True)
class _Listed:
    """What the Hub lists about one file: size in bytes, git blob id, and SHA-256 for large files."""

    size: int | None
    blob_id: str | None
    sha256: str | None

    def check(self, path: Path, what: str) -> None:
        size = path.stat().st_size
        # git's own id of a file (gitrepository-layout): SHA-1 over a header and the content.
        git_id = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        hasher = hashlib.sha256() if self.sha256 else git_id
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                hasher.update(chunk)
        expected = self.sha256 or self.blob_id
        if (self.size is not None and size != self.size) or (expected and hasher.hexdigest() != expected):
            raise SourceError(
                f"{what} is not the file that the Hub lists for this commit",
                hint="the transfer was damaged or the server altered it: run the same command again",
            )


def _bar(progress: Progress, step: str) -> Any:
    """Return a class that huggingface_hub takes for tqdm and that reports bytes to `progress`."""

    class Bar:
        def __init__(self, *_args: Any, **_options: Any) -> None:
            self.total: int | None = None

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_error: object) -> None:
            return None

        def update(self, count: float | None = 1) -> None:
            progress.advance(step, int(count or 0))

        def __getattr__(self, name: str) -> Any:
            # Whatever else it asks of a bar (captions, refreshes) has nothing to do here.
            return lambda *_args, **_options: None

    return Bar
