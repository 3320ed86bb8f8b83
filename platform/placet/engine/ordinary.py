"""The ordinary way: lm-eval's own code for the model at work, request by request or in its batches.

What the packed way cannot take goes through here, and what the self-check holds its scores against comes from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator

from placet.engine.memory import free_cached, is_out_of_memory, needed_memory
from placet.engine.packed import Seed
from placet.engine.scoring import Encoded


class OrdinaryLM(HFLM):
    """lm-eval's `hf` model, which also gives the keys and values of a request that runs alone."""

    _alone: int | None = None  # scored positions, while a request runs alone
    _states: Seed | None = None

    def _model_call(self, inps: Any, attn_mask: Any = None, labels: Any = None) -> Any:
        if self._alone is None:
            return super()._model_call(inps, attn_mask, labels)
        # lm-eval slices from the end, so rows that it does not look at need not be computed.
        with torch.inference_mode():
            output = self.model(inps, use_cache=True, logits_to_keep=self._alone)
        layers = output.past_key_values.layers
        self._states = Seed(tuple(inps[0].tolist()), tuple((layer.keys, layer.values) for layer in layers))
        return output.logits

    def score_in_batches(self, requests: list[Encoded], size: int | None) -> list[tuple[float, bool]]:
        """Return log-probability and greediness of each, in batches of `size`; None: of the size that was asked for."""
        score = HFLM._loglikelihood_tokens
        return list(score(self, requests, disable_tqdm=True, override_bs=size))

    def score_alone(self, request: Encoded) -> tuple[float, Seed]:
        """Return a request's log-probability, with the keys and values of its pass."""
        self._alone = len(request[2])
        try:
            ((logprob, _),) = self.score_in_batches([request], 1)
        finally:
            self._alone, states = None, self._states
            self._states = None
        assert states is not None  # noqa: S101 - lm-eval calls the model for every request
        return logprob, states

    def generate_alone(self, request: Any) -> str:
        """Return what `hf` generates for a request at batch size 1."""
        with self.batches_of(1):
            (text,) = HFLM.generate_until(self, [request], disable_tqdm=True)
        return str(text)

    def in_order_of_hf(self, requests: list[Any], indices: list[int]) -> list[int]:
        """Return `indices` in the order in which `hf` generates one by one, so that the same seed draws the same."""
        ordered = Collator(
            [(*requests[index].args, index) for index in indices],
            sort_fn=lambda item: (-len(self.tok_encode(item[0])), item[0]),
            group_fn=lambda item: item[1],
            group_by="gen_kwargs",
        )
        return [item[2] for (item,) in ordered.get_batched(n=1)]

    @contextmanager
    def batches_of(self, size: int) -> Iterator[None]:
        """Let lm-eval's code take batches of `size`, whatever was asked for, while the ``with`` lasts."""
        asked = self.batch_size
        self.batch_size_per_gpu = size
        try:
            yield
        finally:
            self.batch_size_per_gpu = asked


class OrdinaryScoring:
    """Scores of one call, out of lm-eval's own code."""

    def __init__(self, lm: OrdinaryLM) -> None:
        self._lm = lm
        self._size: int | None = None  # that lm-eval found, where it was to find one

    def scores(self, requests: list[Encoded]) -> list[tuple[float, bool]]:
        """Return the scores of `requests` in lm-eval's batches, one by one where memory is short."""
        lm = self._lm
        try:
            if lm.batch_size == "auto" and self._size is None:
                self._size = lm._detect_batch_size(requests)  # once, and not for every round
            return lm.score_in_batches(requests, self._size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        free_cached()
        with needed_memory("to score requests one by one the ordinary way"):
            return [score for request in requests for score in lm.score_in_batches([request], 1)]

    def scores_in_other_batches(self, requests: list[Encoded]) -> list[float]:
        """Return log-probabilities out of batches of another shape than those of :meth:`scores`."""
        lm = self._lm
        if lm.batch_size != 1:
            with lm.batches_of(1):
                return [score for score, _ in lm.score_in_batches(requests, 1)]
        # One that is longer by a token has every other stand beside it, and be filled up.
        text, context, end = max(requests, key=lambda request: len(request[1]) + len(request[2]))
        size = len(requests) + 1
        with lm.batches_of(size):
            longer = (text, [lm.prefix_token_id, *context], end)
            return [score for score, _ in lm.score_in_batches([*requests, longer], size)[:-1]]

    def score_alone(self, request: Encoded) -> tuple[float, Seed]:
        """Return a request's log-probability, with the keys and values of its pass."""
        return self._lm.score_alone(request)
