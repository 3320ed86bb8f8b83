"""The ledger: its head, whether it is whole, and every record with its signer."""

import pandas as pd
import streamlit as st

from placet.domain.text import printable
from placet.report.ledger import LedgerPage, load_ledger_page, record_text
from placet.report.ledger_part import audit_part, keys_table
from placet.report.markup import el
from streamlit_app.components.office import opened_office
from streamlit_app.components.page import begin, show


def frame(page: LedgerPage, wanted: str) -> pd.DataFrame:
    """Return the records that hold `wanted`, newest first."""
    rows = [
        {
            "index": row.index,
            "kind": row.kind,
            "what it says": printable(row.about),
            "signed by": printable(row.signer),
            "state": "✓ verified" if row.verified else f"✕ {printable(row.problem)}",
            "record": row.record,
        }
        for row in reversed(page.rows)
        if wanted in f"{row.kind} {row.about} {row.signer} {row.record}".lower()
    ]
    return pd.DataFrame(rows, columns=["index", "kind", "what it says", "signed by", "state", "record"])


begin()
with opened_office() as office:
    blobs = st.session_state.pop("audit-files", False)
    page = load_ledger_page(office, blobs=blobs)
    show(audit_part(page))
    if not blobs and st.button("Check every stored file too"):
        st.session_state["audit-files"] = True
        st.rerun()

    show(el("h2", "Records"))
    wanted = st.text_input("Search records", placeholder="kind, person, words or record id").strip().lower()
    st.dataframe(frame(page, wanted), hide_index=True, height=420)
    index = st.number_input("Read a record as it was signed", 0, max(len(page.rows) - 1, 0), None)
    if index is not None:
        st.code(printable(record_text(office, int(index))), language="json", wrap_lines=True)

show(el("h2", "Who may sign what"), keys_table(page))
with st.expander("The signed checkpoint: keep a copy elsewhere, so that a rewritten log can be found"):
    st.code(page.checkpoint, language=None)
    st.download_button(
        "Download checkpoint", page.checkpoint, "checkpoint.txt", "text/plain", on_click="ignore"
    )
