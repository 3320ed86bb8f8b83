"""One call's likelihoods: computed in packed passes, and a few of them once more in other ways.

Guarantees: the first request checked runs through lm-eval's own code before any pass; its keys and values then
serve as the prefix that passes share, so what is shared is what the ordinary way computed. Running out of memory
makes passes smaller and repeats only what had no answer yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from placet.domain.errors import EvaluationError
from placet.engine.answers import Answer, AnswerId, Likelihood
from placet.engine.forest import Scored, common_prefix, plan_beyond, plan_passes
from placet.engine.identity import EngineSettings, PassSizes
from placet.engine.memory import needed_memory, smaller_pass
from placet.engine.packed import PackedScorer, Seed
from placet.engine.selfcheck import SelfCheck, choose

Encoded = tuple[tuple[str, str], list[int], list[int]]
"""A request as lm-eval hands it on: its text, and the tokens of context and continuation."""

_CHEAP_TOKENS = 256
"""Checks that take no more tokens than this are made whatever their share of the call."""

_ORDINARY_ROUND = 64
"""Requests given to lm-eval's code at once: a few of its batches, so that answers are kept as they come."""


class Ordinary(Protocol):
    """Scores requests with lm-eval's own code."""

    def scores(self, requests: list[Encoded]) -> list[tuple[float, bool]]:
        """Return log-probability and greediness of each, in lm-eval's batches."""

    def scores_in_other_batches(self, requests: list[Encoded]) -> list[float]:
        """Return the log-probability of each, in batches of another shape."""

    def score_alone(self, request: Encoded) -> tuple[float, Seed]:
        """Return one request's log-probability, with the keys and values of its pass."""


