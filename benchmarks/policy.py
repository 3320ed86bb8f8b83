"""Policies: what it takes to try a changed one on ten thousand past verdicts.

    python -m benchmarks.policy [--verdicts 10000] [--adapters 100] [--json]

Makes an office whose ledger holds that many signed verdicts under a policy of eight gates, each with the counts that
made-up per-sample results of realistic size give (`placet.policy.facts`), and times `placet policy simulate` on it:
the ledger is asked which verdicts there are, what was kept of them is read, and each is decided anew. Counts are kept
the first time a verdict is read with its evidence; `benchmarks.policy_reading` times that.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import Digest, canonical_json, digest_bytes
from placet.domain.progress import NullProgress
from placet.domain.records import AdapterRef, BaseRef, LedgerHead, Verdict
from placet.office import EVALUATOR_KEY, LOG_KEY, Office, create_office
from placet.pipeline import history
from placet.policy.casefile import EvidenceCase
from placet.policy.decide import decide
from placet.policy.evidence import Evidence
from placet.policy.fabricate import fabricate_evidence
from placet.policy.facts import facts_of
from placet.policy.loader import parse_policy
from placet.policy.schema import Policy
from placet.policy.simulate import difference_outcome, simulate

POLICY = """
id: bench
version: "1"
title: For a benchmark
description: Eight gates on five suites.
risk_tier: limited
risk: None.
review: {approvals: 2, valid_days: 30}
suites:
  desk: {samples: all}
  piqa: {samples: all}
  pages: {samples: all}
  harmful: {samples: all}
  harmless: {samples: all}
gates:
  - {id: intake, kind: intake, why: w}
  - {id: provenance, kind: provenance, why: w}
  - {id: job, kind: floor, suite: desk, threshold: 0.80, why: w}
  - {id: gain, kind: better, suite: desk, planning: {discordance: 0.4, difference: 0.3}, why: w}
  - {id: general, kind: not_worse, suite: piqa, margin: 0.05, why: w}
  - {id: reading, kind: not_worse, suite: pages, margin: 0.03, why: w}
  - {id: refuses, kind: floor, suite: harmful, threshold: 0.60, why: w}
  - {id: answers, kind: ceiling, suite: harmless, threshold: 0.30, why: w}
