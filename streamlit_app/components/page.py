"""Drawing: fragments of :mod:`placet.report` on a page, and text that may hold anything."""

from __future__ import annotations

import re

import streamlit as st

from placet.domain.errors import Error
from placet.lineage.draw import printable
from placet.report.markup import Child, el
from placet.report.style import Theme, style_sheet

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=\"'/@])")


def begin() -> None:
    """Start a page: its style sheet, in the colours the reader chose."""
    theme = Theme.DARK if st.context.theme.type == "dark" else Theme.LIGHT
    st.html(el("style", style_sheet(theme)))


def show(*parts: Child) -> None:
    """Draw fragments; whatever they were given as text is text."""
    st.html(el("div", parts, class_="placet bare"))


def md(text: str) -> str:
    """Return `text` for a place that reads Markdown, so that it shows as it is and nothing in it acts."""
    return _MARKDOWN.sub(r"\\\1", " ".join(printable(text).split()))


def show_error(error: Error) -> None:
    """Draw an error: what went wrong and, where known, how to mend it."""
    hint = f"\n\n**To mend it:** {md(error.hint)}" if error.hint else ""
    st.error(md(str(error)) + hint, icon="🚫")
