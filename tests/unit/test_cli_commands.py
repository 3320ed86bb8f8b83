"""The command line as a whole: help, examples, options, errors, exit codes. No office is opened."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import placet
from placet.cli import app, errors, program, session
from placet.domain.errors import (
    Error,
    EvaluationError,
    IntegrityError,
    KeyAccessError,
    LedgerBusyError,
    NotAuthorizedError,
    SourceError,
    StorageError,
    UndecidedError,
    UsageError,
)
from placet.verify.verifier import VerificationError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "duckdb",
    "lm_eval",
    "numpy",
    "pandas",
    "peft",
    "pyarrow",
    "scipy",
    "streamlit",
    "torch",
    "transformers",
)
NO_OFFICE = {
    "placet verify",
    "placet ledger check-proof",
    *(f"placet policy {name}" for name in ("check", "test", "explain", "diff", "judge")),
    *(f"placet witness {name}" for name in ("init", "rekey", "run", "show")),
}
# Its options are lm-eval's.
FOREIGN = {"placet lm-eval"}


def _commands() -> Iterator[tuple[str, Any]]:
    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
            return
        for child_name, child in children.items():
            yield from walk(f"{name} {child_name}", child)

    yield from walk("placet", typer.main.get_command(app))


COMMANDS = dict(_commands())


def _examples() -> list[tuple[str, str]]:
    return [
        (name, line) for name, command in COMMANDS.items() for line in str(command.epilog).splitlines()[1:]
    ]


@pytest.fixture
def run() -> Any:
    runner = CliRunner()

    def invoke(*arguments: str) -> Any:
        return runner.invoke(app, list(arguments))

    return invoke


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make every command that opens its office raise `error`."""

    def arrange(error: BaseException) -> None:
        def office(_self: session.Session) -> Any:
            raise error

        monkeypatch.setattr(session.Session, "office", office)

    return arrange


def test_every_command_that_the_issue_names_is_there() -> None:
    groups = {name.split()[1] for name in COMMANDS}

    assert groups == {
        "init", "keys", "trust", "base", "submit", "gate", "report", "review", "waive", "release", "revoke", "verify",
        "export", "audit", "ledger", "witness", "lineage", "policy", "lm-eval", "ui", "demo",
    }  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_says_what_it_does_and_ends_with_an_example(run: Any, name: str) -> None:
    done = run(*name.split()[1:], "--help")

    assert done.exit_code == 0
    about, _, example = done.stdout.partition("Example:")
    assert "--json" in about or name in FOREIGN
    assert example.strip().startswith(name)


@pytest.mark.parametrize(("name", "line"), _examples())
def test_every_example_is_a_line_that_the_command_takes(name: str, line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])
    count = len(name.split())

    assert words[:count] == name.split()
    with COMMANDS[name].make_context(name, words[count:]) as context:
        assert context.args if name in FOREIGN else context.params


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in FOREIGN])
def test_every_command_has_json_and_all_that_use_an_office_have_home(name: str) -> None:
    options = {option for item in COMMANDS[name].params for option in item.opts}

    assert "--json" in options
    assert ("--home" in options) == (name not in NO_OFFICE)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_takes_a_passphrase_as_an_option(name: str) -> None:
    assert not [
        option
        for item in COMMANDS[name].params
        for option in item.opts
        if "pass" in option.lower() or "secret" in option.lower()
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_says_what_it_is(name: str) -> None:
    assert [item.name for item in COMMANDS[name].params if not getattr(item, "help", None)] == []


def test_version_is_printed(run: Any) -> None:
    done = run("--version")

    assert (done.exit_code, done.stdout) == (0, f"placet {placet.__version__}\n")


def test_no_command_at_all_shows_the_help(run: Any) -> None:
    done = run()

    assert done.exit_code == 2
    assert "Usage: placet" in done.output


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (UsageError, 2),
        (KeyAccessError, 2),
        (SourceError, 2),
        (IntegrityError, 1),
        (NotAuthorizedError, 1),
        (UndecidedError, 3),
        (EvaluationError, 3),
        (LedgerBusyError, 3),
        (StorageError, 3),
        (Error, 3),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_is_told_with_its_hint(
    run: Any, failing: Any, kind: type[Error], code: int
) -> None:
    failing(kind("the ledger is made of cheese", hint="use another ledger"))

    done = run("audit")

    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr == "Error: the ledger is made of cheese\n  Hint: use another ledger\n"


def test_no_error_of_ours_is_left_without_a_decision_on_its_exit_code() -> None:
    undecided_by_default = {
        kind.__name__
        for kind in Error.__subclasses__()
        if kind.__module__ == "placet.domain.errors" and kind not in dict(errors.EXIT_CODES)
    }

    assert undecided_by_default == set()
    assert errors.exit_code(VerificationError("files", "x", hint="", passed=())) == 1


def test_with_json_an_error_is_the_only_thing_on_stdout(run: Any, failing: Any) -> None:
    failing(LedgerBusyError("held by process 7", hint="wait"))

    done = run("ledger", "show", "--json")

    assert done.exit_code == 3
    assert json.loads(done.stdout) == {
        "error": {"kind": "LedgerBusyError", "message": "held by process 7", "hint": "wait", "exitCode": 3}
    }
    assert "held by process 7" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("submit", "--json", "--bogus"), ("gate", "--json"), ("nothing", "--json")]
)
def test_with_json_a_line_that_cannot_be_parsed_is_told_as_json_too(
    run: Any, arguments: tuple[str, ...]
) -> None:
    done = run(*arguments)

    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["exitCode"] == 2
    assert "Usage: placet" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("submit", "--bogus"), ("gate",), ("keys", "new", "x"), ("ui", "--port", "no")]
)
def test_a_line_that_cannot_be_parsed_is_a_usage_error(run: Any, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)

    assert done.exit_code == 2
    assert done.stdout == ""


