"""The root of trust: TUF root metadata, one file for each version, checked as a chain.

A version names the root keys, whose they are, how many people's signatures are needed and when it expires. Version
N + 1 is signed by enough holders of version N and by enough of its own, and names the digest of version N. So whoever
pins the digest of any one version, got out of band, can check all of them: those after it by signatures, those before
it by digests. A version vouches for roles statements from its own ledger index on, until the next one's.

Thresholds count distinct key material and distinct people; a signature that does not count is not ignored but refused.

What this does not do: it cannot show that there is no newer version. An expired root says that one is due.

Sources: The Update Framework specification 1.0.31, sections 4.3 (root.json) and 5.3 (its update), without the other
roles, which no key holds here; the extension ``x-placet`` is an attribute that TUF clients keep and do not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from placet.attest.keys import KeyKind, PublicKey, Signer, parse_public_key
from placet.attest.strict_json import parse_json
from placet.domain.digests import Digest, canonical_json, digest_bytes, parse_digest
from placet.domain.errors import Error, IntegrityError, NotAuthorizedError, UsageError
from placet.domain.names import one_name, person_key
from placet.domain.text import plural

SPEC_VERSION = "1.0.31"
EXTENSION = "x-placet"
DEFAULT_DAYS = 730
MAX_VERSIONS = 1_000

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
_UNUSED_ROLES = ("snapshot", "targets", "timestamp")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_AGAIN = "the root file was altered: get it from the office again"


@dataclass(frozen=True, slots=True)
class RootKey:
    """A root key and whose it is."""

    key: PublicKey
    person: str


def people_of(holders: Iterable[RootKey]) -> int:
    """Return how many people hold these keys, whatever way their names are spelled."""
    return len({person_key(item.person) for item in holders})


@dataclass(frozen=True)
class RootVersion:
    """One version of the root, its form checked and its signatures not: :class:`TrustRoot` does that."""

    office: str
    version: int
    expires: datetime
    valid_from: int
    threshold: int
    keys: tuple[RootKey, ...]
    previous: Digest | None
    signatures: tuple[tuple[str, bytes], ...]
    signed: bytes
    raw: bytes

    @cached_property
    def pin(self) -> Digest:
        """The SHA-256 of the file: handed out beside the office, for whoever wants to check it."""
        return digest_bytes(self.raw)

    def holder(self, key_id: str) -> RootKey | None:
        """Return the root key of that id (the SHA-256 of its SubjectPublicKeyInfo), if it is one."""
        return next((item for item in self.keys if item.key.key_id == key_id), None)

    def enough(self, holders: Iterable[RootKey]) -> bool:
        """Tell whether `holders` meet the threshold, by distinct key material and distinct people."""
        found = list(holders)
        return min(len({item.key for item in found}), people_of(found)) >= self.threshold


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """The root's versions, oldest first, each of them vouched for by the one that was pinned."""

    versions: tuple[RootVersion, ...]

    @property
    def current(self) -> RootVersion:
        """The newest version."""
        return self.versions[-1]

    @property
    def office(self) -> str:
        """The office's name."""
        return self.current.office

    @property
    def pin(self) -> Digest:
        """The newest version's digest."""
        return self.current.pin

    def at(self, index: int) -> RootVersion:
        """Return the version that vouches for a roles statement at ledger `index`."""
        return next((item for item in reversed(self.versions) if item.valid_from <= index), self.versions[0])

    def with_pin(self, pin: Digest) -> RootVersion | None:
        """Return the version that has that digest, if one does."""
        return next((item for item in self.versions if item.pin == pin), None)

    def ever_held(self, key_id: str) -> bool:
        """Tell whether the key was a root key in any version."""
        return any(item.holder(key_id) is not None for item in self.versions)

    def require_fresh(self, now: datetime) -> None:
        """Return if the newest version has not expired at `now`.

        Raises:
            IntegrityError: It has.
        """
        if now >= self.current.expires:
            raise IntegrityError(
                f"the trust root, version {self.current.version}, expired at {self.current.expires:%Y-%m-%d %H:%M} UTC",
                hint="the office has to renew it (`placet trust root --days …`); get the bundle or feed made since",
            )


