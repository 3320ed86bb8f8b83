"""Requests of lm-eval's as tokens, made once for all adapters and cut where lm-eval cuts them."""

from __future__ import annotations

from typing import Any

from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from placet.domain.errors import EvaluationError
from placet.engine.generation import Prompt
from placet.engine.ordinary import OrdinaryLM
from placet.engine.scoring import Encoded

_MOST_ENCODINGS = 1 << 18
"""Requests whose tokens are remembered for the next adapter; a larger suite is encoded again."""


class RequestEncoder:
    """Encodes as `lm` does.

    Args:
        lm: The model, which has tokenizer and context.
    """

    def __init__(self, lm: OrdinaryLM) -> None:
        self._lm = lm
        self._known: dict[tuple[str, str], tuple[list[int], list[int]]] = {}

    def pair(self, context: str, continuation: str) -> Encoded:
        """Return the tokens of a context and of what is scored after it.

        Raises:
            EvaluationError: One of them has none.
        """
        lm, key = self._lm, (context, continuation)
        if key not in self._known:
            if context:
                pair = lm._encode_pair(context, continuation)
            else:
                tokens = lm.tok_encode(continuation, add_special_tokens=False)
                starts = bool(tokens) and tokens[0] == lm.prefix_token_id
                pair = (tokens[:1], tokens[1:]) if starts else ([lm.prefix_token_id], tokens)
            if not pair[0]:
                raise EvaluationError(
                    f"a request has a context without tokens: {context[-60:]!r}, before {continuation[:60]!r}",
                    hint="change the task so that its context is empty, or more than spaces",
                )
            if not pair[1]:
                raise EvaluationError(
                    f"a request has no tokens to score: {continuation[:60]!r} after {context[-60:]!r}",
                    hint="change the task so that every option adds at least one token to its context",
                )
            if len(self._known) >= _MOST_ENCODINGS:
                self._known.clear()
            self._known[key] = pair
        return key, *self._known[key]

    def windows(self, text: str) -> list[Encoded]:
        """Return the windows lm-eval scores a whole text in: each token once, with what context there is room for."""
        lm = self._lm
        windows = get_rolling_token_windows(
            token_list=lm.tok_encode(text),
            prefix_token=lm.prefix_token_id,
            max_seq_len=lm.max_length,
            context_len=1,
        )
        pairs = [make_disjoint_window(window) for window in windows]
        return [(("", ""), list(context), list(scored)) for context, scored in pairs]

    def is_cut(self, pieces: list[Encoded]) -> bool:
        """Return whether one of a request's pieces is longer than the model, and loses its beginning."""
        longest = self._lm.max_length + 1  # the last token is only ever a target
        return any(len(context) + len(end) > longest for _, context, end in pieces)

    def prompt(self, context: str, arguments: dict[str, Any], *, greedy: bool) -> tuple[Prompt | None, bool]:
        """Return what to generate from, and whether it lost its beginning.

        None where only lm-eval's own code knows how: not `greedy` at all, or other arguments than it takes.

        Raises:
            EvaluationError: There is no room for a prompt, or it has no tokens.
        """
        lm = self._lm
        kwargs = dict(normalize_gen_kwargs(arguments, lm.max_gen_toks))
        stops = kwargs.pop("until", None)
        limit = int(kwargs.pop("max_gen_toks"))
        asked = kwargs.pop("do_sample", False) is False and not kwargs.pop("temperature", 0.0)
        room = lm.max_length - limit
        if room < 1 and lm.backend == "causal":
            raise EvaluationError(
                f"{limit} new tokens leave no room for a prompt in the model's {lm.max_length}",
                hint="lower max_gen_toks in the task's generation arguments (on the command line: --gen_kwargs)",
            )
        ids, _ = lm.tok_batch_encode([context], truncation=lm.truncation)
        # As lm-eval: too long a prompt loses its beginning.
        tokens, cut = tuple(ids[0].tolist()[-room:]), lm.backend == "causal" and ids.shape[1] > room
        if kwargs or not (asked and greedy) or lm.think_end_token or limit < 1:
            return None, cut
        if not tokens:
            raise EvaluationError(
                f"a prompt has no tokens to generate from: {context[:60]!r}",
                hint="change the task's prompt; this model's tokenizer does not begin a text with a token of its own",
            )
        eos = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
        stops = handle_stop_sequences(stops, eos=eos)
        return Prompt(tokens, limit, tuple(stop for stop in stops if stop is not None)), cut
