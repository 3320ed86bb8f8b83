"""The errors of Placet.

A refusal ("this adapter may not pass") is a value, never an exception. An exception derived from
:class:`Error` means that Placet could not do or decide something; it always says how to mend it.
Anything else that escapes is a bug and propagates with its traceback.
"""

from __future__ import annotations


class Error(Exception):
    """Placet could not do what was asked.

    Args:
        message: What went wrong, one sentence, naming the thing it went wrong with.
        hint: What the reader can do about it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(Error):
    """The request or the configuration is wrong: an unknown name, a malformed file, a missing key."""


class RefusedError(Error):
    """What was asked for is not allowed as things stand: a release that is not approved, or was revoked."""


class SourceError(Error):
    """Bytes could not be had from where they were said to be, or are not the ones pinned."""


class IntegrityError(Error):
    """Recorded or received bytes do not verify: a digest, a signature, a proof or a chain is broken."""


class NotAuthorizedError(IntegrityError):
    """A signature is good, but its key may not sign this kind of record."""


class DrawError(IntegrityError):
    """A plan's draw is not what it has to be, so its order of documents may have been chosen."""


class KeyAccessError(Error):
    """A private key could not be opened: missing file, wrong passphrase, unsupported kind."""


class LedgerBusyError(Error):
    """Another process holds the ledger and did not let go within the wait allowed."""


class StorageError(Error):
    """The office's disk refused a write or a read: full, read-only, or unreadable."""


class EvaluationError(Error):
    """A required measurement could not be made."""


class UndecidedError(Error):
    """The evidence does not allow any verdict, because a required check could not be run."""
