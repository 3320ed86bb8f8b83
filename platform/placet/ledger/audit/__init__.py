"""`placet audit`: is the record whole, and what could not be seen from here?"""

from placet.ledger.audit.part import Scope
from placet.ledger.audit.relations import BlobCheck
from placet.ledger.audit.report import AuditFinding, AuditReport
from placet.ledger.audit.run import audit
from placet.ledger.audit.state import Outside

__all__ = ["AuditFinding", "AuditReport", "BlobCheck", "Outside", "Scope", "audit"]
