"""From an office to a lineage graph."""

from __future__ import annotations

from placet.lineage.graph import Lineage, cut_lineage
from placet.office import Office
from placet.report.cases import find_submission
from placet.report.snapshot import load_snapshot


def load_lineage(office: Office, text: str | None = None) -> Lineage:
    """Return the lineage of one adapter (label or beginning of its id), or of everything.

    Raises:
        UsageError: No such adapter.
        IntegrityError: The log does not verify.
    """
    snapshot = load_snapshot(office)
    if text is None:
        return snapshot.lineage
    return cut_lineage(snapshot.lineage, find_submission(snapshot, text).record.adapter.weights_id)
