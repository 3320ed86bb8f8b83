"""Who may sign what: the roles that the trust root vouches for.

Root keys sign **roles statements** that go into the ledger: people, their keys, what each may sign and for which ledger
indices. A version of the roles is in force from the record with which enough holders of the root, as it stands at that
index, have signed it; each signs a record of their own. The newest version holds for the whole log, because a grant
that ended keeps its range; a successor that would rewrite what an older one allowed in the past is refused.

What this does not do: it cannot tell that a key was stolen before its grant was ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from placet.attest.draw import verify_draw
from placet.attest.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    parse_envelope,
    pre_authentication_encoding,
    sign_statement,
    verify_envelope,
)
from placet.attest.keys import KeyKind, PublicKey, Signer, parse_public_key
from placet.attest.predicates import (
    KeyGrant,
    Kind,
    PredicateSpec,
    Role,
    Roles,
    RootChange,
    spec_for_type,
    spec_of,
)
from placet.attest.root import RootKey, TrustRoot, parse_root
from placet.attest.signatures import GoodSignatures, good_signatures
from placet.attest.statement import Statement, Subject, build_statement
from placet.domain.digests import Digest, digest_json
from placet.domain.errors import IntegrityError, NotAuthorizedError
from placet.domain.names import person_key
from placet.domain.records import Plan, Record

ED25519_ROLES = frozenset({Role.LOG, Role.WITNESS})
"""Roles that sign notes, whose format has Ed25519 signatures."""

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


@dataclass(frozen=True)
class Trust:
    """The root and the newest roles statement it vouches for.

    `statements` is how many records said who may sign what: roles statements and new versions of the root.
    """

    root: TrustRoot
    roles: Roles
    statements: int = 0
    _grants: dict[str, tuple[KeyGrant, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_key: dict[str, tuple[KeyGrant, ...]] = {}
        for grant in self.roles.grants:
            by_key[grant.key_id] = (*by_key.get(grant.key_id, ()), grant)
        object.__setattr__(self, "_grants", by_key)

    def grants_of(self, key_id: str) -> tuple[KeyGrant, ...]:
        """Return the grants of one key."""
        return self._grants.get(key_id, ())

    def authorize(self, key_id: Digest, roles: tuple[Role, ...], index: int) -> tuple[PublicKey, str]:
        """Return the key and its person if it holds one of `roles` at ledger `index`.

        Raises:
            NotAuthorizedError: The key is unknown, holds none of the roles, or not at that index.
        """
        grants = self.grants_of(key_id)
        if not grants:
            raise NotAuthorizedError(
                f"key {key_id} is not one of office {self.root.office!r}",
                hint="a key gets a role by a roles statement: `placet trust add`",
            )
        wanted = " or ".join(roles)
        able = [grant for grant in grants if set(roles) & set(grant.roles)]
        if not able:
            raise NotAuthorizedError(
                f"the key of {grants[0].person} may not sign as {wanted}",
                hint="sign with a key that has the role, or have the role granted: `placet trust add`",
            )
        for grant in able:
            if grant.holds_at(index):
                return parse_public_key(grant.public_key), grant.person
        raise NotAuthorizedError(
            f"the key of {able[0].person} may not sign as {wanted} at ledger index {index}",
            hint=f"its grant holds from {able[0].valid_from} until before {able[0].valid_until or 'now'}",
        )

    def people_with(self, role: Role, index: int) -> tuple[str, ...]:
        """Return who holds `role` at `index`, sorted, each once whatever way their name is spelled."""
        found: dict[str, str] = {}
        for grant in self.roles.grants:
            if role in grant.roles and grant.holds_at(index):
                found.setdefault(person_key(grant.person), grant.person)
        return tuple(sorted(found.values()))

    def verify(
        self, raw: bytes | Envelope, index: int, good: GoodSignatures | None = None
    ) -> Verified[Record]:
        """Return the record in an envelope: signature, role at `index`, form, and a plan's draw all checked.

        Args:
            raw: The envelope.
            index: Where in the log it is, or would be.
            good: Signatures that were verified already: :meth:`good_signatures`.

        Raises:
            IntegrityError: Any of them does not hold; a :class:`~placet.domain.errors.DrawError` if it is the draw.
        """
        envelope = raw if isinstance(raw, Envelope) else parse_envelope(raw)
        holder = self.root.at(index).holder(envelope.key_id)
        if holder is not None:
            key, person = holder.key, holder.person
            statement = verify_envelope(envelope, key, good)
            spec = spec_for_type(statement.predicate_type)
            if Role.ROOT not in spec.roles:
                raise NotAuthorizedError(
                    f"a root key signed a {spec.kind} record", hint="root keys sign roles statements only"
                )
        else:
            grants = self.grants_of(envelope.key_id)
            if not grants:
                self.authorize(envelope.key_id, (Role.EVALUATOR,), index)
            statement = verify_envelope(envelope, parse_public_key(grants[0].public_key), good)
            spec = spec_for_type(statement.predicate_type)
            key, person = self.authorize(envelope.key_id, spec.roles, index)
        verified = _verified(index, spec, statement, envelope, person)
        if isinstance(verified.record, Plan):
            verify_draw(verified.record, key)
        return verified

    def good_signatures(self, envelopes: Iterable[Envelope]) -> GoodSignatures:
        """Return which of many envelopes are well signed by the keys they name: for :meth:`verify`."""
        return good_signatures(
            (
                parse_public_key(grants[0].public_key),
                item.signature,
                pre_authentication_encoding(PAYLOAD_TYPE, item.payload),
            )
            for item in envelopes
            if (grants := self.grants_of(item.key_id))
        )


def _verified(
    index: int, spec: PredicateSpec, statement: Statement, envelope: Envelope, person: str
) -> Verified[Record]:
    record = spec.model.from_json(statement.predicate)
    return Verified(index, spec.kind, record, statement, envelope, envelope.key_id, person)


# --- roles statements ------------------------------------------------------------------------------------


def roles_subjects(root: TrustRoot, index: int, signer: PublicKey) -> tuple[Subject, ...]:
    """Return what a roles statement at `index` is about: the root's version, and the root key that signs this one."""
    return (Subject("trust-root", root.at(index).pin), Subject("root-key", signer.key_id))


