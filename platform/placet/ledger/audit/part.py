"""The audit of one stretch of the log: what a worker process does.

It opens the ledger file itself and gives back only small values, so that memory is bounded by the stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from placet.attest.envelope import PAYLOAD_TYPE, Envelope, parse_envelope, pre_authentication_encoding
from placet.attest.keys import KeyKind, PublicKey, parse_public_key
from placet.attest.predicates import PREDICATES, Kind, PredicateSpec, RootChange, spec_of
from placet.attest.statement import parse_statement
from placet.attest.trust import Trust
from placet.domain.digests import Digest
from placet.domain.errors import Error, IntegrityError, NotAuthorizedError
from placet.domain.records import (
    BaseStatus,
    FeedStatement,
    LedgerHead,
    Measurement,
    Plan,
    Record,
    Release,
    Review,
    Submission,
    Verdict,
    Waiver,
)
from placet.ledger.audit.report import AuditFinding
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.ledger.derived import Derived, derive_statement, predicate_type_of
from placet.ledger.lock import DEFAULT_WAIT_S
from placet.ledger.merkle import Subtrees, leaf_hash
from placet.ledger.store import DuckStore, Entry, Snapshot
from placet.ledger.tiles import TILE_BITS, TILE_HASHES, Tile

_SPECS = {spec.predicate_type: spec for spec in PREDICATES}
_TRUST = {spec_of(kind).predicate_type for kind in (Kind.ROLES, Kind.ROOT)}


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
    wait_s: float = DEFAULT_WAIT_S


@dataclass(frozen=True, slots=True)
class Step:
    """The log at `size`: the subtrees since the step before, and the root that a checkpoint gives it, if one does."""

    size: int
    pieces: tuple[tuple[int, bytes], ...]
    signed_root: bytes | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verified record says that has to be held against other records."""

    index: int
    record_id: Digest
    kind: Kind
    person: str
    references: tuple[tuple[str, Digest], ...] = ()
    head: LedgerHead | None = None
    weights_id: Digest | None = None
    plans: tuple[Digest, ...] | None = None
    blobs: tuple[Digest, ...] = ()


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
    roles: int = 0
    unknown: int = 0

    def add(self, finding_id: str, message: str, index: int | None = None) -> None:
        """Add a finding."""
        self.findings.append(AuditFinding(finding_id, message, index))


def audit_part(job: Job) -> Part:
    """Audit a stretch of the log.

    Raises:
        LedgerBusyError, StorageError: The log could not be read.
    """
    store = DuckStore(job.path, job.origin, wait_s=job.wait_s)
    stored = store.snapshot(job.start, job.stop, derived=job.scope.derived)
    part = Part(job.start, job.stop, records=len(stored.entries))
    leaves = [leaf_hash(entry.envelope) for entry in stored.entries]
    _check_rows(part, stored.entries, leaves)
    verifier = None if job.trust is None else Verifier(job.trust)
    rows = {row.index: row for row in stored.derived} if job.scope.derived else {}
    if job.scope.derived and len(rows) != len(stored.derived):
        part.add("edited-derived-table", f"the index tables have two rows about a record from {job.start} on")
    for entry, leaf in zip(stored.entries, leaves, strict=True):
        if leaf == entry.leaf:
            _check_record(part, job.scope, entry, verifier, rows.pop(entry.index, None))
        else:
            rows.pop(entry.index, None)
            part.unverified.append(entry.index)
    for index in rows:
        part.add(
            "edited-derived-table", f"the index tables name record {index}, which is not in the log", index
        )
    if not part.broken:
        subtrees = Subtrees(job.start, leaves)
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


def _check_record(
    part: Part, scope: Scope, entry: Entry, verifier: Verifier | None, row: Derived | None
) -> None:
    index = entry.index
    try:
        envelope = parse_envelope(entry.envelope)
        if envelope.record_id != entry.record_id:
            part.add("wrong-record-id", f"record {index} is filed under another id", index)
            part.misnamed.append((index, envelope.record_id))
        statement = parse_statement(envelope.payload) if scope.derived or scope.meaning else None
        predicate_type = (
            predicate_type_of(envelope.payload) if statement is None else statement.predicate_type
        )
    except Error as error:
        part.add("edited-record", f"record {index} cannot be read: {error}", index)
        part.unverified.append(index)
        return
    if scope.derived and statement is not None and row != derive_statement(index, envelope.key_id, statement):
        part.add(
            "edited-derived-table",
            f"the index tables say something else about record {index} than the record itself "
            "(`placet ledger rebuild` makes them again)",
            index,
        )
    part.roles += predicate_type in _TRUST
    spec = _SPECS.get(predicate_type)
    if spec is None:
        part.unknown += 1
        part.unverified.append(index)
        return
    if verifier is None or not scope.signatures:
        return
    try:
        person = verifier.verify(envelope, index, spec)
        part.signatures += 1
    except NotAuthorizedError as error:
        part.add("unauthorized-signer", f"record {index}: {error}", index)
        part.unverified.append(index)
        return
    except IntegrityError as error:
        part.add("bad-signature", f"record {index}: {error}", index)
        part.unverified.append(index)
        return
    if scope.meaning and statement is not None:
        try:
            record = spec.model.from_json(statement.predicate)
        except IntegrityError as error:
            part.add("malformed-record", f"record {index}: {error}", index)
            part.unverified.append(index)
            return
        if isinstance(record, RootChange) and not verifier.follows(record):
            message = (
                f"record {index}, by {person}, holds a version of the trust root that is not the office's: it "
                "continues none, too few of its holders signed it, or it takes effect later"
            )
            part.add("foreign-root", message, index)
        named = {item.digest for item in statement.subjects}
        if any(digest not in named for digest in _filed_under(record)):
            message = f"record {index} ({spec.kind} by {person}) is not filed under all that it is about"
            part.add("misfiled-record", message, index)
        part.facts.append(_facts(index, envelope.record_id, spec.kind, person, record))


