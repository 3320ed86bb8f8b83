"""Greedy generation in a batch that stays full: a finished row makes room for the next prompt.

Guarantees: each row gets the tokens that lm-eval's `hf` model generates for its prompt alone (batch size 1),
up to ties within floating-point error: the same end-of-sequence and stop-string rules, token by token.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as nn_functional
from transformers import DynamicCache


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to continue: its tokens, at most how many more, and the strings that end it."""

    tokens: tuple[int, ...]
    max_new_tokens: int
    stops: tuple[str, ...]


@dataclass(slots=True)
class _Row:
    index: int
    limit: int
    stops: tuple[tuple[str, int], ...]
    length: int
    generated: list[int] = field(default_factory=list)
    finished: bool = False


class GreedyGenerator:
    """Generates for many prompts with `model`, at most `rows` at a time.

    Args:
        model: A causal language model of `transformers` with an ordinary key-value cache.
        tokenizer: Its tokenizer, padding token set.
        end_tokens: The tokens that end a sequence.
        rows: The largest batch.
        cache_tokens: The most tokens whose keys and values may be held at once; long prompts get fewer rows.
    """

    def __init__(
        self, model: Any, tokenizer: Any, end_tokens: frozenset[int], rows: int, cache_tokens: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._end = end_tokens
        self._largest = max(1, rows)
        self._size = self._largest
        self._cache_tokens = cache_tokens
        self._pad = int(tokenizer.pad_token_id)
        self._rows: list[_Row] = []
        self._cache: Any = None
        self._mask = torch.zeros(0, 0, dtype=torch.long)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
        """Yield finished prompts with their new tokens (the ending one included), in the order they end."""
        # Longest first: a later prompt then never widens the batch, and memory peaks at the start.
        queue = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i].tokens), prompts[i].tokens, i))
        lookbacks = {
            stop: len(self._tokenizer.encode(stop, add_special_tokens=False)) + 2
            for prompt in prompts
            for stop in prompt.stops
        }
        width = max((len(prompt.tokens) + prompt.max_new_tokens for prompt in prompts), default=1)
        self._size = max(1, min(self._largest, self._cache_tokens // width))
        self._rows, self._cache = [], None
        while queue or self._rows:
            free = self._size - len(self._rows)
            if queue and (not self._rows or free >= max(1, self._size // 4)):
                taken, queue = queue[:free], queue[free:]
                self._admit(taken, prompts, lookbacks)
            else:
                self._step()
            yield from self._retire(bool(queue))

    def _admit(self, taken: list[int], prompts: Sequence[Prompt], lookbacks: dict[str, int]) -> None:
        """Run the prompts `taken` as one left-padded batch and join it to the rows under way."""
        width = max(len(prompts[i].tokens) for i in taken)
        ids = torch.full((len(taken), width), self._pad)
        mask = torch.zeros(len(taken), width, dtype=torch.long)
        rows = []
        for place, index in enumerate(taken):
            prompt = prompts[index]
            count = len(prompt.tokens)
            ids[place, width - count :] = torch.tensor(prompt.tokens)
            mask[place, width - count :] = 1
            stops = tuple((stop, lookbacks[stop]) for stop in prompt.stops)
            rows.append(_Row(index, prompt.max_new_tokens, stops, count))
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache()
        chosen = self._forward(ids, mask, positions, cache)
        self._join(rows, mask, cache)
        self._append(rows, chosen)

    def _join(self, rows: list[_Row], mask: torch.Tensor, cache: Any) -> None:
        if not self._rows:
            self._rows, self._mask, self._cache = rows, mask, cache
            return
        width = max(self._mask.shape[1], mask.shape[1])
        self._mask = torch.cat([_pad_left(self._mask, width), _pad_left(mask, width)])
        for old, new in zip(self._cache.layers, cache.layers, strict=True):
            old.keys = torch.cat([_pad_cache(old.keys, width), _pad_cache(new.keys, width)])
            old.values = torch.cat([_pad_cache(old.values, width), _pad_cache(new.values, width)])
        self._rows = self._rows + rows

    def _step(self) -> None:
        """Generate one more token in every row."""
        ids = torch.tensor([[row.generated[-1]] for row in self._rows])
        self._mask = nn_functional.pad(self._mask, (0, 1), value=1)
        positions = torch.tensor([[row.length + len(row.generated) - 1] for row in self._rows])
        self._append(self._rows, self._forward(ids, self._mask, positions, self._cache))

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any
    ) -> list[int]:
        """Return the likeliest next token of each row; `cache` grows by the tokens of `ids`."""
        device = self._model.device
        with torch.inference_mode():
            output = self._model(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                position_ids=positions.to(device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            chosen: list[int] = output.logits[:, -1].float().argmax(-1).tolist()
        return chosen

    def _append(self, rows: list[_Row], chosen: list[int]) -> None:
        for row, token in zip(rows, chosen, strict=True):
            if row.finished:
                continue
            row.generated.append(token)
            row.finished = token in self._end or len(row.generated) >= row.limit or self._stopped(row)

    def _stopped(self, row: _Row) -> bool:
        """Say whether a stop string is in the last few tokens, decoded as lm-eval's criterion does."""
        return any(stop in self._tokenizer.decode(row.generated[-lookback:]) for stop, lookback in row.stops)

    def _retire(self, waiting: bool) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
        """Yield what has finished, and drop those rows once enough of them are worth the copy."""
        done = [row for row in self._rows if row.finished and row.index >= 0]
        if done:
            yield [(row.index, tuple(row.generated)) for row in done]
            for row in done:
                row.index = -1
        kept = [place for place, row in enumerate(self._rows) if not row.finished]
        dropped = len(self._rows) - len(kept)
        if not kept:
            self._rows, self._cache = [], None
        elif dropped >= max(1, (self._size if waiting else len(self._rows)) // 4):
            self._rows = [self._rows[place] for place in kept]
            self._mask = self._mask[kept]
            first = int(self._mask.any(0).int().argmax())
            self._mask = self._mask[:, first:]
            for layer in self._cache.layers:
                layer.keys = layer.keys[kept][:, :, first:]
                layer.values = layer.values[kept][:, :, first:]


def _pad_left(mask: torch.Tensor, width: int) -> torch.Tensor:
    return nn_functional.pad(mask, (width - mask.shape[1], 0))


def _pad_cache(states: torch.Tensor, width: int) -> torch.Tensor:
    return nn_functional.pad(states, (0, 0, width - states.shape[2], 0))
