"""Every bound that intake holds submissions to, in one place, with its unit."""

from __future__ import annotations

from dataclasses import dataclass

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What a submission may hold at most. `max_` bounds are inclusive."""

    max_entries: int = 1_000
    """Files and folders looked at, at any depth."""
    max_depth: int = 8
    """Folders inside folders."""
    max_weights_bytes: int = 8 * _GIB
    max_tokenizer_bytes: int = 64 * _MIB
    max_json_bytes: int = 1 * _MIB
    """Any other JSON file."""
    max_text_bytes: int = 1 * _MIB
    """Model card, licence, chat template."""
    max_header_bytes: int = 16 * _MIB
    """JSON header of a safetensors file."""
    max_metadata_bytes: int = 64 * _KIB
    """Free-text metadata inside that header, keys and values together."""
    max_tensors: int = 20_000
    max_tensor_name: int = 512
    """Characters."""
    max_dimensions: int = 8
    max_rank: int = 1_024
    max_scaling: float = 256.0
    """LoRA's factor on B·A: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    max_names: int = 10_000
    """Entries in one list or table of module names."""


LIMITS = Limits()
