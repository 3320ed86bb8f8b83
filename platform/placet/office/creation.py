"""Makes an office: its trust root, its own keys, an empty log and the first roles statement in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from placet.attest.envelope import Envelope
from placet.attest.keyfiles import Ask, load_signer, passphrase_for, require_name, save_key
from placet.attest.keys import KeyKind, LocalSigner, Signer, new_signer
from placet.attest.predicates import KeyGrant, Kind, Roles
from placet.attest.root import DEFAULT_DAYS, RootKey, default_expiry
from placet.attest.trust import roles_subjects, sign_record
from placet.domain.digests import canonical_json
from placet.domain.errors import UsageError
from placet.domain.names import one_name
from placet.ledger.store import DuckStore
from placet.office.grants import require_person
from placet.office.office import (
    EVALUATOR_KEY,
    FILES_KEY,
    LOG_KEY,
    ROOT_KEY,
    SERVICE_ROLES,
    Clock,
    Office,
    Settings,
    utc_now,
)
from placet.office.root_files import first_root, write_whole
from placet.office.trust_desk import root_signers


def create_office(
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
    _require_name(name)
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
    office = Office(home, settings, root, clock=clock, ask=ask, opened=signers)
    if not store.entries():
        store.append(_first_roles(office), signers[LOG_KEY])
    write_whole(home / "office.json", canonical_json(settings.to_json()))
    return office


def _made(home: Path, key_name: str, ask: Ask | None, kind: KeyKind) -> LocalSigner:
    """Return the signer of a key of a new office; one that an interrupted init left is used again."""
    path = home / "keys" / f"{key_name}.pem"
    passphrase = passphrase_for(key_name, ask)
    if path.exists():
        return load_signer(path, passphrase)
    signer = new_signer(kind)
    save_key(signer, path, passphrase)
    return signer


def _require_name(name: str) -> None:
    """Return if an office can be called `name`.

    Raises:
        UsageError: It cannot.
    """
    try:
        usable = len(one_name(name)) <= 80
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            "an office needs a name of 1 to 80 visible, ordinary characters and single spaces",
            hint="--name 'ACME models'",
        )


def _first_roles(office: Office) -> list[Envelope]:
    """Return the first roles statement: the office's own keys get their roles, and the root's holders sign it."""
    grants = tuple(
        KeyGrant(
            key_id=office.opened[key].public.key_id,
            public_key=office.opened[key].public.pem,
            person=office.service_person(key),
            roles=(role,),
            valid_from=0,
        )
        for key, role in SERVICE_ROLES.items()
    )
    first = Roles(office=office.settings.name, version=1, grants=grants, issued_at=office.clock())
    return [
        sign_record(Kind.ROLES, first, roles_subjects(office.root, 0, signer.public), signer)
        for signer in root_signers(office, office.root)
    ]
