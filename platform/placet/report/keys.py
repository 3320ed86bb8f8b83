"""The keys a person can decide with here, and whether the office's own key can be opened."""

from __future__ import annotations

from dataclasses import dataclass

from placet.attest.predicates import Role
from placet.domain.errors import KeyAccessError
from placet.office import LOG_KEY, Office, TrustDesk


@dataclass(frozen=True, slots=True)
class ApproverKey:
    """A key file of this office that holds the approver role now."""

    file: str
    person: str
    key_id: str


def load_approver_keys(office: Office) -> tuple[ApproverKey, ...]:
    """Return the approvers' keys whose files lie in this office, by file name."""
    index = office.reader().head().size
    found = {
        info.file: ApproverKey(info.file, info.person, info.key_id)
        for info in TrustDesk(office).list_keys()
        if info.file is not None
        and Role.APPROVER in info.roles
        and info.valid_from <= index
        and (info.valid_until is None or index < info.valid_until)
    }
    return tuple(found[name] for name in sorted(found))


def check_service_key(office: Office) -> None:
    """Return if the key that signs the log opens without asking anybody.

    Raises:
        KeyAccessError: It does not; the hint says how to mend it.
    """
    try:
        office.signer(LOG_KEY)
    except KeyAccessError as error:
        raise KeyAccessError(
            f"the office's own key cannot be opened, so nothing can be recorded here: {error}",
            hint="start the app with PLACET_PASSPHRASE set to the passphrase of the office's service keys",
        ) from error
