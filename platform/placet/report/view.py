"""The view model of one adapter: everything its page and its report show, by value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from placet.domain.digests import Digest
from placet.domain.records import (
    AdapterRef,
    BaseRef,
    CheckResult,
    Decision,
    FileEntry,
    GateResult,
    LedgerHead,
    Measurement,
    Outcome,
    PolicyRef,
    ReviewRule,
    SourceRef,
)
from placet.lineage.graph import Lineage, Status
from placet.report.gap import Plot, gap_of
from placet.report.plans import PlanView
from placet.report.state import Standing

OUTCOME_STATUS = {
    Outcome.PASS: Status.GOOD,
    Outcome.INCONCLUSIVE: Status.CAUTION,
    Outcome.FAIL: Status.BAD,
    Outcome.MISSING: Status.BAD,
    Outcome.ERROR: Status.BAD,
}
DECISION_STATUS = {
    Decision.ALLOW: Status.GOOD,
    Decision.NEEDS_REVIEW: Status.CAUTION,
    Decision.DENY: Status.BAD,
}


@dataclass(frozen=True, slots=True)
class GateView:
    """A gate's result with what a reader needs beside it.

    Attributes:
        result: What the verdict says.
        plot: Its interval against the limit, where it has one.
        waived_by: Who waived it.
        waivers_count: How many of those waivers count today.
        planned: How many documents of its suite were planned; None if it rests on no suite.
        run: How many were run.
    """

    result: GateResult
    plot: Plot | None
    waived_by: tuple[str, ...] = ()
    waivers_count: int = 0
    planned: int | None = None
    run: int | None = None

    @property
    def status(self) -> Status:
        """How it is coloured and signed."""
        return OUTCOME_STATUS[self.result.outcome]

    @property
    def counts(self) -> bool:
        """Whether its figures are counts of things rather than measured shares."""
        given = [value for value in (self.result.figure, self.result.baseline) if value is not None]
        return self.plot is None and all(value.is_integer() for value in given)

    @property
    def gap(self) -> str:
        """What is missing for it to pass, in figures: where the interval ends, and where it would have to."""
        return gap_of(self.result, self.plot)

    @property
    def may_be_waived(self) -> bool:
        """Whether a waiver can be signed for it."""
        return self.result.outcome is Outcome.INCONCLUSIVE and self.result.waivable


@dataclass(frozen=True, slots=True)
class SuiteFigures:
    """One suite's mean: the adapter's, the base's, and that of what runs on channels today."""

    suite: str
    version: str
    metric: str
    adapter: Measurement
    adapter_record: Digest
    base: Measurement | None
    base_record: Digest | None
    incumbents: tuple[tuple[str, float], ...] = ()

    @property
    def change(self) -> float | None:
        """The adapter's mean minus the base's."""
        return None if self.base is None else self.adapter.mean - self.base.mean

    @property
    def better(self) -> bool | None:
        """Whether the change is for the better; None if there is none."""
        if not self.change:
            return None
        return (self.change > 0) == self.adapter.higher_is_better


@dataclass(frozen=True, slots=True)
class ReviewView:
    """A person's decision about this adapter. `counts` is False where it does not count, and `why` says why."""

    person: str
    decision: str
    comment: str
    at: datetime
    expires_at: datetime
    record: Digest
    counts: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class WaiverView:
    """A person's consent to an inconclusive gate."""

    person: str
    gate: str
    reason: str
    at: datetime
    expires_at: datetime
    record: Digest
    counts: bool


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """Who said what, and what is missing."""

    approved: bool
    rule: ReviewRule
    approvers: tuple[str, ...]
    missing: tuple[str, ...]
    reviews: tuple[ReviewView, ...]
    waivers: tuple[WaiverView, ...]
    barred: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class VerdictView:
    """The newest verdict. `older` is how many verdicts it replaced, `plans` how many plans it accounts for."""

    record: Digest
    decision: Decision
    policy: PolicyRef
    decided_at: datetime
    gates: tuple[GateView, ...]
    plans: int
    older: int

    @property
    def passed(self) -> int:
        """How many gates passed."""
        return sum(gate.result.outcome is Outcome.PASS for gate in self.gates)

    def open_gates(self) -> tuple[GateView, ...]:
        """Return the gates that did not pass."""
        return tuple(gate for gate in self.gates if gate.result.outcome is not Outcome.PASS)


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """A record that the verdict or the submission rests on, and whether it verified."""

    record: Digest
    kind: str
    about: str
    signer: str
    key_id: Digest | None
    index: int | None
    verified: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseView:
    """The adapter on a channel. `bundle` is relative to the office folder, None where it is not on this disk."""

    channel: str
    at: datetime
    by: str
    record: Digest
    bundle: str | None
    running: bool


@dataclass(frozen=True, slots=True)
class TrainingView:
    """How the adapter, or one it was continued from, was trained."""

    adapter: str
    by: str
    started_on: datetime
    finished_on: datetime
    made_from: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    record: Digest


@dataclass(frozen=True, slots=True)
class Brief:
    """Three minutes in three lists of sentences, each with how it stands."""

    changes: tuple[tuple[Status, str], ...]
    risks: tuple[tuple[Status, str], ...]
    people: tuple[tuple[Status, str], ...]


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """Everything on record about one adapter."""

    office: str
    root_pin: Digest
    head: LedgerHead
    at: datetime
    adapter: AdapterRef
    base: BaseRef
    standing: Standing
    submitter: str
    submitted_at: datetime
    submission: Digest
    source: SourceRef
    files: tuple[FileEntry, ...]
    note: str
    checks: tuple[CheckResult, ...]
    trainings: tuple[TrainingView, ...]
    plan: PlanView | None
    verdict: VerdictView | None
    approval: ApprovalView | None
    figures: tuple[SuiteFigures, ...]
    evidence: tuple[EvidenceView, ...]
    releases: tuple[ReleaseView, ...]
    lineage: Lineage
    brief: Brief
