"""Runs what a plan names and the ledger does not have yet, and logs each suite as soon as it is done.

Guarantees: whatever was measured is recorded at once, so an interrupted gate goes on where it stopped and measures
nothing twice; the base is measured first, then what the policy compares with, the adapter last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.errors import EvaluationError, UndecidedError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import EngineInfo, Measurement, Plan, PlannedSuite, Stage, Submission
from placet.measuring.measured import MeasuredSuite
from placet.measuring.rows import Row
from placet.measuring.suite import Suite
from placet.office import EVALUATOR_KEY, Office
from placet.pipeline.evidence import measurements_of, signed_rows
from placet.pipeline.runner import ON_CPU, Compute, Runner
from placet.pipeline.sequential import Run, Target, run_until_settled
from placet.policy.model import OtherGate
from placet.policy.schema import Policy


@dataclass
class Work:
    """The parts of one call of the gate: what every adapter in it shares."""

    office: Office
    policy: Policy
    suites: dict[str, Suite]
    progress: Progress
    compute: Compute = ON_CPU
    runner: Runner | None = None


def submission_of(office: Office, adapter: Digest) -> Verified[Submission]:
    """Return the newest submission of an adapter id.

    Raises:
        UsageError: It was not submitted.
    """
    found = office.reader().find(Kind.SUBMISSION, Submission, subject=adapter)
    if not found:
        raise UsageError(f"no adapter {adapter} was submitted", hint="hand it in with `placet submit`")
    return found[-1]


def measure(work: Work, submission: Submission, plan: Verified[Plan]) -> None:
    """Run what the plan names and the ledger does not have yet: first on the base, then on the adapter.

    A suite that cannot be run stops no other.

    Raises:
        UndecidedError: Some suites could not be run; the others are on record.
    """
    wanted = unmeasured(work, plan)
    for target in dict.fromkeys(target for _, target in wanted):
        if target.adapter is not None:
            own = target.adapter == submission.adapter
            files = (submission if own else submission_of(work.office, target.adapter.id).record).files
            runner_of(work, plan.record.base.id).add_adapter(target.adapter.weights_id, files)
    done: set[Digest] = set()
    failed: dict[str, tuple[list[str], str]] = {}
    for planned, target in wanted:
        try:
            if planned.sequential is None:
                measured = _run(work, plan, planned)(planned.samples, target)
                _record_measurement(work, plan, planned, target, measured)
            elif planned.suite.digest not in done:
                done.add(planned.suite.digest)
                _measure_sequential(work, plan, planned)
        except EvaluationError as error:
            failed.setdefault(str(error), ([], error.hint))[0].append(f"{planned.suite.id} on {target.label}")
            work.progress.note(f"{planned.suite.id} could not be measured on {target.label}: {error}")
    if failed:
        what = "; ".join(f"{', '.join(places)}: {words}" for words, (places, _) in failed.items())
        hint = next((hint for _, hint in failed.values() if hint), "")
        raise UndecidedError(
            f"could not be measured: {what}",
            hint=hint or "mend what it names and run `placet gate` again; finished suites are kept",
        )
    if work.runner is not None:
        work.runner.finish(plan.id)


def _run(work: Work, plan: Verified[Plan], planned: PlannedSuite) -> Run:
    # Read once for each subject: a sequential suite is run in many chunks, and recorded after the last.
    recorded: dict[Digest, list[tuple[Verified[Measurement], tuple[Row, ...]]]] = {}

    def run(documents: tuple[int, ...], target: Target) -> MeasuredSuite:
        weights = target.adapter.weights_id if target.adapter else None
        runner = runner_of(work, plan.record.base.id)
        if target.subject not in recorded:
            recorded[target.subject] = _recorded(work, planned, target.subject)
        return runner.measure(
            work.suites[planned.suite.id],
            documents,
            weights,
            target.label,
            plan=plan.id,
            recorded=recorded[target.subject],
        )

    return run


def _recorded(
    work: Work, planned: PlannedSuite, subject: Digest
) -> list[tuple[Verified[Measurement], tuple[Row, ...]]]:
    """Return the verified runs of a suite on a subject, newest first, with the rows they were signed over."""
    return [
        (run, rows)
        for run in reversed(measurements_of(work.office.reader(), subject))
        if run.record.suite == planned.suite
        and (rows := signed_rows(run.record, work.office.blobs)) is not None
    ]


def _measure_sequential(work: Work, plan: Verified[Plan], planned: PlannedSuite) -> None:
    """Run a sequential suite on everybody until it is settled, and record what was run: the adapter's last."""
    base, own, others = _targets(work, plan.record, planned)
    compared = {"base": base, **others}
    recorded = _recorded_beginning(work, plan, planned, own)
    if recorded is not None:
        # The adapter's run is on record and another subject's is not: run that on the same documents.
        planned = planned.model_copy(update={"samples": recorded.samples, "sequential": None})
        for target in {target.subject: target for target in compared.values()}.values():
            if _known(work, plan, planned, target) is None:
                measured = _run(work, plan, planned)(planned.samples, target)
                _record_measurement(work, plan, planned, target, measured)
        return
    known = {
        target.subject: _known_beginning(work, plan, planned, target)
        for target in compared.values()
        if target.subject != own.subject
    }
    companions = _companions(work, planned, base)
    made = run_until_settled(
        work.policy, planned, own, compared, known, _run(work, plan, planned), companions
    )
    targets = {target.subject: target for target in (*compared.values(), own)}
    for subject, measured in made.items():
        beginning = planned.model_copy(update={"samples": measured.samples})
        if subject == own.subject or _known(work, plan, beginning, targets[subject]) is None:
            _record_measurement(work, plan, planned, targets[subject], measured)


