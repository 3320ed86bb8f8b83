"""Progress in the terminal: bars where there is one, a line now and then where there is none.

Every step says what it is, how far it got and how long it will still take. Without a terminal (a CI log), a
step gets a line when it starts and ends, at most one every ten seconds in between, and one every half minute
when nothing moves, so that a reader sees it is alive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from placet.domain.progress import Progress
from placet.domain.text import duration

LINE_EVERY_S = 10.0
ALIVE_EVERY_S = 30.0
_FOUND_WITHIN_S = 1.0
"""What is done so soon after a step began was found, not made: answers of an interrupted run."""
_SMOOTHING_S = 120.0  # a rate is taken over so many seconds


@contextmanager
def terminal_progress(console: Console) -> Iterator[Progress]:
    """Give a progress that shows itself on `console`, and clear up when the block is left."""
    if console.is_terminal and not console.is_dumb_terminal:
        with _bars(console) as bars:
            yield BarProgress(bars)
        return
    lines = LineProgress(lambda text: console.print(text, soft_wrap=True, markup=False, highlight=False))
    with lines.heartbeat():
        yield lines


class BarProgress:
    """Progress as rich bars; a finished step leaves one line."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def start(self, step: str, total: int | None, unit: str) -> None:
        """Add a bar."""
        if step in self._tasks:
            self.finish(step)
        self._tasks[step] = self._bars.add_task(step, total=total, unit=unit)

    def advance(self, step: str, count: int = 1) -> None:
        """Move a bar on."""
        if step in self._tasks:
            self._bars.advance(self._tasks[step], count)

    def finish(self, step: str) -> None:
        """Take a bar away and leave a line that says how long it took."""
        task_id = self._tasks.pop(step, None)
        if task_id is None:
            return
        task = next(task for task in self._bars.tasks if task.id == task_id)
        taken = duration(task.elapsed or 0.0)
        text = _ending(step, int(task.completed), _whole(task.total), str(task.fields["unit"]), taken)
        self._bars.remove_task(task_id)
        self._bars.console.print(text, soft_wrap=True, markup=False, highlight=False)

    def note(self, text: str) -> None:
        """Print `text` above the bars."""
        self._bars.console.print(text, soft_wrap=True, markup=False, highlight=False)


@dataclass
class _Step:
    total: int | None
    unit: str
    started: float
    told: float
    done: int = 0
    # Where the rate is measured from: what was found done at the start took no time and says nothing.
    since: float = 0.0
    found: int = 0


class LineProgress:
    """Progress as lines of text, at a rate that a log can bear.

    Args:
        tell: Prints one line.
        now: A clock in seconds that never goes back.
    """

    def __init__(self, tell: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._now = now
        self._steps: dict[str, _Step] = {}
        self._lock = threading.Lock()

    def start(self, step: str, total: int | None, unit: str) -> None:
        """Say that the step begins."""
        with self._lock:
            now = self._now()
            self._steps[step] = _Step(total, unit, now, now, since=now)
            self._tell(f"{step} …" if total is None else f"{step}: {total:,} {unit} …")

    def advance(self, step: str, count: int = 1) -> None:
        """Count; say so if the last line is some time ago."""
        with self._lock:
            state = self._steps.get(step)
            if state is None:
                return
            state.done += count
            if self._now() - state.started < _FOUND_WITHIN_S:
                state.found, state.since = state.done, self._now()
            if self._now() - state.told >= LINE_EVERY_S and state.done != state.total:
                self._say_where(step, state)

    def finish(self, step: str) -> None:
        """Say how the step ended and how long it took."""
        with self._lock:
            state = self._steps.pop(step, None)
            if state is not None:
                taken = duration(self._now() - state.started)
                self._tell(_ending(step, state.done, state.total, state.unit, taken))

    def note(self, text: str) -> None:
        """Print `text`."""
        with self._lock:
            self._tell(text)

    def say_alive(self) -> None:
        """Say where the newest step stands if nothing was said about any for half a minute."""
        with self._lock:
            quiet_since = max((state.told for state in self._steps.values()), default=None)
            if quiet_since is not None and self._now() - quiet_since >= ALIVE_EVERY_S:
                step, state = list(self._steps.items())[-1]
                self._say_where(step, state)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Call :meth:`say_alive` from a thread while the block runs."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(1.0):
                self.say_alive()

        thread = threading.Thread(target=beat, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _say_where(self, step: str, state: _Step) -> None:
        gone = self._now() - state.started
        state.told = self._now()
        if not state.done:
            self._tell(f"{step}: still at it, {duration(gone)} so far")
            return
        where = f"{state.done:,} {state.unit}"
        if state.total is not None:
            where = f"{state.done:,} of {state.total:,} {state.unit}"
        left = ""
        made = state.done - state.found
        if state.total is not None and state.done < state.total and made:
            rate = made / (self._now() - state.since)
            left = f", about {duration((state.total - state.done) / rate)} to go"
        self._tell(f"{step}: {where}, {duration(gone)} so far{left}")


class _TimeLeft(ProgressColumn):
    """How long a step took and will still take."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        text = duration(task.elapsed or 0.0)
        if task.time_remaining is not None and task.total is not None:
            text += f", {duration(task.time_remaining)} to go"
        return Text(text, style="dim")


def _bars(console: Console) -> Bars:
    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        _TimeLeft(),
        console=console,
        speed_estimate_period=_SMOOTHING_S,
        refresh_per_second=4,
    )


def _whole(total: float | None) -> int | None:
    return None if total is None else int(total)


def _ending(step: str, done: int, total: int | None, unit: str, taken: str) -> str:
    if total is not None and done < total:
        return f"{step}: left at {done:,} of {total:,} {unit} after {taken}"
    counted = f"{done:,} {unit} in " if done else "done in "
    return f"{step}: {counted}{taken}"
