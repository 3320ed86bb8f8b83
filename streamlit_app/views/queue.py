"""The queue: everything handed in, where it stands, what comes next."""

import streamlit as st

from placet.report.fragments import badge, worded
from placet.report.markup import Html, el
from placet.report.queue import QueueItem, load_queue
from placet.report.records import findings_part
from placet.report.text import moment
from streamlit_app.components.choice import PARAMETER
from streamlit_app.components.office import opened_office
from streamlit_app.components.page import begin, md, show

# How many items are shown at first, and how many more each time. (Streamlit would draw a docstring.)
PAGE = 25


def card(item: QueueItem) -> Html:
    """Return one submission as a row: where it stands, what it is, what comes next."""
    facts = [f"on {item.base}", "examined" if item.refused else f"by {item.submitter}", moment(item.at)]
    if item.under_way:
        facts.insert(0, item.under_way)
    if item.gates:
        facts.insert(0, f"{item.gates_passed} of {item.gates} gates")
    if item.approvals_needed and item.decision != "DENY":
        facts.insert(1, f"{item.approvals} of {item.approvals_needed} approvals")
    return el(
        "div",
        el("p", badge(item.status, str(item.state)), "  ", el("b", item.label), f" · {item.standing.detail}"),
        el(
            "p",
            " · ".join(facts),
            [" · next: ", worded(item.standing.next_step)] if item.standing.next_step else None,
            class_="muted small",
        ),
        el("details", el("summary", "What intake found"), findings_part(item.findings), class_="plain")
        if item.findings
        else None,
    )


begin()
with opened_office() as office, st.spinner("Verifying the ledger …"):
    queue = load_queue(office)

running = [
    el("div", el("b", item.label), f"runs on {item.channel} since {moment(item.released_at)}", class_="tile")
    for item in queue.running
]
counts = [el("div", el("b", count), str(state), class_="tile") for state, count in queue.counts.items()]
show(
    el("h1", queue.office),
    el("p", f"Ledger of {queue.head.size} records, every signature verified", class_="muted small"),
    el("div", running, counts, class_="tiles"),
)
left, right = st.columns([3, 2])
states = left.pills(
    "Where it stands",
    list(queue.counts),
    selection_mode="multi",
    format_func=lambda state: f"{state} ({queue.counts[state]})",
)
wanted = right.text_input("Search", placeholder="label, base or person").strip().lower()
shown = [
    item
    for item in queue.items
    if (not states or item.state in states)
    and wanted in f"{item.label} {item.base} {item.submitter} {item.adapter}".lower()
]
if not shown:
    st.info("Nothing here." if queue.items else "Nothing was handed in yet: `placet submit` does that.")
asked_for = (tuple(states), wanted)
if st.session_state.get("queue-asked") != asked_for:
    st.session_state["queue-asked"], st.session_state["queue-shown"] = asked_for, PAGE
limit = st.session_state["queue-shown"]
for item in shown[:limit]:
    with st.container(border=True):
        words, button = st.columns([5, 1], vertical_alignment="center")
        with words:
            show(card(item))
        if (
            item.adapter
            and not item.refused
            and button.button(f"Open {md(item.label)}", key=item.record, width="stretch")
        ):
            st.switch_page("views/adapter.py", query_params={PARAMETER: item.adapter})
if len(shown) > limit:
    st.caption(f"{limit} of {len(shown)} shown, what needs somebody first.")
    if st.button(f"Show {min(PAGE, len(shown) - limit)} more"):
        st.session_state["queue-shown"] = limit + PAGE
        st.rerun()
