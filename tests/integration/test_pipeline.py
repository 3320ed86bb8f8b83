"""From bytes to a verdict with a real (tiny, random) model: every stage runs, nothing is made up."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from placet.attest.draw import draw_order, sign_draw
from placet.attest.keys import KeyKind, new_signer
from placet.attest.predicates import Kind
from placet.domain.digests import digest_bytes
from placet.domain.errors import DrawError, EvaluationError, LedgerBusyError, NotAuthorizedError, UsageError
from placet.domain.records import (
    Base,
    Decision,
    Measurement,
    Outcome,
    Plan,
    Stage,
    Verdict,
)
from placet.ledger.store import StaleError
from placet.measuring.rows import load_rows
from placet.office import EVALUATOR_KEY, Office, TrustDesk
from placet.pipeline import gate as gate_module
from placet.pipeline.bases import base_folder, find_base
from placet.pipeline.gate import PartlyUndecidedError
from placet.pipeline.runner import Compute
from placet.pipeline.submission import find_adapter, submit
from placet.policy.decide import decide
from placet.review.desk import revoke
from placet.sources import FolderSource
from tests.support.tiny_office import DATA, POLICY, SUITE, TASK, World, make_models, make_world

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


def test_a_plan_is_drawn_anew_where_somebody_was_quicker(
    world: World, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submissions = [world.submit().submission, world.submit(models / "other", "other").submission]
    real, busy = Office.append_at, [b"one", b"two"]

    def append_at(office, size, envelopes):
        if busy:
            revoke(office, digest_bytes(busy.pop()), "adapter", "x", "r", office.signer("ada"))
        return real(office, size, envelopes)

    monkeypatch.setattr(Office, "append_at", append_at)
    world.gate(*(item.record.adapter.id for item in submissions if item is not None))

    assert not busy
    one, two = world.office.reader().find(Kind.PLAN, Plan)
    assert one.record.head == two.record.head
    assert (one.record.head.size, one.index, two.index) == (one.index, one.index, one.index + 1)
    assert world.office.audit().findings == ()


@pytest.mark.parametrize("kind", KeyKind)
def test_plans_gated_together_share_one_draw_and_its_order(world: World, models: Path, kind: KeyKind) -> None:
    office = world.office
    if kind is KeyKind.P256:  # whose signatures differ each time
        token = new_signer(kind)
        TrustDesk(office).rotate_key(office.signer(EVALUATOR_KEY).public.key_id, token.public)
        office.opened[EVALUATOR_KEY] = token
    submissions = [world.submit().submission, world.submit(models / "other", "other").submission]
    world.gate(*(item.record.adapter.id for item in submissions if item is not None))

    one, two = (item.record for item in office.reader().find(Kind.PLAN, Plan))
    assert one.draw is not None
    assert (one.draw, one.suites[0].samples) == (two.draw, two.suites[0].samples)
    suite = one.suites[0]
    assert suite.samples == draw_order(12, 12, one.head.root, one.draw, suite.suite.digest)
    assert suite.samples != draw_order(12, 12, one.head.root, None, suite.suite.digest)
    assert office.audit().findings == ()


def test_an_older_plan_without_a_draw_is_followed_and_judged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = world.submit().submission
    assert submission is not None
    with pytest.MonkeyPatch.context() as before:
        before.setattr("placet.pipeline.plans.sign_draw", lambda head, signer: None)
        make_plans = gate_module.make_plans

        def stop_after(work, submissions):
            make_plans(work, submissions)
            raise KeyboardInterrupt

        before.setattr(gate_module, "make_plans", stop_after)
        with pytest.raises(KeyboardInterrupt):
            world.gate(submission.record.adapter.id)
    (older,) = world.office.reader().find(Kind.PLAN, Plan)
    assert older.record.draw is None

    (verdict,) = world.gate(submission.record.adapter.id)

    assert verdict.record.plan == older.id
    assert len(world.office.reader().find(Kind.PLAN, Plan)) == 1
    assert Outcome.MISSING not in {item.outcome for item in verdict.record.gates}
    assert world.office.audit().findings == ()


def test_a_plan_whose_documents_were_chosen_is_missing_evidence_and_planned_again(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    with pytest.MonkeyPatch.context() as dishonest:
        dishonest.setattr("placet.pipeline.plans.draw_order", lambda *drawn: draw_order(*drawn)[::-1])
        (chosen,) = world.gate(submission.record.adapter.id)
    assert chosen.record.decision is Decision.DENY
    floor = next(item for item in chosen.record.gates if item.gate == "floor")
    assert floor.outcome is Outcome.MISSING
    assert "are not those that its ledger state and draw give" in floor.reason

    (verdict,) = world.gate(submission.record.adapter.id)

    first, second = world.office.reader().find(Kind.PLAN, Plan)
    assert (chosen.record.plan, verdict.record.plan) == (first.id, second.id)
    assert Outcome.MISSING not in {item.outcome for item in verdict.record.gates}
    (finding,) = world.office.audit().findings
    assert (finding.id, finding.index) == ("false-draw", first.index)


def test_a_draw_that_is_not_the_evaluators_is_not_planned_by(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    size = world.office.store.size()
    with pytest.MonkeyPatch.context() as dishonest:
        dishonest.setattr(
            "placet.pipeline.plans.sign_draw", lambda head, _: sign_draw(head, world.office.signer("sam"))
        )
        with pytest.raises(DrawError, match="is not the signature of the plan's own key"):
            world.gate(submission.record.adapter.id)
    assert world.office.store.size() == size


def test_a_log_that_never_stands_still_gets_no_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = world.submit().submission
    assert submission is not None
    size = world.office.store.size()

    def append_at(office, size, envelopes):
        raise StaleError("grew", hint="again")

    monkeypatch.setattr(Office, "append_at", append_at)
    with pytest.raises(LedgerBusyError, match="grew 20 times while a plan was drawn from it"):
        world.gate(submission.record.adapter.id)
    assert world.office.store.size() == size


def test_a_verdict_accounts_for_a_run_that_was_logged_while_it_was_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = world.submit().submission
    assert submission is not None
    weights, office = submission.record.adapter.weights_id, world.office
    logged = []

    def decide_while_another_machine_works(*arguments, **options):
        verdict = decide(*arguments, **options)
        if not logged:
            (run,) = office.reader().find(Kind.EVALUATION, Measurement, subject=weights)
            later = run.record.model_copy(
                update={"finished_at": run.record.finished_at + timedelta(seconds=1)}
            )
            signer = office.signer(EVALUATOR_KEY)
            logged.append(office.record(Kind.EVALUATION, later, run.statement.subjects, signer).id)
        return verdict

    monkeypatch.setattr("placet.pipeline.gate.decide", decide_while_another_machine_works)
    (verdict,) = world.gate(submission.record.adapter.id)

    assert set(logged) <= set(verdict.record.evidence)
    assert len(office.reader().find(Kind.VERDICT, Verdict)) == 1
    assert office.audit().findings == ()


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
    world.gate(submission.record.adapter.id, compute=Compute(workers=2))
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


def test_another_type_is_another_engine_and_never_compared_with_the_first(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    adapter = submission.record.adapter
    world.gate(adapter.id)
    (verdict,) = world.gate(adapter.id, compute=Compute(dtype="bfloat16"))
    plans = world.office.reader().find(Kind.PLAN, Plan, subject=adapter.weights_id)
    assert [plan.record.engine.dtype for plan in plans] == ["float32", "bfloat16"]
    assert len(verdict.record.plans_on_weights) == 2
    runs = world.office.reader().find(Kind.EVALUATION, Measurement, subject=adapter.weights_id)
    assert [run.record.engine.dtype for run in runs] == ["float32", "bfloat16"]
    assert float(runs[1].record.self_check["tolerance"]) > float(runs[0].record.self_check["tolerance"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to run on")
def test_a_device_that_is_not_there_is_said_in_words(world: World) -> None:
    submission = world.submit().submission
    assert submission is not None
    size = world.office.store.size()
    with pytest.raises(UsageError, match="cannot be loaded"):
        world.gate(submission.record.adapter.id, compute=Compute(device="cuda"))
    assert world.office.store.size() == size


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


# --- answers taken over, suites that cannot be run, journals ---------------------------------------------------

CHANGED_POLICY = POLICY.replace("FLOOR", "0.9999").replace('version: "1"', 'version: "2"')
TWO_SUITES = (
    CHANGED_POLICY.replace(
        "suites: {colours: {samples: all}}", "suites: {colours: {samples: all}, shapes: {samples: all}}"
    )
    + "  - {id: shapes, kind: floor, suite: shapes, threshold: 0.0001, why: It must know shapes.}\n"
)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The contexts whose likelihoods are computed from now on, in order."""
    from placet.engine.scoring import Scoring

    compute, contexts = Scoring.compute, []

    def counted(self, ids, pieces, indices):
        contexts.extend(pieces[index][0][0][0] for index in indices)
        return compute(self, ids, pieces, indices)

    monkeypatch.setattr(Scoring, "compute", counted)
    return contexts


