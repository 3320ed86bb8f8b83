"""Handing an adapter in: fetched, taken into the store, examined, and on record whether taken in or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from placet.attest.envelope import parse_envelope
from placet.attest.keys import Signer
from placet.attest.predicates import Kind, Role, Training
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.digests import Digest, digest_file, short
from placet.domain.errors import UsageError
from placet.domain.progress import Progress
from placet.domain.records import Intake, Submission
from placet.intake import examine
from placet.intake.base import BaseProfile
from placet.ledger.reader import LedgerReader
from placet.office import EVALUATOR_KEY, Office
from placet.pipeline.bases import find_base
from placet.pipeline.overlap import training_data
from placet.sources import Source, cache_dir


@dataclass(frozen=True, slots=True)
class SubmitResult:
    """What became of a submission. `submission` is None when intake refused it; `intake` says why."""

    intake: Verified[Intake]
    submission: Verified[Submission] | None
    seen_before: bool


def submit(
    office: Office,
    source: Source,
    base_label: str,
    signer: Signer,
    progress: Progress,
    *,
    label: str,
    training: Sequence[bytes] = (),
    data: Sequence[Path] = (),
    note: str = "",
) -> SubmitResult:
    """Take an adapter in for a registered base.

    The same files for the same base, under the same label, are the same submission: what there is is returned.

    Args:
        office: The office.
        source: Where the adapter's folder is.
        base_label: The base, by label or id.
        signer: The submitter's key.
        progress: Listens.
        label: The adapter's name for people.
        training: Signed training provenance of the adapter and its ancestors, to be logged with it.
        data: Files of the training data that the provenance names, to be kept and compared with suites.
        note: Anything the reviewers should know.

    Raises:
        UsageError: Unknown base, unusable label, provenance of another adapter, or data it does not name.
        NotAuthorizedError: The key may not submit, or the provenance is not signed by a trainer.
        SourceError: The adapter cannot be had.
    """
    if not label or label != label.strip() or len(label) > 80 or not label.isprintable() or "/" in label:
        raise UsageError(f"{label!r} cannot name an adapter", hint="use 1 to 80 printable characters, no '/'")
    reader = office.reader()
    base = find_base(reader, base_label)
    reader.trust.authorize(signer.public.key_id, (Role.SUBMITTER,), reader.head().size)
    fetched = source.fetch(cache_dir(), progress)
    record = examine(
        fetched.path, fetched.ref, BaseProfile.of(base.record), office.blobs, label=label, clock=office.clock
    )
    intake, seen = _log_intake(office, reader, record)
    if record.refused or record.adapter is None:
        return SubmitResult(intake, None, seen)
    adapter = record.adapter
    for known in office.reader().find(Kind.SUBMISSION, Submission, subject=adapter.id):
        if known.record.adapter == adapter and known.record.base == base.record.ref:
            _log_training(office, training, adapter.weights_id)
            _keep_data(office, data, adapter.weights_id)
            return SubmitResult(intake, known, True)
    trainings = _log_training(office, training, adapter.weights_id)
    _keep_data(office, data, adapter.weights_id)
    _, person = reader.trust.authorize(signer.public.key_id, (Role.SUBMITTER,), reader.head().size)
    submission = Submission(
        adapter=adapter,
        base=base.record.ref,
        source=fetched.ref,
        files=record.files,
        submitter=person,
        submitted_at=office.clock(),
        training=trainings,
        note=note,
    )
    subjects = (Subject(label, adapter.id), Subject("weights", adapter.weights_id))
    logged = office.record(Kind.SUBMISSION, submission, subjects, signer)
    return SubmitResult(intake, logged, False)


def find_adapter(reader: LedgerReader, text: str) -> Verified[Submission]:
    """Return the newest submission with this label, or this adapter id or beginning of one.

    Raises:
        UsageError: None, or the beginning fits several adapters.
    """
    submissions = reader.find(Kind.SUBMISSION, Submission)
    labelled = [item for item in submissions if item.record.adapter.label == text]
    if labelled:
        return labelled[-1]
    wanted = text.removeprefix("sha256:")
    found = {
        item.record.adapter.id: item
        for item in submissions
        if len(wanted) >= 6 and short(item.record.adapter.id, 64).startswith(wanted)
    }
    if len(found) == 1:
        return next(iter(found.values()))
    known = ", ".join(dict.fromkeys(item.record.adapter.label for item in submissions)) or "none yet"
    raise UsageError(
        f"no adapter {text!r} was submitted" if not found else f"{text!r} fits several adapters",
        hint=f"submitted: {known}; hand one in with `placet submit`",
    )


def _log_intake(office: Office, reader: LedgerReader, record: Intake) -> tuple[Verified[Intake], bool]:
    for known in reader.find(Kind.INTAKE, Intake, subject=record.files_id):
        if (
            known.record.model_copy(update={"examined_at": record.examined_at, "source": record.source})
            == record
        ):
            return known, True
    name = record.adapter.label if record.adapter else "refused files"
    return office.record(
        Kind.INTAKE, record, (Subject(name, record.files_id),), office.signer(EVALUATOR_KEY)
    ), False


def _log_training(office: Office, envelopes: Sequence[bytes], weights_id: Digest) -> tuple[Digest, ...]:
    """Log provenance envelopes; return their record ids. One of them must be about the adapter itself."""
    if not envelopes:
        return ()
    reader = office.reader()
    parsed = [parse_envelope(raw) for raw in envelopes]
    size = reader.head().size
    verified = [reader.trust.verify(envelope, size) for envelope in parsed]
    for item in verified:
        if not isinstance(item.record, Training):
            raise UsageError(
                "what was given as training provenance is a record of another kind", hint="check --training"
            )
    if not any(item.statement.names(weights_id) for item in verified):
        raise UsageError(
            "none of the training provenance is about this adapter's weights",
            hint="the adapter was changed after it was signed, or the wrong file was given",
        )
    return tuple(item.id for item in office.append(parsed))


def _keep_data(office: Office, data: Sequence[Path], weights_id: Digest) -> None:
    """Keep files of training data in the store; each must be one that the training records name by digest."""
    named = training_data(office, weights_id) if data else ()
    for path in data:
        try:
            known = digest_file(path) in named
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}", hint="check --data") from error
        if not known:
            raise UsageError(
                f"{path} is not data that the training provenance names",
                hint="hand in the very files whose SHA-256 the trainer signed, unchanged",
            )
        office.blobs.put_file(path)
