"""Sequential gates: how much model time they take of a full run's, on real adapters, through the real pipeline.

    python -m benchmarks.sequential --office DIR [--keep DIR] [--suite piqa] [--margin 0.03] [--chunk 50] [--json]

Takes a finished demo office (`placet demo --home DIR`) and copies it twice. In one copy every adapter is gated on every
document of a suite of at least 1,000, in the other by a sequential gate of the same margin and alpha: the plan is
logged, chunks are run, the run stops early, the verdict plays it again. Model time is the processor time spent
measuring (requests, passes, self-checks, scoring), the base's share included; loading the model is the same for both
and left out. Run it with `OMP_NUM_THREADS=1` and on one core: threads that wait for each other count as working.

`PLACET_PASSPHRASE` must hold the office's passphrase. With `--keep`, what was run stays there and is not run again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from placet.attest.predicates import Kind
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.progress import NullProgress
from placet.domain.records import Measurement, Submission, Verdict
from placet.measuring.measured import MeasuredSuite
from placet.measuring.rows import Row
from placet.measuring.suite import Suite
from placet.office import Office
from placet.pipeline import measurements
from placet.pipeline.gate import gate
from placet.pipeline.runner import Runner
from placet.resources import evals_dir

SUITES = {
    "piqa": ("general-piqa", {"limit": 1500, "min_chars": 0, "max_chars": 100_000}),
    "reading": ("civic-reading", None),
}
"""Name → the shipped suite, and the arguments with which its data code gives at least 1,000 documents."""
LEAST = 1000
POLICY = """
id: sequential-benchmark
version: "1"
title: For a benchmark
description: The same question of the same documents, asked of all of them or until it is decided.
risk_tier: minimal
risk: None.
review: {{approvals: 1, valid_days: 30}}
suites:
  {suite}: {{samples: all{mode}}}
gates:
  - id: kept
    kind: not_worse
    suite: {suite}
    margin: {margin}
    planning: {{discordance: {discordance}}}
    why: What the base can do must not be lost.
"""


class TimedRunner(Runner):
    """A runner that adds up the processor time of measuring, and the documents, by subject."""

    spent: dict[str, list[float]]

    def measure(
        self,
        suite: Suite,
        samples: tuple[int, ...],
        weights_id: Digest | None,
        label: str,
        *,
        plan: Digest,
        recorded: Sequence[tuple[Verified[Measurement], tuple[Row, ...]]] = (),
    ) -> MeasuredSuite:
        start = time.process_time()
        try:
            return super().measure(suite, samples, weights_id, label, plan=plan, recorded=recorded)
        finally:
            entry = self.spent.setdefault("base" if weights_id is None else label, [0.0, 0])
            entry[0] += time.process_time() - start
            entry[1] += 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--office", type=Path, required=True, help="a finished demo office; it is not changed"
    )
    parser.add_argument("--keep", type=Path, help="folder for the copies, and for figures of what was run")
    parser.add_argument("--suite", choices=sorted(SUITES), default="piqa")
    parser.add_argument("--margin", type=float, default=0.03)
    parser.add_argument("--discordance", type=float, default=0.1, help="what the policy expects; steers bets")
    parser.add_argument("--chunk", type=int, default=50)
    parser.add_argument(
        "--adapters", nargs="*", help="labels; all that were submitted and taken in by default"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        suites = folder / "evals"
        name = write_suite(suites, arguments.suite)
        shared = {
            "suite": name,
            "margin": f"{arguments.margin:g}",
            "discordance": f"{arguments.discordance:g}",
        }
        whole = POLICY.format(**shared, mode="")
        full = run(arguments, folder / f"{arguments.suite}-full", suites, whole, again=True)
        mode = f", mode: sequential, claim: benchmark, chunk: {arguments.chunk}"
        home = folder / f"{arguments.suite}-sequential-{arguments.chunk}"
        short = run(arguments, home, suites, POLICY.format(**shared, mode=mode))
    figures = compared(full, short)
    print(json.dumps(figures) if arguments.json else table(figures))


def write_suite(folder: Path, chosen: str) -> str:
    """Write a suite of at least 1,000 documents; return its id."""
    shipped, more = SUITES[chosen]
    name = shipped if more is None else f"{shipped}-whole"
    target = folder / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(evals_dir() / shipped, target)
    manifest = yaml.safe_load((target / "suite.yaml").read_text())
    if more is not None:
        manifest["id"] = name
        manifest["data"]["rows"]["arguments"] = more
        (target / "suite.yaml").write_text(yaml.safe_dump(manifest))
    return name


def run(
    arguments: argparse.Namespace, home: Path, suites: Path, policy: str, *, again: bool = False
) -> dict[str, Any]:
    """Gate the adapters in a copy of the office at `home`; return the figures.

    What was run under the very same policy is not run again. With `again`, the figures of any policy on all documents
    serve: the times are theirs, and the verdicts are given anew, over the recorded answers.
    """
    kept = home.with_suffix(".json")
    before: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    if before.get("policy") == policy:
        return before
    if not before or not again:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(arguments.office, home)
    document = home.with_suffix(".yaml")
    document.write_text(policy)
    office = Office.open(home)
    TimedRunner.spent = {}
    start = time.process_time()
    with mock.patch.object(measurements, "Runner", TimedRunner):
        wanted = adapters(office, arguments.adapters)
        verdicts = gate(office, wanted, document, NullProgress(), suites_dir=suites)
    figures = {
        "model_s": {label: round(spent, 2) for label, (spent, _) in TimedRunner.spent.items()},
        "passes": {label: calls for label, (_, calls) in TimedRunner.spent.items()},
        "all_s": round(time.process_time() - start, 2),
        "documents": documents(office, verdicts),
    }
    if before and again:
        figures = {name: before[name] for name in figures}
    figures |= {
        "verdicts": {one.record.adapter.label: told(one.record) for one in verdicts},
        "policy": policy,
    }
    kept.write_text(json.dumps(figures))
    return figures


def adapters(office: Office, labels: Sequence[str] | None) -> list[Digest]:
    """Return the ids of the adapters that were taken in, in the order they were."""
    found = {
        item.record.adapter.label: item.record.adapter.id
        for item in office.reader().find(Kind.SUBMISSION, Submission)
    }
    return [found[label] for label in labels or found]


def documents(office: Office, verdicts: Sequence[Verified[Verdict]]) -> dict[str, int]:
    """Return how many documents each subject was run on under these verdicts' plans."""
    plans = {one.record.plan for one in verdicts}
    labels = {one.record.adapter.weights_id: one.record.adapter.label for one in verdicts}
    runs = [item.record for item in office.reader().find(Kind.EVALUATION, Measurement)]
    found: dict[str, int] = {}
    for one in runs:
        if one.plan in plans:
            label = labels.get(one.subject, "base")
            found[label] = max(found.get(label, 0), one.n)
    return found


