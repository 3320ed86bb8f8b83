"""Which adapter a page is about: from the address, else chosen from a list."""

from __future__ import annotations

import streamlit as st

from placet.domain.digests import short
from placet.office import Office
from placet.report.queue import load_queue
from streamlit_app.components.page import plain_option

PARAMETER = "adapter"


def choose_adapter(office: Office, *, everything: bool = False) -> str | None:
    """Return the id of the chosen adapter (None: everything, where that is offered); stop if there is none."""
    with st.spinner("Verifying the ledger …"):
        queue = load_queue(office)
    labels = {item.adapter: item.label for item in queue.items if item.adapter and not item.refused}
    if not labels:
        st.info("No adapter was taken in yet. `placet submit` hands one in.")
        st.stop()
    options: list[str | None] = [*([None] if everything else []), *labels]
    asked = st.query_params.get(PARAMETER)
    known = next((key for key in labels if asked in {key, short(key), labels[key]}), None)
    chosen: str | None = st.selectbox(
        "Adapter",
        options,
        index=options.index(known) if known else 0,
        format_func=lambda key: f"{plain_option(labels[key])} · {short(key)}" if key else "Everything",
    )
    if chosen is not None:
        st.query_params[PARAMETER] = chosen
    elif PARAMETER in st.query_params:
        del st.query_params[PARAMETER]
    return chosen
