"""Records about to be added to a log, in the order they get."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from placet.attest.envelope import Envelope, parse_envelope
from placet.attest.statement import parse_statement
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.ledger.derived import Derived, derive_statement
from placet.ledger.merkle import leaf_hash
from placet.ledger.store.base import Check, Draft, Entry

Lookup = Callable[[Sequence[Digest]], dict[str, Entry]]
"""Returns record id → entry of those that the log has."""


class Batch:
    """Records about to be added, each new one checked at the index it gets.

    Args:
        size: How many records the log holds.
        lookup: Tells which records it has.
    """

    def __init__(self, size: int, lookup: Lookup) -> None:
        self.new: list[Entry] = []
        self.derived: list[Derived] = []
        self._size = size
        self._lookup = lookup
        self._by_id: dict[str, Entry] = {}

    @property
    def size(self) -> int:
        """How many records the log will hold."""
        return self._size + len(self.new)

    def add(self, envelopes: Sequence[Envelope | Draft], check: Check | None) -> tuple[Entry, ...]:
        """Take all of `envelopes` in, or raise and take none; what the log has already keeps its index."""
        entries: list[Entry] = []
        added: list[Entry] = []
        derived: list[Derived] = []
        ids = [item.record_id if isinstance(item, Envelope) else None for item in envelopes]
        known = self._known([record_id for record_id in ids if record_id is not None])
        for item, made_id in zip(envelopes, ids, strict=True):
            index = self.size + len(added)
            envelope = item if isinstance(item, Envelope) else item(index)
            record_id = made_id or envelope.record_id
            if made_id is None:
                known |= self._known([record_id])
            if record_id not in known:
                # What is stored is what was checked, and not another envelope than the parts of this one.
                if parse_envelope(envelope.raw) != envelope:
                    raise IntegrityError("an envelope is not what it says it holds", hint="read it again")
                statement = None if check is None else check(envelope, index)
                statement = statement or parse_statement(envelope.payload)
                known[record_id] = Entry(index, record_id, leaf_hash(envelope.raw), envelope.raw)
                derived.append(derive_statement(index, envelope.key_id, statement))
                added.append(known[record_id])
            entries.append(known[record_id])
        self.new += added
        self.derived += derived
        self._by_id |= {entry.record_id: entry for entry in added}
        return tuple(entries)

    def _known(self, record_ids: Sequence[Digest]) -> dict[str, Entry]:
        here: dict[str, Entry] = {item: self._by_id[item] for item in record_ids if item in self._by_id}
        return self._lookup(record_ids) | here
