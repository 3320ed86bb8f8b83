from __future__ import annotations

import errno
import multiprocessing
import os
import stat
from io import BytesIO
from pathlib import Path

import pytest

from placet.blobs import BlobStore, TooLargeError
from placet.domain.digests import digest_bytes
from placet.domain.errors import Error, IntegrityError, SourceError, StorageError


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def _files(store: BlobStore) -> list[Path]:
    return [path for path in store.root.rglob("*") if path.is_file()]


def test_a_blob_lies_where_its_digest_says_and_is_read_only(store: BlobStore) -> None:
    digest = store.put_bytes(b"hello")
    name = digest.removeprefix("sha256:")
    assert digest == digest_bytes(b"hello")
    assert store.path(digest) == store.root / "sha256" / name[:2] / name[2:]
    assert stat.S_IMODE(store.path(digest).stat().st_mode) == 0o444
    assert store.read(digest) == b"hello"
    assert store.has(digest)
    assert store.verify(digest) == 5


def test_a_file_is_copied_with_its_size_and_leaves_nothing_staged(store: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x" * 3_000_000)
    digest, size = store.put_file(source)
    assert (digest, size) == (digest_bytes(b"x" * 3_000_000), 3_000_000)
    assert _files(store) == [store.path(digest)]


def test_putting_the_same_bytes_twice_keeps_one_blob(store: BlobStore) -> None:
    assert store.put_bytes(b"same") == store.put_bytes(b"same") == store.put_stream(BytesIO(b"same"))[0]
    assert len(_files(store)) == 1


def test_an_altered_blob_is_found_and_mended_by_putting_it_again(store: BlobStore) -> None:
    digest = store.put_bytes(b"evidence")
    path = store.path(digest)
    path.chmod(0o644)
    path.write_bytes(b"evidencE")
    for look in (store.read, store.verify):
        with pytest.raises(IntegrityError, match="no longer holds the bytes"):
            look(digest)
    store.put_bytes(b"evidence")
    assert store.read(digest) == b"evidence"


def test_a_missing_blob_is_an_integrity_error(store: BlobStore) -> None:
    with pytest.raises(IntegrityError, match="missing from the store"):
        store.read(digest_bytes(b"never stored"))


def test_a_blob_replaced_by_a_symlink_is_not_followed(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put_bytes(b"mine")
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    store.path(digest).unlink()
    store.path(digest).symlink_to(other)
    with pytest.raises(IntegrityError, match="replaced by a symlink"):
        store.read(digest)


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "sha256:AB", "md5:" + "0" * 64, ""])
def test_what_is_no_digest_names_no_path(store: BlobStore, digest: str) -> None:
    with pytest.raises(Error, match="not a digest"):
        store.path(digest)


def test_symlinks_folders_and_pipes_are_not_stored(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, words in {
        "link": "symlink",
        "pipe": "plain file",
        "folder": "plain file",
        "absent": "cannot be read",
    }.items():
        with pytest.raises(SourceError, match=words):
            store.put_file(tmp_path / name)


def test_a_stream_beyond_its_bound_is_dropped(store: BlobStore) -> None:
    with pytest.raises(TooLargeError):
        store.put_stream(BytesIO(b"x" * 11), max_bytes=10)
    assert store.put_stream(BytesIO(b"x" * 10), max_bytes=10)[1] == 10
    assert len(_files(store)) == 1


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "may not write")],
)
def test_a_disk_that_refuses_is_a_storage_error_and_leaves_nothing(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError) as caught:
        store.put_bytes(b"data")
    assert hint in caught.value.hint
    assert _files(store) == []


def test_what_a_killed_process_left_is_swept_when_old(store: BlobStore) -> None:
    store.put_bytes(b"kept")
    left = store.root / "staging" / "left"
    left.write_bytes(b"half")
    assert store.sweep() == 0
    os.utime(left, (0, 0))
    assert store.sweep() == 1
    assert len(_files(store)) == 1


def _put_many(root: Path, seed: int) -> None:
    store = BlobStore(root)
    for number in range(40):
        store.put_bytes(b"%d" % ((number * seed) % 20))


def test_several_processes_may_put_the_same_blobs(store: BlobStore) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_put_many, args=(store.root, seed)) for seed in (1, 3, 7)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    blobs = _files(store)
    assert len(blobs) == 20
    for number in range(20):
        assert store.read(digest_bytes(b"%d" % number)) == b"%d" % number
