"""The office itself: see the package for what is in its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, cast

from placet.attest.envelope import Envelope
from placet.attest.keyfiles import Ask, KeyFolder
from placet.attest.keys import Signer, parse_public_key
from placet.attest.predicates import Kind, Role
from placet.attest.root import (
    TrustRoot,
    parse_root,
)
from placet.attest.statement import Statement, Subject
from placet.attest.strict_json import parse_json
from placet.attest.trust import (
    Trust,
    Verified,
    sign_record,
)
from placet.blobs import BlobStore
from placet.domain.digests import Digest
from placet.domain.errors import LedgerBusyError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import Record, Sha256
from placet.ledger.audit import AuditFinding, AuditReport, Outside, Scope, audit
from placet.ledger.lock import DEFAULT_WAIT_S
from placet.ledger.reader import LedgerReader, seen_in
from placet.ledger.store import (
    IN_POSTGRES,
    Check,
    Draft,
    DuckStore,
    Entry,
    LedgerStore,
    Seen,
    StaleError,
)
from placet.office.root_files import (
    keep_versions,
    root_files,
)

R = TypeVar("R", bound=Record)

Clock = Callable[[], datetime]
"""Returns the present moment, with its zone."""

DEFAULT_HOME = "office"
HOME_VARIABLE = "PLACET_HOME"

ROOT_KEY, LOG_KEY, EVALUATOR_KEY, FILES_KEY = "root", "log", "evaluator", "files"
SERVICE_ROLES = {LOG_KEY: Role.LOG, EVALUATOR_KEY: Role.EVALUATOR}
"""The office's own keys, each by the name of its first file, and the role it works in."""

ATTEMPTS = 20


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def default_home() -> Path:
    """Return ``$PLACET_HOME``, else ``./office``."""
    return Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)


class Settings(Record):
    """An office's settings file."""

    name: str
    origin: str
    root_pin: Sha256
    postgres: str | None = None
    """The database that the log lives in, as libpq names it; without one it lives in the office's folder."""


