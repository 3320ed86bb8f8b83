"""`placet audit`: is the record whole, and what could not be seen from here?

Finds, each by a message that names it: an edited record, a deleted one, re-ordered or replaced ones, a cut or
regrown log, a forged or unauthorized signature, rewritten roles, derived tables that say something else than
the envelopes, evidence that is missing or was not there yet, and blobs that are gone or altered.

Without a checkpoint from outside, a log that its own key rewrote from the start and signed again is
indistinguishable from an honest one; the report says so. No audit finds a key that was stolen before it was
reported, or a run that was never logged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from placet.attest.predicates import PREDICATES
from placet.attest.root import TrustRoot
from placet.attest.trust import Trust, Verified
from placet.domain.digests import Digest
from placet.domain.errors import Error, IntegrityError, NotAuthorizedError
from placet.domain.progress import NullProgress, Progress, tracked
from placet.domain.records import Measurement, Plan, Record, Release, Review, Submission, Verdict
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.ledger.merkle import GrowingTree, leaf_hash, tree_root
from placet.ledger.reader import load_trust
from placet.ledger.releases import find_unallowed
from placet.ledger.store import Entry, LedgerStore, Snapshot, derive

BlobCheck = Callable[[Digest], None]
"""Returns if a blob is there and whole; raises :class:`Error` otherwise."""


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that is wrong with the record: `id` names the attack, `index` the record where it shows."""

    id: str
    message: str
    index: int | None = None


@dataclass(frozen=True)
class AuditReport:
    """What an audit looked at and found. `blind` says what it could not have seen."""

    records: int
    root: str
    checked: tuple[str, ...]
    findings: tuple[AuditFinding, ...]
    blind: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """True when nothing was found."""
        return not self.findings


@dataclass
class _Audit:
    findings: list[AuditFinding] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def add(self, finding_id: str, message: str, index: int | None = None) -> None:
        self.findings.append(AuditFinding(finding_id, message, index))


def audit(
    store: LedgerStore,
    root: TrustRoot,
    *,
    outside: Sequence[str] = (),
    check_blob: BlobCheck | None = None,
    progress: Progress | None = None,
) -> AuditReport:
    """Check the whole log and return what was found.

    Args:
        store: The log.
        root: The pinned trust root.
        outside: Checkpoint notes of this log that were kept elsewhere.
        check_blob: Checks one blob that records refer to; None leaves blobs unchecked and says so.
        progress: Listens.

    Raises:
        LedgerBusyError, StorageError: The log could not be read.
    """
    run, progress = _Audit(), progress or NullProgress()
    stored = store.snapshot()
    entries = stored.entries
    _check_entries(run, entries)
    trust = _trust(run, store, root)
    if trust is not None:
        _check_checkpoints(run, store.origin, stored, trust)
        _check_outside(run, store, trust, entries, outside)
        records = _check_signatures(run, trust, entries, progress)
        _check_references(run, records)
        _check_heads(run, records, entries)
        _check_releases(run, records)
        if check_blob is not None:
            _check_blobs(run, records, check_blob, progress)
    _check_derived(run, stored)
    blind = ["a key that was stolen before its loss was reported", "a run that was never logged"]
    if not outside:
        blind.insert(
            0,
            "a log rewritten or cut short and signed again with its own key: give --checkpoint FILE kept elsewhere",
        )
    if check_blob is None:
        blind.append("blobs that are gone or altered: they were not looked at")
    leaves = [entry.leaf for entry in entries]
    return AuditReport(
        len(entries), tree_root(leaves).hex(), tuple(run.checked), tuple(run.findings), tuple(blind)
    )


def _check_entries(run: _Audit, entries: Sequence[Entry]) -> None:
    run.checked.append(f"{len(entries)} records: indices without gaps, stored hashes match the bytes")
    expected = 0
    for entry in entries:
        for missing in range(expected, entry.index):
            run.add("deleted-record", f"record {missing} is missing from the ledger file", missing)
        expected = entry.index + 1
        if leaf_hash(entry.envelope) != entry.leaf:
            run.add(
                "edited-record",
                f"record {entry.index} was edited: its bytes do not have their hash",
                entry.index,
            )
            continue
        try:
            derive(entry)
        except Error as error:
            run.add("edited-record", f"record {entry.index} cannot be read: {error}", entry.index)


