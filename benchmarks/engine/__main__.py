"""The engine against lm-eval's `hf` model: whole commands, the same requests, CPU seconds and differences.

The baseline is `lm_eval --model hf`, started once for each adapter and for the base; by default it is run for one
adapter, on all documents, and multiplied. Its batch size is the fastest of those asked for, found on a twentieth of
the documents. Ours is one process for all of them. Imports, loading and building requests count on both sides.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.engine.commands import Setting, run_hf, run_ours
from benchmarks.engine.compare import compare
from benchmarks.engine.work import (
    Work,
    all_work,
    default_base,
    few_shot,
    write_adapters,
    write_large_base,
    write_task,
)


def fastest_batch(setting: Setting, work: Work, adapter: Path, batches: list[int]) -> int:
    """Return the batch size at which `hf` is fastest on a twentieth of the documents (at least 16 requests)."""
    requests = len(work.docs[0].get("choices", " "))
    few = max(-(-16 // requests), len(work.docs) // 20)
    spent = {size: run_hf(setting, work, adapter, size, "float32", few)[0] for size in batches}
    return min(spent, key=lambda size: spent[size].seconds(setting.device))


def measure(
    setting: Setting,
    work: Work,
    adapters: list[Path],
    batches: list[int],
    startup_s: float,
    *,
    full: bool,
    dtypes: list[str],
) -> dict[str, Any]:
    """Return one row's figures; `startup_s` is what `hf` takes for a single document."""
    adapters = adapters[: work.adapters]
    batch = fastest_batch(setting, work, adapters[0], batches) if len(batches) > 1 else batches[0]
    tell(f"{work.title}: hf at batch size {batch}")
    runs = {
        path.name: run_hf(setting, work, path, batch, "float32")
        for path in (adapters if full else adapters[:1])
    }
    spent = [found[0].seconds(setting.device) for found in runs.values()]
    theirs = sum(spent) / len(spent) * work.runs
    if full:
        base = run_hf(setting, work, None, batch, "float32")
        runs["base"] = base
        theirs = sum(spent) + base[0].seconds(setting.device)
    tell(
        f"{work.title}: hf took {theirs:.0f} s for {work.runs} runs ({'all run' if full else 'one run, multiplied'})"
    )
    row: dict[str, Any] = {
        "title": work.title,
        "runs": work.runs,
        "generates": work.generates,
        "hf_batch": batch,
        "hf_s": theirs,
        "hf_full": full,
        "hf_startup_s": startup_s,
        "ours": {},
    }
    for dtype in dtypes if work.least_16_bit else dtypes[:1]:
        least, aim = (work.least, work.aim) if dtype == "float32" else (work.least_16_bit, None)
        mine, found = run_ours(setting, work, adapters, dtype)
        noise = run_ours(setting, work, [], dtype, pack_tokens=96)[1]["runs"][0]["answers"]
        by_name = {run["weights"]: run for run in found["runs"]}
        floor = compare(by_name[None]["answers"], noise)
        allowed = 0.0 if dtype == "float32" else floor.largest
        differences = {}
        for name, (_, answers, prompts) in runs.items():
            run = by_name[None if name == "base" else name]
            if run["prompts"] != prompts:
                raise RuntimeError("the two sides were asked different things")
            differences[name] = vars_of(compare(run["answers"], answers, allowed))
        answering = [run["cpu_s" if setting.device == "cpu" else "wall_s"] for run in found["runs"]]
        one_run = theirs / work.runs
        row["ours"][dtype] = {
            "least": least,
            "aim": aim,
            "s": mine.seconds(setting.device),
            "ratio": theirs / mine.seconds(setting.device),
            "startup_s": found["startup_cpu_s"],
            "answering_s": answering,
            "noise_floor": vars_of(floor),
            "differences": differences,
            "self_check": [run["self_check"] for run in found["runs"]],
            "saved_s": {
                "prefixes_and_packing": (one_run - startup_s) * work.runs - sum(answering),
                "one_process": startup_s * work.runs - found["startup_cpu_s"],
                "base_once": answering[0] * (work.adapters - 1),
            },
            "engine": found["engine"],
        }
        worst = max(differences.values(), key=lambda d: d["largest"])
        ratio = theirs / mine.seconds(setting.device)
        tell(
            f"{work.title}, {dtype}: ours {mine.seconds(setting.device):.0f} s, {ratio:.1f}×"
            f" (at least {least}), largest difference {worst['largest']:.1e}, noise floor {floor.largest:.1e},"
            f" decisions {worst['decisions']} (+{worst['ties']} ties), texts {worst['texts']}"
        )
    return row


