"""What keys are granted: the values that a change of the roles statement works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from placet.attest.keys import PublicKey
from placet.attest.predicates import KeyGrant, Role
from placet.domain.errors import UsageError
from placet.domain.names import one_name

Change = Callable[[tuple[KeyGrant, ...], int], tuple[KeyGrant, ...]]
"""Makes the next grants from the last ones and the ledger index from which they are in force."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as people see it."""

    key_id: str
    person: str
    roles: tuple[str, ...]
    valid_from: int
    valid_until: int | None
    file: str | None


def new_grant(key: PublicKey, person: str, roles: tuple[Role, ...], index: int) -> KeyGrant:
    """Return the grant of `roles` to a person's key from ledger index `index` on."""
    return KeyGrant(key_id=key.key_id, public_key=key.pem, person=person, roles=roles, valid_from=index)


def held(grants: Sequence[KeyGrant], key_id: str) -> list[KeyGrant]:
    """Return what a key is granted now.

    Raises:
        UsageError: Nothing.
    """
    found = [grant for grant in grants if grant.key_id == key_id and grant.valid_until is None]
    if not found:
        raise UsageError(f"key {key_id} holds no role now", hint="`placet trust show` shows who holds what")
    return found


def ended(grants: tuple[KeyGrant, ...], key_id: str, index: int) -> tuple[KeyGrant, ...]:
    """Return `grants` with those of a key ended at ledger index `index`.

    Raises:
        UsageError: It holds nothing that could end.
    """
    ending = held(grants, key_id)
    return tuple(
        grant.model_copy(update={"valid_until": index}) if grant in ending else grant for grant in grants
    )


def require_person(person: str) -> None:
    """Return if `person` can name somebody.

    Raises:
        UsageError: It cannot.
    """
    try:
        one_name(person)
    except ValueError as error:
        raise UsageError(
            f"{person!r} cannot name a person: {error}", hint="--person 'Ada Lovelace'"
        ) from error
