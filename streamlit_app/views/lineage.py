"""What came from what, who signed for it, and where it went."""

import streamlit as st

from placet.lineage.draw import describe, to_dot, to_text
from placet.report.drawing import lineage_html, lineage_svg
from placet.report.lineage import load_lineage
from placet.report.markup import el
from placet.report.records import node_part
from streamlit_app.components.choice import choose_adapter
from streamlit_app.components.office import opened_office
from streamlit_app.components.page import begin, drawn_as, plain_option, show

begin()
with opened_office() as office:
    adapter = choose_adapter(office, everything=True)
    lineage = load_lineage(office, adapter)

show(
    el(
        "p",
        "From left to right: what went in, what came of it. Every arrow is in a signed record. "
        "✓ stands well, ! needs attention, ✕ is refused, failed or taken back.",
        class_="muted small",
    )
)
if lineage_svg(lineage) is not None:
    show(lineage_html(lineage, drawn_as("lineage")))
else:
    st.graphviz_chart(to_dot(lineage), width="stretch")
node = st.selectbox(
    "Look at", lineage.nodes, index=None, format_func=lambda item: plain_option(describe(item))
)
if node is not None:
    show(node_part(lineage, node))
with st.expander("As text"):
    show(el("pre", "\n".join(to_text(lineage))))
