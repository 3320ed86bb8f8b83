"""Holds each verdict against the runs it rests on, and against those on the same weights that it does not name.

Records are found by the derived tables, which the same audit compares with the records; they are read by the batch, so
that memory does not grow with the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import PREDICATES, Kind, spec_of
from placet.attest.statement import parse_statement
from placet.domain.digests import Digest
from placet.domain.errors import Error
from placet.domain.records import Record, Verdict
from placet.ledger.audit.state import AuditRun
from placet.ledger.evidence import look_around, objections
from placet.ledger.store import Entry

_BATCH = 64
_SPECS = {spec.predicate_type: spec for spec in PREDICATES}
_ABOUT = (Kind.PLAN, Kind.EVALUATION, Kind.SAFETY, Kind.INTAKE)

# Said of every record by its references, and of every measurement by its plan: not once more of the verdict. Nor is a
# plan drawn again, which is said of every plan.
_SAID_ELSEWHERE = frozenset({"missing-evidence", "evidence-after-the-fact", "unplanned-run"})


@dataclass(frozen=True, slots=True)
class _Read:
    """A record whose signature this audit, or the one before, has checked."""

    index: int
    id: Digest
    kind: Kind
    record: Record


def check_verdicts(run: AuditRun) -> None:
    """Hold each verdict that was looked at against what the log held when it was given."""
    for first in range(0, len(run.verdicts), _BATCH):
        # One connection for a batch, and no longer: others wait to write.
        with run.store.reading():
            for verdict, batch in _batches(run, run.verdicts[first : first + _BATCH]):
                around = look_around(verdict, batch.find, batch.get)
                for objection in objections(verdict, around, draws=False):
                    if objection.id not in _SAID_ELSEWHERE:
                        run.found.add(
                            objection.id,
                            f"record {verdict.index}, a verdict about {verdict.record.adapter.label}: "
                            f"{objection.message}",
                            verdict.index,
                        )


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a few verdicts need, read together: indices by what records are about, places of ids, records by index."""

    about: Mapping[Digest, Sequence[int]]
    places: Mapping[Digest, int]
    read: Mapping[int, _Read]

    def find(self, digest: Digest, kind: Kind, _: type[Any]) -> list[Any]:
        """Return the records of a kind about a digest, by index."""
        found = (self.read.get(index) for index in self.about.get(digest, ()))
        return [item for item in found if item is not None and item.kind is kind]

    def get(self, record_ids: Iterable[Digest]) -> dict[Digest, Any]:
        """Return those of the records that the verdicts name that are there; the plans of others' runs are not."""
        found = ((item, self.read.get(self.places.get(item, -1))) for item in record_ids)
        return {item: held for item, held in found if held is not None}


def _batches(run: AuditRun, indices: Sequence[int]) -> Iterator[tuple[Any, _Batch]]:
    verdicts = [item for item in _read(run, indices).values() if isinstance(item.record, Verdict)]
    digests: dict[Digest, None] = {}
    named: dict[Digest, None] = {}
    for item in verdicts:
        record: Any = item.record
        digests |= dict.fromkeys((record.adapter.weights_id, record.adapter.id))
        named |= dict.fromkeys((record.plan, *record.evidence, *record.plans_on_weights))
    about = run.store.filed_under(list(digests), [spec_of(kind).predicate_type for kind in _ABOUT])
    places = {Digest(record_id): at for record_id, at in run.store.indices_of(list(named)).items()}
    read = _read(run, {*places.values(), *(index for found in about.values() for index in found)})
    batch = _Batch(about, places, read)
    yield from ((item, batch) for item in verdicts)


def _read(run: AuditRun, indices: Iterable[int]) -> dict[int, _Read]:
    wanted = sorted(index for index in set(indices) if index not in run.unverified)
    found = (_parse(entry) for entry in run.store.entries_at(wanted)) if wanted else ()
    return {item.index: item for item in found if item is not None}


def _parse(entry: Entry) -> _Read | None:
    try:
        envelope = parse_envelope(entry.envelope)
        statement = parse_statement(envelope.payload)
        spec = _SPECS[statement.predicate_type]
        return _Read(entry.index, entry.record_id, spec.kind, spec.model.from_json(statement.predicate))
    except (Error, KeyError):
        return None  # the record's own stretch says what is wrong with it
