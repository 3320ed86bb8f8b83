"""The ledger page: whether the log is whole, who co-signed it, who may sign what, and every record with its signer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from placet.attest.envelope import parse_envelope
from placet.attest.statement import parse_statement
from placet.attest.trust import Trust, Verified
from placet.domain.digests import Digest
from placet.domain.errors import Error, IntegrityError
from placet.domain.records import Record
from placet.ledger.audit import AuditReport, Outside
from placet.ledger.store import Entry
from placet.office import KeyInfo, Office, TrustDesk
from placet.report.adapter import about
from placet.report.audits import AuditNote, load_audit_note
from placet.report.snapshot import Snapshot, ledger_stamp, load_snapshot
from placet.report.text import plain
from placet.report.witnesses import WitnessView, load_witnesses

T = TypeVar("T")

WHOLE_AGAIN_BELOW = 5_000
"""A log of fewer records is audited as a whole whenever its file changed; of a longer one, then, only what is new."""

_OFFICES_KEPT = 2


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A record of the log. `problem` is empty where it verified; then, and only then, the other words are true."""

    index: int
    kind: str
    about: str
    signer: str
    key_id: str
    record: Digest
    problem: str

    @property
    def verified(self) -> bool:
        """Whether signature, role and form hold and no audit finding names it."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class RootView:
    """The root of trust: its version, how many of which people have to sign for it, and until when it is good."""

    pin: Digest
    version: int
    threshold: int
    holders: tuple[str, ...]
    expires: datetime
    days_left: int


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """The log as it lies in the office, whole or not.

    Attributes:
        office: The office's name.
        origin: The log's name in its checkpoints.
        checkpoint: The newest one.
        audit: What was found when it was audited at `audited_at`.
        audited_at: When.
        whole_at: When all of the log was audited last; before `audited_at` where only what was new was looked at then.
        noted: The last `placet audit` of this machine, as it noted it.
        rows: Every record.
        keys: Every grant.
        root: The root of trust.
        witnesses: Whoever may co-sign the log, and when each did last.
        size: How many records the log has.
    """

    office: str
    origin: str
    checkpoint: str
    audit: AuditReport
    audited_at: datetime
    whole_at: datetime
    noted: AuditNote | None
    rows: tuple[LedgerRow, ...]
    keys: tuple[KeyInfo, ...]
    root: RootView
    witnesses: tuple[WitnessView, ...]
    size: int


@dataclass(frozen=True)
class _Audited:
    """An audit of one office's log, and the state of its files then."""

    stamp: tuple[object, ...]
    at: datetime
    whole_at: datetime
    report: AuditReport
    outside: tuple[str, ...]


_audits: OrderedDict[Path, _Audited] = OrderedDict()
_rows: OrderedDict[Path, tuple[str, tuple[LedgerRow, ...]]] = OrderedDict()
_lock = threading.Lock()


def load_ledger_page(
    office: Office, *, blobs: bool = False, outside: Sequence[str] = (), again: bool = False
) -> LedgerPage:
    """Return the ledger page; unlike other views it is made of a damaged log too, and says what is wrong with it.

    While nothing changed in the ledger file, the audit is the one that this process made before.

    Args:
        office: The office.
        blobs: Hash every stored file that records refer to as well, which takes longer.
        outside: Checkpoints that were kept elsewhere, to compare the log with.
        again: Audit all of it again, even if nothing changed.

    Raises:
        LedgerBusyError, StorageError: The log could not be read.
        UsageError, IntegrityError: One of `outside` is no checkpoint.
    """
    try:
        snapshot: Snapshot | None = load_snapshot(office)
    except IntegrityError:
        snapshot = None  # the audit says what it is
    try:
        trust: Trust | None = office.reader().trust if snapshot is None else snapshot.trust
        keys = TrustDesk(office).list_keys()
    except Error:
        trust, keys = None, ()
    witnesses = () if trust is None else load_witnesses(office, trust)
    noted = load_audit_note(office, trust)
    with _lock:
        done = _audited(office, snapshot, witnesses, tuple(outside), blobs=blobs, again=again)
    return LedgerPage(
        office=office.settings.name,
        origin=office.settings.origin,
        checkpoint=office.store.latest_checkpoint() or "",
        audit=done.report,
        audited_at=done.at,
        whole_at=done.whole_at,
        noted=noted,
        rows=_all_rows(office, snapshot, trust, done.report),
        keys=keys,
        root=_root(office),
        witnesses=witnesses,
        size=done.report.records,
    )


