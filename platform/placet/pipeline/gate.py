"""From a submission to a verdict: plan → evaluation → safety → verdict, each a signed record.

Guarantees: the plan is in the ledger before its first sample runs; whatever was measured is recorded as soon as
its suite is done, so an interrupted gate goes on where it stopped and measures nothing twice; the verdict is
computed from verified records alone; asking again with nothing changed gives the verdict there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.digests import Digest, canonical_json
from placet.domain.errors import UndecidedError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import (
    EngineInfo,
    LedgerHead,
    Plan,
    PlannedReference,
    PlannedSuite,
    Sequential,
    Submission,
    Verdict,
)
from placet.domain.text import plural
from placet.ledger.lock import ledger_lock
from placet.measuring.sampling import draw_order
from placet.measuring.suite import groups_by, largest_group, load_suite
from placet.office import EVALUATOR_KEY, Office
from placet.pipeline.costs import Pace, cost_of, paces
from placet.pipeline.evidence import gather, measurements_of
from placet.pipeline.finishing import find_plan, finish_plan
from placet.pipeline.measurements import (
    Work,
    measure,
    runner_of,
    submission_of,
    unmeasured,
    whole_run_of_base,
)
from placet.pipeline.overlap import compare_data
from placet.pipeline.references import find_references
from placet.pipeline.runner import ON_CPU, Compute
from placet.policy.decide import decide
from placet.policy.fitting import KnownSuite, counts_documents, require_fit
from placet.policy.forecasts import expected_documents
from placet.policy.loader import load_policy
from placet.policy.model import ComparisonGate
from placet.policy.planning import group_sizes, review_samples, sample_sizes
from placet.policy.schema import DEFAULT_CHUNK
from placet.resources import evals_dir
from placet.sources.cache import cache_dir


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
    compute: Compute = ON_CPU,
    finish: Sequence[str] = (),
) -> tuple[Verified[Verdict], ...]:
    """Bring each adapter to a verdict under the policy, on one loaded base.

    Args:
        office: The office.
        adapters: Ids of submitted adapters, all on one base.
        policy_path: The policy document.
        progress: Listens.
        suites_dir: Folder of the policy's suites; the ones that come with Placet by default.
        compute: Where, in which type and in how many processes the model runs.
        finish: Plans of these adapters' weights (beginnings of record ids) that were never measured to their end: they
            are finished first.

    Raises:
        UsageError: Not submitted, several bases, an unusable policy or suite, or no such plan to finish.
        PartlyUndecidedError: A required check could not be run for some; the others are decided and recorded.
    """
    policy = load_policy(policy_path)
    folder = suites_dir or evals_dir()
    suites = {name: load_suite(folder / name, cache=cache_dir(), progress=progress) for name in policy.suites}
    known = {
        name: KnownSuite(suite.value_range, len(suite.rows()) if counts_documents(policy, name) else None)
        for name, suite in suites.items()
    }
    require_fit(policy, known, policy_path)
    submissions = [submission_of(office, adapter) for adapter in adapters]
    if len({item.record.base.id for item in submissions}) > 1:
        raise UsageError(
            "these adapters are on different bases", hint="gate the adapters of one base at a time"
        )
    work = Work(office, policy, suites, progress, compute)
    verdicts: list[Verified[Verdict]] = []
    undecided: list[tuple[str, UndecidedError]] = []
    lock = office.folder("work") / "gate.lock"
    with ledger_lock(lock, exclusive=True, wait_s=office.wait_s, what="this office's model runner"):
        try:
            adapters_given = tuple(item.record.adapter for item in submissions)
            for text in finish:
                finish_plan(work, find_plan(office.reader(), text, adapters_given))
            # One state of the log for all: the adapters then run in one order, and the base once for all of them.
            head = office.reader().head()
            plans = [_plan(work, item, head) for item in submissions]
            _tell_cost(work, plans)
            for submission, plan in zip(submissions, plans, strict=True):
                try:
                    measure(work, submission.record, plan)
                    compare_data(office, work.policy, work.suites, submission.record, progress)
                    verdicts.append(_decide(work, submission.record, plan))
                except UndecidedError as error:
                    undecided.append((submission.record.adapter.label, error))
        finally:
            if work.runner is not None:
                work.runner.close()
    if undecided:
        raise PartlyUndecidedError(tuple(verdicts), tuple(undecided))
    return tuple(verdicts)


# --- plan -----------------------------------------------------------------------------------------------


def _plan(work: Work, submission: Verified[Submission], head: LedgerHead) -> Verified[Plan]:
    """Return the plan to follow: the newest that still fits, else a new one, drawn from `head` and logged now."""
    office, reader = work.office, work.office.reader()
    adapter = submission.record.adapter
    references = find_references(reader, work.policy.others, submission.record.base.id)
    for plan in reversed(reader.find(Kind.PLAN, Plan, subject=adapter.id)):
        if _still_fits(work, plan.record, submission.record, references) and (
            not unmeasured(work, plan) or plan.record.engine == runner_of(work, plan.record.base.id).info()
        ):
            return plan
    documents = {name: len(suite.rows()) for name, suite in work.suites.items()}
    sizes = sample_sizes(work.policy, documents)
    pace = paces(reader, submission.record.base.id)
    suites = tuple(_planned(work, name, size, head, pace) for name, size in sizes.items())
    for note in review_samples(work.policy, sizes, documents, group_sizes(suites)):
        if not note.adequate:
            work.progress.note(f"gate {note.gate}: {note.text}")
    # The blob's name is the policy's digest: whoever reads a verdict later can read what it was judged by.
    office.blobs.put_bytes(canonical_json(work.policy.to_json()))
    engine = runner_of(work, submission.record.base.id).info()
    record = Plan(
        adapter=adapter,
        base=submission.record.base,
        policy=work.policy.ref,
        suites=tuple(_with_companions(work, item, submission.record.base.id, engine) for item in suites),
        engine=engine,
        head=head,
        planned_at=office.clock(),
        references=references or None,
        known_results=_known_results(work, adapter.weights_id) or None,
    )
    if record.known_results:
        work.progress.note(
            f"{adapter.label}: {len(record.known_results)} runs of these suites on these weights are on record"
            " already; the plan says so"
        )
    # Whoever asks for the plans on some weights gets those too that have them measured for a comparison.
    compared = {item.adapter.weights_id: item.adapter.label for item in references}
    subjects = (
        Subject(adapter.label, adapter.id),
        Subject("weights", adapter.weights_id),
        *(Subject(label, weights) for weights, label in compared.items() if weights != adapter.weights_id),
    )
    return office.record(Kind.PLAN, record, subjects, office.signer(EVALUATOR_KEY))


def _tell_cost(work: Work, plans: Sequence[Verified[Plan]]) -> None:
    """Say what is still to be run for `plans`, on the base and on others once for all of them."""
    wanted: dict[tuple[Digest, Digest], tuple[str, Digest, int]] = {}
    for plan in plans:
        for planned, target in unmeasured(work, plan):
            suite = planned.suite
            documents = planned.expected_documents or len(planned.samples)
            wanted[suite.digest, target.subject] = (suite.id, suite.digest, documents)
    if wanted:
        cost = cost_of(wanted.values(), paces(work.office.reader(), plans[0].record.base.id))
        subjects = len({subject for _, subject in wanted})
        work.progress.note(f"planned, on {plural(subjects, 'subject')}: {cost.told()}")


def _known_results(work: Work, weights_id: Digest) -> tuple[Digest, ...]:
    """Return the runs of the policy's suites on these weights that whoever makes a plan now could have seen."""
    wanted = {suite.ref.digest for suite in work.suites.values()}
    runs = measurements_of(work.office.reader(), weights_id)
    return tuple(run.id for run in runs if run.record.suite.digest in wanted)


