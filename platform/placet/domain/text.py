"""Text for people: made safe to show where it is from records and files, so that nothing moves a cursor or hides."""

from __future__ import annotations

import unicodedata

_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def plain(text: str, limit: int | None = None) -> str:
    """Return `text` on one line without control or direction-changing characters, cut to `limit` characters."""
    shown = printable(" ".join(text.split()))
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def printable(text: str) -> str:
    """Return `text` with control and direction-changing characters replaced; line ends and tabs stay."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in _UNSHOWN
        else "\N{REPLACEMENT CHARACTER}"
        for character in text.replace("\r\n", "\n")
    )


def duration(seconds: float) -> str:
    """Return `seconds` as people say it: 8 s, 3 min 05 s, 1 h 10 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def plural(count: int, noun: str) -> str:
    """Return `count` with its noun: ``1 gate``, ``2 gates``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
