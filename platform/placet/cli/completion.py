"""What the shell may complete besides commands and options: adapters, bases and keys of the office at hand.

Completing never asks, never waits long, never says anything: where the office cannot be read, nothing is offered.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placet.domain.errors import Error

if TYPE_CHECKING:
    from placet.ledger.reader import LedgerReader

WAIT_S = 0.3


def complete_adapter(ctx: Any, incomplete: str) -> list[str]:
    """Return the labels of submitted adapters that begin with `incomplete`."""
    from placet.attest.predicates import Kind
    from placet.domain.records import Submission

    reader = _reader(ctx)
    found = reader.find(Kind.SUBMISSION, Submission) if reader else ()
    return _beginning(incomplete, [item.record.adapter.label for item in found])


def complete_base(ctx: Any, incomplete: str) -> list[str]:
    """Return the labels of registered bases that begin with `incomplete`."""
    from placet.attest.predicates import Kind
    from placet.domain.records import Base

    reader = _reader(ctx)
    found = reader.find(Kind.BASE, Base) if reader else ()
    return _beginning(incomplete, [item.record.ref.label for item in found])


def complete_key(ctx: Any, incomplete: str) -> list[str]:
    """Return the names of the key files here that begin with `incomplete`."""
    from placet.attest.keyfiles import KeyFolder

    return _beginning(incomplete, list(KeyFolder(_home(ctx) / "keys").names()))


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _home(ctx: Any) -> Path:
    return Path(ctx.params.get("home") or os.environ.get("PLACET_HOME") or "office")


def _reader(ctx: Any) -> LedgerReader | None:
    from placet.office import Office

    try:
        return Office.open(_home(ctx), wait_s=WAIT_S).reader()
    except Error:
        return None
