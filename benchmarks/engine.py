"""The engine against lm-eval's `hf` model: same requests, same process, same threads, CPU seconds and differences.

Both models are built once and not counted: what is compared is answering. `hf` runs at each batch size asked for and
its fastest counts. CPU seconds are used rather than seconds, since other work on the machine changes those less.

What this does not show: what several adapters on one loaded base save (imports, base loading, the base's own
run), and any figure for a GPU.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from placet.engine.forest import plan_passes, planned_tokens
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM

VOCABULARY = (
    "the a of and to in is was for on with as by at from house river stone paper green small quick wooden letter"
    " window garden morning water question answer number little before after under over between three seven long"
    " bridge market winter music doctor school silver engine carry follow write listen open close travel build"
)
WORDS = VOCABULARY.split()


@dataclass(frozen=True)
class Workload:
    """Requests of one kind."""

    name: str
    kind: str
    arguments: tuple[tuple[Any, ...], ...]


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def workloads(documents: int) -> list[Workload]:
    """Return the benchmark's requests: made up, so that nothing has to be downloaded, and always the same."""
    rng = random.Random(5)
    prefix = "".join(f"Question: {text(rng, 55)}?\nAnswer: {text(rng, 8)}\n\n" for _ in range(5))
    shots = [
        (f"{prefix}Question: {question}?\nAnswer:", f" {text(rng, 4)}")
        for question in [text(rng, 20) for _ in range(documents)]
        for _ in range(4)
    ]
    pairs = [
        (f"Question: {question}?\nAnswer:", f" {text(rng, 20)}")
        for question in [text(rng, 12) for _ in range(4 * documents)]
        for _ in range(2)
    ]
    stop = {"until": ["\n\n\n"], "max_gen_toks": 32, "do_sample": False}
    prompts = [(text(rng, rng.randint(10, 40)), stop) for _ in range(2 * documents)]
    return [
        Workload("5-shot, shared prefix, 4 options", "loglikelihood", tuple(shots)),
        Workload("0-shot, 2 options", "loglikelihood", tuple(pairs)),
        Workload("generation, 32 new tokens", "generate_until", tuple(prompts)),
    ]


def answer(lm: Any, work: Workload) -> tuple[list[Any], float]:
    """Return a model's answers and the CPU seconds they took."""
    requests = [Instance(work.kind, {}, arguments, i) for i, arguments in enumerate(work.arguments)]
    start = time.process_time()
    answers = getattr(lm, work.kind)(requests, disable_tqdm=True)
    return list(answers), time.process_time() - start


def answer_and_check(lm: PlacetLM, work: Workload) -> tuple[list[Any], float, float]:
    """Return the engine's answers, their CPU seconds, and how many of those its self-check took."""
    spent = 0.0

    def timed(check: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: Any) -> None:
            nonlocal spent
            start = time.process_time()
            check(*arguments)
            spent += time.process_time() - start

        return run

    names = ("_check_likelihoods", "_check_generations")
    for name in names:
        setattr(lm, name, timed(getattr(lm, name)))
    try:
        answers, seconds = answer(lm, work)
    finally:
        for name in names:
            delattr(lm, name)
    return answers, seconds, spent


def compare(
    ours: PlacetLM, theirs: Callable[[int], Any], batches: list[int], work: Workload
) -> dict[str, Any]:
    """Return the figures of one workload."""
    found, seconds, checking = answer_and_check(ours, work)
    runs = {size: answer(theirs(size), work) for size in batches}
    best = min(runs, key=lambda size: runs[size][1])
    expected = runs[best][0]
    figures: dict[str, Any] = {
        "workload": work.name,
        "requests": len(work.arguments),
        "hf_cpu_s": round(runs[best][1], 1),
        "hf_batch": best,
        "placet_cpu_s": round(seconds, 1),
        "of_that_self_check_cpu_s": round(checking, 1),
        "ratio": round(runs[best][1] / seconds, 1),
        "ratio_without_self_check": round(runs[best][1] / (seconds - checking), 1),
    }
    if work.kind == "loglikelihood":
        scored = [ours._scored(*ours._encoded(*arguments)[1:]) for arguments in work.arguments]
        figures["placet_tokens"] = planned_tokens(list(plan_passes(scored, ours._settings.pack_tokens)))
        figures["hf_tokens"] = sum(len(tokens) for tokens in {request.tokens for request in scored})
        figures["largest_difference"] = max(abs(a[0] - b[0]) for a, b in zip(found, expected, strict=True))
        figures["same_greedy"] = all(a[1] == b[1] for a, b in zip(found, expected, strict=True))
    else:
        figures["same_texts"] = sum(a == b for a, b in zip(found, expected, strict=True))
    return figures | {f"self_check_{name}": value for name, value in ours.self_check().items()}


def random_base(folder: Path, tokenizer: Path) -> Path:
    """Write a model of SmolLM2-135M's shape with random weights, for machines that lack the real one."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    torch.manual_seed(0)
    words = AutoTokenizer.from_pretrained(tokenizer)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=words.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def main() -> None:
    """Run the benchmark and print a table, or JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--base", type=Path, required=True, help="folder of the base model, or of its tokenizer"
    )
    parser.add_argument("--random", action="store_true", help="random weights of SmolLM2-135M's shape")
    parser.add_argument(
        "--documents", type=int, default=12, help="documents of the 5-shot workload (default 12)"
    )
    parser.add_argument("--batches", default="1,8", help="batch sizes of `hf` to try (default 1,8)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    torch.set_num_threads(options.threads)
    with TemporaryDirectory() as scratch:
        base = str(random_base(Path(scratch), options.base) if options.random else options.base)
        ours = PlacetLM(base, settings=EngineSettings(threads=options.threads))
        batches = [int(size) for size in options.batches.split(",")]

        def theirs(size: int) -> HFLM:
            return HFLM(base, device="cpu", dtype="float32", batch_size=size)

        rows = []
        for work in workloads(options.documents):
            ours.reset_self_check()
            rows.append(compare(ours, theirs, batches, work))
            if not options.json:
                print(
                    "\n".join(f"{name:34} {value}" for name, value in rows[-1].items()),
                    end="\n\n",
                    flush=True,
                )
        if options.json:
            print(json.dumps({"engine": ours.info().to_json(), "workloads": rows}, indent=2))


if __name__ == "__main__":
    main()