class Verifier:
    """Verifies signature and role as :meth:`~placet.attest.trust.Trust.verify` does, with keys opened once.

    What does not pass here is handed to that method, whose words say why.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        # Opened once: making the library's key object anew for each signature costs a tenth of the check.
        self._keys = {
            grant.key_id: Ed25519PublicKey.from_public_bytes(_public_key(grant.public_key).raw)
            for grant in trust.roles.grants
            if _public_key(grant.public_key).kind is KeyKind.ED25519
            and not trust.root.ever_held(grant.key_id)
        }
        self._person = {grant.key_id: grant.person for grant in trust.roles.grants}
        self._spans: dict[tuple[str, str], tuple[tuple[int, int], ...]] = {}

    def verify(self, envelope: Envelope, index: int, spec: PredicateSpec) -> str:
        """Return who signed the record.

        Raises:
            NotAuthorizedError, IntegrityError: It does not verify, or its key may not sign that kind at `index`.
        """
        key = self._keys.get(envelope.key_id)
        if key is None:
            return self._trust.verify(envelope, index).person
        try:
            key.verify(envelope.signature, pre_authentication_encoding(PAYLOAD_TYPE, envelope.payload))
        except InvalidSignature:
            return self._trust.verify(envelope, index).person
        for start, stop in self._spans.get((envelope.key_id, spec.predicate_type)) or self._spans_of(
            envelope.key_id, spec
        ):
            if start <= index < stop:
                return self._person[envelope.key_id]
        # Raises: the key is not one that may.
        self._trust.authorize(envelope.key_id, spec.roles, index)
        return self._person[envelope.key_id]

    def follows(self, change: RootChange) -> bool:
        """Tell whether a logged version of the root is one of those that the trust rests on."""
        return change.file.encode() in (item.raw for item in self._trust.root.versions)

    def _spans_of(self, key_id: str, spec: PredicateSpec) -> tuple[tuple[int, int], ...]:
        spans = self._spans[key_id, spec.predicate_type] = tuple(
            (grant.valid_from, 2**62 if grant.valid_until is None else grant.valid_until)
            for grant in self._trust.grants_of(key_id)
            if set(grant.roles) & set(spec.roles)
        )
        return spans


@lru_cache(maxsize=4096)
def _public_key(pem: str) -> PublicKey:
    return parse_public_key(pem)


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
    if not job.scope.derived:
        return
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


def _filed_under(record: Record) -> tuple[Digest, ...]:
    """Return the digests under which a record of that kind has to be found."""
    match record:
        case Submission() | Plan():
            return (record.adapter.id, record.adapter.weights_id)
        case Verdict() | Review() | Waiver():
            return (record.adapter.id,)
        case Measurement():
            return (record.subject,)
        case BaseStatus():
            return (record.base.id,)
        case _:
            return ()


def _facts(index: int, record_id: Digest, kind: Kind, person: str, record: Record) -> Facts:
    head = record.head if isinstance(record, Plan | Verdict | Review | FeedStatement) else None
    weights = record.adapter.weights_id if isinstance(record, Plan | Verdict) else None
    plans = record.plans_on_weights if isinstance(record, Verdict) else None
    return Facts(index, record_id, kind, person, _references(record), head, weights, plans, _blobs(record))


def _references(record: Record) -> tuple[tuple[str, Digest], ...]:
    """Return the (what, record id) that `record` rests on and that must have been logged before it."""
    match record:
        case Submission():
            return tuple(("training provenance", item) for item in record.training)
        case Measurement():
            return (("plan", record.plan),)
        case Verdict():
            return (("plan", record.plan), *(("evidence", item) for item in record.evidence))
        case Review():
            return (("verdict", record.verdict), *(("evidence", item) for item in record.evidence))
        case Release():
            named = (*record.reviews, *record.waivers)
            return (("verdict", record.verdict), *(("approval", item) for item in named))
        case _:
            return ()


def _blobs(record: Record) -> tuple[Digest, ...]:
    match record:
        case Measurement():
            return (record.blob,)
        case Plan():
            return (record.policy.digest,)
        case Submission():
            return tuple(entry.sha256 for entry in record.files)
        case _:
            return ()
