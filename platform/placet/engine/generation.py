"""Greedy generation in a batch that stays full: a finished row makes room for the next prompt.

Prompts are read in packed passes, so what they share is computed once; each then gets a row of a cache that is
allocated once, and goes on from its own last token. No row waits for another, and no step copies the cache.

Guarantees: each row gets the tokens that lm-eval's `hf` model generates for its prompt alone (batch size 1),
up to ties within floating-point error: the same end-of-sequence and stop-string rules, token by token.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from placet.domain.errors import EvaluationError
from placet.engine.forest import Pack, Scored, plan_passes
from placet.engine.memory import MIN_PASS_TOKENS, cache_rows, free_cached, is_out_of_memory
from placet.engine.packed import KeysValues, PackedModel, tree_mask
from placet.engine.selfcheck import SelfCheck


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to continue: its tokens, at most how many more, and the strings that end it."""

    tokens: tuple[int, ...]
    max_new_tokens: int
    stops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """Sizes.

    `rows` is the largest batch, `cache_bytes` what its keys and values may take, `pack_tokens` the largest pass that
    reads prompts, `block` the queries attended at once in it.
    """

    rows: int
    cache_bytes: int
    pack_tokens: int
    block: int


@dataclass(slots=True)
class _Row:
    """A prompt under way: its number, what it may still become, and the length of what the cache holds of it."""

    index: int
    limit: int
    stops: tuple[tuple[str, int], ...]
    length: int
    generated: list[int] = field(default_factory=list)
    logits: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    """A prompt that was read: its keys and values, and the token that follows it."""

    row: _Row
    layers: KeysValues
    token: int
    logit: float


Finished = list[tuple[int, tuple[int, ...]]]
"""Numbers of prompts with their new tokens, the ending one included."""