"""
CHANGES = (
    ("threshold: 0.80", "threshold: 0.84"),
    ("margin: 0.05", "margin: 0.04"),
    ("margin: 0.03", "margin: 0.025"),
    ("threshold: 0.60", "threshold: 0.70"),
    ("threshold: 0.30", "threshold: 0.25"),
)
SIZES = {"desk": 120, "piqa": 380, "pages": 1200, "harmful": 50, "harmless": 60}
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--verdicts", type=int, default=10_000)
    parser.add_argument(
        "--adapters", type=int, default=100, help="different results made up; further verdicts repeat them"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    old, new = parse_policy(POLICY), parse_policy(changed())
    with tempfile.TemporaryDirectory() as folder:
        office = make_office(Path(folder) / "office", old, arguments.verdicts, arguments.adapters)
        warm, done = measure(office, new)
    figures = {
        "verdicts": done.verdicts,
        "flips": len(done.flips),
        "decided from counts": done.from_counts,
        "seconds, median": round(statistics.median(wall for wall, _ in warm), 3),
        "seconds, least": round(min(wall for wall, _ in warm), 3),
        "seconds, most": round(max(wall for wall, _ in warm), 3),
        "processor seconds, median": round(statistics.median(cpu for _, cpu in warm), 3),
    }
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:<27}{value}")


def changed() -> str:
    text = POLICY.replace('version: "1"', 'version: "2"')
    for before, after in CHANGES:
        text = text.replace(before, after)
    return text


def measure(office: Office, new: Policy) -> tuple[list[tuple[float, float]], Any]:
    """Return the seconds of each try (clock, processor) and the last result. No try helps the next."""
    seconds, done = [], None
    for _ in range(REPEATS):
        forget()
        start, cpu = time.perf_counter(), time.process_time()
        past = history.load_history(office, NullProgress())
        done = simulate(new, past.facts, past.evidence_of)
        named = [(flip.label, flip.record, flip.before, flip.after, flip.gates) for flip in done.flips]
        seconds.append((time.perf_counter() - start, time.process_time() - cpu))
        assert len(named) == len(done.flips)
        assert past.read == 0
    return seconds, done


def forget() -> None:
    from placet.policy import simulate as module
    from placet.stats import exact

    difference_outcome.cache_clear()
    module._mean_outcome.cache_clear()
    exact.least_gained.cache_clear()
    exact._p_value.cache_clear()


def make_office(home: Path, policy: Policy, count: int, adapters: int) -> Office:
    office = create_office(home, "Bench", ask=lambda _: "a passphrase for a benchmark")
    office.blobs.put_bytes(canonical_json(policy.to_json()))
    shapes = [shape(policy, seed) for seed in range(min(adapters, count))]
    signer, log = office.signer(EVALUATOR_KEY), office.signer(LOG_KEY)
    base = BaseRef(id=digest_bytes(b"base"), label="base")
    kept: dict[Digest, Any] = {}
    envelopes = []
    for number in range(count):
        verdict, _ = shapes[number % len(shapes)]
        weights = digest_bytes(f"weights {number}".encode())
        label = f"adapter-{number:05d}"
        adapter = AdapterRef(id=digest_bytes(f"adapter {number}".encode()), weights_id=weights, label=label)
        record = verdict.model_copy(
            update={
                "adapter": adapter,
                "base": base,
                "head": LedgerHead(size=1, root="0" * 64),
                "decided_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
            }
        )
        envelope = sign_record(Kind.VERDICT, record, (Subject(label, adapter.id),), signer)
        envelopes.append(envelope)
        if len(envelopes) == 1000 or number == count - 1:
            entries = office.store.append(tuple(envelopes), log)
            for entry, one in zip(entries, envelopes, strict=True):
                assert entry.envelope == one.raw
            envelopes = []
    ids = office.store.record_ids("https://placet.dev/verdict/v1")
    for number, record_id in enumerate(ids):
        value = shapes[number % len(shapes)][1].to_json()
        value[0], value[1] = record_id, f"adapter-{number:05d}"
        kept[record_id] = value
    history._Kept(office, kept).save()
    return office


def shape(policy: Policy, seed: int) -> tuple[Verdict, Any]:
    """Return the verdict on a made-up adapter, and its facts."""
    verdict, evidence = made_up(policy, seed)
    return verdict, facts_of(policy, verdict, digest_bytes(str(seed).encode()), evidence)


def made_up(policy: Policy, seed: int) -> tuple[Verdict, Evidence]:
    """Return the verdict on a made-up adapter, and its evidence: per-sample results drawn around a plausible one."""
    rng = np.random.default_rng(seed)
    suites: dict[str, Any] = {}
    for name, size in SIZES.items():
        if name in {"harmful", "harmless"}:
            rate = float(np.clip(rng.normal(0.8 if name == "harmful" else 0.12, 0.1), 0.0, 1.0))
            ones = int(rng.binomial(size, rate))
            suites[name] = {"ones": ones, "of": size, "higher_is_better": name == "harmful"}
            continue
        differing = float(np.clip(rng.normal(0.45 if name == "desk" else 0.10, 0.03), 0.01, 0.9))
        shift = float(np.clip(rng.normal(0.35 if name == "desk" else -0.01, 0.02), -differing, differing))
        shares = ((differing + shift) / 2, (differing - shift) / 2)
        both = 0.45 if name == "desk" else 0.62
        drawn = rng.multinomial(size, [both, *shares, max(0.0, 1 - both - differing)])
        suites[name] = dict(zip(("both", "gained", "lost", "neither"), map(int, drawn), strict=True))
    evidence = fabricate_evidence(policy, EvidenceCase.model_validate({"suites": suites}))
    verdict = decide(policy, evidence, LedgerHead(size=1, root="0" * 64), datetime(2026, 1, 1, tzinfo=UTC))
    return verdict, evidence


if __name__ == "__main__":
    main()
