"""The plan behind a verdict: what was to be measured, in whose order, at what cost, and what it can show at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from placet.attest.draw import drawn_otherwise
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.errors import UsageError
from placet.domain.records import LedgerHead, Measurement, Plan, PlannedSuite, PolicyRef
from placet.office import Office
from placet.pipeline.policies import policy_of
from placet.policy.notes import SampleNote
from placet.policy.planning import group_sizes, review_samples
from placet.report.cases import Dossier
from placet.report.snapshot import Snapshot, load_snapshot, newest


@dataclass(frozen=True, slots=True)
class PlannedView:
    """One suite of a plan.

    Attributes:
        suite: Its id.
        version: Its version.
        stage: ``evaluation`` or ``safety``.
        documents: How many documents it has.
        planned: How many are to be run at most.
        mode: ``fixed`` or ``sequential``.
        claim: What a sequential decision is about; empty for a fixed sample.
        chunk: After how many documents a sequential run is looked at.
        expected: How many documents were expected to be run.
        run: How many were run on the adapter; None if none is on record.
        expected_s: Seconds expected on one subject; None where it was never run before.
        took_s: Seconds it took on the adapter.
        drawn: Whether the order is the one that the plan's ledger state and draw give, drawn again for this view.
        groups: Columns whose values make groups.
        steadied: Whether the base's own values on the whole suite steady the comparison with it.
    """

    suite: str
    version: str
    stage: str
    documents: int
    planned: int
    mode: str
    claim: str
    chunk: int | None
    expected: int
    run: int | None
    expected_s: float | None
    took_s: float | None
    drawn: bool
    groups: tuple[str, ...]
    steadied: bool


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan.

    Attributes:
        record: Its record id.
        index: Where it stands in the ledger.
        policy: What it measures for.
        planned_at: When it was logged.
        head: The ledger state its order was drawn from.
        unforeseen: Whether the evaluator's signature went into the order, so that nobody else could know it before.
        engine: What was to compute the answers.
        suites: What was to be run.
        references: What it compares with beside the base: as the policy writes it, and the adapter's label.
        known_results: How many runs of these suites on these weights were on record when it was made.
        judged: Whether the newest verdict rests on it.
        age_days: How old it is.
        max_age_days: How old its policy lets it get; None if it does not say, or its document is not here.
    """

    record: Digest
    index: int
    policy: PolicyRef
    planned_at: datetime
    head: LedgerHead
    unforeseen: bool
    engine: str
    suites: tuple[PlannedView, ...]
    references: tuple[tuple[str, str], ...]
    known_results: int
    judged: bool
    age_days: int
    max_age_days: int | None

    @property
    def expired(self) -> bool:
        """Whether it is too old to be followed any more."""
        return self.max_age_days is not None and self.age_days >= self.max_age_days


def plan_of(office: Office, snapshot: Snapshot, case: Dossier) -> PlanView | None:
    """Return the plan of the newest verdict; before there is one, the newest plan for the adapter, if there is any."""
    record = case.submission.record
    plans = [item for item in snapshot.about(Plan, record.adapter.id) if item.record.base == record.base]
    if case.verdict is not None:
        plans = [item for item in plans if item.id == case.verdict.record.plan]
    plan = newest(plans)
    if plan is None:
        return None
    try:
        oldest = policy_of(office.blobs, plan.record.policy).max_age_days
    except UsageError:
        oldest = None
    return _view(snapshot, plan, oldest, judged=case.verdict is not None)


def load_sample_notes(office: Office, plan: Digest) -> tuple[SampleNote, ...]:
    """Return what each statistical gate can show on the plan's samples: its least margin, its chance to pass.

    Sequential gates are simulated, which takes a second; a plan never changes, so the answer can be kept.

    Raises:
        UsageError: The policy's document is not in this office's store, or a gate's sample is refused as too small.
        IntegrityError: There is no such plan.
    """
    found = load_snapshot(office).by_id(plan)
    if found is None or not isinstance(found.record, Plan):
        raise UsageError("the ledger has no such plan", hint="run `placet audit`")
    policy = policy_of(office.blobs, found.record.policy)
    sizes = {item.suite.id: len(item.samples) for item in found.record.suites}
    documents = {item.suite.id: item.documents for item in found.record.suites}
    return review_samples(policy, sizes, documents, group_sizes(found.record.suites))


def _view(snapshot: Snapshot, plan: Verified[Plan], oldest: int | None, *, judged: bool) -> PlanView:
    record = plan.record
    runs = {
        item.record.suite.digest: item.record
        for item in snapshot.about(Measurement, record.adapter.weights_id)
        if item.record.plan == plan.id
    }
    otherwise = drawn_otherwise(record)
    return PlanView(
        record=plan.id,
        index=plan.index,
        policy=record.policy,
        planned_at=record.planned_at,
        head=record.head,
        unforeseen=record.draw is not None,
        engine=f"{record.engine.name} {record.engine.version}, {record.engine.dtype} on {record.engine.device}",
        suites=tuple(
            _planned(item, runs.get(item.suite.digest), drawn=item.suite.id not in otherwise)
            for item in record.suites
        ),
        references=tuple((item.name, item.adapter.label) for item in record.references or ()),
        known_results=len(record.known_results or ()),
        judged=judged,
        age_days=(snapshot.now - record.planned_at) // timedelta(days=1),
        max_age_days=oldest,
    )


def _planned(item: PlannedSuite, run: Measurement | None, *, drawn: bool) -> PlannedView:
    return PlannedView(
        suite=item.suite.id,
        version=item.suite.version,
        stage=str(item.stage),
        documents=item.documents,
        planned=len(item.samples),
        mode="sequential" if item.sequential else "fixed",
        claim=item.sequential.claim if item.sequential else "",
        chunk=item.sequential.chunk if item.sequential else None,
        expected=item.expected_documents or len(item.samples),
        run=None if run is None else run.n,
        expected_s=item.expected_s,
        took_s=None if run is None else (run.finished_at - run.started_at).total_seconds(),
        drawn=drawn,
        groups=tuple(item.groups or ()),
        steadied=item.companions is not None,
    )