def whole_run_of_base(
    work: Work, suite: Suite, base: Digest, engine: EngineInfo
) -> Verified[Measurement] | None:
    """Return the newest run of the base on every document of a suite that a plan of today may name, or None."""
    limit, documents = work.policy.max_age_days, set(range(len(suite.rows())))
    for run in reversed(measurements_of(work.office.reader(), base)):
        record = run.record
        young = limit is None or work.office.clock() - record.finished_at < timedelta(days=limit)
        if (
            young
            and (record.suite, record.engine) == (suite.ref, engine)
            and set(record.samples) == documents
        ):
            return run
    return None


def _companions(work: Work, planned: PlannedSuite, base: Target) -> dict[int, float] | None:
    """Return the values of the base's run that the plan names.

    Raises:
        EvaluationError: They are not those that were signed.
    """
    if planned.companions is None:
        return None
    runs = measurements_of(work.office.reader(), base.subject)
    named = next((run for run in runs if run.id == planned.companions), None)
    rows = None if named is None else signed_rows(named.record, work.office.blobs)
    if rows is None:
        raise EvaluationError(
            f"the run of the base that the plan names for {planned.suite.id} is not what was signed",
            hint="run `placet audit`",
        )
    return {row.doc: row.value for row in rows}


def _recorded_beginning(
    work: Work, plan: Verified[Plan], planned: PlannedSuite, own: Target
) -> Measurement | None:
    runs = measurements_of(work.office.reader(), own.subject)
    return next((run.record for run in runs if _serves(work, run.record, plan, planned, own=True)), None)


def _known(
    work: Work, plan: Verified[Plan], planned: PlannedSuite, target: Target
) -> dict[int, float] | None:
    """Return another subject's values from a run on record that has all of `planned`, or None."""
    for run in reversed(measurements_of(work.office.reader(), target.subject)):
        if _serves(work, run.record, plan, planned, own=False):
            rows = signed_rows(run.record, work.office.blobs)
            if rows is not None:
                return {row.doc: row.value for row in rows}
    return None


def _known_beginning(
    work: Work, plan: Verified[Plan], planned: PlannedSuite, target: Target
) -> dict[int, float]:
    """Return another subject's values from the one run on record that has most of the plan's order, from its start."""
    best, most = None, 0
    for run in reversed(measurements_of(work.office.reader(), target.subject)):
        held = set(run.record.samples)
        beginning = next(
            (place for place, document in enumerate(planned.samples) if document not in held),
            len(planned.samples),
        )
        asked = planned.model_copy(update={"samples": planned.samples[:beginning]})
        if beginning > most and _serves(work, run.record, plan, asked, own=False):
            best, most = run.record, beginning
    rows = None if best is None else signed_rows(best, work.office.blobs)
    values = {} if rows is None else {row.doc: row.value for row in rows}
    return {document: values[document] for document in planned.samples[:most] if document in values}