def parse_root(files: Sequence[bytes], pin: Digest | None = None) -> TrustRoot:
    """Return the chain of root versions in `files`, from version 1 on.

    Args:
        files: Each version's file.
        pin: The digest that one of them must have; None only where the caller compares it otherwise.

    Raises:
        IntegrityError: A file is malformed, versions are missing, thresholds of old and new are not met, or none is
            the pinned one.
    """
    if not 0 < len(files) <= MAX_VERSIONS:
        raise IntegrityError(f"{len(files)} versions of the trust root", hint=_AGAIN)
    versions = [parse_version(raw) for raw in files]
    before: RootVersion | None = None
    for number, version in enumerate(versions, 1):
        if version.version != number:
            raise IntegrityError(f"version {version.version} of the root where {number} belongs", hint=_AGAIN)
        check_link(before, version)
        check_thresholds(before, version)
        before = version
    root = TrustRoot(tuple(versions))
    if pin is not None and root.with_pin(pin) is None:
        raise IntegrityError(
            f"the trust root is {root.pin}, not the pinned {pin}",
            hint="get the root from the office again, or the pin from a person you trust",
        )
    return root


def check_link(before: RootVersion | None, version: RootVersion) -> tuple[RootKey, ...]:
    """Return who signed `version`, which continues `before`: keys of either, each of which signed these bytes.

    Raises:
        IntegrityError: It does not continue it, or a signature counts for nothing.
    """
    if version.previous != (None if before is None else before.pin):
        raise IntegrityError(
            f"version {version.version} of the root does not continue the one before it", hint=_AGAIN
        )
    if before is None and version.valid_from != 0:
        raise IntegrityError("the first root vouches from ledger index 0 on", hint=_AGAIN)
    if before is not None and (version.office != before.office or version.valid_from < before.valid_from):
        raise IntegrityError(
            f"version {version.version} of the root is another office's, or reaches back before the last one",
            hint=_AGAIN,
        )
    known = {tuf_key_id(item.key): item for item in (*(before.keys if before else ()), *version.keys)}
    signers: dict[str, RootKey] = {}
    for key_id, signature in version.signatures:
        holder = known.get(key_id)
        if holder is None or key_id in signers:
            raise NotAuthorizedError(
                f"version {version.version} of the root is signed by a key that is none of the root's, or twice",
                hint=_AGAIN,
            )
        try:
            holder.key.verify(signature, version.signed)
        except IntegrityError as error:
            raise IntegrityError(
                f"the signature of {holder.person} is not over this version {version.version} of the root",
                hint="the file was altered after it was signed, or a signature was taken from another one",
            ) from error
        signers[key_id] = holder
    return tuple(signers.values())


def check_thresholds(before: RootVersion | None, version: RootVersion) -> None:
    """Return if the keys that are named as signing `version` are enough of the holders of both.

    Raises:
        NotAuthorizedError: They are not.
    """
    signers = {key_id for key_id, _ in version.signatures}
    for judge in (before, version):
        if judge is None:
            continue
        counted = [item for item in judge.keys if tuf_key_id(item.key) in signers]
        if not judge.enough(counted):
            people = people_of(counted)
            raise NotAuthorizedError(
                f"version {version.version} of the root is signed by {people} of the {judge.threshold} people that "
                f"version {judge.version} asks for",
                hint="a root is changed by enough holders of the old and of the new one",
            )


# --- making versions -------------------------------------------------------------------------------------


def new_root(
    office: str,
    holders: Sequence[RootKey],
    signers: Sequence[Signer],
    *,
    threshold: int = 1,
    expires: datetime,
) -> TrustRoot:
    """Return version 1 of a root with `holders`, signed by `signers`.

    Raises:
        UsageError: The holders could never meet the threshold.
        IntegrityError: The signers do not meet it.
    """
    return _extended((), office, holders, signers, threshold, 0, expires)


