"""Write docs/reference/cli.md from the commands themselves, or with --check say whether it is up to date.

Everything on the page comes out of the program: help, arguments, options, examples, exit codes. So the page
cannot promise an option that is not there.

Exit status: 0 written or up to date, 1 out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"

HEAD = """\
<!-- Written by tools/cli_reference.py: run it after a change to a command, and do not edit this page. -->

# The command line

`placet COMMAND --help` says the same as this page, and ends with an example.

## Where things are

An office is a folder: `./office`, or the one in `$PLACET_HOME`, or the one that `--home` names.

| variable | meaning |
|---|---|
| `PLACET_HOME` | The office's folder. |
| `PLACET_KEY` | Name of your key's file, where a command asks for `--key`. |
| `PLACET_PASSPHRASE_NAME` | Passphrase of the key called NAME (in capitals, `-` and `.` as `_`). |
| `PLACET_PASSPHRASE` | Passphrase of every key that has no variable of its own. |
| `PLACET_WAIT_S` | How many seconds to wait for another process that holds the ledger; 30 if not set. |
| `PLACET_CACHE` | Where downloads and converted models are kept; `~/.cache/placet` if not set. |
| `NO_COLOR` | Set to anything, it turns colours off. |

A passphrase is asked for in a terminal, and otherwise taken from the environment. It is never an option, because
options can be seen by others on the machine and stay in the shell's history.

## Words and JSON

Without `--json`, the result is printed for people on stdout; progress, notes and errors go to stderr. With
`--json`, stdout carries one JSON value and nothing else. An error is a JSON value too:

```json
{"error": {"kind": "UsageError", "message": "no base 'x' is registered", "hint": "…", "exitCode": 2}}
```

Where `placet gate` could judge some adapters and not others, `verdicts` (those on record) and `undecided` (the
labels of the others) stand beside `error`.

A record is given as `{"id", "index", "kind", "person", "keyId", "record"}`: its name by content, its place in the
ledger, who signed it, and what it says. Measured numbers in records are decimal strings.

## Exit codes

"""

ERRORS_HEAD = """
An error of these kinds ends a command so:

| error | exit code | meaning |
|---|---|---|
"""

COMPLETION = """
## Completion

`placet --install-completion` teaches the shell to complete commands and options; `placet --show-completion`
prints what it would install.

## Commands
"""


def reference() -> str:
    """Return the page."""
    from placet.cli import errors

    parts = [HEAD, _code_table(errors.__doc__ or ""), ERRORS_HEAD]
    parts += [
        f"| `{kind.__name__}` | {code} | {_first_sentence(kind.__doc__ or '')} |\n"
        for kind, code in errors.EXIT_CODES
    ]
    parts.append(COMPLETION)
    parts += [_section(name, command) for name, command in commands()]
    return "".join(parts)


def commands() -> Iterator[tuple[str, Any]]:
    """Give every command with its full name, in the order of the help."""
    import typer.main

    import placet.cli

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield name, command
            return
        for child in command.list_commands(None):
            if not children[child].hidden:
                yield from walk(f"{name} {child}", children[child])

    yield from walk("placet", typer.main.get_command(placet.cli.app))


def main(arguments: list[str]) -> int:
    """Write or check the page and return the exit status."""
    page = reference()
    if "--check" not in arguments:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        print(f"wrote {PAGE.name}")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print(f"docs/reference/{PAGE.name} is out of date: run tools/cli_reference.py")
    return 1


def _code_table(docstring: str) -> str:
    return "".join(f"{line}\n" for line in docstring.splitlines() if line.startswith("|"))


def _first_sentence(docstring: str) -> str:
    return docstring.strip().partition("\n\n")[0].replace("\n    ", " ").replace("|", "\\|")


def _section(name: str, command: Any) -> str:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and not item.hidden]
    usage = " ".join([name, *(_usage(item) for item in arguments), "[OPTIONS]"])
    lines = [f"\n### `{name}`\n\n{command.help}\n\n```text\n{usage}\n```\n"]
    if arguments:
        lines.append("\n| argument | meaning |\n|---|---|\n")
        lines += [f"| `{_metavar(item)}` | {_help(item)} |\n" for item in arguments]
    lines.append("\n| option | meaning |\n|---|---|\n")
    lines += [f"| {_spelling(item)} | {_help(item)} |\n" for item in options if "--help" not in item.opts]
    examples = (command.epilog or "").partition("\n")[2]
    lines.append(f"\nExample:\n\n```sh\n{examples}\n```\n")
    return "".join(lines)


def _usage(item: Any) -> str:
    word = _metavar(item) + ("..." if item.nargs == -1 else "")
    return word if item.required else f"[{word}]"


def _metavar(item: Any) -> str:
    choices = getattr(item.type_descriptor, "choices", None)
    if choices:
        return "|".join(str(getattr(choice, "value", choice)) for choice in choices)
    return str(item.metavar or item.name.upper())


def _spelling(item: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*item.opts, *item.secondary_opts))
    return names if item.is_flag else f"{names} `{_metavar(item)}`"


def _help(item: Any) -> str:
    words = [item.help or ""]
    if item.param_type_name == "option" and item.required:
        words.append("Required.")
    if getattr(item, "multiple", False) and "repeat" not in words[0]:
        words.append("May be repeated.")
    if item.envvar:
        words.append(f"Else `${item.envvar}`.")
    default = item.default
    if default not in (None, False, "", [], ()) and item.param_type_name == "option" and not item.is_flag:
        words.append(f"Default: `{default}`.")
    return " ".join(words).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
