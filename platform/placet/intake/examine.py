"""Adapter bytes to a subject, or to the findings that refuse them.

Guarantees:

* The submitted folder is read once. Files with accepted names are copied into the store while they are hashed;
  every check, and every later stage, reads the store.
* No symlink is followed, nothing is unpickled, imported, rendered or run as a pattern.
* The record names the plain files of the folder by digest, those that are refused too (they are hashed, not
  kept), and `files_id` differs for folders that differ in anything else: a link, a pipe, a file too large to hash.
* The same bytes give the same record, whatever folder or machine they come from; only source and time differ.

It says nothing about what the adapter does: that is for evaluation and safety.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from placet.blobs import BlobStore, TooLargeError, open_plain
from placet.domain.digests import Digest, digest_json, digest_stream
from placet.domain.errors import SourceError, UndecidedError
from placet.domain.progress import NullProgress, Progress, tracked
from placet.domain.records import (
    AdapterRef,
    CheckResult,
    CheckStatus,
    FileEntry,
    Intake,
    SourceRef,
    files_digest,
)
from placet.intake.base import BaseProfile
from placet.intake.checks import CHECKS
from placet.intake.checks.files import size_limit
from placet.intake.context import Check, Context
from placet.intake.identity import weights_id
from placet.intake.limits import LIMITS, Limits
from placet.intake.survey import Kind, Seen, Survey, survey

_NEEDED_FOR_IDENTITY = ("files", "config", "weights-format")


def examine(
    source_path: Path,
    ref: SourceRef,
    base: BaseProfile,
    blobs: BlobStore,
    clock: Callable[[], datetime],
    *,
    label: str | None = None,
    limits: Limits = LIMITS,
    checks: tuple[Check, ...] = CHECKS,
    progress: Progress | None = None,
) -> Intake:
    """Examine the adapter in the folder `source_path` for release on `base`.

    Args:
        source_path: The folder, as a source fetched it.
        ref: Where it came from.
        base: What it is to run on.
        blobs: Where accepted files are copied to.
        clock: Gives the time, with its zone.
        label: The adapter's name for people; the folder's name by default.
        limits: Bounds on what is read.
        checks: What to look at, in order.
        progress: Hears how many checks are done.

    Returns:
        The record. Where nothing but recorded files lay in the folder, `files_id` is their id. `adapter` is set
        where files, configuration and weights format passed, even if a later check refuses; ask `refused`
        whether the adapter may go on.

    Raises:
        SourceError: The folder cannot be read, or changes while it is.
        StorageError: The store is full, read-only or unreadable.
        IntegrityError: The store is damaged.
    """
    seen = survey(source_path, limits)
    files, stored = _copy(source_path, seen, blobs, limits)
    context = Context(seen, files, stored, base, blobs, limits)
    results = _run(context, checks, progress or NullProgress())
    passed = {result.check for result in results if result.status is CheckStatus.PASSED}
    adapter = None
    files_id = _files_id(seen, files)
    if passed.issuperset(_NEEDED_FOR_IDENTITY):
        name = label or source_path.resolve().name
        with context.weights() as (stream, _):
            weights = weights_id(context.lora, context.header, stream)
        adapter = AdapterRef(id=files_id, weights_id=weights, label=name)
    return Intake(
        source=ref,
        files=files,
        files_id=files_id,
        base=base.ref,
        checks=results,
        adapter=adapter,
        examined_at=clock(),
    )


def _files_id(seen: Survey, files: tuple[FileEntry, ...]) -> Digest:
    """Return the id of what was submitted.

    A folder of recorded files alone has their id. One that holds anything else (a link, a file too large to
    hash) gets another, so that its refusal is never taken for one of the files alone.
    """
    recorded = {entry.path for entry in files}
    rest = [[ascii(e.path), e.kind.value, e.size] for e in seen.entries if e.path not in recorded]
    if not rest and seen.complete:
        return files_digest(files)
    return digest_json({"files": files_digest(files), "rest": rest, "complete": seen.complete})


def _copy(
    root: Path, seen: Survey, blobs: BlobStore, limits: Limits
) -> tuple[tuple[FileEntry, ...], frozenset[str]]:
    """Hash the plain files, and keep those whose names are accepted; return all hashed and the names kept."""
    files: list[FileEntry] = []
    stored: set[str] = set()
    plain = seen.of(Kind.FILE)
    if not plain:
        return (), frozenset()
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for entry in plain:
            limit = size_limit(entry.path, limits)
            if limit is not None:
                with suppress(TooLargeError), open_plain(entry.path, dir_fd=folder) as stream:
                    digest, size = blobs.put_stream(stream, max_bytes=limit)
                    files.append(FileEntry(path=entry.path, size=size, sha256=digest))
                    stored.add(entry.path)
            elif (hashed := _hash_only(entry, folder, limits)) is not None:
                files.append(hashed)
    finally:
        os.close(folder)
    return tuple(files), frozenset(stored)


def _hash_only(entry: Seen, folder: int, limits: Limits) -> FileEntry | None:
    """Return a refused file by digest, None where its name or size cannot be recorded."""
    recordable = entry.path.isprintable() and entry.size <= limits.max_weights_bytes
    if not recordable or "/" in entry.path:  # below the top a folder could be swapped for a link meanwhile
        return None
    with suppress(SourceError), open_plain(entry.path, dir_fd=folder) as stream:
        digest, size = digest_stream(stream)
        return FileEntry(path=entry.path, size=size, sha256=digest)
    return None


def _run(context: Context, checks: tuple[Check, ...], progress: Progress) -> tuple[CheckResult, ...]:
    """Run the checks in order; one whose needs did not pass is skipped, so that one fault gives one finding."""
    results: dict[str, CheckResult] = {}
    step = "intake checks"
    with tracked(progress, step, len(checks), "check"):
        for check in checks:
            missing = [need for need in check.needs if not _passed(results.get(need))]
            if missing:
                result = CheckResult(
                    check=check.id,
                    version=check.version,
                    status=CheckStatus.SKIPPED,
                    reason=f"needs {' and '.join(missing)} to pass first",
                )
            else:
                result = _run_one(check, context)
            results[check.id] = result
            progress.advance(step)
    return tuple(results.values())


def _run_one(check: Check, context: Context) -> CheckResult:
    try:
        return check.run(context)
    except UndecidedError as error:
        return CheckResult(
            check=check.id,
            version=check.version,
            status=CheckStatus.ERRORED,
            reason=f"{error.message} ({error.hint})",
        )


def _passed(result: CheckResult | None) -> bool:
    return result is not None and result.status is CheckStatus.PASSED
