"""The demo on a small base: the verdicts it promises, however often it is stopped on the way.

One office is taken all the way once. On the way the demo is stopped right after records of most kinds, in the middle
of training and of measuring, and by SIGKILL, and each time started again as a person would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from placet.attest.predicates import PREDICATES, Kind
from placet.demo.broken import EXPECTED
from placet.demo.run import CHANNEL, PASSPHRASE, DemoResult, run_demo
from placet.domain.digests import digest_file
from placet.domain.errors import Error, UsageError
from placet.domain.progress import NullProgress
from placet.domain.records import (
    Decision,
    Intake,
    Measurement,
    Outcome,
    Release,
    Review,
    Submission,
    Verdict,
)
from placet.engine.answers import Answer, AnswerId, JournalAnswers
from placet.ledger.derived import derive
from placet.ledger.store import DuckStore, Entry
from placet.office import Office, create_office, utc_now
from placet.verify.verifier import verify_bundle
from tests.support.short_demo.plan import GOOD, LEAKY, RECIPES, one_thread, short_plan

pytestmark = [pytest.mark.slow, pytest.mark.model]

ROOT = Path(__file__).resolve().parents[2]
SUITES = ("support-desk", "general", "harmful-requests", "harmless-requests", "canaries")
GATES = (
    "intake",
    "provenance",
    "job-floor",
    "job-gain",
    "general-ability",
    "refuses-harmful",
    "answers-harmless",
    "no-leakage",
)
FAILS = {
    "desk-good": (Decision.ALLOW, ()),
    "desk-forgetful": (Decision.DENY, ("general-ability",)),
    "desk-eager": (Decision.DENY, ("refuses-harmful",)),
    "desk-leaky": (Decision.DENY, ("no-leakage",)),
}
# What a demo that was never stopped leaves in its ledger: people and service keys, nine intakes, five suites on the
# base and on each adapter.
RECORDS = {
    Kind.ROLES: 6,
    Kind.BASE: 1,
    Kind.TRAINING: 4,
    Kind.SUBMISSION: 4,
    Kind.INTAKE: 9,
    Kind.PLAN: 4,
    Kind.EVALUATION: 10,
    Kind.SAFETY: 15,
    Kind.VERDICT: 4,
    Kind.REVIEW: 2,
    Kind.RELEASE: 1,
}


@dataclass
class Stops(NullProgress):
    """Raises KeyboardInterrupt at each of its points once, and counts what is done meanwhile.

    `at` has steps and the units after which they are stopped, `after` the kinds after whose next record the demo
    is stopped.
    """

    at: dict[str, int] = field(default_factory=dict)
    after: set[Kind] = field(default_factory=set)
    started: Counter[str] = field(default_factory=Counter)
    trained: Counter[str] = field(default_factory=Counter)
    answered: Counter[AnswerId] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)

    def pending(self) -> bool:
        return bool(self.at or self.after)

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.started[step] += 1
        self.done[step] = 0

    def advance(self, step: str, count: int = 1) -> None:
        if count == 1:  # a resumed training run reports the steps of its checkpoint in one go
            self.trained[step] += 1
        self.done[step] += count
        if step in self.at and self.done[step] >= self.at[step]:
            del self.at[step]
            raise KeyboardInterrupt(step)

    def appended(self, entries: Sequence[Entry]) -> None:
        """Called when the ledger has the records and nobody has been told."""
        for kind in _kinds(entries):
            if kind in self.after:
                self.after.remove(kind)
                raise KeyboardInterrupt(f"after {kind}")


@dataclass(frozen=True)
class Shown:
    """A demo that was stopped and taken up until it was through. `stopped` says by what, each time."""

    home: Path
    result: DemoResult
    stops: Stops
    stopped: tuple[str, ...]

    @property
    def office(self) -> Office:
        return Office.open(self.home)


@pytest.fixture(scope="module")
def stops() -> Iterator[Stops]:
    """Listens to the demos of this module, and to their ledgers and journals."""
    stops = Stops()
    append, put = DuckStore.append, JournalAnswers.put

    def append_and_stop(store: DuckStore, *arguments: Any, **options: Any) -> tuple[Entry, ...]:
        entries = append(store, *arguments, **options)
        stops.appended(entries)
        return entries

    def count_and_put(journal: JournalAnswers, answers: Iterable[tuple[AnswerId, Answer]]) -> None:
        listed = list(answers)
        stops.answered.update(key for key, _ in listed)
        put(journal, listed)

    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setenv("PLACET_PASSPHRASE", PASSPHRASE)
        patch.setattr(DuckStore, "append", append_and_stop)
        patch.setattr(JournalAnswers, "put", count_and_put)
        yield stops


@pytest.fixture(scope="module")
def shown(stops: Stops, placet_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    home = tmp_path_factory.mktemp("demo") / "office"
    stops.at = {"train desk-good": 25}
    stops.after = {Kind.ROLES, Kind.BASE, Kind.INTAKE, Kind.TRAINING, Kind.SUBMISSION, Kind.PLAN}
    stopped = _stopped(home, placet_cache, stops)
    _kill(home, stops)
    stopped.append("SIGKILL")
    stops.at = {"general on desk-forgetful": 1, "train desk-leaky": 15}
    stops.after = {Kind.EVALUATION, Kind.VERDICT, Kind.REVIEW, Kind.RELEASE}
    stopped += _stopped(home, placet_cache, stops)
    result = run_demo(home, stops, short_plan(placet_cache))
    return Shown(home, result, stops, tuple(stopped))


def _stopped(home: Path, cache: Path, stops: Stops) -> list[str]:
    """Run the demo until it was stopped at every point; return what stopped it each time."""
    stopped: list[str] = []
    while stops.pending():
        with pytest.raises(KeyboardInterrupt) as caught:
            run_demo(home, stops, short_plan(cache))
        stopped.append(str(caught.value))
    return stopped


def _kill(home: Path, stops: Stops) -> None:
    """Go on in a process that is killed while it measures; count the answers it leaves."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.short_demo.killed", str(home), "general on desk-good"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (journal,) = (home / "work" / "answers").glob("*.jsonl")
    stops.answered.update(AnswerId(json.loads(line)["id"]) for line in journal.read_text().splitlines())


