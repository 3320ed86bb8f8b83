"""From a submission to a verdict: plan → evaluation → safety → verdict, each a signed record.

Guarantees: the plan is in the ledger before its first sample runs; whatever was measured is recorded as soon as
its suite is done, so an interrupted gate goes on where it stopped and measures nothing twice; the verdict is
computed from verified records alone; asking again with nothing changed gives the verdict there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.digests import Digest, canonical_json
from placet.domain.errors import EvaluationError, UndecidedError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import (
    LedgerHead,
    Measurement,
    Plan,
    PlannedSuite,
    Stage,
    Submission,
    Verdict,
)
from placet.ledger.lock import ledger_lock
from placet.measuring.sampling import draw_order
from placet.measuring.suite import Suite, load_suite
from placet.office import EVALUATOR_KEY, Office
from placet.pipeline.evidence import gather, measurements_of
from placet.pipeline.runner import Runner
from placet.policy.decide import decide
from placet.policy.loader import load_policy
from placet.policy.planning import review_samples, sample_sizes
from placet.policy.schema import Policy
from placet.resources import evals_dir
from placet.sources.cache import cache_dir


@dataclass
class _Gate:
    """One call's parts: what every adapter in it shares."""

    office: Office
    policy: Policy
    suites: dict[str, Suite]
    progress: Progress
    runner: Runner | None = None


class PartlyUndecidedError(UndecidedError):
    """Some adapters could not be judged; `verdicts` are those of the others, on record."""

    def __init__(
        self, verdicts: tuple[Verified[Verdict], ...], undecided: tuple[tuple[str, UndecidedError], ...]
    ) -> None:
        words = "; ".join(f"{label}: {error}" for label, error in undecided)
        super().__init__(f"no verdict could be given. {words}", hint=undecided[0][1].hint)
        self.verdicts = verdicts
        self.undecided = tuple(label for label, _ in undecided)


def gate(
    office: Office,
    adapters: Sequence[Digest],
    policy_path: Path,
    progress: Progress,
    *,
    suites_dir: Path | None = None,
) -> tuple[Verified[Verdict], ...]:
    """Bring each adapter to a verdict under the policy, on one loaded base.

    Args:
        office: The office.
        adapters: Ids of submitted adapters, all on one base.
        policy_path: The policy document.
        progress: Listens.
        suites_dir: Folder of the policy's suites; the ones that come with Placet by default.

    Raises:
        UsageError: Not submitted, several bases, or an unusable policy or suite.
        PartlyUndecidedError: A required check could not be run for some; the others are decided and recorded.
    """
    policy = load_policy(policy_path)
    folder = suites_dir or evals_dir()
    suites = {name: load_suite(folder / name, cache=cache_dir(), progress=progress) for name in policy.suites}
    submissions = [_submission(office, adapter) for adapter in adapters]
    if len({item.record.base.id for item in submissions}) > 1:
        raise UsageError(
            "these adapters are on different bases", hint="gate the adapters of one base at a time"
        )
    state = _Gate(office, policy, suites, progress)
    verdicts: list[Verified[Verdict]] = []
    undecided: list[tuple[str, UndecidedError]] = []
    lock = office.folder("work") / "gate.lock"
    with ledger_lock(lock, exclusive=True, wait_s=office.wait_s, what="this office's model runner"):
        try:
            plans = [_plan(state, item) for item in submissions]
            for submission, plan in zip(submissions, plans, strict=True):
                try:
                    _measure(state, submission.record, plan)
                    verdicts.append(_decide(state, submission.record, plan))
                except UndecidedError as error:
                    undecided.append((submission.record.adapter.label, error))
        finally:
            if state.runner is not None:
                state.runner.close(finished=len(verdicts) == len(submissions))
    if undecided:
        raise PartlyUndecidedError(tuple(verdicts), tuple(undecided))
    return tuple(verdicts)


def _submission(office: Office, adapter: Digest) -> Verified[Submission]:
    found = office.reader().find(Kind.SUBMISSION, Submission, subject=adapter)
    if not found:
        raise UsageError(f"no adapter {adapter} was submitted", hint="hand it in with `placet submit`")
    return found[-1]


# --- plan -----------------------------------------------------------------------------------------------


def _plan(state: _Gate, submission: Verified[Submission]) -> Verified[Plan]:
    """Return the plan to follow: the newest that still fits, else a new one, logged now."""
    office, reader = state.office, state.office.reader()
    adapter = submission.record.adapter
    wanted = {name: suite.ref for name, suite in state.suites.items()}
    for plan in reversed(reader.find(Kind.PLAN, Plan, subject=adapter.id)):
        same_suites = {item.suite.id: item.suite for item in plan.record.suites} == wanted
        same = (plan.record.policy, plan.record.base) == (state.policy.ref, submission.record.base)
        if (
            same_suites
            and same
            and (
                not _unmeasured(state, plan)
                or plan.record.engine == _runner(state, plan.record.base.id).info()
            )
        ):
            return plan
    sizes = sample_sizes(state.policy, {name: len(suite.rows()) for name, suite in state.suites.items()})
    for note in review_samples(state.policy, sizes):
        if not note.adequate:
            state.progress.note(f"gate {note.gate}: {note.text}")
    # The blob's name is the policy's digest: whoever reads a verdict later can read what it was judged by.
    office.blobs.put_bytes(canonical_json(state.policy.to_json()))
    engine, head = _runner(state, submission.record.base.id).info(), reader.head()
    record = Plan(
        adapter=adapter,
        base=submission.record.base,
        policy=state.policy.ref,
        suites=tuple(_planned(state, name, size, head) for name, size in sizes.items()),
        engine=engine,
        head=head,
        planned_at=office.clock(),
    )
    subjects = (Subject(adapter.label, adapter.id), Subject("weights", adapter.weights_id))
    return office.record(Kind.PLAN, record, subjects, office.signer(EVALUATOR_KEY))


