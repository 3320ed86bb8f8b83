"""An office: the folder where ledger, blobs, trust root, keys and settings live together.

Opening an office checks its trust root against the pin in its settings. Every record goes through
:meth:`Office.record`: signed, checked for its role at the index it gets, appended, durable when it returns.

Layout of the folder::

    office.json        name, the log's origin, the pin of the trust root
    trust/root.json    the trust root
    keys/NAME.pem      encrypted private keys (only those that work here), NAME.pem.pub beside each
    ledger.duckdb      the log
    blobs/             adapters' files, per-sample results, by digest
    bases/             base models ready to load
    work/              what can be made again: answers of interrupted runs, staging
    releases/          bundles, by channel
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, cast

from placet.attest.envelope import Envelope
from placet.attest.keys import (
    LocalSigner,
    PublicKey,
    Signer,
    load_signer,
    new_signer,
    parse_public_key,
    passphrase_for,
    save_key,
)
from placet.attest.predicates import KeyGrant, Kind, Role, Roles, one_name, spec_of
from placet.attest.statement import Subject
from placet.attest.strict_json import parse_json
from placet.attest.trust import (
    Trust,
    TrustRoot,
    Verified,
    check_grants,
    check_succession,
    new_root,
    parse_root,
    sign_record,
)
from placet.blobs import BlobStore
from placet.domain.digests import Digest, canonical_json
from placet.domain.errors import IntegrityError, KeyAccessError, LedgerBusyError, StorageError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import Record, Sha256
from placet.ledger.audit import AuditFinding, AuditReport, Outside, Scope, audit
from placet.ledger.lock import DEFAULT_WAIT_S
from placet.ledger.reader import LedgerReader
from placet.ledger.store import DuckStore, Entry, LedgerStore, Seen, StaleError

R = TypeVar("R", bound=Record)

Clock = Callable[[], datetime]
"""Returns the present moment, with its zone."""

AskPassphrase = Callable[[str], str]
"""Returns the passphrase of the key it is given the name of."""

DEFAULT_HOME = "office"
HOME_VARIABLE = "PLACET_HOME"

ROOT_KEY, LOG_KEY, EVALUATOR_KEY = "root", "log", "evaluator"

_ATTEMPTS = 20


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


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as people see it."""

    key_id: str
    person: str
    roles: tuple[str, ...]
    valid_from: int
    valid_until: int | None
    file: str | None


