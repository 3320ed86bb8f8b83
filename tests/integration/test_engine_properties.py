"""Whatever is asked, in whatever order, packing, attention block or batch: lm-eval's own answers, one by one."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from placet.engine.generation import GenerationLimits, GreedyGenerator, Prompt
from placet.engine.identity import EngineSettings
from placet.engine.memory import footprint
from placet.engine.model import PlacetLM
from placet.engine.selfcheck import SelfCheck
from tests.support.tiny_models import MAX_LENGTH, save_model

TOLERANCE = 1e-4
FEW = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PREFIXES = ("", "Question: ", "the quick brown fox jumps over the lazy dog. " * 3, "é" * 120)
PIECES = st.sampled_from(["the ", "fox", " apple", "?", "é", "日", "a", " ", "\n", " an"])
CONTEXTS = st.builds(
    lambda prefix, pieces: prefix + "".join(pieces), st.sampled_from(PREFIXES), st.lists(PIECES, max_size=8)
).filter(lambda context: context == "" or context.strip())  # lm-eval refuses a context of spaces alone
# " x" ends each option, so that none is without tokens of its own after any context.
OPTIONS = st.lists(PIECES, min_size=1, max_size=6).map(lambda pieces: "".join(pieces) + " x")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HFLM:
    torch.set_num_threads(1)
    base = save_model("llama", tmp_path_factory.mktemp("tiny"))
    return HFLM(str(base), device="cpu", dtype="float32", batch_size=1)


@FEW
@given(
    pairs=st.lists(st.tuples(CONTEXTS, OPTIONS), min_size=1, max_size=10),
    again=st.lists(st.integers(0, 9), max_size=4),
    seed=st.integers(0, 1000),
    pack_tokens=st.sampled_from([1, 2, 7, 16, 33, 64, 300]),
    block=st.sampled_from([1, 3, 16, 500]),
)
def test_scores_depend_on_nothing_but_the_request(
    model: HFLM, pairs: list[tuple[str, str]], again: list[int], seed: int, pack_tokens: int, block: int
) -> None:
    asked = pairs + [pairs[index % len(pairs)] for index in again]
    random.Random(seed).shuffle(asked)
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in asked]
    lm = PlacetLM(
        model.model,
        tokenizer=model.tokenizer,
        settings=EngineSettings(pack_tokens=pack_tokens, attention_block=block, threads=1),
    )
    ours = lm.loglikelihood(requests, disable_tqdm=True)
    theirs = model.loglikelihood(requests, disable_tqdm=True)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    for (mine, _), (other, _), pair in zip(ours, theirs, asked, strict=True):
        assert abs(mine - other) <= max(TOLERANCE, 1e-6 * abs(other)), pair


PROMPTS = st.builds(
    lambda seed, length, limit: (seed, length, limit),
    st.integers(0, 5), st.one_of(st.integers(1, 5), st.integers(1, 80)), st.integers(1, 14),
)  # fmt: skip


@cache
def sequence(seed: int) -> tuple[int, ...]:
    """Return random tokens; those of some seeds begin alike."""
    drawn = random.Random(seed // 2)
    tokens = [drawn.randrange(2, 250) for _ in range(MAX_LENGTH)]
    return (*tokens[:40], *(token + seed % 2 for token in tokens[40:]))


def generate(model: HFLM, prompts: list[Prompt], limits: GenerationLimits) -> list[tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    # Token 57 ends a sequence now and then, so that rows finish at different times.
    generator = GreedyGenerator(model.model, model.tokenizer, frozenset({57}), limits, SelfCheck(1.0))
    for finished in generator.generate(prompts):
        for index, tokens in finished:
            assert index not in found
            found[index] = tokens
    return [found[index] for index in range(len(prompts))]


def one_by_one(model: HFLM, prompt: Prompt) -> tuple[int, ...]:
    """Choose token after token, the whole text through the model each time."""
    tokens: list[int] = []
    while len(tokens) < prompt.max_new_tokens and 57 not in tokens:
        with torch.inference_mode():
            logits = model.model(torch.tensor([[*prompt.tokens, *tokens]])).logits[0, -1]
        tokens.append(int(logits.argmax()))
        if any(stop in model.tokenizer.decode(tokens) for stop in prompt.stops):
            break
    return tuple(tokens)


@FEW
@given(
    wanted=st.lists(PROMPTS, min_size=1, max_size=9),
    rows=st.sampled_from([1, 2, 3, 64]),
    cached_tokens=st.sampled_from([1, 100, 190, 400, 10**5]),
    pack_tokens=st.sampled_from([1, 20, 64, 512]),
    block=st.sampled_from([1, 8, 128]),
)
def test_any_batch_and_any_memory_budget_generate_the_same_tokens(
    model: HFLM, wanted: list[Any], rows: int, cached_tokens: int, pack_tokens: int, block: int
) -> None:
    prompts = [Prompt(sequence(seed)[:length], limit, ("e", "zz")) for seed, length, limit in wanted]
    token_bytes = footprint(model.model.config, 4).cached
    limits = GenerationLimits(rows, cached_tokens * token_bytes, pack_tokens, block)
    assert generate(model, prompts, limits) == [one_by_one(model, prompt) for prompt in prompts]


def test_a_small_cache_is_filled_again_and_wide_prompts_go_first(model: HFLM) -> None:
    prompts = [Prompt(sequence(n)[: 4 + 13 * (n % 6)], 6, ()) for n in range(14)]
    token_bytes = footprint(model.model.config, 4).cached
    widest = max(len(prompt.tokens) + 6 for prompt in prompts)
    shapes: list[tuple[int, int]] = []
    forward = model.model.forward

    def recorded(input_ids: torch.Tensor, **more: Any) -> Any:
        shapes.append(tuple(input_ids.shape))  # type: ignore[arg-type]
        return forward(input_ids=input_ids, **more)

    model.model.forward = recorded
    try:
        found = generate(model, prompts, GenerationLimits(64, 2 * widest * token_bytes, 512, 16))
    finally:
        model.model.forward = forward
    assert found == [one_by_one(model, prompt) for prompt in prompts]
    batches = [rows for rows, length in shapes if length == 1]
    assert batches[0] == 2  # as many of the widest as the budget takes
    assert max(batches) > 2  # narrower prompts: more rows of them
