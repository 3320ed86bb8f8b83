"""`placet audit`: is the record whole, and what could not be seen from here?"""

from placet.ledger.audit.part import Scope
from placet.ledger.audit.report import AuditFinding, AuditReport
from placet.ledger.audit.run import BlobCheck, Outside, audit

__all__ = ["AuditFinding", "AuditReport", "BlobCheck", "Outside", "Scope", "audit"]
