"""From bytes to a verdict with a real (tiny, random) model: every stage runs, nothing is made up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from placet.attest.predicates import Kind
from placet.domain.errors import NotAuthorizedError, UsageError
from placet.domain.records import (
    Base,
    Decision,
    Measurement,
    Outcome,
    Plan,
    Stage,
    Verdict,
)
from placet.measuring.rows import load_rows
from placet.office import Office
from placet.pipeline.bases import base_folder, find_base
from placet.pipeline.submission import find_adapter, submit
from placet.sources import FolderSource
from tests.support.tiny_office import POLICY, World, make_models, make_world

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def world(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, models, monkeypatch)


def test_an_adapter_goes_from_bytes_to_a_verdict(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    (verdict,) = world.gate(submission.record.adapter.id)
    kinds = [item.kind for item in world.office.reader().everything()]
    first = kinds.index(Kind.BASE)
    assert kinds[first:] == [
        Kind.BASE,
        Kind.INTAKE,
        Kind.SUBMISSION,
        Kind.PLAN,
        Kind.EVALUATION,
        Kind.EVALUATION,
        Kind.VERDICT,
    ]
    plan = world.office.reader().find(Kind.PLAN, Plan)[0]
    assert sorted(plan.record.suites[0].samples) == list(range(12))
    assert verdict.record.plan == plan.id
    assert verdict.record.decision in {Decision.ALLOW, Decision.DENY, Decision.NEEDS_REVIEW}
    assert world.office.audit().findings == ()


def test_asking_again_measures_nothing_and_records_nothing(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    (first,) = world.gate(submission.record.adapter.id)
    size = world.office.reader().head().size
    world.heard.steps.clear()
    (again,) = world.gate(submission.record.adapter.id)
    assert again.id == first.id
    assert world.office.reader().head().size == size
    assert not [step for step in world.heard.steps if "colours" in step]


def test_the_base_is_measured_once_for_all_adapters(world: World, models: Path) -> None:
    one, two = world.submit().submission, world.submit(models / "other", "other").submission
    assert one is not None
    assert two is not None
    world.gate(one.record.adapter.id)
    world.gate(two.record.adapter.id)
    runs = world.office.reader().find(Kind.EVALUATION, Measurement)
    assert [item.record.subject_kind for item in runs] == ["base", "adapter", "adapter"]
    adapters = [item.record.rows_digest for item in runs[1:]]
    assert len(set(adapters)) == 2, "two adapters must not be given one adapter's answers"


def test_an_interrupted_gate_goes_on_where_it_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = world.submit().submission
    assert submission is not None
    put = Office.record
    calls = []

    def stop_at_the_second_measurement(self, kind, *arguments):
        if kind is Kind.EVALUATION:
            calls.append(kind)
            if len(calls) == 2:
                raise KeyboardInterrupt
        return put(self, kind, *arguments)

    monkeypatch.setattr(Office, "record", stop_at_the_second_measurement)
    with pytest.raises(KeyboardInterrupt):
        world.gate(submission.record.adapter.id)
    journals = list((world.office.home / "work" / "answers").glob("*.jsonl"))
    assert len(journals) == 1
    monkeypatch.setattr(Office, "record", put)
    world.gate(submission.record.adapter.id)
    runs = world.office.reader().find(Kind.EVALUATION, Measurement)
    assert [item.record.subject_kind for item in runs] == ["base", "adapter"]
    assert len(world.office.reader().find(Kind.PLAN, Plan)) == 1, (
        "the plan that was logged is the one followed"
    )
    assert not journals[0].exists()


def test_a_new_readme_makes_no_new_adapter_where_runs_are_accounted(world: World, tmp_path: Path) -> None:
    first = world.submit().submission
    changed = tmp_path / "changed"
    shutil.copytree(world.adapter, changed)
    (changed / "README.md").write_text("A new card.\n")
    second = world.submit(changed).submission
    assert first is not None
    assert second is not None
    assert first.record.adapter.id != second.record.adapter.id
    assert first.record.adapter.weights_id == second.record.adapter.weights_id
    world.gate(first.record.adapter.id)
    (verdict,) = world.gate(second.record.adapter.id)
    assert len(verdict.record.plans_on_weights) == 2


def test_workers_measure_what_one_process_measures(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    weights = submission.record.adapter.weights_id
    world.gate(submission.record.adapter.id, workers=2)
    assert not list(world.office.folder("work", "shards").glob("*/*.result.json"))  # all is on record
    world.policy.write_text(POLICY.replace("FLOOR", "0.0001").replace('version: "1"', 'version: "2"'))
    world.gate(submission.record.adapter.id)
    found = world.office.reader().find(Kind.EVALUATION, Measurement, subject=weights)
    rows = [{row.doc: row for row in load_rows(world.office.blobs.read(item.record.blob))} for item in found]
    in_workers, here = rows
    assert in_workers.keys() == here.keys()
    for doc, row in in_workers.items():
        assert row.value == here[doc].value
        assert [o.logprob for o in row.options] == pytest.approx(
            [o.logprob for o in here[doc].options], abs=1e-4
        )


def test_a_changed_policy_is_another_plan_and_another_verdict(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    world.gate(submission.record.adapter.id)
    world.policy.write_text(POLICY.replace("FLOOR", "0.9999").replace('version: "1"', 'version: "2"'))
    (verdict,) = world.gate(submission.record.adapter.id)
    assert verdict.record.decision is Decision.DENY
    failed = [item for item in verdict.record.gates if item.outcome is not Outcome.PASS]
    assert [item.gate for item in failed] == ["floor"]
    assert len(world.office.reader().find(Kind.VERDICT, Verdict)) == 2


def test_the_same_files_again_are_the_same_submission(world: World) -> None:
    first, again = world.submit(), world.submit()
    assert first.submission is not None
    assert again.submission is not None
    assert again.seen_before
    assert again.submission.id == first.submission.id


def test_a_refused_submission_is_on_record_and_has_no_subject(world: World, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(world.adapter, broken)
    (broken / "training_args.bin").write_bytes(b"\x80\x04.")
    result = world.submit(broken)
    assert result.submission is None
    assert [item.id for item in result.intake.record.findings] == ["pickle-file"]
    with pytest.raises(UsageError, match="was submitted"):
        find_adapter(world.office.reader(), "tiny-adapter")


def test_only_a_submitter_may_submit(world: World) -> None:
    with pytest.raises(NotAuthorizedError, match="may not sign as submitter"):
        submit(
            world.office,
            FolderSource(world.adapter),
            "base",
            world.office.signer("ada"),
            world.heard,
            label="x",
        )


def test_an_unknown_base_is_named_with_those_there_are(world: World) -> None:
    with pytest.raises(UsageError, match="no base 'nope'") as caught:
        find_base(world.office.reader(), "nope")
    assert "registered: base" in caught.value.hint


def test_a_base_folder_that_was_altered_is_not_loaded(world: World) -> None:
    base = world.office.reader().find(Kind.BASE, Base)[0].record.ref.id
    path = base_folder(world.office, base) / "config.json"
    path.unlink()
    path.write_text("{}")
    with pytest.raises(Exception, match="is not the file that base"):
        base_folder(world.office, base)


def test_the_stage_of_a_suite_decides_the_kind_of_its_record(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    world.gate(submission.record.adapter.id)
    runs = world.office.reader().find(Kind.EVALUATION, Measurement)
    assert {item.record.stage for item in runs} == {Stage.EVALUATION}