def test_ctrl_c_says_that_work_goes_on_where_it_stopped(run: Any, failing: Any) -> None:
    failing(KeyboardInterrupt())

    done = run("audit")

    assert done.exit_code == 130
    assert done.stderr == "stopped; run it again to go on where it stopped\n"


def test_a_bug_propagates(run: Any, failing: Any) -> None:
    failing(ZeroDivisionError("a bug"))

    assert isinstance(run("audit").exception, ZeroDivisionError)


def test_a_bug_ends_the_process_as_undecided_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], failing: Any
) -> None:
    failing(ZeroDivisionError("a bug"))
    monkeypatch.setattr(sys, "argv", ["placet", "audit"])

    with pytest.raises(SystemExit) as ended:
        program.main()

    assert ended.value.code == 3
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("torch", "eval"),
        ("lm_eval.api", "eval"),
        ("streamlit", "ui"),
        ("keyring", "keyring"),
        ("pkcs11", "hsm"),
    ],
)
def test_a_missing_extra_is_a_usage_error_that_names_it(
    run: Any, failing: Any, package: str, extra: str
) -> None:
    failing(ModuleNotFoundError(f"No module named {package!r}", name=package))

    done = run("audit")

    assert done.exit_code == 2
    assert f"pip install 'placet[{extra}]'" in done.stderr


def test_another_missing_module_is_a_bug(run: Any, failing: Any) -> None:
    failing(ModuleNotFoundError("No module named 'placet.nothing'", name="placet.nothing"))

    assert isinstance(run("audit").exception, ModuleNotFoundError)


def test_with_json_whatever_a_library_prints_goes_to_stderr(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def office(_self: session.Session) -> Any:
        print("a library has something to say")
        raise UsageError("no office", hint="")

    monkeypatch.setattr(session.Session, "office", office)

    done = run("audit", "--json")

    assert json.loads(done.stdout)["error"]["kind"] == "UsageError"
    assert "a library has something to say" in done.stderr


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_a_malformed_waiting_time_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PLACET_WAIT_S", text)

    with pytest.raises(UsageError, match="PLACET_WAIT_S"):
        session.wait_s()


def test_nobody_is_asked_for_a_passphrase_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)

    assert session.Session().asker() is None


def test_a_new_passphrase_is_asked_for_twice_until_both_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["one phrase", "another phrase", "a third phrase", "a third phrase"])
    monkeypatch.setattr(session, "_hidden", lambda _prompt: next(typed))

    assert session.Session(Path("nowhere")).ask("cleo") == "a third phrase"


def test_a_new_passphrase_that_never_agrees_makes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter("abcdef")
    monkeypatch.setattr(session, "_hidden", lambda _prompt: next(typed))

    with pytest.raises(KeyAccessError, match="cleo"):
        session.Session(Path("nowhere")).ask("cleo")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["verify", "--help"], ["verify", "nowhere", "--pin", "sha256:" + "0" * 64]]
)
def test_start_up_loads_no_database_and_no_model_library(arguments: list[str]) -> None:
    code = f"""
import sys
sys.argv = ["placet", *{arguments!r}]
from placet.cli import main
try:
    main()
finally:
    print("LOADED", *sorted(set(sys.modules) & {set(HEAVY)!r}), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode in {0, 2}, done.stderr
    assert done.stderr.splitlines()[-1].strip() == "LOADED"


def _documented() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        (page.relative_to(ROOT).as_posix(), match.group(1))
        for page in pages
        for match in re.finditer(
            r"^\$ (placet [a-z].*?)(?:\s+#.*)?$", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]


@pytest.mark.parametrize(("page", "line"), _documented())
def test_every_command_line_in_the_documentation_is_one_that_placet_takes(page: str, line: str) -> None:
    words = shlex.split(line.partition(" > ")[0].partition(" | ")[0])
    name = next((n for n in (" ".join(words[:3]), " ".join(words[:2])) if n in COMMANDS), None)

    assert name is not None, f"{page}: there is no command {line!r}"
    with COMMANDS[name].make_context(name, words[len(name.split()) :]) as context:
        assert context.params


def test_the_reference_page_is_up_to_date() -> None:
    tool = _tool("cli_reference")

    assert (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8") == tool.reference(), (
        "run tools/cli_reference.py"
    )


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