def next_root(
    root: TrustRoot,
    holders: Sequence[RootKey],
    signers: Sequence[Signer],
    *,
    threshold: int,
    valid_from: int,
    expires: datetime,
) -> TrustRoot:
    """Return `root` continued by a version with `holders`, which vouches from ledger index `valid_from` on.

    Raises:
        UsageError, IntegrityError: As for :func:`new_root`; the signers have to meet both thresholds.
    """
    return _extended(root.versions, root.office, holders, signers, threshold, valid_from, expires)


def default_expiry(now: datetime, days: int = DEFAULT_DAYS) -> datetime:
    """Return when a root made `now` expires.

    Raises:
        UsageError: `days` is not from 1 to 3,650.
    """
    if not 1 <= days <= 3_650:
        raise UsageError(f"a root cannot be good for {days} days", hint="give 1 to 3650 days")
    return now.astimezone(UTC).replace(microsecond=0) + timedelta(days=days)


def _extended(
    before: tuple[RootVersion, ...],
    office: str,
    holders: Sequence[RootKey],
    signers: Sequence[Signer],
    threshold: int,
    valid_from: int,
    expires: datetime,
) -> TrustRoot:
    version = unsigned_version(
        before, office, holders, threshold=threshold, valid_from=valid_from, expires=expires
    )
    signatures = {tuf_key_id(signer.public): signer.sign(version.signed) for signer in signers}
    return parse_root([*(item.raw for item in before), with_signatures(version, signatures).raw])


def unsigned_version(
    before: Sequence[RootVersion],
    office: str,
    holders: Sequence[RootKey],
    *,
    threshold: int,
    valid_from: int,
    expires: datetime,
) -> RootVersion:
    """Return the version after `before` (none: the first) as it is to be signed.

    Raises:
        UsageError: The holders could never meet the threshold.
    """
    require_reachable(holders, threshold)
    previous = before[-1].pin if before else None
    signed = _signed_json(office, len(before) + 1, expires, holders, threshold, valid_from, previous)
    return parse_version(canonical_json({"signed": signed, "signatures": []}))


def require_reachable(holders: Sequence[RootKey], threshold: int) -> None:
    """Return if `holders` could meet `threshold`, all of them together.

    Raises:
        UsageError: They never could.
    """
    people = people_of(holders)
    if not 1 <= threshold <= min(people, len({item.key for item in holders})):
        raise UsageError(
            f"{plural(people, 'root holder')} cannot give {threshold} signatures",
            hint="the threshold counts people, each with a key of their own",
        )


def with_signatures(version: RootVersion, signatures: Mapping[str, bytes]) -> RootVersion:
    """Return `version` with these signatures by TUF key id instead of those it has: they are not verified."""
    signed = parse_json(version.raw, "trust root")["signed"]
    listed = [{"keyid": key_id, "sig": signatures[key_id].hex()} for key_id in sorted(signatures)]
    return parse_version(canonical_json({"signed": signed, "signatures": listed}))


# --- TUF's forms -----------------------------------------------------------------------------------------


def olpc_json(value: Any) -> bytes:
    """Return the canonical JSON that TUF signs: keys sorted, and only quotes and backslashes escaped in text.

    Raises:
        Error: `value` holds anything but dict, list, text, integers, booleans and None.
    """
    if value is None or isinstance(value, bool):
        return {None: b"null", True: b"true", False: b"false"}[value]
    if isinstance(value, int):
        return str(value).encode()
    if isinstance(value, str):
        return b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
    if isinstance(value, list | tuple):
        return b"[" + b",".join(olpc_json(item) for item in value) + b"]"
    if isinstance(value, dict):
        pairs = (olpc_json(key) + b":" + olpc_json(item) for key, item in sorted(value.items()))
        return b"{" + b",".join(pairs) + b"}"
    raise Error(f"{type(value).__name__} cannot be signed", hint="TUF metadata holds no fractions")


