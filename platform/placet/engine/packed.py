"""Runs planned passes: several sequences in one row, each token seeing its own ancestors only.

Guarantees: log-probabilities are a `log_softmax` over the vocabulary, taken at the scored positions alone; the
model's own head, scaling and capping apply (`logits_to_keep`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from placet.engine.answers import Likelihood
from placet.engine.attention import blockwise
from placet.engine.forest import Pack, Pass, Pop, Push, Scored

KeysValues = tuple[tuple[torch.Tensor, torch.Tensor], ...]
"""Keys and values of each layer: (1, key heads, tokens, head size)."""

_SOFTMAX_ROWS = 64
"""Rows of logits turned into log-probabilities at once, so that a pass holds its logits once and not twice."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A sequence that was run the ordinary way, with its keys and values: a prefix of it needs no pass."""

    tokens: tuple[int, ...]
    layers: KeysValues


class PackedModel:
    """Runs the passes of a plan on `model`, holding the prefix they share.

    Args:
        model: A causal language model of `transformers` of a family that takes a tree mask.
        block: Queries attended at once; see :mod:`placet.engine.attention`.
        seed: Keys and values that are known already.
    """

    def __init__(self, model: Any, block: int, seed: Seed | None = None) -> None:
        self._model = model
        self._block = block
        self._seed = seed
        self._tokens: tuple[int, ...] = ()
        self._prefix: KeysValues = ()
        self.passed = 0

    def hold(self, step: Push | Pop) -> None:
        """Make the prefix longer or shorter."""
        if isinstance(step, Pop):
            self._cut(len(self._tokens) - step.count)
            return
        depth, tokens = len(self._tokens), self._tokens + step.tokens
        if self._seed is not None and self._seed.tokens[: len(tokens)] == tokens:
            self._tokens, self._prefix = tokens, self._seed.layers
            self._cut(len(tokens))
            return
        seen = torch.ones(len(step.tokens), len(tokens), dtype=torch.bool).tril(depth)
        output = self.forward(step.tokens, torch.arange(depth, len(tokens)), seen, None)
        layers = output.past_key_values.layers
        self._tokens, self._prefix = tokens, tuple((layer.keys, layer.values) for layer in layers)

    def forward(
        self,
        tokens: Sequence[int],
        positions: torch.Tensor,
        seen: torch.Tensor,
        keep: torch.Tensor | None,
        *,
        caching: bool = False,
    ) -> Any:
        """Run one row of T tokens; `seen` (T, depth + T) is true where a token attends.

        `keep` are the rows whose logits are wanted; None keeps the last one, and the keys and values.
        """
        self.passed += len(tokens)
        device, dtype = self._model.device, self._model.dtype
        # Additive, since eager attention takes no other; every token sees itself, so no row is empty.
        mask = torch.full(seen.shape, torch.finfo(dtype).min, dtype=dtype, device=device)
        mask.masked_fill_(seen.to(device), 0)
        caching = caching or keep is None or bool(self._prefix)
        cache = DynamicCache(ddp_cache_data=self._prefix or None) if caching else None
        with torch.inference_mode(), blockwise(self._model, seen, mask, self._block):
            return self._model(
                input_ids=torch.tensor([tokens], device=device),
                position_ids=positions[None].to(device),
                attention_mask=mask[None, None],
                past_key_values=cache,
                use_cache=caching,
                logits_to_keep=1 if keep is None else keep.to(device),
            )

    def _cut(self, length: int) -> None:
        self._tokens = self._tokens[:length]
        layers = ((keys[..., :length, :], values[..., :length, :]) for keys, values in self._prefix)
        self._prefix = tuple(layers) if length else ()


class PackedScorer:
    """Scores planned passes.

    Args:
        model: See :class:`PackedModel`.
        block: See there.
        seed: See there.
    """

    def __init__(self, model: Any, block: int, seed: Seed | None = None) -> None:
        self._packed = PackedModel(model, block, seed)

    @property
    def tokens(self) -> int:
        """How many tokens went through the model so far."""
        return self._packed.passed

    def score(
        self, requests: Sequence[Scored], passes: Iterable[Pass]
    ) -> Iterator[list[tuple[int, Likelihood]]]:
        """Yield, for each Pack, the answers of the requests in it, by index into `requests`."""
        for step in passes:
            if isinstance(step, Pack):
                yield self._pack(requests, step)
            else:
                self._packed.hold(step)

    def _pack(self, requests: Sequence[Scored], pack: Pack) -> list[tuple[int, Likelihood]]:
        nodes: list[int] = []  # the node before each target, over all requests of the pack
        targets: list[int] = []
        owners: list[int] = []
        for path in pack.paths:
            for owner in path.requests:
                request = requests[owner]
                nodes.extend(path.nodes[request.first - pack.depth :])
                targets.extend(request.targets)
                owners.append(owner)
        keep, rows = torch.unique(torch.tensor(nodes), return_inverse=True)
        positions = torch.tensor(pack.positions)
        logits = self._packed.forward(pack.tokens, positions, tree_mask(pack), keep).logits[0]
        logprobs, right = target_logprobs(logits, rows, torch.tensor(targets))
        lengths = [len(requests[owner].targets) for owner in owners]
        return [
            (owner, Likelihood(float(part.double().sum()), bool(greedy.all())))
            for owner, part, greedy in zip(
                owners, torch.split(logprobs, lengths), torch.split(right, lengths), strict=True
            )
        ]


def target_logprobs(
    logits: torch.Tensor, rows: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each target's log-probability, and whether it is the likeliest token: float32 and bool, (targets,).

    Args:
        logits: (rows, vocabulary). Log-probabilities of 16-bit logits are computed in float32.
        rows: The row of each target.
        targets: Token numbers.
    """
    rows, targets = rows.to(logits.device), targets.to(logits.device)
    order = rows.argsort(stable=True)
    logprobs = torch.empty(len(rows), dtype=torch.float32, device=logits.device)
    right = torch.empty(len(rows), dtype=torch.bool, device=logits.device)
    starts = torch.searchsorted(
        rows[order], torch.arange(0, len(logits) + _SOFTMAX_ROWS, _SOFTMAX_ROWS, device=logits.device)
    )
    with torch.inference_mode():
        for part, (begin, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
            first = part * _SOFTMAX_ROWS
            block, places = logits[first : first + _SOFTMAX_ROWS], order[begin:end]
            local, wanted = rows[places] - first, targets[places]
            logprobs[places] = torch.log_softmax(block, dim=-1, dtype=torch.float32)[local, wanted]
            # The largest logit first: finding where it stands costs many times more, and is only
            # needed where the target has it, since the first of equals is the one that counts.
            best = block[local, wanted] == block.amax(-1)[local]
            equal = best.nonzero()[:, 0]
            best[equal] = block[local[equal]].argmax(-1) == wanted[equal]
            right[places] = best
    return logprobs.cpu(), right.cpu()


def tree_mask(pack: Pack) -> torch.Tensor:
    """Return what each token of `pack` attends to: bool, (tokens, depth + tokens), rows are queries."""
    count = len(pack.tokens)
    seen = torch.zeros(count, pack.depth + count, dtype=torch.bool)
    seen[:, : pack.depth] = True
    for path in pack.paths:
        nodes = torch.tensor(path.nodes)
        fresh = nodes[path.shared :]
        if len(fresh):
            steps = torch.arange(len(nodes))
            seen[fresh[:, None], pack.depth + nodes[None, :]] = steps[None, :] <= steps[path.shared :, None]
    return seen
