"""`placet keys`: people's keys and what each may sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.render import print_pairs, print_table
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command, save_text
from placet.domain.digests import short
from placet.domain.errors import KeyAccessError, UsageError

if TYPE_CHECKING:
    from placet.attest.predicates import Role
    from placet.office import KeyInfo, Office

PersonOption = Annotated[str, typer.Option("--person", metavar="TEXT", help="Whose key it is.")]
RoleOption = Annotated[
    list[str],
    typer.Option(
        "--role",
        metavar="ROLE",
        help="What the key may sign as; repeat it for several: trainer, submitter, evaluator, approver, "
        "releaser, log, witness.",
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key's file.")]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="People's keys, and what each may sign.")
    add_command(
        group, "new", new, 'placet keys new cleo --person "Cleo Cole" --role approver --role releaser'
    )
    add_command(group, "list", list_keys, "placet keys list")
    add_command(group, "grant", grant, 'placet keys grant dana.pub --person "Dana Dorn" --role approver')
    add_command(group, "end", end, "placet keys end ada")
    add_command(group, "export", export, "placet keys export ada --out ada.pub")
    app.add_typer(group, name="keys")


def new(
    name: NameArgument,
    person: PersonOption,
    role: RoleOption,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Make a key for a person and grant it roles from now on.

    The root key signs the grant. Passphrases are asked for, or come from PLACET_PASSPHRASE_NAME (with the
    key's own name in capitals) or PLACET_PASSPHRASE.
    """
    session = Session(home, json)
    roles = _roles(role)
    _show_one(session, session.office().new_key(name, person, roles))


def list_keys(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List every key with its person, its roles and the ledger records they hold for."""
    session = Session(home, json)
    office = session.office()
    found = office.list_keys()

    def show(console: Console) -> None:
        rows = (
            (info.file or "–", info.person, ", ".join(info.roles), _range(info), short(info.key_id))
            for info in found
        )
        print_table(console, ("name", "person", "roles", "holds for records", "key"), rows)
        print_pairs(console, [("pin of the trust root", office.root.pin)])

    session.result({"pin": office.root.pin, "keys": [_key_json(info) for info in found]}, show)


def grant(
    key: Annotated[Path, typer.Argument(metavar="FILE", help="The person's public key, a PEM file.")],
    person: PersonOption,
    role: RoleOption,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Grant roles to a public key whose private half lives elsewhere, from now on."""
    from placet.attest.keys import parse_public_key

    session = Session(home, json)
    roles = _roles(role)
    try:
        pem = key.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{key} cannot be read", hint="name a public key file, such as `placet keys export` writes"
        ) from error
    _show_one(session, session.office().grant(parse_public_key(pem), person, roles))


def end(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Name of the key's file, or the start of its id.")
    ],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """End every grant of a key from now on; what it signed before stays valid."""
    session = Session(home, json)
    office = session.office()
    key_id = _key_id(office, key)
    ended = office.end_grants(key_id)
    session.result(
        {"keyId": key_id, "ended": ended},
        lambda console: console.print(f"{ended} grant(s) of key {short(key_id)} ended.", soft_wrap=True),
    )


def export(
    name: NameArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead of to stdout.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Print a public key, to hand it to another office or to a verifier."""
    from placet.attest.keys import parse_public_key

    session = Session(home, json)
    path = session.office().home / "keys" / f"{name}.pem.pub"
    try:
        pem = path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeyAccessError(f"no key {name!r} here", hint="`placet keys list` names them") from error
    key_id = parse_public_key(pem).key_id
    if out is not None:
        save_text(out, pem)
    session.result(
        {"name": name, "keyId": key_id, "publicKey": pem},
        lambda console: console.print(
            f"wrote {out}" if out else pem, end="\n" if out else "", soft_wrap=True
        ),
    )


def _roles(names: list[str]) -> tuple[Role, ...]:
    from placet.attest.predicates import Role

    known = {role.value: role for role in Role if role is not Role.ROOT}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is not a role that is granted", hint="roles: " + ", ".join(known))
    return tuple(dict.fromkeys(known[name] for name in names))


def _key_id(office: Office, text: str) -> str:
    wanted = text.removeprefix("sha256:")
    ids = {
        info.key_id
        for info in office.list_keys()
        if info.file == text or (len(wanted) >= 4 and short(info.key_id, 64).startswith(wanted))
    }
    if len(ids) != 1:
        what = "no key is" if not ids else "several keys are"
        raise UsageError(f"{what} named {text!r}", hint="`placet keys list` shows names and ids")
    return ids.pop()


def _show_one(session: Session, info: KeyInfo) -> None:
    pairs = [
        ("person", info.person),
        ("roles", ", ".join(info.roles)),
        ("holds for records", _range(info)),
        ("key", info.key_id),
        ("name", info.file),
    ]
    session.result(_key_json(info), lambda console: print_pairs(console, pairs))


def _range(info: KeyInfo) -> str:
    return (
        f"{info.valid_from} on"
        if info.valid_until is None
        else f"{info.valid_from} to {info.valid_until - 1}"
    )


def _key_json(info: KeyInfo) -> dict[str, Any]:
    return {
        "keyId": info.key_id,
        "name": info.file,
        "person": info.person,
        "roles": list(info.roles),
        "validFrom": info.valid_from,
        "validUntil": info.valid_until,
    }
