"""Compares training data with the suites whose contamination a policy asks about, and logs what was found.

Only data whose bytes are in the office's store can be compared: handed in with the adapter (`placet submit --data`), it
is found there by the digest that the signed training statement names. Where some is not there, nothing is logged, and
the gate says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.domain.digests import Digest
from placet.domain.progress import Progress, tracked
from placet.domain.records import Overlap, Submission
from placet.measuring.overlap import overlap_shares
from placet.measuring.suite import Suite
from placet.office import EVALUATOR_KEY, Office
from placet.policy.gates.contamination import ContaminationGate
from placet.policy.schema import Policy
from placet.review.desk import trainings_of


def compare_data(
    office: Office, policy: Policy, suites: Mapping[str, Suite], submission: Submission, progress: Progress
) -> None:
    """Log a comparison for each contamination gate that has none yet, where all training data is at hand.

    Raises:
        UsageError: A file of training data is not text.
        IntegrityError: The store's copy of a file was altered.
    """
    reader, weights = office.reader(), submission.adapter.weights_id
    wanted = {(gate.suite, gate.ngram): gate for gate in policy.gates if isinstance(gate, ContaminationGate)}
    data = training_data(office, weights) if wanted else ()
    if not data or not all(office.blobs.has(digest) for digest in data):
        return
    known = [item.record for item in reader.find(Kind.OVERLAP, Overlap, subject=weights)]
    for suite_id, ngram in wanted:
        suite = suites[suite_id]
        if any((item.suite, item.ngram, item.datasets) == (suite.ref, ngram, data) for item in known):
            continue
        documents, step = suite.rows(), f"{suite_id} in the training data of {submission.adapter.label}"
        with tracked(progress, step, len(data), "files"):
            shares = overlap_shares(documents, (office.blobs.read(digest) for digest in data), ngram)
        record = Overlap(
            subject=weights,
            suite=suite.ref,
            datasets=data,
            ngram=ngram,
            documents=len(documents),
            found={str(document): share for document, share in sorted(shares.items())},
            measured_at=office.clock(),
        )
        subjects = (Subject("weights", weights), Subject(suite_id, suite.ref.digest))
        office.record(Kind.OVERLAP, record, subjects, office.signer(EVALUATOR_KEY))


def training_data(office: Office, weights_id: Digest) -> tuple[Digest, ...]:
    """Return the digests of all data that the weights, and those they were continued from, were trained on, sorted."""
    found = {
        Digest("sha256:" + data.digest["sha256"])
        for training in trainings_of(office.reader(), weights_id)
        for data in training.record.dependency("dataset")
        if "sha256" in data.digest
    }
    return tuple(sorted(found))
