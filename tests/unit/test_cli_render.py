"""How gates, verdicts and findings are shown, in the terminal and as JUnit; and what `ui` starts."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest
from rich.console import Console

from placet.cli import gate as gate_command
from placet.cli import junit, submit, ui
from placet.cli.render import figure, gate_figures, print_findings, print_table, print_verdict
from placet.domain.digests import digest_bytes
from placet.domain.errors import UndecidedError, UsageError
from placet.domain.records import (
    AdapterRef,
    BaseRef,
    Decision,
    Finding,
    GateResult,
    Interval,
    LedgerHead,
    Outcome,
    PolicyRef,
    ReviewRule,
    Severity,
    Verdict,
)
from placet.report.gap import plot_of
from placet.report.view import GateView

ID = digest_bytes(b"x")


def a_gate(outcome: Outcome = Outcome.PASS, **changes: Any) -> GateResult:
    fields: dict[str, Any] = {
        "gate": "job-floor",
        "kind": "floor",
        "outcome": outcome,
        "figure": 0.91,
        "baseline": 0.4,
        "interval": Interval(low=0.86, high=0.95, level=0.9, method="Clopper-Pearson"),
        "threshold": 0.8,
        "comparison": "≥ 0.8",
        "n": 1200,
        "reason": "The mean is at least 0.86.",
        "fix": "Train on <more> tickets & better ones.\x00",
    }
    return GateResult(**{**fields, **changes})


def a_verdict(decision: Decision, *gates: GateResult) -> Any:
    verdict = Verdict(
        adapter=AdapterRef(id=ID, weights_id=ID, label="desk-good"),
        base=BaseRef(id=ID, label="tiny"),
        policy=PolicyRef(id="default", version="1", digest=ID),
        plan=ID,
        decision=decision,
        gates=gates or (a_gate(),),
        evidence=(ID,),
        plans_on_weights=(ID,),
        review=ReviewRule(approvals=2, valid_days=30),
        head=LedgerHead(size=1, root="0" * 64),
        decided_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return SimpleNamespace(record=verdict, id=ID)


def shown(show: Any, *arguments: Any) -> str:
    out = io.StringIO()
    show(Console(file=out, width=200, color_system=None, markup=False), *arguments)
    return out.getvalue()


def cases_of(xml: str) -> list[Element]:
    return fromstring(xml).findall("testsuite/testcase")


def test_a_gate_line_has_figure_interval_base_condition_and_size() -> None:
    assert gate_figures(a_gate()) == "0.91  [0.86, 0.95] at 90%  base 0.4  needs ≥ 0.8  n=1,200"


def test_a_gate_without_figures_gives_its_reason() -> None:
    bare = a_gate(figure=None, baseline=None, interval=None, threshold=None, comparison="", n=0)

    assert gate_figures(bare) == "The mean is at least 0.86."


def test_a_passed_gate_is_one_line_and_another_says_why_and_what_to_change() -> None:
    failed = a_gate(Outcome.FAIL, gate="general", reason="It lost 9 points.", fix="Mix general rows in.")

    lines = shown(print_verdict, a_verdict(Decision.DENY, a_gate(), failed).record, ID).splitlines()

    assert lines[0] == "desk-good: DENY  under default 1"
    assert lines[1].split()[:2] == ["PASS", "job-floor"]
    assert lines[2].split()[:2] == ["FAIL", "general"]
    assert lines[3].strip() == "why: It lost 9 points."
    assert lines[4].strip() == "to pass: Mix general rows in."


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE])
def test_a_gate_that_did_not_pass_says_how_far_it_is_from_passing(outcome: Outcome) -> None:
    interval = Interval(low=-0.09, high=0.02, level=0.9, method="Tango score, exact")
    changes = {
        "interval": interval,
        "threshold": -0.05,
        "comparison": "difference > -0.05",
        "fix": "Mend it.",
    }
    far = a_gate(outcome, **changes)
    gap = "The lower end of the interval is −0.09 and has to be above −0.05: 0.04 is missing."

    lines = shown(print_verdict, a_verdict(Decision.DENY, far).record, ID).splitlines()

    assert lines[3].strip() == f"to pass: {gap} Mend it."
    assert gap in junit.gate_xml([a_verdict(Decision.DENY, far)])
    assert GateView(far, plot_of(far)).gap == gap, "the report and the app say the same"
    assert "missing" not in shown(print_verdict, a_verdict(Decision.ALLOW, a_gate(**changes)).record, ID)


def test_an_advisory_gate_is_marked() -> None:
    assert "(advisory)" in shown(print_verdict, a_verdict(Decision.ALLOW, a_gate(required=False)).record, ID)


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    assert "[bold]x[/bold]" in shown(print_table, ("name",), [("[bold]x[/bold]",)])


def test_a_finding_says_what_where_and_how_to_mend_it() -> None:
    finding = Finding(
        id="pickle-file", severity=Severity.REFUSE, message="a pickle", fix="Remove it.", where="a.bin"
    )

    text = shown(print_findings, [finding])

    assert "pickle-file: a pickle (a.bin)" in text
    assert "to mend it: Remove it." in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.5, "0.5"), (1.0, "1"), (-0.0312, "-0.0312"), (100.0, "100")]
)
def test_figures_have_no_idle_zeros(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("decisions", "code"),
    [
        ((Decision.ALLOW,), 0),
        ((Decision.ALLOW, Decision.ALLOW), 0),
        ((Decision.ALLOW, Decision.DENY), 1),
        ((Decision.NEEDS_REVIEW,), 1),
        ((Decision.NEEDS_REVIEW, Decision.DENY), 1),
        ((), 3),
    ],
)
def test_only_allow_ends_with_0(decisions: tuple[Decision, ...], code: int) -> None:
    assert gate_command.exit_code_of([a_verdict(decision) for decision in decisions]) == code


@pytest.mark.parametrize(
    ("outcome", "element"),
    [
        (Outcome.PASS, "system-out"),
        (Outcome.FAIL, "failure"),
        (Outcome.MISSING, "failure"),
        (Outcome.INCONCLUSIVE, "failure"),
        (Outcome.ERROR, "error"),
    ],
)
def test_in_junit_only_a_passed_gate_is_a_passed_case(outcome: Outcome, element: str) -> None:
    (case,) = cases_of(junit.gate_xml([a_verdict(Decision.DENY, a_gate(outcome))]))

    assert [child.tag for child in case] == [element]
    assert case.get("name") == "job-floor"


def test_in_junit_an_advisory_gate_that_fails_is_no_failure() -> None:
    (case,) = cases_of(junit.gate_xml([a_verdict(Decision.ALLOW, a_gate(Outcome.FAIL, required=False))]))

    assert case.find("failure") is None
    assert "FAIL" in (case.findtext("system-out") or "")


def test_junit_counts_and_names_what_was_judged() -> None:
    gates = (a_gate(), a_gate(Outcome.FAIL, gate="b"), a_gate(Outcome.ERROR, gate="c"))

    suite = fromstring(junit.gate_xml([a_verdict(Decision.DENY, *gates)])).find("testsuite")

    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        "desk-good", "3", "1", "1",
    )  # fmt: skip
    assert ("decision", "DENY") in [(item.get("name"), item.get("value")) for item in suite.iter("property")]


def test_junit_holds_no_character_that_xml_cannot() -> None:
    (case,) = cases_of(junit.gate_xml([a_verdict(Decision.DENY, a_gate(Outcome.FAIL))]))

    assert "Train on <more> tickets & better ones.\N{REPLACEMENT CHARACTER}" in (
        case.findtext("failure") or ""
    )


def test_a_run_without_verdicts_is_an_errored_case_for_each_adapter() -> None:
    cases = cases_of(junit.gate_xml((), ["a", "b"], UndecidedError("no model", hint="try again")))

    assert [case.get("classname") for case in cases] == ["a", "b"]
    assert all(case.find("error") is not None for case in cases)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("./adapters/desk-good", "desk-good"),
        ("adapters/desk-good/", "desk-good"),
        ("hf:acme/desk-good@0f3c", "desk-good"),
        ("file:models/desk.zip#sha256=00", "desk.zip"),
        ("pypi:pack==1.0!inner/desk#sha256=00", "desk"),
    ],
)
def test_an_adapter_without_a_label_is_called_as_its_source(source: str, name: str) -> None:
    assert submit._name_of(source) == name


def test_a_source_without_a_name_needs_a_label() -> None:
    with pytest.raises(UsageError, match="no name"):
        submit._name_of("/")


def test_the_app_is_served_to_this_machine_alone_and_reports_nothing() -> None:
    command = ui.streamlit_command(Path("app.py"), 8600)

    assert "--server.address=127.0.0.1" in command
    assert "--server.port=8600" in command
    assert "--server.headless=true" in command
    assert "--browser.gatherUsageStats=false" in command
