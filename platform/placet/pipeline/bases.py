"""Base models of the office: registered by content, kept in a folder ready to load, checked before each use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from placet.attest.keys import Signer
from placet.attest.predicates import Kind, Role
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.digests import Digest, digest_file, short
from placet.domain.errors import StorageError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import Advisory, Base, BaseRef, BaseStatus, Revocation
from placet.intake.base import describe_base, verify_base_files
from placet.ledger.reader import LedgerReader
from placet.office import EVALUATOR_KEY, Office
from placet.sources import Source, cache_dir

_GGUF_VERSION = 1
"""Raised whenever converting gives other files, so that an older conversion in the cache is not used."""


def add_base(
    office: Office, source: Source, label: str, progress: Progress, *, license: str | None = None
) -> Verified[Base]:
    """Fetch a base model, keep it, and log what it is. A GGUF file is converted once and cached.

    Adding the same content again returns the record there is.

    Raises:
        UsageError: Not a model that can be described, or the label is another base's.
        SourceError: The bytes cannot be had.
        StorageError: They cannot be kept.
    """
    if not label or label != label.strip() or len(label) > 120 or not label.isprintable():
        raise UsageError(f"{label!r} cannot name a base", hint="use 1 to 120 printable characters")
    fetched = source.fetch(cache_dir(), progress)
    folder = fetched.path
    if folder.suffix == ".gguf":
        folder = converted_gguf(folder, progress)
    if not folder.is_dir():
        raise UsageError(
            f"{source.describe()} is no model",
            hint="give a folder that save_pretrained wrote, or a .gguf file",
        )
    record = describe_base(folder, label, fetched.ref, license=license, progress=progress)
    for known in office.reader().find(Kind.BASE, Base):
        if known.record.ref == record.ref:
            _keep(folder, _folder(office, record.ref.id), record)
            return known
        if known.record.ref.label == label:
            raise UsageError(
                f"base {label!r} is registered with other content ({short(known.record.ref.id)})",
                hint="give this one another label",
            )
    _keep(folder, _folder(office, record.ref.id), record)
    subject = Subject(label, record.ref.id)
    return office.record(Kind.BASE, record, (subject,), office.signer(EVALUATOR_KEY))


def state_status(
    office: Office,
    base: BaseRef,
    signer: Signer,
    *,
    end_of_life: bool = False,
    supported_until: datetime | None = None,
    advisories: Sequence[Advisory] = (),
    note: str = "",
) -> Verified[BaseStatus]:
    """Log what is known of a base's support; it replaces what was stated before, open advisories included.

    Raises:
        UsageError: An advisory is named twice.
        NotAuthorizedError: The key holds neither the approver nor the releaser role.
    """
    if len({item.id for item in advisories}) != len(advisories):
        raise UsageError("an advisory is named twice", hint="name each open one once")
    reader = office.reader()
    roles = (Role.APPROVER, Role.RELEASER)
    _, person = reader.trust.authorize(signer.public.key_id, roles, reader.head().size)
    record = BaseStatus(
        base=base,
        end_of_life=end_of_life,
        supported_until=supported_until,
        advisories=tuple(advisories),
        note=note,
        stated_by=person,
        stated_at=office.clock(),
    )
    return office.record(Kind.BASE_STATUS, record, (Subject(base.label, base.id),), signer)


def find_base(reader: LedgerReader, text: str) -> Verified[Base]:
    """Return the registered base with this label, or this id or beginning of an id.

    Raises:
        UsageError: None or several, or it was revoked.
    """
    bases = reader.find(Kind.BASE, Base)
    wanted = text.removeprefix("sha256:")
    found = [item for item in bases if item.record.ref.label == text] or [
        item for item in bases if len(wanted) >= 6 and short(item.record.ref.id, 64).startswith(wanted)
    ]
    if len(found) != 1:
        known = ", ".join(item.record.ref.label for item in bases) or "none yet"
        raise UsageError(
            f"no base {text!r} is registered" if not found else f"{text!r} names several bases",
            hint=f"registered: {known}; add one with `placet base add`",
        )
    for revocation in reader.find(Kind.REVOCATION, Revocation, subject=found[0].record.ref.id):
        raise UsageError(
            f"base {found[0].record.ref.label!r} was revoked: {revocation.record.reason}",
            hint="use a base that was not",
        )
    return found[0]


def base_folder(office: Office, base: Digest) -> Path:
    """Return the folder of a registered base, its files checked against the record.

    Raises:
        IntegrityError: A file is missing or altered.
    """
    record = next(item.record for item in office.reader().find(Kind.BASE, Base, subject=base))
    folder = _folder(office, base)
    verify_base_files(folder, record)
    return folder


def _folder(office: Office, base: Digest) -> Path:
    return office.folder("bases") / short(base, 64)


def converted_gguf(gguf: Path, progress: Progress) -> Path:
    """Return the folder of the model in a GGUF file, converted now or earlier."""
    from placet.engine.convert import convert_gguf

    out = cache_dir() / "converted" / f"{short(digest_file(gguf), 64)}-{_GGUF_VERSION}"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        convert_gguf(gguf, out, progress)
    return out


def _keep(source: Path, target: Path, record: Base) -> None:
    """Put the files that `record` names into `target`: linked where the disk allows, else copied."""
    if target.exists():
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for entry in record.files:
            try:
                os.link(source / entry.path, temporary / entry.path)
            except OSError:
                shutil.copyfile(source / entry.path, temporary / entry.path)
        verify_base_files(temporary, record)
        temporary.rename(target)
    except OSError as error:
        raise StorageError(
            f"the base cannot be kept: {error.strerror}",
            hint="free some space and run the same command again",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
