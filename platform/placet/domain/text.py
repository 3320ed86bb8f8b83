"""Text from records and files, made safe to show: nothing in it moves a cursor, turns a line round or hides."""

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
