"""One adapter: what it changes, what the risk is, who said what; and the place to decide."""

import streamlit as st

from placet.report.adapter import load_adapter_report
from placet.report.fragments import (
    banner,
    brief_cards,
    change_part,
    figures_table,
    gates_table,
    masthead,
    plan_part,
)
from placet.report.markup import el
from placet.report.records import checks_table, decisions, evidence_table, provenance_part, releases_part
from streamlit_app.components.choice import choose_adapter
from streamlit_app.components.decision import signing_forms
from streamlit_app.components.downloads import downloads
from streamlit_app.components.office import opened_office
from streamlit_app.components.page import begin, drawn_as, show
from streamlit_app.components.samples import samples_explorer
from streamlit_app.components.verdict import groups_of, notes_of

begin()
with opened_office() as office:
    adapter = choose_adapter(office)
    report = load_adapter_report(office, adapter or "")

    changes = change_part(report.verdict) if report.verdict is not None else None
    show(masthead(report), banner(report), brief_cards(report.brief), changes)
    gates, plan, samples, decide, provenance, evidence = st.tabs(
        ["Gates and figures", "Plan", "Samples", "Decide", "Provenance and releases", "Evidence"]
    )
    with gates:
        if report.verdict is None:
            st.info("No verdict yet: `placet gate` measures it.")
        else:
            show(gates_table(report.verdict, drawn_as("plot")))
            groups_of(office, report.verdict)
        if report.figures:
            show(el("h2", "Measured against the base"), figures_table(report.figures))
    with samples:
        samples_explorer(office, report.figures)
    with decide:
        if report.approval is not None:
            show(decisions(report.approval))
        signing_forms(office, report)
    with provenance:
        show(el("h2", "Made from"), provenance_part(report))
        show(el("h2", "Intake"), checks_table(report))
        show(el("h2", "Releases"), releases_part(report))
    with evidence:
        show(evidence_table(report.evidence))
        downloads(office, report)
    with plan:  # last, because what a sequential plan can show is simulated
        if report.plan is None:
            st.info("No plan yet: `placet gate` makes and logs one before anything runs.")
        else:
            show(plan_part(report.plan))
            notes_of(office, report.plan)
