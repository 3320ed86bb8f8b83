"""A revocation feed: nothing left out of it, signed by who could sign it then, and of the log that the bundle is of.

A feed speaks for the log before one record of it, the feed's own statement. Whoever signs it needs the role at the
index that the log gives it, so a key whose grant has ended makes no feed any more, however it is dated.

What this does not do: it cannot tell that a statement is a lie (the log that it stands in shows that, and `placet
audit` finds it), or that others are shown another log (a witness tells that).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import Kind
from placet.attest.root import parse_root
from placet.attest.statement import parse_statement
from placet.attest.trust import Trust, Verified
from placet.domain.digests import Digest, digest_bytes
from placet.domain.errors import IntegrityError
from placet.domain.records import FeedPart, FeedStatement, Record, Revocation
from placet.ledger.checkpoint import Checkpoint, verify_log_checkpoint
from placet.ledger.merkle import hashes_before, leaf_hash, verify_inclusion
from placet.verify.layout import BundledLeaf, BundledRecord, Feed
from placet.verify.records import establish, is_of, verify_records

_NEWEST = "something was left out of the feed or put into it: get the newest feed"
_ASK = "one of the two was made up: ask the office and its witness, and keep both"


@dataclass(frozen=True, slots=True)
class VerifiedFeed:
    """A feed that verified. It speaks for every record before `index`, where its own statement is."""

    feed: Feed
    told: FeedStatement
    trust: Trust
    checkpoint: Checkpoint
    revocations: tuple[Verified[Revocation], ...]

    @property
    def index(self) -> int:
        """The index of its own statement."""
        return self.feed.statement.index

    def require_release(self, release: BundledRecord, size: int) -> None:
        """Return if the release is in the log that the feed speaks of, after the same records as in its bundle.

        Args:
            release: The release as its bundle holds it, verified under the bundle's checkpoint.
            size: The size of that checkpoint.

        Raises:
            IntegrityError: It is not, or the feed is older than it.
        """
        if release.index >= self.index:
            raise older()
        held = next((item for item in self.feed.releases if item.index == release.index), None)
        if held is None or held.leaf != leaf_hash(release.envelope):
            raise IntegrityError(
                f"the release, record {release.index} in its bundle, is not in the log that the feed speaks of",
                hint=_ASK,
            )
        # Both proofs verified: so these are the roots of the trees that the records before it make, in either log.
        before = hashes_before(release.index, size, release.proof)
        if before != hashes_before(held.index, self.checkpoint.size, held.proof):
            raise IntegrityError(
                f"the records before the release, record {release.index}, are not those in the log that the feed "
                "speaks of",
                hint=_ASK,
            )


def older() -> IntegrityError:
    """Return the error of a feed that was made before the release or its bundle."""
    return IntegrityError("the revocation feed is older than the release", hint="get the newest feed")


def verify_feed(feed: Feed, pin: Digest, origin: str) -> VerifiedFeed:
    """Verify a feed by itself, under its own versions of the root and its own roles.

    Args:
        feed: What was read.
        pin: The digest of one of its versions of the root.
        origin: The log's name.

    Raises:
        IntegrityError: It holds more or less than its statement says, or a signature or proof does not hold.
    """
    told = _require_all(feed)
    root = parse_root(feed.roots, pin)
    trust = establish(root, feed.records, _NEWEST)
    checkpoint = verify_log_checkpoint(trust, feed.checkpoint, origin)
    records = verify_records(trust, checkpoint, (*feed.records, feed.statement), _NEWEST)
    for item in feed.releases:
        verify_inclusion(item.leaf, item.index, checkpoint.size, item.proof, checkpoint.root)
    if told.office != root.office:
        raise IntegrityError(
            f"the feed's statement is of office {told.office!r}, not {root.office!r}",
            hint="get the newest feed",
        )
    return VerifiedFeed(feed, told, trust, checkpoint, tuple(_revocations(records)))


def _revocations(records: Sequence[Verified[Record]]) -> list[Verified[Revocation]]:
    return [cast("Verified[Revocation]", item) for item in records if isinstance(item.record, Revocation)]


def _require_all(feed: Feed) -> FeedStatement:
    """Return the feed's statement, not verified yet, if the feed holds what that says, and neither more nor less."""
    if not is_of(Kind.FEED, feed.statement):
        raise IntegrityError("the feed's own statement is a record of another kind", hint=_NEWEST)
    told = FeedStatement.from_json(parse_statement(parse_envelope(feed.statement.envelope).payload).predicate)
    _require_order(feed.records, feed.statement.index)
    _require_order(feed.releases, feed.statement.index)
    roles = [item for item in feed.records if is_of(Kind.ROLES, item)]
    revocations = [item for item in feed.records if is_of(Kind.REVOCATION, item)]
    if len(roles) + len(revocations) != len(feed.records):
        raise IntegrityError("a record in the feed is of a kind that no feed holds", hint=_NEWEST)
    for what, stated, hashes in (
        ("roles statements", told.roles, _leaves(roles)),
        ("versions of the root", told.roots, [str(digest_bytes(raw)) for raw in feed.roots]),
        ("revocations", told.revocations, _leaves(revocations)),
        ("releases", told.releases, [item.leaf.hex() for item in feed.releases]),
    ):
        if len(hashes) != stated.count:
            raise IntegrityError(
                f"the feed holds {len(hashes)} {what}, not the {stated.count} that its own statement counts",
                hint=_NEWEST,
            )
        if FeedPart.of(hashes) != stated:
            raise IntegrityError(
                f"the feed's {what} are not the ones that its own statement names", hint=_NEWEST
            )
    return told


def _require_order(items: Sequence[BundledRecord | BundledLeaf], before: int) -> None:
    indices = [item.index for item in items]
    if indices != sorted(set(indices)) or any(index >= before for index in indices):
        raise IntegrityError(
            "what the feed holds is not in the order of the log, or was logged after its own statement",
            hint=_NEWEST,
        )


def _leaves(records: Sequence[BundledRecord]) -> list[str]:
    return [leaf_hash(item.envelope).hex() for item in records]
