"""From bytes to a verdict with a real (tiny, random) model: every stage runs, nothing is made up."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from placet.attest.predicates import Kind, Role
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
from placet.office import Office
from placet.pipeline.bases import add_base, base_folder, find_base
from placet.pipeline.gate import gate
from placet.pipeline.submission import find_adapter, submit
from placet.sources import FolderSource
from tests.support.tiny_models import save_adapter, save_model

pytestmark = pytest.mark.slow

SUITE = """
id: colours
version: "1"
title: Which of these is a colour?
stage: evaluation
kind: multiple_choice
task: task.yaml
metric: acc
higher_is_better: true
chat_template: false
data:
  generator: {file: data.py, function: rows, arguments: {count: 12}}
"""
TASK = """
task: colours
output_type: multiple_choice
doc_to_text: "Which is a colour? {{ number }}"
doc_to_target: label
doc_to_choice: choices
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
DATA = """
def rows(source, count):
    return [
        {"id": f"c{n}", "number": n, "choices": [" red", " dog"] if n % 2 else [" dog", " red"], "label": n % 2 ^ 1}
        for n in range(count)
    ]
"""
POLICY = """
id: tiny
version: "1"
title: For tests
description: For tests.
risk_tier: minimal
risk: None.
review: {approvals: 1, separate_from: [trainer, submitter], valid_days: 5, waivers_needed: 1}
underpowered: mark
suites: {colours: {samples: all}}
gates:
  - {id: intake, kind: intake, why: Nothing that runs code may get in.}
  - {id: floor, kind: floor, suite: colours, threshold: FLOOR, why: It must know colours.}
"""


@dataclass
class Heard:
    """Remembers what was started and how often it advanced."""

    steps: list[str] = field(default_factory=list)

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.steps.append(step)

    def advance(self, step: str, count: int = 1) -> None:
        pass

    def finish(self, step: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass


@dataclass
class World:
    """An office with a base, and the folders an engineer would have."""

    office: Office
    base: str
    adapter: Path
    suites: Path
    policy: Path
    heard: Heard

    def submit(self, folder: Path | None = None, label: str = "tiny-adapter"):
        return submit(
            self.office,
            FolderSource(folder or self.adapter),
            self.base,
            self.office.signer("sam"),
            self.heard,
            label=label,
        )

    def gate(self, *adapters):
        return gate(self.office, adapters, self.policy, self.heard, suites_dir=self.suites)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    save_model("llama", folder / "base")
    for name, seed in (("adapter", 1), ("other", 2)):
        save_adapter(folder / "base", folder / name, seed=seed, task_type="CAUSAL_LM")
        path = folder / name / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "base"}))
    return folder


@pytest.fixture
def world(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("PLACET_PASSPHRASE", "correct horse battery")
    monkeypatch.setenv("PLACET_CACHE", str(tmp_path / "cache"))
    suites = tmp_path / "evals"
    (suites / "colours").mkdir(parents=True)
    for name, text in (("suite.yaml", SUITE), ("task.yaml", TASK), ("data.py", DATA)):
        (suites / "colours" / name).write_text(text)
    policy = tmp_path / "tiny.yaml"
    policy.write_text(POLICY.replace("FLOOR", "0.0001"))
    office = Office.create(tmp_path / "office", "Test office")
    office.new_key("sam", "Sam", [Role.SUBMITTER])
    office.new_key("ada", "Ada", [Role.APPROVER])
    heard = Heard()
    add_base(office, FolderSource(models / "base"), "base", heard)
    return World(office, "base", models / "adapter", suites, policy, heard)


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
