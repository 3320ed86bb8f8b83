"""Achieved FLOP/s of packed scoring against the machine's own matmul rate, and memory. One process, one JSON line.

FLOPs are counted by torch over the very passes that are timed, attention included. The matmul rate is that of each
linear layer's product at the shapes of the passes, weighted by its FLOPs, measured in turns with the scoring.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.engine.work import Work, all_work
from placet.engine.forest import Pack, Push, plan_passes
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM
from placet.engine.packed import PackedScorer


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


# torch counts the attention of GPUs, and not the one a CPU uses.
CPU_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


def scored(lm: PlacetLM, work: Work) -> list[Any]:
    from lm_eval.utils import apply_template

    scoring = lm._scoring(lm._settings)
    found = []
    for doc in work.docs:
        prompt = apply_template(work.config["doc_to_text"], doc)
        for choice in doc["choices"]:
            _, context, continuation = lm._encoder.pair(prompt, f" {choice}")
            found.append(scoring._scored(context, continuation))
    return found


class Clock:
    """Seconds of computing: of the process on a CPU, of the device on a GPU."""

    def __init__(self, device: str) -> None:
        self._cuda = device != "cpu"

    def now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()


def shapes(lm: PlacetLM, passes: list[Any], requests: list[Any]) -> dict[tuple[int, int, int], int]:
    """Return how often each product (rows, inputs, outputs) occurs in `passes`."""
    found: dict[tuple[int, int, int], int] = {}
    head = lm.model.get_output_embeddings()
    linears = [m for m in lm.model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    for step in passes:
        if not isinstance(step, Pack | Push):
            continue
        rows = len(step.tokens)
        for linear in linears:
            key = (rows, linear.in_features, linear.out_features)
            found[key] = found.get(key, 0) + 1
        wanted = 1
        if isinstance(step, Pack):
            wanted = len(
                {
                    node
                    for path in step.paths
                    for owner in path.requests
                    for node in path.nodes[requests[owner].first - step.depth :]
                }
            )
        key = (wanted, head.in_features, head.out_features)
        found[key] = found.get(key, 0) + 1
    return found


def matmul_seconds(
    found: dict[tuple[int, int, int], int], dtype: torch.dtype, clock: Clock, device: str
) -> float:
    """Return how long the products take, one after the other, from warm operands."""
    total = 0.0
    for (rows, inputs, outputs), count in found.items():
        a = torch.randn(rows, inputs, dtype=dtype, device=device)
        weight = torch.randn(outputs, inputs, dtype=dtype, device=device)
        torch.nn.functional.linear(a, weight)
        repeats = min(count, 12)
        started = clock.now()
        for _ in range(repeats):
            torch.nn.functional.linear(a, weight)
        total += (clock.now() - started) / repeats * count
    return total


def achieved(lm: PlacetLM, work: Work, device: str, rounds: int) -> dict[str, float]:
    """Return the rates of one row."""
    requests, clock = scored(lm, work), Clock(device)
    passes = list(plan_passes(requests, lm._sizes.pack_tokens))

    def score() -> None:
        list(PackedScorer(lm.model, lm._sizes.attention_block).score(requests, passes))

    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        score()
    flops = counter.get_total_flops()
    products = shapes(lm, passes, requests)
    product_flops = sum(2 * m * k * n * count for (m, k, n), count in products.items())
    ratios, rates = [], []
    score()
    for _ in range(rounds):
        started = clock.now()
        score()
        seconds = clock.now() - started
        rate = product_flops / matmul_seconds(products, lm.model.dtype, clock, device)
        rates.append(rate)
        ratios.append(flops / seconds / rate)
    return {
        "tokens": sum(len(step.tokens) for step in passes if isinstance(step, Pack | Push)),
        "tokens_one_by_one": sum(len(request.tokens) for request in requests),
        "gigaflop": flops / 1e9,
        "attention_share": 1 - product_flops / flops,
        "matmul_gigaflops": statistics.median(rates) / 1e9,
        "achieved_share": statistics.median(ratios),
        "achieved_share_without_attention": statistics.median(ratios) * product_flops / flops,
    }


def resident_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field} in /proc/self/status")


def memory(
    base: Path, adapters: list[Path], work: Work, dtype: str, threads: int, budget: int
) -> dict[str, float]:
    """Return how far the process grows beyond the loaded base while it scores `work` for each adapter, in MB."""
    from lm_eval.api.instance import Instance
    from lm_eval.utils import apply_template

    settings = EngineSettings(threads=threads, pass_megabytes=budget)
    lm = PlacetLM(str(base), dtype=dtype, device="cpu", settings=settings)
    weights = sum(p.numel() * p.element_size() for p in lm.model.parameters())
    arguments = [
        (apply_template(work.config["doc_to_text"], doc), f" {choice}")
        for doc in work.docs
        for choice in doc["choices"]
    ]

    def answer() -> None:
        lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in arguments], disable_tqdm=True)

    # The first pass of a process makes the libraries' own buffers; loading leaves pages behind.
    lm.loglikelihood([Instance("loglikelihood", {}, ("warm", " up"), 0)], disable_tqdm=True)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    for adapter in adapters:
        lm.add_adapter(adapter.name, adapter)
        lm.use_adapter(adapter.name)
        answer()
    growth = resident_bytes("VmHWM") - before
    megabyte = 1e6
    return {
        "base_mb": weights / megabyte,
        "growth_mb": growth / megabyte,
        "pass_budget_mb": (budget << 20) / megabyte,
        "beyond_share_of_base": (growth - (budget << 20)) / weights,
        "growth_share_of_base": growth / weights,
    }


def main() -> None:
    """Measure one thing and print it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["rate", "memory"])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapters", type=Path, nargs="*", default=[])
    parser.add_argument("--scratch", type=Path, required=True, help="an empty folder")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.25, help="share of each row's documents")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=128, help="MiB a pass may take, for `memory`")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [work for work in all_work(options.scratch, options.share) if work.name != "generation"]
    if options.what == "memory":
        found: Any = memory(
            options.base, options.adapters, rows[0], options.dtype, options.threads, options.budget
        )
    else:
        settings = EngineSettings(threads=options.threads)
        lm = PlacetLM(str(options.base), dtype=options.dtype, device=options.device, settings=settings)
        found = {work.name: achieved(lm, work, options.device, options.rounds) for work in rows}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
