"""Progress of long work, as typed events to whoever listens.

A stage reports; it never draws. The terminal and the app implement :class:`Progress`; tests and libraries
use :class:`NullProgress`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Listens to steps of work. Calls come from one thread, `start` before `advance` before `finish`."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """`step` begins; it has `total` units (None: not known yet)."""

    def advance(self, step: str, count: int = 1) -> None:
        """`count` more units of `step` are done."""

    def finish(self, step: str) -> None:
        """`step` ended, or was left."""

    def note(self, text: str) -> None:
        """Something a person should see stay on the screen."""


class NullProgress:
    """Listens to nothing."""

    def start(self, step: str, total: int | None, unit: str) -> None:
        """Ignore it."""

    def advance(self, step: str, count: int = 1) -> None:
        """Ignore it."""

    def finish(self, step: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


@contextmanager
def tracked(progress: Progress, step: str, total: int | None, unit: str) -> Iterator[None]:
    """Report `step` as started now and finished when the block is left, however it is left."""
    progress.start(step, total, unit)
    try:
        yield
    finally:
        progress.finish(step)
