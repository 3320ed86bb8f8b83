"""`placet ledger`: look at the log itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.render import print_pairs, print_table
from placet.cli.session import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    Session,
    add_command,
    log_keys,
    read_checkpoint,
    record_json,
    save_bytes,
)
from placet.domain.digests import short
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.attest.trust import Verified
    from placet.domain.records import Record
    from placet.ledger.store import Entry

_MAX_ENVELOPE_BYTES = 64 << 20


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="The log of everything the office did.")
    add_command(
        group,
        "show",
        show,
        "placet ledger show --kind verdict --last 5",
        "placet ledger show 16 --envelope release.json",
    )
    add_command(
        group,
        "check-proof",
        check_proof,
        'placet ledger check-proof release.tlog-proof release.json --log "placet.dev/acme+1c2d3e4f+AZ…"',
    )
    add_command(group, "rebuild", rebuild, "placet ledger rebuild")
    add_command(group, "checkpoint", checkpoint, "placet ledger checkpoint > ledger-today.checkpoint")
    add_command(group, "proof", proof, "placet ledger proof 16 > release.tlog-proof")
    add_command(group, "key", key, "placet ledger key")
    add_command(group, "update", update, "placet ledger update --old 120 > update.txt")
    add_command(
        group,
        "migrate",
        migrate,
        "placet ledger migrate --to 'host=db.example.org dbname=placet user=placet'",
        "placet ledger migrate --to folder",
    )
    app.add_typer(group, name="ledger")


def show(
    record: Annotated[
        str | None,
        typer.Argument(
            metavar="RECORD",
            help="A record's index or the start of its id; without it, all of them.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="Only records of this kind, such as verdict.")
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", min=1, help="Only the newest so many.")
    ] = None,
    envelope: Annotated[
        Path | None,
        typer.Option(
            "--envelope",
            metavar="FILE",
            help="Write the record's bytes there as they were signed: what `placet ledger check-proof` takes.",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show the ledger's records, each verified before it is shown."""
    session = Session(home, json)
    if envelope is not None and record is None:
        raise UsageError(
            "--envelope writes one record", hint="name it: `placet ledger show 16 --envelope FILE`"
        )
    found = session.office().reader().everything()
    if record is not None:
        found = tuple(item for item in found if _is(item, record))
        if len(found) != 1:
            what = "no record is" if not found else f"{len(found)} records are"
            raise UsageError(f"{what} named {record!r}", hint="`placet ledger show` lists them")
    if kind is not None:
        found = tuple(item for item in found if _kind(item) == _known_kind(kind))
    if last is not None:
        found = found[-last:]
    if envelope is not None and found:
        save_bytes(envelope, _bytes(found[0]))

    def show_rows(console: Console) -> None:
        if record is not None:
            console.print_json(data=_json(found[0]))
            return
        rows = ((item.index, _kind(item), _about(item), _person(item), short(_id(item))) for item in found)
        print_table(console, ("index", "kind", "about", "signed by", "record"), rows)

    session.result(_json(found[0]) if record is not None else [_json(item) for item in found], show_rows)


