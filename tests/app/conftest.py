"""Fixtures for tests that run the app in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def main_module_restored() -> Iterator[None]:
    """Streamlit puts the script it runs in the place of ``__main__``; later tests that spawn processes need ours."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main
