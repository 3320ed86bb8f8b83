"""The queue: everything handed in, where it stands, and what comes next."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.records import Decision, Finding, Intake, LedgerHead, Measurement, Outcome, Plan
from placet.domain.text import duration
from placet.lineage.graph import Status
from placet.office import Office
from placet.report.cases import (
    Dossier,
    dossier,
    latest_submissions,
    on_channels,
    refused_intakes,
    refused_label,
)
from placet.report.snapshot import Snapshot, load_snapshot, newest
from placet.report.state import Standing, State
from placet.report.text import moment, plain, plural


@dataclass(frozen=True, slots=True)
class QueueItem:
    """A submission, or files that intake refused. `adapter` is absent where no subject could be made of them.

    `under_way` tells, before there is a verdict, of the plan: how much of it was run, and how long it was to take.
    """

    label: str
    adapter: Digest | None
    base: str
    standing: Standing
    submitter: str
    at: datetime
    record: Digest
    index: int
    decision: Decision | None = None
    gates_passed: int = 0
    gates: int = 0
    approvals: int = 0
    approvals_needed: int = 0
    refused: bool = False
    barred: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    under_way: str = ""

    @property
    def state(self) -> State:
        """Where it stands."""
        return self.standing.state

    @property
    def status(self) -> Status:
        """How it is coloured and signed."""
        return self.standing.status


@dataclass(frozen=True, slots=True)
class Running:
    """What runs on a channel today."""

    channel: str
    label: str
    adapter: Digest
    released_at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """Everything handed in to an office: what a person can act on first, then by time."""

    office: str
    head: LedgerHead
    items: tuple[QueueItem, ...]
    running: tuple[Running, ...]

    @property
    def counts(self) -> dict[State, int]:
        """How many items stand where, in the states' order."""
        counted = Counter(item.state for item in self.items)
        return {state: counted[state] for state in State if counted[state]}


def load_queue(office: Office) -> Queue:
    """Return the office's queue.

    Raises:
        IntegrityError: The log does not verify.
    """
    return queue_of(load_snapshot(office))


def queue_of(snapshot: Snapshot) -> Queue:
    """Return the queue in `snapshot`."""
    items = [_item(snapshot, dossier(snapshot, submission)) for submission in latest_submissions(snapshot)]
    items += [_refused(intake) for intake in refused_intakes(snapshot)]
    order = list(State)
    items.sort(key=lambda item: (order.index(item.state), -item.index))
    running = tuple(
        Running(channel, item.record.adapter.label, item.record.adapter.id, item.record.released_at)
        for channel, item in sorted(on_channels(snapshot).items())
    )
    return Queue(snapshot.office, snapshot.head, tuple(items), running)


def _item(snapshot: Snapshot, case: Dossier) -> QueueItem:
    record, verdict = case.submission.record, case.verdict
    gates = verdict.record.gates if verdict else ()
    return QueueItem(
        label=record.adapter.label,
        adapter=record.adapter.id,
        base=record.base.label,
        standing=case.standing,
        submitter=case.submission.person,
        at=record.submitted_at,
        record=case.submission.id,
        index=case.submission.index,
        decision=verdict.record.decision if verdict else None,
        gates_passed=sum(gate.outcome is Outcome.PASS for gate in gates),
        gates=len(gates),
        approvals=len(case.approval.approvers) if case.approval else 0,
        approvals_needed=verdict.record.review.approvals if verdict else 0,
        barred=tuple(sorted(case.barred)),
        under_way="" if verdict else _under_way(snapshot, case),
    )


def _under_way(snapshot: Snapshot, case: Dossier) -> str:
    """Return how far the newest plan of an adapter got; nothing if there is none."""
    adapter, base = case.submission.record.adapter, case.submission.record.base
    plan = newest([item for item in snapshot.about(Plan, adapter.id) if item.record.base == base])
    if plan is None:
        return ""
    measured = snapshot.about(Measurement, adapter.weights_id)
    run = {item.record.suite.digest for item in measured if item.record.plan == plan.id}
    times = [item.expected_s for item in plan.record.suites]
    known = sum(item for item in times if item is not None)
    took = "" if None in times else f", about {duration(known)} expected"
    return f"planned {moment(plan.record.planned_at)}: {len(run)} of {plural(len(times), 'suite')} run{took}"


def _refused(intake: Verified[Intake]) -> QueueItem:
    record = intake.record
    first = next(iter(record.findings), None)
    unfinished = [check.check for check in record.checks if check.reason]
    detail = f"{first.id}: {first.message}" if first else "check not finished: " + ", ".join(unfinished)
    return QueueItem(
        label=refused_label(record),
        adapter=record.adapter.id if record.adapter else None,
        base=record.base.label,
        standing=Standing(State.REFUSED, plain(detail, 200), plain(first.fix, 200) if first else ""),
        submitter=intake.person,
        at=record.examined_at,
        record=intake.id,
        index=intake.index,
        refused=True,
        findings=record.findings,
    )
