"""The files of an office's trust root: a version each, and the one that is being added."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from placet.attest.keys import Signer
from placet.attest.root import RootKey, TrustRoot, new_root, parse_root
from placet.domain.errors import IntegrityError, StorageError, UsageError
from placet.domain.text import printable
from placet.ledger.store import LedgerStore


def root_path(home: Path, version: int) -> Path:
    """Return where a version of the root is kept."""
    return home / "trust" / f"{version}.root.json"


def pending_path(home: Path) -> Path:
    """Return where a version is kept until the log refers to it."""
    return home / "trust" / "next.root.json"


def first_root(
    home: Path, name: str, holders: list[RootKey], signers: list[Signer], threshold: int, expires: datetime
) -> TrustRoot:
    """Return the root's first version, made now or left by an interrupted `placet init`.

    Raises:
        IntegrityError: The folder holds another root.
    """
    path = root_path(home, 1)
    if not path.exists():
        root = new_root(name, holders, signers, threshold=threshold, expires=expires)
        write_whole(path, root.current.raw)
        return root
    # An interrupted init left it: used again, so that init can simply be repeated.
    root = parse_root([path.read_bytes()])
    if (root.office, set(root.current.keys), root.current.threshold) != (name, set(holders), threshold):
        raise IntegrityError(f"{path.name} exists with other content", hint="choose an empty folder")
    return root


def root_files(home: Path, store: LedgerStore) -> list[bytes]:
    """Return the root's versions; one that was being added is kept if the log knows it, and dropped if not.

    Raises:
        UsageError: The root is of a form that is not read any more, or a file is named like a version and is none.
    """
    paths = (home / "trust").glob("[0-9]*.root.json")
    files = [path.read_bytes() for path in sorted(paths, key=_version_of)]
    if not files and (home / "trust" / "root.json").exists():
        raise UsageError(
            f"{home} was made by an earlier version, whose trust root is not read any more",
            hint="make a new office in another folder: `placet init --home FOLDER`",
        )
    pending = pending_path(home)
    if pending.exists():
        try:
            root = parse_root([*files, pending.read_bytes()])
        except IntegrityError:
            root = None  # torn before anything could refer to it
        named = store.find(subject=root.pin) if root is not None else ()
        # Otherwise it is left alone: another process may be about to log what refers to it.
        if root is not None and named:
            settle(home, root)
            files.append(root.current.raw)
    return files


def _version_of(path: Path) -> int:
    number = path.name.removesuffix(".root.json")
    if not re.fullmatch("[1-9][0-9]{0,8}", number):
        raise UsageError(
            f"trust/{printable(path.name)} is no version of the root: those are 1.root.json, 2.root.json and so on",
            hint="somebody put it there: move it out of the folder",
        )
    return int(number)


def write_pending(home: Path, root: TrustRoot) -> None:
    """Keep the root's newest version until the log refers to it."""
    pending_path(home).unlink(missing_ok=True)
    write_whole(pending_path(home), root.current.raw)


def settle(home: Path, root: TrustRoot) -> None:
    """Put the root's newest version in its place: the log refers to it."""
    write_whole(root_path(home, root.current.version), root.current.raw)
    pending_path(home).unlink(missing_ok=True)


def keep_versions(home: Path, root: TrustRoot) -> None:
    """Write the versions of the root that came with the log, where this user may."""
    for version in root.versions:
        # Without its file a version is found in the log again.
        with suppress(StorageError):
            write_whole(root_path(home, version.version), version.raw)


def write_whole(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path` whole or not at all; over other bytes only with `overwrite`.

    Raises:
        IntegrityError: Other bytes are there.
        StorageError: It cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not overwrite:
            if path.read_bytes() != data:
                raise IntegrityError(f"{path.name} exists with other content", hint="choose an empty folder")
            return
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written: {error.strerror}", hint="check free space and permissions"
        ) from error
