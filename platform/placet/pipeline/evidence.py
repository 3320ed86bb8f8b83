"""Gathers, from verified records and their blobs, all that a policy may look at. Nothing else reads for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from placet.attest.draw import drawn_otherwise
from placet.attest.predicates import Kind, Training
from placet.attest.trust import Verified
from placet.blobs import BlobStore
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.domain.records import (
    Base,
    BaseStatus,
    Intake,
    Measurement,
    Overlap,
    Plan,
    PlannedReference,
    PolicyRef,
    Submission,
)
from placet.ledger.reader import LedgerReader, in_one_reading
from placet.measuring.rows import Row, load_rows, load_values, rows_digest
from placet.pipeline.policies import Questions
from placet.pipeline.references import find_references
from placet.policy.evidence import (
    Dataset,
    Evidence,
    ModelCard,
    RecordedBase,
    RecordedIntake,
    RecordedOverlap,
    RecordedStatus,
    Rows,
    TrainingStatement,
)
from placet.policy.modelcard import read_card
from placet.review.desk import trainings_of

CARD = "README.md"
"""Where an adapter's model card stands among its files."""


@in_one_reading
def gather(
    reader: LedgerReader,
    blobs: BlobStore,
    submission: Submission,
    policy: PolicyRef,
    plan: Verified[Plan],
    suites: Sequence[Digest],
    others: Sequence[str] = (),
) -> Evidence:
    """Return the evidence about a submission under a plan.

    Args:
        reader: Verified records.
        blobs: Where their per-sample results lie.
        submission: The adapter and its base.
        policy: The policy it will be judged by.
        plan: The plan in question.
        suites: Digests of the suites in question, by which the base's runs are chosen.
        others: What the policy compares with beside the base.

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
    references = find_references(reader, others, base.id)
    # Runs of what a name has come to stand for since the plan was made are no evidence: the plan names the others.
    compared = [item for item in references if item in (plan.record.references or ())]
    overlaps = reader.find(Kind.OVERLAP, Overlap, subject=adapter.weights_id)
    questions = Questions(blobs)
    recorded = tuple(questions.recorded(item.id, item.record) for item in plans)
    evidence = Evidence(
        adapter=adapter,
        base=base,
        policy=policy,
        plan=plan.id,
        plans=tuple(
            replace(one, drawn_otherwise=drawn_otherwise(one.plan)) if one.record == plan.id else one
            for one in recorded
        ),
        runs=tuple(load_rows_of(item, blobs) for item in runs),
        base_runs=tuple(load_rows_of(item, blobs) for item in base_runs),
        intake=RecordedIntake(intakes[-1].id, intakes[-1].record) if intakes else None,
        training=tuple(statement_of(item) for item in trainings),
        listed=(),
        base_record=_base(reader, base.id),
        base_status=_status(reader, base.id),
        card=_card(reader, blobs, submission),
        overlaps=tuple(RecordedOverlap(item.id, item.record) for item in overlaps),
        references=references,
        reference_runs=_reference_runs(reader, blobs, compared, adapter.weights_id, base.id, suites),
    )
    # What was just read is what the ledger lists; a gate sees when somebody takes away from it afterwards.
    return replace(evidence, listed=tuple(evidence.records()))


def _reference_runs(
    reader: LedgerReader,
    blobs: BlobStore,
    references: Sequence[PlannedReference],
    own: Digest,
    base: Digest,
    suites: Sequence[Digest],
) -> tuple[Rows, ...]:
    subjects = dict.fromkeys(item.adapter.weights_id for item in references)
    return tuple(
        load_rows_of(item, blobs)
        for subject in subjects
        if subject != own
        for item in measurements_of(reader, subject)
        if item.record.suite.digest in suites and item.record.base.id == base
    )


def _base(reader: LedgerReader, base: Digest) -> RecordedBase | None:
    found = reader.find(Kind.BASE, Base, subject=base)
    return RecordedBase(found[-1].id, found[-1].record) if found else None


def _status(reader: LedgerReader, base: Digest) -> RecordedStatus | None:
    found = reader.find(Kind.BASE_STATUS, BaseStatus, subject=base)
    return RecordedStatus(found[-1].id, found[-1].record) if found else None


def _card(reader: LedgerReader, blobs: BlobStore, submission: Submission) -> ModelCard | None:
    """Return the card among the files that were submitted, as the newest submission of these very files names it."""
    entry = next((item for item in submission.files if item.path == CARD), None)
    recorded = [
        item.id
        for item in reader.find(Kind.SUBMISSION, Submission, subject=submission.adapter.id)
        if item.record == submission
    ]
    if entry is None or not recorded:
        return None
    return read_card(recorded[-1], blobs.read(entry.sha256))


def measurements_of(reader: LedgerReader, subject: Digest) -> tuple[Verified[Measurement], ...]:
    """Return every measurement of `subject` (a weights id or a base id) in the ledger's order."""
    found = [
        *reader.find(Kind.EVALUATION, Measurement, subject=subject),
        *reader.find(Kind.SAFETY, Measurement, subject=subject),
    ]
    return tuple(
        sorted((item for item in found if item.record.subject == subject), key=lambda item: item.index)
    )


def load_rows_of(measured: Verified[Measurement], blobs: BlobStore) -> Rows:
    """Return a measurement with its rows.

    Raises:
        IntegrityError: The rows are not those that were signed.
    """
    rows = signed_rows(measured.record, blobs)
    if rows is None:
        raise _other_rows(measured)
    return Rows(measured.id, measured.record, tuple(row.value for row in rows), tuple(row.id for row in rows))


def signed_rows(measurement: Measurement, blobs: BlobStore) -> tuple[Row, ...] | None:
    """Return the rows of a measurement, or None if they are not the ones it was signed over."""
    rows = load_rows(blobs.read(measurement.blob))
    same_documents = tuple(row.doc for row in rows) == measurement.samples
    return rows if same_documents and rows_digest(rows) == measurement.rows_digest else None


def load_values_of(measured: Verified[Measurement], blobs: BlobStore) -> Rows:
    """Return a measurement that a past verdict rests on, with its values, without the texts of its rows.

    The rows were held against the digest of their canonical form when the verdict was given; here the file is held
    against its own, which the same signature covers.

    Raises:
        IntegrityError: The file is not the one that was signed.
    """
    documents, ids, values = load_values(blobs.read(measured.record.blob))
    if documents != measured.record.samples:
        raise _other_rows(measured)
    return Rows(measured.id, measured.record, values, ids)


def _other_rows(measured: Verified[Measurement]) -> IntegrityError:
    return IntegrityError(
        f"the per-sample results of record {measured.index} are not the ones it was signed over",
        hint="run `placet audit`",
    )


def statement_of(training: Verified[Training]) -> TrainingStatement:
    """Return what a training record says, for a policy."""
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
        datasets=tuple(
            Dataset(
                data.name, Digest("sha256:" + data.digest.get("sha256", "")), data.annotations.get("license")
            )
            for data in training.record.dependency("dataset")
        ),
    )
