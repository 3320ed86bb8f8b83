"""Runs an audit: stretches of the log in parallel processes, put together in order, in bounded memory.

Finds, each by a message that names it: an edited record, a deleted one, re-ordered or replaced ones, a cut or
regrown log, a forged or unauthorized signature, rewritten roles, derived tables that say something else than
the envelopes, evidence that is missing or was not there yet, runs that are not as planned, verdicts that leave
runs out or contradict them, records that are dated back, releases that were not allowed, revocation feeds that leave
something out, and blobs that are gone or altered.

The root that all of this hangs on is the office's own, unless the caller names the digest of a version of it: whoever
has the folder can put another office in its place. Without a checkpoint from outside, a log that its own key rewrote
from the start and signed again is indistinguishable from an honest one. The report says so. No audit finds a key that
was stolen before it was reported, or a run that was never logged.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

from placet.attest.root import TrustRoot
from placet.attest.trust import Trust
from placet.domain.digests import Digest
from placet.domain.errors import Error, IntegrityError, UsageError
from placet.domain.progress import NullProgress, Progress, tracked
from placet.ledger.audit.feeds import check_feeds
from placet.ledger.audit.part import Job, Part, Scope, audit_part, tile_words
from placet.ledger.audit.relations import BlobCheck, check_blobs, check_facts, check_releases
from placet.ledger.audit.report import AuditReport, Findings
from placet.ledger.audit.since import latest_before, subjects_of_new
from placet.ledger.audit.state import AuditRun, Outside
from placet.ledger.audit.trusted import load_roles, trust_of_records
from placet.ledger.audit.verdicts import check_verdicts
from placet.ledger.audit.words import blind_spots, summary
from placet.ledger.checkpoint import Checkpoint, verify_log_checkpoint
from placet.ledger.merkle import GrowingTree
from placet.ledger.note import verify_cosignature
from placet.ledger.store import DuckStore, Form
from placet.ledger.tiles import TILE_HASHES, build_tiles

PART_RECORDS = 32_768
"""The longest stretch: what opening the file costs is shared by so many, and 100 MB hold them."""

_LEAST_RECORDS = 4096

_PARALLEL_FROM = 4096
"""Fewer records are audited in this process, within a second or so, and as of one moment."""


def audit(
    store: DuckStore,
    root: TrustRoot,
    *,
    outside: Sequence[Outside] = (),
    since: str = "",
    pin: Digest | None = None,
    follows: Sequence[str | None] = (None,),
    check_blob: BlobCheck | None = None,
    progress: Progress | None = None,
    scope: Scope | None = None,
    workers: int | None = None,
) -> AuditReport:
    """Check the log and return what was found.

    Args:
        store: The log; of one in PostgreSQL, the local index after it followed.
        root: The pinned trust root.
        outside: Checkpoints of this log that were kept elsewhere.
        since: The checkpoint note up to which an earlier audit found all whole: what came before is hashed again, and
            looked at only as far as what came after rests on it.
        pin: The digest of a version of the root, got from elsewhere; None believes `root` as it is, and says so.
        follows: The log elsewhere that the file may be the local index of; None: it may be a log of its own.
        check_blob: Checks one blob that records refer to; None leaves blobs unchecked and says so.
        progress: Listens.
        scope: Which parts are made; all by default.
        workers: How many processes; as many as there are cores by default.

    Raises:
        IntegrityError: No version of the root has the digest `pin`: this is another office.
        UsageError: `since` is no checkpoint of this log.
        LedgerBusyError, StorageError: The log could not be read.
    """
    progress, scope = progress or NullProgress(), scope or Scope()
    with ExitStack() as moment:
        moment.enter_context(store.reading())
        form = store.form()
        if form.lacking:
            return _unreadable(form, root, pin)
        if store.extent() >= _PARALLEL_FROM:
            moment.close()  # a long one goes on beside those who append
        given = _Given(root, form, scope, tuple(outside), since, pin, tuple(follows), progress, workers)
        run, newest = _look(store, given)
    if check_blob is not None and scope.meaning and run.trust is not None:
        check_blobs(run, check_blob, progress)
    return AuditReport(
        run.held,
        run.tree.root().hex(),
        tuple(summary(run)),
        run.found.all(),
        blind_spots(run, outside, check_blob, pin),
        run.start,
        newest if run.trust is not None else "",
    )


@dataclass(frozen=True)
class _Given:
    """What an audit is asked for."""

    root: TrustRoot
    form: Form
    scope: Scope
    outside: tuple[Outside, ...]
    since: str
    pin: Digest | None
    follows: tuple[str | None, ...]
    progress: Progress
    workers: int | None


def _look(store: DuckStore, given: _Given) -> tuple[AuditRun, str]:
    """Return what the audit found, judged by those who may sign what as the records themselves say it."""
    run, newest = _go_through(store, given)
    trust = trust_of_records(run, given.root)
    if trust is not None:
        # Signatures were judged by what the index tables showed of the roles. They are judged anew.
        known = 0 if run.trust is None else run.trust.statements
        run, newest = _go_through(store, given, trust)
        run.found.add(
            "edited-derived-table",
            f"the log holds {trust.statements} roles statements and root versions, the index tables show {known} or "
            "others: who may sign what was judged by the records themselves",
        )
    return run, newest


def _go_through(store: DuckStore, given: _Given, trust: Trust | None = None) -> tuple[AuditRun, str]:
    """Return what one look at the log found, and its newest checkpoint; judged by `trust` if that is given."""
    with store.reading():
        size, gaps = store.extent(), store.gaps()
        newest, beyond = store.latest_checkpoint() or "", store.checkpoint_notes(size)
        run = AuditRun(store, trust, given.scope, size, gaps)
        load_roles(run, given.root)
        _require_pin(given.root if run.trust is None else run.trust.root, given.pin)
        if given.pin is not None:
            run.checked.append(f"the office's root: one of its versions is the given {given.pin}")
        _check_form(run, given.form, given.follows)
        run.start = _begin(run, given.since)
    if run.trust is not None:
        run.outside = _outside(run, given.outside)
    _check_parts(run, given.progress, given.workers)
    _check_end(run, beyond)
    if run.scope.meaning and run.trust is not None:
        check_verdicts(run)
        check_releases(run)
        check_feeds(run, run.start)
    return run, newest


# --- beginning -----------------------------------------------------------------------------------------------


def _require_pin(root: TrustRoot, pin: Digest | None) -> None:
    """Return if a version of the root has the digest that somebody brought along.

    Raises:
        IntegrityError: None has: this is another office, whatever it says of itself.
    """
    if pin is not None and root.with_pin(pin) is None:
        raise IntegrityError(
            f"this is not the office that you know: its trust root is {root.pin}, and no version of it is the "
            f"given {pin}",
            hint="another office was put in its place, or the digest is another office's: ask whom you have it from",
        )


def _unreadable(form: Form, root: TrustRoot, pin: Digest | None) -> AuditReport:
    """Return the report on a file that lacks what a ledger has: nothing in it is looked at."""
    _require_pin(root, pin)
    found = Findings()
    for words in form.lacking:
        found.add("foreign-content", f"the ledger file lacks {words}")
    for words in form.foreign:
        found.add("foreign-content", f"the ledger file holds {words}, which no ledger has")
    return AuditReport(0, "", (), found.all(), ("anything else: the ledger file is not built like one",))


def _check_form(run: AuditRun, form: Form, follows: Sequence[str | None]) -> None:
    """Find what the file holds besides the log and the tables derived of it."""
    for words in form.foreign:
        run.found.add("foreign-content", f"the ledger file holds {words}, which no ledger has")
    for words in run.store.foreign_rows(follows):
        run.found.add("foreign-content", words)
    for words in run.store.extra_rows(run.size):
        run.found.add("edited-derived-table", f"the ledger file holds {words}, which does not belong there")
    if not run.scope.derived:
        return
    for word in run.store.unused_words():
        run.found.add(
            "edited-derived-table", f"the index tables hold the word {word[:80]!r}, which no record uses"
        )
    for first, again in run.store.doubled():
        run.found.add("doubled-record", f"record {again} repeats record {first}", again)


def _begin(run: AuditRun, since: str) -> int:
    """Return the record to begin at: what comes before it was audited up to the checkpoint `since`."""
    if not since or run.trust is None:
        return 0
    try:
        checkpoint = verify_log_checkpoint(run.trust, since, run.store.origin)
    except IntegrityError as error:
        raise UsageError(
            f"the last audited checkpoint is not one of this log: {error}",
            hint="audit the whole log: leave --since out, or remove the remembered checkpoint",
        ) from error
    if checkpoint.size > run.size:
        run.found.add(
            "truncated-log",
            f"an earlier audit covered {checkpoint.size} records, the ledger file holds {run.held}: "
            "records were cut off, or an old file was put back",
        )
        return 0
    try:
        tree = GrowingTree(run.store.frontier(checkpoint.size))
    except IntegrityError:
        tree = GrowingTree()
    if (tree.size, tree.root()) != (checkpoint.size, checkpoint.root):
        run.found.add(
            "rewritten-log",
            f"the first {checkpoint.size} records are not the ones that an earlier audit covered, or their stored "
            "hashes were changed: the whole log was read again",
        )
        return 0
    run.audited = checkpoint
    run.latest = latest_before(run, checkpoint.size)
    return checkpoint.size


def _outside(run: AuditRun, outside: Sequence[Outside]) -> list[Checkpoint]:
    """Return the checkpoints kept elsewhere that are this log's; compare them when the tree has their size."""
    kept: list[Checkpoint] = []
    for item in outside:
        try:
            if run.trust is None:
                break
            checkpoint = verify_log_checkpoint(run.trust, item.note, run.store.origin)
            if item.witness is not None:
                verify_cosignature(item.note, *item.witness)
        except IntegrityError as error:
            run.found.add("foreign-checkpoint", f"the checkpoint given is not one of this log: {error}")
            continue
        if checkpoint.size > run.size:
            run.found.add(
                "truncated-log",
                f"a checkpoint kept elsewhere covers {checkpoint.size} records, the ledger file holds {run.held}: "
                "records were cut off, or an old file was put back",
            )
        by = f", co-signed by {item.witness[0]}" if item.witness else ""
        run.checked.append(f"a checkpoint kept elsewhere, at size {checkpoint.size}{by}")
        kept.append(checkpoint)
    return kept


