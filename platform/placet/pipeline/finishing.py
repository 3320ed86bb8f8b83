"""Finishes a plan that was logged and never measured to its end, so that its result is known.

Guarantees: the documents are the plan's, in its order; only what the log lacks is run, with today's engine, on all it
compares with. What it registered under its policy is what is run, whatever policy is asked for today.
"""

from __future__ import annotations

from dataclasses import replace

from placet.attest.predicates import Kind
from placet.attest.trust import Verified
from placet.domain.digests import short
from placet.domain.errors import UsageError
from placet.domain.records import AdapterRef, Plan
from placet.ledger.reader import LedgerReader
from placet.pipeline.evidence import measurements_of
from placet.pipeline.measurements import Work, measure, runner_of, submission_of
from placet.pipeline.policies import policy_of

_SHORTEST_ID = 6


def find_plan(reader: LedgerReader, text: str, adapters: tuple[AdapterRef, ...]) -> Verified[Plan]:
    """Return the plan for the weights of one of `adapters` whose record id begins with `text`.

    Raises:
        UsageError: None does, or several do.
    """
    wanted = text.removeprefix("sha256:")
    weights = {adapter.weights_id for adapter in adapters}
    plans = {
        plan.id: plan
        for one in sorted(weights)
        for plan in reader.find(Kind.PLAN, Plan, subject=one)
        if plan.record.adapter.weights_id == one
    }
    found = [
        plan
        for record, plan in plans.items()
        if len(wanted) >= _SHORTEST_ID and short(record, 64).startswith(wanted)
    ]
    if len(found) != 1:
        known = ", ".join(short(record) for record in plans) or "none yet"
        raise UsageError(
            f"no plan {text!r} for these adapters' weights is on record"
            if not found
            else f"{text!r} fits several plans",
            hint=f"their plans are: {known}",
        )
    return found[0]


def finish_plan(work: Work, plan: Verified[Plan]) -> None:
    """Run what a plan registered on its adapter and the log has no run of.

    Args:
        work: Today's work: its office, its suites, and its model runner, which is loaded where it was not.
        plan: The plan.

    Raises:
        UsageError: Its policy's document cannot be read.
        UndecidedError: Some suites could not be run; the others are on record.
    """
    record = plan.record
    runs = measurements_of(work.office.reader(), record.adapter.weights_id)
    done = {run.record.suite.digest for run in runs if run.record.plan == plan.id}
    wanted = [item for item in record.suites if item.suite.digest not in done]
    here = {suite.ref.digest for suite in work.suites.values()}
    todo = tuple(item for item in wanted if item.suite.digest in here)
    if left := ", ".join(item.suite.id for item in wanted if item not in todo):
        why = "this policy has no such suite, or another version of it"
        work.progress.note(f"plan {short(plan.id)}: {left} is not run: {why}")
    if not todo:
        work.progress.note(f"plan {short(plan.id)} has nothing left to be run")
        return
    policy = policy_of(work.office.blobs, record.policy)
    engine = runner_of(work, record.base.id).info()
    # An engine that was replaced since cannot run any more; whom the adapter is compared with runs on today's too.
    rest = replace(plan, record=record.model_copy(update={"suites": todo, "engine": engine}))
    measure(replace(work, policy=policy), submission_of(work.office, record.adapter.id).record, rest)
