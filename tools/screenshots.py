"""Take the pictures of the README and the guides: every page of the review app and the HTML report, of a given office.

Usage: .venv/bin/python tools/screenshots.py OFFICE [--adapter LABEL] [--out docs/images] [--gate OFFICE LABEL GATE]

`--gate` takes the row of one gate of an adapter in another office instead: a sequential one, for the guide.

Needs the `ui` and `dev` extras and Debian's `chromium` and `graphviz`. The office is only read.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from placet.office import Office
from placet.report.adapter import load_adapter_report
from placet.report.app import ADDRESS, STREAMLIT_FLAGS
from placet.report.page import whole_report
from placet.report.queue import load_queue
from placet.resources import app_dir

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 1400
MAX_HEIGHT = 2600
START_LIMIT_S = 90.0
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def main() -> int:
    """Take the pictures and name them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("office", type=Path, nargs="?", default=Path("office"))
    parser.add_argument("--adapter", help="label or id for the adapter pages; else the first released one")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument(
        "--gate", nargs=3, metavar=("OFFICE", "LABEL", "GATE"), help="only the row of one gate"
    )
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        print("the program 'chromium' is not installed (Debian: apt-get install chromium)", file=sys.stderr)
        return 3
    if arguments.gate:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
            home, label, gate = arguments.gate
            with _served(Path(home).resolve()) as address:
                _row(browser, f"{address}/adapter?adapter={label}", gate, arguments.out / "gate.png")
            browser.close()
        return 0
    office = Office.open(arguments.office.resolve())
    items = [item for item in load_queue(office).items if item.adapter and not item.refused]
    chosen = arguments.adapter or next((i.label for i in items if i.state == "released"), items[0].label)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        _report(browser, office, chosen, arguments.out / "report.png")
        adapter = load_adapter_report(office, chosen).adapter.id
        with _served(office.home) as address:
            for name, path in (
                ("queue", ""),
                ("adapter", f"adapter?adapter={adapter}"),
                ("lineage", f"lineage?adapter={adapter}"),
                ("ledger", "ledger"),
            ):
                _app(browser, f"{address}/{path}", arguments.out / f"{name}.png")
            _app(browser, f"{address}/adapter?adapter={adapter}", arguments.out / "plan.png", tab="Plan")
        browser.close()
    return 0


def _report(browser: Browser, office: Office, label: str, target: Path) -> None:
    report = load_adapter_report(office, label)
    with tempfile.TemporaryDirectory() as folder:
        page_file = Path(folder) / "report.html"
        page_file.write_text(whole_report(office, report), encoding="utf-8")
        page = _page(browser)
        page.goto(page_file.as_uri())
        _shoot(page, int(page.evaluate("document.documentElement.scrollHeight")), target)


def _row(browser: Browser, url: str, gate: str, target: Path) -> None:
    page = _page(browser)
    _open(page, url)
    page.locator(f"#gate-{gate}").screenshot(path=target)
    print(f"{target}: {target.stat().st_size:,} bytes")


def _open(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector(".placet h1, .placet p", timeout=60_000)
    page.wait_for_selector("[data-testid=stStatusWidget]", state="detached", timeout=60_000)
    # Widgets are fetched when they are first needed, and the canvas of a table draws itself after its data came.
    page.wait_for_function("document.querySelector('[data-testid=stSkeleton]') === null", timeout=60_000)
    page.wait_for_timeout(2_000)


def _app(browser: Browser, url: str, target: Path, tab: str = "") -> None:
    page = _page(browser)
    _open(page, url)
    if tab:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(800)
    _shoot(page, int(page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")), target)


def _page(browser: Browser) -> Page:
    context = browser.new_context(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
    return context.new_page()


def _shoot(page: Page, height: int, target: Path) -> None:
    page.set_viewport_size({"width": WIDTH, "height": max(600, min(height, MAX_HEIGHT))})
    page.wait_for_timeout(800)
    page.screenshot(path=target)
    print(f"{target}: {target.stat().st_size:,} bytes")


@contextmanager
def _served(home: Path) -> Iterator[str]:
    """Serve the app on a free port while the block runs."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = int(probe.getsockname()[1])
    address = f"http://{ADDRESS}:{port}"
    command = [sys.executable, "-m", "streamlit", "run", str(app_dir() / "app.py"), f"--server.port={port}"]
    environment = {**os.environ, "PLACET_HOME": str(home)}
    server = subprocess.Popen([*command, *STREAMLIT_FLAGS], env=environment, stdout=subprocess.DEVNULL)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                with opener.open(f"{address}/_stcore/health", timeout=2):
                    break
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    sys.exit(main())
