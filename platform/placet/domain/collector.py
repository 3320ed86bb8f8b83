"""Python's cycle collector, out of the way of work that makes many values and no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Let the block run without searches for cycles: they look at all that is kept, again and again.

    For work of a second or so. Where blocks overlap in several threads, the first that ends ends the pause.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
