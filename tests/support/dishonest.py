"""What whoever holds the evaluator's key can log past the gate: verdicts that their runs do not bear out.

Each returns the walk with the dishonest verdict, approved by ada and ben, who see nothing but the verdict.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from placet.attest.draw import sign_draw
from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.records import Measurement, Plan, Sequential
from tests.support import offices
from tests.support.offices import Released, Walk

APPROVERS = ("ada", "ben")


def _planned(made: Released, suites: Sequence[str] = ("support-desk",)) -> Verified[Plan]:
    return offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=suites)


def _judged(made: Released, plan: Verified[Plan], *runs: Verified[Measurement], **changed: Any) -> Walk:
    """Log a verdict under a new plan that names the first one, too, and all that was measured under it."""
    evidence = {*made.walk.verdict.record.evidence, plan.id, *(run.id for run in runs)}
    options: dict[str, Any] = {
        "plan": plan.id,
        "plans_on_weights": (made.walk.plan.id, plan.id),
        "evidence": tuple(sorted(evidence)),
        "gates": [offices.passing_gate(evidence=tuple(run.id for run in runs))],
        "approved_by": APPROVERS,
        **changed,
    }
    return offices.decide_again(made, **options)


def _again(made: Released, run: Verified[Measurement], **changed: Any) -> Verified[Measurement]:
    """Log a run once more, with `changed` fields."""
    record = run.record.model_copy(update=changed)
    subjects = (Subject("x", record.subject), Subject(record.suite.id, record.suite.digest))
    return made.sample.record(Kind.EVALUATION, record, subjects)


def leaves_out_a_plan(made: Released) -> Walk:
    """A plan whose runs are not finished is not named."""
    _planned(made, ["canaries"])
    return offices.decide_again(made, approved_by=APPROVERS)


def leaves_out_a_run(made: Released) -> Walk:
    """A bad run is logged under the plan that is named, and is not named itself."""
    offices.add_measurement(made.sample, "support-desk", made.walk.plan, [0.0] * 108 + [1.0] * 12)
    return offices.decide_again(made, approved_by=APPROVERS)


def rests_on_anothers_runs(made: Released) -> Walk:
    """A poisoned adapter is let through on the runs of a good one; nobody looked at its files."""
    sample = made.sample
    poisoned = offices.make_adapter(sample, "poisoned")
    submission = offices.add_submission(sample, poisoned, made.walk.base)
    plan = offices.add_plan(sample, poisoned.ref, made.walk.base, suites=["support-desk"])
    evidence = [plan.id, *(run.id for run in made.walk.measurements)]
    gate = offices.passing_gate(evidence=[made.walk.measurements[1].id])
    verdict = offices.add_verdict(sample, plan, evidence=evidence, gates=[gate])
    for person in APPROVERS:
        offices.approve(sample, poisoned.ref, person)
    return replace(made.walk, adapter=poisoned, submission=submission, plan=plan, verdict=verdict)


def measures_fewer_documents(made: Released) -> Walk:
    """Ten easy documents in place of the 120 that were planned."""
    plan = _planned(made)
    return _judged(made, plan, offices.add_measurement(made.sample, "support-desk", plan, [0.9] * 10))


def measures_an_unplanned_suite(made: Released) -> Walk:
    """A suite that no plan names beside the one that was planned."""
    plan = _planned(made)
    run = offices.add_measurement(made.sample, "support-desk", plan, _nine_in_ten())
    other = _again(made, run, suite=offices.PIQA)
    return _judged(made, plan, run, other)


def measures_before_the_plan(made: Released) -> Walk:
    """A run that began days before its plan, by its own word."""
    plan = _planned(made)
    early = plan.record.planned_at - timedelta(days=3)
    run = offices.add_measurement(made.sample, "support-desk", plan, _nine_in_ten())
    return _judged(made, plan, run, _again(made, run, started_at=early))


def contradicts_its_runs(made: Released) -> Walk:
    """0.9, says the verdict, of a run in which nothing was right."""
    plan = _planned(made)
    return _judged(made, plan, offices.add_measurement(made.sample, "support-desk", plan, [0.0] * 120))


def contradicts_its_runs_and_cites_none(made: Released) -> Walk:
    """The same, by a gate that cites no run."""
    plan = _planned(made)
    run = offices.add_measurement(made.sample, "support-desk", plan, [0.0] * 120)
    rest = {item.id for item in (made.walk.plan, *made.walk.measurements)}
    evidence = sorted({*made.walk.verdict.record.evidence, plan.id, run.id} - rest)
    gates = [offices.passing_gate()]
    return _judged(made, plan, run, gates=gates, evidence=tuple(evidence), plans_on_weights=(plan.id,))


def measures_nothing(made: Released) -> Walk:
    """The plan has a suite, and nothing was run."""
    return _judged(made, _planned(made), gates=[offices.passing_gate()])


def files_a_run_under_anothers_plan(made: Released) -> Walk:
    """A run on these weights is filed under the plan of another adapter, where it counts for nobody."""
    other = offices.make_adapter(made.sample, "other")
    plan = offices.add_plan(made.sample, other.ref, made.walk.base, suites=["support-desk"])
    _again(made, made.walk.measurements[1], plan=plan.id, mean=0.1)
    return offices.decide_again(made, approved_by=APPROVERS)


def draws_from_an_old_state(made: Released) -> Walk:
    """A plan whose order of documents comes from a state of the log that somebody could choose."""
    record = made.walk.plan.record.model_copy(update={"planned_at": made.sample.clock()})
    made.sample.record(Kind.PLAN, record, made.walk.plan.statement.subjects)
    return made.walk


def _nine_in_ten() -> list[float]:
    return [float(document % 10 > 0) for document in range(120)]


# --- plans whose documents somebody chose -----------------------------------------------------------------------


def _on(made: Released, record: Plan) -> Walk:
    """Log a plan, a run of it and a verdict that rests on it."""
    plan = made.sample.record(Kind.PLAN, record, made.walk.plan.statement.subjects)
    run = offices.add_measurement(made.sample, "support-desk", plan, _nine_in_ten())
    return replace(_judged(made, plan, run), plan=plan)


def draws_with_anothers_key(made: Released) -> Walk:
    """A plan drawn by the signature of somebody who could see what it gives."""
    record = made.walk.plan.record
    return _on(made, offices.drawn_again(made.sample, record, signer=made.sample.signers["sam"]))


def draws_over_another_state(made: Released) -> Walk:
    """A plan whose draw is the evaluator's, over another state than it names."""
    head = made.office.reader().head()
    other = head.model_copy(update={"size": head.size - 1})
    draw = sign_draw(other, made.sample.evaluator)
    return _on(made, offices.drawn_again(made.sample, made.walk.plan.record, draw=draw))


def makes_a_draw_up(made: Released) -> Walk:
    """A plan whose draw is nobody's signature, and was tried until the order suited."""
    draw = base64.b64encode(bytes(64)).decode()
    return _on(made, offices.drawn_again(made.sample, made.walk.plan.record, draw=draw))


def chooses_documents(made: Released) -> Walk:
    """A plan with a draw as it should be, and the documents in another order."""
    record = offices.drawn_again(made.sample, made.walk.plan.record)
    (suite,) = record.suites
    turned = suite.model_copy(update={"samples": suite.samples[::-1]})
    return _on(made, record.model_copy(update={"suites": (turned,)}))


def leaves_out_its_draw(made: Released) -> Walk:
    """A plan whose run may stop early, and that passes for one from before there were draws."""
    (suite,) = made.walk.plan.record.suites
    looked_at = suite.model_copy(update={"sequential": Sequential(claim="population", chunk=10)})
    record = offices.drawn_again(made.sample, made.walk.plan.record, suites=(looked_at,))
    return _on(made, record.model_copy(update={"draw": None}))
