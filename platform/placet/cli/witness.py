"""`placet witness`: watch a ledger from elsewhere, and co-sign what only grows."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.render import print_pairs
from placet.cli.session import JsonOption, Session, add_command, log_keys, make_console, read_checkpoint
from placet.domain.errors import Error, UsageError

if TYPE_CHECKING:
    from placet.ledger.witness import Update, Witness

FolderArgument = Annotated[
    Path, typer.Argument(metavar="MEMORY", help="The witness's own folder, where the office cannot write.")
]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(
        no_args_is_help=True, help="A witness elsewhere: co-signs a ledger's checkpoints while it only grows."
    )
    add_command(
        group,
        "init",
        init,
        'placet witness init /srv/witness --name witness.example.org --log "$(placet ledger key)"',
        'placet witness init /srv/w2 --name w2.example.org --log "placet.dev/acme+1c2d3e4f+AZ…" --from last.checkpoint',
    )
    add_command(
        group, "rekey", rekey, 'placet witness rekey /srv/witness --log "placet.dev/acme+1c2d3e4f+AZ…"'
    )
    add_command(
        group,
        "run",
        run,
        "placet witness run /srv/witness --office /srv/office --every 600",
        "placet witness run /srv/witness --update update.txt > co-signed.checkpoint",
    )
    add_command(group, "show", show, "placet witness show /srv/witness")
    app.add_typer(group, name="witness")


def init(
    memory: FolderArgument,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Its name in signatures, such as a host's.")
    ],
    log: Annotated[
        list[str],
        typer.Option(
            "--log", metavar="KEY", help="Verifier key of a log to watch (`placet ledger key`); repeatable."
        ),
    ],
    begin: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Begin at this checkpoint, such as the last one of an earlier witness; one for a ledger.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a witness: its own key, and the ledgers it watches.

    Of a ledger without --from it believes the first checkpoint that it is shown. Run it as another user, best on
    another machine. Its key's passphrase comes from $PLACET_PASSPHRASE_WITNESS, $PLACET_PASSPHRASE or a prompt.
    """
    from placet.attest.keyfiles import passphrase_for
    from placet.ledger.witness import KEY_NAME, Witness
    from placet.office import utc_now

    session = Session(json=json)
    notes = [read_checkpoint(path) for path in begin or ()]
    passphrase = passphrase_for(KEY_NAME, session.asker())
    witness = Witness.create(memory, name, log_keys(log), passphrase, utc_now, begin=notes)
    session.result(_json(witness), lambda console: _show(console, witness))


def rekey(
    memory: FolderArgument,
    log: Annotated[
        list[str],
        typer.Option(
            "--log",
            metavar="KEY",
            help="A verifier key that the log has now (`placet ledger key`); repeatable.",
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Go on with a ledger whose key was changed: from now on only these keys of it are believed.

    What was seen of the ledger stays remembered, so that the log under the new key has to continue it.
    """
    from placet.ledger.witness import Witness
    from placet.office import utc_now

    session = Session(json=json)
    witness = Witness.open(memory, None, utc_now)
    witness.rekey(log_keys(log))
    session.result(_json(witness), lambda console: _show(console, witness))


def run(
    memory: FolderArgument,
    office: Annotated[
        Path | None,
        typer.Option("--office", metavar="FOLDER", help="Read the ledger of the office in this folder."),
    ] = None,
    update: Annotated[
        Path | None,
        typer.Option("--update", metavar="FILE", help="Take what `placet ledger update` printed instead."),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option("--every", metavar="SECONDS", min=1, help="Go on, and look again so often."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check that the ledger continues what was seen before, co-sign it, and print the co-signed checkpoint.

    Exit code 1: it does not; both checkpoints are kept in the memory's folder refused/ as evidence.
    """
    from placet.attest.keyfiles import passphrase_for
    from placet.ledger.witness import KEY_NAME, Witness, open_key
    from placet.office import utc_now

    if (office is None) == (update is None) or (update is not None and every is not None):
        raise UsageError(
            "name what to look at: an office's folder, or one update",
            hint="--office FOLDER [--every SECONDS], or --update FILE",
        )
    session = Session(json=json)
    Witness.open(memory, None, utc_now)
    signer = open_key(memory, passphrase_for(KEY_NAME, session.asker()))
    while True:
        try:
            # Opened each time: its settings may have been changed meanwhile.
            witness = Witness.open(memory, signer, utc_now)
            note = witness.add(_read(update) if update is not None else _look(witness, office or Path()))
            value = {"origin": note.partition("\n")[0], "size": int(note.split("\n")[1]), "note": note}
            session.result(value, partial(_print_note, note))
        except Error as error:
            from placet.ledger.witness import ConflictError

            if every is None or isinstance(error, ConflictError):
                raise
            # The office is busy, or its disk is not there just now: the next look may find it.
            make_console(stderr=True).print(f"not seen: {error}", soft_wrap=True)
        if every is None:
            return
        time.sleep(every)


def show(memory: FolderArgument, json: JsonOption = False) -> None:
    """Show a witness's key, and what it saw last of each ledger."""
    from placet.ledger.witness import Witness
    from placet.office import utc_now

    session = Session(json=json)
    witness = Witness.open(memory, None, utc_now)
    session.result(_json(witness), lambda console: _show(console, witness))


def _look(witness: Witness, home: Path) -> Update:
    from placet.ledger.witness import make_update
    from placet.office import Office

    office = Office.open(home)
    seen = witness.remembered(office.settings.origin)
    return make_update(office.store, seen.size if seen else 0)


def _read(path: Path) -> Update:
    from placet.ledger.witness import parse_update

    try:
        return parse_update(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read", hint="`placet ledger update --old SIZE` prints it"
        ) from error


def _print_note(note: str, console: Console) -> None:
    console.print(note, end="", soft_wrap=True)


def _json(witness: Witness) -> dict[str, Any]:
    seen = {origin: witness.remembered(origin) for origin in witness.settings.logs}
    logs = {
        origin: None if item is None else {**item.head.to_json(), "note": item.note}
        for origin, item in seen.items()
    }
    return {"name": witness.settings.name, "key": str(witness.key), "logs": logs}


def _show(console: Console, witness: Witness) -> None:
    value = _json(witness)
    seen = [
        (origin, "nothing yet" if item is None else f"{item['size']} records, root {item['root']}")
        for origin, item in value["logs"].items()
    ]
    print_pairs(console, [("witness", value["name"]), ("key", value["key"]), *seen])
