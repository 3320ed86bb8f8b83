"""What one command needs of its surroundings: the office, the person at the terminal, and where words go.

With ``--json``, stdout carries one JSON value and nothing else, whatever a library prints; words for people go
to stderr. Without it the result is printed for people on stdout, and what merely accompanies it on stderr.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from placet.cli.completion import complete_adapter, complete_key
from placet.domain.errors import KeyAccessError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from placet.attest.keys import Signer
    from placet.attest.trust import Verified
    from placet.domain.digests import Digest
    from placet.domain.progress import Progress
    from placet.domain.records import Record, Submission
    from placet.ledger.reader import LedgerReader
    from placet.office import Office

HOME_VARIABLE, KEY_VARIABLE, WAIT_VARIABLE = "PLACET_HOME", "PLACET_KEY", "PLACET_WAIT_S"
DEFAULT_HOME = Path("office")
MAX_NOTE_CHARACTERS = 1 << 20
_NEW_PASSPHRASE_TRIES = 3

HomeOption = Annotated[
    Path, typer.Option("--home", envvar=HOME_VARIABLE, metavar="FOLDER", help="The office's folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
KeyOption = Annotated[
    str,
    typer.Option(
        "--key",
        envvar=KEY_VARIABLE,
        metavar="NAME",
        help="Your key: the name of its file.",
        autocompletion=complete_key,
    ),
]
AdapterArgument = Annotated[
    str,
    typer.Argument(
        metavar="ADAPTER",
        help="Label of the adapter, or the start of its id.",
        autocompletion=complete_adapter,
    ),
]

_json_out: ContextVar[TextIO | None] = ContextVar("placet_json_out", default=None)


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Keep stdout for :func:`write_json`: whatever else is printed meanwhile goes to stderr."""
    token = _json_out.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _json_out.reset(token)


def write_json(value: Any) -> None:
    """Write one JSON value to the real stdout."""
    out = _json_out.get() or sys.stdout
    out.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
    out.flush()


def make_console(*, stderr: bool = False) -> Console:
    """Return the console that people read; see :func:`placet.cli.console.make_console`."""
    from placet.cli.console import make_console as made

    return made(stderr=stderr)


def add_command(group: typer.Typer, name: str, function: Callable[..., None], *examples: str) -> None:
    """Add `function` as a command whose help is its docstring, ended by an Example section."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    group.command(name, help=text, epilog="\n".join(("Example:", *examples)))(function)


@dataclass
class Session:
    """One command's surroundings.

    Args:
        home: The office's folder.
        json: The result is wanted as JSON.
    """

    home: Path = DEFAULT_HOME
    json: bool = False

    def result(self, value: Any, show: Callable[[Console], None]) -> None:
        """Give the command's result: `value` as JSON, or what `show` prints for people."""
        if self.json:
            write_json(value)
        else:
            show(make_console())

    def say(self, text: str) -> None:
        """Tell the person something that is not the result."""
        make_console(stderr=True).print(text, soft_wrap=True)

    def office(self) -> Office:
        """Open the office.

        Raises:
            UsageError: There is none here.
        """
        from placet.office import Office

        return Office.open(self.home, ask=self.asker(), wait_s=wait_s())

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show progress on stderr while the block runs."""
        from placet.cli.progress import terminal_progress

        with terminal_progress(make_console(stderr=True)) as progress:
            yield progress

    def asker(self) -> Callable[[str], str] | None:
        """Return what asks for passphrases, or None when nobody is at a terminal to be asked."""
        return self.ask if sys.stdin.isatty() and sys.stderr.isatty() else None

    def ask(self, key_name: str) -> str:
        """Ask for the passphrase of `key_name`; twice if the key is yet to be made.

        Raises:
            KeyAccessError: No answer, or two that differ.
        """
        if any((self.home / "keys" / f"{key_name}.{end}").exists() for end in ("pem", "uri")):
            return _hidden(f"Passphrase of key {key_name}: ")
        for _ in range(_NEW_PASSPHRASE_TRIES):
            passphrase = _hidden(f"New passphrase for key {key_name}: ")
            if passphrase == _hidden("The same once more: "):
                return passphrase
            self.say("They differ. Try again.")
        raise KeyAccessError(
            f"no passphrase for key {key_name}: the two differed each time",
            hint="run it again; nothing was made yet for this key",
        )


def service_keys(office: Office) -> None:
    """Open the office's own keys now, so that a long run never stops in the middle to ask for a passphrase."""
    from placet.office import EVALUATOR_KEY, LOG_KEY

    office.signer(LOG_KEY)
    office.signer(EVALUATOR_KEY)


def person_signer(office: Office, key_name: str) -> Signer:
    """Open a person's key and the log's, each asked for before any work begins."""
    from placet.office import LOG_KEY

    signer = office.signer(key_name)
    office.signer(LOG_KEY)
    return signer


def find_adapter(reader: LedgerReader, text: str) -> Verified[Submission]:
    """Return the newest submission of the adapter that `text` names by label or the start of its id.

    Raises:
        UsageError: None is named so, or several are.
    """
    from placet.pipeline.submission import find_adapter as find

    return find(reader, text)


def parse_pin(text: str) -> Digest:
    """Return the digest that ``--pin`` was given.

    Raises:
        UsageError: It is none.
    """
    from placet.domain.digests import parse_digest
    from placet.domain.errors import Error

    try:
        return parse_digest(text)
    except Error as error:
        raise UsageError(f"--pin: {error.message}", hint=error.hint) from error


def log_keys(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the verifier keys in what ``--log`` was given: `placet ledger key` prints one in a line."""
    return tuple(line.strip() for text in texts for line in text.split("\n") if line.strip())


def read_checkpoint(path: Path) -> str:
    """Return the text of a checkpoint, or of a proof or another small note.

    Raises:
        UsageError: It cannot be read, or is too large to be one.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            text = stream.read(MAX_NOTE_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read", hint="name a file that holds what Placet printed"
        ) from error
    if len(text) > MAX_NOTE_CHARACTERS:
        raise UsageError(f"{path} is too large", hint="name a file that holds what Placet printed")
    return text


def wait_s() -> float:
    """Return how long to wait for another process that holds the ledger, in seconds.

    Raises:
        UsageError: ``$PLACET_WAIT_S`` is no number of seconds.
    """
    text = os.environ.get(WAIT_VARIABLE) or "30"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"${WAIT_VARIABLE} is {text!r}", hint="give a number of seconds, such as 30")
    return seconds


def record_json(verified: Any) -> dict[str, Any]:
    """Return a verified record as programs get it: where it stands, who signed it, what it says."""
    record: Record = verified.record
    return {
        "id": verified.id,
        "index": verified.index,
        "kind": str(verified.kind),
        "person": verified.person,
        "keyId": verified.key_id,
        "record": record.to_json(),
    }


def save_text(path: Path, text: str) -> None:
    """Write a file that the person asked for, whole or not at all; see :func:`save_bytes`."""
    save_bytes(path, text.encode())


def save_bytes(path: Path, data: bytes) -> None:
    """Write a file that the person asked for, whole or not at all.

    Raises:
        StorageError: It cannot be written.
    """
    from placet.domain.errors import StorageError

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{path} cannot be written: {error.strerror}",
            hint="check the folder, its permissions and the disk",
        ) from error


def _hidden(prompt: str) -> str:
    try:
        return make_console(stderr=True).input(prompt, password=True)
    except EOFError as error:
        raise KeyAccessError("no passphrase was given", hint="run it again and type it") from error
