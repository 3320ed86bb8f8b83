"""A new version of the trust root whose holders sign where they are: proposed here, and installed here when they did.

Where enough of them have their keys in the office, :meth:`~placet.office.trust_desk.TrustDesk.change_root` does all
of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from placet.attest.predicates import Kind, spec_of
from placet.attest.root import DEFAULT_DAYS, RootKey, TrustRoot, default_expiry
from placet.attest.root_proposal import RootProposal, propose
from placet.attest.trust import check_grants, root_change
from placet.domain.errors import IntegrityError, UsageError
from placet.ledger.store import StaleError
from placet.office.grants import require_person
from placet.office.office import ATTEMPTS, EVALUATOR_KEY, Office, contended
from placet.office.root_files import settle, write_pending

_AGAIN = "make another for its holders to sign: `placet trust propose`"


def propose_root(
    office: Office, holders: Sequence[RootKey], threshold: int, days: int = DEFAULT_DAYS
) -> RootProposal:
    """Return a version of the trust root for its holders to sign; nothing is changed by it.

    Raises:
        UsageError: The holders could never meet the threshold.
        IntegrityError: One of their keys has another role, or had one.
    """
    for item in holders:
        require_person(item.person)
    trust = office.reader().trust
    proposal = propose(
        trust.root,
        holders,
        threshold=threshold,
        valid_from=office.store.size(),
        expires=default_expiry(office.clock(), days),
    )
    check_grants(TrustRoot((*trust.root.versions, proposal.version)), trust.roles.grants)
    return proposal


def install_root(office: Office, proposal: RootProposal) -> TrustRoot:
    """Continue the office's root by a version that enough holders of old and new signed; again is fine.

    Raises:
        UsageError: The root or the roles changed since it was proposed, or it expired.
        NotAuthorizedError: Signatures are lacking.
        IntegrityError: It continues another root, or its keys have other roles.
    """
    for _ in range(ATTEMPTS):
        trust = office.reader().trust
        if any(item.signed == proposal.version.signed for item in trust.root.versions):
            return trust.root
        _check_continues(office, proposal, trust.root)
        _check_moment(office, proposal)
        root = proposal.complete()
        check_grants(root, trust.roles.grants)
        record = root_change(root, office.signer(EVALUATOR_KEY))
        write_pending(office.home, root)
        try:
            office.append_as_seen(trust, [record])
        except StaleError:
            continue  # somebody else changed root or roles
        settle(office.home, root)
        office.root = root
        return root
    raise contended()


def _check_continues(office: Office, proposal: RootProposal, root: TrustRoot) -> None:
    """Return if the proposal continues the root as it is now.

    Raises:
        IntegrityError: It continues another one.
        UsageError: It continues one that was continued otherwise.
    """
    theirs = [item.pin for item in proposal.root.versions]
    if theirs != [item.pin for item in root.versions[: len(theirs)]]:
        raise IntegrityError(
            f"the proposal continues a root of office {proposal.root.office!r} with the pin {proposal.root.pin}, "
            f"which is none of office {office.settings.name!r}",
            hint="install it where it belongs: --home",
        )
    if len(theirs) < len(root.versions):
        raise UsageError(
            f"the proposal is stale: there is another version {proposal.version.version} of the root already",
            hint=_AGAIN,
        )


def _check_moment(office: Office, proposal: RootProposal) -> None:
    """Return if the proposal can still take effect at the index it names.

    Raises:
        UsageError: The roles changed since, it expired, or the log is not that long.
    """
    version = proposal.version
    roles = office.store.find(predicate_type=spec_of(Kind.ROLES).predicate_type)
    if roles and roles[-1].index >= version.valid_from:
        raise UsageError(
            f"the proposal is stale: it takes effect from ledger index {version.valid_from} on, and the roles were "
            f"changed at {roles[-1].index}",
            hint=_AGAIN,
        )
    if version.valid_from > office.store.size():
        raise UsageError(
            f"the proposal takes effect from ledger index {version.valid_from} on, and the log is not that long",
            hint=_AGAIN,
        )
    if office.clock() >= version.expires:
        raise UsageError(f"the proposal expired at {version.expires:%Y-%m-%d %H:%M} UTC", hint=_AGAIN)
