"""The review app's router: ``placet ui`` runs it by ``streamlit run``, with the office in ``$PLACET_HOME``."""

import sys
from pathlib import Path

import streamlit as st

# `streamlit run` puts this folder on the path; the package's name needs the one above it.
_ROOT = str(Path(__file__).resolve().parent.parent)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

st.set_page_config(page_title="Placet", page_icon="✅", layout="wide")
st.navigation(
    [
        st.Page("views/queue.py", title="Queue", default=True),
        st.Page("views/adapter.py", title="Adapter"),
        st.Page("views/lineage.py", title="Lineage"),
        st.Page("views/ledger.py", title="Ledger"),
    ],
    position="top",
).run()
