"""The office itself: see the package for what is in its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from placet.attest.envelope import Envelope
from placet.attest.keyfiles import Ask, KeyFolder, load_signer, passphrase_for, require_name, save_key
from placet.attest.keys import KeyKind, LocalSigner, PublicKey, Signer, new_signer, parse_public_key
from placet.attest.predicates import KeyGrant, Kind, Role, Roles, one_name
from placet.attest.root import (
    DEFAULT_DAYS,
    RootKey,
    TrustRoot,
    default_expiry,
    next_root,
    parse_root,
)
from placet.attest.statement import Statement, Subject
from placet.attest.strict_json import parse_json
from placet.attest.trust import (
    Trust,
    Verified,
    check_grants,
    check_succession,
    roles_subjects,
    root_change,
    sign_record,
)
from placet.blobs import BlobStore
from placet.domain.digests import Digest, canonical_json
from placet.domain.errors import KeyAccessError, LedgerBusyError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import Record, Sha256
from placet.ledger.audit import AuditFinding, AuditReport, Outside, Scope, audit
from placet.ledger.lock import DEFAULT_WAIT_S
from placet.ledger.reader import LedgerReader, seen_in
from placet.ledger.store import Check, Draft, DuckStore, Entry, LedgerStore, StaleError
from placet.office.grants import Change, KeyInfo, ended, held, new_grant, require_person
from placet.office.root_files import (
    first_root,
    keep_versions,
    root_files,
    settle,
    write_pending,
    write_whole,
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
    _signers: dict[str, Signer] = field(default_factory=dict, repr=False)
    _store: LedgerStore | None = field(default=None, repr=False)

    # --- making and opening ---------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        home: Path,
        name: str,
        *,
        ask: Ask | None = None,
        clock: Clock = utc_now,
        holders: Sequence[tuple[str, str]] = (),
        threshold: int = 1,
        root_days: int = DEFAULT_DAYS,
    ) -> Office:
        """Make an office at `home`: its root, its own keys, an empty log, roles version 1.

        Args:
            home: The folder.
            name: The office's name.
            ask: Asks for passphrases.
            clock: Tells the time.
            holders: Key name and person of each holder of the root, whose keys are made here; one key of the office's
                own if none is named.
            threshold: How many of them have to sign.
            root_days: For how many days the root is good.

        Raises:
            UsageError: There is an office already, a name is unusable, or the threshold cannot be met.
            KeyAccessError: No passphrase, or one that is too short.
        """
        if (home / "office.json").exists():
            raise UsageError(f"{home} is an office already", hint="use it, or choose another folder")
        try:
            usable = len(one_name(name)) <= 80
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(
                "an office needs a name of 1 to 80 printable characters", hint="--name 'ACME models'"
            )
        holders = holders or ((ROOT_KEY, f"{name}: root"),)
        for key_name, person in holders:
            require_name(key_name)
            require_person(person)
        expires = default_expiry(clock(), root_days)
        kinds = dict.fromkeys((*(key for key, _ in holders), LOG_KEY, EVALUATOR_KEY), KeyKind.ED25519)
        signers: dict[str, Signer] = {
            key_name: _made(home, key_name, ask, kind)
            for key_name, kind in {**kinds, FILES_KEY: KeyKind.P256}.items()
        }
        root_keys = [RootKey(signers[key].public, person) for key, person in holders]
        root = first_root(home, name, root_keys, [signers[key] for key, _ in holders], threshold, expires)
        origin = "placet.dev/" + "".join(c if c.isalnum() or c in "-._" else "-" for c in name.lower())
        store = DuckStore(home / "ledger.duckdb", origin)
        if not store.path.exists():
            store.create()
        settings = Settings(name=name, origin=origin, root_pin=root.pin)
        office = cls(home, settings, root, clock=clock, ask=ask, _signers=signers)
        if not store.entries():
            grants = tuple(
                KeyGrant(
                    key_id=signers[key].public.key_id,
                    public_key=signers[key].public.pem,
                    person=office.service_person(key),
                    roles=(role,),
                    valid_from=0,
                )
                for key, role in SERVICE_ROLES.items()
            )
            first = Roles(office=name, version=1, grants=grants, issued_at=clock())
            envelopes = [
                sign_record(Kind.ROLES, first, roles_subjects(root, 0, signer.public), signer)
                for signer in office._root_signers(root)
            ]
            store.append(envelopes, signers[LOG_KEY])
        write_whole(home / "office.json", canonical_json(settings.to_json()))
        return office

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
                from placet.ledger.store.postgres import IN_POSTGRES, PostgresStore

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
        if key_name not in self._signers:
            self._signers[key_name] = self.keys.signer(self.name_in_force(key_name), ask or self.ask)
        return self._signers[key_name]

    def new_key(self, key_name: str, person: str, roles: Sequence[Role]) -> KeyInfo:
        """Make a key file for `person` and grant it `roles` from the next ledger index on.

        Raises:
            UsageError: A role that no person's key may hold.
            KeyAccessError: The name is taken, or a passphrase is missing.
        """
        require_name(key_name)
        self.check_roles(roles)
        require_person(person)
        self._root_signers(self.root)  # before anything is made
        if not self._is_left_over(key_name):
            signer = new_signer()
            self.keys.add(key_name, signer, passphrase_for(key_name, self.ask))
            self._signers[key_name] = signer
        return self.grant(self.keys.public(key_name), person, roles)

    def _is_left_over(self, key_name: str) -> bool:
        """Tell whether an interrupted call left this key's file before its key was granted anything."""
        if not self.keys.holds(key_name):
            return False
        if not self.keys.has_public(key_name):
            self.keys.write_public(key_name, self.signer(key_name).public)
        key_id = self.keys.public(key_name).key_id
        if self.root.ever_held(key_id) or self.reader().trust.grants_of(key_id):
            raise KeyAccessError(f"{key_name}.pem exists already", hint="choose another name for the new key")
        return True

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

    # --- trust ----------------------------------------------------------------------------------------

    def grant(self, key: PublicKey, person: str, roles: Sequence[Role]) -> KeyInfo:
        """Grant `roles` to `person`'s `key` from the next ledger index on, by a new roles statement."""
        self.check_roles(roles)
        require_person(person)

        def add(grants: tuple[KeyGrant, ...], index: int) -> tuple[KeyGrant, ...]:
            return (*grants, new_grant(key, person, tuple(roles), index))

        return self._info(self._change_grants(add)[-1])

    def end_grants(self, key_id: str) -> int:
        """End every grant of a key from the next ledger index on; what it signed before stays valid.

        Raises:
            UsageError: The key holds nothing that could end.
        """
        count = 0

        def end(grants: tuple[KeyGrant, ...], index: int) -> tuple[KeyGrant, ...]:
            nonlocal count
            count = len(held(grants, key_id))
            return ended(grants, key_id, index)

        self._change_grants(end)
        return count

    def rotate_key(self, key_id: str, key: PublicKey) -> tuple[KeyInfo, ...]:
        """Let `key` take over every role of another one, from one ledger index to the next.

        Raises:
            UsageError: The old key holds nothing now, or the new one is the old one.
        """
        if key.key_id == key_id:
            raise UsageError("the new key is the old one", hint="make another: `placet keys new`")

        def replace(grants: tuple[KeyGrant, ...], index: int) -> tuple[KeyGrant, ...]:
            new = [new_grant(key, item.person, item.roles, index) for item in held(grants, key_id)]
            return (*ended(grants, key_id, index), *new)

        made = self._change_grants(replace)
        return tuple(
            self._info(item) for item in made if item.key_id == key.key_id and item.valid_until is None
        )

    def change_root(self, holders: Sequence[RootKey], threshold: int, days: int = DEFAULT_DAYS) -> TrustRoot:
        """Continue the trust root by a version with these holders, and let it vouch for the roles from now on.

        Enough holders of the old and of the new version have to have their keys here.

        Raises:
            UsageError: The holders could never meet the threshold.
            KeyAccessError: Too few of them can sign here.
        """
        for item in holders:
            require_person(item.person)
        expires = default_expiry(self.clock(), days)
        # Tried on a copy, so that what cannot work is refused before anything is written.
        signers = self._root_signers(self.root, (holders, threshold))
        next_root(self.root, holders, signers, threshold=threshold, valid_from=2**40, expires=expires)

        def continued(index: int) -> TrustRoot:
            options = {"threshold": threshold, "valid_from": index, "expires": expires}
            return next_root(self.root, holders, signers, **options)  # type: ignore[arg-type]

        self._change_grants(lambda grants, _: grants, continued)
        return self.root

    def list_keys(self) -> tuple[KeyInfo, ...]:
        """Return every grant, oldest first."""
        return tuple(self._info(grant) for grant in self.reader().trust.roles.grants)

    @staticmethod
    def check_roles(roles: Sequence[Role]) -> None:
        """Return if a person's key may hold `roles`.

        Raises:
            UsageError: None given, or root, which is not granted.
        """
        if not roles or Role.ROOT in roles:
            raise UsageError(
                "name at least one role, and not root",
                hint="roles: " + ", ".join(role for role in Role if role is not Role.ROOT),
            )

    def _change_grants(
        self, change: Change, continued: Callable[[int], TrustRoot] | None = None
    ) -> tuple[KeyGrant, ...]:
        """Log the next roles statement, signed by enough holders of the root, and return its grants.

        With `continued`, the root goes on with the version that it makes, and this statement is the first under it.
        """
        if continued is None and self.clock() >= self.root.current.expires:
            raise UsageError("the trust root has expired", hint="renew it first: `placet trust root`")
        for _ in range(ATTEMPTS):
            trust, made = self.reader().trust, _Statement(self.root)
            planned = self.root if continued is None else continued(2**40)
            signers = self._root_signers(planned)

            last = len(signers) - 1
            root_drafts: list[Draft] = []
            if continued is not None:  # the key is opened before the log is held
                root_drafts.append(partial(self._next_root, self.signer(EVALUATOR_KEY), continued, made))

            def draft(
                signer: Signer, index: int, trust: Trust = trust, made: _Statement = made, last: int = last
            ) -> Envelope:
                if made.roles is None:
                    made.roles = self._next_roles(trust, made.root, change, index + last)
                return sign_record(
                    Kind.ROLES, made.roles, roles_subjects(made.root, index, signer.public), signer
                )

            try:
                self._append(trust, [*root_drafts, *(partial(draft, signer) for signer in signers)])
            except StaleError:
                continue  # another process changed the roles: change what they are now
            if made.root is not self.root:
                settle(self.home, made.root)
                self.root = made.root
            for key_name in SERVICE_ROLES:
                self._signers.pop(key_name, None)
            return () if made.roles is None else made.roles.grants
        raise contended()

    def _next_root(
        self, signer: Signer, continued: Callable[[int], TrustRoot], made: _Statement, index: int
    ) -> Envelope:
        made.root = continued(index)
        write_pending(self.home, made.root)
        return root_change(made.root, signer)

    def _next_roles(self, trust: Trust, root: TrustRoot, change: Change, index: int) -> Roles:
        new = Roles(
            office=self.settings.name,
            version=trust.roles.version + 1,
            grants=change(trust.roles.grants, index),
            issued_at=self.clock(),
        )
        check_grants(root, new.grants)
        check_succession(trust.roles, new, index)
        return new

    def _root_signers(
        self, root: TrustRoot, following: tuple[Sequence[RootKey], int] | None = None
    ) -> list[Signer]:
        """Return signers of as many root keys here as `root` asks for, and a version with other holders after it.

        Raises:
            KeyAccessError: Too few holders have their key here.
        """
        wanted = [(root.current.keys, root.current.threshold)]
        if following is not None:
            wanted.append((tuple(following[0]), following[1]))
        signers: dict[str, Signer] = {}
        for holders, threshold in wanted:
            people = {item.person for item in holders if item.key.key_id in signers}
            for item in holders:
                name = self.keys.name_of(item.key.key_id)
                if name is None or item.person in people or len(people) >= threshold:
                    continue
                signers[item.key.key_id] = self.signer(name)
                people.add(item.person)
            if len(people) < threshold:
                missing = sorted({item.person for item in holders} - people)
                raise KeyAccessError(
                    f"the root needs the signatures of {threshold} people, and the keys of {len(people)} are here",
                    hint="bring the key of " + " or ".join(missing) + " to this office's keys folder",
                )
        return list(signers.values())

    def _info(self, grant: KeyGrant) -> KeyInfo:
        return KeyInfo(
            grant.key_id,
            grant.person,
            tuple(str(role) for role in grant.roles),
            grant.valid_from,
            grant.valid_until,
            self.keys.name_of(grant.key_id),
        )

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

    def append_as_seen(self, trust: Trust, envelopes: Sequence[Envelope]) -> tuple[Verified[Record], ...]:
        """Append signed envelopes as :meth:`append` does, if `trust` is still what is in force.

        Raises:
            StaleError: The root or the roles changed meanwhile.
        """
        verified: dict[Digest, Verified[Record]] = {}
        good = trust.good_signatures(envelopes)

        def check(envelope: Envelope, index: int) -> Statement:
            found = verified[envelope.record_id] = trust.verify(envelope, index, good)
            return found.statement

        entries = self._append(trust, envelopes, check)
        return tuple(_as_logged(entry, trust, verified.get(entry.record_id)) for entry in entries)

    def _append(
        self, trust: Trust, envelopes: Sequence[Envelope | Draft], check: Check | None = None
    ) -> tuple[Entry, ...]:
        """Append under the log's key as it stands in `trust`.

        Raises:
            StaleError: The roles changed meanwhile.
        """
        name = self._service_file(trust, LOG_KEY)
        log = self.signer(LOG_KEY)
        if self.keys.has_public(name) and self.keys.public(name) != log.public:
            self._signers.pop(LOG_KEY)  # the log's key was changed by another process
            log = self.signer(LOG_KEY)
        log_keys = [
            parse_public_key(grant.public_key) for grant in trust.roles.grants if Role.LOG in grant.roles
        ]
        return self.store.append(envelopes, log, check, seen=seen_in(trust), log_keys=log_keys)

    def audit(
        self,
        outside: Sequence[Outside | str] = (),
        *,
        since: str = "",
        blobs: bool = True,
        progress: Progress | None = None,
        scope: Scope | None = None,
        workers: int | None = None,
    ) -> AuditReport:
        """Audit the log against the pinned root; see :func:`placet.ledger.audit.audit`."""

        def check_blob(digest: Digest) -> None:
            self.blobs.verify(digest)

        report = audit(
            self.store.local(),
            self.root,
            outside=tuple(Outside(item) if isinstance(item, str) else item for item in outside),
            since=since,
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
        found = tuple(
            AuditFinding("edited-record", what, index)
            for index, what in self.store.differences(report.records)
        )
        line = f"{report.records} records of the database, compared with this machine's index"
        return replace(report, findings=report.findings + found, checked=(*report.checked, line))


def _as_logged(entry: Entry, trust: Trust, checked: Verified[Record] | None) -> Verified[Record]:
    """Return the record of `entry`: as it was checked before it was added, if it was added here."""
    if checked is not None and (checked.index, checked.envelope.raw) == (entry.index, entry.envelope):
        return checked
    return trust.verify(entry.envelope, entry.index)


@dataclass
class _Statement:
    """A roles statement in the making, and the root it is signed under."""

    root: TrustRoot
    roles: Roles | None = None


def _made(home: Path, key_name: str, ask: Ask | None, kind: KeyKind) -> LocalSigner:
    """Return the signer of a key of a new office; one that an interrupted init left is used again."""
    path = home / "keys" / f"{key_name}.pem"
    passphrase = passphrase_for(key_name, ask)
    if path.exists():
        return load_signer(path, passphrase)
    signer = new_signer(kind)
    save_key(signer, path, passphrase)
    return signer


def contended() -> LedgerBusyError:
    """Return the error of somebody who tried in vain while others changed roles or root."""
    return LedgerBusyError(
        f"the roles of the office changed {ATTEMPTS} times while this was tried",
        hint="somebody is changing keys: try again when they are done; nothing was added",
    )