# --- stretches -----------------------------------------------------------------------------------------------


def _check_parts(run: AuditRun, progress: Progress, workers: int | None) -> None:
    sizes = sorted({item.size for item in run.outside} | {run.start})
    count = workers or len(os.sched_getaffinity(0))
    jobs = _jobs(run, sizes, count)
    with tracked(progress, "records", run.held, "records"), _runner(run.store, run.held, count) as each:
        for part in each(jobs):
            _take(run, part)
            progress.advance("records", part.records)
    _check_upper_tiles(run)


def _jobs(run: AuditRun, sizes: Sequence[int], workers: int) -> Iterator[Job]:
    # Short enough that each process gets several, so that none is left with the last one for long; whole tiles.
    wanted = min(PART_RECORDS, max(_LEAST_RECORDS, run.held // (4 * workers)))
    length = -(-wanted // TILE_HASHES) * TILE_HASHES
    gaps = deque(run.gaps)
    low, about = 0, subjects_of_new(run)
    while low < run.size:
        high = (low // length + 1) * length
        # A stretch is as long as the records in it: what is missing takes no time, however much it is.
        while gaps and gaps[0][0] < high:
            first, last = gaps.popleft()
            high += last - first + 1
        high = min(run.size, -(-high // TILE_HASHES) * TILE_HASHES)
        inside = tuple(size for size in sizes if low < size <= high)
        path, origin = run.store.path, run.store.origin
        yield Job(path, origin, low, high, run.trust, run.scope, inside, run.start, about)
        low = high


@contextmanager
def _runner(
    store: DuckStore, records: int, count: int
) -> Iterator[Callable[[Iterator[Job]], Iterator[Part]]]:
    """Give what runs jobs and yields their parts in order: in processes of their own where that is worth it."""
    if count == 1 or records < _PARALLEL_FROM:
        yield lambda jobs: (audit_part(job, store) for job in jobs)
        return
    # Fresh processes: a fork of one that has threads may hang.
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:

        def ordered(jobs: Iterator[Job]) -> Iterator[Part]:
            running: deque[Future[Part]] = deque()
            try:
                for job in jobs:
                    running.append(pool.submit(audit_part, job))
                    if len(running) > 2 * count:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
            except BrokenProcessPool as error:
                raise Error(
                    "a process of the audit was ended from outside",
                    hint="is there too little memory? run it again with fewer --workers",
                ) from error

        try:
            yield ordered
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _take(run: AuditRun, part: Part) -> None:
    run.found.extend(part.findings)
    run.unverified.update(part.unverified)
    run.tile_roots += part.tile_roots
    run.trust_records += part.trust_records
    for name in ("checkpoints", "signatures", "unknown", "again"):
        run.totals[name] = run.totals.get(name, 0) + getattr(part, name)
    run.comparing = run.comparing and not part.broken
    for step in part.steps if run.comparing else ():
        for leaves, root in step.pieces:
            run.tree.add_subtree(leaves, root)
        now = run.tree.root()
        if step.signed_root is not None and step.signed_root != now:
            run.found.add(
                "rewritten-log",
                f"records {run.good_up_to} to {step.size - 1} are not the ones the checkpoint at size {step.size} was "
                "signed over: they were edited, re-ordered, replaced or deleted",
                run.good_up_to,
            )
            run.comparing = False
            break
        if step.signed_root is not None:
            run.good_up_to = step.size
            run.roots.add(step.size, now)
        _compare_outside(run, step.size, now)
        if run.audited is not None and step.size == run.start and now != run.audited.root:
            run.found.add(
                "rewritten-log",
                f"the first {run.start} records are not the ones that an earlier audit covered",
            )
    if part.misnamed:
        held = run.store.indices_of([record_id for _, record_id in part.misnamed])
        for index, record_id in part.misnamed:
            if held.get(record_id, index) != index:
                run.found.add("doubled-record", f"record {index} repeats record {held[record_id]}", index)
    check_facts(run, part.facts)


def _compare_outside(run: AuditRun, size: int, root: bytes | None) -> None:
    for checkpoint in run.outside:
        if checkpoint.size == size and checkpoint.root != root:
            run.found.add(
                "forked-log",
                f"the first {size} records are not the ones of the checkpoint kept elsewhere: "
                "history was rewritten and signed again",
            )


def _check_upper_tiles(run: AuditRun) -> None:
    """Compare the stored tiles above the lowest level, which are made of the roots below them."""
    if not run.scope.derived or not run.comparing or run.start:
        return
    for tile in build_tiles(run.tile_roots):
        level = tile.level + 1
        if run.store.tile_roots(level, tile.index, tile.index + 1) != (tile.root,):
            run.found.add("edited-derived-table", tile_words(level, tile.index))


def _check_end(run: AuditRun, beyond: Sequence[tuple[int, str]]) -> None:
    """Hold the newest checkpoint, and what was kept elsewhere, against how far the log goes.

    Args:
        run: The audit.
        beyond: Stored checkpoints of more records than there are.
    """
    if run.trust is None:
        return
    for size, note in beyond:
        try:
            signed = verify_log_checkpoint(run.trust, note, run.store.origin).size
        except IntegrityError as error:
            run.found.add("forged-checkpoint", f"the checkpoint at size {size} does not verify: {error}")
            continue
        if signed != size:
            message = f"the checkpoint filed under size {size} is of size {signed}"
            run.found.add("forged-checkpoint", message)
        else:
            message = f"a checkpoint covers {size} records but the ledger file holds {run.held}"
            run.found.add("truncated-log", message, size)
    if run.comparing and run.good_up_to < run.size:
        run.found.add(
            "unsigned-tail", f"{run.size - run.good_up_to} records at the end are covered by no checkpoint"
        )
    if not run.comparing:
        for checkpoint in run.outside:
            if checkpoint.size > run.good_up_to and checkpoint.size <= run.size:
                run.found.add(
                    "forked-log",
                    f"the first {checkpoint.size} records are not the ones of the checkpoint kept elsewhere: "
                    "history was rewritten",
                )
