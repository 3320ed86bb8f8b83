"""What a verdict must account for, held against the records that it rests on. Pure.

Guarantees: a verdict that leaves out a plan or a run on its weights, that rests on runs of other weights, on runs that
were not made as planned or on none, whose plan's documents were chosen and not drawn, or that says another figure than
its runs, is objected to, by the id of what an audit finds. What a plan lets happen honestly is not: a run that stopped
early, one that another plan asked for, the base's.

Asked in three places: by the release desk before anybody signs, by the audit of every verdict and release on record,
and by the offline verifier, of what its bundle holds. No gate is judged again here: that takes the policy and each
sample's result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from placet.attest.draw import chosen_suites
from placet.attest.predicates import Kind
from placet.domain.digests import Digest, short
from placet.domain.records import (
    Decision,
    GateResult,
    Intake,
    Measurement,
    Outcome,
    Plan,
    PlannedSuite,
    Record,
    Stage,
    Verdict,
)
from placet.domain.text import plural
from placet.ledger.moments import TOLERANCE

R_co = TypeVar("R_co", bound=Record, covariant=True)

# A figure and the mean that it was made of are each on record to 6 decimal places.
_ROUNDING = 2e-6

_LIMITS = frozenset({"floor", "ceiling"})
_DIFFERENCES = frozenset({"better", "not_worse"})
"""Kinds of gates whose figure is the mean of the adapter's run; of the latter the baseline is that of another's."""

_KIND_OF = {Stage.EVALUATION: Kind.EVALUATION, Stage.SAFETY: Kind.SAFETY}


class Logged(Protocol[R_co]):
    """A verified record at its place in the log."""

    @property
    def index(self) -> int:
        """Its index."""

    @property
    def id(self) -> Digest:
        """Its record id."""

    @property
    def kind(self) -> Kind:
        """Its kind."""

    @property
    def record(self) -> R_co:
        """What it says."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a verdict does not hold: the id of the audit's finding, and what is to be said of the verdict."""

    id: str
    message: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the log, or as much of it as is known, holds about what a verdict is about.

    Attributes:
        plans: Plans that have the verdict's weights measured.
        runs: Measurements of these weights.
        intakes: What intake saw in the adapter's files.
        rests_on: What the verdict names, and the plans of the runs it names, by record id.
    """

    plans: Sequence[Logged[Plan]]
    runs: Sequence[Logged[Measurement]]
    intakes: Sequence[Logged[Intake]]
    rests_on: Mapping[Digest, Logged[Any]]


def look_around(
    verdict: Logged[Verdict],
    find: Callable[[Digest, Kind, type[Any]], Sequence[Logged[Any]]],
    get: Callable[[Iterable[Digest]], Mapping[Digest, Logged[Any]]],
) -> Surroundings:
    """Return what a log holds about what a verdict is about.

    Args:
        verdict: The verdict.
        find: Returns the verified records of a kind about a digest.
        get: Returns those of some record ids that are there, verified.
    """
    record = verdict.record
    weights = record.adapter.weights_id
    runs = [
        *find(weights, Kind.EVALUATION, Measurement),
        *find(weights, Kind.SAFETY, Measurement),
    ]
    rests_on = dict(get({record.plan, *record.evidence, *record.plans_on_weights}))
    asked_by = {item.record.plan for item in rests_on.values() if isinstance(item.record, Measurement)}
    return Surroundings(
        plans=find(weights, Kind.PLAN, Plan),
        runs=[item for item in runs if item.record.subject == weights],
        intakes=find(record.adapter.id, Kind.INTAKE, Intake),
        rests_on=rests_on | dict(get(asked_by - rests_on.keys())),
    )


def weights_of(plan: Plan) -> set[Digest]:
    """Return the weights ids that a plan has measured: its adapter's, and those it compares with."""
    return {plan.adapter.weights_id, *(item.adapter.weights_id for item in plan.references or ())}


# --- a run against its plan -------------------------------------------------------------------------------------


def run_objection(run: Measurement, kind: Kind, plan: Plan) -> str:
    """Return why a measurement is not one that `plan` asked for; empty if it is."""
    if run.base.id != plan.base.id:
        return "it is on another base than its plan names"
    if run.subject not in ({plan.base.id} if run.subject_kind == "base" else weights_of(plan)):
        return "it is of other weights than its plan has measured"
    planned = _planned(plan, run)
    if planned is None:
        return f"its plan does not name suite {run.suite.id} {run.suite.version} with that content"
    if run.stage is not planned.stage or kind is not _KIND_OF[planned.stage]:
        return f"its plan names {run.suite.id} as {planned.stage}"
    if run.n != len(run.samples):
        return f"it says {plural(run.n, 'document')} and names {len(run.samples)}"
    stopped = planned.sequential is not None and run.n > 0 and run.samples == planned.samples[: run.n]
    if run.samples != planned.samples and not stopped:
        return (
            f"it has {plural(run.n, 'document')} of {run.suite.id}, which are not the {len(planned.samples)} of its "
            "plan in the order drawn"
        )
    if run.started_at < plan.planned_at - TOLERANCE:
        return f"it says that it began on {run.started_at:%Y-%m-%d}, before its plan of {plan.planned_at:%Y-%m-%d}"
    return ""


