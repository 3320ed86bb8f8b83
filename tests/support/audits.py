"""What tests ask of an audit's report."""

from __future__ import annotations

from placet.ledger.audit import AuditReport
from placet.office import Office


def finding_ids(report: AuditReport) -> set[str]:
    return {finding.id for finding in report.findings}


def require_found(
    office: Office, finding_id: str, index: int | None = None, *, outside: list[str] | None = None
) -> None:
    report = office.audit(outside or [])
    assert not report.whole
    hits = [finding for finding in report.findings if finding.id == finding_id]
    assert hits, [f"{finding.id}: {finding.message}" for finding in report.findings]
    if index is not None:
        assert index in {finding.index for finding in hits}, hits
    assert all(finding.message for finding in hits)
