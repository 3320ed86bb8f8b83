"""How a bundle lies on disk, and reading it with limits.

::

    BUNDLE/
      adapter/…                what a serving stack loads
      placet/N.root.json       the office's trust root, each version (believed if one has the pinned digest)
      placet/checkpoint.txt    a signed checkpoint of the ledger
      placet/records.json      [{"index": …, "envelope": "<base64>", "proof": ["<hex>", …]}, …]
      placet/model.sig         the files' signature in the OpenSSF Model Signing format, for other tools

Nothing else lies there, not even an empty folder. JSON is canonical, so that a release has one spelling, byte for byte.
A revocation feed is ``{"checkpoint": "<note>", "records": [as above], "releases": [{"index": …, "leaf": "<hex>",
"proof": ["<hex>", …]}, …], "roots": [each version], "statement": {a record as above}}``.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from placet.attest.strict_json import parse_base64, parse_json
from placet.domain.digests import canonical_json, digest_stream
from placet.domain.errors import Error, IntegrityError, UsageError
from placet.domain.records import FileEntry

ADAPTER_FOLDER = "adapter"
RECORD_FOLDER = "placet"
CHECKPOINT_FILE, RECORDS_FILE, SIGNATURE_FILE = "checkpoint.txt", "records.json", "model.sig"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a bundle may hold; beyond it is refused before it is read."""

    max_files: int = 1_000
    max_roots: int = 1_000
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
class BundledLeaf:
    """The place of a record in the log, by its leaf hash, without its words; verified by nobody yet."""

    index: int
    leaf: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Feed:
    """Revocations with what vouches for their signers, as of a record of the log; verified by nobody yet.

    `statement` is that record: it says what else the feed has to hold. `records` are the roles statements and the
    revocations before it, `releases` the places of the releases before it, each in the order of the log.
    """

    checkpoint: str
    records: tuple[BundledRecord, ...]
    releases: tuple[BundledLeaf, ...]
    roots: tuple[bytes, ...]
    statement: BundledRecord


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as it was read. Nothing in it may be believed before it is verified."""

    path: Path
    roots: tuple[bytes, ...]
    checkpoint: str
    records: tuple[BundledRecord, ...]
    signature: bytes


def dump_records(records: tuple[BundledRecord, ...]) -> bytes:
    """Return the bytes of ``records.json``."""
    return canonical_json(_to_json(records))


def parse_records(data: bytes) -> tuple[BundledRecord, ...]:
    """Return the records in ``records.json``.

    Raises:
        IntegrityError: Malformed, or not in canonical form.
    """
    records = _from_json(parse_json(data, "records.json"))
    if dump_records(records) != data:
        raise IntegrityError("records.json is not in canonical form", hint="fetch the bundle again")
    return records


def root_file(version: int) -> str:
    """Return the name of the file that holds a version of the trust root."""
    return f"{version}.root.json"


def dump_feed(feed: Feed) -> bytes:
    """Return the bytes of a revocation feed."""
    return canonical_json(
        {
            "checkpoint": feed.checkpoint,
            "records": _to_json(feed.records),
            "releases": [
                {"index": item.index, "leaf": item.leaf.hex(), "proof": [part.hex() for part in item.proof]}
                for item in feed.releases
            ],
            "roots": [parse_json(root, "trust root") for root in feed.roots],
            "statement": _to_json((feed.statement,))[0],
        }
    )


def parse_feed(data: bytes) -> Feed:
    """Return the revocation feed in `data`.

    Raises:
        IntegrityError: Malformed, or not in canonical form.
    """
    value = parse_json(data, "revocation feed")
    try:
        if set(value) != {"checkpoint", "records", "releases", "roots", "statement"}:
            raise KeyError("not a feed's fields")
        feed = Feed(
            str(value["checkpoint"]),
            _from_json(value["records"]),
            tuple(
                BundledLeaf(int(item["index"]), bytes.fromhex(item["leaf"]), _proof(item))
                for item in value["releases"]
            ),
            tuple(canonical_json(root) for root in value["roots"]),
            _from_json([value["statement"]])[0],
        )
        same = dump_feed(feed) == data
    except (Error, KeyError, TypeError, ValueError, OverflowError) as error:
        raise IntegrityError(
            f"not a revocation feed: {error}", hint="export it with `placet revoke --export`"
        ) from error
    if not same:
        raise IntegrityError("the revocation feed is not in canonical form", hint="fetch it again")
    return feed


def _to_json(records: tuple[BundledRecord, ...]) -> list[dict[str, Any]]:
    return [
        {
            "index": record.index,
            "envelope": base64.b64encode(record.envelope).decode(),
            "proof": [item.hex() for item in record.proof],
        }
        for record in records
    ]


def _from_json(value: Any) -> tuple[BundledRecord, ...]:
    # What is written otherwise (numbers as text, upper case, white space) fails the comparison of the whole.
    try:
        return tuple(
            BundledRecord(int(item["index"]), parse_base64(item["envelope"]), _proof(item)) for item in value
        )
    except (Error, KeyError, TypeError, ValueError, OverflowError) as error:
        raise IntegrityError(f"records are malformed: {error}", hint="fetch the file again") from error


def _proof(item: Any) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(part) for part in item["proof"])


def load_bundle(path: Path) -> Bundle:
    """Read the bundle at `path`.

    Raises:
        UsageError: There is no bundle there.
        IntegrityError: A part is missing, too large or malformed.
    """
    folder = path / RECORD_FOLDER
    if not path.is_dir() or not folder.is_dir():
        raise UsageError(f"no bundle at {path}", hint="name the folder that holds 'adapter' and 'placet'")
    _require_exactly(path, {ADAPTER_FOLDER, RECORD_FOLDER}, stat.S_ISDIR)
    roots = _count_roots(folder)
    wanted = {CHECKPOINT_FILE, RECORDS_FILE, SIGNATURE_FILE, *(root_file(n) for n in range(1, roots + 1))}
    _require_exactly(folder, wanted, stat.S_ISREG)
    try:
        checkpoint = _read(folder / CHECKPOINT_FILE, LIMITS.max_small_file_bytes).decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise IntegrityError("checkpoint.txt is not text", hint="fetch the bundle again") from error
    return Bundle(
        path,
        tuple(_read(folder / root_file(n), LIMITS.max_small_file_bytes) for n in range(1, roots + 1)),
        checkpoint,
        parse_records(_read(folder / RECORDS_FILE, LIMITS.max_record_file_bytes)),
        _read(folder / SIGNATURE_FILE, LIMITS.max_small_file_bytes),
    )


def _count_roots(folder: Path) -> int:
    """Return how many versions of the root lie there, at least one; what does not belong is found elsewhere."""
    with _readable(folder.name):
        found = {item.name for item in os.scandir(folder)}
    count = 1
    while root_file(count + 1) in found and count < LIMITS.max_roots:
        count += 1
    return count


def _require_exactly(folder: Path, names: Set[str], is_right: Callable[[int], bool]) -> None:
    with _readable(folder.name):
        found = {item.name: item.stat(follow_symlinks=False).st_mode for item in os.scandir(folder)}
    for name in sorted(names):
        if name not in found:
            raise IntegrityError(f"{folder.name}/{name} is missing", hint="fetch the bundle again")
        if not is_right(found.pop(name)):
            raise IntegrityError(f"{folder.name}/{name} is a link or of another kind", hint="fetch it again")
    for name in sorted(found):
        raise IntegrityError(f"{name!a} is not part of the release", hint="remove it, or fetch it again")


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IntegrityError(
            f"{what} cannot be read: {error.strerror}", hint="the bundle is incomplete: fetch it again"
        ) from error


def hash_files(folder: Path) -> tuple[FileEntry, ...]:
    """Return the entries of every file below `folder`, sorted by path.

    Raises:
        IntegrityError: A link or something else that is not a plain file or folder, a folder in it that holds
            nothing, or too many files.
    """
    entries: list[FileEntry] = []
    todo = [folder]
    with _readable(folder.name):
        while todo:
            inside = todo.pop()
            found = sorted(os.scandir(inside), key=lambda item: item.name)
            if not found and inside != folder:
                # No file names it, so no digest would tell that it is there.
                raise IntegrityError(
                    f"{inside.relative_to(folder).as_posix()!a} is an empty folder, which is not part of the release",
                    hint="remove it, or fetch it again",
                )
            for item in found:
                mode = item.stat(follow_symlinks=False).st_mode
                relative = Path(item.path).relative_to(folder).as_posix()
                if stat.S_ISDIR(mode):
                    todo.append(Path(item.path))
                    continue
                if not stat.S_ISREG(mode) or not relative.isprintable():
                    raise IntegrityError(
                        f"{relative!a} is not a plain file", hint="a release holds plain files only"
                    )
                with _plain(Path(item.path)) as stream:
                    digest, size = digest_stream(stream)
                entries.append(FileEntry(path=relative, size=size, sha256=digest))
                if len(entries) > LIMITS.max_files:
                    raise IntegrityError(
                        f"more than {LIMITS.max_files} files", hint="this is not a release of ours"
                    )
    return tuple(sorted(entries, key=lambda entry: entry.path))


@contextmanager
def _plain(path: Path) -> Iterator[BinaryIO]:
    # O_NONBLOCK: a pipe put in a file's place must not hang the verifier.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise IntegrityError(f"{path.name!a} is not a plain file", hint="fetch the bundle again")
        yield stream


def _read(path: Path, max_bytes: int) -> bytes:
    with _readable(path.name), _plain(path) as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise IntegrityError(
            f"{path.name} is larger than {max_bytes} bytes", hint="this is not a release of ours"
        )
    return data
