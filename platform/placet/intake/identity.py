"""The two names of an adapter: all its files, and what of them changes the computation.

The weights id is the SHA-256 of canonical JSON over a version, the configuration fields of
:meth:`placet.intake.lora.LoraConfig.identity`, and every tensor's name, type, shape and SHA-256 of its bytes,
sorted by name. The model card, the tokenizer files, the order of tensors in the file, and fields that matter in
training only do not enter it: runs are accounted by it, so renaming a file or touching the card hides no run.
"""

from __future__ import annotations

import hashlib

from placet.domain.digests import Digest, digest_json
from placet.domain.errors import IntegrityError
from placet.intake.context import Context

_VERSION = 1
_CHUNK_BYTES = 4 << 20


def weights_id(context: Context) -> Digest:
    """Return the weights id of a submission whose configuration and weights format passed.

    Raises:
        IntegrityError: The stored weights are shorter than when they were examined.
    """
    tensors = []
    with context.weights() as (stream, _):
        for entry in context.header.tensors:
            stream.seek(entry.begin)
            hasher, left = hashlib.sha256(), entry.end - entry.begin
            while left:
                chunk = stream.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise IntegrityError("the stored weights were cut short", hint="run `placet audit`")
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
            "config": context.lora.identity(),
            "tensors": sorted(tensors, key=lambda item: str(item["name"])),
        }
    )
