"""What computes answers: the engine's settings, and the facts about it that every answer's id carries."""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Any

import torch

from placet.domain.errors import UsageError
from placet.domain.records import EngineInfo
from placet.engine.memory import pass_tokens

ENGINE_VERSION = "4"
"""Part of every answer's id: raised whenever a change can change an answer."""

_LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "lm_eval")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Limits and sizes. `packed=False` sends everything the ordinary way.

    Args:
        packed: Whether requests are packed.
        pass_megabytes: What a pass may take beyond the weights, in MiB: activations, logits, keys and values.
        pack_tokens: The largest pass in tokens; None: what `pass_megabytes` allows.
        generation_rows: The largest batch of a generation; fewer where `pass_megabytes` allows no more.
        attention_block: Queries attended at once, see :mod:`placet.engine.attention`; None: 128 on a CPU, else 1,024.
        checked_requests: How many scoring requests of a call are also computed the ordinary way, at most.
        noise_requests: How many are also computed in another layout, at most.
        checked_share: Either ends early (never before the first) once it took this share of the call's tokens.
        checked_generations: How many generations of a call are checked.
        threads: torch's threads; None leaves torch's own number.
    """

    packed: bool = True
    pass_megabytes: int = 512
    pack_tokens: int | None = None
    generation_rows: int = 128
    attention_block: int | None = None
    checked_requests: int = 4
    noise_requests: int = 4
    checked_share: float = 0.05
    checked_generations: int = 2
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse sizes with which nothing would be computed, or nothing checked."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise UsageError(
                    f"engine setting {field.name} is {value}", hint="give a number from 1 on, or leave it out"
                )

    @property
    def pass_bytes(self) -> int:
        """`pass_megabytes` in bytes."""
        return self.pass_megabytes << 20


@dataclass(frozen=True, slots=True)
class PassSizes:
    """`pack_tokens` is the largest pass, `attention_block` the queries attended at once in it."""

    pack_tokens: int
    attention_block: int


def pass_sizes(settings: EngineSettings, config: Any, dtype: torch.dtype, device: Any) -> PassSizes:
    """Return the sizes of passes of a model with this text configuration, in `dtype` on `device`."""
    where = str(device.type)
    tokens = settings.pack_tokens or pass_tokens(config, dtype.itemsize, settings.pass_bytes, where)
    return PassSizes(tokens, settings.attention_block or (128 if where == "cpu" else 1024))


def engine_info(
    settings: EngineSettings,
    sizes: PassSizes,
    dtype: str,
    device: Any,
    batch_size: Any,
    obstacles: tuple[str, str],
) -> EngineInfo:
    """Return the facts on record.

    Args:
        settings: The engine's settings.
        sizes: The sizes of its passes.
        dtype: Type of weights and activations.
        device: The `torch.device` computed on.
        batch_size: Of the ordinary path.
        obstacles: Why scoring, and why generation, goes the ordinary way; "" where it does not.
    """
    packing, greedy = obstacles
    scoring = (
        f"scoring ordinary, batches of {batch_size} ({packing})"
        if packing
        else f"scoring packed, {sizes.pack_tokens} tokens, attention in blocks of {sizes.attention_block}"
    )
    generation = (
        f"generation ordinary, one by one ({greedy})"
        if greedy
        else f"generation greedy, {settings.generation_rows} rows, {settings.pass_megabytes} MiB"
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
