"""The office this app serves, opened anew in every run: no store is ever held between runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from placet.domain.errors import Error
from placet.office import Office, default_home
from streamlit_app.components.page import show_error


@contextmanager
def opened_office() -> Iterator[Office]:
    """Give the office; an error inside ends the page with what went wrong and how to mend it."""
    try:
        yield Office.open(default_home())
    except Error as error:
        show_error(error)
        st.stop()
