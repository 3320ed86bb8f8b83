"""What a policy compares with beside the base: what a channel runs now, or an adapter it names."""

from __future__ import annotations

from collections.abc import Iterable

from placet.attest.predicates import Kind
from placet.attest.trust import Verified
from placet.domain.digests import Digest, short
from placet.domain.errors import UsageError
from placet.domain.records import PlannedReference, Release, Revocation, Submission
from placet.ledger.reader import LedgerReader

_SHORTEST_ID = 6


def find_references(reader: LedgerReader, names: Iterable[str], base: Digest) -> tuple[PlannedReference, ...]:
    """Return what each of `names` stands for now, on `base`; names that stand for nothing are left out.

    Args:
        reader: Verified records.
        names: ``channel:NAME`` or ``adapter:LABEL`` (or the start of an adapter id).
        base: Id of the base.

    Raises:
        UsageError: The start of an id fits several adapters.
    """
    found = []
    for name in names:
        kind, _, text = name.partition(":")
        finding = _running if kind == "channel" else _named
        reference = finding(reader, name, text, base)
        if reference is not None:
            found.append(reference)
    return tuple(found)


def _running(reader: LedgerReader, name: str, channel: str, base: Digest) -> PlannedReference | None:
    revoked = {item.record.target for item in reader.find(Kind.REVOCATION, Revocation)}
    for release in reversed(reader.find(Kind.RELEASE, Release)):
        record = release.record
        if record.channel != channel or record.base.id != base:
            continue
        if revoked & {record.adapter.id, record.adapter.weights_id, record.base.id, release.id}:
            continue
        return PlannedReference(name=name, adapter=record.adapter, record=release.id)
    return None


def _named(reader: LedgerReader, name: str, text: str, base: Digest) -> PlannedReference | None:
    on_base = [item for item in reader.find(Kind.SUBMISSION, Submission) if item.record.base.id == base]
    labelled = [item for item in on_base if item.record.adapter.label == text]
    if labelled:
        return _planned(name, labelled[-1])
    wanted = text.removeprefix("sha256:")
    by_id = {
        item.record.adapter.id: item
        for item in on_base
        if len(wanted) >= _SHORTEST_ID and short(item.record.adapter.id, 64).startswith(wanted)
    }
    if len(by_id) > 1:
        raise UsageError(f"{name} fits several adapters", hint="give more digits of the id in the policy")
    return _planned(name, next(iter(by_id.values()))) if by_id else None


def _planned(name: str, submission: Verified[Submission]) -> PlannedReference:
    return PlannedReference(name=name, adapter=submission.record.adapter, record=submission.id)
