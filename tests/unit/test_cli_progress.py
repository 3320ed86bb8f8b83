"""Progress as lines of text: a log shows life, and is not flooded."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from placet.cli.progress import ALIVE_EVERY_S, LINE_EVERY_S, BarProgress, LineProgress, terminal_progress
from placet.domain.progress import tracked
from placet.domain.text import duration


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def lines(clock: Clock, told: list[str]) -> LineProgress:
    return LineProgress(told.append, clock)


def test_a_step_says_when_it_starts_and_how_it_ended(
    lines: LineProgress, told: list[str], clock: Clock
) -> None:
    with tracked(lines, "training", 40, "steps"):
        clock.now += 65
        lines.advance("training", 40)

    assert told == ["training: 40 steps …", "training: 40 steps in 1 min 05 s"]


def test_between_start_and_end_a_line_comes_at_most_every_ten_seconds(
    lines: LineProgress, told: list[str], clock: Clock
) -> None:
    lines.start("training", 100, "steps")
    for _ in range(99):
        clock.now += 1
        lines.advance("training")

    assert len(told) == 1 + 99 // LINE_EVERY_S
    assert told[1] == "training: 10 of 100 steps, 10 s so far, about 1 min 30 s to go"


def test_a_step_that_does_not_move_shows_life_every_half_minute(
    lines: LineProgress, told: list[str], clock: Clock
) -> None:
    lines.start("loading the model", None, "bytes")
    for _ in range(70):
        clock.now += 1
        lines.say_alive()

    assert told == [
        "loading the model …",
        "loading the model: still at it, 30 s so far",
        "loading the model: still at it, 1 min 00 s so far",
    ]


def test_nothing_is_said_where_no_step_runs(lines: LineProgress, told: list[str], clock: Clock) -> None:
    clock.now += 10 * ALIVE_EVERY_S
    lines.say_alive()

    assert told == []


def test_many_steps_run_at_once_and_each_ends_with_its_own_figures(
    lines: LineProgress, told: list[str], clock: Clock
) -> None:
    lines.start("all", 2, "suites")
    lines.start("desk", 10, "documents")
    clock.now += 4
    lines.advance("desk", 10)
    lines.finish("desk")
    lines.advance("all")
    lines.finish("all")

    assert told[2:] == ["desk: 10 documents in 4 s", "all: left at 1 of 2 suites after 4 s"]


def test_a_step_that_is_not_known_is_ignored(lines: LineProgress, told: list[str]) -> None:
    lines.advance("never started")
    lines.finish("never started")

    assert told == []


def test_a_note_stands_as_it_is(lines: LineProgress, told: list[str]) -> None:
    lines.note("desk-good: [ALLOW]")

    assert told == ["desk-good: [ALLOW]"]


def test_without_a_terminal_progress_is_lines() -> None:
    out = io.StringIO()

    with terminal_progress(Console(file=out, force_terminal=False)) as progress:
        assert isinstance(progress, LineProgress)
        with tracked(progress, "work", 3, "parts"):
            progress.advance("work", 3)

    assert out.getvalue().splitlines() == ["work: 3 parts …", "work: 3 parts in 0 s"]


def test_in_a_terminal_progress_is_bars_and_a_finished_step_leaves_one_line() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, color_system=None, _environ={"TERM": "xterm"})

    with terminal_progress(console) as progress:
        assert isinstance(progress, BarProgress)
        with tracked(progress, "one [step]", 3, "parts"):
            progress.advance("one [step]", 3)
            progress.start("another", None, "bytes")
            progress.note("a word between")
            progress.finish("another")

    text = out.getvalue()
    assert "one [step]: 3 parts in 0 s" in text
    assert "another: done in 0 s" in text
    assert "a word between" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 00 s"),
        (605, "10 min 05 s"),
        (4_260, "1 h 11 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_was_found_done_does_not_make_the_rest_look_quick(
    lines: LineProgress, told: list[str], clock: Clock
) -> None:
    lines.start("scoring", 100, "samples")
    lines.advance("scoring", 80)  # kept from an interrupted run
    for _ in range(10):
        clock.now += 6
        lines.advance("scoring")

    assert told[-1] == "scoring: 90 of 100 samples, 1 min 00 s so far, about 1 min 00 s to go"
