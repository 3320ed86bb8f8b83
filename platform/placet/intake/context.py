"""What a check sees, and what a check is.

Checks read the store's blobs, never the submitted folder: what they looked at is what is later evaluated and
released. A check returns its result; it raises only where it could not look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, Protocol

from placet.blobs import BlobStore
from placet.domain.records import CheckResult, CheckStatus, FileEntry, Finding, Severity
from placet.intake.base import BaseProfile
from placet.intake.findings import finding, listed
from placet.intake.limits import Limits
from placet.intake.lora import LoraConfig, parse_lora
from placet.intake.survey import Survey
from placet.intake.tensor_file import Header, parse_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Context:
    """A submission under examination: what lay in the folder, what of it is in the store, and its base."""

    survey: Survey
    files: tuple[FileEntry, ...]
    stored: frozenset[str]
    base: BaseProfile
    blobs: BlobStore
    limits: Limits

    def entry(self, path: str) -> FileEntry | None:
        """Return the stored file `path`, None where the submission has none."""
        return next((entry for entry in self.files if entry.path == path and path in self.stored), None)

    def read(self, path: str) -> bytes | None:
        """Return a stored file's bytes, hashed while reading; None where the submission has none."""
        entry = self.entry(path)
        return None if entry is None else self.blobs.read(entry.sha256)

    @cached_property
    def config(self) -> tuple[LoraConfig | None, tuple[Finding, ...]]:
        """The adapter's configuration, None where it is refused; and what was found in it."""
        return parse_lora(self.read(CONFIG) or b"", self.limits)

    @cached_property
    def lora(self) -> LoraConfig:
        """The adapter's configuration, for checks that run only after it passed."""
        config, _ = self.config
        if config is None:
            raise RuntimeError("a check that needs the configuration ran although it did not pass")
        return config

    @contextmanager
    def weights(self) -> Iterator[tuple[BinaryIO, int]]:
        """Open the stored weights file; gives the stream and its size in bytes."""
        entry = self.entry(WEIGHTS)
        if entry is None:
            raise RuntimeError("a check that needs the weights ran although the files did not pass")
        with self.blobs.open(entry.sha256) as stream:
            yield stream, entry.size

    @cached_property
    def header(self) -> Header:
        """The weights file's header.

        Raises:
            TensorFileError: The file is not well-formed.
        """
        with self.weights() as (stream, size):
            return parse_header(stream, size, self.limits)


class Check(Protocol):
    """One thing intake looks at.

    `needs` names the checks that must have passed for this one to say anything of its own; where one did not,
    this one is skipped, so that one fault gives one finding.
    """

    @property
    def id(self) -> str:
        """Name on record."""

    @property
    def version(self) -> str:
        """Changes whenever what the check accepts changes."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of earlier checks this one builds on."""

    def run(self, context: Context) -> CheckResult:
        """Look, and say what was found.

        Raises:
            UndecidedError: The check could not be made; it is recorded as errored, and the adapter refused.
            IntegrityError: The store is damaged.
            StorageError: The store cannot be read.
        """


def concluded(check: Check, findings: Sequence[Finding]) -> CheckResult:
    """Return the result of a check that ran: failed where a finding refuses, else passed."""
    refused = any(item.severity is Severity.REFUSE for item in findings)
    status = CheckStatus.FAILED if refused else CheckStatus.PASSED
    return CheckResult(check=check.id, version=check.version, status=status, findings=tuple(findings))


def grouped(id: str, message: str, names: Sequence[str]) -> list[Finding]:
    """Return one finding for all of `names`, or none; `{}` in `message` is replaced by the first few names."""
    return [finding(id, message.format(listed(names)), where=printable(names[0]))] if names else []


def printable(path: str) -> str:
    """Return `path` as it may stand in a record: escaped where it holds what cannot be shown."""
    return path if path.isprintable() and path.isascii() else ascii(path)
