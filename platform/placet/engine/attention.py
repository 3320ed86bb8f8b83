"""Attention of a packed pass, computed block by block: each block of queries over the keys it can see.

A tree mask is mostly empty: a document sees its own tokens and the shared prefix, not its neighbours. Plain attention
multiplies the empty part all the same. Here a block of consecutive queries gathers the columns that any of them
sees, and attends over those alone; key and value heads shared by several query heads are not copied for each.

A block is, where that is not too small, a stretch of one sequence, so that its queries see a row of keys without gaps,
as they would in a pass of their own. The sums are then taken in the same order, and the result is nearer to
the ordinary one than when other sequences' masked keys stand in between.

Guarantees: the same softmax over the same keys as the whole mask, so the same result within rounding, whatever
the block size. While no pass is under way the model's own attention is at work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nn_functional
from transformers import AttentionInterface

NAME = "placet_blocks"
_PREFIX_PER_QUERY = 8
"""A block may grow by a query for so many tokens of prefix: gathering those costs more than some columns too many."""
_FEWEST = 1 / 16
"""The share of a block's size that a sequence must fill to have one of its own; shorter ones share one."""
_PREFIX_PER_FEWEST = 32
"""It must have a query more for so many tokens of prefix."""
_REPLACED = "sdpa"
"""The attention that blocks stand in for; a model with another one keeps it."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Queries ``[start, stop)``, the columns of the keys they see (a number: so many), and the mask between."""

    start: int
    stop: int
    columns: torch.Tensor | int
    mask: torch.Tensor


_BLOCKS: ContextVar[tuple[_Block, ...]] = ContextVar("blocks", default=())


@contextmanager
def blockwise(model: Any, seen: torch.Tensor, mask: torch.Tensor, size: int) -> Iterator[None]:
    """Let `model` attend by blocks of `size` queries while the ``with`` lasts.

    Args:
        model: A causal language model of `transformers`.
        seen: What each query attends to: bool, (queries, keys), on the CPU.
        mask: The same as an additive mask, on the model's device.
        size: Queries in a block; more where a long prefix is gathered for each.
    """
    config = model.config.get_text_config()
    if config._attn_implementation != _REPLACED or len(seen) == 1:
        yield
        return
    token = _BLOCKS.set(_cut(seen, mask, size))
    config._attn_implementation_internal = NAME
    try:
        yield
    finally:
        config._attn_implementation_internal = _REPLACED
        _BLOCKS.reset(token)


def _cut(seen: torch.Tensor, mask: torch.Tensor, size: int) -> tuple[_Block, ...]:
    blocks = []
    for start, stop in _stretches(seen, size):
        used = seen[start:stop].any(0).nonzero()[:, 0]
        part = mask[start:stop]
        if int(used[-1]) + 1 == len(used):  # without gaps from the first: nothing has to be gathered
            blocks.append(_Block(start, stop, len(used), part[:, : len(used)]))
        else:
            columns = used.to(mask.device)
            blocks.append(_Block(start, stop, columns, part[:, columns]))
    return tuple(blocks)


def _stretches(seen: torch.Tensor, size: int) -> Iterator[tuple[int, int]]:
    """Yield the first query of each block, and the one after its last."""
    count, depth = len(seen), seen.shape[1] - len(seen)
    most, fewest = size + depth // _PREFIX_PER_QUERY, int(size * _FEWEST) + depth // _PREFIX_PER_FEWEST
    # A query goes on with the sequence before it if it sees what that one's last sees, and itself.
    visible = seen.sum(1)
    goes_on = (seen[1:] >= seen[:-1]).all(1) & (visible[1:] == visible[:-1] + 1)
    start = 0
    for stop, same in enumerate(goes_on.tolist(), 1):
        if stop - start >= (most if same else fewest):
            yield start, stop
            start = stop
    yield start, count


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend block by block: query (1, heads, T, d), key and value (1, key heads, K, d) to (1, T, heads, d)."""
    heads, groups = query.shape[1], query.shape[1] // key.shape[1]
    found = []
    for block in _BLOCKS.get():
        if isinstance(block.columns, int):
            keys, values = key[:, :, : block.columns], value[:, :, : block.columns]
        else:
            keys, values = key.index_select(2, block.columns), value.index_select(2, block.columns)
        count = block.stop - block.start
        # Query heads that share a key head stand below one another.
        folded = query[:, :, block.start : block.stop].reshape(1, key.shape[1], groups * count, -1)
        output = nn_functional.scaled_dot_product_attention(
            folded, keys, values, attn_mask=block.mask.repeat(groups, 1)[None, None], scale=scaling
        )
        found.append(output.reshape(1, heads, count, -1))
    return torch.cat(found, 2).transpose(1, 2), None


AttentionInterface.register(NAME, _attend)
