"""Gates that need more than a figure: comparisons with releases, early stopping, training data, cards, base support."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from placet.attest.predicates import (
    BuildDefinition,
    Builder,
    Kind,
    ResourceDescriptor,
    RunDetails,
    RunMetadata,
    Training,
)
from placet.attest.statement import Subject
from placet.domain.digests import digest_file
from placet.domain.errors import Error, UsageError
from placet.domain.records import (
    Advisory,
    Decision,
    GateResult,
    Measurement,
    Outcome,
    Overlap,
    Plan,
    ReviewDecision,
    Verdict,
)
from placet.pipeline.bases import find_base, state_status
from placet.release.desk import release
from placet.review.desk import review
from placet.verify.verifier import verify_bundle
from tests.support.offices import FixedClock
from tests.support.tiny_office import SUITE, World, make_models, make_world

pytestmark = pytest.mark.slow

TOP = """
id: tiny
version: "1"
title: For tests
description: For tests.
risk_tier: minimal
risk: None.
review: {approvals: 1, separate_from: [trainer, submitter], valid_days: 5, waivers_needed: 1}
underpowered: mark
"""
DATA = """
def rows(source, count):
    things = [" the red paint on the old barn door over there", " a dog that ran along the long road at night"]
    return [
        {"id": f"c{n}", "number": n, "kind": "even" if n % 2 == 0 else "odd",
         "choices": things if n % 2 else things[::-1], "label": n % 2 ^ 1}
        for n in range(count)
    ]
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def build(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch):
    def make(policy: str, count: int = 12) -> World:
        suite = {"suite.yaml": SUITE.replace("count: 12", f"count: {count}"), "data.py": DATA}
        return make_world(tmp_path, models, monkeypatch, suite=suite, policy=TOP + policy)

    return make


def handed_in(world: World, **options):
    submission = world.submit(**options).submission
    assert submission is not None
    return submission


def verdict_of(world: World, submission) -> tuple[Verdict, dict[str, GateResult]]:
    (verdict,) = world.gate(submission.record.adapter.id)
    assert world.office.audit().findings == ()
    return verdict.record, {gate.gate: gate for gate in verdict.record.gates}


def put_on_channel(world: World, adapter, channel: str = "production") -> Path:
    office = world.office
    review(office, adapter.id, ReviewDecision.APPROVE, "Looked at it.", office.signer("ada"))
    _, bundle = release(office, adapter.id, channel, office.signer("rhea"))
    return bundle


AGAINST_CHANNEL = """
suites: {colours: {samples: all}}
gates:
  - {id: intake, kind: intake, why: Files first.}
  - id: keep
    kind: not_worse
    suite: colours
    than: channel:production
    without_release: WITHOUT
    margin: 0.9
    planning: {discordance: 0.9}
    why: Nothing that runs today may get worse.
"""


def test_the_first_release_has_nothing_to_be_compared_with(build) -> None:
    world = build(AGAINST_CHANNEL.replace("WITHOUT", "refuse"))
    verdict, gates = verdict_of(world, handed_in(world))
    assert verdict.decision is Decision.DENY
    assert gates["keep"].outcome is Outcome.MISSING
    assert "names no adapter on this base" in gates["keep"].reason


def test_a_second_adapter_is_compared_with_what_the_channel_runs(build, models: Path) -> None:
    world = build(AGAINST_CHANNEL.replace("WITHOUT", "base"))
    first = handed_in(world)
    verdict, gates = verdict_of(world, first)
    assert verdict.decision is Decision.ALLOW
    assert gates["keep"].compared_with is None
    put_on_channel(world, verdict.adapter)

    second = handed_in(world, folder=models / "other", label="other")
    verdict, gates = verdict_of(world, second)
    assert gates["keep"].compared_with == "channel:production (tiny-adapter)"
    assert verdict.decision is Decision.ALLOW
    plan = world.office.reader().get(verdict.plan, Kind.PLAN, Plan).record
    assert plan.references is not None
    assert plan.references[0].adapter == first.record.adapter
    subjects = [item.record.subject for item in world.office.reader().find(Kind.EVALUATION, Measurement)]
    assert subjects.count(first.record.adapter.weights_id) == 1, "the release's own run serves the comparison"
    bundle = put_on_channel(world, verdict.adapter)
    verify_bundle(bundle, world.office.root.pin, now=world.office.clock())

    # What runs there now is the second: the first is judged anew, against it.
    again, gates = verdict_of(world, first)
    assert gates["keep"].compared_with == "channel:production (other)"
    assert again.plan != verdict.plan


