"""`placet trust propose | sign | install`: a new version of the root, signed by its holders where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.completion import complete_key
from placet.cli.render import print_pairs
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command, save_text
from placet.cli.trust_words import DaysOption, HolderOption, NewThresholdOption, next_holders, show_root
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.attest.keys import Signer
    from placet.attest.root import RootVersion
    from placet.attest.root_proposal import RootProposal
    from placet.domain.digests import Digest

ProposalArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The proposal's file.")]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    add_command(
        group,
        "propose",
        propose,
        "placet trust propose root-2.json --days 730",
        'placet trust propose root-2.json --holder ada.pub="Ada Lovelace" --holder cy.pub="Cy Coe" --threshold 2',
    )
    add_command(group, "sign", sign, "placet trust sign root-2.json --key root-ada --pin sha256:…")
    add_command(group, "install", install, "placet trust install root-2-ada.json root-2-ben.json")


def propose(
    file: ProposalArgument,
    holder: HolderOption = [],  # noqa: B006 - typer copies it
    threshold: NewThresholdOption = None,
    days: DaysOption = 730,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Write a new version of the trust root to a file, for its holders to sign where their keys are.

    As `placet trust root`, with no key here: nothing is changed until `placet trust install`. The roles may not change
    in between. Without --holder the holders stay.
    """
    from placet.office import propose_root

    session = Session(home, json)
    if file.exists():
        raise UsageError(f"{file} is there already", hint="name a new file")
    office = session.office()
    proposal = propose_root(office, *next_holders(office, holder, threshold), days)
    save_text(file, proposal.raw.decode())
    _show(session, proposal, file)


def sign(
    file: ProposalArgument,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="KEY",
            help="The root key to sign with: its name here, or its file.",
            autocompletion=complete_key,
        ),
    ],
    pin: Annotated[
        str | None,
        typer.Option(
            "--pin",
            metavar="DIGEST",
            help="The pin that you hold of the root. An office here has one of its own.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write a copy there; without it FILE is signed."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Sign a proposed version of the trust root with a root key of the old or of the new version.

    Read what is shown before you enter the passphrase, and compare the digest with the other holders. No office is
    needed on this machine, only the key and the pin.
    """
    from placet.attest.root_proposal import sign_proposal

    session = Session(home, json)
    proposal = _read(file, _pin(session, pin))
    for line in _words(proposal):
        session.say(line)
    signed = sign_proposal(proposal, _signer(session, key))
    save_text(out or file, signed.raw.decode())
    _show(session, signed, out or file)


def install(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="The proposal's file, or signed copies of it.")
    ],
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Put the signatures of copies of a proposal together and continue the trust root by it.

    Enough holders of the old and of the new version have to have signed. No root key is needed here. The new version
    goes into the log, so that every machine of the office follows it from the version that it has.
    """
    from placet.attest.root_proposal import combine
    from placet.office import install_root

    session = Session(home, json)
    office = session.office()
    proposal = combine([_read(file, office.settings.root_pin) for file in files])
    show_root(session, install_root(office, proposal))


def _read(file: Path, pin: Digest | None) -> RootProposal:
    from placet.attest.root_proposal import parse_proposal

    try:
        raw = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint="name a proposal's file") from error
    return parse_proposal(raw, pin)


def _pin(session: Session, given: str | None) -> Digest:
    from placet.domain.digests import parse_digest

    if given is not None:
        return parse_digest(given)
    if not (session.home / "office.json").exists():
        raise UsageError(
            "without an office here, what the proposal continues has to be checked against the pin that you hold",
            hint="--pin sha256:… (any version's), as it was handed to you when the root was made",
        )
    return session.office().settings.root_pin


def _signer(session: Session, key: str) -> Signer:
    from placet.attest.keyfiles import KeyFolder, load_signer, passphrase_for

    keys = KeyFolder(session.home / "keys")
    if not keys.holds(key) and Path(key).is_file():
        return load_signer(Path(key), passphrase_for(Path(key).stem, session.asker()))
    return keys.signer(key, session.asker())


def _show(session: Session, proposal: RootProposal, file: Path) -> None:
    def show(console: Console) -> None:
        print_pairs(console, _pairs(proposal, file))

    session.result(_json(proposal, file), show)


def _words(proposal: RootProposal) -> list[str]:
    return [f"{name}: {value}" for name, value in _pairs(proposal, None) if value]


def _pairs(proposal: RootProposal, file: Path | None) -> list[tuple[str, Any]]:
    version, old = proposal.version, proposal.root.current
    lacking = [
        f"{count} more of {' or '.join(people)} for version {judge.version}"
        for judge, count, people in proposal.lacking()
    ]
    return [
        ("file", file),
        ("office", version.office),
        ("version", f"{version.version}, good until {version.expires:%Y-%m-%d}"),
        ("holders", _holders(version)),
        ("holders until now", _holders(old)),
        ("takes effect", f"from ledger record {version.valid_from} on"),
        ("continues", proposal.root.pin),
        ("digest of what is signed", proposal.digest),
        ("signed by", ", ".join(sorted({item.person for item in proposal.signers})) or "nobody yet"),
        ("still needed", "; ".join(lacking) or "nothing: `placet trust install`"),
    ]


def _holders(version: RootVersion) -> str:
    return f"{version.threshold} of: {', '.join(sorted({item.person for item in version.keys}))}"


def _json(proposal: RootProposal, file: Path) -> dict[str, Any]:
    version = proposal.version
    return {
        "file": str(file),
        "office": version.office,
        "version": version.version,
        "expires": f"{version.expires:%Y-%m-%dT%H:%M:%SZ}",
        "threshold": version.threshold,
        "holders": [{"person": item.person, "keyId": item.key.key_id} for item in version.keys],
        "validFrom": version.valid_from,
        "continues": proposal.root.pin,
        "digest": proposal.digest,
        "signedBy": sorted({item.person for item in proposal.signers}),
        "lacking": [
            {"version": judge.version, "signatures": count, "people": list(people)}
            for judge, count, people in proposal.lacking()
        ],
    }
