"""What measuring a suite is expected to cost, by what it took before."""

from __future__ import annotations

from collections.abc import Mapping

from placet.attest.predicates import Kind
from placet.domain.digests import Digest
from placet.domain.records import Measurement
from placet.ledger.reader import LedgerReader


def seconds_per_document(reader: LedgerReader, base: Digest | None = None) -> Mapping[Digest, float]:
    """Return suite digest → seconds a document took, over all runs on record (on `base`); suites never run are absent.

    A run's clock counts whole seconds, so short runs say little; they are added up, not averaged one by one.
    """
    totals: dict[Digest, tuple[float, int]] = {}
    for kind in (Kind.EVALUATION, Kind.SAFETY):
        for item in reader.find(kind, Measurement):
            record = item.record
            if base is not None and record.base.id != base:
                continue
            seconds, documents = totals.get(record.suite.digest, (0.0, 0))
            took = (record.finished_at - record.started_at).total_seconds()
            totals[record.suite.digest] = (seconds + took, documents + record.n)
    return {suite: seconds / documents for suite, (seconds, documents) in totals.items() if documents}