def add_shapes(world: World, template: str) -> None:
    """Write a second suite beside the first, with `template` as its prompt, and a policy on both."""
    folder = world.suites / "shapes"
    folder.mkdir(exist_ok=True)
    task = TASK.replace("task: colours", "task: shapes")
    for name, text in (
        ("suite.yaml", SUITE.replace("id: colours", "id: shapes")),
        ("task.yaml", task.replace("Which is a colour? {{ number }}", template)),
        ("data.py", DATA),
    ):
        (folder / name).write_text(text)
    world.policy.write_text(TWO_SUITES)


def runs_of(world: World, suite: str = "colours") -> list:
    found = world.office.reader().find(Kind.EVALUATION, Measurement)
    return [run for run in found if run.record.suite.id == suite]


def test_a_second_policy_takes_its_answers_out_of_the_signed_measurement_and_names_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = world.submit().submission
    assert submission is not None
    world.gate(submission.record.adapter.id)
    base, first = runs_of(world)
    assert first.record.reused is None

    def nothing_to_compute(*_):
        raise AssertionError("an answer that is on record was computed again")

    monkeypatch.setattr("placet.engine.scoring.Scoring.compute", nothing_to_compute)
    world.policy.write_text(CHANGED_POLICY)
    world.gate(submission.record.adapter.id)
    again = runs_of(world)[2:]
    assert [run.record.subject for run in again] == [first.record.subject]
    assert again[0].record.reused == (first.id,)
    # The new plan draws another order of the same documents.
    before, after = (
        {row.doc: row for row in load_rows(world.office.blobs.read(run.record.blob))}
        for run in (first, again[0])
    )
    assert after == before
    plans = world.office.reader().find(Kind.PLAN, Plan)
    assert [plan.record.known_results for plan in plans] == [None, (first.id,)]
    assert base.id not in (again[0].record.reused or ())
    assert world.office.audit().findings == ()


