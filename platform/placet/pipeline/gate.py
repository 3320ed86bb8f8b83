"""From a submission to a verdict: plan → evaluation → safety → verdict, each a signed record.

Guarantees: the plan is in the ledger before its first sample runs; whatever was measured is recorded as soon as
its suite is done, so an interrupted gate goes on where it stopped and measures nothing twice; the verdict is
computed from verified records alone; asking again with nothing changed gives the verdict there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.digests import Digest, canonical_json
from placet.domain.errors import EvaluationError, UndecidedError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import (
    AdapterRef,
    LedgerHead,
    Measurement,
    Plan,
    PlannedReference,
    PlannedSuite,
    Sequential,
    Stage,
    Submission,
    Verdict,
)
from placet.ledger.lock import ledger_lock
from placet.measuring.sampling import draw_order
from placet.measuring.suite import Suite, load_suite
from placet.office import EVALUATOR_KEY, Office
from placet.pipeline.evidence import gather, measurements_of
from placet.pipeline.overlap import compare_data
from placet.pipeline.references import find_references
from placet.pipeline.runner import Runner
from placet.policy.decide import decide
from placet.policy.gates.model import OtherGate
from placet.policy.loader import load_policy
from placet.policy.planning import review_samples, sample_sizes
from placet.policy.schema import DEFAULT_CHUNK, Policy
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
                    compare_data(office, state.policy, state.suites, submission.record, progress)
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
    references = find_references(reader, state.policy.others, submission.record.base.id)
    for plan in reversed(reader.find(Kind.PLAN, Plan, subject=adapter.id)):
        if _still_fits(state, plan.record, submission.record, references) and (
            not _unmeasured(state, plan) or plan.record.engine == _runner(state, plan.record.base.id).info()
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
        references=references or None,
    )
    # Whoever asks for the plans on some weights gets those too that have them measured for a comparison.
    compared = {item.adapter.weights_id: item.adapter.label for item in references}
    subjects = (
        Subject(adapter.label, adapter.id),
        Subject("weights", adapter.weights_id),
        *(Subject(label, weights) for weights, label in compared.items() if weights != adapter.weights_id),
    )
    return office.record(Kind.PLAN, record, subjects, office.signer(EVALUATOR_KEY))


def _still_fits(
    state: _Gate, plan: Plan, submission: Submission, references: tuple[PlannedReference, ...]
) -> bool:
    """Return whether a plan asks today's question: same policy, base, suites and comparisons, and not too old."""
    limit = state.policy.max_age_days
    young = limit is None or state.office.clock() - plan.planned_at < timedelta(days=limit)
    return (
        young
        and (plan.adapter, plan.policy, plan.base) == (submission.adapter, state.policy.ref, submission.base)
        and {item.suite.id: item.suite for item in plan.suites}
        == {name: suite.ref for name, suite in state.suites.items()}
        and (plan.references or ()) == references
    )


def _planned(state: _Gate, name: str, size: int, head: LedgerHead) -> PlannedSuite:
    suite, sampling = state.suites[name], state.policy.suites[name]
    documents = len(suite.rows())
    samples = draw_order(documents, size, head.root, suite.ref.digest)
    groups = {column: _groups(suite, column, samples) for column in state.policy.columns_of(name)}
    sequential = None
    if sampling.mode == "sequential" and sampling.claim is not None:
        sequential = Sequential(claim=sampling.claim, chunk=sampling.chunk or DEFAULT_CHUNK)
    return PlannedSuite(
        suite=suite.ref,
        stage=suite.stage,
        documents=documents,
        samples=samples,
        groups=groups or None,
        sequential=sequential,
    )


