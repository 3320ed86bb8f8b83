"""The forms that sign: a decision about a verdict, a waiver for an inconclusive gate.

The passphrase is taken out of the session before the key is opened and kept nowhere; comment and choice stay when
signing fails. What is signed is the verdict that was on the page: if another one stands by now, nothing is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from placet.attest.keys import Signer
from placet.domain.digests import Digest
from placet.domain.errors import Error, KeyAccessError
from placet.domain.records import Decision, ReviewDecision
from placet.office import Office, default_home
from placet.report.keys import ApproverKey, check_service_key, load_approver_keys
from placet.report.markup import el
from placet.report.text import plural
from placet.report.view import AdapterReport, VerdictView
from placet.review.approval import barred_reason
from placet.review.desk import review, waive
from streamlit_app.components.page import md, plain_option, show, show_error

_OUTCOME = "signing-outcome"
_WORDS = {ReviewDecision.APPROVE: "Approve", ReviewDecision.REJECT: "Reject"}


def signing_forms(office: Office, report: AdapterReport) -> None:
    """Draw the forms for a decision and, where a gate can be waived, a waiver; or say why there are none."""
    show(el("h2", "Your decision"))
    _outcome()
    verdict = report.verdict
    if verdict is None:
        st.info("There is no verdict to decide about yet.")
        return
    try:
        check_service_key(office)
    except KeyAccessError as error:
        show_error(error)
        return
    keys = load_approver_keys(office)
    if not keys:
        st.warning("No approver's key lies in this office. `placet trust add --new` makes one.")
        return
    _decision_form(report, verdict, keys)
    gates = [gate.result.gate for gate in verdict.gates if gate.may_be_waived]
    if gates and report.approval is not None:
        _waiver_form(report, verdict, keys, gates, report.approval.rule.valid_days)


def _decision_form(report: AdapterReport, verdict: VerdictView, keys: Sequence[ApproverKey]) -> None:
    show(
        el(
            "p",
            f"You sign about the verdict {verdict.decision}, record ",
            el("span", verdict.record, class_="id"),
            f", made of {plural(len(report.evidence), 'record')}, with the ledger at {report.head.size} records.",
            class_="small",
        )
    )
    choices = list(ReviewDecision)
    if verdict.decision is Decision.DENY:
        choices = [ReviewDecision.REJECT]
        st.info("A denied adapter cannot be approved. You can put a rejection on record.")
    with st.form("decision", enter_to_submit=False):
        left, right = st.columns([2, 3])
        left.selectbox("Your key", keys, format_func=_key_words(report), key="decision-key")
        left.radio(
            "Decision", choices, format_func=_WORDS.__getitem__, key="decision-choice", horizontal=True
        )
        _reasons(right, "decision")
        st.form_submit_button(
            "Sign and record",
            type="primary",
            on_click=_sign_decision,
            args=(report.adapter.id, verdict.record),
        )


def _waiver_form(
    report: AdapterReport,
    verdict: VerdictView,
    keys: Sequence[ApproverKey],
    gates: Sequence[str],
    longest_days: int,
) -> None:
    about = (
        "A waiver says that you accept what this gate could not show, for this adapter alone and for a term. "
        "It does not approve the adapter: that is a decision of its own."
    )
    show(el("h2", "Waive an inconclusive gate"), el("p", about, class_="small"))
    with st.form("waiver", enter_to_submit=False):
        left, right = st.columns([2, 3])
        left.selectbox("Gate", gates, format_func=plain_option, key="waiver-gate")
        left.selectbox("Your key", keys, format_func=_key_words(report), key="waiver-key")
        left.number_input("Valid for days", 1, longest_days, longest_days, key="waiver-days")
        _reasons(right, "waiver")
        st.form_submit_button("Sign waiver", on_click=_sign_waiver, args=(report.adapter.id, verdict.record))


def _key_words(report: AdapterReport) -> Callable[[ApproverKey], str]:
    barred = dict(report.approval.barred) if report.approval else {}

    def words(key: ApproverKey) -> str:
        reason = barred_reason(barred, key.person)
        note = f" ({reason}, may not decide)" if reason else ""
        return plain_option(
            f"{key.file}: {key.person}{note}" if key.file != key.person else f"{key.person}{note}"
        )

    return words


def _reasons(where: DeltaGenerator, form: str) -> None:
    where.text_area("Your reasons (they go on record)", key=f"{form}-comment", height=120)
    where.text_input("Passphrase of your key", type="password", key=f"{form}-passphrase", autocomplete="off")


def _sign_decision(adapter: Digest, seen: Digest) -> None:
    choice = st.session_state["decision-choice"]

    def sign(office: Office, signer: Signer, comment: str) -> str:
        made = review(office, adapter, choice, comment, signer, seen_verdict=seen)
        return f"{made.person}: {choice}. It is record {made.index} of the ledger."

    _attempt("decision", sign)


def _sign_waiver(adapter: Digest, seen: Digest) -> None:
    gate, days = st.session_state["waiver-gate"], int(st.session_state["waiver-days"])

    def sign(office: Office, signer: Signer, comment: str) -> str:
        made = waive(office, adapter, gate, comment, days, signer, seen_verdict=seen)
        return f"{made.person} waived {gate}. It is record {made.index} of the ledger."

    _attempt("waiver", sign)


def _attempt(form: str, sign: Callable[[Office, Signer, str], str]) -> None:
    """Open the person's key, sign, and keep what became of it for the page that follows."""
    state = st.session_state
    passphrase = state.pop(f"{form}-passphrase", "")
    state[f"{form}-passphrase"] = ""
    key: ApproverKey = state[f"{form}-key"]
    try:
        office = Office.open(default_home())
        signer = office.keys.open(key.file, passphrase)
        state[_OUTCOME] = sign(office, signer, state[f"{form}-comment"])
        state[f"{form}-comment"] = ""
    except Error as error:
        state[_OUTCOME] = error


def _outcome() -> None:
    """Draw once what became of the last attempt to sign."""
    outcome: str | Error | None = st.session_state.pop(_OUTCOME, None)
    if isinstance(outcome, Error):
        show_error(outcome)
    elif outcome:
        st.success(f"Signed and recorded. {md(outcome)}")
