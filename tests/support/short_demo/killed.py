"""Runs the short demo in a process of its own, which kills itself as soon as a step has done any work.

`python -m tests.support.short_demo.killed HOME STEP` ends by SIGKILL: nothing of Python's, DuckDB's or the demo's
own tidying up runs.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from placet.demo.run import run_demo
from placet.domain.progress import NullProgress
from placet.sources.cache import cache_dir
from tests.support.short_demo.plan import one_thread, short_plan


class KilledAt(NullProgress):
    """Kills this process at the first advance of `step`."""

    def __init__(self, step: str) -> None:
        self.step = step

    def advance(self, step: str, count: int = 1) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    with one_thread():
        run_demo(Path(sys.argv[1]), KilledAt(sys.argv[2]), short_plan(cache_dir()))