@dataclass
class Office:
    """An open office."""

    home: Path
    settings: Settings
    root: TrustRoot
    clock: Clock = utc_now
    ask: AskPassphrase | None = None
    wait_s: float = DEFAULT_WAIT_S
    _signers: dict[str, LocalSigner] = field(default_factory=dict, repr=False)
    _store: LedgerStore | None = field(default=None, repr=False)

    # --- making and opening ---------------------------------------------------------------------------

    @classmethod
    def create(
        cls, home: Path, name: str, *, ask: AskPassphrase | None = None, clock: Clock = utc_now
    ) -> Office:
        """Make an office at `home`: root, log and evaluator keys, an empty log, roles version 1.

        Raises:
            UsageError: There is an office already, or the name is unusable.
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
        signers = {}
        for key_name in (ROOT_KEY, LOG_KEY, EVALUATOR_KEY):
            path = home / "keys" / f"{key_name}.pem"
            passphrase = passphrase_for(key_name, ask)
            # An interrupted init left keys and no office.json: use them, so that it can simply be repeated.
            if path.exists():
                signers[key_name] = load_signer(path, passphrase)
            else:
                signers[key_name] = new_signer()
                save_key(signers[key_name], path, passphrase)
        root = new_root(name, (signers[ROOT_KEY].public,))
        origin = "placet.dev/" + "".join(c if c.isalnum() or c in "-._" else "-" for c in name.lower())
        _write(home / "trust" / "root.json", root.to_bytes())
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
                    person=f"{name}: {key}",
                    roles=(role,),
                    valid_from=0,
                )
                for key, role in ((LOG_KEY, Role.LOG), (EVALUATOR_KEY, Role.EVALUATOR))
            )
            first = Roles(office=name, version=1, grants=grants, issued_at=clock())
            envelope = sign_record(Kind.ROLES, first, office._root_subject, signers[ROOT_KEY])
            store.append((envelope,), signers[LOG_KEY])
        _write(home / "office.json", canonical_json(settings.to_json()))
        return office

    @classmethod
    def open(
        cls,
        home: Path,
        *,
        ask: AskPassphrase | None = None,
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
            root_bytes = (home / "trust" / "root.json").read_bytes()
        except FileNotFoundError as error:
            raise UsageError(
                f"no office at {home}",
                hint=f"make one with `placet init`, or name it with --home or ${HOME_VARIABLE}",
            ) from error
        root = parse_root(root_bytes, settings.root_pin)
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
        return LedgerReader(self.store, self.root)

    def folder(self, *parts: str) -> Path:
        """Return (and make) a folder of the office."""
        path = self.home.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    # --- keys -----------------------------------------------------------------------------------------

    def signer(self, key_name: str, ask: AskPassphrase | None = None) -> Signer:
        """Return the signer of the key file `key_name`, opened once per office.

        Raises:
            KeyAccessError: No such key here, or it does not open.
        """
        if key_name not in self._signers:
            path = self.home / "keys" / f"{key_name}.pem"
            passphrase = passphrase_for(key_name, ask or self.ask) if path.exists() else ""
            self._signers[key_name] = load_signer(path, passphrase)
        return self._signers[key_name]

    def new_key(self, key_name: str, person: str, roles: Sequence[Role]) -> KeyInfo:
        """Make a key file for `person` and grant it `roles` from the next ledger index on.

        Raises:
            UsageError: A role that no person's key may hold.
            KeyAccessError: The name is taken, or a passphrase is missing.
        """
        if not key_name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise UsageError(f"{key_name!r} cannot name a key", hint="use letters, digits, '-', '_' and '.'")
        self.check_roles(roles)
        _require_name(person)
        self.signer(ROOT_KEY)
        path, passphrase = self.home / "keys" / f"{key_name}.pem", passphrase_for(key_name, self.ask)
        signer = self._left_over(path, passphrase)
        if signer is None:
            signer = new_signer()
            save_key(signer, path, passphrase)
        self._signers[key_name] = signer
        return self.grant(signer.public, person, roles)

    def _left_over(self, path: Path, passphrase: str) -> LocalSigner | None:
        """Return the signer of a key file that an interrupted call left before its key was granted anything."""
        if not path.exists():
            return None
        trust = self.reader().trust
        taken = {key.key_id for key in trust.root.keys} | {grant.key_id for grant in trust.roles.grants}
        public = path.with_name(path.name + ".pub")
        if public.exists() and parse_public_key(public.read_text()).key_id in taken:
            raise KeyAccessError(f"{path.name} exists already", hint="choose another name for the new key")
        signer = load_signer(path, passphrase)
        if signer.public.key_id in taken:
            raise KeyAccessError(f"{path.name} exists already", hint="choose another name for the new key")
        public.write_text(signer.public.pem)
        return signer

    def grant(self, key: PublicKey, person: str, roles: Sequence[Role]) -> KeyInfo:
        """Grant `roles` to `person`'s `key` from the next ledger index on, by a new roles statement."""
        self.check_roles(roles)
        _require_name(person)

        def add(grants: tuple[KeyGrant, ...], index: int) -> tuple[KeyGrant, ...]:
            new = KeyGrant(
                key_id=key.key_id, public_key=key.pem, person=person, roles=tuple(roles), valid_from=index
            )
            return (*grants, new)

        return self._info(self._change_grants(add)[-1])

    def end_grants(self, key_id: str) -> int:
        """End every grant of a key from the next ledger index on; what it signed before stays valid.

        Raises:
            UsageError: The key holds nothing that could end.
        """
        ended = 0

        def end(grants: tuple[KeyGrant, ...], index: int) -> tuple[KeyGrant, ...]:
            nonlocal ended
            held = [grant for grant in grants if grant.key_id == key_id and grant.valid_until is None]
            ended = len(held)
            if not held:
                raise UsageError(
                    f"key {key_id} holds no role now", hint="`placet keys list` shows who holds what"
                )
            return tuple(
                grant.model_copy(update={"valid_until": index}) if grant in held else grant
                for grant in grants
            )

        self._change_grants(end)
        return ended

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
        self, change: Callable[[tuple[KeyGrant, ...], int], tuple[KeyGrant, ...]]
    ) -> tuple[KeyGrant, ...]:
        """Log the next roles statement; `change` makes its grants from the last ones and its own index."""
        root_key = self.signer(ROOT_KEY)
        for _ in range(_ATTEMPTS):
            trust, made = self.reader().trust, list[Roles]()

            def draft(index: int, trust: Trust = trust, made: list[Roles] = made) -> Envelope:
                new = Roles(
                    office=self.settings.name,
                    version=trust.roles.version + 1,
                    grants=change(trust.roles.grants, index),
                    issued_at=self.clock(),
                )
                check_grants(self.root, new.grants)
                check_succession(trust.roles, new, index)
                made.append(new)
                return sign_record(Kind.ROLES, new, self._root_subject, root_key)

            try:
                self.store.append((draft,), self.signer(LOG_KEY), seen=_roles_seen(trust))
            except StaleError:
                continue  # another process changed the roles: change what they are now
            return made[-1].grants
        raise _contended()

    @property
    def _root_subject(self) -> tuple[Subject, ...]:
        return (Subject("trust-root", self.root.pin),)

    def _info(self, grant: KeyGrant) -> KeyInfo:
        file = None
        for public in sorted((self.home / "keys").glob("*.pem.pub")):
            if parse_public_key(public.read_text()).key_id == grant.key_id:
                file = public.name.removesuffix(".pem.pub")
        return KeyInfo(
            grant.key_id,
            grant.person,
            tuple(str(role) for role in grant.roles),
            grant.valid_from,
            grant.valid_until,
            file,
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
        for _ in range(_ATTEMPTS):
            trust, verified = self.reader().trust, dict[Digest, Verified[Record]]()

            def check(
                envelope: Envelope,
                index: int,
                trust: Trust = trust,
                verified: dict[Digest, Verified[Record]] = verified,
            ) -> None:
                verified[envelope.record_id] = trust.verify(envelope, index)

            try:
                entries = self.store.append(envelopes, self.signer(LOG_KEY), check, seen=_roles_seen(trust))
            except StaleError:
                continue  # the roles changed meanwhile, and with them perhaps what a key may sign
            return tuple(_as_logged(entry, trust, verified.get(entry.record_id)) for entry in entries)
        raise _contended()

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


def migrate_ledger(office: Office, postgres: str | None) -> Office:
    """Move the office's log to a PostgreSQL database, or (None) back into its folder; return the office as it is now.

    Every record and checkpoint is audited before it moves and is the same afterwards. An interrupted move is simply
    repeated. Other machines of the office name the database in their own office.json.

    Raises:
        UsageError: The log is there already, or the database holds another log.
        IntegrityError: The log is not whole: it is not moved.
        StorageError, LedgerBusyError: A store refused; the log is where it was.
    """
    from placet.ledger.migrate import move_to_file, move_to_postgres
    from placet.ledger.store.postgres import PostgresStore

    if postgres == office.settings.postgres:
        where = "in that database" if postgres else "in the office's folder"
        raise UsageError(f"the log is {where} already", hint="`placet ledger checkpoint` shows its state")
    if postgres is not None and office.settings.postgres is not None:
        raise UsageError("the log is in another database", hint="move it to the folder first: --to folder")
    report = office.audit(blobs=False)
    if not report.whole:
        raise IntegrityError(
            f"the log is not whole and is not moved: {report.findings[0].message}", hint="run `placet audit`"
        )
    settings = office.settings.model_copy(update={"postgres": postgres})
    if postgres is not None:
        move_to_postgres(office.store.local(), postgres, office.root)
    elif isinstance(office.store, PostgresStore):
        move_to_file(office.store)
    _write(office.home / "office.json", canonical_json(settings.to_json()), overwrite=True)
    return Office.open(office.home, ask=office.ask, clock=office.clock, wait_s=office.wait_s)


def _as_logged(entry: Entry, trust: Trust, checked: Verified[Record] | None) -> Verified[Record]:
    """Return the record of `entry`: as it was checked before it was added, if it was added here."""
    if checked is not None and (checked.index, checked.envelope.raw) == (entry.index, entry.envelope):
        return checked
    return trust.verify(entry.envelope, entry.index)


def _require_name(person: str) -> None:
    try:
        one_name(person)
    except ValueError as error:
        raise UsageError(
            f"{person!r} cannot name a person: {error}", hint="--person 'Ada Lovelace'"
        ) from error


def _roles_seen(trust: Trust) -> Seen:
    # Versions count up by one from 1, so the version is the number of statements.
    return Seen(spec_of(Kind.ROLES).predicate_type, trust.roles.version)


def _contended() -> LedgerBusyError:
    return LedgerBusyError(
        f"the roles of the office changed {_ATTEMPTS} times while this was tried",
        hint="somebody is changing keys: try again when they are done; nothing was added",
    )


def _write(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path` whole or not at all; over other bytes only with `overwrite`."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not overwrite:
            if path.read_bytes() != data:
                raise IntegrityError(f"{path.name} exists with other content", hint="choose an empty folder")
            return
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path.name} cannot be written: {error.strerror}", hint="check free space and permissions"
        ) from error
