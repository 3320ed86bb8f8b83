"""Policies: the first reading of past verdicts with their evidence, and what trying new kinds of gates takes after it.

    python -m benchmarks.policy_reading [--verdicts 2000] [--adapters 40] [--json]

Makes an office whose ledger holds that many verdicts with all they rest on, signed: plan, submission, training, intake
and five measured suites each, with per-sample results of realistic size in the blob store. Times the reading that
`placet policy simulate` makes the first time, one that is interrupted half-way and taken up again (both halves), and
after it a policy with other limits and one with gates of kinds that the old policy does not have.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.policy import POLICY, changed, forget, made_up
from placet.attest.keys import Signer
from placet.attest.predicates import (
    BuildDefinition,
    Builder,
    Kind,
    ResourceDescriptor,
    Role,
    RunDetails,
    RunMetadata,
    Training,
)
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import Digest, canonical_json, digest_bytes
from placet.domain.progress import NullProgress
from placet.domain.records import (
    AdapterRef,
    Base,
    BaseRef,
    BaseStatus,
    FileEntry,
    LedgerHead,
    Measurement,
    SourceRef,
    Submission,
    Verdict,
)
from placet.measuring.rows import Option, Row, rows_digest, rows_to_parquet
from placet.office import EVALUATOR_KEY, LOG_KEY, Office, TrustDesk, create_office
from placet.pipeline import history
from placet.policy.evidence import Evidence, Rows
from placet.policy.loader import parse_policy
from placet.policy.schema import Policy
from placet.policy.simulate import simulate

NEW_KINDS = """
  - {id: licences, kind: license, allow: [Apache-2.0, CC-BY-4.0], why: w}
  - {id: card, kind: documentation, sections: [Limitations], why: w}
  - {id: support, kind: base_supported, why: w}
  - {id: recent, kind: evidence_age, max_days: 30, why: w}
  - {id: parts, kind: subgroups, suite: pages, by: kind, margin: 0.2, why: w}
