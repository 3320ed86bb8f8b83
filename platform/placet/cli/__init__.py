"""The command line: one file per command group; each parses, calls one use case and renders what it returns."""

from placet.cli.program import app, main

__all__ = ["app", "main"]