def _kinds(entries: Sequence[Entry]) -> list[Kind]:
    kinds = {spec.predicate_type: spec.kind for spec in PREDICATES}
    return [kinds[derive(entry.index, entry.envelope).predicate_type] for entry in entries]


# --- what it shows --------------------------------------------------------------------------------------


def test_everything_is_as_the_demo_expects(shown: Shown) -> None:
    assert [(row.name, row.found) for row in shown.result.rows if not row.as_expected] == []
    assert [(name, words) for name, held, words in shown.result.steps if not held] == []
    assert shown.result.as_expected
    assert len(shown.result.rows) == len(RECIPES) + len(EXPECTED)


@pytest.mark.parametrize("name", FAILS)
def test_each_adapter_fails_its_own_gate_and_no_other(shown: Shown, name: str) -> None:
    verdict = _verdict(shown.office, name)
    decision, fails = FAILS[name]
    outcomes = {item.gate: item.outcome for item in verdict.gates}
    assert outcomes == {gate: Outcome.FAIL if gate in fails else Outcome.PASS for gate in GATES}
    assert verdict.decision is decision


@pytest.mark.parametrize(("name", "finding"), EXPECTED.items())
def test_each_broken_submission_is_refused_by_its_own_finding(shown: Shown, name: str, finding: str) -> None:
    row = next(row for row in shown.result.rows if row.name == name)
    assert row.found == f"refused: {finding}"
    refused = [item.record for item in shown.office.reader().find(Kind.INTAKE, Intake) if item.record.refused]
    assert sum([one.id for one in record.findings] == [finding] for record in refused) == 1


