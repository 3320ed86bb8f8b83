"""How much one pass may hold, and how to tell that it was too much.

Guarantees: the size of a pass follows from the model's shape and a budget alone, so the same model gets the same
layout on every run; running out of memory makes passes smaller, never answers wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from placet.domain.errors import EvaluationError

MIN_PASS_TOKENS = 16
"""A pass is never made smaller than this: below, memory is short for other reasons."""

_MOST_PASS_TOKENS = {"cpu": 512}
_MOST_PASS_TOKENS_ELSEWHERE = 8192
# What holds a token's hidden state at once in one layer of any family here: residual, norm, queries, attention
# output and their copies (in hidden sizes), gate, up, their product and its activation (in intermediate sizes).
_HIDDEN_COPIES = 12
_INTERMEDIATE_COPIES = 4


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of one token: of its keys and values over all layers, and of everything else in a pass."""

    cached: int
    passing: int


def footprint(config: Any, item_bytes: int) -> Footprint:
    """Return what a token of a model with this `transformers` text configuration takes.

    Args:
        config: The text configuration.
        item_bytes: Bytes of one number of the activations.
    """
    hidden, heads = int(config.hidden_size), int(config.num_attention_heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    head = int(getattr(config, "head_dim", None) or hidden // heads)
    intermediate = int(
        getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * hidden
    )
    cached = 2 * key_heads * head * int(config.num_hidden_layers) * item_bytes
    activations = (_HIDDEN_COPIES * hidden + _INTERMEDIATE_COPIES * intermediate) * item_bytes
    return Footprint(cached, activations + int(config.vocab_size) * item_bytes)


def pass_tokens(config: Any, item_bytes: int, budget_bytes: int, device: str) -> int:
    """Return how many tokens a pass may have when every one of them is scored.

    Args:
        config: The model's text configuration.
        item_bytes: Bytes of one number of the activations.
        budget_bytes: What a pass may take beyond the weights.
        device: The type of the device, such as ``cpu``.
    """
    token = footprint(config, item_bytes)
    most = _MOST_PASS_TOKENS.get(device, _MOST_PASS_TOKENS_ELSEWHERE)
    return max(MIN_PASS_TOKENS, min(most, budget_bytes // (token.cached + token.passing)))


def cache_rows(config: Any, item_bytes: int, budget_bytes: int, width: int, most: int) -> int:
    """Return how many rows of `width` tokens a cache of `budget_bytes` holds, at least 1 and at most `most`."""
    return max(1, min(most, budget_bytes // (width * footprint(config, item_bytes).cached)))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that an allocation failed, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # torch's CPU allocator has no exception of its own.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


@contextmanager
def needed_memory(what: str) -> Iterator[None]:
    """Say in words that memory does not suffice for `what`, which cannot be made smaller.

    Raises:
        EvaluationError: An allocation failed. Any other error is passed on.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        free_cached()
        raise EvaluationError(
            f"memory does not suffice {what}",
            hint="evaluate on a machine with more memory, in a smaller dtype, or with shorter prompts",
        ) from error


def smaller_pass(tokens: int, error: Exception) -> int:
    """Return half of a pass of `tokens` if `error` was a lack of memory; raise otherwise.

    Raises:
        EvaluationError: It cannot be made smaller.
    """
    if not is_out_of_memory(error):
        raise error
    free_cached()
    if tokens <= MIN_PASS_TOKENS:
        raise EvaluationError(
            f"memory does not suffice even for {tokens} tokens in a pass",
            hint="evaluate on a machine with more memory, or in a smaller dtype",
        ) from error
    return max(MIN_PASS_TOKENS, tokens // 2)


def free_cached() -> None:
    """Give back what the GPU's allocator keeps, before trying again with less."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
