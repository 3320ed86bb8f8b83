"""How quick the review app is on a large office: the first page of a process, and every one after it.

Makes an office of many adapters with real signatures (measured values are made up), and times what each page loads,
then each page as a whole by Streamlit's own test runner, the browser left out.

    python -m benchmarks.review_app --adapters 2000
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from placet.attest.envelope import Envelope
from placet.attest.keys import Signer
from placet.attest.predicates import Kind, spec_of
from placet.attest.statement import Subject
from placet.attest.trust import Verified, sign_record
from placet.domain.records import Decision, Outcome, Record, Review, ReviewDecision
from placet.office import Office
from placet.report.adapter import load_adapter_report
from placet.report.ledger import load_ledger_page
from placet.report.queue import load_queue
from placet.report.snapshot import load_snapshot
from placet.resources import app_dir
from tests.support import offices
from tests.support.offices import SampleOffice

_BATCH = 2000
_VIEWS = ("queue", "adapter", "lineage", "ledger")


class _Buffered(SampleOffice):
    """Logs records by the thousand: a checkpoint for each would take hours."""

    waiting: list[Envelope]

    def record(
        self, kind: Kind, record: Record, subjects: Sequence[Subject], signer: Signer | None = None
    ) -> Verified[Any]:
        envelope = sign_record(kind, record, tuple(subjects), signer or self.evaluator)
        self.waiting.append(envelope)
        self.clock.advance(seconds=20)
        trust = self.office.trust  # type: ignore[attr-defined]
        return trust.verify(envelope, self.office.head.size)  # type: ignore[attr-defined,no-any-return]


class _Frozen:
    """Stands for the office while records are made: its head moves only when they are logged."""

    def __init__(self, office: Office) -> None:
        self.office, self.blobs, self.home = office, office.blobs, office.home
        self.refresh()

    def refresh(self) -> None:
        reader = self.office.reader()
        self.trust, self.head = reader.trust, reader.head()

    def reader(self) -> _Frozen:
        return self

    def signer(self, name: str) -> Signer:
        return self.office.signer(name)


class _Head:
    def __init__(self, frozen: _Frozen) -> None:
        self._frozen = frozen

    def head(self) -> Any:
        return self._frozen.head


def make_large_office(home: Path, adapters: int) -> Office:
    """Make an office with `adapters` adapters of ten records each, a third of them waiting for somebody."""
    sample = offices.make_office(home, "Large office")
    frozen = _Frozen(sample.office)
    frozen.reader = lambda: _Head(frozen)  # type: ignore[method-assign,assignment]
    buffered = _Buffered(frozen, sample.clock, sample.signers)  # type: ignore[arg-type]
    buffered.waiting = []
    base = offices.add_base(buffered).record.ref
    for number in range(adapters):
        _walk(buffered, f"adapter-{number:05d}", base, number)
        if len(buffered.waiting) >= _BATCH:
            _log(sample.office, buffered, frozen)
    _log(sample.office, buffered, frozen)
    return sample.office


def _log(office: Office, buffered: _Buffered, frozen: _Frozen) -> None:
    office.append(buffered.waiting)
    buffered.waiting = []
    frozen.refresh()


def _walk(sample: _Buffered, label: str, base: Any, number: int) -> None:
    decision = (Decision.ALLOW, Decision.DENY, Decision.NEEDS_REVIEW)[number % 3]
    gates = {
        Decision.ALLOW: [offices.passing_gate()],
        Decision.DENY: [offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})],
        Decision.NEEDS_REVIEW: [offices.inconclusive_gate()],
    }[decision]
    adapter = offices.make_adapter(sample, label)
    training = offices.add_training(sample, adapter, base)
    intake = offices.add_intake(sample, adapter, base)
    offices.add_submission(sample, adapter, base, training=(training.id,))
    plan = offices.add_plan(sample, adapter.ref, base, suites=("support-desk", "general-piqa"))
    values = [float(place % 3 > 0) for place in range(12)]
    runs = [
        offices.add_measurement(sample, suite, plan, values, subject=who)
        for suite in ("support-desk", "general-piqa")
        for who in (adapter.ref, base)
    ]
    evidence = [training.id, intake.id, plan.id, *(run.id for run in runs)]
    verdict = offices.add_verdict(sample, plan, decision, evidence=evidence, gates=gates)
    if decision is Decision.ALLOW and number % 2:
        _review(sample, verdict, "ada")


def _review(sample: _Buffered, verdict: Verified[Any], person: str) -> None:
    record = verdict.record
    review = Review(
        adapter=record.adapter,
        base=record.base,
        policy=record.policy,
        verdict=verdict.id,
        evidence=record.evidence,
        head=record.head,
        decision=ReviewDecision.APPROVE,
        comment="Looked at it.",
        reviewer=person,
        reviewed_at=sample.clock(),
        expires_at=sample.clock().replace(year=sample.clock().year + 1),
    )
    sample.record(
        Kind.REVIEW, review, (Subject(record.adapter.label, record.adapter.id),), sample.signers[person]
    )


def _timed(work: Callable[[], Any]) -> float:
    """Return the CPU seconds of `work`: on a machine that others use, its wall clock says little."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(home: Path, repeats: int) -> dict[str, Any]:
    """Return CPU seconds for each load and each page: the first in this process, and the median of the next."""
    os.environ["PLACET_HOME"], os.environ["PLACET_PASSPHRASE"] = str(home), offices.PASSPHRASE
    count = len(Office.open(home).store.record_ids(spec_of(Kind.SUBMISSION).predicate_type))
    label = f"adapter-{count // 2:05d}"
    loads: dict[str, Callable[[], Any]] = {
        "verify ledger": lambda: load_snapshot(Office.open(home)),
        "load queue": lambda: load_queue(Office.open(home)),
        "load adapter": lambda: load_adapter_report(Office.open(home), label),
        "load ledger": lambda: load_ledger_page(Office.open(home)),
        "after a write": lambda: (os.utime(home / "ledger.duckdb"), load_snapshot(Office.open(home))),
        **{f"page {name}": lambda name=name: _run(name, label) for name in _VIEWS},  # type: ignore[misc]
    }
    result: dict[str, Any] = {"records": Office.open(home).store.size()}
    for name, load in loads.items():
        first = _timed(load)
        result[name] = {"first_s": first, "next_s": statistics.median(_timed(load) for _ in range(repeats))}
    return result


def _run(name: str, label: str) -> None:
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(app_dir() / "views" / f"{name}.py"), default_timeout=600)
    if name in {"adapter", "lineage"}:
        app.query_params["adapter"] = label
    app.run()
    if app.exception or app.error:
        raise RuntimeError(f"page {name}: {app.exception or app.error}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--adapters", type=int, default=2000, help="how many adapters (default 2000)")
    parser.add_argument("--repeats", type=int, default=5, help="how often each is repeated (default 5)")
    parser.add_argument(
        "--office", type=Path, help="use this office, made by an earlier run; made if missing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        home = options.office or Path(folder) / "office"
        if not (home / "office.json").exists():
            make_large_office(home, options.adapters)
        result = measure(home, options.repeats)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result.pop('records')} records; CPU seconds")
    for name, one in result.items():
        print(f"{name:14} first {one['first_s']:7.2f}   next {one['next_s']:7.2f}")


if __name__ == "__main__":
    main()
