"""Verify a bundle in this process with the network shut and model libraries and DuckDB out of reach.

``python -m placet.demo.offline BUNDLE PIN`` prints the steps as JSON and exits 0, or says what is wrong and exits
1. Any attempt to resolve a name, open a connection, or import one of those libraries ends it with exit 3.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORBIDDEN_IMPORTS = ("torch", "transformers", "peft", "lm_eval", "duckdb", "streamlit", "pandas", "numpy")
_NETWORK_EVENTS = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.bind",
    "socket.sendto",
)
_BREACH = 3


def shut() -> None:
    """Forbid network and the listed imports for the rest of this process; there is no way back."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        name = str(arguments[0]).partition(".")[0] if event == "import" else ""
        if event in _NETWORK_EVENTS or name in FORBIDDEN_IMPORTS:
            sys.stderr.write(f"an offline verifier must not do this: {event} {name}\n")
            # Not an exception: nothing in the process may catch this and go on.
            os._exit(_BREACH)

    sys.addaudithook(hook)


def main(arguments: list[str]) -> int:
    """Verify the bundle named by `arguments` (folder, pin) and return the exit code."""
    shut()
    from placet.domain.digests import parse_digest
    from placet.domain.errors import Error
    from placet.verify.verifier import verify_bundle

    folder, pin = arguments
    try:
        verified = verify_bundle(Path(folder), parse_digest(pin), now=datetime.now(UTC))
    except Error as error:
        sys.stderr.write(f"{error}\n")
        return 1
    steps = [{"step": name, "shows": shows} for name, shows in verified.steps]
    sys.stdout.write(json.dumps({"adapter": verified.release.adapter.id, "steps": steps}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
