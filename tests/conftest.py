"""What every test stands on: no hub, no office of the user's, few threads, a time limit, one shared cache.

The environment is set when this file is loaded, before any test module can import a library that reads it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# A shared machine may be slow for a moment; what a property says does not depend on it.
settings.register_profile("placet", deadline=None)
settings.load_profile("placet")

TESTS = Path(__file__).resolve().parent
# A test that says nothing of its own gets its folder's limit, in seconds; a slow one gets the last.
TIMEOUT_S = {"unit": 60, "conformance": 120, "app": 120, "integration": 300, "e2e": 1200}
SLOW_TIMEOUT_S = 900
# Debian packages that carry the programs tests ask for, for the message that says one is missing.
DEBIAN_PACKAGES = {"dot": "graphviz"}
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "placet"


def _make_hermetic() -> None:
    cache = os.environ.get("PLACET_CACHE") or str(_default_cache())
    for name in list(os.environ):
        if name.startswith(("PLACET_", "STREAMLIT_")) or name in {
            "FORCE_COLOR",
            "PY_COLORS",
            "GITHUB_ACTIONS",
        }:
            del os.environ[name]
    # Beside other processes, each with a core of its own, more threads only wait for one another.
    threads = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
    hf_home = tempfile.mkdtemp(prefix="placet-test-hf-")
    atexit.register(shutil.rmtree, hf_home, ignore_errors=True)
    for name in ("HF_DATASETS_CACHE", "HF_MODULES_CACHE", "HF_EVALUATE_CACHE", "HF_METRICS_CACHE"):
        os.environ.pop(name, None)
    os.environ.update(
        PLACET_CACHE=cache,
        HF_HOME=hf_home,
        HF_HUB_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        HF_EVALUATE_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        TOKENIZERS_PARALLELISM="false",
        OMP_NUM_THREADS=threads,
        MKL_NUM_THREADS=threads,
        STREAMLIT_BROWSER_GATHER_USAGE_STATS="false",
        NO_COLOR="1",
        COLUMNS="120",
    )


_make_hermetic()


def _missing(what: str) -> NoReturn:
    """Fail where everything should be there (CI=true), skip where a person may lack it; both name it."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{what}, and under CI=true that is a failure", pytrace=False)
    pytest.skip(what)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parts = item.path.relative_to(TESTS).parts if item.path.is_relative_to(TESTS) else ("",)
        if parts[0] == "e2e":
            item.add_marker(pytest.mark.e2e)
        if item.get_closest_marker("timeout") is None:
            limit_s = TIMEOUT_S.get(parts[0], 300)
            if item.get_closest_marker("slow"):
                limit_s = max(limit_s, SLOW_TIMEOUT_S)
            item.add_marker(pytest.mark.timeout(limit_s))


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit test opens no connection at all, not even to this machine."""
    if "unit" not in request.path.relative_to(TESTS).parts:
        return

    def refuse(_self: socket.socket, address: Any) -> NoReturn:
        raise AssertionError(f"a unit test tried to connect to {address!r}; inject a fake instead")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """Give the path of a system program; without it, skip (or, under CI=true, fail) naming it."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            package = DEBIAN_PACKAGES.get(name, name)
            _missing(f"the program '{name}' is not installed (Debian: apt-get install {package})")
        return path

    return find


@pytest.fixture(scope="session")
def placet_cache() -> Path:
    """The folder for downloaded packages and converted models, shared by all tests and runs."""
    path = Path(os.environ["PLACET_CACHE"])
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture(scope="session")
def browser(require_program: Callable[[str], str]) -> Iterator[Browser]:
    """Headless Chromium of the system, driven by Playwright."""
    chromium = require_program("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_ARGS))
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh page, 1280×900, in a context of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()
