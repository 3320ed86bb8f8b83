"""The audit of one stretch of the log: what a worker process does.

It opens the ledger file itself and gives back only small values, so that memory is bounded by the stretch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from placet.attest.draw import chosen_suites
from placet.attest.envelope import Envelope, parse_envelope
from placet.attest.predicates import PREDICATES, Kind, PredicateSpec, RootChange, spec_of
from placet.attest.statement import Statement, parse_statement
from placet.attest.trust import Trust
from placet.domain.collector import collector_paused
from placet.domain.digests import Digest
from placet.domain.errors import DrawError, Error, IntegrityError, NotAuthorizedError
from placet.domain.records import (
    Measurement,
    Plan,
    Record,
)
from placet.ledger.audit.facts import Facts, facts_of, filed_under
from placet.ledger.audit.plans import Plans
from placet.ledger.audit.report import AuditFinding
from placet.ledger.audit.verifier import Verifier
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.ledger.derived import Derived, derive_statement, predicate_type_of, said_at_the_end
from placet.ledger.lock import DEFAULT_WAIT_S
from placet.ledger.merkle import Subtrees, leaf_hash
from placet.ledger.store import DuckStore, Entry, Snapshot
from placet.ledger.tiles import TILE_BITS, TILE_HASHES, Tile

_SPECS = {spec.predicate_type: spec for spec in PREDICATES}
_TRUST = {spec_of(kind).predicate_type: kind for kind in (Kind.ROLES, Kind.ROOT)}
_ALWAYS = {spec_of(kind).predicate_type for kind in (Kind.ROLES, Kind.ROOT, Kind.TRAINING, Kind.REVOCATION)}
"""Kinds of which every record may bear on a new release: they are looked for whatever they are filed under."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Which parts of an audit are made. The tree, its checkpoints and what was given from outside always are."""

    signatures: bool = True
    derived: bool = True
    meaning: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """A stretch of a log: the records from `start` until before `stop`, with further sizes at which roots matter."""

    path: Path
    origin: str
    start: int
    stop: int
    trust: Trust | None
    scope: Scope
    sizes: tuple[int, ...] = ()
    since: int = 0
    """Records before this one were audited: they are hashed again, and looked at as far as new ones need it."""
    about: frozenset[Digest] = frozenset()
    """What the new verdicts and releases are about: of older records about it, the derived tables are compared."""
    wait_s: float = DEFAULT_WAIT_S


@dataclass(frozen=True, slots=True)
class Step:
    """The log at `size`: the subtrees since the step before, and the root that a checkpoint gives it, if one does."""

    size: int
    pieces: tuple[tuple[int, bytes], ...]
    signed_root: bytes | None


@dataclass
class Part:
    """What came out of a stretch."""

    start: int
    stop: int
    findings: list[AuditFinding] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    tile_roots: list[bytes] = field(default_factory=list)
    facts: list[Facts] = field(default_factory=list)
    misnamed: list[tuple[int, Digest]] = field(default_factory=list)
    unverified: list[int] = field(default_factory=list)
    broken: bool = False
    records: int = 0
    checkpoints: int = 0
    signatures: int = 0
    unknown: int = 0
    again: int = 0
    trust_records: list[tuple[Kind, int, bytes]] = field(default_factory=list)

    def add(self, finding_id: str, message: str, index: int | None = None) -> None:
        """Add a finding."""
        self.findings.append(AuditFinding(finding_id, message, index))


@dataclass(slots=True)  # frozen, each would take three times as long to make
class _Opened:
    """A record taken apart. `statement` is there if its row or its meaning is looked at."""

    index: int
    record_id: Digest
    envelope: Envelope
    statement: Statement | None
    spec: PredicateSpec


@collector_paused()
def audit_part(job: Job, store: DuckStore | None = None) -> Part:
    """Audit a stretch of the log, through `store` if it is open in this process.

    Raises:
        LedgerBusyError, StorageError: The log could not be read.
    """
    store = store or DuckStore(job.path, job.origin, wait_s=job.wait_s)
    derived = job.scope.derived and job.since < job.stop
    stored = store.snapshot(job.start, job.stop, derived=derived)
    part = Part(job.start, job.stop, records=len(stored.entries))
    leaves = [leaf_hash(entry.envelope) for entry in stored.entries]
    _check_rows(part, stored.entries, leaves)
    verifier = None if job.trust is None else Verifier(job.trust)
    rows = {row.index: row for row in stored.derived} if derived else {}
    if derived and len(rows) != len(stored.derived):
        part.add("edited-derived-table", f"the index tables have two rows about a record from {job.start} on")
    plans = Plans(store)
    known = [
        entry
        for entry, leaf in zip(stored.entries, leaves, strict=True)
        if leaf == entry.leaf and entry.index < job.since
    ]
    _check_again(
        part,
        store,
        job,
        known,
        {entry.index: rows.pop(entry.index) for entry in known if entry.index in rows},
    )
    for entry, leaf in zip(stored.entries, leaves, strict=True):
        row = rows.pop(entry.index, None)
        if leaf != entry.leaf:
            part.unverified.append(entry.index)
        elif entry.index >= job.since:
            _check_record(part, job.scope, entry, row, verifier, plans)
    for index in rows:
        part.add(
            "edited-derived-table", f"the index tables name record {index}, which is not in the log", index
        )
    if not part.broken:
        subtrees = Subtrees(job.start, leaves)
        if derived:
            _check_tiles(part, job, subtrees, stored.tiles)
        _take_steps(part, job, subtrees, stored)
    return part


