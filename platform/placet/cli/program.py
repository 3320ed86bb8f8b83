"""The program `placet`: its commands in the order people meet them, and the one place that catches errors."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import traceback
from functools import cache
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import placet
from placet.cli import errors
from placet.cli.session import make_console, reserved_stdout, write_json
from placet.domain.errors import Error

# In the order an adapter meets them; each is the name of a module here, and that of its command.
GROUPS = (
    "init", "keys", "trust", "base", "submit", "gate", "report", "review", "waive", "release", "revoke", "verify",
    "export", "audit", "ledger", "witness", "lineage", "policy", "lm_eval", "ui", "demo",
)  # fmt: skip


class PlacetGroup(TyperGroup):
    """The root command: turns errors into a message, a hint and an exit code, on every way in."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands' names in the order an adapter meets them."""
        order = [group.replace("_", "-") for group in GROUPS]
        return sorted(super().list_commands(ctx), key=order.index)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        # Read from the words themselves: a command line that cannot be parsed still wants its error as JSON.
        words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        if "--json" not in words:
            return self._guarded(ctx, as_json=False)
        with reserved_stdout():
            return self._guarded(ctx, as_json=True)

    def _guarded(self, ctx: Any, *, as_json: bool) -> Any:
        try:
            return super().invoke(ctx)
        except Error as error:
            _fail(error, as_json)
        except ModuleNotFoundError as error:
            missing = errors.missing_extra(error)
            if missing is None:
                raise
            _fail(missing, as_json)
        except OSError as error:
            full = errors.disk_trouble(error)
            if full is None:
                raise
            _fail(full, as_json)
        except (KeyboardInterrupt, typer.Abort):
            _tell(errors.STOPPED_MESSAGE)
            if as_json:
                write_json(errors.error_json("Stopped", errors.STOPPED_MESSAGE, "", errors.STOPPED))
            raise typer.Exit(errors.STOPPED) from None
        except Exception as error:
            # The parser's own errors (an unknown option, a missing argument) print themselves on stderr.
            describe = getattr(error, "format_message", None)
            if as_json and describe is not None:
                hint = "see the command's --help"
                write_json(errors.error_json("UsageError", str(describe()), hint, errors.USAGE))
            raise


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"placet {placet.__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """The release office for fine-tuned adapters: evidence, policy, signatures, a record anyone can check."""


@cache
def make_app(*groups: str) -> typer.Typer:
    """Return the program with these command groups, or with all of them if none is named."""
    app = typer.Typer(
        name="placet",
        cls=PlacetGroup,
        help="The release office for fine-tuned adapters: evidence, policy, signatures, a record anyone can check.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_root)
    for group in groups or GROUPS:
        importlib.import_module(f"placet.cli.{group}").register(app)
    return app


def _asked_for(words: list[str]) -> tuple[str, ...]:
    """Return the group that the command line names, if it begins with one: the others need not be loaded."""
    first = words[0].replace("-", "_") if words else ""
    if first == "verify":
        # Reads every installed distribution's metadata to find plugins, of which the verifier wants none.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
        gc.disable()  # a short process: what it would collect ends with it
    return (first,) if first in GROUPS else ()


def main() -> NoReturn:
    """Run the program and leave the process; a bug shows its traceback and counts as undecided, never as 0."""
    try:
        make_app(*_asked_for(sys.argv[1:]))(prog_name="placet")
    except KeyboardInterrupt:
        _tell(errors.STOPPED_MESSAGE)
        sys.exit(errors.STOPPED)
    except Exception:
        traceback.print_exc()
        sys.exit(errors.UNDECIDED)
    sys.exit(errors.OK)


def _fail(error: Error, as_json: bool) -> NoReturn:
    code = errors.exit_code(error)
    _tell(f"Error: {error.message}")
    if error.hint:
        _tell(f"  Hint: {error.hint}")
    if as_json:
        write_json(errors.error_json(type(error).__name__, error.message, error.hint, code))
    raise typer.Exit(code) from error


def _tell(text: str) -> None:
    make_console(stderr=True).print(text, soft_wrap=True)
