"""Who may sign what in an office: keys are made and granted, ended and replaced, and the trust root goes on.

Each change is the next roles statement, signed by enough holders of the root and logged; it is in force from the index
it gets. What a key signed before it ended stays valid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from placet.attest.envelope import Envelope
from placet.attest.keyfiles import passphrase_for, require_name
from placet.attest.keys import PublicKey, Signer, new_signer
from placet.attest.predicates import KeyGrant, Kind, Role, Roles
from placet.attest.root import (
    DEFAULT_DAYS,
    RootKey,
    TrustRoot,
    default_expiry,
    next_root,
    require_reachable,
)
from placet.attest.trust import (
    Trust,
    check_grants,
    check_succession,
    roles_subjects,
    root_change,
    sign_record,
)
from placet.domain.errors import KeyAccessError, UsageError
from placet.domain.names import person_key
from placet.ledger.store import Draft, StaleError
from placet.office.grants import Change, KeyInfo, ended, held, new_grant, require_person
from placet.office.office import ATTEMPTS, EVALUATOR_KEY, SERVICE_ROLES, Office, contended
from placet.office.root_files import settle, write_pending


@dataclass(frozen=True, slots=True)
class TrustDesk:
    """Changes the roles and the root of an office."""

    office: Office

    def new_key(self, key_name: str, person: str, roles: Sequence[Role]) -> KeyInfo:
        """Make a key file for `person` and grant it `roles` from the next ledger index on.

        Raises:
            UsageError: A role that no person's key may hold.
            KeyAccessError: The name is taken, or a passphrase is missing.
        """
        require_name(key_name)
        self.check_roles(roles)
        require_person(person)
        root_signers(self.office, self.office.root)  # before anything is made
        if not self._is_left_over(key_name):
            signer = new_signer()
            self.office.keys.add(key_name, signer, passphrase_for(key_name, self.office.ask))
            self.office.opened[key_name] = signer
        return self.grant(self.office.keys.public(key_name), person, roles)

    def _is_left_over(self, key_name: str) -> bool:
        """Tell whether an interrupted call left this key's file before its key was granted anything."""
        if not self.office.keys.holds(key_name):
            return False
        if not self.office.keys.has_public(key_name):
            self.office.keys.write_public(key_name, self.office.signer(key_name).public)
        key_id = self.office.keys.public(key_name).key_id
        if self.office.root.ever_held(key_id) or self.office.reader().trust.grants_of(key_id):
            raise KeyAccessError(f"{key_name}.pem exists already", hint="choose another name for the new key")
        return True

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
        require_reachable(holders, threshold)
        expires = default_expiry(self.office.clock(), days)
        # Tried on a copy, so that what cannot work is refused before anything is written.
        signers = root_signers(self.office, self.office.root, (holders, threshold))
        next_root(self.office.root, holders, signers, threshold=threshold, valid_from=2**40, expires=expires)

        def continued(index: int) -> TrustRoot:
            options = {"threshold": threshold, "valid_from": index, "expires": expires}
            return next_root(self.office.root, holders, signers, **options)  # type: ignore[arg-type]

        self._change_grants(lambda grants, _: grants, continued)
        return self.office.root

    def list_keys(self) -> tuple[KeyInfo, ...]:
        """Return every grant, oldest first."""
        return tuple(self._info(grant) for grant in self.office.reader().trust.roles.grants)

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
        if continued is None and self.office.clock() >= self.office.root.current.expires:
            raise UsageError("the trust root has expired", hint="renew it first: `placet trust root`")
        for _ in range(ATTEMPTS):
            trust, made = self.office.reader().trust, _Statement(self.office.root)
            planned = self.office.root if continued is None else continued(2**40)
            signers = root_signers(self.office, planned)

            last = len(signers) - 1
            root_drafts: list[Draft] = []
            if continued is not None:  # the key is opened before the log is held
                root_drafts.append(
                    partial(self._next_root, self.office.signer(EVALUATOR_KEY), continued, made)
                )

            def draft(
                signer: Signer, index: int, trust: Trust = trust, made: _Statement = made, last: int = last
            ) -> Envelope:
                if made.roles is None:
                    made.roles = self._next_roles(trust, made.root, change, index + last)
                return sign_record(
                    Kind.ROLES, made.roles, roles_subjects(made.root, index, signer.public), signer
                )

            try:
                self.office.append_drafts(
                    trust, [*root_drafts, *(partial(draft, signer) for signer in signers)]
                )
            except StaleError:
                continue  # another process changed the roles: change what they are now
            if made.root is not self.office.root:
                settle(self.office.home, made.root)
                self.office.root = made.root
            for key_name in SERVICE_ROLES:
                self.office.opened.pop(key_name, None)
            return () if made.roles is None else made.roles.grants
        raise contended()

    def _next_root(
        self, signer: Signer, continued: Callable[[int], TrustRoot], made: _Statement, index: int
    ) -> Envelope:
        made.root = continued(index)
        write_pending(self.office.home, made.root)
        return root_change(made.root, signer)

    def _next_roles(self, trust: Trust, root: TrustRoot, change: Change, index: int) -> Roles:
        new = Roles(
            office=self.office.settings.name,
            version=trust.roles.version + 1,
            grants=change(trust.roles.grants, index),
            issued_at=self.office.clock(),
        )
        check_grants(root, new.grants)
        check_succession(trust.roles, new, index)
        return new

    def _info(self, grant: KeyGrant) -> KeyInfo:
        return KeyInfo(
            grant.key_id,
            grant.person,
            tuple(str(role) for role in grant.roles),
            grant.valid_from,
            grant.valid_until,
            self.office.keys.name_of(grant.key_id),
        )


def root_signers(
    office: Office, root: TrustRoot, following: tuple[Sequence[RootKey], int] | None = None
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
        people = {person_key(item.person) for item in holders if item.key.key_id in signers}
        for item in holders:
            name = office.keys.name_of(item.key.key_id)
            if name is None or person_key(item.person) in people or len(people) >= threshold:
                continue
            signers[item.key.key_id] = office.signer(name)
            people.add(person_key(item.person))
        if len(people) < threshold:
            missing = sorted({item.person for item in holders if person_key(item.person) not in people})
            raise KeyAccessError(
                f"the root needs the signatures of {threshold} people, and the keys of {len(people)} are here",
                hint="bring the key of " + " or ".join(missing) + " to this office's keys folder",
            )
    return list(signers.values())


@dataclass
class _Statement:
    """A roles statement in the making, and the root it is signed under."""

    root: TrustRoot
    roles: Roles | None = None