def _groups(suite: Suite, column: str, samples: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the planned documents by what they have in `column`.

    Raises:
        UsageError: A document has no such column, or no text or number in it.
    """
    rows, groups = suite.rows(), dict[str, list[int]]()
    for document in samples:
        value = rows[document].get(column)
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise UsageError(
                f"{suite.manifest.id}: document {rows[document]['id']} has no {column} to group by",
                hint="name a column that every document of the suite has: `by` of the policy's gate",
            )
        groups.setdefault(str(value), []).append(document)
    return {name: tuple(members) for name, members in sorted(groups.items())}


# --- evaluation and safety ------------------------------------------------------------------------------


def _measure(state: _Gate, submission: Submission, plan: Verified[Plan]) -> None:
    """Run what the plan names and the ledger does not have yet: first on the base, then on the adapter.

    Raises:
        UndecidedError: A suite could not be run; what was measured before it stays.
    """
    unmeasured = _unmeasured(state, plan)
    for target in dict.fromkeys(target for _, target in unmeasured):
        if target.adapter is not None:
            own = target.adapter == submission.adapter
            files = (submission if own else _submission(state.office, target.adapter.id).record).files
            _runner(state, plan.record.base.id).add_adapter(target.adapter.weights_id, files)
    for planned, target in unmeasured:
        try:
            _record_measurement(state, plan, planned, target)
        except EvaluationError as error:
            raise UndecidedError(
                f"{planned.suite.id} could not be measured on {target.label}: {error}",
                hint=error.hint or "mend what it names and run `placet gate` again; finished suites are kept",
            ) from error


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom a suite is run on: the base (no adapter), the adapter, or another one to compare with."""

    subject: Digest
    label: str
    adapter: AdapterRef | None


def _unmeasured(state: _Gate, plan: Verified[Plan]) -> list[tuple[PlannedSuite, _Target]]:
    """Return what the ledger has no run of that serves the plan: the base's first, the adapter's own last."""
    reader, record = state.office.reader(), plan.record
    base = _Target(record.base.id, record.base.label, None)
    mine = _Target(record.adapter.weights_id, record.adapter.label, record.adapter)
    asked = {(item.suite.id, base.subject): (item, base) for item in record.suites}
    for reference in record.references or ():
        if reference.adapter.weights_id != record.adapter.weights_id:
            other = _Target(reference.adapter.weights_id, reference.adapter.label, reference.adapter)
            compared = [item for item in record.suites if _compares(state, item, reference.name)]
            asked |= {(item.suite.id, other.subject): (item, other) for item in compared}
    asked |= {(item.suite.id, mine.subject): (item, mine) for item in record.suites}
    subjects = {target.subject for _, target in asked.values()}
    runs = {subject: measurements_of(reader, subject) for subject in subjects}
    return [
        (item, target)
        for item, target in asked.values()
        if not any(_serves(state, run.record, plan, item, own=target is mine) for run in runs[target.subject])
    ]


def _compares(state: _Gate, planned: PlannedSuite, name: str) -> bool:
    gates = state.policy.gates_on(planned.suite.id)
    return any(isinstance(gate, OtherGate) and gate.than == name for gate in gates)


def _serves(
    state: _Gate, run: Measurement, plan: Verified[Plan], planned: PlannedSuite, *, own: bool
) -> bool:
    """Return whether a run is the one that the plan asks for.

    The adapter's own has to be made for this plan. Another subject's may be one made for another plan, if it is on
    the same suite, documents and engine and not older than the policy allows.
    """
    if own:
        return run.plan == plan.id and run.suite == planned.suite and run.samples == planned.samples
    limit = state.policy.max_age_days
    young = limit is None or state.office.clock() - run.finished_at < timedelta(days=limit)
    same_documents = sorted(run.samples) == sorted(planned.samples)
    return young and run.suite == planned.suite and same_documents and run.engine == plan.record.engine


def _record_measurement(
    state: _Gate, plan: Verified[Plan], planned: PlannedSuite, target: _Target
) -> Verified[Measurement]:
    office, record = state.office, plan.record
    measured = _runner(state, record.base.id).measure(
        state.suites[planned.suite.id],
        planned.samples,
        target.adapter.weights_id if target.adapter else None,
        target.label,
    )
    measurement = Measurement(
        subject=target.subject,
        subject_kind="adapter" if target.adapter else "base",
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
    subjects = (Subject(target.label, target.subject), Subject(planned.suite.id, planned.suite.digest))
    return office.record(kind, measurement, subjects, office.signer(EVALUATOR_KEY))


def _runner(state: _Gate, base: Digest) -> Runner:
    if state.runner is None:
        state.runner = Runner(state.office, base, state.progress)
    return state.runner


# --- verdict --------------------------------------------------------------------------------------------


def _decide(state: _Gate, submission: Submission, plan: Verified[Plan]) -> Verified[Verdict]:
    office, reader = state.office, state.office.reader()
    digests = [suite.ref.digest for suite in state.suites.values()]
    others = state.policy.others
    evidence = gather(reader, office.blobs, submission, state.policy.ref, plan, digests, others)
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
