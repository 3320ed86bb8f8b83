"""`placet trust`: the root of trust, and which key may sign what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli import trust_proposal
from placet.cli.completion import complete_key
from placet.cli.init import show_office
from placet.cli.render import print_pairs, print_table
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command
from placet.cli.trust_words import (
    DaysOption,
    HolderOption,
    NewThresholdOption,
    ThresholdOption,
    name_and_person,
    next_holders,
    public_key,
    root_json,
    root_pairs,
    show_root,
)
from placet.domain.digests import short
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.attest.predicates import Role
    from placet.office import KeyInfo, Office, TrustDesk

ROLES_HELP = "trainer, submitter, evaluator, approver, releaser, log, witness."
KeyArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="Name of a key here, or a public key's file.", autocompletion=complete_key
    ),
]
HeldArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY", help="Name of a key here, or the start of a key's id.", autocompletion=complete_key
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="The root of trust, and which key may sign what.")
    add_command(
        group,
        "init",
        init,
        'placet trust init --name "ACME models" --holder root-ada="Ada Lovelace" --holder root-ben="Ben Bo" '
        "--threshold 2",
    )
    add_command(
        group,
        "add",
        add,
        'placet trust add cleo --new --person "Cleo Cole" --role approver --role releaser',
        'placet trust add dana.pub --person "Dana Dorn" --role approver',
    )
    add_command(group, "rotate", rotate, "placet trust rotate ada ada-2", "placet trust rotate log log-2")
    add_command(group, "revoke", revoke, "placet trust revoke ada")
    add_command(
        group,
        "root",
        root,
        "placet trust root --days 730",
        'placet trust root --holder root="Ada Lovelace" --holder cy.pub="Cy Coe" --threshold 1',
    )
    trust_proposal.register(group)
    add_command(group, "show", show, "placet trust show")
    app.add_typer(group, name="trust")


def init(
    name: Annotated[
        str, typer.Option("--name", metavar="TEXT", help="The office's name, as records carry it.")
    ],
    holder: HolderOption,
    threshold: ThresholdOption = 1,
    days: DaysOption = 730,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Make an office whose trust root several people hold: as `placet init`, with a key made here for each.

    Of each change of the roles or of the root, as many people as --threshold says have to sign. Take their keys off the
    machine afterwards.
    """
    from placet.office import create_office

    session = Session(home, json)
    holders = [name_and_person(text) for text in holder]
    made = create_office(
        home, name, ask=session.asker(), holders=holders, threshold=threshold, root_days=days
    )
    show_office(session, made)


def add(
    key: KeyArgument,
    person: Annotated[str, typer.Option("--person", metavar="TEXT", help="Whose key it is.")],
    role: Annotated[
        list[str],
        typer.Option(
            "--role",
            metavar="ROLE",
            help=f"What the key may sign as; repeat it for several: {ROLES_HELP}",
        ),
    ],
    new: Annotated[
        bool, typer.Option("--new", help="Make the key here first: `placet keys new` in one go.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Grant roles to a person's key from now on. Enough holders of the root sign it, with their keys here."""
    session = Session(home, json)
    roles = _roles(role)
    office = session.office()
    desk = _desk(office)
    info = desk.new_key(key, person, roles) if new else desk.grant(public_key(office, key), person, roles)
    session.result(_grant_json(info), lambda console: print_pairs(console, _grant_pairs(info)))


def rotate(
    key: HeldArgument,
    new: Annotated[
        str,
        typer.Argument(metavar="NEW", help="The key that takes over: a name here, or a public key's file."),
    ],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Let a new key take over all roles of another, from one ledger index to the next.

    For the log's and the evaluator's keys, too. A root key is changed by `placet trust root`.
    """
    session = Session(home, json)
    office = session.office()
    infos = _desk(office).rotate_key(_key_id(office, key), public_key(office, new))

    def show_all(console: Console) -> None:
        for info in infos:
            print_pairs(console, _grant_pairs(info))

    session.result([_grant_json(info) for info in infos], show_all)


def revoke(key: HeldArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """End every role of a key from now on; what it signed before stays valid."""
    session = Session(home, json)
    office = session.office()
    key_id = _key_id(office, key)
    ended = _desk(office).end_grants(key_id)
    session.result(
        {"keyId": key_id, "ended": ended},
        lambda console: console.print(f"{ended} grant(s) of key {short(key_id)} ended.", soft_wrap=True),
    )


def root(
    holder: HolderOption = [],  # noqa: B006 - typer copies it
    threshold: NewThresholdOption = None,
    days: DaysOption = 730,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Continue the trust root by a new version: other holders, another threshold, or the same for longer.

    Enough holders of the old and of the new version sign it, with their keys here; where they are elsewhere, see
    `placet trust propose`. Whoever pinned any older version
    can follow. A holder is named by a key here or by a public key's file; without --holder they stay.
    """
    session = Session(home, json)
    office = session.office()
    _desk(office).change_root(*next_holders(office, holder, threshold), days)
    show_root(session, office.root)


def show(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show the trust root and every key with its person, its roles and the ledger records they hold for."""
    session = Session(home, json)
    office = session.office()
    found, trust_root = _desk(office).list_keys(), office.root

    def show_all(console: Console) -> None:
        rows = (
            (info.file or "–", info.person, ", ".join(info.roles), _range(info), short(info.key_id))
            for info in found
        )
        print_table(console, ("name", "person", "roles", "holds for records", "key"), rows)
        print_pairs(console, root_pairs(trust_root))

    session.result({**root_json(trust_root), "keys": [_grant_json(info) for info in found]}, show_all)


def _roles(names: list[str]) -> tuple[Role, ...]:
    from placet.attest.predicates import Role

    known = {role.value: role for role in Role if role is not Role.ROOT}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is not a role that is granted", hint="roles: " + ", ".join(known))
    return tuple(dict.fromkeys(known[name] for name in names))


def _desk(office: Office) -> TrustDesk:
    from placet.office import TrustDesk

    return TrustDesk(office)


def _key_id(office: Office, text: str) -> str:
    text = office.name_in_force(text)
    if office.keys.holds(text):
        return office.keys.public(text).key_id
    wanted = text.removeprefix("sha256:")
    ids = {
        info.key_id
        for info in _desk(office).list_keys()
        if len(wanted) >= 4 and short(info.key_id, 64).startswith(wanted)
    }
    if len(ids) != 1:
        what = "no key is" if not ids else "several keys are"
        raise UsageError(f"{what} named {text!r}", hint="`placet trust show` shows names and ids")
    return ids.pop()


def _grant_pairs(info: KeyInfo) -> list[tuple[str, Any]]:
    return [
        ("person", info.person),
        ("roles", ", ".join(info.roles)),
        ("holds for records", _range(info)),
        ("key", info.key_id),
        ("name", info.file),
    ]


def _range(info: KeyInfo) -> str:
    return (
        f"{info.valid_from} on"
        if info.valid_until is None
        else f"{info.valid_from} to {info.valid_until - 1}"
    )


def _grant_json(info: KeyInfo) -> dict[str, Any]:
    return {
        "keyId": info.key_id,
        "name": info.file,
        "person": info.person,
        "roles": list(info.roles),
        "validFrom": info.valid_from,
        "validUntil": info.valid_until,
    }
