"""Runs planned passes: several sequences in one row, each token seeing its own ancestors only.

Guarantees: log-probabilities are a `log_softmax` over the vocabulary in the model's own dtype, taken at the
scored positions alone; the model's own head, scaling and capping apply (`logits_to_keep`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from placet.engine.answers import Likelihood
from placet.engine.forest import Pack, Pass, Pop, Push, Scored

_KeysValues = tuple[tuple[torch.Tensor, torch.Tensor], ...]


class PackedScorer:
    """Scores planned passes on `model`, holding the prefix they share in a key-value cache.

    Args:
        model: A causal language model of `transformers` of a family that takes a tree mask.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._prefix: _KeysValues = ()

    def score(
        self, requests: Sequence[Scored], passes: Iterable[Pass]
    ) -> Iterator[list[tuple[int, Likelihood]]]:
        """Yield, for each Pack, the answers of the requests in it, by index into `requests`."""
        self._prefix = ()
        for step in passes:
            if isinstance(step, Push):
                self._push(step)
            elif isinstance(step, Pop):
                self._pop(step)
            else:
                yield self._pack(requests, step)
        self._prefix = ()

    @property
    def _depth(self) -> int:
        return int(self._prefix[0][0].shape[-2]) if self._prefix else 0

    def _forward(self, tokens: Sequence[int], positions: torch.Tensor, seen: torch.Tensor, keep: Any) -> Any:
        """Run one row of T tokens; `seen` (T, depth + T) is true where a token attends."""
        device, dtype = self._model.device, self._model.dtype
        # Additive, since eager attention takes no other; every token sees itself, so no row is empty.
        mask = torch.full(seen.shape, torch.finfo(dtype).min, dtype=dtype, device=device)
        mask.masked_fill_(seen.to(device), 0)
        caching = keep is None or bool(self._prefix)
        cache = DynamicCache(ddp_cache_data=self._prefix or None) if caching else None
        with torch.inference_mode():
            return self._model(
                input_ids=torch.tensor([tokens], device=device),
                position_ids=positions[None].to(device),
                attention_mask=mask[None, None],
                past_key_values=cache,
                use_cache=caching,
                logits_to_keep=1 if keep is None else keep.to(device),
            )

    def _push(self, step: Push) -> None:
        depth, count = self._depth, len(step.tokens)
        seen = torch.ones(count, depth + count, dtype=torch.bool).tril(depth)
        output = self._forward(step.tokens, torch.arange(depth, depth + count), seen, None)
        layers = output.past_key_values.layers
        self._prefix = tuple((layer.keys, layer.values) for layer in layers)

    def _pop(self, step: Pop) -> None:
        rest = self._depth - step.count
        self._prefix = tuple((keys[..., :rest, :], values[..., :rest, :]) for keys, values in self._prefix)
        if not rest:
            self._prefix = ()

    def _pack(self, requests: Sequence[Scored], pack: Pack) -> list[tuple[int, Likelihood]]:
        seen, depth = tree_mask(pack), pack.depth
        nodes: list[int] = []  # the node before each target, over all requests of the pack
        targets: list[int] = []
        owners: list[int] = []
        for path in pack.paths:
            for owner in path.requests:
                request = requests[owner]
                nodes.extend(path.nodes[request.first - depth :])
                targets.extend(request.targets)
                owners.append(owner)
        keep, rows = torch.unique(torch.tensor(nodes), return_inverse=True)
        logits = self._forward(pack.tokens, torch.tensor(pack.positions), seen, keep).logits[0]
        with torch.inference_mode():
            rows, wanted = rows.to(logits.device), torch.tensor(targets, device=logits.device)
            right = (logits.argmax(-1)[rows] == wanted).cpu()
            logprobs = torch.log_softmax(logits, dim=-1)[rows, wanted].cpu()
        lengths = [len(requests[owner].targets) for owner in owners]
        return [
            (owner, Likelihood(float(part.sum()), bool(greedy.all())))
            for owner, part, greedy in zip(
                owners, torch.split(logprobs, lengths), torch.split(right, lengths), strict=True
            )
        ]


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
