"""`placet keys`: the keys that work on this machine. What each may sign is `placet trust`'s."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from placet.cli.completion import complete_key
from placet.cli.render import print_pairs, print_table
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command, save_text
from placet.domain.digests import short
from placet.domain.errors import KeyAccessError, UsageError

if TYPE_CHECKING:
    from placet.attest.keyfiles import KeyFolder
    from placet.attest.keys import PublicKey

NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the key's file.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the key's file.", autocompletion=complete_key)
]


class Kind(StrEnum):
    """The kinds of key."""

    ED25519 = "ed25519"
    P256 = "p256"


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="The keys that work on this machine.")
    add_command(group, "new", new, "placet keys new cleo")
    add_command(group, "link", link, "placet keys link cleo 'hsm:2?label=YubiKey+PIV'")
    add_command(group, "list", list_keys, "placet keys list")
    add_command(group, "export", export, "placet keys export ada --out ada.pub")
    add_command(group, "remember", remember, "placet keys remember ada")
    add_command(group, "forget", forget, "placet keys forget ada")
    app.add_typer(group, name="keys")


def new(
    name: NewNameArgument,
    kind: Annotated[
        Kind,
        typer.Option(
            "--kind", help="Ed25519 signs records; P-256 signs released files, and records where need be."
        ),
    ] = Kind.ED25519,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Make a key, kept here in an encrypted file. It may sign nothing until `placet trust add` grants it a role.

    Its passphrase is asked for, or comes from PLACET_PASSPHRASE_NAME (with the key's own name in capitals) or
    PLACET_PASSPHRASE.
    """
    from placet.attest.keyfiles import passphrase_for, require_name
    from placet.attest.keys import KeyKind, new_signer

    session = Session(home, json)
    keys = session.office().keys
    require_name(name)
    if keys.holds(name):
        raise KeyAccessError(
            f"{name}.pem exists already", hint="a key is never overwritten; choose another name"
        )
    signer = new_signer(KeyKind(kind.value))
    keys.add(name, signer, passphrase_for(name, session.asker()))
    _show_one(session, keys, name)


def link(
    name: NewNameArgument,
    uri: Annotated[
        str,
        typer.Argument(
            metavar="URI",
            help="hsm:KEYID?label=TOKEN, or awskms:, gcpkms:, azurekms:, hv: with the key's name.",
        ),
    ],
    public: Annotated[
        Path | None,
        typer.Option("--public", metavar="FILE", help="The public key (PEM); a token tells it by itself."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Name a key that a hardware token or a key service holds, so that it can sign like the others.

    For a token, PYKCS11LIB names its PKCS#11 module; its PIN is asked for like a passphrase. Needs placet[hsm].
    """
    from placet.attest.keyfiles import passphrase_for
    from placet.attest.remote import read_public_key

    session = Session(home, json)
    keys = session.office().keys
    if public is not None:
        key = read_public(public)
    else:
        key = read_public_key(uri, lambda: passphrase_for(name, session.asker()))
    keys.add_uri(name, uri, key)
    _show_one(session, keys, name)


def list_keys(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the keys here. `placet trust show` tells what each may sign."""
    session = Session(home, json)
    keys = session.office().keys
    found = [(name, keys.public(name), keys.where(name)) for name in keys.names() if keys.has_public(name)]

    def show(console: Console) -> None:
        rows = ((name, str(key.kind), where, short(key.key_id)) for name, key, where in found)
        print_table(console, ("name", "kind", "where", "key"), rows)

    session.result([_key_json(name, key, where) for name, key, where in found], show)


def export(
    name: NameArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead of to stdout.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Print a public key, to hand it to another office or to a verifier."""
    session = Session(home, json)
    key = session.office().keys.public(name)
    if out is not None:
        save_text(out, key.pem)
    session.result(
        {"name": name, "keyId": key.key_id, "publicKey": key.pem},
        lambda console: console.print(
            f"wrote {out}" if out else key.pem, end="\n" if out else "", soft_wrap=True
        ),
    )


def remember(name: NameArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Put a key's passphrase into the system's keyring, after trying it. Needs placet[keyring]."""
    from placet.attest.keyfiles import load_signer, passphrase_for
    from placet.attest.keyfiles import remember as keep

    session = Session(home, json)
    keys = session.office().keys
    key_id, passphrase = keys.public(name).key_id, passphrase_for(name, session.asker())
    if keys.file(name).exists():
        load_signer(keys.file(name), passphrase)
    keep(key_id, passphrase)
    session.result(
        {"name": name, "remembered": True}, lambda console: console.print(f"{name}: kept in the keyring")
    )


def forget(name: NameArgument, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Take a key's passphrase out of the system's keyring."""
    from placet.attest.keyfiles import forget as drop

    session = Session(home, json)
    drop(session.office().keys.public(name).key_id)
    session.result(
        {"name": name, "remembered": False},
        lambda console: console.print(f"{name}: no longer in the keyring"),
    )


def read_public(path: Path) -> PublicKey:
    """Return the public key in a file.

    Raises:
        UsageError: It cannot be read.
        IntegrityError: It holds no key that can be used.
    """
    from placet.attest.keys import parse_public_key

    try:
        return parse_public_key(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read", hint="name a public key file, such as `placet keys export` writes"
        ) from error


def _show_one(session: Session, keys: KeyFolder, name: str) -> None:
    key, where = keys.public(name), keys.where(name)
    pairs = [("name", name), ("kind", str(key.kind)), ("where", where), ("key", key.key_id)]
    session.result(_key_json(name, key, where), lambda console: print_pairs(console, pairs))
    session.say(f"It may sign nothing yet: `placet trust add {name} --person … --role …`")


def _key_json(name: str, key: PublicKey, where: str) -> dict[str, str]:
    return {"name": name, "kind": str(key.kind), "where": where, "keyId": key.key_id}