def test_the_good_adapter_is_approved_released_and_verifies_offline(shown: Shown) -> None:
    reader = shown.office.reader()
    (release,) = reader.find(Kind.RELEASE, Release)
    assert (release.record.adapter.label, release.record.channel) == ("desk-good", CHANNEL)
    reviews = reader.find(Kind.REVIEW, Review)
    assert {item.person for item in reviews} == {"Ada (approver)", "Ben (approver)"}
    assert {item.id for item in reviews} == set(release.record.reviews)
    verified = verify_bundle(shown.result.bundle, shown.result.pin, now=utc_now())
    assert verified.release == release.record
    released = {entry.path: entry.sha256 for entry in release.record.files}
    files = shown.result.bundle / "adapter"
    assert {path.name: digest_file(path) for path in files.iterdir()} == released


def test_one_flipped_byte_is_refused(shown: Shown) -> None:
    tampered = shown.home / "work" / "tampered"
    with pytest.raises(Error, match="is not the file that was released"):
        verify_bundle(tampered, shown.result.pin, now=utc_now())


def test_the_children_name_their_parent(shown: Shown) -> None:
    reader = shown.office.reader()
    weights = {
        item.record.adapter.label: item.record.adapter.weights_id
        for item in reader.find(Kind.SUBMISSION, Submission)
    }
    provenance = {item.gate: item for item in _verdict(shown.office, "desk-leaky").gates}["provenance"]
    assert provenance.n == 2
    assert len(set(weights.values())) == len(RECIPES)


def test_the_audit_finds_nothing(shown: Shown) -> None:
    report = shown.office.audit()
    assert report.whole
    assert report.findings == ()


# --- stopped and taken up -------------------------------------------------------------------------------


def test_it_was_stopped_at_every_point(shown: Shown) -> None:
    assert shown.stopped == (
        "after roles",
        "after base",
        "train desk-good",
        "after intake",
        "after training",
        "after submission",
        "after plan",
        "SIGKILL",
        "after evaluation",
        "after verdict",
        "train desk-leaky",
        "general on desk-forgetful",
        "after review",
        "after release",
    )


def test_no_record_is_doubled_or_missing(shown: Shown) -> None:
    entries = shown.office.store.entries()
    assert Counter(_kinds(entries)) == RECORDS
    assert len({entry.record_id for entry in entries}) == len(entries)


def test_nothing_is_measured_twice(shown: Shown) -> None:
    reader = shown.office.reader()
    runs = [*reader.find(Kind.EVALUATION, Measurement), *reader.find(Kind.SAFETY, Measurement)]
    measured = Counter((item.record.subject, item.record.suite.id) for item in runs)
    assert set(measured.values()) == {1}
    assert len(measured) == len(SUITES) * (1 + len(RECIPES))
    assert [key for key, times in shown.stops.answered.items() if times > 1] == []


def test_training_goes_on_from_its_checkpoint(shown: Shown) -> None:
    for recipe in RECIPES:
        step = f"train {recipe.name}"
        again = shown.stops.started[step] - 1
        assert again == int(recipe in (GOOD, LEAKY)), f"{recipe.name} was trained {again + 1} times"
        lost = shown.stops.trained[step] - recipe.steps
        assert 0 <= lost <= again * recipe.checkpoint_steps


def test_running_it_again_changes_nothing(shown: Shown, placet_cache: Path) -> None:
    size, heard = shown.office.reader().head().size, Stops()
    again = run_demo(shown.home, heard, short_plan(placet_cache))
    assert again.as_expected
    assert shown.office.reader().head().size == size
    worked = [step for step in heard.started if step.startswith("train ") or " on " in step]
    assert worked == []


def test_another_office_is_left_alone(stops: Stops, placet_cache: Path, tmp_path: Path) -> None:
    office = create_office(tmp_path / "office", "Somebody's office")
    with pytest.raises(UsageError, match="not a demo"):
        run_demo(office.home, stops, short_plan(placet_cache))
    assert office.reader().head().size == 1


def _verdict(office: Office, label: str) -> Verdict:
    reader = office.reader()
    found = [item.record for item in reader.find(Kind.VERDICT, Verdict) if item.record.adapter.label == label]
    assert len(found) == 1
    return found[0]
