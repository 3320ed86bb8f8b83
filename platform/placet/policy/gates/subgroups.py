"""Gate kind `subgroups`: what is asked of a suite holds for every part of it, not only on the whole.

PASS asks that every group is shown to hold, each at `alpha`: that all of several tests reject needs no correction
(Berger, Technometrics 24 (1982) 295-300). FAIL asks that one is shown not to, and one of many does so by luck more
often: Holm's procedure keeps the probability of any wrong FAIL at `alpha` (Holm, Scand. J. Statist. 6 (1979) 65-70).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self, TypeVar

from pydantic import Field, model_validator

from placet.domain.records import Interval, Outcome, PlannedSuite
from placet.domain.text import plural
from placet.policy.baseline import find_other, judge_against
from placet.policy.differences import outcome_of
from placet.policy.evidence import Evidence, Rows
from placet.policy.intervals import RestsOn, rests_on
from placet.policy.judgement import Judgement, error, figure, missing, percent, recorded_interval
from placet.policy.model import ComparisonGate, Count, Number, PlanningGuess, Setting, Text
from placet.policy.runs import judge_runs
from placet.stats.bounds import Bounds, NotEstimableError
from placet.stats.mean import difference_bounds, mean_bounds
from placet.stats.multiplicity import holm

T = TypeVar("T")

SMALL = "(small groups)"
"""The name of the group that groups below `min_documents` are put into."""

_TOLD = 4

_COUNTS = RestsOn(within=(0.0, 1.0), groups=None, largest=None, drawn=1.0)
"""What is known of values kept as counts: each is 0 or 1, of a document that stands for itself."""


class SubgroupsGate(ComparisonGate):
    """The margin, the floor or the ceiling holds in every group."""

    kind: Literal["subgroups"]
    by: Text = Field(description="the column of the suite's documents whose values make the groups")
    margin: Number | None = Field(
        default=None, ge=0.0, lt=1.0, description="tolerated loss in each group against `than`"
    )
    floor: Number | None = Field(default=None, description="least acceptable mean in each group")
    ceiling: Number | None = Field(default=None, description="greatest acceptable mean in each group")
    min_documents: Count = Field(
        default=1, description="groups with fewer planned documents are judged together, as one"
    )
    planning: PlanningGuess = Field(
        default=PlanningGuess(),
        description="what is expected in each group, for a `margin`; used only before running, never in the verdict",
    )

    @model_validator(mode="after")
    def _one_condition(self) -> Self:
        if sum(one is not None for one in (self.margin, self.floor, self.ceiling)) != 1:
            raise ValueError("needs exactly one of `margin`, `floor` and `ceiling`")
        if self.margin is None and "than" in self.model_fields_set:
            raise ValueError("`than` is for a `margin`; remove it, or ask for a margin")
        if "planning" in self.model_fields_set:
            self._require_planning()
        return self

    def _require_planning(self) -> None:
        guess = self.planning
        if self.margin is None:
            raise ValueError("`planning` is for a `margin`; remove it, or ask for a margin")
        if guess.difference <= -self.margin:
            raise ValueError(
                f"`planning` expects a difference of {guess.difference:g}, which margin {self.margin:g} does not allow"
            )
        if abs(guess.difference) > guess.discordance:
            raise ValueError(
                f"a difference of {guess.difference:g} in `planning` needs at least that discordance, not "
                f"{guess.discordance:g}"
            )


@dataclass(frozen=True, slots=True)
class _Group:
    """A group's values; `bounds` gives the bounds of its figure at an alpha, more being better."""

    name: str
    n: int
    figure: float
    baseline: float | None
    bounds: Callable[[float], Bounds]

    def outcome(self, alpha: float, limit: float) -> Outcome:
        try:
            return outcome_of(self.bounds(alpha).rounded_outward(), limit)
        except NotEstimableError:
            return Outcome.INCONCLUSIVE