def _trust(run: _Audit, store: LedgerStore, root: TrustRoot) -> Trust | None:
    try:
        trust = load_trust(store, root)
    except IntegrityError as error:
        run.add("untrusted-roles", f"who may sign what cannot be established: {error}")
        return None
    run.checked.append(
        f"roles up to version {trust.roles.version}, vouched for by the pinned root {root.pin}"
    )
    return trust


def _check_checkpoints(run: _Audit, origin: str, stored: Snapshot, trust: Trust) -> None:
    notes, entries = stored.checkpoints, stored.entries
    tree, good_up_to = GrowingTree(), 0
    for size, note in notes:
        try:
            checkpoint = verify_log_checkpoint(trust, note, origin)
        except IntegrityError as error:
            run.add("forged-checkpoint", f"the checkpoint at size {size} does not verify: {error}")
            continue
        if checkpoint.size != size:
            run.add(
                "forged-checkpoint", f"the checkpoint filed under size {size} is of size {checkpoint.size}"
            )
            continue
        if size > len(entries):
            run.add(
                "truncated-log",
                f"a checkpoint covers {size} records but the ledger file holds {len(entries)}",
                size,
            )
            break
        for entry in entries[tree.size : size]:
            tree.add(leaf_hash(entry.envelope))
        if checkpoint.root != tree.root():
            run.add(
                "rewritten-log",
                f"records {good_up_to} to {size - 1} are not the ones the checkpoint at size {size} was signed over: "
                "they were edited, re-ordered, replaced or deleted",
                good_up_to,
            )
            break
        good_up_to = size
    if not notes or (not run.findings and notes[-1][0] != len(entries)):
        run.add(
            "unsigned-tail", f"{len(entries) - good_up_to} records at the end are covered by no checkpoint"
        )
    run.checked.append(f"{len(notes)} checkpoints: signed by the log's key, each root recomputed")


def _check_outside(
    run: _Audit, store: LedgerStore, trust: Trust, entries: Sequence[Entry], outside: Sequence[str]
) -> None:
    leaves = [leaf_hash(entry.envelope) for entry in entries]
    for note in outside:
        try:
            checkpoint = verify_log_checkpoint(trust, note, store.origin)
        except IntegrityError as error:
            run.add("foreign-checkpoint", f"the checkpoint given is not one of this log: {error}")
            continue
        if checkpoint.size > len(leaves):
            run.add(
                "truncated-log",
                f"a checkpoint kept elsewhere covers {checkpoint.size} records, the ledger file holds {len(leaves)}: "
                "records were cut off, or an old file was put back",
            )
        elif checkpoint.root != tree_root(leaves[: checkpoint.size]):
            run.add(
                "forked-log",
                f"the first {checkpoint.size} records are not the ones of the checkpoint kept elsewhere: "
                "history was rewritten and signed again",
            )
        run.checked.append(f"a checkpoint kept elsewhere, at size {checkpoint.size}")


def _check_signatures(
    run: _Audit, trust: Trust, entries: Sequence[Entry], progress: Progress
) -> list[Verified[Record]]:
    records, unknown = [], 0
    known = {spec.predicate_type for spec in PREDICATES}
    seen: dict[Digest, int] = {}
    with tracked(progress, "signatures", len(entries), "records"):
        for entry in entries:
            progress.advance("signatures")
            try:
                if derive(entry).predicate_type not in known:
                    unknown += 1
                    continue
                verified = trust.verify(entry.envelope, entry.index)
            except NotAuthorizedError as error:
                run.add("unauthorized-signer", f"record {entry.index}: {error}", entry.index)
                continue
            except IntegrityError as error:
                run.add("bad-signature", f"record {entry.index}: {error}", entry.index)
                continue
            if verified.id != entry.record_id:
                run.add("wrong-record-id", f"record {entry.index} is filed under another id", entry.index)
            if verified.id in seen:
                run.add(
                    "doubled-record", f"record {entry.index} repeats record {seen[verified.id]}", entry.index
                )
            seen[verified.id] = entry.index
            records.append(verified)
    run.checked.append(f"{len(records)} signatures, each by a key that held the role at that index")
    if unknown:
        run.checked.append(f"{unknown} records of types not known here: kept, not trusted")
    return records


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


