"""One process of ours: a base and its adapters through one task. Reads a job as JSON, writes answers as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Do the job whose file is the first argument."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    started = time.process_time()
    from placet.engine.startup import load_engine

    load_engine()
    import torch

    torch.set_num_threads(job["threads"])
    from placet.domain.progress import NullProgress
    from placet.engine.harness import HarnessRunner
    from placet.engine.identity import EngineSettings
    from placet.engine.model import PlacetLM
    from placet.engine.tasks import TaskSpec

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    settings = EngineSettings(threads=job["threads"], pack_tokens=job.get("pack_tokens"))
    lm = PlacetLM(job["base"], dtype=job["dtype"], device=job["device"], settings=settings)
    for name, folder in job["adapters"].items():
        lm.add_adapter(name, Path(folder))
    runner = HarnessRunner(lm)
    spec = TaskSpec(job["task"], job["config"], job["docs"], tuple(range(len(job["docs"]))))
    ready = time.process_time()
    runs = []
    for name in [None, *job["adapters"]]:
        before, wall = time.process_time(), time.monotonic()
        lm.use_adapter(name)
        swapped = time.process_time()
        samples = runner.run(spec, NullProgress(), "bench")
        runs.append(
            {
                "weights": name,
                "swap_cpu_s": swapped - before,
                "cpu_s": time.process_time() - before,
                "wall_s": time.monotonic() - wall,
                "answers": [
                    [[call.logprob, call.greedy, call.response] for call in s.calls] for s in samples
                ],
                "prompts": [s.calls[0].context for s in samples],
                "self_check": runner.self_check(),
            }
        )
    out = {"startup_cpu_s": ready - started, "engine": lm.info().to_json(), "runs": runs}
    Path(job["out"]).write_text(json.dumps(out))


if __name__ == "__main__":
    main()
