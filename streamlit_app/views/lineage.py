"""What came from what, who signed for it, and where it went."""

import streamlit as st

from placet.attest.trust import Verified
from placet.lineage.draw import describe, to_dot
from placet.lineage.graph import NodeKind, build_lineage
from placet.report.drawing import lineage_html
from placet.report.markup import el
from placet.report.queue import queue_of
from placet.report.snapshot import load_snapshot
from streamlit_app.components.choice import choose_adapter
from streamlit_app.components.office import opened_office
from streamlit_app.components.page import begin, md, show
