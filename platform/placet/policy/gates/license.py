"""Gate kind `license`: base and training data come under licences that the policy allows.

Licences are SPDX expressions: of ``A OR B`` one has to be allowed, of ``A AND B`` both, and an exception
(``A WITH E``) only where it is listed as written.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from license_expression import ExpressionError, Licensing, get_spdx_licensing
from pydantic import AfterValidator, Field, StrictBool

from placet.domain.records import Outcome
from placet.domain.text import plural
from placet.policy.ancestry import all_statements
from placet.policy.evidence import Evidence
from placet.policy.judgement import Judgement, missing
from placet.policy.model import Gate, Setting, Text

_OWN = "LicenseRef-"


def _known(expressions: tuple[str, ...]) -> tuple[str, ...]:
    for text in expressions:
        if unknown := _unknown(text):
            raise ValueError(
                f"{unknown} is no SPDX licence; write its identifier (Apache-2.0, CC-BY-4.0) or {_OWN}name for one of "
                "your own"
            )
        if _operator(_parsed(text)):
            raise ValueError(f"{text} is several licences; list each by itself")
    return expressions


class LicenseGate(Gate):
    """The licence of the base, and of each data set that training names, is allowed."""

    kind: Literal["license"]
    allow: Annotated[tuple[Text, ...], AfterValidator(_known)] = Field(
        min_length=1, description="SPDX identifiers that are allowed, each by itself"
    )
    datasets: StrictBool = Field(
        default=True, description="false: only the base's licence is asked for, not that of training data"
    )


def judge_license_gate(gate: LicenseGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if every licence is stated and allowed, FAIL if one is not allowed, MISSING if one is not known."""
    if evidence.base_record is None:
        return missing("The base is not in the register.", "Register it with its licence: `placet base add`.")
    things = [
        (f"base {evidence.base.label}", evidence.base_record.base.license, "`placet base add --license`")
    ]
    cited = [evidence.base_record.record]
    if gate.datasets:
        statements = all_statements(evidence)
        if isinstance(statements, Judgement):
            return statements.citing(*cited)
        cited += [item.record for item in statements]
        for statement in statements:
            if not statement.datasets:
                return missing(
                    "A training statement names no data.", "Have the trainer name the data, with its licence."
                ).citing(*cited)
            things += [
                (f"data {item.name}", item.license, "the annotation `license` of the training statement")
                for item in statement.datasets
            ]
    return _judge(gate, things).citing(*cited)


def _judge(gate: LicenseGate, things: list[tuple[str, str | None, str]]) -> Judgement:
    refused, unstated, where = [], [], ""
    for name, stated, place in dict.fromkeys(things):
        if not stated or _unknown(stated):
            unstated.append(f"{name} ({stated})" if stated else name)
            where = place
        elif not _allowed(_parsed(stated), frozenset(gate.allow)):
            refused.append(f"{name} ({stated})")
    draft = Judgement(
        Outcome.PASS,
        f"{plural(len(set(things)), 'licence')} of base and data are allowed.",
        comparison="every licence is one of " + ", ".join(gate.allow),
        n=len(set(things)),
    )
    if refused:
        return Judgement(
            Outcome.FAIL,
            f"Not under a licence that the policy allows: {', '.join(refused)}.",
            "Train on data, and on a base, whose licence is allowed.",
            comparison=draft.comparison,
            n=draft.n,
        )
    if unstated:
        return missing(f"No SPDX licence is stated of {', '.join(unstated)}.", f"State it: {where}.")
    return draft


@cache
def _licensing() -> Licensing:
    return get_spdx_licensing()


@cache
def _parsed(text: str) -> Any:
    return _licensing().parse(text)


@cache
def _unknown(text: str) -> str:
    """Return what in `text` is no licence; empty if all of it is."""
    try:
        keys = _licensing().unknown_license_keys(text)
    except (ExpressionError, ValueError, TypeError):
        return text
    return next((key for key in keys if not key.startswith(_OWN)), "")


def _operator(expression: Any) -> str:
    """Return ``AND``, ``OR``, or nothing for a single licence (with its exception, if it has one)."""
    return str(getattr(expression, "operator", None) or "").strip()


def _allowed(expression: Any, allowed: frozenset[str]) -> bool:
    """Return whether an expression can be kept with the licences of `allowed` alone."""
    operator = _operator(expression)
    if operator == "OR":
        return any(_allowed(part, allowed) for part in expression.args)
    if operator == "AND":
        return all(_allowed(part, allowed) for part in expression.args)
    spelled = str(expression)
    return spelled in {str(_parsed(one)) for one in allowed}