AGAINST_ADAPTER = """
suites: {colours: {samples: all, MODE}}
gates:
  - {id: intake, kind: intake, why: Files first.}
  - id: keep
    kind: not_worse
    suite: colours
    than: "adapter:NAME"
    margin: 0.9
    planning: {discordance: 0.9}
    why: It replaces a named one.
"""


@pytest.mark.parametrize("mode", ["mode: fixed", "mode: sequential, claim: benchmark, chunk: 10"])
def test_an_adapter_is_compared_with_one_that_the_policy_names(build, models: Path, mode: str) -> None:
    world = build(AGAINST_ADAPTER.replace("NAME", "other").replace("MODE", mode), count=40)
    first = handed_in(world)
    verdict, gates = verdict_of(world, first)
    assert verdict.decision is Decision.DENY
    assert gates["keep"].outcome is Outcome.MISSING
    assert "adapter:other names no adapter on this base" in gates["keep"].reason

    other = handed_in(world, folder=models / "other", label="other")
    verdict, gates = verdict_of(world, first)
    reader = world.office.reader()
    plan = reader.get(verdict.plan, Kind.PLAN, Plan).record
    assert plan.references is not None
    assert [(item.name, item.adapter) for item in plan.references] == [
        ("adapter:other", other.record.adapter)
    ]
    assert plan.references[0].record == other.id
    assert gates["keep"].compared_with == "adapter:other (other)"
    assert gates["keep"].outcome is Outcome.PASS
    runs = {
        item.record.subject: item
        for item in reader.find(Kind.EVALUATION, Measurement)
        if item.record.plan == verdict.plan
    }
    own, theirs = runs[first.record.adapter.weights_id], runs[other.record.adapter.weights_id]
    assert own.record.samples == theirs.record.samples
    assert own.record.n == 40 or "sequential" in mode
    assert {own.id, theirs.id} <= set(gates["keep"].evidence)
    assert theirs.index < own.index, "the adapter's own run is the last"

    # Handed in again under that name with other weights, it is another one: what was planned no longer holds.
    replaced = handed_in(world, folder=models / "adapter", label="other")
    assert replaced.record.adapter.weights_id == first.record.adapter.weights_id
    again, gates = verdict_of(world, first)
    assert again.plan != verdict.plan
    assert gates["keep"].compared_with == "adapter:other (other)"
    assert gates["keep"].figure == gates["keep"].baseline, "these very weights go by that name now"


def test_an_adapter_is_named_by_the_start_of_its_id_too(build, models: Path) -> None:
    world = build(AGAINST_ADAPTER.replace("MODE", "mode: fixed"))
    first, other = handed_in(world), handed_in(world, folder=models / "other", label="other")
    start = other.record.adapter.id.removeprefix("sha256:")[:12]
    world.policy.write_text(world.policy.read_text().replace("NAME", start))
    verdict, gates = verdict_of(world, first)
    assert verdict.decision is Decision.ALLOW
    assert gates["keep"].compared_with == f"adapter:{start} (other)"
    said = [note for note in world.heard.notes if note.startswith("planned")]
    assert said == ["planned, on 3 subjects: 36 samples, never run here: colours"]


SEQUENTIAL = """
suites: {colours: {samples: all, mode: sequential, claim: benchmark, chunk: 10}}
gates:
  - {id: floor, kind: floor, suite: colours, threshold: FLOOR, why: It must know colours.}
  - id: keep
    kind: not_worse
    suite: colours
    margin: 0.5
    why: It must not forget them.
"""


