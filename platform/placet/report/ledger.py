"""The ledger page: the head, its checkpoint, every record with its signer, and what an audit says."""

from __future__ import annotations

from dataclasses import dataclass

from placet.attest.envelope import parse_envelope
from placet.attest.statement import parse_statement
from placet.attest.trust import Trust
from placet.domain.digests import Digest
from placet.domain.errors import Error
from placet.ledger.audit import AuditReport
from placet.ledger.store import Entry
from placet.office import KeyInfo, Office
from placet.report.adapter import about
from placet.report.text import plain


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
class LedgerPage:
    """The log as it lies in the office, whole or not."""

    office: str
    origin: str
    root_pin: Digest
    checkpoint: str
    audit: AuditReport
    rows: tuple[LedgerRow, ...]
    keys: tuple[KeyInfo, ...]


def load_ledger_page(office: Office, *, blobs: bool = False) -> LedgerPage:
    """Return the ledger page; unlike other views it is made of a damaged log too, and says what is wrong with it.

    Args:
        office: The office.
        blobs: Hash every stored file that records refer to as well, which takes longer.

    Raises:
        LedgerBusyError, StorageError: The log could not be read.
    """
    report = office.audit(blobs=blobs, workers=1)
    problems: dict[int, str] = {}
    for finding in report.findings:
        if finding.index is not None:
            problems.setdefault(finding.index, finding.message)
    try:
        trust: Trust | None = office.reader().trust
        keys = office.list_keys()
    except Error:
        trust, keys = None, ()
    store = office.store
    return LedgerPage(
        office=office.settings.name,
        origin=office.settings.origin,
        root_pin=office.root.pin,
        checkpoint=store.latest_checkpoint() or "",
        audit=report,
        rows=tuple(_row(entry, trust, problems.get(entry.index, "")) for entry in store.entries()),
        keys=keys,
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


def _row(entry: Entry, trust: Trust | None, problem: str) -> LedgerRow:
    try:
        if trust is None:
            raise Error("who may sign what cannot be established")
        found = trust.verify(entry.envelope, entry.index)
    except Error as error:
        kind, key = _unverified(entry)
        return LedgerRow(entry.index, kind, "", "?", key, entry.record_id, problem or str(error))
    return LedgerRow(
        entry.index, str(found.kind), about(found), found.person, found.key_id, entry.record_id, problem
    )


def _unverified(entry: Entry) -> tuple[str, str]:
    """Return what a record that does not verify claims to be, for display only."""
    try:
        envelope = parse_envelope(entry.envelope)
        kind = parse_statement(envelope.payload).predicate_type
    except Error:
        return "unreadable", ""
    return plain(kind, 60), envelope.key_id
