"""The trust root and the roles it vouches for.

The root is a small file naming the root keys; its digest is pinned out of band. Root keys sign **roles
statements** that go into the ledger: people, their keys, what each may sign and for which ledger indices. The
newest roles statement holds for the whole log, because a grant that ended keeps its range; a successor that
would rewrite what an older one allowed in the past is refused.

What this does not do: it cannot tell that a key was stolen before its grant was ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import Field

from placet.attest.envelope import Envelope, parse_envelope, sign_statement, verify_envelope
from placet.attest.keys import PublicKey, Signer, parse_public_key
from placet.attest.predicates import KeyGrant, Kind, PredicateSpec, Role, Roles, spec_for_type, spec_of
from placet.attest.statement import Statement, Subject, build_statement
from placet.attest.strict_json import parse_json
from placet.domain.digests import Digest, canonical_json, digest_bytes
from placet.domain.errors import IntegrityError, NotAuthorizedError
from placet.domain.records import Record


class RootKey(Record):
    """A key of the root."""

    key_id: str
    public_key: str


class TrustRoot(Record):
    """The root of an office's trust: its name and its root keys."""

    office: str
    version: int = Field(ge=1)
    keys: tuple[RootKey, ...] = Field(min_length=1)

    @property
    def pin(self) -> Digest:
        """The digest that is handed out beside the office: whoever has it can check everything else."""
        return digest_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the root file's bytes."""
        return canonical_json(self.to_json())


def parse_root(data: bytes, pin: Digest | None = None) -> TrustRoot:
    """Return the trust root in `data`.

    Args:
        data: The root file.
        pin: The digest it must have; None only where the caller compares it otherwise.

    Raises:
        IntegrityError: Malformed, a key whose id is not its digest, or not the pinned root.
    """
    root = TrustRoot.from_json(parse_json(data, "trust root"))
    for key in root.keys:
        if parse_public_key(key.public_key).key_id != key.key_id:
            raise IntegrityError(
                "a root key's id is not the digest of the key", hint="the root file was altered"
            )
    if pin is not None and digest_bytes(data) != pin:
        raise IntegrityError(
            f"the trust root is {digest_bytes(data)}, not the pinned {pin}",
            hint="get the root from the office again, or the pin from a person you trust",
        )
    return root


def new_root(office: str, keys: tuple[PublicKey, ...]) -> TrustRoot:
    """Return version 1 of a trust root with `keys`."""
    return TrustRoot(
        office=office, version=1, keys=tuple(RootKey(key_id=key.key_id, public_key=key.pem) for key in keys)
    )


T_co = TypeVar("T_co", bound=Record, covariant=True)


@dataclass(frozen=True)
class Verified(Generic[T_co]):
    """A record whose signature, signer and role were checked, with the bytes that were."""

    index: int
    kind: Kind
    record: T_co
    statement: Statement
    envelope: Envelope
    key_id: Digest
    person: str

    @property
    def id(self) -> Digest:
        """The record id: SHA-256 of the statement."""
        return self.statement.record_id


def sign_record(kind: Kind, record: Record, subjects: tuple[Subject, ...], signer: Signer) -> Envelope:
    """Return `record` as a signed envelope of its kind's predicate type."""
    spec = spec_of(kind)
    if not isinstance(record, spec.model):
        raise TypeError(f"a {kind} record is a {spec.model.__name__}, not a {type(record).__name__}")
    return sign_statement(build_statement(spec.predicate_type, subjects, record.to_json()), signer)


@dataclass(frozen=True, slots=True)
class Trust:
    """The root and the newest roles statement it vouches for."""

    root: TrustRoot
    roles: Roles

    def grants_of(self, key_id: str) -> tuple[KeyGrant, ...]:
        """Return the grants of one key."""
        return tuple(grant for grant in self.roles.grants if grant.key_id == key_id)

    def authorize(self, key_id: Digest, roles: tuple[Role, ...], index: int) -> tuple[PublicKey, str]:
        """Return the key and its person if it holds one of `roles` at ledger `index`.

        Raises:
            NotAuthorizedError: The key is unknown, holds none of the roles, or not at that index.
        """
        grants = self.grants_of(key_id)
        if not grants:
            raise NotAuthorizedError(
                f"key {key_id} is not one of office {self.root.office!r}",
                hint="a key gets a role by a roles statement: `placet keys grant`",
            )
        wanted = " or ".join(roles)
        able = [grant for grant in grants if set(roles) & set(grant.roles)]
        if not able:
            raise NotAuthorizedError(
                f"the key of {grants[0].person} may not sign as {wanted}",
                hint="sign with a key that has the role, or have the role granted: `placet keys grant`",
            )
        for grant in able:
            if grant.valid_from <= index and (grant.valid_until is None or index < grant.valid_until):
                return parse_public_key(grant.public_key), grant.person
        raise NotAuthorizedError(
            f"the key of {able[0].person} may not sign as {wanted} at ledger index {index}",
            hint=f"its grant holds from {able[0].valid_from} until before {able[0].valid_until or 'now'}",
        )

    def people_with(self, role: Role, index: int) -> tuple[str, ...]:
        """Return who holds `role` at `index`, sorted, each once."""
        return tuple(
            sorted(
                {
                    grant.person
                    for grant in self.roles.grants
                    if role in grant.roles
                    and grant.valid_from <= index
                    and (grant.valid_until is None or index < grant.valid_until)
                }
            )
        )

    def verify(self, raw: bytes | Envelope, index: int) -> Verified[Record]:
        """Return the record in an envelope: signature, role at `index` and form all checked.

        Raises:
            IntegrityError: Any of them does not hold.
        """
        envelope = raw if isinstance(raw, Envelope) else parse_envelope(raw)
        root_key = next((key for key in self.root.keys if key.key_id == envelope.key_id), None)
        if root_key is not None:
            statement = verify_envelope(envelope, parse_public_key(root_key.public_key))
            spec, person = spec_for_type(statement.predicate_type), "root"
            if Role.ROOT not in spec.roles:
                raise NotAuthorizedError(
                    f"a root key signed a {spec.kind} record", hint="root keys sign roles statements only"
                )
        else:
            grants = self.grants_of(envelope.key_id)
            if not grants:
                self.authorize(envelope.key_id, (Role.EVALUATOR,), index)
            statement = verify_envelope(envelope, parse_public_key(grants[0].public_key))
            spec = spec_for_type(statement.predicate_type)
            _, person = self.authorize(envelope.key_id, spec.roles, index)
        return _verified(index, spec, statement, envelope, person)


