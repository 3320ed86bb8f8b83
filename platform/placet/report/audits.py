"""The last `placet audit`, as this machine noted it: when, of how much, and what came of it.

It is a note for people, in a folder that whoever runs the office can write: it proves nothing, and the pages that show
it say so. What counts is an audit made now, or a checkpoint that an auditor keeps.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from placet.attest.trust import Trust
from placet.domain.errors import Error
from placet.ledger.audit import AuditReport
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.office import Office

_FILE = "last-audit.json"


@dataclass(frozen=True, slots=True)
class AuditNote:
    """What was noted of an audit. `outside` is with how many checkpoints from elsewhere the log was compared."""

    at: datetime
    records: int
    findings: int
    files: bool
    outside: int
    partly: bool


def note_audit(office: Office, report: AuditReport, *, blobs: bool, outside: int) -> None:
    """Note an audit in the office's work folder; where that cannot be written, nothing is noted."""
    value = {
        "at": office.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "records": report.records,
        "findings": len(report.findings),
        "files": blobs,
        "outside": outside,
        "partly": report.start > 0,
        "checkpoint": report.checkpoint,
    }
    try:
        path = office.folder("work") / _FILE
        temporary = path.with_name(f".{_FILE}.{os.getpid()}")
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError:
        return  # an auditor may have been given the office to read only


def load_audit_note(office: Office, trust: Trust | None) -> AuditNote | None:
    """Return what was noted of the last audit; None if there is nothing, or it is not about this log."""
    try:
        value: Any = json.loads((office.home / "work" / _FILE).read_text(encoding="utf-8"))
        if (
            trust is None
            or verify_log_checkpoint(trust, value["checkpoint"], office.settings.origin).size
            != value["records"]
        ):
            return None
        return AuditNote(
            at=datetime.strptime(value["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
            records=int(value["records"]),
            findings=int(value["findings"]),
            files=bool(value["files"]),
            outside=int(value["outside"]),
            partly=bool(value["partly"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, Error):
        return None
