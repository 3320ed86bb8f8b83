"""What the commands of `placet trust` have in common: their options, and the root in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placet.cli.keys import read_public
from placet.cli.render import print_pairs
from placet.cli.session import Session
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.attest.keys import PublicKey
    from placet.attest.root import RootKey, TrustRoot
    from placet.office import Office

HolderOption = Annotated[
    list[str],
    typer.Option(
        "--holder",
        metavar="NAME=PERSON",
        help="A holder of the root: the name of the key and whose it is; repeat it for several.",
    ),
]
_THRESHOLD = typer.Option("--threshold", metavar="N", help="How many holders have to sign.")
ThresholdOption = Annotated[int, _THRESHOLD]
NewThresholdOption = Annotated[int | None, _THRESHOLD]
DaysOption = Annotated[int, typer.Option("--days", metavar="N", help="For how many days the root is good.")]


def show_root(session: Session, trust_root: TrustRoot) -> None:
    """Give the root as the command's result."""
    session.result(root_json(trust_root), lambda console: print_pairs(console, root_pairs(trust_root)))


def root_pairs(trust_root: TrustRoot) -> list[tuple[str, Any]]:
    """Return the root as people see it."""
    current = trust_root.current
    people = sorted({item.person for item in current.keys})
    return [
        ("pin of the trust root", current.pin),
        ("version", f"{current.version}, good until {current.expires:%Y-%m-%d}"),
        ("signed by", f"{current.threshold} of: {', '.join(people)}"),
    ]


def root_json(trust_root: TrustRoot) -> dict[str, Any]:
    """Return the root as programs get it."""
    current = trust_root.current
    return {
        "office": trust_root.office,
        "pin": current.pin,
        "pins": [version.pin for version in trust_root.versions],
        "version": current.version,
        "expires": f"{current.expires:%Y-%m-%dT%H:%M:%SZ}",
        "threshold": current.threshold,
        "holders": [{"person": item.person, "keyId": item.key.key_id} for item in current.keys],
    }


def name_and_person(text: str) -> tuple[str, str]:
    """Return what ``NAME=PERSON`` says.

    Raises:
        UsageError: It is of another form.
    """
    name, separator, person = text.partition("=")
    if not (name and separator and person):
        raise UsageError(f"--holder {text!r} is not NAME=PERSON", hint='--holder root-ada="Ada Lovelace"')
    return name, person


def root_key(office: Office, text: str) -> RootKey:
    """Return the root key that ``NAME=PERSON`` names."""
    from placet.attest.root import RootKey

    name, person = name_and_person(text)
    return RootKey(public_key(office, name), person)


def next_holders(office: Office, named: list[str], threshold: int | None) -> tuple[list[RootKey], int]:
    """Return who is to hold the next version of the root, and how many have to sign: as now where nothing is said."""
    current = office.reader().trust.root.current
    holders = [root_key(office, text) for text in named] or list(current.keys)
    return holders, threshold or min(current.threshold, len(holders))


def public_key(office: Office, text: str) -> PublicKey:
    """Return the public key that `text` names: a key here, or a file."""
    return office.keys.public(text) if office.keys.holds(text) else read_public(Path(text))
