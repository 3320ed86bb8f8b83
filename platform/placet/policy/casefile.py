"""What a policy case may say: evidence in a few words, and the verdict that must come of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator

from placet.policy.model import Days, Document, Number, Slug, Text

MOST = 1_000_000
"""Most documents of a kind that a case may have: they are all made."""

Cell = Annotated[int, Field(strict=True, ge=0, le=MOST)]
Size = Annotated[int, Field(strict=True, ge=1, le=MOST)]


class GroupCase(Document):
    """A paired table of one group of documents."""

    both: Cell = 0
    gained: Cell = 0
    lost: Cell = 0
    neither: Cell = 0

    @property
    def n(self) -> int:
        """Documents in the group."""
        return self.both + self.gained + self.lost + self.neither


class SuiteCase(Document):
    """What a suite shows. One of four forms: a paired table, one for each group, a share, or the values themselves."""

    state: Literal[
        "measured",
        "unplanned",
        "missing",
        "partial",
        "error",
        "base-missing",
        "base-other-engine",
        "base-other-rows",
    ] = "measured"
    metric: Text = "acc"
    higher_is_better: StrictBool = True
    both: Cell | None = None
    gained: Cell = 0
    lost: Cell = 0
    neither: Cell = 0
    ones: Cell | None = None
    of: Size | None = None
    values: tuple[Number, ...] | None = None
    base_values: tuple[Number, ...] | None = None
    range: tuple[Number, Number] | None = Field(
        default=None,
        description="what values the suite says its metric can have; left out: 0 to 1, except for `values`",
    )
    groups: dict[Text, GroupCase] | None = Field(
        default=None, description="a paired table for each group, where a gate judges groups"
    )
    cluster_size: Size = Field(
        default=2, description="how many documents belong together, where the policy names a `cluster`"
    )
    pinned_lost: Cell = Field(default=0, description="how many of the documents the policy names were lost")
    seen: Cell = Field(default=0, description="how many documents stood in the training data, the first ones")
    compared: StrictBool = Field(
        default=True, description="false: the training data was not compared with the suite"
    )
    reference: Literal["base", "adapter", "perfect", "missing"] = Field(
        default="base",
        description="what another adapter answers: as the base, as this one, all right; or not measured",
    )

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if sum(form is not None for form in (self.both, self.ones, self.values, self.groups)) != 1:
            raise ValueError(
                "needs exactly one of: both/gained/lost/neither; groups; ones/of; values/base_values"
            )
        if self.ones is not None and (self.of is None or self.ones > self.of):
            raise ValueError("`ones` needs `of`, and cannot be more")
        if self.values is not None and (
            self.base_values is None or len(self.base_values) != len(self.values)
        ):
            raise ValueError("`values` needs as many `base_values`")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("`range` names the least value first, and the greatest is above it")
        if not self.subject_values():
            raise ValueError("has no document")
        return self

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The range that the suite declares."""
        return (0.0, 1.0) if self.range is None and self.values is None else self.range

    def subject_values(self) -> tuple[float, ...]:
        """Return the adapter's values, one for each document."""
        if self.groups is not None:
            return tuple(
                value
                for one in self.groups.values()
                for value in (1.0,) * (one.both + one.gained) + (0.0,) * (one.lost + one.neither)
            )
        if self.both is not None:
            return (1.0,) * (self.both + self.gained) + (0.0,) * (self.lost + self.neither)
        if self.ones is not None and self.of is not None:
            return (1.0,) * self.ones + (0.0,) * (self.of - self.ones)
        return self.values or ()

    def baseline_values(self) -> tuple[float, ...]:
        """Return the base's values on the same documents; a share says nothing of the base, so all 0."""
        if self.groups is not None:
            return tuple(
                value
                for one in self.groups.values()
                for value in (1.0,) * one.both
                + (0.0,) * one.gained
                + (1.0,) * one.lost
                + (0.0,) * one.neither
            )
        if self.both is not None:
            return (1.0,) * self.both + (0.0,) * self.gained + (1.0,) * self.lost + (0.0,) * self.neither
        if self.ones is not None and self.of is not None:
            return (0.0,) * self.of
        return self.base_values or ()


class EvidenceCase(Document):
    """Evidence in a few words."""

    intake: Literal["clean", "warned", "refused", "errored", "missing"] = "clean"
    provenance: Literal["signed", "continued", "unsigned", "missing", "other-base", "parent-missing"] = (
        "signed"
    )
    suites: dict[Slug, SuiteCase]
    earlier: dict[Slug, SuiteCase] = Field(
        default_factory=dict, description="suites of an earlier plan under this policy on the same weights"
    )
    license: Text = Field(default="Apache-2.0", description="the base's, or `unstated`")
    data_license: Text = Field(default="CC-BY-4.0", description="that of the training data, or `unstated`")
    data: Literal["named", "unnamed"] = Field(default="named", description="whether training names its data")
    base_status: Literal[
        "supported", "ending", "end-of-life", "advisory", "stale", "missing", "unregistered"
    ] = "supported"
    card: Literal["complete", "missing", "unreadable"] | tuple[Text, ...] = Field(
        default="complete", description="or the fields and sections that the card lacks"
    )
    age_days: Days | Literal[0] = Field(default=1, description="how long ago everything was measured")
    release: Literal["running", "none", "changed"] = Field(
        default="running",
        description="what the policy's channels and named adapters are: there, not there, not as planned",
    )


class Expectation(Document):
    """The decision, and the outcome of every gate that does not pass."""

    decision: Literal["ALLOW", "DENY", "NEEDS_REVIEW", "undecided"]
    gates: dict[Slug, Literal["FAIL", "MISSING", "INCONCLUSIVE", "ERROR"]] = Field(
        default_factory=dict,
        description="gates that do not pass, with their outcome; where it is undecided, those that are an ERROR",
    )
    why: Text | None = Field(
        default=None, description="words that must stand in what is said of a gate that does not pass"
    )


class PolicyCase(Document):
    """One test of a policy."""

    title: Text
    evidence: EvidenceCase
    expect: Expectation
