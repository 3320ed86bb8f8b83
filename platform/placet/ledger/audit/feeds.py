"""Revocation feeds on record: does each count all that was logged before it?

A verifier cannot tell that something is missing from a feed whose signer left it out. The log can: a feed's statement
is a record, and what stood before it can be counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from placet.attest.predicates import Kind, RootChange, spec_of
from placet.attest.trust import Trust
from placet.domain.digests import Digest
from placet.domain.errors import IntegrityError
from placet.domain.records import FeedPart, FeedStatement
from placet.ledger.audit.state import AuditRun
from placet.ledger.store import DuckStore, Entry

_PARTS = (Kind.ROLES, Kind.REVOCATION, Kind.RELEASE)


class Counted:
    """A part of a feed that grows: its digest at any moment without hashing all of it again."""

    def __init__(self) -> None:
        self._count = 0
        self._hash = hashlib.sha256()

    def add(self, leaf: bytes) -> None:
        """Add a record by its leaf hash."""
        self._hash.update(f'{"," if self._count else "["}"{leaf.hex()}"'.encode())
        self._count += 1

    def part(self) -> FeedPart:
        """Return what a feed says that holds all of it: :meth:`FeedPart.of` of the same list."""
        whole = self._hash.copy()
        whole.update(b"]" if self._count else b"[]")
        return FeedPart(count=self._count, digest=Digest("sha256:" + whole.hexdigest()))


def check_feeds(run: AuditRun, start: int) -> None:
    """Hold each feed statement from record `start` on against what was logged before it."""
    if run.trust is None:
        return
    counted = {kind: Counted() for kind in _PARTS}
    roots = 1
    with run.store.reading():
        records = _in_order(run.store, run.size)
    for kind, entry in records:
        if kind is Kind.ROOT:
            roots = max(roots, _followed(run.trust, entry))
        elif kind is not Kind.FEED:
            counted[kind].add(entry.leaf)
        elif entry.index >= start and entry.index not in run.unverified:
            _check_feed(run, run.trust, entry, counted, roots)


def _in_order(store: DuckStore, size: int) -> Iterator[tuple[Kind, Entry]]:
    """Yield the records that feeds are about, and feeds, by index; not even read where there is no feed."""
    feeds = store.find(predicate_type=spec_of(Kind.FEED).predicate_type)
    kinds = (*_PARTS, Kind.ROOT) if feeds else ()
    found = [(entry.index, Kind.FEED, entry) for entry in feeds]
    for kind in kinds:
        found += [
            (entry.index, kind, entry) for entry in store.find(predicate_type=spec_of(kind).predicate_type)
        ]
    return ((kind, entry) for index, kind, entry in sorted(found, key=lambda item: item[0]) if index < size)


def _followed(trust: Trust, entry: Entry) -> int:
    """Return the number of the version of the root that a record holds; 0 if it is none that the trust follows."""
    try:
        change = trust.verify(entry.envelope, entry.index).record
    except IntegrityError:
        return 0  # the audit names it by itself
    known = {item.raw: item.version for item in trust.root.versions}
    return known.get(change.file.encode(), 0) if isinstance(change, RootChange) else 0


def _check_feed(run: AuditRun, trust: Trust, entry: Entry, counted: dict[Kind, Counted], roots: int) -> None:
    try:
        feed = trust.verify(entry.envelope, entry.index)
    except IntegrityError:
        return  # the audit names it by itself
    told = feed.record
    if not isinstance(told, FeedStatement):
        return  # the index tables say another kind than the record: the audit names that, too
    run.feeds += 1
    pins: Sequence[str] = [item.pin for item in trust.root.versions[:roots]]
    for what, stated, there in (
        ("roles statements", told.roles, counted[Kind.ROLES].part()),
        ("versions of the root", told.roots, FeedPart.of(pins)),
        ("revocations", told.revocations, counted[Kind.REVOCATION].part()),
        ("releases", told.releases, counted[Kind.RELEASE].part()),
    ):
        if stated != there:
            run.found.add(
                "false-feed",
                f"record {entry.index}, a revocation feed by {feed.person}, counts {stated.count} {what} where "
                f"{there.count} stood before it"
                + ("" if stated.count != there.count else ", and names others than these"),
                entry.index,
            )
