"""Many short examples in one row, none seeing another.

Guarantees: in a packed row every example gets the hidden states it would get alone, up to rounding: it has its
own positions, and a mask shows it only itself and, where the examples of a row start alike (a chat template's
system message), that shared start, which is computed once. No padding is computed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from placet.domain.errors import UsageError
from placet.training.recipe import Example

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example in tokens. `shared` says whether its context begins with the examples' common start."""

    context: tuple[int, ...]
    answer: tuple[int, ...]
    shared: bool


@dataclass(frozen=True, slots=True)
class PackedRow:
    """One step's input.

    Attributes:
        ids: Token ids, shape (1, n).
        positions: Position of each token in its own example, shape (1, n).
        mask: Additive attention mask, shape (1, 1, n, n).
        predictors: Indices into the row whose hidden state predicts an answer token, shape (m,).
        answers: Those answer tokens, shape (m,).
        weights: Their weights in the loss, shape (m,), summing to 1; each example weighs the same.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    predictors: torch.Tensor
    answers: torch.Tensor
    weights: torch.Tensor


def encode(
    examples: Sequence[Example], tokenizer: Any, max_tokens: int
) -> tuple[tuple[int, ...], list[Encoded]]:
    """Return the chat examples' common start, and each example in tokens without that start.

    Raises:
        UsageError: an example has more than `max_tokens` tokens.
    """
    templated = bool(getattr(tokenizer, "chat_template", None))
    contexts, answers = [], []
    for example in examples:
        context, answer = _texts(example, tokenizer, templated)
        contexts.append(tuple(tokenizer.encode(context, add_special_tokens=False)))
        end = () if example.open_ended or tokenizer.eos_token_id is None else (tokenizer.eos_token_id,)
        answers.append((*tokenizer.encode(answer, add_special_tokens=False), *end))
        if len(contexts[-1]) + len(answers[-1]) > max_tokens:
            raise UsageError(
                f"training example {example.id} has {len(contexts[-1]) + len(answers[-1])} tokens, "
                f"more than {max_tokens}",
                hint="shorten it, or raise the recipe's max_example_tokens",
            )
    chat = [
        context for context, example in zip(contexts, examples, strict=True) if example.chat and templated
    ]
    start = _common_start(chat) if chat else ()
    return start, [
        Encoded(context[len(start) :] if shared else context, answer, shared)
        for context, answer, shared in (
            (context, answer, example.chat and templated)
            for context, answer, example in zip(contexts, answers, examples, strict=True)
        )
    ]


def schedule(
    start: Sequence[int], encoded: Sequence[Encoded], *, steps: int, tokens_per_step: int, seed: int
) -> list[list[int]]:
    """Return the example numbers of each step: passes over all examples, each pass in a drawn order.

    A pure function, so that a resumed run meets the same examples as one that was never interrupted.
    """
    rng = random.Random(seed)  # noqa: S311 - an order, not a secret
    order: list[int] = []
    plan: list[list[int]] = []
    while len(plan) < steps:
        step: list[int] = []
        size = len(start)
        while True:
            if not order:
                order = rng.sample(range(len(encoded)), len(encoded))
            example = encoded[order[0]]
            size += len(example.context) + len(example.answer) - 1
            if step and (size > tokens_per_step or len(step) == len(encoded)):
                break
            step.append(order.pop(0))
        plan.append(step)
    return plan


def pack(start: Sequence[int], examples: Sequence[Encoded]) -> PackedRow:
    """Return one row that holds `examples` one after another behind `start`."""
    import torch

    start = start if any(example.shared for example in examples) else ()
    ids, positions, owner = list(start), list(range(len(start))), [-1] * len(start)
    predictors: list[int] = []
    weights: list[float] = []
    for number, example in enumerate(examples):
        first = len(start) if example.shared else 0
        tokens = (*example.context, *example.answer[:-1])
        predictors += range(len(ids) + len(example.context) - 1, len(ids) + len(tokens))
        weights += [1.0 / (len(example.answer) * len(examples))] * len(example.answer)
        ids += tokens
        positions += range(first, first + len(tokens))
        owner += [number] * len(tokens)
    owners = torch.tensor(owner)
    in_start = owners == -1
    sees_start = torch.tensor([example.shared for example in examples] + [True])[owners]
    visible = (owners[:, None] == owners[None, :]) | (sees_start[:, None] & in_start[None, :])
    visible &= torch.ones_like(visible).tril()
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    return PackedRow(
        ids=torch.tensor([ids]),
        positions=torch.tensor([positions]),
        mask=mask[None, None],
        predictors=torch.tensor(predictors),
        answers=torch.tensor([token for example in examples for token in example.answer]),
        weights=torch.tensor(weights),
    )


def _texts(example: Example, tokenizer: Any, templated: bool) -> tuple[str, str]:
    """Return context and answer as text; without a template a chat answer follows its prompt after a space."""
    if not example.chat:
        return example.prompt, example.answer
    if not templated:
        return example.prompt, f" {example.answer}"
    message = [{"role": "user", "content": example.prompt}]
    context = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    return str(context), example.answer


def _common_start(contexts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return what all contexts begin with, leaving each at least one token of its own."""
    alike = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*contexts, strict=False))
    shortest = min(map(len, contexts))
    return tuple(tokens[0] for tokens in alike)[: shortest - 1]
