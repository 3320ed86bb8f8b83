"""The report to take along: one HTML file, or JSON."""

from __future__ import annotations

import streamlit as st

from placet.domain.digests import short
from placet.office import Office
from placet.report.data import render_json
from placet.report.page import whole_report
from placet.report.view import AdapterReport


def downloads(office: Office, report: AdapterReport) -> None:
    """Draw the two download buttons; the files are made when they are asked for."""
    name = f"report-{short(report.adapter.id)}"

    def page() -> str:
        return whole_report(office, report)

    with st.container(horizontal=True):
        st.download_button("Report as HTML", page, f"{name}.html", "text/html", on_click="ignore")
        st.download_button(
            "Report as JSON",
            lambda: render_json(report),
            f"{name}.json",
            "application/json",
            on_click="ignore",
        )