def _planned(plan: Plan, run: Measurement) -> PlannedSuite | None:
    return next((item for item in plan.suites if item.suite == run.suite), None)


# --- a verdict against its runs ---------------------------------------------------------------------------------


def objections(verdict: Logged[Verdict], around: Surroundings, *, draws: bool = True) -> Iterator[Objection]:
    """Yield why a verdict does not hold, by what was logged before it; nothing if it does.

    Args:
        verdict: The verdict.
        around: What the log holds about what it is about.
        draws: Whether to draw its plan's documents again, which takes a while.
    """
    record, plan = verdict.record, around.rests_on.get(verdict.record.plan)
    yield from _not_there(verdict, around)
    if plan is None:
        return
    if not isinstance(plan.record, Plan):
        yield Objection("foreign-evidence", "what it names as its plan is another kind of record")
        return
    own: Plan = plan.record
    if (own.adapter.id, own.base.id, own.policy) != (record.adapter.id, record.base.id, record.policy):
        yield Objection("foreign-evidence", "the plan is for other bytes, another base or another policy")
        return
    yield from _left_out(verdict, around)
    evidence = set(record.evidence)
    runs = [
        item
        for item in around.rests_on.values()
        if item.id in evidence and isinstance(item.record, Measurement)
    ]
    if any(not evidence.issuperset(gate.evidence) for gate in record.gates):
        yield Objection("foreign-evidence", "a gate cites what is not among the verdict's evidence")
    yield from _foreign(verdict, own, runs)
    yield from _not_as_planned(runs, around)
    if record.decision is not Decision.DENY:
        if draws and (chosen := ", ".join(chosen_suites(own))):
            yield Objection(
                "false-draw",
                f"its plan has other documents of {chosen}, or in another order, than were drawn",
            )
        yield from _unmeasured(verdict, own, runs)
        if not any(_is_intake_of(record, item, verdict.index) for item in around.intakes):
            yield Objection("missing-intake", "no intake of these files on this base was logged before it")
    yield from _contradicted(record, own, runs, around)


def _not_there(verdict: Logged[Verdict], around: Surroundings) -> Iterator[Objection]:
    record = verdict.record
    for record_id in sorted({record.plan, *record.evidence}):
        held = around.rests_on.get(record_id)
        if held is None:
            yield Objection("missing-evidence", f"evidence {short(record_id)} of the verdict is missing")
        elif held.index >= verdict.index:
            yield Objection("evidence-after-the-fact", "evidence was logged after the verdict")


def _left_out(verdict: Logged[Verdict], around: Surroundings) -> Iterator[Objection]:
    record, weights = verdict.record, verdict.record.adapter.weights_id
    evidence = set(record.evidence)
    if record.plan not in record.plans_on_weights:
        yield Objection("left-out-run", "the verdict leaves its own plan out of account")
    # Not only up to the head it names: whoever leaves a run out could name an older head, too.
    for plan in around.plans:
        named = plan.id == record.plan or plan.id in record.plans_on_weights
        if plan.index < verdict.index and weights in weights_of(plan.record) and not named:
            yield Objection(
                "left-out-run", f"the verdict leaves out the plan at {plan.index} on the same weights"
            )
    for run in around.runs:
        if run.index < verdict.index and run.record.subject == weights and run.id not in evidence:
            yield Objection(
                "left-out-run",
                f"the verdict leaves out the run of {run.record.suite.id} at {run.index} on the same weights",
            )


def _foreign(verdict: Logged[Verdict], own: Plan, runs: Sequence[Logged[Any]]) -> Iterator[Objection]:
    record = verdict.record
    for run in runs:
        measured: Measurement = run.record
        where = f"the measurement at {run.index}, of {measured.suite.id},"
        if measured.subject_kind == "base":
            if (measured.subject, measured.base.id) != (record.base.id, record.base.id):
                yield Objection("foreign-evidence", f"{where} is on another base")
        elif measured.subject == record.adapter.weights_id:
            if measured.plan not in record.plans_on_weights:
                yield Objection("foreign-evidence", f"{where} belongs to no plan for these weights")
        elif measured.subject not in weights_of(own):
            yield Objection("foreign-evidence", f"{where} is of other weights")
        elif measured.base.id != record.base.id:
            yield Objection("foreign-evidence", f"{where} is on another base")


