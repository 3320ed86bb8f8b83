"""From a submission to a verdict: plan → evaluation → safety → verdict, each a signed record.

Guarantees: the plan is in the ledger before its first sample runs; whatever was measured is recorded as soon as
its suite is done, so an interrupted gate goes on where it stopped and measures nothing twice; the verdict is
computed from verified records alone; asking again with nothing changed gives the verdict there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from placet.attest.predicates import Kind, spec_of
from placet.attest.statement import Subject
from placet.attest.trust import Verified, sign_record
from placet.domain.digests import Digest
from placet.domain.errors import LedgerBusyError, UndecidedError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import (
    Plan,
    Submission,
    Verdict,
)
from placet.domain.text import plural
from placet.ledger.derived import derive
from placet.ledger.lock import ledger_lock
from placet.ledger.store import StaleError
from placet.measuring.suite import load_suite
from placet.office import EVALUATOR_KEY, Office
from placet.pipeline.costs import cost_of, paces
from placet.pipeline.evidence import gather
from placet.pipeline.finishing import find_plan, finish_plan
from placet.pipeline.measurements import (
    Work,
    measure,
    submission_of,
    unmeasured,
)
from placet.pipeline.overlap import compare_data
from placet.pipeline.plans import make_plans
from placet.pipeline.runner import ON_CPU, Compute
from placet.policy.decide import decide
from placet.policy.fitting import KnownSuite, counts_documents, require_fit
from placet.policy.loader import load_policy
from placet.resources import evals_dir
from placet.sources.cache import cache_dir

_ATTEMPTS = 20
_ACCOUNTED = {spec_of(kind).predicate_type for kind in (Kind.PLAN, Kind.EVALUATION, Kind.SAFETY)}
"""What a verdict accounts for: all of it that is on record when the verdict is logged."""


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
            plans = make_plans(work, submissions)
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


# --- cost -----------------------------------------------------------------------------------------------


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


# --- verdict --------------------------------------------------------------------------------------------


def _decide(work: Work, submission: Submission, plan: Verified[Plan]) -> Verified[Verdict]:
    for _ in range(_ATTEMPTS):
        decided = _decide_once(work, submission, plan)
        if decided is not None:
            return decided
    raise LedgerBusyError(
        f"runs on {submission.adapter.label} were added {_ATTEMPTS} times while it was decided about",
        hint="another machine is measuring it: run `placet gate` again when that is done",
    )


def _decide_once(work: Work, submission: Submission, plan: Verified[Plan]) -> Verified[Verdict] | None:
    """Return the verdict, on record; None if meanwhile something was logged that it would have to account for."""
    office, reader = work.office, work.office.reader()
    # A run that somebody hid from the index tables would be left out without anybody noticing.
    reader.require_whole()
    seen = reader.head().size
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
    envelope = sign_record(Kind.VERDICT, verdict, subjects, office.signer(EVALUATOR_KEY))
    for _ in range(_ATTEMPTS):
        size = office.store.size()
        added = office.store.entries(seen, size)
        if any(derive(entry.index, entry.envelope).predicate_type in _ACCOUNTED for entry in added):
            return None
        try:
            return cast("Verified[Verdict]", office.append_at(size, [envelope])[0])
        except StaleError:
            continue  # something else was added: look whether it matters
    return None