"""
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = "Question: which of two ways to reach an everyday goal works, and which one does not? " * 3
CARD = b"---\nlicense: mit\n---\n# An adapter\n\n## Limitations\n\nMany.\n"


@dataclass
class Shape:
    """A made-up adapter: its verdict, evidence, and the blobs of its runs by their record id."""

    verdict: Verdict
    evidence: Evidence
    blobs: dict[Digest, tuple[Digest, Digest]]
    base_runs: tuple[Digest, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--verdicts", type=int, default=2000)
    parser.add_argument(
        "--adapters", type=int, default=40, help="different results made up, which verdicts repeat"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        office = make_office(Path(folder) / "office", arguments.verdicts, arguments.adapters)
        figures = measure(office, arguments.verdicts)
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:<58}{value}")


def measure(office: Office, count: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"verdicts": count, "records in the log": office.store.size()}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start, cpu = time.perf_counter(), time.process_time()
        done = work()
        figures[f"{name}, seconds"] = round(time.perf_counter() - start, 2)
        figures[f"{name}, processor seconds"] = round(time.process_time() - cpu, 2)
        return done

    past = timed("first reading", lambda: history.load_history(office, NullProgress(), fresh=True))
    assert past.read == count
    kept = [path for path in (office.home / "work").iterdir() if path.name.startswith("facts")]
    figures["kept, MB"] = round(sum(path.stat().st_size for path in kept) / 1e6, 1)
    rest = timed("both halves of an interrupted one", lambda: interrupted(office, count // 2))
    assert rest.read == count - count // 2

    def again(policy: Policy) -> Any:
        forget()
        known = history.load_history(office, NullProgress())
        return simulate(policy, known.facts, known.evidence_of, known.about_of)

    for name, text in (("five other limits", changed()), ("five new kinds of gates", changed() + NEW_KINDS)):
        done = timed(name, partial(again, parse_policy(text)))
        figures[f"{name}, flips"] = len(done.flips)
        assert done.from_counts == count
    return figures


def interrupted(office: Office, after: int) -> history.History:
    """Return the history, read until half of it, and then the rest."""

    class Interrupting(NullProgress):
        seen = 0

        def advance(self, step: str, count: int = 1) -> None:
            self.seen += 1
            if self.seen == after:
                raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        history.load_history(office, Interrupting(), fresh=True)
    return history.load_history(office, NullProgress())


def make_office(home: Path, count: int, adapters: int) -> Office:
    policy = parse_policy(
        POLICY + "  - {id: kinds, kind: subgroups, suite: pages, by: kind, floor: 0.2, why: w}\n"
    )
    office = create_office(home, "Bench", ask=lambda _: "a passphrase for a benchmark")
    TrustDesk(office).new_key("tess", "Tess", [Role.TRAINER, Role.SUBMITTER, Role.APPROVER])
    office.blobs.put_bytes(canonical_json(policy.to_json()))
    writer = Writer(office, BaseRef(id=digest_bytes(b"base"), label="base"))
    source = SourceRef(kind="folder", location="made-up")
    base = Base(
        ref=writer.base, source=source, files=(), architecture="made-up", parameters=1, license="Apache-2.0"
    )
    status = BaseStatus(
        base=writer.base, end_of_life=False, stated_by="Tess", stated_at=NOW - timedelta(days=1)
    )
    writer.shared = (
        writer.add(Kind.BASE, base, writer.base.id, writer.evaluator),
        writer.add(Kind.BASE_STATUS, status, writer.base.id, writer.person),
    )
    shapes = [writer.shape(policy, seed) for seed in range(min(adapters, count))]
    for number in range(count):
        writer.walk(shapes[number % len(shapes)], number)
    writer.flush()
    return office


class Writer:
    """Signs records and appends them in batches."""

    def __init__(self, office: Office, base: BaseRef) -> None:
        self.office, self.base = office, base
        self.evaluator, self.person = office.signer(EVALUATOR_KEY), office.signer("tess")
        self.log = office.signer(LOG_KEY)
        self.shared: tuple[Digest, ...] = ()
        self._waiting: list[Any] = []

    def add(self, kind: Kind, record: Any, subject: Digest, signer: Signer) -> Digest:
        envelope = sign_record(kind, record, (Subject("it", subject),), signer)
        self._waiting.append(envelope)
        if len(self._waiting) == 2000:
            self.flush()
        return envelope.record_id

    def flush(self) -> None:
        self.office.store.append(tuple(self._waiting), self.log)
        self._waiting = []

    def shape(self, policy: Policy, seed: int) -> Shape:
        verdict, evidence = made_up(policy, seed)
        blobs = {run.record: self._blob(run) for run in (*evidence.runs, *evidence.base_runs)}
        made = Shape(verdict, evidence, blobs)
        ids = tuple(self._measurement(made, run, self.base.id, evidence.plan) for run in evidence.base_runs)
        made.base_runs = ids
        return made

    def walk(self, shape: Shape, number: int) -> None:
        """Log an adapter's way to its verdict."""
        weights, label = digest_bytes(f"weights {number}".encode()), f"adapter-{number:05d}"
        adapter = AdapterRef(id=digest_bytes(f"adapter {number}".encode()), weights_id=weights, label=label)
        card = FileEntry(path="README.md", size=len(CARD), sha256=self.office.blobs.put_bytes(CARD))
        source, evidence = SourceRef(kind="folder", location="made-up"), shape.evidence
        training = self.add(Kind.TRAINING, self._training(number), weights, self.person)
        submission = Submission(
            adapter=adapter, base=self.base, source=source, files=(card,), submitter="Tess", submitted_at=NOW,
            training=(training,),
        )  # fmt: skip
        submitted = self.add(Kind.SUBMISSION, submission, adapter.id, self.person)
        assert evidence.intake is not None
        seen = evidence.intake.intake.model_copy(
            update={"adapter": adapter, "files_id": adapter.id, "base": self.base}
        )
        intake = self.add(Kind.INTAKE, seen, adapter.id, self.evaluator)
        (entry,) = evidence.plans
        planned = entry.plan.model_copy(update={"adapter": adapter, "base": self.base})
        plan = self.add(Kind.PLAN, planned, adapter.id, self.evaluator)
        runs = [self._measurement(shape, run, weights, plan) for run in evidence.runs]
        record = shape.verdict.model_copy(
            update={
                "adapter": adapter,
                "base": self.base,
                "plan": plan,
                "plans_on_weights": (plan,),
                "evidence": (training, submitted, intake, plan, *runs, *shape.base_runs, *self.shared),
                "head": LedgerHead(size=1, root="0" * 64),
            }
        )
        self.add(Kind.VERDICT, record, adapter.id, self.evaluator)

    def _training(self, number: int) -> Training:
        base, data = self.base.id.removeprefix("sha256:"), digest_bytes(b"data").removeprefix("sha256:")
        return Training(
            build_definition=BuildDefinition(
                build_type="https://placet.dev/training/lora/v1",
                external_parameters={"name": f"adapter-{number}"},
                resolved_dependencies=(
                    ResourceDescriptor(name="base", digest={"sha256": base}, annotations={"role": "base"}),
                    ResourceDescriptor(
                        name="data",
                        digest={"sha256": data},
                        annotations={"role": "dataset", "license": "CC-BY-4.0"},
                    ),
                ),
            ),
            run_details=RunDetails(
                builder=Builder(id="made-up"),
                metadata=RunMetadata(invocation_id=str(number), started_on=NOW, finished_on=NOW),
            ),
        )

    def _measurement(self, shape: Shape, run: Rows, subject: Digest, plan: Digest) -> Digest:
        blob, digest = shape.blobs[run.record]
        update = {"subject": subject, "base": self.base, "plan": plan, "blob": blob, "rows_digest": digest}
        measured: Measurement = run.measurement.model_copy(update=update)
        return self.add(Kind.EVALUATION, measured, subject, self.evaluator)

    def _blob(self, run: Rows) -> tuple[Digest, Digest]:
        rows = [
            Row(
                doc=doc, id=f"doc-{doc}", doc_hash="0" * 64, prompt=f"{doc} {WORDS}", target="0", value=value,
                options=(Option(" one way", -12.25, False), Option(" another way", -13.5, False)),
            )
            for doc, value in zip(run.measurement.samples, run.values, strict=True)
        ]  # fmt: skip
        return self.office.blobs.put_bytes(rows_to_parquet(rows)), rows_digest(rows)


if __name__ == "__main__":
    main()