def _targets(work: Work, record: Plan, planned: PlannedSuite) -> tuple[Target, Target, dict[str, Target]]:
    """Return the base, the adapter, and by name the other adapters that a gate compares with on this suite."""
    base = Target(record.base.id, record.base.label, None)
    own = Target(record.adapter.weights_id, record.adapter.label, record.adapter)
    others = {
        item.name: Target(item.adapter.weights_id, item.adapter.label, item.adapter)
        for item in record.references or ()
        if _compares(work, planned, item.name)
    }
    return base, own, others


def unmeasured(work: Work, plan: Verified[Plan]) -> list[tuple[PlannedSuite, Target]]:
    """Return what the ledger has no run of that serves the plan: the base's first, the adapter's own last."""
    reader, record = work.office.reader(), plan.record
    targets = {item.suite.id: _targets(work, record, item) for item in record.suites}
    mine = record.adapter.weights_id
    everybody = {
        target.subject for base, own, others in targets.values() for target in (base, own, *others.values())
    }
    runs = {subject: measurements_of(reader, subject) for subject in everybody}
    found: list[tuple[PlannedSuite, Target]] = []
    for part in ("base", "others", "own"):
        for item in record.suites:
            base, own, others = targets[item.suite.id]
            wanted = {"base": (base,), "others": tuple(others.values()), "own": (own,)}[part]
            asked = _asked(work, plan, item, [run.record for run in runs[mine]])
            for target in {target.subject: target for target in wanted}.values():
                if part == "others" and target.subject == mine:
                    continue
                own_run = part == "own"
                records = (run.record for run in runs[target.subject])
                if not any(_serves(work, run, plan, asked, own=own_run) for run in records):
                    found.append((item, target))
    return found


def _asked(
    work: Work, plan: Verified[Plan], planned: PlannedSuite, own: Sequence[Measurement]
) -> PlannedSuite:
    """Return the suite with the documents that others have to be run on: those of the adapter's, if it stopped."""
    if planned.sequential is None:
        return planned
    stopped = [run for run in own if _serves(work, run, plan, planned, own=True)]
    return planned.model_copy(update={"samples": stopped[0].samples}) if stopped else planned


def _compares(work: Work, planned: PlannedSuite, name: str) -> bool:
    gates = work.policy.gates_on(planned.suite.id)
    return any(isinstance(gate, OtherGate) and gate.than == name for gate in gates)


def _serves(work: Work, run: Measurement, plan: Verified[Plan], planned: PlannedSuite, *, own: bool) -> bool:
    """Return whether a run is the one that the plan asks for.

    The adapter's own has to be made for this plan. Another subject's may be one made for another plan, if it is on
    the same suite, documents and engine and not older than the policy allows.
    """
    if own:
        count = run.n if planned.sequential is not None else len(planned.samples)
        return (run.plan, run.suite) == (plan.id, planned.suite) and run.samples == planned.samples[:count]
    limit = work.policy.max_age_days
    young = limit is None or work.office.clock() - run.finished_at < timedelta(days=limit)
    has_all = set(run.samples) >= set(planned.samples)
    return young and run.suite == planned.suite and has_all and run.engine == plan.record.engine


def _record_measurement(
    work: Work,
    plan: Verified[Plan],
    planned: PlannedSuite,
    target: Target,
    measured: MeasuredSuite,
) -> Verified[Measurement]:
    office, record = work.office, plan.record
    if cut := measured.self_check.get("requests_truncated"):
        work.progress.note(
            f"{planned.suite.id} on {target.label}: {cut} requests are longer than the model's context "
            "and lost their beginning"
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
        reused=measured.reused or None,
        started_at=measured.started_at,
        finished_at=measured.finished_at,
    )
    kind = Kind.EVALUATION if planned.stage is Stage.EVALUATION else Kind.SAFETY
    subjects = (Subject(target.label, target.subject), Subject(planned.suite.id, planned.suite.digest))
    return office.record(kind, measurement, subjects, office.signer(EVALUATOR_KEY))


def runner_of(work: Work, base: Digest) -> Runner:
    """Return the model runner, loaded when it is first needed."""
    if work.runner is None:
        work.runner = Runner(work.office, base, work.progress, work.compute)
    return work.runner