def test_a_sequential_run_stops_early_and_can_be_replayed(build) -> None:
    world = build(SEQUENTIAL.replace("FLOOR", "0.02"), count=200)
    verdict, gates = verdict_of(world, handed_in(world))
    runs = [item.record for item in world.office.reader().find(Kind.EVALUATION, Measurement)]
    plan = world.office.reader().get(verdict.plan, Kind.PLAN, Plan).record.suites[0]
    assert plan.sequential is not None
    assert [run.subject_kind for run in runs] == ["base", "adapter"]
    assert runs[1].samples == plan.samples[: runs[1].n] == runs[0].samples[: runs[1].n]
    assert runs[0].n < 200
    assert runs[1].n < 200
    assert runs[1].n % 10 == 0
    assert {gate.outcome for gate in gates.values()} == {Outcome.PASS}
    for gate in gates.values():
        assert gate.path is not None
        assert gate.path[-1].n == gate.n <= runs[1].n
        assert "stopped" in gate.reason
    size = world.office.reader().head().size
    verdict_of(world, handed_in(world))
    assert world.office.reader().head().size == size, "asking again runs nothing"


def test_a_plan_says_what_values_and_groups_its_suite_can_have(build) -> None:
    clustered = """
suites: {colours: {samples: 9, cluster: label}}
gates:
  - {id: floor, kind: floor, suite: colours, threshold: 0.02, why: It must know colours.}
"""
    world = build(clustered)
    verdict, gates = verdict_of(world, handed_in(world))
    plan = world.office.reader().get(verdict.plan, Kind.PLAN, Plan).record.suites[0]
    assert plan.value_range == (0.0, 1.0)
    assert plan.largest_groups == {"label": 6}, "of all twelve documents, drawn or not"
    assert gates["floor"].interval is not None
    assert gates["floor"].interval.method == "betting on groups"


def test_a_sequential_suite_without_a_range_is_not_planned(build) -> None:
    world = build(SEQUENTIAL.replace("FLOOR", "0.02"))
    manifest = world.suites / "colours" / "suite.yaml"
    manifest.write_text(manifest.read_text().replace("range: [0, 1]\n", ""))
    submission = handed_in(world)
    size = world.office.reader().head().size
    with pytest.raises(
        UsageError, match=r"suites\.colours\.mode: .* does not declare its range; write mode: fixed"
    ):
        world.gate(submission.record.adapter.id)
    assert world.office.reader().head().size == size, "nothing was planned"


def test_a_value_outside_the_declared_range_gives_no_verdict(build) -> None:
    fixed = SEQUENTIAL.replace("FLOOR", "0.02").replace(", mode: sequential, claim: benchmark, chunk: 10", "")
    world = build(fixed)
    manifest = world.suites / "colours" / "suite.yaml"
    manifest.write_text(manifest.read_text().replace("range: [0, 1]", "range: [0, 0.9]"))
    submission = handed_in(world)
    with pytest.raises(Error, match=r"outside the declared range of 0 to 0\.9"):
        world.gate(submission.record.adapter.id)


def test_adapters_gated_together_run_in_one_order_and_the_base_once(build, models: Path) -> None:
    world = build(SEQUENTIAL.replace("FLOOR", "0.02"), count=200)
    first, second = handed_in(world), handed_in(world, folder=models / "other", label="other")
    verdicts = world.gate(first.record.adapter.id, second.record.adapter.id)
    reader = world.office.reader()
    plans = [reader.get(item.record.plan, Kind.PLAN, Plan).record for item in verdicts]
    assert plans[0].head == plans[1].head
    assert plans[0].suites[0].samples == plans[1].suites[0].samples
    runs = [item.record for item in reader.find(Kind.EVALUATION, Measurement)]
    order = plans[0].suites[0].samples
    assert all(run.samples == order[: run.n] for run in runs)
    own = {run.subject: run.n for run in runs if run.subject_kind == "adapter"}
    base = [run for run in runs if run.subject_kind == "base"]
    assert max(run.n for run in base) >= max(own.values())
    if len(base) == 2:
        assert base[1].reused, "its first documents were taken from the run for the first adapter"
    else:
        assert own[second.record.adapter.weights_id] <= base[0].n
    assert world.office.audit().findings == ()
    decided = {gate.outcome for item in verdicts for gate in item.record.gates}
    assert decided <= {Outcome.PASS, Outcome.FAIL}, "each run went on until it was settled"


