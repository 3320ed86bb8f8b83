"""The console of people: no colour by guessing, nothing cut short in a pipe, nothing from a record that acts."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console
from rich.text import Text

from placet.domain.text import printable

PIPED_WIDTH = 160  # columns of tables that go into a file or a pipe


class SafeConsole(Console):
    """A console on which no text from a record or a file can move the cursor, colour or clear the screen."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Return `text` for printing, its control characters replaced."""
        return super().render_str(printable(text), **options)


def make_console(*, stderr: bool = False) -> Console:
    """Return a console that neither colours what it guesses at nor cuts tables short in a pipe."""
    console = SafeConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = PIPED_WIDTH
    return console
