"""Blocks of queries: what they cover, what they gather, and that they compute what one masked attention computes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from placet.engine.attention import _cut, _stretches


def tree(parents: list[int], depth: int) -> torch.Tensor:
    """Return what tokens see, each itself, its parent's tokens (-1: none) and the prefix of `depth`."""
    seen = torch.zeros(len(parents), depth + len(parents), dtype=torch.bool)
    seen[:, :depth] = True
    for token, parent in enumerate(parents):
        if parent >= 0:
            seen[token] |= seen[parent]
        seen[token, depth + token] = True
    return seen


@st.composite
def trees(draw: st.DrawFn) -> torch.Tensor:
    count = draw(st.integers(1, 60))
    # Mostly the token before, as in a sequence; now and then a branch or a new document.
    parents = [
        draw(st.one_of(st.just(token - 1), st.just(token - 1), st.integers(-1, token - 1)))
        for token in range(count)
    ]
    return tree(parents, draw(st.sampled_from([0, 3, 100])))


@given(trees(), st.sampled_from([1, 4, 16, 128]))
def test_blocks_follow_one_another_and_hold_every_visible_key(seen: torch.Tensor, size: int) -> None:
    mask = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
    end = 0
    for block in _cut(seen, mask, size):
        assert block.start == end < block.stop
        end = block.stop
        assert end - block.start <= max(size + (seen.shape[1] - len(seen)) // 8, 1)
        columns = torch.arange(block.columns) if isinstance(block.columns, int) else block.columns
        part = seen[block.start : block.stop]
        assert torch.equal(part.any(0).nonzero()[:, 0], columns)
        assert torch.equal(block.mask == 0, part[:, columns])
    assert end == len(seen)


@pytest.mark.parametrize("depth", [0, 64])
def test_a_sequence_long_enough_has_blocks_of_its_own_without_gaps(depth: int) -> None:
    # Two documents of 20 tokens, each with two options of 12: the second option starts from the document's end.
    document = [-1, *range(19), *range(19, 31), 19, *range(32, 43)]
    seen = tree(document + [parent + 44 if parent >= 0 else -1 for parent in document], depth)
    assert list(_stretches(seen, 128)) == [(0, 32), (32, 44), (44, 76), (76, 88)]
    for start, stop in _stretches(seen, 128):
        used = seen[start:stop].any(0)
        assert int(seen[stop - 1].sum()) == int(used.sum())  # its last query sees all that the block gathers


def test_short_sequences_share_a_block_and_long_ones_are_cut() -> None:
    options = tree([-1, -1, -1, -1, -1, -1, -1, -1, -1, -1], 0)
    assert list(_stretches(options, 128)) == [(0, 8), (8, 10)]
    line = tree([-1, *range(299)], 0)
    assert list(_stretches(line, 128)) == [(0, 128), (128, 256), (256, 300)]
