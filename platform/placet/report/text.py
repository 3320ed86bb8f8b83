"""Words and figures as people read them, and user-supplied text made harmless to show."""

from __future__ import annotations

from datetime import datetime

from placet.domain.text import plain, plural, printable

__all__ = ["figure", "moment", "plain", "plural", "printable", "signed"]


def figure(value: float | None, places: int = 4) -> str:
    """Return a measured figure with `places` decimals at most, 2 at least if any; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.{places}f}"
    while text.endswith("0") and len(text.partition(".")[2]) > 2:
        text = text[:-1]
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def signed(value: float | None, places: int = 4) -> str:
    """Return a difference with its sign, a real minus; a dash where there is none."""
    if value is None:
        return "–"
    text = figure(value, places)
    number = float(text.replace("−", "-"))
    return "0" if number == 0 else f"+{text}" if number > 0 else text


def moment(value: datetime) -> str:
    """Return a moment as people read it, in UTC."""
    return f"{value:%Y-%m-%d %H:%M} UTC"
