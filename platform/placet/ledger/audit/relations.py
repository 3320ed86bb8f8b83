"""What records say of each other and of files: evidence was there, no plan is left out, releases were allowed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from placet.attest.predicates import Kind
from placet.domain.digests import Digest
from placet.domain.errors import Error
from placet.domain.progress import Progress, tracked
from placet.domain.text import plural
from placet.ledger.audit.part import Facts
from placet.ledger.audit.state import AuditRun
from placet.ledger.releases import StoredLog, find_unallowed

BlobCheck = Callable[[Digest], None]
"""Returns if a blob is there and whole; raises :class:`Error` otherwise."""


def check_facts(run: AuditRun, facts: Sequence[Facts]) -> None:
    """Hold what records name against the log: evidence before them, heads that were, plans on the same weights."""
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
        _check_left_out(run, fact)
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


def _check_left_out(run: AuditRun, fact: Facts) -> None:
    if fact.weights_id is None:
        return
    on_weights = run.plans.setdefault(fact.weights_id, [])
    if fact.plans is None:
        on_weights.append((fact.index, fact.record_id))
        return
    # Not only up to the head it names: whoever leaves a run out could name an older head, too.
    for index, plan_id in on_weights:
        if plan_id not in fact.plans:
            run.found.add(
                "left-out-run",
                f"the verdict at {fact.index} leaves out the plan at {index} on the same weights",
                fact.index,
            )


def check_releases(run: AuditRun, start: int) -> None:
    """Hold each release from record `start` on against what allowed it."""
    if run.trust is None:
        return
    with run.store.reading():
        log = StoredLog(run.store, run.trust, run.size)
        for release, reason in find_unallowed(log, start):
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