def rebuild(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Make the ledger's index tables again from the signed records."""
    session = Session(home, json)
    count = session.office().store.rebuild()
    session.result({"records": count}, lambda console: console.print(f"index of {count} records made again"))


def checkpoint(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Print the newest signed checkpoint, to be kept where the office cannot change it."""
    session = Session(home, json)
    office = session.office()
    head = office.reader().head()
    note = office.store.latest_checkpoint() or ""
    value = {"origin": office.settings.origin, **head.to_json(), "note": note}
    session.result(value, lambda console: console.print(note, end="", soft_wrap=True))


def proof(
    record: Annotated[str, typer.Argument(metavar="RECORD", help="A record's index or the start of its id.")],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Print the proof that a record is in the ledger: its path in the tree and the newest checkpoint (C2SP tlog-proof).

    Whoever has the record's bytes, the proof and the ledger's key can check it offline: `placet ledger check-proof`.
    """
    from placet.ledger.proof import ProofFile, dump_proof

    session = Session(home, json)
    office = session.office()
    found = [item for item in office.reader().everything() if _is(item, record)]
    if len(found) != 1:
        raise UsageError(f"{len(found)} records are named {record!r}", hint="`placet ledger show` lists them")
    with office.store.reading():
        head, note = office.reader().head(), office.store.latest_checkpoint() or ""
        (path,) = office.store.inclusion_proofs([found[0].index], head.size)
    text = dump_proof(ProofFile(found[0].index, path, note))
    session.result(
        {"index": found[0].index, "proof": text},
        lambda console: console.print(text, end="", soft_wrap=True),
    )


def check_proof(
    proof: Annotated[Path, typer.Argument(metavar="PROOF", help="What `placet ledger proof` printed.")],
    envelope: Annotated[
        Path,
        typer.Argument(
            metavar="ENVELOPE", help="The record's bytes (`placet ledger show RECORD --envelope FILE`)."
        ),
    ],
    log: Annotated[
        list[str],
        typer.Option(
            "--log",
            metavar="KEY",
            help="The ledger's verifier key (`placet ledger key`), got from a person you trust; repeatable.",
        ),
    ],
    witness: Annotated[
        str | None,
        typer.Option(
            "--witness",
            metavar="KEY",
            help="The proof's checkpoint must be co-signed by this witness, too (`placet witness show`).",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check offline that a record is in a ledger: these bytes, under a checkpoint that the ledger's key signed.

    Needs no office. It says nothing about who signed the record and whether they might: of a release, `placet verify`
    does. Exit code 1: the proof does not hold.
    """
    from placet.attest.envelope import parse_envelope
    from placet.ledger.derived import derive
    from placet.ledger.proof import verify_offline

    session = Session(json=json)
    text, raw = read_checkpoint(proof), _read_envelope(envelope)
    index, seen = verify_offline(text, raw, log_keys(log), witness)
    said, record_id = derive(index, raw), parse_envelope(raw).record_id
    value = {
        "index": index,
        "id": record_id,
        "predicateType": said.predicate_type,
        "keyId": said.key_id,
        "origin": seen.origin,
        **seen.head.to_json(),
        "witness": witness,
    }

    def show_pairs(console: Console) -> None:
        pairs = [
            ("record", f"{index}, {record_id}"),
            ("says it is", said.predicate_type),
            ("says it is signed by", f"{said.key_id} (not checked here)"),
            ("is in the ledger", f"{seen.origin}, as of {seen.size} records, root {seen.root.hex()}"),
        ]
        print_pairs(console, pairs)

    session.result(value, show_pairs)


def key(home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Print the verifier key of each key that may sign the ledger's checkpoints: what a witness has to be given."""
    from placet.attest.keys import parse_public_key
    from placet.attest.predicates import Role
    from placet.ledger.witness import log_key

    session = Session(home, json)
    office = session.office()
    grants = office.reader().trust.roles.grants
    keys = [
        str(log_key(office.settings.origin, parse_public_key(grant.public_key)))
        for grant in grants
        if Role.LOG in grant.roles and grant.valid_until is None
    ]
    session.result(keys, lambda console: console.print("\n".join(keys), soft_wrap=True))


def update(
    old: Annotated[
        int,
        typer.Option("--old", metavar="SIZE", min=0, help="How many records the witness saw last (0: none)."),
    ] = 0,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Print what a witness that cannot read the office needs: the newest checkpoint and a consistency proof."""
    from placet.ledger.witness import dump_update, make_update

    session = Session(home, json)
    text = dump_update(make_update(session.office().store, old))
    session.result({"update": text}, lambda console: console.print(text, end="", soft_wrap=True))


def migrate(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="WHERE",
            help="A PostgreSQL database as libpq names it, without a password in it, or the word folder.",
        ),
    ],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Move the log to a PostgreSQL database, or back into the office's folder: the same records and checkpoints.

    The log is audited first. A password belongs into $PGPASSWORD or libpq's password file: one in WHERE is refused.
    """
    from placet.office import migrate_ledger

    session = Session(home, json)
    office = migrate_ledger(session.office(), None if to == "folder" else to)
    head = office.reader().head()
    where = "the office's folder" if office.settings.postgres is None else "the database"
    session.result(
        {"postgres": office.settings.postgres, **head.to_json()},
        lambda console: console.print(f"the log is in {where} now: {head.size} records, root {head.root}"),
    )


def _is(item: Verified[Record] | Entry, text: str) -> bool:
    if text.isdecimal() and len(text) < 8:
        return item.index == int(text)
    wanted = text.removeprefix("sha256:")
    return len(wanted) >= 8 and short(_id(item), 64).startswith(wanted)


def _known_kind(text: str) -> str:
    from placet.attest.predicates import Kind

    kinds = [kind.value for kind in Kind]
    if text not in kinds:
        raise UsageError(f"{text!r} is no kind of record", hint="kinds: " + ", ".join(kinds))
    return text


def _bytes(item: Verified[Record] | Entry) -> bytes:
    from placet.ledger.store import Entry

    return item.envelope if isinstance(item, Entry) else item.envelope.raw


def _read_envelope(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_ENVELOPE_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", hint="`placet ledger show RECORD --envelope FILE` writes it"
        ) from error
    if len(raw) > _MAX_ENVELOPE_BYTES:
        raise UsageError(f"{path} is too large for a record", hint="name a file of `--envelope`")
    return raw


def _id(item: Verified[Record] | Entry) -> str:
    from placet.ledger.store import Entry

    return item.record_id if isinstance(item, Entry) else item.id


def _kind(item: Verified[Record] | Entry) -> str:
    from placet.ledger.store import Entry

    return "unknown" if isinstance(item, Entry) else item.kind.value


def _person(item: Verified[Record] | Entry) -> str:
    from placet.ledger.store import Entry

    return "not verified" if isinstance(item, Entry) else item.person


def _about(item: Verified[Record] | Entry) -> str:
    from placet.ledger.store import Entry

    if isinstance(item, Entry):
        return "a type not known here: kept, not trusted"
    return ", ".join(subject.name for subject in item.statement.subjects)


def _json(item: Verified[Record] | Entry) -> dict[str, Any]:
    from placet.ledger.store import Entry

    if isinstance(item, Entry):
        return {"id": item.record_id, "index": item.index, "kind": "unknown", "verified": False}
    return {**record_json(item), "verified": True}