def test_a_record_of_another_engine_gives_no_answers(world: World, computed: list[str]) -> None:
    submission = world.submit().submission
    assert submission is not None
    world.gate(submission.record.adapter.id)
    computed.clear()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("placet.engine.identity.ENGINE_VERSION", "test")
        world.policy.write_text(CHANGED_POLICY)
        world.gate(submission.record.adapter.id)
    assert len(computed) == 2 * 12 * 2, "base and adapter, each document, each option"
    assert [run.record.reused for run in runs_of(world)] == [None] * 4


def test_a_suite_that_cannot_be_run_stops_no_other_and_is_all_that_is_left_to_do(
    world: World, computed: list[str]
) -> None:
    submission = world.submit().submission
    assert submission is not None
    adapter = submission.record.adapter
    add_shapes(world, "{{ nothing.at.all }}")
    with pytest.raises(PartlyUndecidedError, match="shapes on base, shapes on tiny-adapter") as caught:
        world.gate(adapter.id)
    assert "template" in caught.value.hint
    assert caught.value.verdicts == ()
    assert caught.value.undecided == ("tiny-adapter",)
    finished = runs_of(world)
    assert [run.record.subject_kind for run in finished] == ["base", "adapter"]
    assert not world.office.reader().find(Kind.VERDICT, Verdict)

    computed.clear()
    add_shapes(world, "Which is a shape? {{ number }}")
    (verdict,) = world.gate(adapter.id)
    assert verdict.record.adapter == adapter
    assert [run.record.subject_kind for run in runs_of(world, "shapes")] == ["base", "adapter"]
    assert len(computed) == 2 * 12 * 2
    assert {context.partition("?")[0] for context in computed} == {"Which is a shape"}
    # The mended suite makes another plan, which the adapter needs a run for; its answers are on record.
    assert [run.record.reused for run in runs_of(world)] == [None, None, (finished[1].id,)]


