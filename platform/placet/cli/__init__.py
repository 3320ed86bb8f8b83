"""The command line: one file per command group; each parses, calls one use case and renders what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placet.cli.program import main, make_app

if TYPE_CHECKING:
    import typer

    app: typer.Typer

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    # The whole program is put together when somebody asks for it; `main` loads only what a command line needs.
    if name == "app":
        return make_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