def tuf_key_id(key: PublicKey) -> str:
    """Return the key's id in TUF metadata: SHA-256 over the canonical form of its description there."""
    return digest_bytes(olpc_json(_key_json(key))).removeprefix("sha256:")


def _key_json(key: PublicKey) -> dict[str, Any]:
    if key.kind is KeyKind.ED25519:
        return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": key.raw.hex()}}
    return {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": key.pem}}


def _parse_key(value: Mapping[str, Any]) -> PublicKey:
    text = value["keyval"]["public"]
    if value["keytype"] == "ed25519":
        # By way of its PEM, so that it is held to everything a key is held to.
        return parse_public_key(PublicKey(bytes.fromhex(text)).pem)
    return parse_public_key(text)


def _signed_json(
    office: str,
    version: int,
    expires: datetime,
    holders: Sequence[RootKey],
    threshold: int,
    valid_from: int,
    previous: Digest | None,
) -> dict[str, Any]:
    """Return what is signed. Versions that are read are held to it, so that one content has one spelling."""
    keys = {tuf_key_id(item.key): item for item in holders}
    extension: dict[str, Any] = {
        "office": office,
        "people": {key_id: item.person for key_id, item in keys.items()},
        "validFrom": valid_from,
    }
    if previous is not None:
        extension["previous"] = previous
    nobody: dict[str, Any] = {"keyids": [], "threshold": 1}
    return {
        "_type": "root",
        "spec_version": SPEC_VERSION,
        "version": version,
        "expires": expires.astimezone(UTC).strftime(_MOMENT),
        "consistent_snapshot": True,
        "keys": {key_id: _key_json(item.key) for key_id, item in keys.items()},
        "roles": {
            "root": {"keyids": sorted(keys), "threshold": threshold},
            **dict.fromkeys(_UNUSED_ROLES, nobody),
        },
        EXTENSION: extension,
    }


def parse_version(raw: bytes) -> RootVersion:
    """Return the version in a root file, its form checked and nothing else.

    Raises:
        IntegrityError: It is malformed.
    """
    value = parse_json(raw, "trust root")
    try:
        if set(value) != {"signed", "signatures"}:
            raise ValueError("not root metadata")
        version = _version(value["signed"], value["signatures"], raw)
        if canonical_json(value) != raw:
            raise ValueError("not in canonical form")
    except IntegrityError:
        raise
    except (Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"a trust root is malformed: {error}", hint=_AGAIN) from error
    return version


def _version(signed: dict[str, Any], signatures: list[dict[str, Any]], raw: bytes) -> RootVersion:
    extension, role = signed[EXTENSION], signed["roles"]["root"]
    keys = tuple(
        RootKey(_parse_key(signed["keys"][key_id]), one_name(extension["people"][key_id]))
        for key_id in role["keyids"]
    )
    version = RootVersion(
        office=one_name(extension["office"]),
        version=_number(signed["version"]),
        expires=datetime.strptime(signed["expires"], _MOMENT).replace(tzinfo=UTC),
        valid_from=_number(extension["validFrom"]),
        threshold=_number(role["threshold"]),
        keys=keys,
        previous=parse_digest(extension["previous"]) if "previous" in extension else None,
        signatures=tuple((str(item["keyid"]), _signature(item)) for item in signatures),
        signed=olpc_json(signed),
        raw=raw,
    )
    # Also holds each key to one description: PEM in another spelling would be a second id of the same key.
    same = _signed_json(
        version.office,
        version.version,
        version.expires,
        keys,
        version.threshold,
        version.valid_from,
        version.previous,
    )
    if same != signed or olpc_json(same) != version.signed:
        raise ValueError("not the one spelling of what it says")
    if version.threshold < 1 or not version.enough(keys):
        raise ValueError("a threshold that its own keys and people cannot meet")
    return version


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a number that is none")
    return value


def _signature(item: dict[str, Any]) -> bytes:
    if set(item) != {"keyid", "sig"} or not _HEX.fullmatch(item["sig"]):
        raise ValueError("a signature has a key id and lower-case hex digits")
    return bytes.fromhex(item["sig"])