def vars_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def child(what: str, setting: Setting, adapters: list[Path], dtype: str, share: float) -> Any:
    """Run `benchmarks.engine.rate` in a process of its own."""
    with tempfile.TemporaryDirectory(dir=setting.scratch) as scratch:
        command = [
            sys.executable, "-m", "benchmarks.engine.rate", what, "--base", str(setting.base), "--scratch", scratch,
            "--dtype", dtype, "--device", setting.device, "--threads", str(setting.threads), "--share", str(share),
            "--adapters", *map(str, adapters),
        ]  # fmt: skip
        done = subprocess.run(command, env=setting.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def tell(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {text}", file=sys.stderr, flush=True)


def markdown(found: dict[str, Any]) -> str:
    """Return the figures as tables."""
    unit = "CPU s" if found["device"] == "cpu" else "s"
    lines = [
        f"| work | `hf`, {unit} (batch) | ours, {unit} | ratio | at least | largest difference"
        " | decisions that differ | noise floor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        for dtype, ours in row["ours"].items():
            worst = max(ours["differences"].values(), key=lambda d: d["largest"])
            wanted = f"{ours['least']}" + (f" (aim {ours['aim']})" if ours["aim"] else "")
            lines.append(
                f"| {row['title']}, {row['runs'] - 1} adapters + base, {dtype} | {row['hf_s']:.0f} ({row['hf_batch']})"
                f" | {ours['s']:.0f} | **{ours['ratio']:.1f}** | {wanted} |"
                + (
                    f" texts: {worst['texts']} of {worst['requests']} | – | – |"
                    if row["generates"]
                    else f" {worst['largest']:.1e} nats | {worst['decisions']} of {worst['documents']}"
                    f" ({worst['ties']} ties) | {ours['noise_floor']['largest']:.1e} |"
                )
            )
    for dtype, rates in found["rates"].items():
        lines += [
            "",
            f"| packed scoring, {dtype} | tokens (one by one) | matmul GFLOP/s | achieved share |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {rate['tokens']} ({rate['tokens_one_by_one']}) | {rate['matmul_gigaflops']:.0f} |"
            f" {rate['achieved_share']:.2f} |"
            for name, rate in rates.items()
        ]
    if found.get("memory"):
        m = found["memory"]
        lines += [
            "",
            f"Memory: base {m['base_mb']:.0f} MB, growth {m['growth_mb']:.0f} MB, of which pass budget"
            f" {m['pass_budget_mb']:.0f} MB;"
            f" beyond it {m['beyond_share_of_base']:+.3f} of the base (at most 0.1).",
        ]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark; the table goes to the standard output, JSON with --json."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base", type=Path, help="folder of the base model; the demo's base if not given")
    parser.add_argument(
        "--large", action="store_true", help="a random Llama of one billion parameters instead"
    )
    parser.add_argument("--rows", default="", help="names of rows, with commas; all if not given")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the documents; below 1 to try it out"
    )
    parser.add_argument("--batches", default="1,8,16", help="batch sizes of `hf` to choose from")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--dtypes", default="float32,bfloat16", help="types to run ours in; `hf` runs in float32"
    )
    parser.add_argument("--full", action="store_true", help="run `hf` for every adapter and the base")
    parser.add_argument("--no-rates", action="store_true", help="leave out FLOP/s and memory")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        base = options.base or default_base()
        if options.large:
            base = write_large_base(base, scratch / "large")
        setting = Setting(base, scratch, options.threads, options.device)
        adapters = write_adapters(base, scratch, 8)
        wanted = set(filter(None, options.rows.split(",")))
        rows = [work for work in all_work(scratch, options.share) if not wanted or work.name in wanted]
        for work in rows:
            write_task(work, scratch)
        batches = [int(size) for size in options.batches.split(",")]
        dtypes = options.dtypes.split(",")
        found: dict[str, Any] = {
            "date": datetime.now(UTC).isoformat(timespec="minutes"),
            "command": " ".join(["python -m benchmarks.engine", *sys.argv[1:]]),
            "machine": f"{platform.machine()}, {options.threads} threads",
            "device": options.device,
            "rates": {},
            "rows": [],
        }
        nothing = few_shot("startup", "one short document", 0, 1, 1, 0, 0)
        write_task(nothing, scratch)
        startup = run_hf(setting, nothing, adapters[0], 1, "float32")[0]
        found["hf_startup_s"] = startup.seconds(setting.device)
        tell(f"hf for one short document: {found['hf_startup_s']:.0f} s")
        for work in rows:
            found["rows"].append(
                measure(
                    setting, work, adapters, batches, found["hf_startup_s"], full=options.full, dtypes=dtypes
                )
            )
            if options.json:
                options.json.write_text(json.dumps(found, indent=2))
        if not options.no_rates:
            for dtype in dtypes:
                tell(f"rates in {dtype}")
                found["rates"][dtype] = child("rate", setting, [], dtype, min(options.share, 0.25))
            if options.device == "cpu":
                tell("memory")
                found["memory"] = child("memory", setting, adapters, "float32", min(options.share, 0.25))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    print(markdown(found))


if __name__ == "__main__":
    main()
