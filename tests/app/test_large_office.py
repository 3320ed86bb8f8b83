"""Many adapters: what is drawn, and that no page does for every record what it did before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from placet.attest.predicates import Role
from placet.attest.trust import Trust
from placet.office import Office, TrustDesk
from placet.report import snapshot as snapshots
from placet.report.adapter import load_adapter_report
from placet.report.queue import load_queue
from placet.resources import app_dir
from tests.support import offices
from tests.support.large_office import make_large_office
from tests.support.offices import PASSPHRASE

ADAPTERS = 62


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_large_office(tmp_path_factory.mktemp("large") / "office", ADAPTERS).home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "office"
    shutil.copytree(made, home)
    monkeypatch.setenv("PLACET_HOME", str(home))
    monkeypatch.setenv("PLACET_PASSPHRASE", PASSPHRASE)
    return home


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The index of each record whose signature is verified from now on."""
    seen: list[int] = []
    verify = Trust.verify

    def counted(trust: Trust, raw: object, index: int) -> object:
        seen.append(index)
        return verify(trust, raw, index)  # type: ignore[arg-type]

    monkeypatch.setattr(Trust, "verify", counted)
    return seen


def queue() -> AppTest:
    return AppTest.from_file(str(app_dir() / "views" / "queue.py"), default_timeout=60).run()


def opened(app: AppTest) -> list[str]:
    return [button.label for button in app.button if button.label.startswith("Open ")]


def test_the_queue_shows_a_part_and_more_when_asked(home: Path) -> None:
    app = queue()
    assert len(opened(app)) == 25
    next(b for b in app.button if b.label == "Show 25 more").click().run()
    assert len(opened(app)) == 50
    next(b for b in app.button if b.label == "Show 12 more").click().run()
    assert len(opened(app)) == ADAPTERS
    assert not [b for b in app.button if b.label.startswith("Show ")]


def test_a_new_search_begins_with_the_first_part_again(home: Path) -> None:
    app = queue()
    next(b for b in app.button if b.label == "Show 25 more").click().run()
    app.text_input[0].input("adapter-000").run()
    assert len(opened(app)) == 25
    app.text_input[0].input("adapter-00061").run()
    assert opened(app) == ["Open adapter\\-00061"]


def test_each_record_is_verified_once_in_a_process(home: Path, verified: list[int]) -> None:
    size = Office.open(home).store.size()
    load_queue(Office.open(home))
    assert sorted(verified) == list(range(size))
    verified.clear()
    load_queue(Office.open(home))
    load_adapter_report(Office.open(home), "adapter-00031")
    assert verified == []


def test_after_an_append_only_what_is_new_is_verified_and_everything_is_hashed(
    home: Path, verified: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_queue(Office.open(home))
    size = Office.open(home).store.size()
    TrustDesk(Office.open(home, ask=lambda _: PASSPHRASE)).grant(
        offices.signer_named("new").public, "Zoe", [Role.APPROVER]
    )
    verified.clear()
    hashed = []
    leaf_hash = snapshots.leaf_hash
    monkeypatch.setattr(snapshots, "leaf_hash", lambda data: hashed.append(data) or leaf_hash(data))
    assert load_queue(Office.open(home)).head.size == size + 1
    assert verified == [size]
    assert len(hashed) == size + 1


def test_another_office_in_the_same_folder_is_not_shown_as_the_one_before(tmp_path: Path) -> None:
    home = tmp_path / "office"
    first = offices.make_office(home, "First")
    offices.walk_to_verdict(first, "one")
    assert [item.label for item in load_queue(Office.open(home)).items] == ["one"]
    shutil.rmtree(home)
    second = offices.make_office(home, "Second")
    offices.walk_to_verdict(second, "two")
    assert [item.label for item in load_queue(Office.open(home)).items] == ["two"]
