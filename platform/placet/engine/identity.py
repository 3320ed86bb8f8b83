"""What computes answers: the engine's settings, and the facts about it that every answer's id carries."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from placet.domain.records import EngineInfo

ENGINE_VERSION = "1"
"""Part of every answer's id: raised whenever a change can change an answer."""

_LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "lm_eval")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Limits and sizes. `packed=False` sends everything the ordinary way.

    `pack_tokens` is the largest pass in tokens; `generation_rows` the largest batch of a generation and
    `generation_tokens` the most tokens it may hold in its cache;
    `checked_requests` and `checked_generations` how many of each call are also computed the ordinary way;
    `threads` None leaves torch's own number.
    """

    packed: bool = True
    pack_tokens: int = 512
    generation_rows: int = 64
    generation_tokens: int = 12288
    checked_requests: int = 4
    checked_generations: int = 2
    threads: int | None = None


def engine_info(
    settings: EngineSettings, dtype: str, device: Any, batch_size: Any, obstacles: tuple[str, str]
) -> EngineInfo:
    """Return the facts on record.

    Args:
        settings: The engine's sizes.
        dtype: Type of weights and activations.
        device: The `torch.device` computed on.
        batch_size: Of the ordinary path.
        obstacles: Why scoring, and why generation, goes the ordinary way; "" where it does not.
    """
    packing, greedy = obstacles
    scoring = (
        f"scoring ordinary, batches of {batch_size} ({packing})"
        if packing
        else f"scoring packed, {settings.pack_tokens} tokens"
    )
    generation = (
        f"generation ordinary, one by one ({greedy})"
        if greedy
        else f"generation greedy, {settings.generation_rows} rows, {settings.generation_tokens} tokens"
    )
    where = str(device.type)
    if where == "cpu":
        where = f"cpu, {torch.get_num_threads()} threads"
    elif where == "cuda":
        where = f"cuda, {torch.cuda.get_device_name(device)}"
    return EngineInfo(
        name="placet",
        version=ENGINE_VERSION,
        dtype=dtype,
        device=where,
        layout=f"{scoring}; {generation}",
        libraries={name: version(name) for name in _LIBRARIES},
    )