def judge_subgroups_gate(gate: SubgroupsGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if every group is shown to hold, FAIL if Holm's procedure shows that one does not."""
    if gate.margin is None:
        return judge_runs(gate, evidence, lambda run, planned: _judge(gate, run, planned, None, ""))
    other = find_other(gate, evidence)
    if isinstance(other, Judgement):
        return other

    def against(run: Rows, planned: PlannedSuite) -> Judgement:
        return judge_against(
            other, run, evidence, lambda values, _: _judge(gate, run, planned, values, other.word)
        )

    return judge_runs(gate, evidence, against)


def _judge(
    gate: SubgroupsGate, run: Rows, planned: PlannedSuite, theirs: tuple[float, ...] | None, word: str
) -> Judgement:
    parts = (planned.groups or {}).get(gate.by)
    if parts is None:
        return missing(
            f"The plan does not say which documents of {gate.suite} have which {gate.by}.", "Plan again."
        )
    listed = [document for members in parts.values() for document in members]
    if sorted(listed) != sorted(planned.samples):
        return error(f"The plan's groups of {gate.suite} are not its documents.", "Plan again.")
    groups = _groups(gate, run, planned, pooled(parts, gate.min_documents), theirs)
    limit = _limit(gate, run.measurement.higher_is_better)
    outcome, failed, alone = _outcome(gate, groups, limit)
    worst = min(
        groups, key=lambda group: (group.name not in failed, _margin_of_safety(group, gate.alpha, limit))
    )
    open_ = [name for name, one in alone.items() if one is not Outcome.PASS]
    return _told(gate, run, groups, worst, outcome, failed, open_, limit, word)


def _told(
    gate: SubgroupsGate,
    run: Rows,
    groups: list[_Group],
    worst: _Group,
    outcome: Outcome,
    failed: list[str],
    open_: list[str],
    limit: float,
    word: str,
) -> Judgement:
    upward = run.measurement.higher_is_better
    # A floor or ceiling reads as written; only a difference was turned so that more is better.
    shown = limit if upward else -limit
    sign = ">" if gate.margin is not None else "≥" if gate.floor is not None else "≤"
    if gate.margin is not None and not upward:
        sign = "<"
    what = "difference" if gate.margin is not None else run.measurement.metric
    condition = f"{what} {sign} {figure(shown)} in every group of {gate.by}"
    try:
        bounds = worst.bounds(gate.alpha).rounded_outward()
        bounds = bounds if _as_written(gate, upward) else bounds.mirrored()
        interval, between = (
            recorded_interval(bounds),
            f"between {figure(bounds.low)} and {figure(bounds.high)}",
        )
    except NotEstimableError as problem:
        interval, between = None, f"not to be had: {problem.message}"
    names = failed if outcome is Outcome.FAIL else open_
    told = ", ".join(names[:_TOLD]) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "")
    said = f"In {plural(len(groups), 'group')} of {gate.suite} by {gate.by}: "
    said += {
        Outcome.PASS: f"each is shown to keep {condition}",
        Outcome.FAIL: f"shown not to keep it, by Holm's procedure: {told}",
    }.get(outcome, f"not shown to keep it: {told}")
    said += (
        f". The weakest is {worst.name} with {plural(worst.n, 'document')}, where the {what} is, with "
        f"{percent(gate.alpha)} confidence on either side, {between}."
    )
    return Judgement(
        outcome,
        said,
        "" if outcome is Outcome.PASS else f"Mend what the adapter does for {told}, or measure more of it.",
        figure=worst.figure,
        baseline=worst.baseline,
        interval=interval,
        threshold=shown + 0.0,
        comparison=condition,
        n=worst.n,
        compared_with=None if word in {"", "the base"} else word,
    )


def _as_written(gate: SubgroupsGate, upward: bool) -> bool:
    return upward if gate.margin is not None else gate.floor is not None


def _limit(gate: SubgroupsGate, upward: bool) -> float:
    """Return the limit in the direction in which more is better."""
    if gate.margin is not None:
        return -gate.margin
    if gate.floor is not None:
        # Bounds pass above the limit; a floor passes from the limit on, which one unit of the record's places gives.
        return gate.floor - 1e-7
    return -(gate.ceiling or 0.0) - 1e-7


def outcome_by_group(
    gate: SubgroupsGate, parts: Mapping[str, tuple[tuple[float, float], ...]], *, higher_is_better: bool
) -> Outcome:
    """Return the gate's outcome on documents that stand for themselves: by group, each its value and the other's.

    Without a `margin` the other's value is not looked at.
    """
    groups = []
    for name, pairs in pooled(parts, gate.min_documents).items():
        own = tuple(mine for mine, _ in pairs)
        beside = tuple(other for _, other in pairs) if gate.margin is not None else None
        groups.append(_group(gate, name, own, beside, higher_is_better, _COUNTS))
    return _outcome(gate, groups, _limit(gate, higher_is_better))[0]