def _still_fits(
    work: Work, plan: Plan, submission: Submission, references: tuple[PlannedReference, ...]
) -> bool:
    """Return whether a plan asks today's question: same policy, base, suites, comparisons, engine; not too old."""
    limit = work.policy.max_age_days
    young = limit is None or work.office.clock() - plan.planned_at < timedelta(days=limit)
    return (
        young
        and (plan.adapter, plan.policy, plan.base) == (submission.adapter, work.policy.ref, submission.base)
        and {item.suite.id: item.suite for item in plan.suites}
        == {name: suite.ref for name, suite in work.suites.items()}
        and (plan.references or ()) == references
        and work.compute.fits(plan.engine)
    )


def _planned(work: Work, name: str, size: int, head: LedgerHead, pace: Mapping[Digest, Pace]) -> PlannedSuite:
    suite, sampling = work.suites[name], work.policy.suites[name]
    documents = len(suite.rows())
    samples = draw_order(documents, size, head.root, suite.ref.digest)
    groups = {column: groups_by(suite, column, samples) for column in work.policy.columns_of(name)}
    sequential = None
    if sampling.mode == "sequential" and sampling.claim is not None:
        sequential = Sequential(claim=sampling.claim, chunk=sampling.chunk or DEFAULT_CHUNK)
    largest = {column: largest_group(suite, column) for column in work.policy.columns_of(name)}
    expected = expected_documents(work.policy, name, documents)
    return PlannedSuite(
        suite=suite.ref,
        stage=suite.stage,
        documents=documents,
        samples=samples,
        groups=groups or None,
        expected_documents=expected if sequential else None,
        expected_s=pace[suite.ref.digest].of(expected) if suite.ref.digest in pace else None,
        cluster=sampling.cluster,
        sequential=sequential,
        value_range=suite.value_range,
        largest_groups=largest or None,
    )


def _with_companions(work: Work, planned: PlannedSuite, base: Digest, engine: EngineInfo) -> PlannedSuite:
    """Return a suite that is planned as sequential with the run of the base whose values can steady its tests."""
    if planned.sequential is None or planned.sequential.claim != "benchmark":
        return planned
    if not any(isinstance(gate, ComparisonGate) for gate in work.policy.gates_on(planned.suite.id)):
        return planned
    whole = whole_run_of_base(work, work.suites[planned.suite.id], base, engine)
    return planned if whole is None else planned.model_copy(update={"companions": whole.id})


# --- verdict --------------------------------------------------------------------------------------------


def _decide(work: Work, submission: Submission, plan: Verified[Plan]) -> Verified[Verdict]:
    office, reader = work.office, work.office.reader()
    # A run that somebody hid from the index tables would be left out without anybody noticing.
    reader.require_whole()
    digests = [suite.ref.digest for suite in work.suites.values()]
    others = work.policy.others
    evidence = gather(reader, office.blobs, submission, work.policy.ref, plan, digests, others)
    verdict = decide(work.policy, evidence, head=reader.head(), decided_at=office.clock())
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