def test_a_whole_run_of_the_base_steadies_later_sequential_runs(build) -> None:
    fixed = SEQUENTIAL.replace("FLOOR", "0.02").replace(", mode: sequential, claim: benchmark, chunk: 10", "")
    world = build(fixed, count=200)
    submission = handed_in(world)
    verdict_of(world, submission)
    (base,) = [
        item
        for item in world.office.reader().find(Kind.EVALUATION, Measurement)
        if item.record.subject_kind == "base"
    ]
    assert base.record.n == 200
    world.policy.write_text(TOP + SEQUENTIAL.replace("FLOOR", "0.02"))
    verdict, gates = verdict_of(world, submission)
    plan = world.office.reader().get(verdict.plan, Kind.PLAN, Plan).record.suites[0]
    assert plan.companions == base.id
    assert "steady the test" in gates["keep"].reason
    assert "steady" not in gates["floor"].reason
    assert base.id in gates["keep"].evidence
    assert gates["keep"].outcome is Outcome.PASS
    runs = [item.record for item in world.office.reader().find(Kind.EVALUATION, Measurement)]
    assert [run.subject_kind for run in runs] == ["base", "adapter", "adapter"], "the base was not run again"
    assert gates["keep"].n <= runs[-1].n < 200


def test_a_sequential_run_that_fails_stops_too(build) -> None:
    world = build(SEQUENTIAL.replace("FLOOR", "0.98"), count=200)
    verdict, gates = verdict_of(world, handed_in(world))
    (run,) = [
        item.record
        for item in world.office.reader().find(Kind.EVALUATION, Measurement)
        if item.record.subject_kind == "adapter"
    ]
    assert verdict.decision is Decision.DENY
    assert gates["floor"].outcome is Outcome.FAIL
    assert run.n < 200


def test_an_interrupted_sequential_gate_stops_where_it_would_have(
    build, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build(SEQUENTIAL.replace("FLOOR", "0.02"), count=200)
    submission = handed_in(world)
    put = type(world.office).record
    broken = []

    def stop_before_the_adapters(self, kind, record, *arguments):
        if kind is Kind.EVALUATION and record.subject_kind == "adapter" and not broken:
            broken.append(kind)
            raise KeyboardInterrupt
        return put(self, kind, record, *arguments)

    monkeypatch.setattr(type(world.office), "record", stop_before_the_adapters)
    with pytest.raises(KeyboardInterrupt):
        world.gate(submission.record.adapter.id)
    verdict, _ = verdict_of(world, submission)
    runs = [item.record for item in world.office.reader().find(Kind.EVALUATION, Measurement)]
    assert [run.subject_kind for run in runs] == ["base", "adapter"]
    assert runs[0].samples[: runs[1].n] == runs[1].samples
    assert verdict.decision is Decision.ALLOW


CONTAMINATION = """
suites: {colours: {samples: all}}
gates:
  - {id: seen, kind: contamination, suite: colours, ngram: 8, max_share: 0.5, recheck: [floor], why: No memory.}
  - {id: floor, kind: floor, suite: colours, threshold: 0.0001, why: It must know colours.}
  - {id: parts, kind: subgroups, suite: colours, by: kind, floor: 0.0001, why: Even and odd alike.}
"""


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Nothing of the kind was ever written here, only that.", Outcome.PASS),
        ("I saw the red paint on the old barn door over there.", Outcome.FAIL),
    ],
)
def test_training_data_is_compared_with_the_suite(build, tmp_path: Path, text: str, outcome: Outcome) -> None:
    world = build(CONTAMINATION)
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"prompt": "Say.", "answer": text}) + "\n")
    submission = handed_in(world)
    _, gates = verdict_of(world, submission)
    assert gates["seen"].outcome is Outcome.MISSING, "no training statement names any data"
    only_data_named_by(world, submission, data)
    _, gates = verdict_of(world, submission)
    assert gates["seen"].outcome is Outcome.MISSING, "the data is named and not at hand"
    assert "was not compared" in gates["seen"].reason
    handed_in(world, data=(data,))
    _, gates = verdict_of(world, submission)
    assert gates["seen"].outcome is outcome, gates["seen"].reason
    (overlap,) = world.office.reader().find(Kind.OVERLAP, Overlap)
    assert overlap.record.datasets == (digest_file(data),)
    assert (len(overlap.record.found) > 0) == (outcome is Outcome.FAIL)


