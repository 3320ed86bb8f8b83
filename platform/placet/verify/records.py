"""Records outside their log: who may sign what by the roles among them, and each proven to be in the log."""

from __future__ import annotations

from collections.abc import Sequence

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import Kind, spec_of
from placet.attest.root import TrustRoot
from placet.attest.statement import parse_statement
from placet.attest.trust import Trust, Verified, establish_trust
from placet.domain.digests import Digest, canonical_json
from placet.domain.errors import IntegrityError
from placet.domain.records import Record
from placet.ledger.checkpoint import Checkpoint
from placet.ledger.merkle import leaf_hash, verify_inclusion
from placet.verify.layout import BundledRecord


def establish(root: TrustRoot, records: Sequence[BundledRecord], hint: str) -> Trust:
    """Return the trust that `root` vouches for through the roles statements among `records`.

    Raises:
        IntegrityError: There is none, or they do not hold; with `hint` in the first case.
    """
    # Looked for as it stands in canonical JSON, and believed only when the root's keys have signed it: no need to take
    # every record apart twice.
    marker = canonical_json({"predicateType": spec_of(Kind.ROLES).predicate_type})[1:-1]
    statements = [
        (item.index, item.envelope)
        for item in records
        if marker in parse_envelope(item.envelope).payload and is_of(Kind.ROLES, item)
    ]
    if not statements:
        raise IntegrityError("there is no roles statement", hint=hint)
    return establish_trust(root, statements)


def is_of(kind: Kind, item: BundledRecord) -> bool:
    """Tell whether a record says that it is of `kind`."""
    return (
        parse_statement(parse_envelope(item.envelope).payload).predicate_type == spec_of(kind).predicate_type
    )


def verify_records(
    trust: Trust, checkpoint: Checkpoint, records: Sequence[BundledRecord], hint: str
) -> list[Verified[Record]]:
    """Return `records`, each signed by a key that held the role and proven to be in the log, none twice.

    Raises:
        IntegrityError: One of them is not; with `hint` if it is there twice.
    """
    seen: dict[Digest, Verified[Record]] = {}
    for item in records:
        verified = trust.verify(item.envelope, item.index)
        verify_inclusion(leaf_hash(item.envelope), item.index, checkpoint.size, item.proof, checkpoint.root)
        if verified.id in seen:
            raise IntegrityError(f"record {item.index} is there twice", hint=hint)
        seen[verified.id] = verified
    return list(seen.values())
