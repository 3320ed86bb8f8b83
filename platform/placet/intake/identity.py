"""The two names of an adapter: all its files, and what of them changes the computation.

The weights id is the SHA-256 of canonical JSON over a version, the configuration fields of
:meth:`placet.intake.lora.LoraConfig.identity`, and every tensor's name, type, shape and SHA-256 of its bytes,
sorted by name. The model card, the tokenizer files, the order of tensors in the file, and fields that matter in
training only do not enter it: runs are accounted by it, so renaming a file or touching the card hides no run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from placet.blobs import open_plain
from placet.domain.digests import Digest, digest_json
from placet.domain.errors import IntegrityError, UsageError
from placet.intake.limits import LIMITS
from placet.intake.lora import LoraConfig, parse_lora
from placet.intake.tensor_file import Header, TensorFileError, parse_header

_VERSION = 1
_CHUNK_BYTES = 4 << 20


def weights_id(config: LoraConfig, header: Header, stream: BinaryIO) -> Digest:
    """Return the weights id of an adapter.

    Args:
        config: Its configuration.
        header: The header of its weights file.
        stream: That file, open for reading.

    Raises:
        IntegrityError: The file is shorter than its header says.
    """
    tensors = []
    for entry in header.tensors:
        stream.seek(entry.begin)
        hasher, left = hashlib.sha256(), entry.end - entry.begin
        while left:
            chunk = stream.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise IntegrityError("the weights were cut short while they were read", hint="run it again")
            hasher.update(chunk)
            left -= len(chunk)
        tensors.append(
            {
                "name": entry.name,
                "dtype": entry.spec.dtype,
                "shape": list(entry.spec.shape),
                "sha256": f"sha256:{hasher.hexdigest()}",
            }
        )
    return digest_json(
        {
            "version": _VERSION,
            "config": config.identity(),
            "tensors": sorted(tensors, key=lambda item: str(item["name"])),
        }
    )


def weights_id_of(folder: Path) -> Digest:
    """Return the weights id of the adapter in `folder`, as intake will name it, for whoever trained it.

    Raises:
        UsageError: The folder's configuration or weights would be refused.
        SourceError: A file is missing or unreadable.
    """
    path = folder / "adapter_model.safetensors"
    with open_plain(folder / "adapter_config.json") as stream:
        config, findings = parse_lora(stream.read(LIMITS.max_json_bytes), LIMITS)
    if config is None:
        raise UsageError(
            f"{folder} is no adapter that Placet takes: {findings[0].message}", hint=findings[0].fix
        )
    with open_plain(path) as stream:
        try:
            header = parse_header(stream, path.stat().st_size)
        except TensorFileError as error:
            raise UsageError(f"{path}: {error.message}", hint=error.hint) from error
        return weights_id(config, header, stream)