def _verified(
    index: int, spec: PredicateSpec, statement: Statement, envelope: Envelope, person: str
) -> Verified[Record]:
    record = spec.model.from_json(statement.predicate)
    return Verified(index, spec.kind, record, statement, envelope, envelope.key_id, person)


def verify_roles(root: TrustRoot, raw: bytes) -> Roles:
    """Return the roles statement in `raw`, signed by a key of `root` for this office.

    Raises:
        IntegrityError: Not signed by the root, not a roles statement, for another office, or inconsistent.
    """
    envelope = parse_envelope(raw)
    for key in root.keys:
        if key.key_id == envelope.key_id:
            statement = verify_envelope(envelope, parse_public_key(key.public_key))
            break
    else:
        raise NotAuthorizedError("the roles statement is not signed by a root key", hint="run `placet audit`")
    if spec_for_type(statement.predicate_type).kind is not Kind.ROLES:
        raise IntegrityError("this is not a roles statement", hint="run `placet audit`")
    roles = Roles.from_json(statement.predicate)
    if roles.office != root.office:
        raise IntegrityError(
            f"the roles statement is of office {roles.office!r}, not {root.office!r}",
            hint="a record of another office was put here",
        )
    check_grants(root, roles.grants)
    return roles


def check_grants(root: TrustRoot, grants: Sequence[KeyGrant]) -> None:
    """Return if `grants` hold together: each key has its id and one person, and no root key or role is granted.

    Raises:
        IntegrityError: They do not.
    """
    person_of: dict[Digest, str] = {}
    for grant in grants:
        if parse_public_key(grant.public_key).key_id != grant.key_id:
            raise IntegrityError(f"the key of {grant.person} does not have its id", hint="run `placet audit`")
        if Role.ROOT in grant.roles or any(key.key_id == grant.key_id for key in root.keys):
            raise IntegrityError(
                f"the grant of {grant.person} makes a root key of another key, or gives a root key another role",
                hint="root keys sign roles statements and nothing else: grant another key",
            )
        other = person_of.setdefault(grant.key_id, grant.person)
        if other != grant.person:
            raise IntegrityError(
                f"one key is granted to two people, {other} and {grant.person}",
                hint="each person needs a key of their own: `placet keys new`",
            )


def check_succession(old: Roles, new: Roles, index: int) -> None:
    """Return if `new`, logged at `index`, may follow `old`: what was allowed before `index` stays as it was.

    Raises:
        IntegrityError: The version does not count up by one, an old grant is gone or changed in the past, or a
            new grant reaches back before `index`.
    """
    if new.version != old.version + 1:
        raise IntegrityError(
            f"roles version {new.version} follows {old.version}",
            hint="versions count up by one; run `placet audit`",
        )
    # An old grant may stay as it is, or end from `index` on.
    remaining = list(new.grants)
    for grant in old.grants:
        same = [g for g in remaining if g.model_copy(update={"valid_until": grant.valid_until}) == grant]
        kept = [
            g
            for g in same
            if g.valid_until == grant.valid_until
            or (g.valid_until is not None and g.valid_until >= index and grant.valid_until is None)
        ]
        if not kept:
            raise IntegrityError(
                f"a grant of {grant.person} was changed in the past",
                hint="a grant ends, it is never rewritten",
            )
        remaining.remove(kept[0])
    for grant in remaining:
        if grant.valid_from < index:
            raise IntegrityError(
                f"a new grant of {grant.person} reaches back to index {grant.valid_from}",
                hint=f"a grant starts where it is logged, at {index} or later",
            )
