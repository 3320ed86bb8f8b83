"""Who may co-sign the log, and the newest checkpoint that each co-signed, as far as this office was given it.

A witness hands its co-signed checkpoints to whoever asks (`placet witness run` prints them). The office keeps what it
was given in its folder :data:`FOLDER`; a page that shows them says until which record a rewritten log would be found.
The co-signature is checked against the key that the roles name for the witness: whoever holds the root's keys could
name another one, so an auditor should know the witness's key by another way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from placet.attest.keys import PublicKey, parse_public_key
from placet.attest.predicates import KeyGrant, Role
from placet.attest.trust import Trust
from placet.domain.errors import IntegrityError
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.ledger.note import verify_cosignature
from placet.office import Office

FOLDER = "witnessed"
"""Where an office keeps co-signed checkpoints that witnesses gave it, one a file."""

_MAX_BYTES = 1 << 16
_DASH = "\u2014"


@dataclass(frozen=True, slots=True)
class CoSignature:
    """A checkpoint that a witness co-signed: its size, when, under which name, and the whole note."""

    name: str
    size: int
    at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class WitnessView:
    """Somebody who may co-sign the log; `last` is the newest checkpoint of theirs that lies here."""

    person: str
    key: PublicKey
    valid_from: int
    valid_until: int | None
    last: CoSignature | None


def load_witnesses(office: Office, trust: Trust) -> tuple[WitnessView, ...]:
    """Return every grant of the witness role with the newest co-signature that lies in the office, if any.

    Files that are no checkpoint of this log, or not co-signed by a witness of the office, count for nothing.
    """
    notes = tuple(_notes(office))
    views = []
    for grant in trust.roles.grants:
        if Role.WITNESS not in grant.roles:
            continue
        signed = [found for note in notes if (found := _cosigned(trust, office.settings.origin, note, grant))]
        last = max(signed, key=lambda item: (item.size, item.at), default=None)
        key = parse_public_key(grant.public_key)
        views.append(WitnessView(grant.person, key, grant.valid_from, grant.valid_until, last))
    return tuple(views)


def _notes(office: Office) -> Iterator[str]:
    folder = office.home / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            if path.is_file() and path.stat().st_size <= _MAX_BYTES:
                yield path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue


def _cosigned(trust: Trust, origin: str, note: str, grant: KeyGrant) -> CoSignature | None:
    key = parse_public_key(grant.public_key)
    try:
        checkpoint = verify_log_checkpoint(trust, note, origin)
    except IntegrityError:
        return None
    for line in note.partition("\n\n")[2].splitlines():
        name = line.removeprefix(f"{_DASH} ").rpartition(" ")[0]
        try:
            seconds = verify_cosignature(note, name, key)
        except IntegrityError:
            continue
        return CoSignature(name, checkpoint.size, datetime.fromtimestamp(seconds, UTC), note)
    return None
