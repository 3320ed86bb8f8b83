"""What every gate of a policy has in common, and the strict types its fields are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    model_validator,
)

from placet.domain.digests import decimal_string
from placet.stats.bounds import RECORDED_PLACES

if TYPE_CHECKING:
    from placet.policy.evidence import Evidence
    from placet.policy.judgement import Judgement


MOST = 1_000_000_000
"""Farthest from 0 that a number of a policy may be."""

_PLAIN = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a number")
    # As text numbers stand in records; there, too, they are plain.
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        raise ValueError("must be a number, written plainly like 12 or 0.05")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    exact = Decimal(str(value)) if isinstance(value, str | float) else Decimal(value)
    if abs(exact) > MOST:
        raise ValueError(f"is farther from 0 than {MOST:,}, which no policy needs; write a smaller number")
    if exact != round(exact, RECORDED_PLACES):
        raise ValueError(f"has more than {RECORDED_PLACES} decimal places, which a record cannot keep")
    return float(exact)


def _text(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("must be text: put it in quotes")
    return value.strip() if isinstance(value, str) else value


Number = Annotated[float, BeforeValidator(_number), PlainSerializer(decimal_string, return_type=str)]
"""A number of a policy: at most 6 decimal places, so that what is judged is what is on record, and no larger than
1,000,000,000."""

Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
"""Text that says something."""

Slug = Annotated[
    str, BeforeValidator(_text), Field(pattern=r"^[a-z0-9][a-z0-9-]*$", min_length=1, max_length=64)
]
"""A name of lower-case letters, digits and hyphens."""

Count = Annotated[int, Field(strict=True, ge=1, le=MOST)]
"""A whole number from 1 to 1,000,000,000."""

Days = Annotated[int, Field(strict=True, ge=1, le=36_500)]
"""A number of days, at most a hundred years: beyond some thousands of years there is no date to reckon with."""


class Document(BaseModel):
    """Base of everything written in a policy: frozen, and no field that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Gate(Document):
    """A condition that an adapter has to meet."""

    id: Slug = Field(description="the gate's name, unique in the policy; waivers and reports use it")
    kind: str
    why: Text = Field(description="why the policy has this gate; shown with every outcome")
    required: StrictBool = Field(
        default=True, description="false: judged and shown, but the decision does not depend on it"
    )
    waivable: StrictBool = Field(
        default=False, description="true: an INCONCLUSIVE outcome can be waived; a FAIL never can"
    )
    waivers: Count | None = Field(
        default=None,
        description="how many people must sign a waiver; left out: the review rule's waivers_needed",
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """What a gate is judged in, beside the evidence.

    Attributes:
        at: The moment of the decision.
        gates: The policy's gates, by id.
        judge: Judges another gate of the policy on other evidence.
    """

    at: datetime
    gates: Mapping[str, Gate]
    judge: Callable[[Gate, Evidence], Judgement]


class SuiteGate(Gate):
    """A gate that rests on a measured suite."""

    suite: Slug = Field(description="the suite measured, one of the policy's `suites`")
    metric: Text | None = Field(
        default=None, description="which metric of the suite; needed if it reports more than one"
    )


class JudgeError(Document):
    """How a scorer did on answers that people labelled: what it found of what was there, and left of what was not."""

    true_positives: Annotated[int, Field(strict=True, ge=0, le=MOST)] = Field(
        description="of `positives`, found"
    )
    positives: Count = Field(description="answers that people called 1")
    true_negatives: Annotated[int, Field(strict=True, ge=0, le=MOST)] = Field(
        description="of `negatives`, left alone"
    )
    negatives: Count = Field(description="answers that people called 0")

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.true_positives > self.positives or self.true_negatives > self.negatives:
            raise ValueError("found more than there was; check the counts")
        if self.true_positives * self.negatives <= self.positives * (self.negatives - self.true_negatives):
            raise ValueError("such a scorer says no more than chance does; use another")
        return self


class StatisticalGate(SuiteGate):
    """A gate that rests on a sample and so has an error rate."""

    judge_error: JudgeError | None = Field(
        default=None,
        description="the scorer's measured error, where it has one: the interval is corrected and widened by it",
    )

    alpha: Number = Field(
        default=0.05, gt=0.0, lt=0.5, description="the probability of a wrong PASS, and of a wrong FAIL"
    )


Than = Annotated[
    str,
    BeforeValidator(_text),
    Field(pattern=r"^(base|channel:[A-Za-z0-9][A-Za-z0-9-]*|adapter:\S(.*\S)?)$", max_length=120),
]
"""What an adapter is compared with: ``base``, ``channel:NAME`` or ``adapter:LABEL or id``."""


class PlanningGuess(Document):
    """What the policy's author expects, used only to say beforehand whether a sample can be large enough."""

    discordance: Number = Field(
        default=0.1, gt=0.0, le=1.0, description="share of documents that adapter and base answer differently"
    )
    difference: Number = Field(
        default=0.0, ge=-1.0, le=1.0, description="expected difference, adapter minus base"
    )
    power: Number = Field(
        default=0.8, gt=0.0, lt=1.0, description="probability with which a good adapter should pass"
    )


class OtherGate(SuiteGate):
    """A gate that sets the adapter against something else, measured on the same documents."""

    than: Than = Field(
        default="base",
        description="what the adapter is compared with: `base`, `channel:NAME` (what that channel runs now) or "
        "`adapter:LABEL` (or the start of an id)",
    )
    without_release: Literal["refuse", "base"] = Field(
        default="refuse",
        description="where the channel runs nothing on this base: `refuse` (MISSING), or compare with the `base`",
    )


class ComparisonGate(OtherGate, StatisticalGate):
    """A gate on the paired difference to something else."""
