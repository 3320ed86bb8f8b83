"""Exit codes, and how errors are told to people and to programs.

| code | meaning |
|---|---|
| 0 | allowed, verified, done |
| 1 | refused or invalid: a verdict other than ALLOW, a finding that refuses, bytes or signatures that do not verify |
| 2 | usage or configuration: an unknown name, a malformed file, a wrong passphrase, a source that cannot be had |
| 3 | could not decide: a check that could not run, a busy ledger, a full disk, a bug |
| 130 | stopped with Ctrl-C; the same command goes on where it stopped |
"""

from __future__ import annotations

import errno
from typing import Any

from placet.domain.errors import (
    Error,
    EvaluationError,
    IntegrityError,
    KeyAccessError,
    LedgerBusyError,
    RefusedError,
    SourceError,
    StorageError,
    UndecidedError,
    UsageError,
)

OK, REFUSED, USAGE, UNDECIDED, STOPPED = 0, 1, 2, 3, 130

STOPPED_MESSAGE = "stopped; run it again to go on where it stopped"

EXIT_CODES: tuple[tuple[type[Error], int], ...] = (
    (RefusedError, REFUSED),
    (UsageError, USAGE),
    (KeyAccessError, USAGE),
    (SourceError, USAGE),
    (IntegrityError, REFUSED),
    (UndecidedError, UNDECIDED),
    (EvaluationError, UNDECIDED),
    (LedgerBusyError, UNDECIDED),
    (StorageError, UNDECIDED),
)

# What each optional part of an installation brings; everything else that is missing is a bug.
EXTRAS = {
    "eval": (
        "accelerate", "datasets", "evaluate", "gguf", "huggingface_hub", "lm_eval", "numpy", "peft", "pyarrow",
        "safetensors", "scipy", "torch", "transformers",
    ),
    "hsm": ("pkcs11", "securesystemslib"),
    "keyring": ("keyring",),
    "postgres": ("psycopg",),
    "ui": ("altair", "pandas", "streamlit"),
}  # fmt: skip


def exit_code(error: Error) -> int:
    """Return the exit code of `error`; one that has no row of its own could not decide."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), UNDECIDED)


def error_json(kind: str, message: str, hint: str, code: int) -> dict[str, Any]:
    """Return the object that stands on stdout instead of a result."""
    return {"error": {"kind": kind, "message": message, "hint": hint, "exitCode": code}}


def disk_trouble(error: OSError) -> StorageError | None:
    """Return the error for a disk that has no room or takes no writes, wherever it showed; None for any other."""
    if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        return None
    where = f" ({error.filename})" if error.filename else ""
    return StorageError(
        f"the disk took no more{where}: {error.strerror}",
        hint="free some space and run the same command again; what is on record stays",
    )


def missing_extra(error: ModuleNotFoundError) -> UsageError | None:
    """Return the error for a library that an optional part would have brought, or None for any other."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return UsageError(
                f"this needs {package}, which is not installed",
                hint=f"install the part that brings it: pip install 'placet[{extra}]'",
            )
    return None
