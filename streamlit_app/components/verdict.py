"""What of a verdict and its plan is worked out from blobs or by simulation: kept, because neither ever changes."""

from __future__ import annotations

import streamlit as st

from placet.domain.digests import Digest
from placet.domain.errors import Error
from placet.office import Office
from placet.policy.notes import SampleNote
from placet.report.fragments import groups_part, notes_part
from placet.report.groups import GroupTable, load_groups
from placet.report.markup import el
from placet.report.plans import PlanView, load_sample_notes
from placet.report.view import VerdictView
from streamlit_app.components.page import drawn_as, show, show_error


@st.cache_data(show_spinner="Reading groups …", max_entries=64)
def _groups(home: str, verdict: Digest, _office: Office) -> tuple[GroupTable, ...]:
    return load_groups(_office, verdict)


@st.cache_data(show_spinner="Working out what this plan can show …", max_entries=64)
def _notes(home: str, plan: Digest, _office: Office) -> tuple[SampleNote, ...]:
    return load_sample_notes(_office, plan)


def groups_of(office: Office, verdict: VerdictView) -> None:
    """Draw the groups of each subgroups gate of a verdict."""
    if all(gate.result.kind != "subgroups" for gate in verdict.gates):
        return
    try:
        tables = _groups(str(office.home), verdict.record, office)
    except Error as error:  # the rest of the page does not rest on the groups
        show_error(error)
        return
    show(groups_part(tables, drawn_as("plot")))


def notes_of(office: Office, plan: PlanView) -> None:
    """Draw what each statistical gate can show on a plan's samples."""
    show(el("h2", "What its samples can show"))
    try:
        notes = _notes(str(office.home), plan.record, office)
    except Error as error:
        show_error(error)
        return
    show(notes_part(notes) if notes else el("p", "No gate rests on a sample.", class_="muted"))
