"""Holds the measurements of a stretch against the plans they ran under."""

from __future__ import annotations

from collections import OrderedDict

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import Kind, spec_of
from placet.attest.statement import parse_statement
from placet.domain.digests import Digest
from placet.domain.errors import Error
from placet.domain.records import Measurement, Plan
from placet.ledger.evidence import run_objection
from placet.ledger.store import DuckStore

_KEPT = 512
"""Plans kept at once: the runs of a plan follow it closely, so that few are read twice."""


class Plans:
    """Plans of a log by record id: those of the stretch as they come, older ones read when they are asked for.

    A plan that is not there, or was not there yet, is nothing that is found here: the audit says so by its references.
    """

    def __init__(self, store: DuckStore) -> None:
        self._store = store
        self._held: OrderedDict[Digest, Plan | None] = OrderedDict()

    def add(self, record_id: Digest, plan: Plan) -> None:
        """Take in a verified plan of the stretch."""
        self._held[record_id] = plan
        if len(self._held) > _KEPT:
            self._held.popitem(last=False)

    def objection(self, run: Measurement, kind: Kind) -> str:
        """Return why a measurement is not as its plan says; empty if it is, or if there is no such plan."""
        if run.plan in self._held:
            self._held.move_to_end(run.plan)
            plan = self._held[run.plan]
        else:
            plan = self._read(run.plan)
            if plan is not None:
                self.add(run.plan, plan)
        return "" if plan is None else run_objection(run, kind, plan)

    def _read(self, record_id: Digest) -> Plan | None:
        for entry in self._store.find(record_id=record_id):
            try:
                statement = parse_statement(parse_envelope(entry.envelope).payload)
                if statement.predicate_type == spec_of(Kind.PLAN).predicate_type:
                    return Plan.from_json(statement.predicate)
            except Error:
                continue  # its own stretch says what is wrong with it
        return None
