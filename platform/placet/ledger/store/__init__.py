"""Stores of the log. Only modules in here import DuckDB or a PostgreSQL client."""

from placet.ledger.store.base import IN_POSTGRES, Check, Draft, Entry, LedgerStore, Seen, Snapshot, StaleError
from placet.ledger.store.duck import DuckStore
from placet.ledger.store.form import Form

__all__ = [
    "IN_POSTGRES",
    "Check",
    "Draft",
    "DuckStore",
    "Entry",
    "Form",
    "LedgerStore",
    "Seen",
    "Snapshot",
    "StaleError",
]