class GreedyGenerator:
    """Generates for many prompts with `model`.

    Args:
        model: A causal language model of `transformers` of a family that takes a tree mask.
        tokenizer: Its tokenizer.
        end_tokens: The tokens that end a sequence.
        limits: Sizes.
        check: Where it is noted that memory was short.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        end_tokens: frozenset[int],
        limits: GenerationLimits,
        check: SelfCheck,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._end = end_tokens
        self._limits = limits
        self._logits: dict[int, tuple[float, ...]] = {}
        self._check = check

    def logits_of(self, index: int) -> tuple[float, ...]:
        """Return the logit that each new token of a finished prompt was chosen with."""
        return self._logits[index]

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[Finished]:
        """Yield finished prompts as they end.

        Raises:
            EvaluationError: Memory does not suffice for a single row.
        """
        for group in self._groups(prompts):
            yield from self._group(prompts, group)

    def _groups(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Return the prompts in groups that share a cache, the widest first.

        Every row of a cache is as wide as its widest prompt. A group therefore ends where prompts get
        much shorter, but not before it fills a batch.
        """
        groups: list[list[int]] = []
        widest, rows = 0, 0
        for index in sorted(range(len(prompts)), key=lambda i: -_width(prompts[i])):
            width = _width(prompts[index])
            if not groups or (len(groups[-1]) >= rows and width < widest / 2):
                groups.append([])
                widest, rows = width, self._most_rows(width)
            groups[-1].append(index)
        return groups

    def _most_rows(self, width: int) -> int:
        config, size = self._model.config.get_text_config(), self._model.dtype.itemsize
        return cache_rows(config, size, self._limits.cache_bytes, width, self._limits.rows)

    def _group(self, prompts: Sequence[Prompt], group: list[int]) -> Iterator[Finished]:
        """Generate for `group`, in smaller batches and passes each time memory runs out."""
        width = max(_width(prompts[index]) for index in group)
        rows = min(self._most_rows(width), len(group))
        waiting = list(group)
        while waiting:
            try:
                for finished in self._rows(prompts, waiting, rows, width):
                    done = {index for index, _ in finished}
                    waiting = [index for index in waiting if index not in done]
                    yield finished
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if rows == 1 and self._limits.pack_tokens <= MIN_PASS_TOKENS:
                    raise EvaluationError(
                        f"memory does not suffice to generate {width} tokens in one row",
                        hint="evaluate on a machine with more memory, or shorten the task's prompts",
                    ) from error
                free_cached()
                # Either may have been too large: the batch under way, or the pass that read the next prompts.
                rows = max(1, rows // 2)
                tokens = max(min(MIN_PASS_TOKENS, self._limits.pack_tokens), self._limits.pack_tokens // 2)
                self._limits = replace(self._limits, rows=rows, pack_tokens=tokens)
                self._check.note("generation_rows", rows)
                self._check.note("pack_tokens", tokens)

    def _rows(self, prompts: Sequence[Prompt], group: list[int], rows: int, width: int) -> Iterator[Finished]:
        reading = self._read(prompts, group)
        ready: deque[_Read] = deque()
        cache = _RowCache(self._model, rows, width)
        while True:
            finished: Finished = []
            while len(cache.rows) < rows:
                if not ready:
                    ready.extend(next(reading, ()))
                    if not ready:
                        break
                read = ready.popleft()
                if self._append(read.row, read.token, read.logit):
                    finished.append(self._finished(read.row))
                else:
                    cache.add(read)
            if finished:
                yield finished
            if not cache.rows:
                return
            yield from self._step(cache)

    def _step(self, cache: _RowCache) -> Iterator[Finished]:
        """Generate one more token in every row."""
        tokens, logits = cache.forward([row.generated[-1] for row in cache.rows])
        ended = [
            place
            for place, (row, token, logit) in enumerate(zip(cache.rows, tokens, logits, strict=True))
            if self._append(row, token, logit)
        ]
        if ended:
            yield [self._finished(cache.rows[place]) for place in ended]
            for place in reversed(ended):
                cache.remove(place)

    def _read(self, prompts: Sequence[Prompt], group: list[int]) -> Iterator[list[_Read]]:
        """Yield the prompts of `group` as passes read them, none before it is asked for."""
        lookbacks = {
            stop: len(self._tokenizer.encode(stop, add_special_tokens=False)) + 2
            for index in group
            for stop in prompts[index].stops
        }
        # The last token's logits are wanted, as if one more token were to be scored.
        sequences = [Scored(prompts[index].tokens, (0,)) for index in group]
        packed = PackedModel(self._model, self._limits.block)
        for step in plan_passes(sequences, self._limits.pack_tokens):
            if not isinstance(step, Pack):
                packed.hold(step)
                continue
            ends = [path.nodes[-1] for path in step.paths]
            keep, rows = torch.unique(torch.tensor(ends), return_inverse=True)
            positions = torch.tensor(step.positions)
            output = packed.forward(step.tokens, positions, tree_mask(step), keep, caching=True)
            ends_on = rows.to(output.logits.device)
            chosen, best = _likeliest(output.logits[0])
            tokens, logits = chosen[ends_on].tolist(), best[ends_on].tolist()
            layers = [(layer.keys, layer.values) for layer in output.past_key_values.layers]
            read = []
            for path, token, logit in zip(step.paths, tokens, logits, strict=True):
                columns = torch.tensor([*range(step.depth), *(step.depth + node for node in path.nodes)])
                columns = columns.to(self._model.device)
                states = tuple((keys[0][:, columns], values[0][:, columns]) for keys, values in layers)
                for place in path.requests:
                    prompt = prompts[group[place]]
                    stops = tuple((stop, lookbacks[stop]) for stop in prompt.stops)
                    row = _Row(group[place], prompt.max_new_tokens, stops, len(prompt.tokens))
                    read.append(_Read(row, states, token, logit))
            yield read

    def _finished(self, row: _Row) -> tuple[int, tuple[int, ...]]:
        self._logits[row.index] = tuple(row.logits)
        return row.index, tuple(row.generated)

    def _append(self, row: _Row, token: int, logit: float) -> bool:
        """Add a token to `row` and return whether the row has ended."""
        row.generated.append(token)
        row.logits.append(logit)
        return token in self._end or len(row.generated) >= row.limit or self._stopped(row)

    def _stopped(self, row: _Row) -> bool:
        """Say whether a stop string is in the last few tokens, decoded as lm-eval's criterion does."""
        return any(stop in self._tokenizer.decode(row.generated[-lookback:]) for stop, lookback in row.stops)


def _width(prompt: Prompt) -> int:
    return len(prompt.tokens) + prompt.max_new_tokens


def _likeliest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the likeliest token of each row of `logits` (rows, vocabulary), the first of equals, and its logit."""
    tokens = logits.argmax(-1)
    return tokens, logits.gather(-1, tokens[:, None])[:, 0].float()


class _RowCache:
    """Keys and values of the rows under way, each written at its own length; rows stand without gaps."""

    def __init__(self, model: Any, rows: int, width: int) -> None:
        self.rows: list[_Row] = []
        self._model = model
        self._shape = (rows, width)
        self._layers: list[_RowLayer] = []
        self._positions = torch.zeros(0, dtype=torch.long)

    def add(self, read: _Read) -> None:
        """Take a row up."""
        if not self._layers:
            self._layers = [_RowLayer(self._shape, keys, values) for keys, values in read.layers]
        for layer, (keys, values) in zip(self._layers, read.layers, strict=True):
            layer.put(len(self.rows), keys, values)
        self.rows.append(read.row)

    def remove(self, place: int) -> None:
        """Drop a row; the last one takes its place."""
        last = len(self.rows) - 1
        if place != last:
            for layer in self._layers:
                layer.move(last, place, self.rows[last].length)
            self.rows[place] = self.rows[last]
        self.rows.pop()

    def forward(self, tokens: list[int]) -> tuple[list[int], list[float]]:
        """Run each row's newest token and return the likeliest next one of each, with its logit."""
        device, dtype = self._model.device, self._model.dtype
        positions = torch.tensor([row.length for row in self.rows], device=device)
        width = max(row.length for row in self.rows) + 1
        mask = torch.full((len(tokens), width), torch.finfo(dtype).min, dtype=dtype, device=device)
        mask.masked_fill_(torch.arange(width, device=device) <= positions[:, None], 0)
        for layer in self._layers:
            layer.aim(positions, width)
        with torch.inference_mode():
            output = self._model(
                input_ids=torch.tensor(tokens, device=device)[:, None],
                attention_mask=mask[:, None, None],
                position_ids=positions[:, None],
                past_key_values=Cache(layers=[*self._layers]),
                use_cache=True,
                logits_to_keep=1,
            )
            chosen, best = _likeliest(output.logits[:, -1])
        for row in self.rows:
            row.length += 1
        return chosen.tolist(), best.tolist()


class _RowLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values: (rows, key heads, width, head size), allocated once."""

    is_sliding = False
    is_croppable = False

    def __init__(self, shape: tuple[int, int], keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        rows, width = shape
        # Zeros, since a masked column is still multiplied: what stands there has to be finite.
        self._held_keys = keys.new_zeros(rows, keys.shape[0], width, keys.shape[-1])
        self._held_values = values.new_zeros(rows, values.shape[0], width, values.shape[-1])
        self.keys, self.values, self.is_initialized = self._held_keys, self._held_values, True
        self._positions = torch.zeros(0, dtype=torch.long)
        self._width = 0

    def put(self, row: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write a prompt's keys and values (key heads, tokens, head size) into `row`."""
        self._held_keys[row, :, : keys.shape[1]] = keys
        self._held_values[row, :, : values.shape[1]] = values

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` columns of a row over another."""
        self._held_keys[target, :, :length] = self._held_keys[source, :, :length]
        self._held_values[target, :, :length] = self._held_values[source, :, :length]

    def aim(self, positions: torch.Tensor, width: int) -> None:
        """Say where the next token of each row goes, and how many columns are attended."""
        self._positions, self._width = positions, width

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the layer is made whole."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one token of each row, and return all that the rows attend to."""
        count = len(self._positions)
        rows = torch.arange(count, device=self._positions.device)
        self._held_keys[rows, :, self._positions] = key_states[:, :, 0]
        self._held_values[rows, :, self._positions] = value_states[:, :, 0]
        return self._held_keys[:count, :, : self._width], self._held_values[:count, :, : self._width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the columns attended, and the first of them."""
        return self._width, 0

    def get_seq_length(self) -> int:
        """Return the length of the longest row before the token under way."""
        return self._width - 1

    def get_max_length(self) -> int:
        """Return the width of the rows."""
        return int(self._held_keys.shape[2])