def told(verdict: Verdict) -> dict[str, Any]:
    (result,) = verdict.gates
    interval = result.interval
    return {
        "decision": verdict.decision.value,
        "outcome": result.outcome.value,
        "figure": result.figure,
        "base": result.baseline,
        "interval": [interval.low, interval.high] if interval else None,
        "n": result.n,
    }


def compared(full: dict[str, Any], short: dict[str, Any]) -> dict[str, Any]:
    """Return both runs and what one took of the other."""
    whole, part = sum(full["model_s"].values()), sum(short["model_s"].values())
    decisions = [{label: one["decision"] for label, one in run["verdicts"].items()} for run in (full, short)]
    return {
        "full": full,
        "sequential": short,
        "model_time_ratio": round(part / whole, 3),
        "documents_ratio": round(sum(short["documents"].values()) / sum(full["documents"].values()), 3),
        "same_verdicts": decisions[0] == decisions[1],
    }


def table(figures: dict[str, Any]) -> str:
    full, short = figures["full"], figures["sequential"]
    lines = [f"{'subject':<18}{'documents':>14}{'model seconds':>20}{'ratio':>8}   verdict full / sequential"]
    for label in full["model_s"]:
        ran = f"{full['documents'][label]} / {short['documents'][label]}"
        seconds = f"{full['model_s'][label]:.1f} / {short['model_s'][label]:.1f}"
        ratio = short["model_s"][label] / full["model_s"][label]
        said = [run["verdicts"].get(label) for run in (full, short)]
        words = " / ".join(f"{one['decision']} ({one['outcome']})" for one in said if one)
        lines.append(f"{label:<18}{ran:>14}{seconds:>20}{ratio:>8.3f}   {words}")
    lines.append(f"model time, sequential / full: {figures['model_time_ratio']:.3f}")
    lines.append(f"documents, sequential / full:  {figures['documents_ratio']:.3f}")
    lines.append(f"all of the gate's processor time: {full['all_s']:.1f} / {short['all_s']:.1f} s")
    lines.append(f"same verdicts: {'yes' if figures['same_verdicts'] else 'NO'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
