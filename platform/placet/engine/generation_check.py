"""Holds a few generated texts against an ordinary pass over them, and their ends against lm-eval's own rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.models.utils_hf import stop_sequences_criteria

from placet.domain.errors import EvaluationError
from placet.engine.answers import Answer, AnswerId, Generated
from placet.engine.generation import Prompt
from placet.engine.memory import needed_memory
from placet.engine.ordinary import OrdinaryLM
from placet.engine.selfcheck import SelfCheck, choose


def check_generations(
    lm: OrdinaryLM,
    check: SelfCheck,
    ids: Sequence[AnswerId],
    prompts: Sequence[Prompt | None],
    answers: Sequence[Answer],
    logits: Mapping[int, tuple[float, ...]],
    count: int,
) -> None:
    """Hold each token of `count` texts against the likeliest one of an ordinary pass over the whole text.

    Args:
        lm: The model at work.
        check: Where differences are collected.
        ids: The answers' ids, by which texts are chosen.
        prompts: What was generated from; None where lm-eval's own code generated.
        answers: The texts.
        logits: Of the texts generated now, by index: the logit of each token in the batch.
        count: How many texts.

    Raises:
        EvaluationError: One differs beyond tolerance, ended elsewhere, or is not its tokens' text.
    """
    for index in choose(ids, count):
        prompt, answer = prompts[index], cast("Generated", answers[index])
        if prompt is None or not answer.tokens:  # lm-eval's own, or out of a record, which keeps the text
            continue
        tokens = torch.tensor(answer.tokens)
        row = torch.tensor([[*prompt.tokens, *answer.tokens[:-1]]], device=lm.device)
        with (
            needed_memory(f"to check a generation of {row.shape[1]} tokens in one pass"),
            torch.inference_mode(),
        ):
            output = lm.model(row, use_cache=False, logits_to_keep=len(answer.tokens))
            ordinary = output.logits[0].float().cpu()
        chosen = ordinary.gather(1, tokens[:, None])[:, 0]
        worst = int((ordinary.amax(-1) - chosen).argmax())
        what = f"token {worst} of generation {ids[index][:12]}"
        check.observe("greedy_logit", float(chosen[worst]), float(ordinary[worst].max()), what)
        if index in logits:  # generated now, and not in an interrupted run
            batched = torch.tensor(logits[index])
            worst = int((batched - chosen).abs().argmax())
            check.observe("noise_floor", float(batched[worst]), float(chosen[worst]), what)
        end = _end_by_hf(lm, prompt, answer.tokens)
        if end != len(answer.tokens):
            raise EvaluationError(
                f"engine self-check failed: generation {ids[index][:12]} ended after {len(answer.tokens)} tokens,"
                f" where lm-eval's own rules end it {f'after {end}' if end else 'later'}",
                hint="no text of this run counts; run with the ordinary layout (packing off) and report it",
            )
        if text_of(lm, answer.tokens, prompt) != answer.text:
            raise EvaluationError(
                f"engine self-check failed: the text kept for generation {ids[index][:12]} is not its tokens'",
                hint="the answer journal was damaged; remove it and run again",
            )


def text_of(lm: OrdinaryLM, tokens: Sequence[int], prompt: Prompt) -> str:
    """Return the text of generated tokens, without what its stop strings end."""
    text = lm.tok_decode(list(tokens))
    return str(postprocess_generated_text(text, stop=list(prompt.stops), think_end_token=None))


def end_tokens(model: Any) -> frozenset[int]:
    """Return the tokens that end a model's texts."""
    settings = getattr(model, "generation_config", None)
    ends = getattr(settings, "eos_token_id", None)
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, list) else [ends])


def _end_by_hf(lm: OrdinaryLM, prompt: Prompt, tokens: tuple[int, ...]) -> int | None:
    """Return after how many of `tokens` lm-eval's own criteria end a generation; None: after none."""
    criteria = stop_sequences_criteria(lm.tokenizer, list(prompt.stops), 0, 1)
    ends = end_tokens(lm.model)
    for count, token in enumerate(tokens, 1):
        row = torch.tensor([tokens[:count]])
        if count == prompt.max_new_tokens or token in ends or any(stop(row, None) for stop in criteria):
            return count
    return None