@dataclass
class Office:
    """An open office."""

    home: Path
    settings: Settings
    root: TrustRoot
    clock: Clock = utc_now
    ask: Ask | None = None
    wait_s: float = DEFAULT_WAIT_S
    opened: dict[str, Signer] = field(default_factory=dict, repr=False)
    """The signers opened so far, by the name they were asked for."""
    _store: LedgerStore | None = field(default=None, repr=False)

    @classmethod
    def open(
        cls,
        home: Path,
        *,
        ask: Ask | None = None,
        clock: Clock = utc_now,
        wait_s: float = DEFAULT_WAIT_S,
    ) -> Office:
        """Open the office at `home`.

        Raises:
            UsageError: There is none.
            IntegrityError: Its settings or trust root were altered.
        """
        try:
            settings = Settings.from_json(parse_json((home / "office.json").read_bytes(), "office.json"))
        except FileNotFoundError as error:
            raise UsageError(
                f"no office at {home}",
                hint=f"make one with `placet init`, or name it with --home or ${HOME_VARIABLE}",
            ) from error
        store = DuckStore(home / "ledger.duckdb", settings.origin, wait_s=wait_s)
        root = parse_root(root_files(home, store), settings.root_pin)
        return cls(home, settings, root, clock=clock, ask=ask, wait_s=wait_s)

    # --- parts ----------------------------------------------------------------------------------------

    @property
    def store(self) -> LedgerStore:
        """The log's store: one for the office, so that a group of queries can share a connection."""
        if self._store is None:
            file = DuckStore(self.home / "ledger.duckdb", self.settings.origin, wait_s=self.wait_s)
            self._store = file
            if self.settings.postgres is not None:
                from placet.ledger.store.postgres import PostgresStore

                if not file.path.exists():  # a machine that is new to the office
                    file.create(follows=IN_POSTGRES)
                self._store = PostgresStore(self.settings.postgres, file, self.root, wait_s=self.wait_s)
        return self._store

    @property
    def blobs(self) -> BlobStore:
        """The content-addressed store of adapters' files and results."""
        return BlobStore(self.home / "blobs")

    def reader(self) -> LedgerReader:
        """Return a reader of verified records, with the trust as it stands now."""
        reader = LedgerReader(self.store, self.root)
        if reader.trust.root.current.version > self.root.current.version:
            # Another process or machine continued the root: its versions come with the log.
            self.root = reader.trust.root
            keep_versions(self.home, self.root)
        return reader

    def folder(self, *parts: str) -> Path:
        """Return (and make) a folder of the office."""
        path = self.home.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    # --- keys -----------------------------------------------------------------------------------------

    @property
    def keys(self) -> KeyFolder:
        """The keys that work here."""
        return KeyFolder(self.home / "keys")

    def signer(self, key_name: str, ask: Ask | None = None) -> Signer:
        """Return the signer of the key file `key_name`, opened once per office.

        ``log`` and ``evaluator`` stand for the key that holds the office's own role now.

        Raises:
            KeyAccessError: No such key here, or it does not open.
        """
        if key_name not in self.opened:
            self.opened[key_name] = self.keys.signer(self.name_in_force(key_name), ask or self.ask)
        return self.opened[key_name]

    def service_person(self, key_name: str) -> str:
        """Return whose the office's own key `key_name` is: the office's."""
        return f"{self.settings.name}: {key_name}"

    def name_in_force(self, key_name: str) -> str:
        """Return the name of the key that `key_name` stands for: ``log`` and ``evaluator`` for the one in force now."""
        return self._service_file(self.reader().trust, key_name) if key_name in SERVICE_ROLES else key_name

    def _service_file(self, trust: Trust, key_name: str) -> str:
        """Return the name of the file of the newest key that holds the office's own role `key_name`."""
        held = [
            grant
            for grant in trust.roles.grants
            if SERVICE_ROLES[key_name] in grant.roles and grant.person == self.service_person(key_name)
        ]
        for grant in sorted(held, key=lambda item: (item.valid_until is None, item.valid_from), reverse=True):
            if name := self.keys.name_of(grant.key_id):
                return name
        return key_name

    # --- records --------------------------------------------------------------------------------------

    def record(self, kind: Kind, record: R, subjects: Sequence[Subject], signer: Signer) -> Verified[R]:
        """Sign `record`, append it, and return it as it stands in the log.

        Raises:
            NotAuthorizedError: The signer's key may not sign this kind now; nothing was appended.
            LedgerBusyError, StorageError, IntegrityError: See :meth:`LedgerStore.append`.
        """
        (verified,) = self.append((sign_record(kind, record, tuple(subjects), signer),))
        # The predicate type decides the model, and sign_record held `record` to it.
        return cast("Verified[R]", verified)

    def append(self, envelopes: Sequence[Envelope]) -> tuple[Verified[Record], ...]:
        """Append signed envelopes, each checked for its role at the index it gets."""
        for _ in range(ATTEMPTS):
            try:
                return self.append_as_seen(self.reader().trust, envelopes)
            except StaleError:
                continue  # the roles changed meanwhile, and with them perhaps what a key may sign
        raise contended()

    def append_at(self, size: int, envelopes: Sequence[Envelope]) -> tuple[Verified[Record], ...]:
        """Append signed envelopes as :meth:`append` does, if the log still holds exactly `size` records.

        Raises:
            StaleError: It holds more; nothing was appended.
        """
        return self._append(self.reader().trust, envelopes, at=size)

    def append_as_seen(
        self, trust: Trust, envelopes: Sequence[Envelope], *, seen: Seen | None = None
    ) -> tuple[Verified[Record], ...]:
        """Append signed envelopes as :meth:`append` does, if `trust` is still what is in force.

        Args:
            trust: What is in force.
            envelopes: What to append.
            seen: What of the log they rest on, roles statements and versions of the root included; only these two
                if it is not given.

        Raises:
            StaleError: The root or the roles, or more of what was `seen`, changed meanwhile.
        """
        return self._append(trust, envelopes, seen=seen)

    def _append(
        self,
        trust: Trust,
        envelopes: Sequence[Envelope],
        *,
        seen: Seen | None = None,
        at: int | None = None,
    ) -> tuple[Verified[Record], ...]:
        """Append signed envelopes, the first at index `at` if that is given."""
        verified: dict[Digest, Verified[Record]] = {}
        good = trust.good_signatures(envelopes)

        def check(envelope: Envelope, index: int) -> Statement:
            if at is not None and index != at + len(verified):
                raise StaleError(
                    "the ledger grew meanwhile; nothing was appended", hint="look again and repeat it"
                )
            found = verified[envelope.record_id] = trust.verify(envelope, index, good)
            return found.statement

        # At an index, no other writer may append it for this one: it would check everything but the index.
        entries = self.append_drafts(trust, envelopes, check, seen=seen, alone=at is not None)
        return tuple(_as_logged(entry, trust, verified.get(entry.record_id)) for entry in entries)

    def append_drafts(
        self,
        trust: Trust,
        envelopes: Sequence[Envelope | Draft],
        check: Check | None = None,
        *,
        seen: Seen | None = None,
        alone: bool = False,
    ) -> tuple[Entry, ...]:
        """Append envelopes, or what makes one for its index, under the log's key as it stands in `trust`.

        With `alone`, nobody else's process may do it: `check` knows more than whether the signers may sign.

        Raises:
            StaleError: The roles changed meanwhile, or what was `seen`.
        """
        name = self._service_file(trust, LOG_KEY)
        log = self.signer(LOG_KEY)
        if self.keys.has_public(name) and self.keys.public(name) != log.public:
            self.opened.pop(LOG_KEY)  # the log's key was changed by another process
            log = self.signer(LOG_KEY)
        log_keys = [
            parse_public_key(grant.public_key) for grant in trust.roles.grants if Role.LOG in grant.roles
        ]
        rests_on = None if alone else seen or seen_in(trust)
        return self.store.append(envelopes, log, check, seen=rests_on, log_keys=log_keys)

    def audit(
        self,
        outside: Sequence[Outside | str] = (),
        *,
        since: str = "",
        pin: Digest | None = None,
        moving: bool = False,
        blobs: bool = True,
        progress: Progress | None = None,
        scope: Scope | None = None,
        workers: int | None = None,
    ) -> AuditReport:
        """Audit the log; see :func:`placet.ledger.audit.audit`.

        With `moving`, an interrupted move to or from a database is nothing to find.
        """

        def check_blob(digest: Digest) -> None:
            self.blobs.verify(digest)

        report = audit(
            self.store.local(),
            self.root,
            outside=tuple(Outside(item) if isinstance(item, str) else item for item in outside),
            since=since,
            pin=pin,
            follows=(None, IN_POSTGRES)
            if moving
            else (IN_POSTGRES if self.settings.postgres is not None else None,),
            check_blob=check_blob if blobs else None,
            progress=progress,
            scope=scope,
            workers=workers,
        )
        return self._with_database(report)

    def _with_database(self, report: AuditReport) -> AuditReport:
        """Add to a report what the database says otherwise than this machine's index, if the log is in one."""
        if self.settings.postgres is None:
            return report
        from placet.ledger.store.postgres import PostgresStore

        if not isinstance(self.store, PostgresStore):
            return report
        found = tuple(AuditFinding("edited-record", what, index) for index, what in self.store.differences())
        line = f"{report.records} records of the database, compared with this machine's index"
        return replace(report, findings=report.findings + found, checked=(*report.checked, line))


def _as_logged(entry: Entry, trust: Trust, checked: Verified[Record] | None) -> Verified[Record]:
    """Return the record of `entry`: as it was checked before it was added, if it was added here."""
    if checked is not None and (checked.index, checked.envelope.raw) == (entry.index, entry.envelope):
        return checked
    return trust.verify(entry.envelope, entry.index)


def contended() -> LedgerBusyError:
    """Return the error of somebody who tried in vain while others changed roles or root."""
    return LedgerBusyError(
        f"the roles of the office changed {ATTEMPTS} times while this was tried",
        hint="somebody is changing keys: try again when they are done; nothing was added",
    )
