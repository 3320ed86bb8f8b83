"""The groups that a subgroups gate looked at, each by itself, computed again from the rows that were judged."""

from __future__ import annotations

from dataclasses import dataclass

from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.errors import UsageError
from placet.domain.records import GateResult, Measurement, Outcome, Plan, PlannedSuite, Verdict
from placet.office import Office
from placet.pipeline.evidence import load_rows_of
from placet.pipeline.policies import policy_of
from placet.policy.evidence import Rows
from placet.policy.gates.subgroups import GroupResult, SubgroupsGate, judge_each_group
from placet.report.gap import Plot
from placet.report.samples import samples_readable
from placet.report.snapshot import Snapshot, load_snapshot


@dataclass(frozen=True, slots=True)
class GroupView:
    """One group: its means, its interval against the limit, and what it would say alone."""

    name: str
    n: int
    figure: float
    baseline: float | None
    plot: Plot | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class GroupTable:
    """The groups of one gate, the weakest first."""

    gate: str
    suite: str
    by: str
    metric: str
    against: str
    comparison: str
    groups: tuple[GroupView, ...]


def load_groups(office: Office, verdict: Digest) -> tuple[GroupTable, ...]:
    """Return the groups of every subgroups gate of a verdict whose run is on record. A verdict never changes.

    Raises:
        UsageError: The policy's document or pyarrow is missing here.
        IntegrityError: A blob is missing or altered.
    """
    snapshot = load_snapshot(office)
    found = snapshot.by_id(verdict)
    if found is None or not isinstance(found.record, Verdict):
        raise UsageError("the ledger has no such verdict", hint="run `placet audit`")
    results = {item.gate: item for item in found.record.gates if item.kind == "subgroups"}
    if not results:
        return ()
    if not samples_readable():
        raise UsageError("groups cannot be read: pyarrow is not installed", hint="pip install 'placet[ui]'")
    policy = policy_of(office.blobs, found.record.policy)
    gates = [gate for gate in policy.gates if isinstance(gate, SubgroupsGate) and gate.id in results]
    tables = (_table(office, snapshot, found.record, gate, results[gate.id]) for gate in gates)
    return tuple(table for table in tables if table is not None)


def _table(
    office: Office, snapshot: Snapshot, verdict: Verdict, gate: SubgroupsGate, result: GateResult
) -> GroupTable | None:
    plan = snapshot.by_id(verdict.plan)
    planned = (
        _planned(plan.record, gate.suite) if plan is not None and isinstance(plan.record, Plan) else None
    )
    cited = [snapshot.by_id(record) for record in result.evidence]
    runs: list[Verified[Measurement]] = [
        item  # type: ignore[misc]
        for item in cited
        if item is not None and isinstance(item.record, Measurement) and item.record.suite.id == gate.suite
    ]
    own = next(
        (r for r in runs if r.record.subject == verdict.adapter.weights_id and r.record.plan == verdict.plan),
        None,
    )
    if planned is None or own is None:
        return None
    run, theirs = load_rows_of(own, office.blobs), None
    if gate.margin is not None:
        theirs = _theirs(office, run, [item for item in runs if item.id != own.id])
        if theirs is None:
            return None
    sign = "≤" if gate.ceiling is not None else "≥" if gate.floor is not None else ">"
    if gate.margin is not None and not own.record.higher_is_better:
        sign = "<"
    against = "" if gate.margin is None else result.compared_with or "the base"
    groups = [_view(group, sign, against) for group in judge_each_group(gate, run, planned, theirs)]
    groups.sort(key=lambda group: group.plot.room if group.plot and group.plot.room is not None else -1.0)
    return GroupTable(
        gate.id, gate.suite, gate.by, own.record.metric, against, result.comparison, tuple(groups)
    )


def _planned(plan: Plan, suite: str) -> PlannedSuite | None:
    return next((item for item in plan.suites if item.suite.id == suite), None)


def _theirs(office: Office, run: Rows, others: list[Verified[Measurement]]) -> tuple[float, ...] | None:
    """Return the values of what is compared with, on the run's documents; None if no cited run has all of them."""
    for item in others:
        if set(run.measurement.samples) <= set(item.record.samples):
            values = load_rows_of(item, office.blobs).by_document()
            return tuple(values[document] for document in run.measurement.samples)
    return None


def _view(group: GroupResult, sign: str, against: str) -> GroupView:
    plot = None
    if group.interval is not None:
        point = group.figure - group.baseline if group.baseline is not None else group.figure
        plot = Plot(point, group.interval.low, group.interval.high, group.limit, sign, bool(against), against)
    return GroupView(group.name, group.n, group.figure, group.baseline, plot, group.outcome)