def establish_trust(
    root: TrustRoot, statements: Iterable[tuple[int, bytes]], changes: Iterable[tuple[int, bytes]] = ()
) -> Trust:
    """Return the trust that `root` vouches for through what the log holds, given as (ledger index, envelope).

    Args:
        root: The pinned root.
        statements: All roles statements.
        changes: All records of new versions of the root: those that `root` does not know yet continue it.

    Raises:
        IntegrityError: None is in force, one is forged, of another office or inconsistent, or rewrites the past.
    """
    statements, changes = sorted(statements), sorted(changes)
    for index, raw in changes:
        before = establish_trust(root, [item for item in statements if item[0] < index])
        root = _continued(root, before.verify(raw, index))
    current: Roles | None = None
    count = len(statements) + len(changes)
    votes: dict[Digest, list[RootKey]] = {}
    for index, raw in statements:
        holder, roles = _verify_vote(root, raw, index)
        said = digest_json([root.at(index).pin, roles.to_json()])
        votes.setdefault(said, []).append(holder)
        if roles == current or not root.at(index).enough(votes[said]):
            continue
        version = 0 if current is None else current.version
        if roles.version != version + 1:
            raise IntegrityError(
                f"roles version {roles.version} follows {version}"
                if version
                else f"roles statements before version {roles.version} are missing",
                hint="versions count up by one; run `placet audit`",
            )
        check_grants(root, roles.grants)
        if current is not None:
            check_succession(current, roles, index)
        current, votes = roles, {}
    if current is None:
        raise IntegrityError(
            "no roles statement is in force",
            hint="the office was not set up (`placet init`), or too few holders of the root signed",
        )
    return Trust(root, current, count)


