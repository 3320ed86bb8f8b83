"""Stores of the log. Only modules in here import DuckDB or a PostgreSQL client."""

from placet.ledger.store.base import Check, Draft, Entry, LedgerStore, Seen, Snapshot, StaleError
from placet.ledger.store.duck import DuckStore

__all__ = ["Check", "Draft", "DuckStore", "Entry", "LedgerStore", "Seen", "Snapshot", "StaleError"]