def _not_as_planned(runs: Sequence[Logged[Any]], around: Surroundings) -> Iterator[Objection]:
    for run in runs:
        plan = around.rests_on.get(run.record.plan)
        if plan is None or not isinstance(plan.record, Plan):
            continue  # the base's and others' may have run under a plan that is not known here
        why = run_objection(run.record, run.kind, plan.record)
        if run.index <= plan.index:
            why = "a measurement was logged before its plan"
        if why:
            yield Objection("unplanned-run", f"the measurement at {run.index} is not as planned: {why}")


def _unmeasured(verdict: Logged[Verdict], own: Plan, runs: Sequence[Logged[Any]]) -> Iterator[Objection]:
    mine = (verdict.record.plan, verdict.record.adapter.weights_id)
    measured = {run.record.suite.digest for run in runs if (run.record.plan, run.record.subject) == mine}
    for item in own.suites:
        if item.suite.digest not in measured:
            yield Objection(
                "unmeasured-suite", f"it rests on no run of {item.suite.id}, which its plan has measured"
            )


def _is_intake_of(verdict: Verdict, intake: Logged[Intake], before: int) -> bool:
    seen = intake.record
    same = seen.adapter is not None and seen.adapter.id == verdict.adapter.id
    return same and seen.base.id == verdict.base.id and not seen.refused and intake.index < before


# --- figures ----------------------------------------------------------------------------------------------------


def _contradicted(
    verdict: Verdict, own: Plan, runs: Sequence[Logged[Any]], around: Surroundings
) -> Iterator[Objection]:
    """Yield the gates whose figures none of the runs they rest on has, where a figure is a run's plain mean."""
    weights = verdict.adapter.weights_id
    mine = [run for run in runs if run.record.subject == weights and run.record.base.id == verdict.base.id]
    others = [run for run in runs if run.record.subject != weights]
    for gate in verdict.gates:
        if gate.kind not in _LIMITS | _DIFFERENCES or gate.figure is None:
            continue
        named = _cited(gate, mine)
        if named and not any(_may_say(run.record, gate, own, around) for run in named):
            said = ", ".join(sorted({f"{run.record.mean:g} on {run.record.n}" for run in named}))
            yield _objection(gate, gate.figure, said)
        elif not named and gate.outcome is Outcome.PASS:
            yield _objection(gate, gate.figure, "nothing, for it cites none of the adapter's")
        if gate.kind in _DIFFERENCES and gate.baseline is not None and not _with_itself(gate, own, weights):
            compared = [run.record for run in _cited(gate, others)]
            if any(run.n != gate.n for run in compared):
                continue  # the mean of a part of a run is not on record
            if compared and all(abs(run.mean - gate.baseline) > _ROUNDING for run in compared):
                said = ", ".join(sorted({f"{run.mean:g} on {run.n}" for run in compared}))
                yield _objection(gate, gate.baseline, said)


def _with_itself(gate: GateResult, own: Plan, weights: Digest) -> bool:
    """Tell whether what a gate compares with may be the very weights it judges: they run there already."""
    return gate.compared_with is not None and any(
        item.adapter.weights_id == weights for item in own.references or ()
    )


def _cited(gate: GateResult, runs: Sequence[Logged[Any]]) -> list[Logged[Any]]:
    """Return the runs a gate cites; where it passed and cites none, all of them: it must rest on one."""
    cited = [run for run in runs if run.id in gate.evidence]
    return list(runs) if not cited and gate.outcome is Outcome.PASS else cited


def _objection(gate: GateResult, figure: float, said: str) -> Objection:
    return Objection(
        "contradicted-figure",
        f"gate {gate.gate} says {figure:g} on {plural(gate.n, 'document')}, where its runs say {said}",
    )


def _may_say(run: Measurement, gate: GateResult, own: Plan, around: Surroundings) -> bool:
    """Tell whether a gate's figure can be that of `run`, or of its beginning where a test may stop early."""
    if gate.figure is None:
        return True
    if run.n == gate.n:
        return abs(run.mean - gate.figure) <= _ROUNDING
    held = around.rests_on.get(run.plan)
    planned = _planned(held.record if held is not None and isinstance(held.record, Plan) else own, run)
    if planned is None or planned.sequential is None or not 0 < gate.n < run.n:
        return False
    if gate.kind in _DIFFERENCES:
        return True  # values of any size may differ by little: what a beginning can be is not known
    # Each value lies between 0 and 1, or there were no such test.
    total, part, slack = run.mean * run.n, gate.figure * gate.n, _ROUNDING * run.n
    return part <= total + slack and total - part <= run.n - gate.n + slack
