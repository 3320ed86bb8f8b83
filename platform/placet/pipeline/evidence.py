"""Gathers, from verified records and their blobs, all that a policy may look at. Nothing else reads for it."""

from __future__ import annotations

from collections.abc import Sequence

from placet.attest.predicates import Kind, Training
from placet.attest.trust import Verified
from placet.blobs import BlobStore
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.domain.records import Intake, Measurement, Plan, PolicyRef, Submission
from placet.ledger.reader import LedgerReader, in_one_reading
from placet.measuring.rows import load_rows, rows_digest
from placet.policy.evidence import Evidence, RecordedIntake, RecordedPlan, Rows, TrainingStatement
from placet.review.desk import trainings_of


@in_one_reading
def gather(
    reader: LedgerReader,
    blobs: BlobStore,
    submission: Submission,
    policy: PolicyRef,
    plan: Verified[Plan],
    suites: Sequence[Digest],
) -> Evidence:
    """Return the evidence about a submission under a plan.

    Args:
        reader: Verified records.
        blobs: Where their per-sample results lie.
        submission: The adapter and its base.
        policy: The policy it will be judged by.
        plan: The plan in question.
        suites: Digests of the suites in question, by which the base's runs are chosen.

    Raises:
        IntegrityError: A record does not verify, or a blob is not what its record says.
    """
    adapter, base = submission.adapter, submission.base
    plans = reader.find(Kind.PLAN, Plan, subject=adapter.weights_id)
    runs = measurements_of(reader, adapter.weights_id)
    base_runs = tuple(item for item in measurements_of(reader, base.id) if item.record.suite.digest in suites)
    trainings = trainings_of(reader, adapter.weights_id)
    intakes = [
        item for item in reader.find(Kind.INTAKE, Intake, subject=adapter.id) if item.record.base == base
    ]
    intake = RecordedIntake(intakes[-1].id, intakes[-1].record) if intakes else None
    listed = [item.id for group in (plans, runs, base_runs, trainings) for item in group]
    return Evidence(
        adapter=adapter,
        base=base,
        policy=policy,
        plan=plan.id,
        plans=tuple(RecordedPlan(item.id, item.record) for item in plans),
        runs=tuple(_rows(item, blobs) for item in runs),
        base_runs=tuple(_rows(item, blobs) for item in base_runs),
        intake=intake,
        training=tuple(_statement(item) for item in trainings),
        listed=tuple(listed + ([intake.record] if intake else [])),
    )


def measurements_of(reader: LedgerReader, subject: Digest) -> tuple[Verified[Measurement], ...]:
    """Return every measurement of `subject` (a weights id or a base id) in the ledger's order."""
    found = [
        *reader.find(Kind.EVALUATION, Measurement, subject=subject),
        *reader.find(Kind.SAFETY, Measurement, subject=subject),
    ]
    return tuple(
        sorted((item for item in found if item.record.subject == subject), key=lambda item: item.index)
    )


def _rows(measured: Verified[Measurement], blobs: BlobStore) -> Rows:
    rows = load_rows(blobs.read(measured.record.blob))
    same_documents = tuple(row.doc for row in rows) == measured.record.samples
    if not same_documents or rows_digest(rows) != measured.record.rows_digest:
        raise IntegrityError(
            f"the per-sample results of record {measured.index} are not the ones it was signed over",
            hint="run `placet audit`",
        )
    return Rows(measured.id, measured.record, tuple(row.value for row in rows))


def _statement(training: Verified[Training]) -> TrainingStatement:
    (weights, *_) = training.statement.subjects
    base = training.record.base
    return TrainingStatement(
        record=training.id,
        weights_id=weights.digest,
        base=base.id if base else None,
        parents=tuple(
            Digest("sha256:" + parent.digest.get("sha256", ""))
            for parent in training.record.dependency("parent-adapter")
        ),
        signer=training.person,
        # The reader verified that the signing key held the trainer role at the record's index.
        by_trainer=True,
    )