def _planned(state: _Gate, name: str, size: int, head: LedgerHead) -> PlannedSuite:
    suite = state.suites[name]
    documents = len(suite.rows())
    return PlannedSuite(
        suite=suite.ref,
        stage=suite.stage,
        documents=documents,
        samples=draw_order(documents, size, head.root, suite.ref.digest),
    )


# --- evaluation and safety ------------------------------------------------------------------------------


def _measure(state: _Gate, submission: Submission, plan: Verified[Plan]) -> None:
    """Run what the plan names and the ledger does not have yet: first on the base, then on the adapter.

    Raises:
        UndecidedError: A suite could not be run; what was measured before it stays.
    """
    adapter = submission.adapter
    unmeasured = _unmeasured(state, plan)
    if any(subject_kind == "adapter" for _, subject_kind in unmeasured):
        _runner(state, plan.record.base.id).add_adapter(adapter.weights_id, submission.files)
    for planned, subject_kind in unmeasured:
        try:
            _record_measurement(state, plan, planned, subject_kind)
        except EvaluationError as error:
            label = adapter.label if subject_kind == "adapter" else plan.record.base.label
            raise UndecidedError(
                f"{planned.suite.id} could not be measured on {label}: {error}",
                hint=error.hint or "mend what it names and run `placet gate` again; finished suites are kept",
            ) from error


def _unmeasured(state: _Gate, plan: Verified[Plan]) -> list[tuple[PlannedSuite, str]]:
    """Return what the ledger has no run of that serves the plan, each with its kind of subject: the base's first."""
    reader = state.office.reader()
    on_base = measurements_of(reader, plan.record.base.id)
    on_adapter = measurements_of(reader, plan.record.adapter.weights_id)
    suites = plan.record.suites
    return [
        *(
            (item, "base")
            for item in suites
            if not any(_serves_base(run.record, plan, item) for run in on_base)
        ),
        *(
            (item, "adapter")
            for item in suites
            if not any(_serves_adapter(run.record, plan, item) for run in on_adapter)
        ),
    ]


def _serves_adapter(run: Measurement, plan: Verified[Plan], planned: PlannedSuite) -> bool:
    return run.plan == plan.id and run.suite == planned.suite and run.samples == planned.samples


def _serves_base(run: Measurement, plan: Verified[Plan], planned: PlannedSuite) -> bool:
    """Return whether a run of the base, made for this plan or another, has the same suite, documents and engine."""
    same_documents = sorted(run.samples) == sorted(planned.samples)
    return run.suite == planned.suite and same_documents and run.engine == plan.record.engine


def _record_measurement(
    state: _Gate, plan: Verified[Plan], planned: PlannedSuite, subject_kind: str
) -> Verified[Measurement]:
    office, record = state.office, plan.record
    on_base = subject_kind == "base"
    subject = record.base.id if on_base else record.adapter.weights_id
    label = record.base.label if on_base else record.adapter.label
    measured = _runner(state, record.base.id).measure(
        state.suites[planned.suite.id], planned.samples, None if on_base else subject, label
    )
    measurement = Measurement(
        subject=subject,
        subject_kind=subject_kind,
        base=record.base,
        stage=planned.stage,
        suite=planned.suite,
        metric=measured.metric,
        higher_is_better=measured.higher_is_better,
        n=len(measured.rows),
        mean=measured.mean,
        samples=measured.samples,
        rows_digest=measured.rows_digest,
        blob=office.blobs.put_bytes(measured.parquet),
        engine=measured.engine,
        plan=plan.id,
        self_check=measured.self_check,
        started_at=measured.started_at,
        finished_at=measured.finished_at,
    )
    kind = Kind.EVALUATION if planned.stage is Stage.EVALUATION else Kind.SAFETY
    subjects = (Subject(label, subject), Subject(planned.suite.id, planned.suite.digest))
    return office.record(kind, measurement, subjects, office.signer(EVALUATOR_KEY))


def _runner(state: _Gate, base: Digest) -> Runner:
    if state.runner is None:
        state.runner = Runner(state.office, base, state.progress)
    return state.runner


# --- verdict --------------------------------------------------------------------------------------------


def _decide(state: _Gate, submission: Submission, plan: Verified[Plan]) -> Verified[Verdict]:
    office, reader = state.office, state.office.reader()
    # A run that somebody hid from the index tables would be left out without anybody noticing.
    reader.require_whole()
    digests = [suite.ref.digest for suite in state.suites.values()]
    evidence = gather(reader, office.blobs, submission, state.policy.ref, plan, digests)
    verdict = decide(state.policy, evidence, head=reader.head(), decided_at=office.clock())
    for earlier in reversed(reader.find(Kind.VERDICT, Verdict, subject=submission.adapter.id)):
        # The newest verdict stands if nothing it rests on changed since.
        if (
            earlier.record.model_copy(update={"head": verdict.head, "decided_at": verdict.decided_at})
            == verdict
        ):
            return earlier
        break
    adapter = submission.adapter
    subjects = (Subject(adapter.label, adapter.id), Subject("weights", adapter.weights_id))
    return office.record(Kind.VERDICT, verdict, subjects, office.signer(EVALUATOR_KEY))
