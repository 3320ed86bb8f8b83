"""A sequential run: everybody on the same documents, nothing run that is known, stopped where it is settled."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from placet.domain.digests import digest_bytes
from placet.domain.records import AdapterRef, EngineInfo, PlannedSuite, Sequential, Stage, SuiteRef
from placet.measuring.measured import MeasuredSuite
from placet.measuring.rows import Row, rows_digest, rows_to_parquet
from placet.pipeline.sequential import Target, run_until_settled
from placet.policy.stopping import Watch
from tests.support.policies import small_policy

SUITE = SuiteRef(id="a", version="1", digest=digest_bytes(b"a"))
ENGINE = EngineInfo(name="e", version="1", dtype="float32", device="cpu", layout="one")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADAPTER = AdapterRef(id=digest_bytes(b"files"), weights_id=digest_bytes(b"weights"), label="mine")
BASE, OWN = Target(digest_bytes(b"base"), "base", None), Target(ADAPTER.weights_id, "mine", ADAPTER)
POLICY = small_policy(
    {"a": {"samples": "all", "mode": "sequential", "claim": "benchmark", "chunk": 10}},
    [{"id": "keep", "kind": "not_worse", "suite": "a", "margin": "0.2", "why": "w"}],
)
ORDER = tuple((7 * number) % 100 for number in range(100))
PLANNED = PlannedSuite(
    suite=SUITE,
    stage=Stage.EVALUATION,
    documents=100,
    samples=ORDER,
    sequential=Sequential(claim="benchmark", chunk=10),
    value_range=(0.0, 1.0),
)


class Ran:
    """Runs documents of a made-up suite, and remembers which on whom."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...]]] = []

    def __call__(self, documents: tuple[int, ...], target: Target) -> MeasuredSuite:
        self.calls.append((target.label, documents))
        rows = tuple(Row(n, f"d{n}", "", "p", "t", float(n % 2)) for n in documents)
        return MeasuredSuite(
            suite=SUITE,
            stage=Stage.EVALUATION,
            metric="acc",
            higher_is_better=True,
            samples=documents,
            rows=rows,
            parquet=rows_to_parquet(rows),
            rows_digest=rows_digest(rows),
            mean=sum(row.value for row in rows) / len(rows),
            self_check={},
            engine=ENGINE,
            started_at=NOW,
            finished_at=NOW,
        )

    def on(self, label: str) -> list[tuple[int, ...]]:
        return [documents for who, documents in self.calls if who == label]


def known(count: int) -> dict[int, float]:
    return {document: float(document % 2) for document in ORDER[:count]}


def test_everybody_runs_the_same_documents_until_it_is_settled() -> None:
    ran = Ran()
    made = run_until_settled(POLICY, PLANNED, OWN, {"base": BASE}, {}, ran)
    assert ran.on("base") == ran.on("mine")
    used = made[OWN.subject].samples
    assert used == made[BASE.subject].samples == ORDER[: len(used)]
    assert 10 <= len(used) < 100


def test_what_is_known_of_all_that_was_looked_at_is_not_run() -> None:
    ran = Ran()
    made = run_until_settled(POLICY, PLANNED, OWN, {"base": BASE}, {BASE.subject: known(100)}, ran)
    assert ran.on("base") == []
    assert set(made) == {OWN.subject}


@pytest.mark.parametrize("count", [10, 15, 20])
def test_what_is_known_of_the_beginning_is_run_on_from_there_and_recorded_whole(count: int) -> None:
    whole = Ran()
    used = len(run_until_settled(POLICY, PLANNED, OWN, {"base": BASE}, {}, whole)[OWN.subject].samples)
    assert used > 20
    ran = Ran()
    made = run_until_settled(POLICY, PLANNED, OWN, {"base": BASE}, {BASE.subject: known(count)}, ran)
    assert made[OWN.subject].samples == made[BASE.subject].samples == ORDER[:used]
    *chunks, last = ran.on("base")
    assert tuple(document for chunk in chunks for document in chunk) == ORDER[count:used]
    assert last == ORDER[:used], "the whole is put together from answers that are there"


def test_a_known_run_that_ends_where_this_one_does_is_enough() -> None:
    whole = Ran()
    used = len(run_until_settled(POLICY, PLANNED, OWN, {"base": BASE}, {}, whole)[OWN.subject].samples)
    ran = Ran()
    made = run_until_settled(POLICY, PLANNED, OWN, {"base": BASE}, {BASE.subject: known(used)}, ran)
    assert set(made) == {OWN.subject}
    assert ran.on("base") == []


@pytest.mark.parametrize("expected", [25, 60])
def test_the_others_are_run_ahead_on_what_is_expected(expected: int) -> None:
    whole = Ran()
    used = len(run_until_settled(POLICY, PLANNED, OWN, {"base": BASE}, {}, whole)[OWN.subject].samples)
    ran, planned = Ran(), PLANNED.model_copy(update={"expected_documents": expected})
    made = run_until_settled(POLICY, planned, OWN, {"base": BASE}, {}, ran)
    assert made[OWN.subject].samples == ORDER[:used], "how far others are run changes nothing"
    assert all(len(documents) == 10 for documents in ran.on("mine"))
    assert ran.on("base")[0] == ORDER[:expected]
    assert made[BASE.subject].samples == ORDER[: len(made[BASE.subject].samples)]
    assert len(made[BASE.subject].samples) >= max(used, expected)
    assert (len(ran.on("base")) == 1) == (expected >= used)


@pytest.mark.parametrize("required", [True, False])
def test_a_failed_gate_ends_the_run_only_if_it_is_required(required: bool) -> None:
    policy = small_policy(
        {"a": {"samples": "all", "mode": "sequential", "claim": "benchmark", "chunk": 10}},
        [
            {
                "id": "high",
                "kind": "floor",
                "suite": "a",
                "threshold": "0.99",
                "required": required,
                "why": "w",
            },
            {"id": "keep", "kind": "not_worse", "suite": "a", "margin": "0.01", "why": "w"},
        ],
    )
    watch = Watch(policy, PLANNED, ("base",), higher_is_better=True)
    values = [float(number % 2) for number in range(40)]
    watch.take(values, {"base": values})
    # Half are right: a floor of 0.99 has failed by then, and whether it is no worse is open.
    assert watch.settled is required
