"""The way of a reviewer through the real app in a real browser: queue, adapter, decision, ledger."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placet.attest.predicates import Kind
from placet.domain.records import Review, ReviewDecision
from placet.office import Office
from placet.report import paths
from placet.report.app import ADDRESS, STREAMLIT_FLAGS
from placet.resources import app_dir
from tests.support.demo_office import make_demo_like_office
from tests.support.offices import PASSPHRASE
from tests.support.varied_office import make_varied_office

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
START_LIMIT_S = 90.0
STEP_LIMIT_MS = 60_000
COMMENT = "Read the flipped samples; <b>what it lost</b> the desk never needs."


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_like_office(tmp_path_factory.mktemp("demo") / "office").office.home


@pytest.fixture(scope="module")
def address(home: Path) -> Iterator[str]:
    with serving(home) as where:
        yield where


@pytest.fixture(scope="module")
def varied_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(make_varied_office(tmp_path_factory.mktemp("varied") / "office").office.home) as where:
        yield where


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The app on a free port of this machine, ended afterwards."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(app_dir() / "app.py"), f"--server.port={port}"]
    environment = {**os.environ, "PLACET_HOME": str(home), "PLACET_PASSPHRASE": PASSPHRASE}
    log = home.parent / "app.log"
    with log.open("wb") as stream:
        server = subprocess.Popen([*command, *STREAMLIT_FLAGS], env=environment, stdout=stream, stderr=stream)
    try:
        _wait_until_up(server, f"http://{ADDRESS}:{port}", log)
        yield f"http://{ADDRESS}:{port}"
    finally:
        server.terminate()
        server.wait(20)


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with opener.open(f"{url}/_stcore/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_a_reviewer_signs_a_decision_and_finds_it_in_the_ledger(page: Page, address: str, home: Path) -> None:
    from playwright.sync_api import expect

    page.set_default_timeout(STEP_LIMIT_MS)
    expect.set_options(timeout=STEP_LIMIT_MS)
    elsewhere: list[str] = []
    page.on("request", lambda r: None if _is_here(r.url, address) else elsewhere.append(r.url))

    page.goto(address)
    expect(page.get_by_role("heading", name="Demo office")).to_be_visible()
    page.get_by_role("button", name="Open desk-terse").click()

    expect(page.get_by_role("heading", name="desk-terse")).to_be_visible()
    expect(page.get_by_text("Who said what")).to_be_visible()
    expect(page.get_by_role("img", name="against the base", exact=False).first).to_be_visible()

    page.get_by_role("tab", name="Decide").click()
    form = page.get_by_test_id("stForm").first
    form.get_by_label("Your reasons").fill(COMMENT)
    form.get_by_role("textbox", name="Passphrase of your key").fill(PASSPHRASE)
    form.get_by_text("Reject", exact=True).click()
    form.get_by_role("button", name="Sign and record").click()
    expect(page.get_by_text("Signed and recorded.")).to_be_visible()
    expect(page.get_by_text(f"“{COMMENT}”").first).to_be_visible()
    expect(form.get_by_role("textbox", name="Passphrase of your key")).to_have_value("")

    record = Office.open(home).reader().find(Kind.REVIEW, Review)[-1]
    assert (record.person, record.record.decision, record.record.comment) == (
        "ada",
        ReviewDecision.REJECT,
        COMMENT,
    )

    page.get_by_role("link", name="Ledger").click()
    expect(page.get_by_text("WHOLE")).to_be_visible()
    expect(page.get_by_text(f"{record.index + 1} records, 0 findings", exact=False)).to_be_visible()
    page.get_by_label("Read a record as it was signed").fill(str(record.index))
    page.keyboard.press("Enter")
    expect(page.get_by_text("https://placet.dev/review/v1", exact=False).first).to_be_visible()

    page.get_by_role("link", name="Lineage").click()
    expect(page.get_by_role("img", name="lineage graph", exact=False)).to_be_visible()
    assert elsewhere == []


def test_pictures_are_as_large_as_they_were_drawn_and_tables_fit_a_narrow_screen(
    page: Page, varied_address: str
) -> None:
    from playwright.sync_api import expect

    page.set_default_timeout(STEP_LIMIT_MS)
    expect.set_options(timeout=STEP_LIMIT_MS)
    page.goto(f"{varied_address}/adapter?adapter=town-blunt")
    path = page.get_by_role("img", name=re.compile("decided FAIL after .* of 3000 planned")).first
    expect(path).to_be_visible()
    box = path.bounding_box()
    assert box is not None
    assert (round(box["width"]), round(box["height"])) == (paths.WIDTH, paths.HEIGHT)
    expect(page.get_by_role("heading", name="even-handed: even-handed by about")).to_be_visible()
    expect(page.get_by_text("What would have to change")).to_be_visible()

    page.get_by_role("tab", name="Plan").click()
    expect(page.get_by_text("order holds")).to_be_visible()
    expect(page.get_by_role("heading", name="What its samples can show")).to_be_visible()
    expect(page.get_by_role("cell", name="At least 123 of 200 documents", exact=False)).to_be_visible()

    page.set_viewport_size({"width": 420, "height": 1000})
    page.get_by_role("tab", name="Gates and figures").click()
    expect(path).to_be_visible()
    for part in (path, page.get_by_text("it falls short of the floor of 0.55").first):
        box = part.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 420


def _is_here(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))
