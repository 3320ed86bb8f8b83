"""Verdicts as JUnit XML, the form that CI systems show: a suite for each adapter, a case for each gate.

Only a passed gate, or an advisory one, is a passed case. An inconclusive gate is a failure and not a skipped
case, because CI counts a skipped case as fine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from placet.cli.render import gate_figures
from placet.report.gap import to_pass

if TYPE_CHECKING:
    from placet.attest.trust import Verified
    from placet.domain.errors import Error
    from placet.domain.records import GateResult, Verdict

_NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_xml(
    verdicts: Sequence[Verified[Verdict]], unjudged: Sequence[str] = (), error: Error | None = None
) -> str:
    """Return the JUnit document of `verdicts`, and of the labels that could not be judged because of `error`."""
    root = Element("testsuites", name="placet gate")
    for verified in verdicts:
        verdict = verified.record
        suite = SubElement(root, "testsuite", name=verdict.adapter.label)
        properties = SubElement(suite, "properties")
        for name, value in (
            ("decision", verdict.decision.value),
            ("adapter", verdict.adapter.id),
            ("base", verdict.base.id),
            ("policy", f"{verdict.policy.id} {verdict.policy.version} {verdict.policy.digest}"),
            ("verdict", verified.id),
        ):
            SubElement(properties, "property", name=name, value=value)
        for gate in verdict.gates:
            _case(suite, gate, f"{verdict.policy.id}.{verdict.adapter.label}")
        _count(suite)
    if error is not None:
        for label in unjudged:
            suite = SubElement(root, "testsuite", name=label)
            case = SubElement(suite, "testcase", name="verdict", classname=label)
            told = SubElement(case, "error", type=type(error).__name__, message=_clean(error.message))
            told.text = _clean(error.hint)
            _count(suite)
    return _text(root)


def _case(suite: Element, gate: GateResult, classname: str) -> None:
    case = SubElement(suite, "testcase", name=gate.gate, classname=classname)
    outcome = gate.outcome.value
    change = to_pass(gate) if outcome != "PASS" else ""
    words = _clean("\n".join(text for text in (gate.reason, gate_figures(gate), change) if text))
    if outcome == "PASS" or not gate.required:
        SubElement(case, "system-out").text = f"{outcome}\n{words}"
    else:
        tag = "error" if outcome == "ERROR" else "failure"
        SubElement(case, tag, type=outcome, message=_clean(gate.reason)).text = words


def _count(suite: Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))


def _clean(text: str) -> str:
    """Return `text` without the characters that XML 1.0 cannot hold."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _text(root: Element) -> str:
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"
