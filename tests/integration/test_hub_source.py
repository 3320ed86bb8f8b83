"""The Hub source over real HTTP, with the real client library, against a stand-in server."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from placet.domain.errors import SourceError
from placet.domain.progress import NullProgress
from placet.sources import HubSource, parse_source
from tests.support.adapters import Desk, finding_ids, make_adapter
from tests.support.hub_server import Hub, Repo, serving

pytest.importorskip("huggingface_hub")

OLD, NEW = "a" * 40, "b" * 40
REPO = "desk/adapter"
FILES = {
    "README.md": b"# card",
    ".gitattributes": b"*.safetensors filter=lfs",
    "adapter_config.json": b"{}",
    "adapter_model.safetensors": bytes(range(256)) * 400,
}


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' environment says offline, and the library read that when it was imported.
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    repo = Repo(
        commits={OLD: {"README.md": b"old"}, NEW: dict(FILES)},
        refs={"main": NEW, "v1": OLD},
        large={"adapter_model.safetensors"},
    )
    with serving({REPO: repo}) as hub:
        yield hub


class _Heard(NullProgress):
    def __init__(self) -> None:
        self.total: int | None = None
        self.count = 0

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.total = total

    def advance(self, step: str, count: int = 1) -> None:
        self.count += count


def _source(hub: Hub, revision: str = "main", **options: object) -> HubSource:
    return HubSource(REPO, revision, endpoint=hub.endpoint, **options)  # type: ignore[arg-type]


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_branch_is_resolved_to_a_commit_and_its_files_fetched(hub: Hub, tmp_path: Path) -> None:
    heard = _Heard()
    fetched = _source(hub).fetch(tmp_path, heard)
    assert (fetched.ref.kind, fetched.ref.location, fetched.ref.revision) == ("hub", REPO, NEW)
    assert _contents(fetched.path) == {name: data for name, data in FILES.items() if name != ".gitattributes"}
    assert not any(path.is_symlink() for path in fetched.path.rglob("*"))
    assert heard.total == heard.count == sum(map(len, _contents(fetched.path).values()))
    assert not any((tmp_path / "staging").iterdir())


def test_files_are_asked_for_by_commit_never_by_branch(hub: Hub, tmp_path: Path) -> None:
    _source(hub).fetch(tmp_path, NullProgress())
    assert [request for request in hub.requests if "/resolve/" in request]
    assert not [request for request in hub.requests if "/resolve/main" in request]


def test_a_branch_that_moves_gives_the_new_commit_and_keeps_the_old(hub: Hub, tmp_path: Path) -> None:
    first = _source(hub).fetch(tmp_path, NullProgress())
    hub.repos[REPO].refs["main"] = OLD
    second = _source(hub).fetch(tmp_path, NullProgress())
    assert (first.ref.revision, second.ref.revision) == (NEW, OLD)
    assert _contents(second.path) == {"README.md": b"old"}
    assert first.path.is_dir()


def test_a_tag_is_resolved_too(hub: Hub, tmp_path: Path) -> None:
    assert _source(hub, "v1").fetch(tmp_path, NullProgress()).ref.revision == OLD


def test_a_commit_in_the_cache_needs_no_network(hub: Hub, tmp_path: Path) -> None:
    first = _source(hub, NEW).fetch(tmp_path, NullProgress())
    hub.requests.clear()
    assert _source(hub, NEW).fetch(tmp_path, NullProgress()) == first
    assert hub.requests == []


def test_only_the_files_wanted_are_fetched(hub: Hub, tmp_path: Path) -> None:
    fetched = _source(hub, allow_patterns=("*.json",)).fetch(tmp_path, NullProgress())
    assert set(_contents(fetched.path)) == {"adapter_config.json"}
    everything = _source(hub).fetch(tmp_path, NullProgress())
    assert len(_contents(everything.path)) == 3


def test_the_endpoint_of_the_environment_is_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    assert parse_source(f"hf:{REPO}@v1").fetch(tmp_path, NullProgress()).ref.revision == OLD


def _error(hub: Hub, tmp_path: Path, source: HubSource | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        (source or _source(hub)).fetch(tmp_path, NullProgress())
    assert caught.value.hint
    assert not list((tmp_path / "hub").rglob("*.json")), "nothing half done is in the cache"
    return caught.value


def test_a_repository_that_is_not_there_or_private(hub: Hub, tmp_path: Path) -> None:
    error = _error(hub, tmp_path, HubSource("desk/other", endpoint=hub.endpoint))
    assert "was not found, or is private" in error.message
    assert "HF_TOKEN" in error.hint


def test_a_revision_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    assert "no such revision" in _error(hub, tmp_path, _source(hub, "v9")).message


def test_a_gated_repository(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO].gated = True
    error = _error(hub, tmp_path)
    assert "gated" in error.message
    assert "ask for access" in error.hint


def test_a_server_in_trouble(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO].fail_status = 418
    assert "answered 418" in _error(hub, tmp_path).message


def test_no_server_at_all(hub: Hub, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = _error(hub, tmp_path, HubSource(REPO, endpoint=f"http://127.0.0.1:{port}"))
    assert "cannot be reached" in error.message
    assert "network" in error.hint


def test_offline_mode_is_named(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in _error(hub, tmp_path).message


def test_other_bytes_than_the_hub_lists_are_not_handed_on(hub: Hub, tmp_path: Path) -> None:
    hub.repos[REPO].tampered["adapter_config.json"] = b"[]"
    assert "not the file that the Hub lists" in _error(hub, tmp_path).message
    hub.repos[REPO].tampered.clear()
    assert _contents(_source(hub).fetch(tmp_path, NullProgress()).path)["adapter_config.json"] == b"{}"


def test_a_repository_beyond_the_bound_is_not_downloaded(hub: Hub, tmp_path: Path) -> None:
    assert "more than the 10 allowed" in _error(hub, tmp_path, _source(hub, max_bytes=10)).message
    assert not [request for request in hub.requests if "/resolve/" in request]


def test_no_file_wanted_is_an_error(hub: Hub, tmp_path: Path) -> None:
    assert (
        "no file that was asked for"
        in _error(hub, tmp_path, _source(hub, allow_patterns=("*.gguf",))).message
    )


def _fetch(endpoint: str, cache: Path) -> None:
    from huggingface_hub import constants

    constants.HF_HUB_OFFLINE = False
    HubSource(REPO, NEW, endpoint=endpoint).fetch(cache, NullProgress())


def test_two_processes_download_a_commit_once(hub: Hub, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fetch, args=(hub.endpoint, tmp_path)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    downloads = [request for request in hub.requests if request.startswith("GET /cdn/")]
    assert len(downloads) == 1


def test_an_adapter_goes_from_the_hub_through_intake(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    folder = make_adapter(tmp_path / "made")
    good = {path.name: path.read_bytes() for path in folder.iterdir()}
    repo = Repo(
        commits={OLD: good, NEW: good | {"optimizer.pt": b"pickled"}},
        refs={"main": NEW},
        large={"adapter_model.safetensors"},
    )
    with serving({REPO: repo}) as hub:
        local = desk.examine(folder)
        fetched = _source(hub, OLD).fetch(tmp_path / "cache", NullProgress())
        assert desk.examine(fetched.path).files_id == local.files_id
        with_pickle = _source(hub).fetch(tmp_path / "cache", NullProgress())
        assert finding_ids(desk.examine(with_pickle.path)) == ["pickle-file"]
