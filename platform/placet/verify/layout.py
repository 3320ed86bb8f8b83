"""How a bundle lies on disk, and reading it with limits.

::

    BUNDLE/
      adapter/…                what a serving stack loads
      placet/root.json         the office's trust root (believed only if it has the pinned digest)
      placet/checkpoint.txt    a signed checkpoint of the ledger
      placet/records.json      [{"index": …, "envelope": "<base64>", "proof": ["<hex>", …]}, …]
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from placet.attest.strict_json import parse_json
from placet.domain.digests import canonical_json, digest_stream
from placet.domain.errors import IntegrityError, UsageError
from placet.domain.records import FileEntry

ADAPTER_FOLDER = "adapter"
RECORD_FOLDER = "placet"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a bundle may hold; beyond it is refused before it is read."""

    max_files: int = 1_000
    max_record_file_bytes: int = 64 << 20
    max_small_file_bytes: int = 1 << 20


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class BundledRecord:
    """A record in a bundle with its inclusion proof; verified by nobody yet."""

    index: int
    envelope: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as it was read. Nothing in it may be believed before it is verified."""

    path: Path
    root: bytes
    checkpoint: str
    records: tuple[BundledRecord, ...]


def dump_records(records: tuple[BundledRecord, ...]) -> bytes:
    """Return the bytes of ``records.json``."""
    return canonical_json(
        [
            {
                "index": record.index,
                "envelope": base64.b64encode(record.envelope).decode(),
                "proof": [item.hex() for item in record.proof],
            }
            for record in records
        ]
    )


def parse_records(data: bytes) -> tuple[BundledRecord, ...]:
    """Return the records in ``records.json``.

    Raises:
        IntegrityError: Malformed.
    """
    try:
        return tuple(
            BundledRecord(
                int(item["index"]),
                base64.b64decode(item["envelope"], validate=True),
                tuple(bytes.fromhex(proof) for proof in item["proof"]),
            )
            for item in parse_json(data, "records.json")
        )
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"records.json is malformed: {error}", hint="fetch the bundle again") from error


def load_bundle(path: Path) -> Bundle:
    """Read the bundle at `path`.

    Raises:
        UsageError: There is no bundle there.
        IntegrityError: A part is missing, too large or malformed.
    """
    folder = path / RECORD_FOLDER
    if not path.is_dir() or not folder.is_dir():
        raise UsageError(f"no bundle at {path}", hint="name the folder that holds 'adapter' and 'placet'")
    return Bundle(
        path,
        _read(folder / "root.json", LIMITS.max_small_file_bytes),
        _read(folder / "checkpoint.txt", LIMITS.max_small_file_bytes).decode("utf-8", "strict"),
        parse_records(_read(folder / "records.json", LIMITS.max_record_file_bytes)),
    )


def hash_files(folder: Path) -> tuple[FileEntry, ...]:
    """Return the entries of every file below `folder`, sorted by path.

    Raises:
        IntegrityError: A link or something else that is not a plain file or folder, or too many files.
    """
    entries: list[FileEntry] = []
    todo = [folder]
    while todo:
        for item in sorted(os.scandir(todo.pop()), key=lambda found: found.name):
            mode = item.stat(follow_symlinks=False).st_mode
            relative = Path(item.path).relative_to(folder).as_posix()
            if stat.S_ISDIR(mode):
                todo.append(Path(item.path))
            elif stat.S_ISREG(mode):
                handle = os.open(item.path, os.O_RDONLY | os.O_NOFOLLOW)
                with os.fdopen(handle, "rb") as stream:
                    digest, size = digest_stream(stream)
                entries.append(FileEntry(path=relative, size=size, sha256=digest))
            else:
                raise IntegrityError(
                    f"{relative} is not a plain file", hint="a release holds plain files only"
                )
            if len(entries) > LIMITS.max_files:
                raise IntegrityError(
                    f"more than {LIMITS.max_files} files", hint="this is not a release of ours"
                )
    return tuple(sorted(entries, key=lambda entry: entry.path))


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise IntegrityError(
            f"{path.name} cannot be read: {error.strerror}", hint="the bundle is incomplete: fetch it again"
        ) from error
    if len(data) > max_bytes:
        raise IntegrityError(
            f"{path.name} is larger than {max_bytes} bytes", hint="this is not a release of ours"
        )
    return data