def _outcome(
    gate: SubgroupsGate, groups: list[_Group], limit: float
) -> tuple[Outcome, list[str], dict[str, Outcome]]:
    """Return the outcome, the groups that were shown not to hold, and each group's outcome by itself."""
    alone = {group.name: group.outcome(gate.alpha, limit) for group in groups}
    shown = [partial(_fails, group, limit) for group in groups]
    failed = [group.name for group, one in zip(groups, holm(shown, gate.alpha), strict=True) if one]
    if failed:
        return Outcome.FAIL, failed, alone
    held = all(one is Outcome.PASS for one in alone.values())
    return Outcome.PASS if held else Outcome.INCONCLUSIVE, failed, alone


def _fails(group: _Group, limit: float, alpha: float) -> bool:
    return group.outcome(alpha, limit) is Outcome.FAIL


def pooled(parts: Mapping[str, tuple[T, ...]], least: int) -> dict[str, tuple[T, ...]]:
    """Return the groups as they are judged: those with fewer than `least` members together, as one."""
    large = {name: members for name, members in sorted(parts.items()) if len(members) >= least}
    small = tuple(document for members in parts.values() if len(members) < least for document in members)
    return {**large, SMALL: small} if small else large


def _groups(
    gate: SubgroupsGate,
    run: Rows,
    planned: PlannedSuite,
    parts: Mapping[str, tuple[int, ...]],
    theirs: tuple[float, ...] | None,
) -> list[_Group]:
    mine = run.by_document()
    other = dict(zip(run.measurement.samples, theirs, strict=True)) if theirs is not None else None
    upward = run.measurement.higher_is_better
    groups = []
    for name, members in parts.items():
        own = tuple(mine[document] for document in members)
        beside = tuple(other[document] for document in members) if other is not None else None

        groups.append(_group(gate, name, own, beside, upward, rests_on(planned, members)))
    return groups


def _group(
    gate: SubgroupsGate,
    name: str,
    own: tuple[float, ...],
    beside: tuple[float, ...] | None,
    upward: bool,
    on: RestsOn,
) -> _Group:
    def bounds(alpha: float) -> Bounds:
        made = _bounds(own, beside, alpha, gate, upward, on)
        return made if _as_written(gate, upward) else made.mirrored()

    baseline = None if beside is None else math.fsum(beside) / len(beside)
    return _Group(name, len(own), math.fsum(own) / len(own), baseline, bounds)


def _bounds(
    own: tuple[float, ...],
    beside: tuple[float, ...] | None,
    alpha: float,
    gate: SubgroupsGate,
    upward: bool,
    on: RestsOn,
) -> Bounds:
    if beside is None:
        return mean_bounds(own, alpha, **on)
    margin = gate.margin or 0.0
    return difference_bounds(own, beside, alpha, limit=-margin if upward else margin, **on)


def _margin_of_safety(group: _Group, alpha: float, limit: float) -> float:
    try:
        return group.bounds(alpha).low - limit
    except NotEstimableError:
        return -math.inf


@dataclass(frozen=True, slots=True)
class GroupResult:
    """One group by itself, as the gate looks at it before it decides about all of them together.

    `figure` and `baseline` are means; the interval and the limit are of the difference where there is a baseline.
    """

    name: str
    n: int
    figure: float
    baseline: float | None
    interval: Interval | None
    limit: float
    outcome: Outcome


def judge_each_group(
    gate: SubgroupsGate, run: Rows, planned: PlannedSuite, theirs: tuple[float, ...] | None
) -> tuple[GroupResult, ...]:
    """Return every group of a run by itself, at the gate's `alpha`; none where the plan does not tell the groups."""
    parts = (planned.groups or {}).get(gate.by)
    if parts is None:
        return ()
    upward = run.measurement.higher_is_better
    limit = _limit(gate, upward)
    found = []
    for group in _groups(gate, run, planned, pooled(parts, gate.min_documents), theirs):
        try:
            bounds = group.bounds(gate.alpha).rounded_outward()
            interval = recorded_interval(bounds if _as_written(gate, upward) else bounds.mirrored())
        except NotEstimableError:
            interval = None
        shown = (limit if upward else -limit) + 0.0
        outcome = group.outcome(gate.alpha, limit)
        found.append(GroupResult(group.name, group.n, group.figure, group.baseline, interval, shown, outcome))
    return tuple(found)