def _check_rows(part: Part, entries: Sequence[Entry], leaves: Sequence[bytes]) -> None:
    expected = part.start
    for entry, leaf in zip(entries, leaves, strict=True):
        if entry.index < expected:
            part.broken = True
            part.add("doubled-record", f"there are two records {entry.index}", entry.index)
            continue
        _check_gap(part, expected, entry.index)
        expected = entry.index + 1
        if leaf != entry.leaf:
            message = f"record {entry.index} was edited: its bytes do not have their hash"
            part.add("edited-record", message, entry.index)
    _check_gap(part, expected, part.stop)


def _check_gap(part: Part, expected: int, reached: int) -> None:
    """Add a finding if there is no record from `expected` until before `reached`: one, however wide the gap is."""
    if expected >= reached:
        return
    part.broken = True
    last = reached - 1
    which = f"record {last} is" if expected == last else f"records {expected} to {last} are"
    part.add("deleted-record", f"{which} missing from the ledger file", expected)


def _check_again(
    part: Part, store: DuckStore, job: Job, entries: Sequence[Entry], rows: Mapping[int, Derived]
) -> None:
    """Look at audited records for what new ones rest on: who may sign, and what is on record about the same."""
    expected: dict[int, Derived] = {}
    for entry in entries:
        try:
            envelope = parse_envelope(entry.envelope)
            predicate_type, digests = said_at_the_end(envelope.payload)
            if predicate_type in _TRUST:
                part.trust_records.append((_TRUST[predicate_type], entry.index, entry.envelope))
            if predicate_type in _ALWAYS or not job.about.isdisjoint(digests):
                statement = parse_statement(envelope.payload)
                expected[entry.index] = derive_statement(entry.index, envelope.key_id, statement)
        except Error as error:
            part.add("edited-record", f"record {entry.index} cannot be read: {error}", entry.index)
            part.unverified.append(entry.index)
    part.again += len(expected)
    if expected and job.scope.derived:
        low, high = min(expected), max(expected) + 1
        held: dict[int, list[Derived | None]] = {index: [row] for index, row in rows.items()}
        for row in () if rows else store.derived(low, high):
            held.setdefault(row.index, []).append(row)
        for index, wanted in expected.items():
            _compare_row(part, index, held.get(index, []), wanted)


def _compare_row(part: Part, index: int, rows: Sequence[Derived | None], expected: Derived) -> None:
    if tuple(rows) != (expected,):
        part.add(
            "edited-derived-table",
            f"the index tables say something else about record {index} than the record itself "
            "(`placet ledger rebuild` makes them again)",
            index,
        )


def _check_record(
    part: Part, scope: Scope, entry: Entry, row: Derived | None, verifier: Verifier | None, plans: Plans
) -> None:
    opened = _open(part, scope, entry, row)
    if opened is None or verifier is None or not scope.signatures:
        return
    person = _signer(part, verifier, opened)
    if person is not None and scope.meaning and opened.statement is not None:
        _check_meaning(part, verifier, plans, opened, opened.statement, person)


def _open(part: Part, scope: Scope, entry: Entry, row: Derived | None) -> _Opened | None:
    """Take a record apart and hold its row in the derived tables against it; None where it can be no further judged."""
    index = entry.index
    try:
        envelope = parse_envelope(entry.envelope)
        record_id = envelope.record_id
        if record_id != entry.record_id:
            part.add("wrong-record-id", f"record {index} is filed under another id", index)
            part.misnamed.append((index, record_id))
        statement = parse_statement(envelope.payload) if scope.derived or scope.meaning else None
        predicate_type = (
            predicate_type_of(envelope.payload) if statement is None else statement.predicate_type
        )
    except Error as error:
        part.add("edited-record", f"record {index} cannot be read: {error}", index)
        part.unverified.append(index)
        return None
    if scope.derived and statement is not None:
        _compare_row(part, index, (row,), derive_statement(index, envelope.key_id, statement))
    if predicate_type in _TRUST:
        part.trust_records.append((_TRUST[predicate_type], index, entry.envelope))
    spec = _SPECS.get(predicate_type)
    if spec is None:
        part.unknown += 1
        part.unverified.append(index)
        return None
    return _Opened(index, record_id, envelope, statement, spec)


