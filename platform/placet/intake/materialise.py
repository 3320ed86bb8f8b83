"""An adapter's files again, from the store alone.

Guarantees: the folder holds exactly the files of the record, each with the bytes that its digest names, or the
folder is not there. What was submitted is not looked at again.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path, PurePosixPath

from placet.blobs import BlobStore, sync_folder
from placet.domain.digests import digest_file
from placet.domain.errors import IntegrityError, StorageError
from placet.domain.records import FileEntry

_CHUNK_BYTES = 1 << 20


def materialise(files: tuple[FileEntry, ...], blobs: BlobStore, out_dir: Path) -> Path:
    """Write `files` out of `blobs` into the new folder `out_dir` and return it.

    A folder that is already there is kept if it holds exactly these files, each hashed again.

    Raises:
        IntegrityError: A blob is missing or altered, a path leads out of the folder, or the folder that is
            already there holds something else.
        StorageError: The disk is full, read-only or unreadable.
    """
    if not files:
        raise IntegrityError(
            "an adapter without files cannot be written", hint="name a submission that was accepted"
        )
    for entry in files:
        _require_plain(entry.path)
    try:
        if out_dir.exists():
            _require_same(files, out_dir)
            return out_dir
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=f".{out_dir.name}-"))
        try:
            for entry in files:
                _write(entry, blobs, staged / entry.path)
            staged.chmod(0o755)
            staged.rename(out_dir)
            sync_folder(out_dir.parent)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        if out_dir.is_dir():  # another process was first
            _require_same(files, out_dir)
            return out_dir
        raise StorageError(
            f"{out_dir} cannot be written: {error.strerror or error}", hint="check free space and permissions"
        ) from error
    return out_dir


def _write(entry: FileEntry, blobs: BlobStore, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with blobs.open(entry.sha256) as source, path.open("xb") as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
    # Hashed where it was written, so that neither the blob nor the copy is taken on trust.
    if digest_file(path) != entry.sha256 or path.stat().st_size != entry.size:
        raise IntegrityError(
            f"the stored bytes of {entry.path} are not those that were submitted",
            hint="run `placet audit` to see what rests on them, then restore them from a backup",
        )


def _require_plain(path: str) -> None:
    parts = PurePosixPath(path).parts
    if (
        not parts
        or path.startswith("/")
        or "\\" in path
        or "\0" in path
        or {".", ".."} & set(path.split("/"))
    ):
        raise IntegrityError(
            f"{path!r} is no path inside a folder", hint="the record was tampered with: run `placet audit`"
        )


def _require_same(files: tuple[FileEntry, ...], folder: Path) -> None:
    present = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    wanted = {entry.path: entry.sha256 for entry in files}
    same = present.keys() == wanted.keys() and all(
        not path.is_symlink() and digest_file(path) == wanted[name] for name, path in present.items()
    )
    if folder.is_symlink() or not same:
        raise IntegrityError(
            f"{folder} holds something else than the adapter", hint=f"remove it and run again: rm -r {folder}"
        )