def _check_references(run: _Audit, records: Sequence[Verified[Record]]) -> None:
    index_of = {record.id: record.index for record in records}
    for verified in records:
        for what, target in _references(verified.record):
            if target not in index_of:
                run.add(
                    "missing-evidence",
                    f"record {verified.index} ({verified.kind}) rests on {what} {target}, which is not in the log",
                    verified.index,
                )
            elif index_of[target] >= verified.index:
                run.add(
                    "evidence-after-the-fact",
                    f"record {verified.index} ({verified.kind}) rests on {what} logged later, at {index_of[target]}",
                    verified.index,
                )
    _check_left_out(run, records)
    run.checked.append("references: what a record rests on was logged before it; verdicts leave no plan out")


def _check_heads(run: _Audit, records: Sequence[Verified[Record]], entries: Sequence[Entry]) -> None:
    """Hold every ledger state that a plan, verdict or review names against the log: each is a checkpoint, too."""
    named = [(item.record.head, item) for item in records if isinstance(item.record, Plan | Verdict | Review)]
    tree = GrowingTree()
    for head, verified in sorted(named, key=lambda pair: pair[0].size):
        for entry in entries[tree.size : head.size]:
            tree.add(leaf_hash(entry.envelope))
        if head.size > verified.index or tree.size != head.size or tree.root().hex() != head.root:
            run.add(
                "foreign-head",
                f"record {verified.index} ({verified.kind} by {verified.person}) was signed over a state of the "
                f"ledger, {head.size} records, that this ledger never had: history was rewritten since, or it was "
                "signed elsewhere",
                verified.index,
            )
    run.checked.append(f"{len(named)} ledger states that plans, verdicts and reviews were signed over")


def _check_releases(run: _Audit, records: Sequence[Verified[Record]]) -> None:
    for release, reason in find_unallowed(records):
        run.add(
            "unallowed-release",
            f"record {release.index} released {release.record.adapter.label} to {release.record.channel}, signed by "
            f"{release.person}, though it was not allowed: {reason}",
            release.index,
        )
    count = sum(isinstance(item.record, Release) for item in records)
    run.checked.append(
        f"{count} releases: each approved by enough people when it was made, on its newest verdict"
    )


def _check_left_out(run: _Audit, records: Sequence[Verified[Record]]) -> None:
    plans = [(item.index, item.id, item.record) for item in records if isinstance(item.record, Plan)]
    for verified in records:
        verdict = verified.record
        if not isinstance(verdict, Verdict):
            continue
        for index, plan_id, plan in plans:
            same = plan.adapter.weights_id == verdict.adapter.weights_id
            # Not only up to the head it names: whoever leaves a run out could name an older head, too.
            if same and index < verified.index and plan_id not in verdict.plans_on_weights:
                run.add(
                    "left-out-run",
                    f"the verdict at {verified.index} leaves out the plan at {index} on the same weights",
                    verified.index,
                )


def _check_blobs(
    run: _Audit, records: Sequence[Verified[Record]], check_blob: BlobCheck, progress: Progress
) -> None:
    wanted: dict[Digest, int] = {}
    for verified in records:
        if isinstance(verified.record, Measurement):
            wanted.setdefault(verified.record.blob, verified.index)
        if isinstance(verified.record, Plan):
            wanted.setdefault(verified.record.policy.digest, verified.index)
        if isinstance(verified.record, Submission):
            for entry in verified.record.files:
                wanted.setdefault(entry.sha256, verified.index)
    with tracked(progress, "blobs", len(wanted), "files"):
        for digest, index in wanted.items():
            try:
                check_blob(digest)
            except Error as error:
                run.add("damaged-blob", f"a file that record {index} names: {error}", index)
            progress.advance("blobs")
    run.checked.append(f"{len(wanted)} blobs that records refer to")


def _check_derived(run: _Audit, snapshot: Snapshot) -> None:
    stored = {row.index: row for row in snapshot.derived}
    for entry in snapshot.entries:
        try:
            expected = derive(entry)
        except Error:
            continue  # reported by _check_entries
        if stored.pop(entry.index, None) != expected:
            run.add(
                "edited-derived-table",
                f"the index tables say something else about record {entry.index} than the record itself "
                "(`placet ledger rebuild` makes them again)",
                entry.index,
            )
    for index in stored:
        run.add(
            "edited-derived-table", f"the index tables name record {index}, which is not in the log", index
        )
    run.checked.append("derived tables, compared with the envelopes")