def _signer(part: Part, verifier: Verifier, opened: _Opened) -> str | None:
    """Return who signed a record; None, with a finding, if nobody did who may."""
    index = opened.index
    try:
        person = verifier.verify(opened.envelope, index, opened.spec)
    except NotAuthorizedError as error:
        part.add("unauthorized-signer", f"record {index}: {error}", index)
    except DrawError as error:  # of a key that is not among those opened once
        part.add("false-draw", f"record {index}: {error}", index)
    except IntegrityError as error:
        part.add("bad-signature", f"record {index}: {error}", index)
    else:
        part.signatures += 1
        return person
    part.unverified.append(index)
    return None


def _check_meaning(
    part: Part, verifier: Verifier, plans: Plans, opened: _Opened, statement: Statement, person: str
) -> None:
    """Look at what a record says, and keep what it is held against others for."""
    index, spec = opened.index, opened.spec
    try:
        record = spec.model.from_json(statement.predicate)
    except IntegrityError as error:
        part.add("malformed-record", f"record {index}: {error}", index)
        part.unverified.append(index)
        return
    if isinstance(record, Plan) and not _check_draw(part, verifier, opened.envelope, index, person, record):
        return
    if isinstance(record, RootChange) and not verifier.follows(record):
        message = (
            f"record {index}, by {person}, holds a version of the trust root that is not the office's: it "
            "continues none, too few of its holders signed it, or it takes effect later"
        )
        part.add("foreign-root", message, index)
    named = {item.digest for item in statement.subjects}
    if any(digest not in named for digest in filed_under(record)):
        message = f"record {index} ({spec.kind} by {person}) is not filed under all that it is about"
        part.add("misfiled-record", message, index)
    _check_run(part, plans, index, person, opened.record_id, spec.kind, record)
    part.facts.append(facts_of(index, opened.record_id, spec.kind, person, record))


def _check_draw(
    part: Part, verifier: Verifier, envelope: Envelope, index: int, person: str, plan: Plan
) -> bool:
    """Hold a plan's draw against its key and its documents against the draw; tell whether the draw is its key's."""
    try:
        verifier.verify_draw(plan, envelope.key_id)
    except DrawError as error:
        part.add("false-draw", f"record {index}: {error}", index)
        part.unverified.append(index)
        return False
    if chosen := ", ".join(chosen_suites(plan)):
        words = f"has other documents of {chosen}, or in another order, than were drawn"
        part.add("false-draw", f"record {index} (plan by {person}) {words}", index)
    return True


def _check_run(
    part: Part, plans: Plans, index: int, person: str, record_id: Digest, kind: Kind, record: Record
) -> None:
    if isinstance(record, Plan):
        plans.add(record_id, record)
    elif isinstance(record, Measurement) and (why := plans.objection(record, kind)):
        message = f"record {index} ({kind} by {person}) is not a run that its plan asked for: {why}"
        part.add("unplanned-run", message, index)


def _take_steps(part: Part, job: Job, subtrees: Subtrees, stored: Snapshot) -> None:
    """Verify the checkpoints in the stretch and say what the tree is made of between them."""
    signed: dict[int, bytes] = {}
    for size, note in stored.checkpoints:
        if job.trust is None or not 0 < size <= job.stop:
            continue
        part.checkpoints += 1
        try:
            checkpoint = verify_log_checkpoint(job.trust, note, job.origin)
        except IntegrityError as error:
            part.add("forged-checkpoint", f"the checkpoint at size {size} does not verify: {error}")
            continue
        if checkpoint.size == size:
            signed[size] = checkpoint.root
        else:
            part.add(
                "forged-checkpoint", f"the checkpoint filed under size {size} is of size {checkpoint.size}"
            )
    last = job.start
    for size in sorted({*signed, *job.sizes, job.stop}):
        part.steps.append(Step(size, tuple(subtrees.cover(last, size)), signed.get(size)))
        last = size


def _check_tiles(part: Part, job: Job, subtrees: Subtrees, stored: Sequence[Tile]) -> None:
    """Compare the stored roots of tiles of leaf hashes with the leaves', and keep them for the levels above."""
    held: dict[int, list[Tile]] = {}
    for tile in stored:
        if tile.level == 0:
            held.setdefault(tile.index, []).append(tile)
    first = -(-job.start // TILE_HASHES)
    for index in range(first, job.stop // TILE_HASHES):
        root = subtrees.node(TILE_BITS, index)
        part.tile_roots.append(root)
        if held.get(index) != [Tile(0, index, root)]:
            part.add("edited-derived-table", tile_words(0, index), index * TILE_HASHES)


def tile_words(level: int, index: int) -> str:
    """Return what is said of a stored tile that is not the one that the records make."""
    first = index * TILE_HASHES ** (level + 1)
    return (
        f"the stored tree hashes (level {level}, from record {first} on) are not those of the records "
        "(`placet ledger rebuild` makes them again)"
    )
