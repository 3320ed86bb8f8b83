"""The ledger: whether it is whole, who co-signed it, who may sign what, and every record with its signer."""

import pandas as pd
import streamlit as st

from placet.domain.errors import Error
from placet.domain.text import printable
from placet.report.ledger import LedgerRow, load_ledger_page, record_text
from placet.report.ledger_part import audit_part, trust_part
from placet.report.markup import el
from placet.report.text import plural
from streamlit_app.components.office import opened_office
from streamlit_app.components.page import begin, show, show_error

_SHOWN = 500
_COLUMNS = ["index", "kind", "what it says", "signed by", "state", "record"]


def matching(rows: tuple[LedgerRow, ...], wanted: str) -> list[LedgerRow]:
    """Return the records that hold `wanted`, newest first."""
    return [
        row for row in reversed(rows) if wanted in f"{row.kind} {row.about} {row.signer} {row.record}".lower()
    ]


def frame(rows: list[LedgerRow]) -> pd.DataFrame:
    """Return records as a table."""
    cells = [
        (
            row.index,
            row.kind,
            printable(row.about),
            printable(row.signer),
            "✓ verified" if row.verified else f"✕ {printable(row.problem)}",
            row.record,
        )
        for row in rows
    ]
    return pd.DataFrame(cells, columns=_COLUMNS)


begin()
with opened_office() as office:
    asked = st.session_state.pop("audit-asked", "")
    outside = st.session_state.get("audit-outside", "").strip()
    with st.spinner("Auditing the ledger …"):
        try:
            page = load_ledger_page(
                office,
                blobs=asked == "files",
                again=asked == "again",
                outside=(outside + "\n",) if outside else (),
            )
        except Error as error:
            if not outside:
                raise
            show_error(error)
            page = load_ledger_page(office)
    show(audit_part(page))
    with st.container(horizontal=True):
        if st.button("Audit all of it again"):
            st.session_state["audit-asked"] = "again"
            st.rerun()
        if st.button("Audit it and every stored file"):
            st.session_state["audit-asked"] = "files"
            st.rerun()
    with st.expander("Compare with a checkpoint that was kept elsewhere", expanded=bool(outside)):
        st.text_area(
            "The checkpoint, as it was written down or as a witness co-signed it",
            key="audit-outside",
            height=140,
            placeholder="origin, size, root, an empty line, signatures",
        )

    show(el("h2", "Records"))
    wanted = st.text_input("Search records", placeholder="kind, person, words or record id").strip().lower()
    found = matching(page.rows, wanted)
    if len(found) > _SHOWN:
        st.caption(f"The newest {_SHOWN} of {plural(len(found), 'record')} that fit: search to see others.")
    st.dataframe(frame(found[:_SHOWN]), hide_index=True, height=420)
    index = st.number_input("Read a record as it was signed", 0, max(len(page.rows) - 1, 0), None)
    if index is not None:
        st.code(printable(record_text(office, int(index))), language="json", wrap_lines=True)

show(el("h2", "Who may sign what"), trust_part(page))
with st.expander("The signed checkpoint: keep a copy elsewhere, so that a rewritten log can be found"):
    st.code(page.checkpoint, language=None)
    st.download_button(
        "Download checkpoint", page.checkpoint, "checkpoint.txt", "text/plain", on_click="ignore"
    )
