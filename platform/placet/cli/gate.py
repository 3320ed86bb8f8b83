"""`placet gate`: measure adapters and judge them by a policy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from placet.cli import junit
from placet.cli.completion import complete_adapter
from placet.cli.errors import OK, REFUSED, UNDECIDED, error_json, exit_code
from placet.cli.render import print_verdict
from placet.cli.session import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    Session,
    add_command,
    find_adapter,
    record_json,
    save_text,
    service_keys,
)
from placet.domain.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placet.attest.trust import Verified
    from placet.domain.records import Verdict


class ModelType(StrEnum):
    """Types that models compute in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy", metavar="FILE", help="The policy to judge by; else the default one that Placet carries."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    lines = (
        "placet gate desk-good",
        "placet gate desk-good desk-eager --policy policies/default.yaml --junit gate.xml",
    )
    add_command(app, "gate", gate, *lines)


def gate(
    adapter: Annotated[
        list[str],
        typer.Argument(
            metavar="ADAPTER",
            help="Labels of adapters, or the starts of their ids.",
            autocompletion=complete_adapter,
        ),
    ],
    policy: PolicyOption = None,
    suites: Annotated[
        Path | None,
        typer.Option(
            "--suites",
            metavar="FOLDER",
            help="Folder of the policy's suites; else Placet's own.",
        ),
    ] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the gates as JUnit XML too, for CI.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=1,
            max=64,
            help="Processes that run the model, each with its own copy of the base.",
        ),
    ] = 1,
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="NAME", help="Where the model runs, as torch names it: cpu, cuda, cuda:1."
        ),
    ] = "cpu",
    dtype: Annotated[
        ModelType,
        typer.Option(
            "--dtype",
            help="The type it computes in. Results of one type, or device, are never compared with another's.",
        ),
    ] = ModelType.FLOAT32,
    plan: Annotated[
        list[str] | None,
        typer.Option(
            "--plan",
            metavar="RECORD",
            help="A plan on these weights that was never measured to its end: finish it first. Can be given again.",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Measure adapters on their base and say whether they may ship, and if not, what would have to change.

    Stopped at any point, the same command goes on where it stopped. Several adapters share one loaded base.
    A plan on the same weights without a result leaves its gates open until --plan finishes it.
    Exit codes: 0 all are allowed; 1 one is denied or needs review; 3 one could not be judged.
    """
    from placet.pipeline.gate import gate as gate_adapters
    from placet.pipeline.runner import Compute
    from placet.resources import default_policy

    session = Session(home, json)
    office = session.office()
    reader = office.reader()
    found = [find_adapter(reader, text).record.adapter for text in dict.fromkeys(adapter)]
    service_keys(office)
    try:
        with session.progress() as progress:
            verdicts = gate_adapters(
                office,
                [item.id for item in found],
                policy or default_policy(),
                progress,
                suites_dir=suites,
                compute=Compute(workers, device, dtype.value),
                finish=plan or (),
            )
    except Error as error:
        _tell_undecided(session, error, [item.label for item in found], junit_file)
        raise
    if junit_file is not None:
        save_text(junit_file, junit.gate_xml(verdicts))
    session.result([record_json(item) for item in verdicts], lambda console: _show(console, verdicts))
    if code := exit_code_of(verdicts):
        raise typer.Exit(code)


def _tell_undecided(session: Session, error: Error, labels: Sequence[str], junit_file: Path | None) -> None:
    """Write and show what was decided before `error`, which is raised on: all of the rest could not be judged."""
    from placet.pipeline.gate import PartlyUndecidedError

    decided: tuple[Verified[Verdict], ...] = ()
    if isinstance(error, PartlyUndecidedError):
        decided, labels = error.verdicts, error.undecided
    if junit_file is not None:
        save_text(junit_file, junit.gate_xml(decided, labels, error))
    if not decided:
        return
    code = exit_code(error)
    told = error_json(type(error).__name__, error.message, error.hint, code)
    told |= {"verdicts": [record_json(item) for item in decided], "undecided": list(labels)}
    session.result(told, lambda console: _show(console, decided))
    if session.json:  # that is all there is to be on stdout
        session.say(f"Error: {error.message}")
        session.say(f"  Hint: {error.hint}")
        raise typer.Exit(code) from error


def exit_code_of(verdicts: Sequence[Verified[Verdict]]) -> int:
    """Return what the command ends with: only ALLOW for all of them is 0; no verdict at all could not decide."""
    decisions = {item.record.decision.value for item in verdicts}
    if not decisions:
        return UNDECIDED
    return OK if decisions == {"ALLOW"} else REFUSED


def _show(console: Console, verdicts: Sequence[Verified[Verdict]]) -> None:
    for number, item in enumerate(verdicts):
        if number:
            console.print()
        print_verdict(console, item.record, item.id)