class Scoring:
    """Computes and checks the likelihoods of one call.

    Args:
        model: The model at work.
        settings: Limits.
        sizes: Sizes of passes.
        max_length: The model's context, in tokens.
        ordinary: lm-eval's own code; `packed` says whether it only checks.
        packed: Whether passes are packed.
        check: Where differences are collected.
    """

    def __init__(
        self,
        model: Any,
        settings: EngineSettings,
        sizes: PassSizes,
        *,
        max_length: int,
        ordinary: Ordinary,
        packed: bool,
        check: SelfCheck,
    ) -> None:
        self._model = model
        self._settings = settings
        self._pack_tokens = sizes.pack_tokens
        self._block = sizes.attention_block
        self._max_length = max_length
        self._ordinary = ordinary
        self._packed = packed
        self._check = check
        self._seed: Seed | None = None
        self._ordinary_scores: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {}
        self._passed = 0  # tokens, those of the seed among them

    # --- answers -----------------------------------------------------------------------------------------

    def compute(
        self, ids: Sequence[AnswerId], pieces: Sequence[Sequence[Encoded]], indices: list[int]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """Yield the answers of requests `indices`; a request's answer is the sum over its pieces."""
        self._checked_first(ids, pieces)
        flat = [(index, piece) for index in indices for piece in pieces[index]]
        missing = {index: len(pieces[index]) for index in indices}
        sums = {index: Likelihood(0.0, True) for index in indices}
        empty: list[tuple[int, Answer]] = [(index, sums[index]) for index in indices if not missing[index]]
        if empty:
            yield empty
        for batch in self.score([piece for _, piece in flat]):
            done: list[tuple[int, Answer]] = []
            for place, answer in batch:
                index, so_far = flat[place][0], sums[flat[place][0]]
                sums[index] = Likelihood(so_far.logprob + answer.logprob, so_far.greedy and answer.greedy)
                missing[index] -= 1
                if not missing[index]:
                    done.append((index, sums[index]))
            if done:
                yield done

    def score(self, requests: Sequence[Encoded]) -> Iterator[list[tuple[int, Likelihood]]]:
        """Yield the answers of `requests`, by their index, as they come."""
        if self._packed:
            return self._score_packed([self._scored(context, end) for _, context, end in requests])
        return self._score_ordinary(requests)

    def _score_packed(self, scored: list[Scored]) -> Iterator[list[tuple[int, Likelihood]]]:
        waiting = list(range(len(scored)))
        while waiting:
            part = [scored[index] for index in waiting]
            done: set[int] = set()
            try:
                scorer = PackedScorer(self._model, self._block, self._seed)
                for batch in scorer.score(part, plan_passes(part, self._pack_tokens)):
                    done.update(place for place, _ in batch)
                    yield [(waiting[place], answer) for place, answer in batch]
                self._passed += scorer.tokens
            except Exception as error:
                self._pack_tokens = smaller_pass(self._pack_tokens, error)
                self._check.note("pack_tokens", self._pack_tokens)
            waiting = [index for place, index in enumerate(waiting) if place not in done]

    def _score_ordinary(self, requests: Sequence[Encoded]) -> Iterator[list[tuple[int, Likelihood]]]:
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i][1]) - len(requests[i][2]))
        for start in range(0, len(order), _ORDINARY_ROUND):
            part = order[start : start + _ORDINARY_ROUND]
            answers = self._ordinary.scores([requests[index] for index in part])
            yield [(index, Likelihood(*answer)) for index, answer in zip(part, answers, strict=True)]

    def _scored(self, context: list[int], continuation: list[int]) -> Scored:
        if len(continuation) > self._max_length:
            raise EvaluationError(
                f"a continuation of {len(continuation)} tokens is longer than the model's {self._max_length}",
                hint="shorten the task's answers, or evaluate a base with a longer context",
            )
        # As lm-eval: too long a context loses its beginning, and the last token is only ever a target.
        tokens = (context + continuation)[-(self._max_length + 1) :][:-1]
        return Scored(tuple(tokens), tuple(continuation))

    # --- checks ------------------------------------------------------------------------------------------

    def verify(
        self, ids: Sequence[AnswerId], pieces: Sequence[Sequence[Encoded]], answers: Sequence[Answer]
    ) -> None:
        """Hold a few answers, chosen by content, against the ordinary way and against another layout.

        Where the ordinary way is the only one, only against another layout of its own.

        Raises:
            EvaluationError: One differs beyond tolerance.
        """
        if not ids:
            return
        if not self._packed:
            self._measure_ordinary_noise(ids, pieces, answers)
            return
        self._checked_first(ids, pieces)
        settings = self._settings
        chosen, spent = choose(ids, settings.checked_requests), 0
        for number, index in enumerate(chosen):
            size = sum(len(context) + len(end) for _, context, end in pieces[index])
            if number and spent + size > self._allowance:
                break
            spent += size
            ordinary = sum(self._one_ordinary(piece) for piece in pieces[index])
            self._observe("logprob", ids[index], pieces[index], answers[index], ordinary)
        self._measure_noise(ids, pieces, answers, set(chosen))

    def _observe(
        self, kind: str, answer_id: AnswerId, pieces: Sequence[Encoded], answer: Answer, other: float
    ) -> None:
        assert isinstance(answer, Likelihood)  # noqa: S101 - a likelihood call has no other answers
        tokens = max(1, sum(len(end) for _, _, end in pieces))
        self._check.observe(kind, answer.logprob, other, f"request {answer_id[:12]}", tokens=tokens)

    @property
    def _allowance(self) -> float:
        """Tokens that either kind of check may take beyond its first request."""
        return max(_CHEAP_TOKENS, self._settings.checked_share * self._passed)

    def _measure_noise(
        self,
        ids: Sequence[AnswerId],
        pieces: Sequence[Sequence[Encoded]],
        answers: Sequence[Answer],
        others: set[int],
    ) -> None:
        """Score a few requests again, in a pass with no others: the same weights in another layout."""
        known = () if self._seed is None else self._seed.tokens

        def own_tokens(request: Scored) -> int:
            return len(request.tokens) - common_prefix(known, request.tokens)

        again: list[int] = []
        scored: list[Scored] = []
        chosen = choose(ids, len(others) + self._settings.noise_requests)
        # Where every request is one of the others, those have to do.
        for index in [index for index in chosen if index not in others] or chosen:
            if not again or sum(map(own_tokens, scored)) <= self._allowance:
                again.append(index)
                scored.extend(self._scored(context, end) for _, context, end in pieces[index])
        owners = [index for index in again for _ in pieces[index]]
        totals = dict.fromkeys(again, 0.0)
        scorer = PackedScorer(self._model, self._block, self._seed)
        with needed_memory(f"to score {len(again)} requests again"):
            for batch in scorer.score(scored, plan_beyond(scored, known, self._pack_tokens)):
                for place, answer in batch:
                    totals[owners[place]] += answer.logprob
        for index, total in totals.items():
            self._observe("noise_floor", ids[index], pieces[index], answers[index], total)

    def _measure_ordinary_noise(
        self, ids: Sequence[AnswerId], pieces: Sequence[Sequence[Encoded]], answers: Sequence[Answer]
    ) -> None:
        again = choose(ids, self._settings.noise_requests)
        owners = [index for index in again for _ in pieces[index]]
        totals = dict.fromkeys(again, 0.0)
        if owners:
            with needed_memory(f"to score {len(again)} requests again"):
                scores = self._ordinary.scores_in_other_batches([p for index in again for p in pieces[index]])
            for owner, score in zip(owners, scores, strict=True):
                totals[owner] += score
        for index, total in totals.items():
            self._observe("noise_floor", ids[index], pieces[index], answers[index], total)

    def _checked_first(self, ids: Sequence[AnswerId], pieces: Sequence[Sequence[Encoded]]) -> None:
        """Run the first request to be checked the ordinary way, for its keys and values."""
        if not self._packed or self._seed is not None:
            return
        for index in choose(ids, 1):
            for piece in pieces[index][:1]:
                self._one_ordinary(piece)

    def _one_ordinary(self, piece: Encoded) -> float:
        self._scored(piece[1], piece[2])  # refuses what is too long, in words
        key = (tuple(piece[1]), tuple(piece[2]))
        if key not in self._ordinary_scores:
            with needed_memory(
                f"to check a request of {len(piece[1]) + len(piece[2])} tokens the ordinary way"
            ):
                logprob, seed = self._ordinary.score_alone(piece)
            if self._seed is None:
                self._seed, self._passed = seed, self._passed + len(seed.tokens)
            self._ordinary_scores[key] = logprob
        return self._ordinary_scores[key]
