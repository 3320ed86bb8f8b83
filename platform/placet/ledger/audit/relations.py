"""What records say of each other and of files: evidence was there, moments go on, releases were allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import Kind, spec_of
from placet.attest.statement import parse_statement
from placet.domain.digests import Digest
from placet.domain.errors import Error
from placet.domain.progress import Progress, tracked
from placet.domain.records import LedgerHead, Plan
from placet.domain.text import plural
from placet.ledger.audit.facts import Facts
from placet.ledger.audit.state import AuditRun, Dated
from placet.ledger.moments import TOLERANCE
from placet.ledger.releases import StoredLog, find_unallowed

BlobCheck = Callable[[Digest], None]
"""Returns if a blob is there and whole; raises :class:`Error` otherwise."""


def check_facts(run: AuditRun, facts: Sequence[Facts]) -> None:
    """Hold what records name against the log: evidence before them, heads that were, moments that go on."""
    # One connection for a stretch: a state that no checkpoint was made of is looked up by itself.
    with run.store.reading():
        _check_each(run, facts)


def _check_each(run: AuditRun, facts: Sequence[Facts]) -> None:
    wanted = sorted({target for fact in facts for _, target in fact.references})
    held = run.store.indices_of(wanted) if wanted else {}
    for fact in facts:
        for what, target in fact.references:
            at = held.get(target)
            if at is None or at in run.unverified:
                run.found.add(
                    "missing-evidence",
                    f"record {fact.index} ({fact.kind}) rests on {what} {target}, which is not in the log",
                    fact.index,
                )
            elif at >= fact.index:
                run.found.add(
                    "evidence-after-the-fact",
                    f"record {fact.index} ({fact.kind}) rests on {what} logged later, at {at}",
                    fact.index,
                )
        _check_head(run, fact)
        _check_drawn(run, fact)
        _check_moment(run, fact)
        if fact.kind is Kind.VERDICT:
            run.verdicts.append(fact.index)
        run.releases += fact.kind is Kind.RELEASE
        for blob in fact.blobs:
            run.blobs.setdefault(blob, fact.index)


def _check_head(run: AuditRun, fact: Facts) -> None:
    """Hold the ledger state that a plan, verdict, review or feed names against the log: each is a checkpoint, too."""
    head = fact.head
    if head is None:
        return
    run.totals["heads"] = run.totals.get("heads", 0) + 1
    root = run.root_at(head.size) if head.size <= fact.index else None
    if root is None or root.hex() != head.root:
        run.found.add(
            "foreign-head",
            f"record {fact.index} ({fact.kind} by {fact.person}) was signed over a state of the ledger, "
            f"{head.size} records, that this ledger never had: history was rewritten since, or it was signed elsewhere",
            fact.index,
        )
    elif run.lacks_checkpoint(head.size):
        run.found.add(
            "deleted-checkpoint",
            f"record {fact.index} ({fact.kind} by {fact.person}) was signed over the checkpoint of size {head.size}, "
            "which is not in the ledger file any more",
            fact.index,
        )


def _check_drawn(run: AuditRun, fact: Facts) -> None:
    """Hold the state that a plan's order was drawn from against where the plan stands: nothing came in between.

    Whoever could name an older state could choose among as many orders as there are states. Plans for adapters that
    are gated together are drawn from one state and logged at once (:mod:`placet.pipeline.plans`): between the state and
    a plan there may be such plans, and nothing else.
    """
    if fact.kind is not Kind.PLAN or fact.head is None:
        return
    if fact.index == run.start:
        run.drawn = _plan_before(run, fact.index)
    together = run.drawn == (fact.index - 1, fact.head)
    if fact.head.size != fact.index and not together:
        run.found.add(
            "stale-head",
            f"record {fact.index} (plan by {fact.person}) draws its order from the log of {fact.head.size} records, "
            f"though it had {fact.index} by then: whoever made it could choose among orders",
            fact.index,
        )
        return
    run.drawn = (fact.index, fact.head)


def _plan_before(run: AuditRun, index: int) -> tuple[int, LedgerHead] | None:
    """Return the plan that an earlier audit saw right before `index`, if it was one."""
    for entry in run.store.entries(index - 1, index) if index else ():
        try:
            statement = parse_statement(parse_envelope(entry.envelope).payload)
            if statement.predicate_type == spec_of(Kind.PLAN).predicate_type:
                return entry.index, Plan.from_json(statement.predicate).head
        except Error:
            return None  # its stretch says what is wrong with it
    return None


def _check_moment(run: AuditRun, fact: Facts) -> None:
    """Hold the moment that a record gives against those before it: nobody made it before what it follows."""
    if fact.moment is None:
        return
    latest, who = run.latest, f"{fact.kind} by {fact.person}"
    if latest is not None and fact.moment < latest.moment - TOLERANCE:
        days = (latest.moment - fact.moment).days
        run.found.add(
            "dated-back",
            f"record {fact.index} ({who}) is dated {fact.moment:%Y-%m-%d %H:%M} UTC, {plural(days, 'day')} before "
            f"record {latest.index} ({latest.who}), which was logged earlier",
            fact.index,
        )
    if latest is None or fact.moment > latest.moment:
        run.latest = Dated(fact.moment, fact.index, who)


def check_releases(run: AuditRun) -> None:
    """Hold each release that was looked at against what allowed it."""
    if run.trust is None:
        return
    with run.store.reading():
        log = StoredLog(run.store, run.trust, run.size)
        for release, reason in find_unallowed(log, run.start):
            run.found.add(
                "unallowed-release",
                f"record {release.index} released {release.record.adapter.label} to {release.record.channel}, "
                f"signed by {release.person}, though it was not allowed: {reason}",
                release.index,
            )


def check_blobs(run: AuditRun, check_blob: BlobCheck, progress: Progress) -> None:
    """Have each blob that a record names checked."""
    with tracked(progress, "blobs", len(run.blobs), "files"):
        for digest, index in run.blobs.items():
            try:
                check_blob(digest)
            except Error as error:
                run.found.add("damaged-blob", f"a file that record {index} names: {error}", index)
            progress.advance("blobs")
    run.checked.append(f"{plural(len(run.blobs), 'blob')} that records refer to")