def _continued(root: TrustRoot, logged: Verified[Record]) -> TrustRoot:
    """Return `root` with the version that a record holds; as it is where that has not the signatures that it needs.

    Raises:
        IntegrityError: Enough holders signed two different versions in one place.
    """
    change = logged.record
    if not isinstance(change, RootChange):
        raise IntegrityError("this is no new version of the root", hint="run `placet audit`")
    try:
        before = [item.raw for item in root.versions[: change.version - 1]]
        other = parse_root([*before, change.file.encode()])
    except IntegrityError:
        # Whoever has the evaluator's key can log any file. It is not followed, and the audit names it.
        return root
    said = (change.version, change.office, logged.statement.names(other.pin))
    if said != (other.current.version, other.office, True) or other.current.valid_from > logged.index:
        return root
    if other.current.version > root.current.version:
        return other
    if other.current.signed != root.versions[len(before)].signed:
        raise IntegrityError(
            f"the log's version {change.version} of the root, at index {logged.index}, is not the one known here, and "
            "both are well signed",
            hint="keep both files as evidence and ask the root's holders",
        )
    return root


def root_change(root: TrustRoot, signer: Signer) -> Envelope:
    """Return the record of the root's newest version, for the log."""
    version = root.current
    change = RootChange(office=root.office, version=version.version, file=version.raw.decode())
    return sign_record(Kind.ROOT, change, (Subject("trust-root", version.pin),), signer)


def _verify_vote(root: TrustRoot, raw: bytes, index: int) -> tuple[RootKey, Roles]:
    envelope, version = parse_envelope(raw), root.at(index)
    holder = version.holder(envelope.key_id)
    if holder is None:
        raise NotAuthorizedError(
            f"the roles statement at ledger index {index} is not signed by a root key of version {version.version}",
            hint="run `placet audit`; if the root was changed since, get its newest version from the office",
        )
    statement = verify_envelope(envelope, holder.key)
    if spec_for_type(statement.predicate_type).kind is not Kind.ROLES:
        raise IntegrityError("this is not a roles statement", hint="run `placet audit`")
    roles = Roles.from_json(statement.predicate)
    if roles.office != root.office:
        raise IntegrityError(
            f"the roles statement is of office {roles.office!r}, not {root.office!r}",
            hint="a record of another office was put here",
        )
    if statement.subjects != roles_subjects(root, index, holder.key):
        raise IntegrityError(
            f"the roles statement at ledger index {index} was signed under another root than version "
            f"{version.version}",
            hint="run `placet audit`; if the root was changed since, get its newest version from the office",
        )
    if roles.issued_at >= version.expires:
        raise IntegrityError(
            f"the roles statement at ledger index {index} was issued after the root expired",
            hint="the root has to be renewed first: `placet trust root`",
        )
    return holder, roles


def check_grants(root: TrustRoot, grants: Sequence[KeyGrant]) -> None:
    """Return if `grants` hold together: each key has its id and one person, and no root key or role is granted.

    Raises:
        IntegrityError: They do not.
    """
    person_of: dict[Digest, str] = {}
    for grant in grants:
        key = parse_public_key(grant.public_key)
        if key.key_id != grant.key_id or key.pem != grant.public_key:
            raise IntegrityError(
                f"the key of {grant.person} does not have its id, or is spelled in another way than ours",
                hint="run `placet audit`",
            )
        if Role.ROOT in grant.roles or root.ever_held(grant.key_id):
            raise IntegrityError(
                f"the grant of {grant.person} makes a root key of another key, or gives a root key another role",
                hint="root keys sign roles statements and nothing else: grant another key",
            )
        if key.kind is not KeyKind.ED25519 and ED25519_ROLES & set(grant.roles):
            raise IntegrityError(
                f"the key of {grant.person} signs no checkpoints: it is no Ed25519 key",
                hint="checkpoints are signed with Ed25519: `placet keys new`",
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
