"""A version of the trust root that its holders sign one after the other, each on a machine of their own.

The file holds the versions so far, so that whoever has the pin of one of them can check what it continues, and the new
version with the signatures there are. A signature is over the new version alone, as TUF has it; so signatures that were
added to several copies are put together again, in any order, and one key's counts once.

What this does not do: it cannot show a holder that the proposal is the one that the others see. They compare the digest
of what is signed (:attr:`RootProposal.digest`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from placet.attest.keys import Signer
from placet.attest.root import (
    RootKey,
    RootVersion,
    TrustRoot,
    check_link,
    parse_root,
    parse_version,
    tuf_key_id,
    unsigned_version,
    with_signatures,
)
from placet.attest.strict_json import parse_json
from placet.domain.digests import Digest, canonical_json, digest_bytes
from placet.domain.errors import Error, IntegrityError, KeyAccessError, NotAuthorizedError
from placet.domain.names import person_key

FORMAT = "https://placet.dev/root-proposal/v1"
_AGAIN = "get the file from whoever made it again"


@dataclass(frozen=True, slots=True)
class RootProposal:
    """A proposed version, what it continues, and who signed it so far; each signature was verified."""

    root: TrustRoot
    version: RootVersion
    signers: tuple[RootKey, ...]

    @property
    def digest(self) -> Digest:
        """The SHA-256 of what is signed: the same whoever signed already."""
        return digest_bytes(self.version.signed)

    @property
    def raw(self) -> bytes:
        """The proposal as a file."""
        versions = [item.raw.decode() for item in self.root.versions]
        return canonical_json({"format": FORMAT, "versions": versions, "proposed": self.version.raw.decode()})

    def lacking(self) -> tuple[tuple[RootVersion, int, tuple[str, ...]], ...]:
        """Return (version, signatures that lack, people who could give them) of each version that asks for more."""
        found = []
        for judge in (self.root.current, self.version):
            counted = [item for item in judge.keys if item in self.signers]
            if not judge.enough(counted):
                signed = {person_key(item.person) for item in counted}
                others = sorted({item.person for item in judge.keys if person_key(item.person) not in signed})
                found.append((judge, judge.threshold - len(signed), tuple(others)))
        return tuple(found)

    def complete(self) -> TrustRoot:
        """Return the root with the new version.

        Raises:
            NotAuthorizedError: Signatures are lacking.
        """
        for judge, count, people in self.lacking():
            raise NotAuthorizedError(
                f"version {judge.version} of the root asks for the signatures of {judge.threshold} of its holders, and "
                f"{count} more {'is' if count == 1 else 'are'} needed",
                hint=f"`placet trust sign` on the machine of {' or '.join(people)}",
            )
        return parse_root([*(item.raw for item in self.root.versions), self.version.raw])


def propose(
    root: TrustRoot, holders: Sequence[RootKey], *, threshold: int, valid_from: int, expires: datetime
) -> RootProposal:
    """Return `root` to be continued by a version with `holders`, which vouches from ledger index `valid_from` on.

    Raises:
        UsageError: The holders could never meet the threshold.
    """
    version = unsigned_version(
        root.versions, root.office, holders, threshold=threshold, valid_from=valid_from, expires=expires
    )
    return RootProposal(root, version, check_link(root.current, version))


def parse_proposal(raw: bytes, pin: Digest | None = None) -> RootProposal:
    """Return the proposal in a file.

    Args:
        raw: The file.
        pin: The digest of a version of the root that it has to continue.

    Raises:
        IntegrityError: It is malformed, does not continue the pinned root, or a signature is not over it.
    """
    value = parse_json(raw, "root proposal")
    try:
        if set(value) != {"format", "versions", "proposed"} or value["format"] != FORMAT:
            raise KeyError("format")
        if canonical_json(value) != raw:
            raise ValueError("not in canonical form")
        files = [text.encode() for text in value["versions"]]
        proposed = value["proposed"].encode()
    except (Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"not a proposal of a root version: {error}", hint=_AGAIN) from error
    root = parse_root(files, pin)
    version = parse_version(proposed)
    if version.version != root.current.version + 1:
        raise IntegrityError(
            f"version {version.version} of the root is proposed where {root.current.version + 1} belongs",
            hint=_AGAIN,
        )
    return RootProposal(root, version, check_link(root.current, version))


def sign_proposal(proposal: RootProposal, signer: Signer) -> RootProposal:
    """Return the proposal with one more signature; the same if it is there.

    Raises:
        KeyAccessError: The key is no root key of the old or of the new version.
    """
    version, key_id = proposal.version, tuf_key_id(signer.public)
    if not any(judge.holder(signer.public.key_id) for judge in (proposal.root.current, version)):
        raise KeyAccessError(
            "the key is held by nobody who is to sign: it is no root key of the old or of the new version",
            hint="`--key` names the key that the root names, of: "
            + ", ".join(sorted({item.person for item in (*proposal.root.current.keys, *version.keys)})),
        )
    signatures = dict(version.signatures)
    if key_id not in signatures:
        signatures[key_id] = signer.sign(version.signed)
    return _with(proposal, signatures)


def combine(proposals: Sequence[RootProposal]) -> RootProposal:
    """Return one proposal with the signatures of all, each key's once.

    Raises:
        IntegrityError: They are not copies of one proposal.
    """
    first, *others = proposals
    signatures = dict(first.version.signatures)
    for other in others:
        if (other.digest, other.root.pin) != (first.digest, first.root.pin):
            raise IntegrityError(
                "these are proposals of different versions of the root: signatures under one do not count for another",
                hint="give only copies of one proposal; `placet trust sign` shows the digest of each",
            )
        for key_id, signature in other.version.signatures:
            signatures.setdefault(key_id, signature)
    return _with(first, signatures)


def _with(proposal: RootProposal, signatures: dict[str, bytes]) -> RootProposal:
    version = with_signatures(proposal.version, signatures)
    return RootProposal(proposal.root, version, check_link(proposal.root.current, version))
