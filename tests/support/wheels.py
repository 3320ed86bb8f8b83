"""A tiny wheel, made by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

from placet.domain.digests import Digest, digest_bytes, digest_file

MEMBER = "tiny_model/weights.gguf"
DATA = b"GGUF" + bytes(range(256)) * 64
DATA_SHA256 = digest_bytes(DATA)


def make_wheel(folder: Path, version: str = "1.0", data: bytes = DATA) -> tuple[Path, Digest]:
    """Write a wheel of `tiny-model` that fails when imported; return it and its digest."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"tiny_model-{version}.dist-info"
    path = folder / f"tiny_model-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('a source imported the package')\n")
        archive.writestr(MEMBER, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-model\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path, digest_file(path)