def only_data_named_by(world: World, submission, data: Path) -> None:
    """Log a training statement that names `data` alone."""
    now, adapter = world.office.clock(), submission.record.adapter
    record = Training(
        build_definition=BuildDefinition(
            build_type="https://placet.dev/training/lora/v1",
            external_parameters={"name": "tiny"},
            resolved_dependencies=(
                ResourceDescriptor(
                    name="data",
                    digest={"sha256": digest_file(data).removeprefix("sha256:")},
                    annotations={"role": "dataset"},
                ),
            ),
        ),
        run_details=RunDetails(
            builder=Builder(id="test"),
            metadata=RunMetadata(invocation_id="1", started_on=now, finished_on=now),
        ),
    )
    signer = world.office.signer("tara")
    world.office.record(Kind.TRAINING, record, (Subject(adapter.label, adapter.weights_id),), signer)


def test_data_that_no_trainer_named_is_refused(build, tmp_path: Path) -> None:
    world = build(CONTAMINATION)
    stray = tmp_path / "stray.txt"
    stray.write_text("Something else.")
    with pytest.raises(UsageError, match="is not data that the training provenance names"):
        handed_in(world, data=(stray,))


ABOUT = """
suites: {colours: {samples: all}}
gates:
  - {id: floor, kind: floor, suite: colours, threshold: 0.0001, why: It must know colours.}
  - {id: fresh, kind: evidence_age, max_days: 30, why: Nothing old.}
  - {id: card, kind: documentation, fields: [license], sections: [Limits], why: People must know its limits.}
  - {id: licences, kind: license, allow: [Apache-2.0], datasets: false, why: We may use it.}
  - {id: support, kind: base_supported, why: Somebody mends it.}
"""


def test_card_licence_support_and_age_are_read_from_the_records(build, tmp_path: Path) -> None:
    world = build(ABOUT)
    _, gates = verdict_of(world, handed_in(world))
    assert {name: gate.outcome for name, gate in gates.items()} == {
        "floor": Outcome.PASS,
        "fresh": Outcome.PASS,
        "card": Outcome.FAIL,
        "licences": Outcome.PASS,
        "support": Outcome.MISSING,
    }
    documented = tmp_path / "documented"
    shutil.copytree(world.adapter, documented)
    (documented / "README.md").write_text("---\nlicense: mit\n---\n# Tiny\n\n## Limits\n\nAll of them.\n")
    base = find_base(world.office.reader(), "base").record.ref
    state_status(world.office, base, world.office.signer("ada"))
    second = handed_in(world, folder=documented)
    verdict, _ = verdict_of(world, second)
    assert verdict.decision is Decision.ALLOW

    advisory = (Advisory(id="X-1", summary="its tokenizer runs code"),)
    state_status(world.office, base, world.office.signer("ada"), advisories=advisory)
    _, gates = verdict_of(world, second)
    assert gates["support"].outcome is Outcome.FAIL
    assert "X-1" in gates["support"].reason


def test_old_evidence_is_measured_again(build) -> None:
    world = build(ABOUT)
    clock = FixedClock(world.office.clock())
    world.office.clock = clock
    submission = handed_in(world)
    verdict_of(world, submission)
    clock.advance(days=20)
    verdict_of(world, submission)
    reader = world.office.reader()
    assert len(reader.find(Kind.PLAN, Plan)) == 1
    clock.advance(days=20)
    _, gates = verdict_of(world, submission)
    assert gates["fresh"].outcome is Outcome.PASS
    runs = [item.record for item in world.office.reader().find(Kind.EVALUATION, Measurement)]
    assert [run.subject_kind for run in runs] == ["base", "adapter", "base", "adapter"]
    assert len({run.plan for run in runs}) == 2
    assert max(run.finished_at for run in runs) - min(run.finished_at for run in runs) >= timedelta(days=39)
