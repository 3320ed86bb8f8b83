"""A plan whose result was never logged: it stays open under any policy, and today's engine can finish it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from placet.attest.predicates import Kind
from placet.cli import app
from placet.domain.errors import UndecidedError, UsageError
from placet.domain.records import Decision, Measurement, Outcome, Plan
from placet.office import Office
from placet.pipeline import gate as gate_module
from placet.pipeline.gate import gate
from tests.support.tiny_office import POLICY, World, make_models, make_world

pytestmark = pytest.mark.slow

# The tiny model knows no colours: a ceiling is what it passes.
KNOWN = POLICY.replace("kind: floor", "kind: ceiling").replace("FLOOR", "0.9")
COMPARED = KNOWN + (
    "  - {id: keep, kind: not_worse, suite: colours, than: 'adapter:other', margin: 0.99, why: It must not be worse.}\n"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def world(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return make_world(tmp_path, models, monkeypatch)


def plans_of(world: World) -> tuple:
    return world.office.reader().find(Kind.PLAN, Plan)


def interrupted(world: World, adapter) -> None:
    """Gate the adapter, and stop before the result of its own run is logged."""
    record = Office.record

    def stop(self, kind, *rest):
        if kind is Kind.EVALUATION and rest[0].subject == adapter.weights_id:
            raise KeyboardInterrupt
        return record(self, kind, *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Office, "record", stop)
        with pytest.raises(KeyboardInterrupt):
            world.gate(adapter.id)


def test_a_plan_of_a_replaced_engine_is_finished_with_that_of_today(
    world: World, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.policy.write_text(COMPARED)
    world.submit(models / "other", "other")
    submission = world.submit().submission
    assert submission is not None
    adapter = submission.record.adapter
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("placet.engine.identity.ENGINE_VERSION", "older")
        interrupted(world, adapter)
    (unfinished,) = plans_of(world)

    (open_,) = world.gate(adapter.id)
    assert plans_of(world)[0].id == unfinished.id
    assert open_.record.plan != unfinished.id, "the plan of the engine that is gone is not taken up by itself"
    assert open_.record.decision is Decision.NEEDS_REVIEW
    gates = {one.gate: one for one in open_.record.gates}
    assert {name: one.outcome for name, one in gates.items() if name != "intake"} == {
        "floor": Outcome.INCONCLUSIVE,
        "keep": Outcome.INCONCLUSIVE,
    }
    command = f"placet gate tiny-adapter --plan {unfinished.id[7:19]}"
    assert f"`{command}`" in gates["floor"].fix
    # Neither does another version of the policy get rid of it.
    world.policy.write_text(
        COMPARED.replace('version: "1"', 'version: "2"').replace("know colours", "see them")
    )
    (renamed,) = world.gate(adapter.id)
    assert renamed.record.decision is Decision.NEEDS_REVIEW
    assert "of policy tiny 1" in renamed.record.gates[1].reason

    # What the fix says works: that plan's documents are run, on the adapter and on those it is compared with.
    monkeypatch.setenv("PLACET_HOME", str(world.office.home))
    arguments = [*command.split()[1:], "--policy", str(world.policy), "--suites", str(world.suites)]
    done = CliRunner().invoke(app, [*arguments, "--home", str(world.office.home), "--json"])
    assert done.exit_code == 0, done.output
    (verdict,) = json.loads(done.stdout)
    assert verdict["record"]["decision"] == "ALLOW"
    runs = world.office.reader().find(Kind.EVALUATION, Measurement)
    made = [run for run in runs if run.record.plan == unfinished.id]
    today = plans_of(world)[-1].record.engine
    finished = [run.record for run in made if run.record.engine == today]
    assert [run.subject for run in finished][-1] == adapter.weights_id
    assert all(run.samples == unfinished.record.suites[0].samples for run in finished)
    assert world.office.audit().findings == ()
    assert {run.id for run in made} & set(verdict["record"]["gates"][1]["evidence"])

    # Nothing is left to do then.
    world.heard.notes.clear()
    size = world.office.reader().head().size
    finish(world, adapter.id, unfinished.id[:20])
    assert f"plan {unfinished.id[7:19]} has nothing left to be run" in world.heard.notes
    assert world.office.reader().head().size == size


def finish(world: World, adapter, plan: str):
    return gate(world.office, [adapter], world.policy, world.heard, suites_dir=world.suites, finish=[plan])


def test_an_older_plan_without_a_draw_can_be_finished(world: World) -> None:
    world.policy.write_text(KNOWN)
    submission = world.submit().submission
    assert submission is not None
    adapter = submission.record.adapter
    with pytest.MonkeyPatch.context() as before:
        before.setattr("placet.engine.identity.ENGINE_VERSION", "older")
        before.setattr("placet.pipeline.plans.sign_draw", lambda head, signer: None)
        interrupted(world, adapter)
    (unfinished,) = plans_of(world)
    assert unfinished.record.draw is None

    finish(world, adapter.id, unfinished.id[:20])

    runs = [item.record for item in world.office.reader().find(Kind.EVALUATION, Measurement)]
    (finished,) = [run for run in runs if run.subject == adapter.weights_id and run.plan == unfinished.id]
    assert finished.samples == unfinished.record.suites[0].samples
    assert [plan.id for plan in plans_of(world)] == [unfinished.id], (
        "with its result it is the plan to follow"
    )
    assert world.office.audit().findings == ()


def test_only_a_plan_of_the_adapters_weights_is_finished(world: World, models: Path) -> None:
    one, two = world.submit().submission, world.submit(models / "other", "other").submission
    assert one is not None
    assert two is not None
    world.gate(two.record.adapter.id)
    (plan,) = plans_of(world)
    for text in (plan.id, "ab12", "0" * 12):
        with pytest.raises(UsageError, match=r"no plan .* for these adapters' weights") as caught:
            finish(world, one.record.adapter.id, text)
        assert caught.value.hint == "their plans are: none yet"


def test_a_suite_that_is_another_by_now_is_named_and_not_run(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    adapter = submission.record.adapter
    world.policy.write_text(KNOWN)
    interrupted(world, adapter)
    (plan,) = plans_of(world)
    path = world.suites / "colours" / "suite.yaml"
    path.write_text(path.read_text().replace('version: "1"', 'version: "2"'))
    (verdict,) = finish(world, adapter.id, plan.id)
    assert verdict.record.decision is Decision.ALLOW
    told = [note for note in world.heard.notes if "colours is not run" in note]
    assert told == [
        f"plan {plan.id[7:19]}: colours is not run: this policy has no such suite, or another version of it"
    ]


def test_where_some_cannot_be_judged_json_has_the_verdicts_of_the_others(
    world: World, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit(label="one")
    world.submit(models / "other", "other")
    decide = gate_module._decide

    def undecided_for_the_other(work, submission, plan):
        if submission.adapter.label == "other":
            raise UndecidedError("the weather is bad", hint="wait")
        return decide(work, submission, plan)

    monkeypatch.setattr(gate_module, "_decide", undecided_for_the_other)
    arguments = ["gate", "one", "other", "--policy", str(world.policy), "--suites", str(world.suites)]
    done = CliRunner().invoke(app, [*arguments, "--home", str(world.office.home), "--json"])
    assert done.exit_code == 3, done.output
    told = json.loads(done.stdout)
    assert [one["record"]["adapter"]["label"] for one in told["verdicts"]] == ["one"]
    assert told["undecided"] == ["other"]
    assert told["error"]["kind"] == "PartlyUndecidedError"
    assert told["error"]["exitCode"] == 3
    assert told["error"]["hint"] == "wait"
    assert "other: the weather is bad" in told["error"]["message"]
    assert "Error: no verdict could be given. other: the weather is bad" in done.stderr
