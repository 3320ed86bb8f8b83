"""Which other plans a gate answers for: all of the same suite on the same weights, whatever their policy.

Guarantees: an edit of the policy erases nothing. What was asked for by a gate that asks the same counts as if it were
this policy's, finished or not. A finished run that was made for another question is looked at as the present gate
would look at it. An unfinished plan with another question is listed, and the verdict says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from placet.domain.digests import Digest
from placet.domain.records import Plan, PlannedSuite, Sequential
from placet.policy.evidence import Evidence, RecordedPlan, Rows
from placet.policy.model import OtherGate, StatisticalGate, SuiteGate


@dataclass(frozen=True, slots=True)
class Account:
    """Another plan of the gate's suite on the same weights.

    Attributes:
        entry: The plan.
        planned: Its suite, as the gate looks at it.
        runs: What was run under it of that suite on these weights.
        alike: Whether its policy has a gate that asks what this one does.
        own_adapter: Whether it is a plan for these weights, not one for others that are compared with them.
    """

    entry: RecordedPlan
    planned: PlannedSuite
    runs: tuple[Rows, ...]
    alike: bool
    own_adapter: bool


def own_entry(evidence: Evidence) -> RecordedPlan:
    """Return the plan that the verdict is about."""
    return next(entry for entry in evidence.plans if entry.record == evidence.plan)


def planned_in(plan: Plan, suite: str) -> PlannedSuite | None:
    """Return a suite of a plan, by its id."""
    return next((entry for entry in plan.suites if entry.suite.id == suite), None)


def runs_under(entry: RecordedPlan, suite: str, metric: str | None, evidence: Evidence) -> tuple[Rows, ...]:
    """Return the runs of a suite on the adapter's weights under a plan; with a metric, those that report it."""
    return tuple(
        run
        for run in evidence.runs
        if run.measurement.plan == entry.record
        and run.measurement.suite.id == suite
        and metric in {None, run.measurement.metric}
    )


def accounts_of(
    gate: SuiteGate, planned: PlannedSuite, metric: str | None, evidence: Evidence
) -> tuple[Account, ...]:
    """Return the other plans that a gate answers for, in the ledger's order.

    Args:
        gate: The gate.
        planned: Its suite in the verdict's own plan.
        metric: What the own runs report.
        evidence: Everything known.
    """
    own = own_entry(evidence)
    found = []
    for entry in evidence.plans:
        theirs = planned_in(entry.plan, gate.suite)
        if entry.record == own.record or theirs is None or theirs.suite != planned.suite:
            continue
        if entry.plan.base.id != own.plan.base.id or not _compares_with_the_same(gate, entry.plan, own.plan):
            continue
        runs = runs_under(entry, gate.suite, metric, evidence)
        own_adapter = entry.plan.adapter.weights_id == own.plan.adapter.weights_id
        if not own_adapter and not runs:
            continue  # a plan for another adapter measures these weights on some suites only
        looked_at = _as_asked(gate, theirs, planned)
        found.append(Account(entry, looked_at, runs, _asks_the_same(gate, entry, own), own_adapter))
    return tuple(found)


def _asks_the_same(gate: SuiteGate, entry: RecordedPlan, own: RecordedPlan) -> bool:
    if entry.plan.policy.digest == own.plan.policy.digest:
        return True
    # What cannot be read may have asked the very same.
    if entry.asked is None or own.asked is None:
        return True
    return own.asked[gate.id] in entry.asked.values()


def _compares_with_the_same(gate: SuiteGate, theirs: Plan, own: Plan) -> bool:
    """Return whether what the gate compares with was to be measured under another plan as well."""
    subject = _compared(gate, own)
    if subject is None:
        return True  # the base, or nothing: every plan has the base measured
    return any(item.adapter.weights_id == subject for item in theirs.references or ())


def _compared(gate: SuiteGate, plan: Plan) -> Digest | None:
    """Return the weights of the other adapter that the gate compares with under `plan`; None for the base."""
    if not isinstance(gate, OtherGate):
        return None
    found = next((item for item in plan.references or () if item.name == gate.than), None)
    return None if found is None else found.adapter.weights_id


def _as_asked(gate: SuiteGate, theirs: PlannedSuite, own: PlannedSuite) -> PlannedSuite:
    """Return a suite of another plan as the present gate looks at it: its clusters and groups, and its test.

    A run that could stop early is played again by a test that could, where the gate has one.
    """
    groups = {**(theirs.groups or {})}
    documents = set(theirs.samples)
    for column, parts in (own.groups or {}).items():
        here = {
            name: kept
            for name, members in parts.items()
            if (kept := tuple(document for document in members if document in documents))
        }
        if column not in groups and sum(len(members) for members in here.values()) == len(documents):
            groups[column] = here
    sequential = theirs.sequential
    if own.sequential is not None and (sequential is None or sequential.claim != own.sequential.claim):
        sequential = own.sequential
    if sequential is not None and not _can_stop_early(gate):
        sequential = None
    elif sequential is not None and own.cluster is not None and sequential.claim != "benchmark":
        # Documents that belong together are no sample of a population; in a random order of all they may be.
        sequential = Sequential(claim="benchmark", chunk=sequential.chunk)
    return theirs.model_copy(
        update={
            "groups": groups or None,
            "cluster": own.cluster,
            "sequential": sequential,
            "companions": theirs.companions if sequential == theirs.sequential else None,
        }
    )


def _can_stop_early(gate: SuiteGate) -> bool:
    if not isinstance(gate, StatisticalGate) or gate.judge_error is not None:
        return False
    if gate.kind == "better":
        return float(getattr(gate, "by", 0.0)) == 0.0
    return gate.kind in {"floor", "ceiling", "not_worse"}