def record_text(office: Office, index: int) -> str:
    """Return the statement of the record at `index` as it was signed, unverified, for people to read.

    Raises:
        Error: There is none, or it cannot be taken apart.
    """
    entries = office.store.entries(index, index + 1)
    if not entries:
        raise Error(f"the log has no record {index}", hint="run `placet audit`")
    return parse_envelope(entries[0].envelope).payload.decode("utf-8", "replace")


def _audited(
    office: Office,
    snapshot: Snapshot | None,
    witnesses: Sequence[WitnessView],
    outside: tuple[str, ...],
    *,
    blobs: bool,
    again: bool,
) -> _Audited:
    place, stamp = office.home.resolve(), ledger_stamp(office)
    before = _audits.get(place)
    cosigned = tuple(item.last.note for item in witnesses if item.last is not None)
    asked = blobs or again
    if before is not None and not asked and (before.stamp, before.outside) == (stamp, (*cosigned, *outside)):
        return before
    # Only what is new of a long log: the records before were audited, and their bytes just hashed again.
    continues = snapshot is not None and before is not None and before.report.whole and not outside
    since = ""
    if continues and not asked and snapshot is not None and before is not None:
        since = before.report.checkpoint if snapshot.head.size >= WHOLE_AGAIN_BELOW else ""
    named = [
        Outside(item.last.note, (item.last.name, item.key)) for item in witnesses if item.last is not None
    ]
    report = office.audit([*named, *outside], since=since, blobs=blobs, workers=1)
    at = office.clock()
    whole_at = before.whole_at if since and before is not None else at
    done = _Audited(stamp, at, whole_at, report, (*cosigned, *outside))
    if not outside:
        _keep(_audits, place, done)
    return done


def _all_rows(
    office: Office, snapshot: Snapshot | None, trust: Trust | None, report: AuditReport
) -> tuple[LedgerRow, ...]:
    problems: dict[int, str] = {}
    for finding in report.findings:
        if finding.index is not None:
            problems.setdefault(finding.index, finding.message)
    place = office.home.resolve()
    if snapshot is not None and not problems and snapshot.head.size == len(snapshot.records):
        kept = _rows.get(place)
        if kept is None or kept[0] != snapshot.head.root:
            made = tuple(_good_row(item) for item in snapshot.records)
            kept = _keep(_rows, place, (snapshot.head.root, made))
        return kept[1]
    return tuple(_row(entry, trust, problems.get(entry.index, "")) for entry in office.store.entries())


def _keep(kept: OrderedDict[Path, T], place: Path, value: T) -> T:
    kept[place] = value
    kept.move_to_end(place)
    while len(kept) > _OFFICES_KEPT:
        kept.popitem(last=False)
    return value


def _good_row(found: Verified[Record], problem: str = "") -> LedgerRow:
    return LedgerRow(
        found.index, str(found.kind), about(found), found.person, found.key_id, found.id, problem
    )


def _row(entry: Entry, trust: Trust | None, problem: str) -> LedgerRow:
    try:
        if trust is None:
            raise Error("who may sign what cannot be established")
        return _good_row(trust.verify(entry.envelope, entry.index), problem)
    except Error as error:
        kind, key = _unverified(entry)
        return LedgerRow(entry.index, kind, "", "?", key, entry.record_id, problem or str(error))


def _unverified(entry: Entry) -> tuple[str, str]:
    """Return what a record that does not verify claims to be, for display only."""
    try:
        envelope = parse_envelope(entry.envelope)
        kind = parse_statement(envelope.payload).predicate_type
    except Error:
        return "unreadable", ""
    return plain(kind, 60), envelope.key_id


def _root(office: Office) -> RootView:
    current = office.root.current
    return RootView(
        pin=current.pin,
        version=current.version,
        threshold=current.threshold,
        holders=tuple(sorted({item.person for item in current.keys})),
        expires=current.expires,
        days_left=(current.expires - office.clock()).days,
    )
