"""Drawing: fragments of :mod:`placet.report` on a page, and text that may hold anything."""

from __future__ import annotations

import re

import streamlit as st

from placet.domain.errors import Error
from placet.domain.text import plain, printable
from placet.report.markup import Child, Html, el
from placet.report.pictures import Draw, as_image
from placet.report.style import Theme, style_sheet

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=\"'/@])")


_LAYOUT = Html(
    "[data-testid=stMainBlockContainer] { padding-top: 4.4rem; max-width: 1320px; } "
    ".placet.bare h2 { margin: 10px 0 2px; }"
)


def begin() -> None:
    """Start a page: its style sheet, in the colours the reader chose."""
    st.html(el("style", style_sheet(_theme()), _LAYOUT))


def drawn_as(css_class: str) -> Draw:
    """Return how pictures are drawn here: as images, because Streamlit takes inline SVG out."""
    return as_image(_theme(), css_class)


def plain_option(text: str) -> str:
    """Return `text` for a select box, which shows options as they are."""
    return plain(text, 120)


def _theme() -> Theme:
    return Theme.DARK if st.context.theme.type == "dark" else Theme.LIGHT


def show(*parts: Child) -> None:
    """Draw fragments; whatever they were given as text is text."""
    st.html(el("div", parts, class_="placet bare"))


def md(text: str) -> str:
    """Return `text` for a place that reads Markdown, so that it shows as it is and nothing in it acts."""
    return _MARKDOWN.sub(r"\\\1", " ".join(printable(text).split()))


def show_error(error: Error) -> None:
    """Draw an error: what went wrong and, where known, how to mend it."""
    hint = f"\n\n**To mend it:** {md(error.hint)}" if error.hint else ""
    st.error(md(str(error)) + hint)
