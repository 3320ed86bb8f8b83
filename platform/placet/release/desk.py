"""The release desk: an approved adapter becomes a release record and a bundle that verifies offline.

Files come from the content-addressed store alone, hashed while copied; a bundle appears whole or not at all,
and is verified with the offline verifier before anybody is told of it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from placet.attest.keys import Signer, parse_public_key
from placet.attest.oms import sign_files
from placet.attest.predicates import Kind, Role, spec_of
from placet.attest.root import TrustRoot
from placet.attest.statement import Subject
from placet.attest.trust import Verified, sign_record
from placet.domain.digests import Digest, short
from placet.domain.errors import Error, KeyAccessError, RefusedError, StorageError, UsageError
from placet.domain.records import (
    AdapterRef,
    Base,
    FeedPart,
    FeedStatement,
    Intake,
    Record,
    Release,
    Revocation,
)
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.ledger.evidence import look_around, objections
from placet.ledger.moments import TOLERANCE
from placet.ledger.reader import LedgerReader
from placet.ledger.store import Entry, LedgerStore, Seen, StaleError
from placet.office import EVALUATOR_KEY, FILES_KEY, Office
from placet.office.office import ATTEMPTS, contended
from placet.review.desk import Case, approval_of, load_case
from placet.verify.layout import (
    ADAPTER_FOLDER,
    CHECKPOINT_FILE,
    RECORD_FOLDER,
    RECORDS_FILE,
    SIGNATURE_FILE,
    BundledLeaf,
    BundledRecord,
    Feed,
    dump_feed,
    dump_records,
    root_file,
)
from placet.verify.verifier import verify_bundle

FEED_KINDS = (Kind.ROLES, Kind.ROOT, Kind.REVOCATION, Kind.RELEASE)
"""The kinds of record that a feed accounts for."""


def release(office: Office, adapter: Digest, channel: str, signer: Signer) -> tuple[Verified[Release], Path]:
    """Release `adapter` to `channel` and return the record and the bundle's folder.

    Releasing the same verdict to the same channel again returns the release there is, its bundle rebuilt if it
    is gone or damaged.

    Raises:
        RefusedError: Not approved (with what is missing), revoked, refused by intake since, on a verdict that does not
            account for its evidence, or on a clock that is behind the log.
        UsageError: An unusable channel name.
        NotAuthorizedError: The key does not hold the releaser role.
        StorageError: The bundle cannot be written.
    """
    if not channel.replace("-", "").isalnum():
        raise UsageError(f"{channel!r} cannot name a channel", hint="use letters, digits and '-'")
    reader = office.reader()
    reader.trust.authorize(signer.public.key_id, (Role.RELEASER,), reader.head().size)
    case = load_case(reader, adapter)
    reader.require_whole()
    _refuse_revoked(reader, case)
    _refuse_refused(reader, case)
    _refuse_unaccounted(reader, case)
    _refuse_dated_back(reader, office.clock())
    approval = approval_of(office, case)
    if not approval.approved:
        raise RefusedError(
            f"{case.verdict.record.adapter.label} is not approved: " + "; ".join(approval.missing),
            hint="see `placet report`, then `placet review` and `placet waive`",
        )
    verdict = case.verdict.record
    reviews = tuple(item.id for item in approval.reviews)
    waivers = tuple(item.id for item in approval.waivers)
    # A release that rests on approvals which have lapsed since is not taken up again: a new one is recorded.
    existing = [
        item
        for item in reader.find(Kind.RELEASE, Release, subject=adapter)
        if item.record.channel == channel
        and item.record.verdict == case.verdict.id
        and item.record.reviews == reviews
        and item.record.waivers == waivers
    ]
    if existing:
        released = existing[-1]
    else:
        record = Release(
            adapter=verdict.adapter,
            base=verdict.base,
            policy=verdict.policy,
            verdict=case.verdict.id,
            reviews=reviews,
            waivers=waivers,
            files=case.submission.record.files,
            files_key=office.signer(FILES_KEY).public.pem,
            channel=channel,
            released_at=office.clock(),
        )
        subjects = (Subject(verdict.adapter.label, verdict.adapter.id), Subject("verdict", case.verdict.id))
        released = office.record(Kind.RELEASE, record, subjects, signer)
    target = office.folder("releases", channel) / _folder_name(verdict.adapter)
    build_bundle(office, case, released, target)
    return released, target


def build_bundle(office: Office, case: Case, released: Verified[Release], target: Path) -> None:
    """Write the bundle of `released` to `target`, whole or not at all, and verify it.

    Raises:
        StorageError: It cannot be written.
        IntegrityError: What was written does not verify.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    replaced = target.with_name(f".{target.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        (temporary / RECORD_FOLDER).mkdir(parents=True)
        for entry in case.submission.record.files:
            path = temporary / ADAPTER_FOLDER / entry.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(office.blobs.read(entry.sha256))
        records, note = temporary / RECORD_FOLDER, office.store.latest_checkpoint() or ""
        for version in office.root.versions:
            (records / root_file(version.version)).write_bytes(version.raw)
        (records / CHECKPOINT_FILE).write_text(note)
        size = _checkpoint_size(office, note)
        (records / RECORDS_FILE).write_bytes(_records(office, case, released, size))
        files = case.submission.record.files
        (records / SIGNATURE_FILE).write_bytes(
            sign_files(ADAPTER_FOLDER, files, _files_signer(office, released))
        )
        verify_bundle(temporary, office.root.pin, now=office.clock())
        if target.exists():
            target.rename(replaced)
        temporary.rename(target)
    except OSError as error:
        raise StorageError(
            f"the bundle cannot be written: {error.strerror}",
            hint="the release is on record; free some space and run the same command again",
        ) from error
    finally:
        for leftover in (temporary, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def _files_signer(office: Office, released: Verified[Release]) -> Signer:
    """Return the key that the release names for its files' signature.

    Raises:
        KeyAccessError: It does not lie here any more.
    """
    key_id = parse_public_key(released.record.files_key or "").key_id
    name = office.keys.name_of(key_id)
    if name is None:
        raise KeyAccessError(
            f"the key {short(key_id)} that signs the released files is not here",
            hint="bring it back to the office's keys folder, or release the adapter again",
        )
    return office.signer(name)


def export_revocations(office: Office, signer: Signer | None = None) -> bytes:
    """Log what a revocation feed holds as of now, and return that feed.

    It holds every roles statement, version of the root and revocation, and the place of every release. Its statement is
    signed by `signer` (the office's evaluator) and is the record up to which it is complete.

    Raises:
        NotAuthorizedError: The key holds neither the evaluator nor the releaser role; nothing was logged.
        LedgerBusyError, StorageError, IntegrityError: See :meth:`LedgerStore.append`.
    """
    signer = signer or office.signer(EVALUATOR_KEY)
    for _ in range(ATTEMPTS):
        reader = office.reader()
        with office.store.reading():
            found = {
                kind: office.store.find(predicate_type=spec_of(kind).predicate_type) for kind in FEED_KINDS
            }
            head = reader.head()
        if len(found[Kind.ROLES]) + len(found[Kind.ROOT]) != reader.trust.statements:
            continue  # the roles or the root changed just now
        told = FeedStatement(
            office=office.settings.name,
            head=head,
            roles=_part(found[Kind.ROLES]),
            roots=FeedPart.of([version.pin for version in reader.trust.root.versions]),
            revocations=_part(found[Kind.REVOCATION]),
            releases=_part(found[Kind.RELEASE]),
            issued_at=office.clock(),
        )
        subjects = (Subject("revocations", told.revocations.digest),)
        seen = Seen(
            tuple(spec_of(kind).predicate_type for kind in FEED_KINDS),
            sum(len(item) for item in found.values()),
        )
        try:
            (logged,) = office.append_as_seen(
                reader.trust, [sign_record(Kind.FEED, told, subjects, signer)], seen=seen
            )
        except StaleError:
            continue  # something that belongs in the feed was logged meanwhile
        return dump_feed(_feed(office.store, reader.trust.root, found, logged))
    raise contended()


def _part(entries: Sequence[Entry]) -> FeedPart:
    return FeedPart.of([entry.leaf.hex() for entry in entries])


def _feed(
    store: LedgerStore, root: TrustRoot, found: Mapping[Kind, Sequence[Entry]], statement: Verified[Record]
) -> Feed:
    """Return the feed that was logged as `statement`, under the first checkpoint that covers it.

    What a later one is signed with may rest on roles that the feed does not hold.
    """
    size, note = store.checkpoint_notes(statement.index)[0]
    whole = sorted((*found[Kind.ROLES], *found[Kind.REVOCATION]), key=lambda entry: entry.index)
    releases = found[Kind.RELEASE]
    (proven,) = _with_proofs(store, size, [statement.index])
    proofs = store.inclusion_proofs([entry.index for entry in releases], size)
    return Feed(
        note,
        _with_proofs(store, size, [entry.index for entry in whole]),
        tuple(
            BundledLeaf(entry.index, entry.leaf, proof) for entry, proof in zip(releases, proofs, strict=True)
        ),
        tuple(version.raw for version in root.versions),
        proven,
    )


def is_revoked(reader: LedgerReader, targets: Sequence[Digest]) -> Verified[Revocation] | None:
    """Return the newest revocation of any of `targets`, or None."""
    hits = [item for item in reader.find(Kind.REVOCATION, Revocation) if item.record.target in targets]
    return hits[-1] if hits else None


def _folder_name(adapter: AdapterRef) -> str:
    # A label is for people and may hold anything; a folder's name may not.
    label = "".join(c if c.isalnum() or c in "-_." else "-" for c in adapter.label).lstrip(".")
    return f"{label[:80]}-{short(adapter.id)}"


def _refuse_revoked(reader: LedgerReader, case: Case) -> None:
    verdict = case.verdict.record
    named = (
        verdict.adapter.id,
        verdict.adapter.weights_id,
        verdict.base.id,
        verdict.plan,
        case.verdict.id,
        case.submission.id,
        *verdict.evidence,
        *verdict.plans_on_weights,
        *case.submission.record.training,
        *(item.id for item in (*case.trainings, *case.reviews, *case.waivers)),
    )
    revocation = is_revoked(reader, named)
    if revocation is not None:
        raise RefusedError(
            f"{revocation.record.target_kind} {short(revocation.record.target)} was revoked: "
            f"{revocation.record.reason}",
            hint="what was revoked is never released again: submit a new adapter",
        )


def _intakes(reader: LedgerReader, case: Case) -> list[Verified[Intake]]:
    """Return what intake saw in exactly these files for this base, oldest first."""
    verdict = case.verdict.record
    found = reader.find(Kind.INTAKE, Intake, subject=verdict.adapter.id)
    return [item for item in found if item.record.base.id == verdict.base.id]


def _refuse_refused(reader: LedgerReader, case: Case) -> None:
    intakes = _intakes(reader, case)
    if intakes and intakes[-1].record.refused:
        told = "; ".join(finding.message for finding in intakes[-1].record.findings)
        raise RefusedError(
            f"intake refused these files since, or did not finish with them: {told or 'see its checks'}",
            hint="gate the adapter again, or mend it and submit it again",
        )


def _refuse_unaccounted(reader: LedgerReader, case: Case) -> None:
    """Return if the verdict leaves nothing out and contradicts nothing that it rests on, by the whole log."""

    def find(digest: Digest, kind: Kind, model: type[Any]) -> Sequence[Verified[Any]]:
        return reader.find(kind, model, subject=digest)

    around = look_around(case.verdict, find, reader.find_many)
    for objection in objections(case.verdict, around):
        raise RefusedError(
            f"the verdict on {case.verdict.record.adapter.label} does not hold ({objection.id}): {objection.message}",
            hint="have it gated again, and ask who logged that verdict: `placet audit` names the record",
        )


def _refuse_dated_back(reader: LedgerReader, now: datetime) -> None:
    latest = reader.latest_moment()
    if latest is not None and now < latest - TOLERANCE:
        raise RefusedError(
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, and a record in the log is dated "
            f"{latest:%Y-%m-%d %H:%M} UTC",
            hint="set the clock; if it is right, `placet audit` and the ledger page show which record is dated ahead",
        )


def _records(office: Office, case: Case, released: Verified[Release], size: int) -> bytes:
    """Return ``records.json``: everything the release rests on, each with its inclusion proof."""
    reader, verdict = office.reader(), case.verdict.record
    indices = {released.index, case.verdict.index, case.submission.index}
    indices |= {item.index for item in (*case.trainings, *case.resubmissions)}
    wanted = {*verdict.evidence, verdict.plan, *released.record.reviews, *released.record.waivers}
    wanted |= {*verdict.plans_on_weights, *case.submission.record.training}
    index_of = office.store.indices_of(sorted(wanted))
    for record_id in wanted:
        if index_of.get(record_id, size) >= size:
            raise Error(f"record {record_id} is not in the ledger", hint="run `placet audit`")
        indices.add(index_of[record_id])
    intakes = [item for item in _intakes(reader, case) if item.record.adapter == verdict.adapter]
    # The one the verdict rests on; the files may have been examined again since.
    cited = [item for item in intakes if item.id in verdict.evidence]
    indices |= {item.index for item in (cited or intakes)[-1:]}
    indices |= {item.index for item in reader.find(Kind.BASE, Base, subject=verdict.base.id)[-1:]}
    indices |= {item.index for item in office.store.find(predicate_type=spec_of(Kind.ROLES).predicate_type)}
    # Roles statements may have been logged since the checkpoint that goes along.
    return dump_records(_with_proofs(office.store, size, sorted(index for index in indices if index < size)))


def _with_proofs(store: LedgerStore, size: int, indices: Sequence[int]) -> tuple[BundledRecord, ...]:
    """Return records `indices` with their proofs in the tree of the log of `size`."""
    with store.reading():
        proofs = store.inclusion_proofs(indices, size)
        return tuple(
            BundledRecord(index, store.entries(index, index + 1)[0].envelope, proof)
            for index, proof in zip(indices, proofs, strict=True)
        )


def _checkpoint_size(office: Office, note: str) -> int:
    return verify_log_checkpoint(office.reader().trust, note, office.settings.origin).size