def test_after_a_passing_trouble_the_same_plan_goes_on_with_what_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from placet.engine.harness import HarnessRunner

    submission = world.submit().submission
    assert submission is not None
    add_shapes(world, "Which is a shape? {{ number }}")
    run = HarnessRunner.run

    def trouble(self, spec, *rest):
        if spec.name == "shapes":
            raise EvaluationError("memory does not suffice", hint="use a machine with more")
        return run(self, spec, *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HarnessRunner, "run", trouble)
        with pytest.raises(PartlyUndecidedError, match="shapes on base, shapes on tiny-adapter: memory"):
            world.gate(submission.record.adapter.id)
    finished = [run.id for run in runs_of(world)]
    world.heard.steps.clear()
    world.gate(submission.record.adapter.id)
    assert [run.id for run in runs_of(world)] == finished
    assert not [step for step in world.heard.steps if step.startswith("colours")]
    assert [run.record.subject_kind for run in runs_of(world, "shapes")] == ["base", "adapter"]
    assert len(world.office.reader().find(Kind.PLAN, Plan)) == 1


@pytest.mark.parametrize("same_plan", [True, False], ids=["same-plan", "another-plan"])
def test_the_journal_of_an_interrupted_run_serves_the_plan_it_was_made_for_only(
    world: World, computed: list[str], same_plan: bool
) -> None:
    submission = world.submit().submission
    assert submission is not None
    record = Office.record

    def stop_before_the_adapters(self, kind, *rest):
        if kind is Kind.EVALUATION and rest[0].subject_kind == "adapter":
            raise KeyboardInterrupt
        return record(self, kind, *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Office, "record", stop_before_the_adapters)
        with pytest.raises(KeyboardInterrupt):
            world.gate(submission.record.adapter.id)
    assert len(computed) == 2 * 12 * 2
    (journal,) = (world.office.home / "work" / "answers").glob("*.jsonl")
    computed.clear()
    if not same_plan:
        world.policy.write_text(CHANGED_POLICY)
    world.gate(submission.record.adapter.id)
    assert len(computed) == (0 if same_plan else 12 * 2)
    assert runs_of(world)[-1].record.reused is None, "a journal is no record to name"
    assert journal.exists() != same_plan


def test_nothing_taken_from_a_record_is_written_to_a_journal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from placet.engine.answers import JournalAnswers

    submission = world.submit().submission
    assert submission is not None
    world.gate(submission.record.adapter.id)
    written = []
    monkeypatch.setattr(JournalAnswers, "put", lambda self, answers: written.extend(answers))
    world.policy.write_text(CHANGED_POLICY)
    world.gate(submission.record.adapter.id)
    assert written == []
