"""Gate kind `documentation`: the adapter's model card says what the policy asks it to say."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from placet.domain.records import Outcome
from placet.domain.text import plural
from placet.policy.evidence import Evidence
from placet.policy.judgement import Judgement, missing
from placet.policy.model import Gate, Setting, Text

_WRITE = "Write it in README.md beside the weights (fields in its YAML head, sections under headings) and submit again."


class DocumentationGate(Gate):
    """README.md has every field and every section asked for, none of them empty."""

    kind: Literal["documentation"]
    fields: tuple[Text, ...] = Field(
        default=(), description="fields of the card's YAML head, such as `license`"
    )
    sections: tuple[Text, ...] = Field(
        default=(), description="headings under which something must be written"
    )

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not self.fields and not self.sections:
            raise ValueError("asks for nothing; name `fields` or `sections`")
        return self


def judge_documentation_gate(gate: DocumentationGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if the card has all of it, FAIL if it lacks some, MISSING if there is none that can be read."""
    card = evidence.card
    if card is None:
        return missing("The adapter has no model card.", _WRITE)
    if card.problem:
        return missing(f"The model card cannot be read: {card.problem}.", _WRITE).citing(card.record)
    asked = len(gate.fields) + len(gate.sections)
    lacking = [f"field {name}" for name in gate.fields if name not in card.fields]
    lacking += [f"section {name}" for name in gate.sections if name.lower() not in card.sections]
    return Judgement(
        Outcome.FAIL if lacking else Outcome.PASS,
        f"The model card lacks {', '.join(lacking)}."
        if lacking
        else f"The model card has all {plural(asked, 'part')}.",
        _WRITE if lacking else "",
        figure=float(len(lacking)),
        threshold=0.0,
        comparison="parts lacking = 0",
        n=asked,
        evidence=(card.record,),
    )
