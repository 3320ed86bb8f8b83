"""Plans what will be measured: drawn from the newest state of the log, and logged before anything else is.

Guarantees: between the state that an order is drawn from and the plan in the log there is nothing but plans drawn from
the same state. Where somebody else was quicker, all of them are drawn anew. So nobody can choose an order by choosing a
state, and the audit can tell. The order takes the evaluator's signature over the state, too, which nobody else can
foresee: so nobody can choose one by choosing what is logged last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from placet.attest.draw import draw_order, drawn_otherwise, sign_draw
from placet.attest.envelope import Envelope
from placet.attest.keys import Signer
from placet.attest.predicates import Kind
from placet.attest.statement import Subject
from placet.attest.trust import Verified, sign_record
from placet.domain.digests import Digest, canonical_json
from placet.domain.errors import LedgerBusyError
from placet.domain.records import (
    EngineInfo,
    LedgerHead,
    Plan,
    PlannedReference,
    PlannedSuite,
    Sequential,
    Submission,
)
from placet.ledger.store import StaleError
from placet.measuring.suite import groups_by, largest_group
from placet.office import EVALUATOR_KEY
from placet.pipeline.costs import Pace, paces
from placet.pipeline.evidence import measurements_of
from placet.pipeline.measurements import Work, runner_of, unmeasured, whole_run_of_base
from placet.pipeline.references import find_references
from placet.policy.forecasts import expected_documents
from placet.policy.model import ComparisonGate
from placet.policy.planning import group_sizes, review_samples, sample_sizes
from placet.policy.schema import DEFAULT_CHUNK

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class _Forecast:
    """What a plan says of each suite whatever its order: made once, since it takes a while."""

    sizes: Mapping[str, int]
    expected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What orders are drawn from: a ledger state, and the evaluator's signature over it."""

    head: LedgerHead
    draw: str


def make_plans(work: Work, submissions: Sequence[Verified[Submission]]) -> list[Verified[Plan]]:
    """Return the plan to follow for each submission: the newest that still fits, else a new one, logged now.

    One state of the log is drawn from for all, by one signature: the adapters then run in one order, and the base once
    for all of them.

    Raises:
        LedgerBusyError: Others kept adding to the log.
    """
    found = {item.id: plan for item in submissions if (plan := _fitting(work, item)) is not None}
    new = list({item.id: item for item in submissions if item.id not in found}.values())
    if new:
        found |= _log_new(work, new)
    return [found[item.id] for item in submissions]


def _log_new(work: Work, submissions: Sequence[Verified[Submission]]) -> dict[Digest, Verified[Plan]]:
    documents = {name: len(suite.rows()) for name, suite in work.suites.items()}
    forecast = _Forecast(
        sample_sizes(work.policy, documents),
        {name: expected_documents(work.policy, name, count) for name, count in documents.items()},
    )
    # What takes long is done before the state is looked at that the orders are drawn from.
    runner_of(work, submissions[0].record.base.id).info()
    # The blob's name is the policy's digest: whoever reads a verdict later can read what it was judged by.
    work.office.blobs.put_bytes(canonical_json(work.policy.to_json()))
    office, signer = work.office, work.office.signer(EVALUATOR_KEY)
    for _ in range(_ATTEMPTS):
        head = office.reader().head()
        # Signed once: a P-256 key would give each plan an order of its own.
        drawn = _Drawn(head, sign_draw(head, signer))
        plans = [_plan(work, item.record, drawn, forecast) for item in submissions]
        notes = [note for plan in plans for note in _notes(work, plan, documents, forecast)]
        try:
            logged = office.append_at(head.size, [_signed(plan, signer) for plan in plans])
        except StaleError:
            continue  # somebody was quicker: another state, another order
        for note in notes:
            work.progress.note(note)
        return {item.id: cast("Verified[Plan]", plan) for item, plan in zip(submissions, logged, strict=True)}
    raise LedgerBusyError(
        f"the ledger grew {_ATTEMPTS} times while a plan was drawn from it",
        hint="others are adding much to it: try again; no plan was added",
    )


def _fitting(work: Work, submission: Verified[Submission]) -> Verified[Plan] | None:
    """Return the newest plan for an adapter that still fits, if there is one."""
    reader = work.office.reader()
    references = find_references(reader, work.policy.others, submission.record.base.id)
    for plan in reversed(reader.find(Kind.PLAN, Plan, subject=submission.record.adapter.id)):
        if (
            _still_fits(work, plan.record, submission.record, references)
            and not drawn_otherwise(plan.record)
            and (
                not unmeasured(work, plan)
                or plan.record.engine == runner_of(work, plan.record.base.id).info()
            )
        ):
            return plan
    return None


def _plan(work: Work, submission: Submission, drawn: _Drawn, forecast: _Forecast) -> Plan:
    office, reader = work.office, work.office.reader()
    adapter, base = submission.adapter, submission.base
    pace = paces(reader, base.id)
    suites = tuple(_planned(work, name, drawn, pace, forecast) for name in forecast.sizes)
    engine = runner_of(work, base.id).info()
    return Plan(
        adapter=adapter,
        base=base,
        policy=work.policy.ref,
        suites=tuple(_with_companions(work, item, base.id, engine) for item in suites),
        engine=engine,
        head=drawn.head,
        draw=drawn.draw,
        planned_at=office.clock(),
        references=find_references(reader, work.policy.others, base.id) or None,
        known_results=_known_results(work, adapter.weights_id) or None,
    )


def _signed(plan: Plan, signer: Signer) -> Envelope:
    # Whoever asks for the plans on some weights gets those too that have them measured for a comparison.
    adapter = plan.adapter
    compared = {item.adapter.weights_id: item.adapter.label for item in plan.references or ()}
    subjects = (
        Subject(adapter.label, adapter.id),
        Subject("weights", adapter.weights_id),
        *(Subject(label, weights) for weights, label in compared.items() if weights != adapter.weights_id),
    )
    return sign_record(Kind.PLAN, plan, subjects, signer)


def _notes(work: Work, plan: Plan, documents: Mapping[str, int], forecast: _Forecast) -> Iterator[str]:
    """Yield what a plan cannot show, and what was known when it was made."""
    for note in review_samples(work.policy, forecast.sizes, documents, group_sizes(plan.suites)):
        if not note.adequate:
            yield f"gate {note.gate}: {note.text}"
    if plan.known_results:
        yield (
            f"{plan.adapter.label}: {len(plan.known_results)} runs of these suites on these weights are on record"
            " already; the plan says so"
        )


def _known_results(work: Work, weights_id: Digest) -> tuple[Digest, ...]:
    """Return the runs of the policy's suites on these weights that whoever makes a plan now could have seen."""
    wanted = {suite.ref.digest for suite in work.suites.values()}
    runs = measurements_of(work.office.reader(), weights_id)
    return tuple(run.id for run in runs if run.record.suite.digest in wanted)


def _still_fits(
    work: Work, plan: Plan, submission: Submission, references: tuple[PlannedReference, ...]
) -> bool:
    """Return whether a plan asks today's question: same policy, base, suites, comparisons, engine; not too old."""
    limit = work.policy.max_age_days
    young = limit is None or work.office.clock() - plan.planned_at < timedelta(days=limit)
    return (
        young
        and (plan.adapter, plan.policy, plan.base) == (submission.adapter, work.policy.ref, submission.base)
        and {item.suite.id: item.suite for item in plan.suites}
        == {name: suite.ref for name, suite in work.suites.items()}
        and (plan.references or ()) == references
        and work.compute.fits(plan.engine)
    )


def _planned(
    work: Work, name: str, drawn: _Drawn, pace: Mapping[Digest, Pace], forecast: _Forecast
) -> PlannedSuite:
    suite, sampling = work.suites[name], work.policy.suites[name]
    documents, size = len(suite.rows()), forecast.sizes[name]
    samples = draw_order(documents, size, drawn.head.root, drawn.draw, suite.ref.digest)
    groups = {column: groups_by(suite, column, samples) for column in work.policy.columns_of(name)}
    sequential = None
    if sampling.mode == "sequential" and sampling.claim is not None:
        sequential = Sequential(claim=sampling.claim, chunk=sampling.chunk or DEFAULT_CHUNK)
    largest = {column: largest_group(suite, column) for column in work.policy.columns_of(name)}
    expected = forecast.expected[name]
    return PlannedSuite(
        suite=suite.ref,
        stage=suite.stage,
        documents=documents,
        samples=samples,
        groups=groups or None,
        expected_documents=expected if sequential else None,
        expected_s=pace[suite.ref.digest].of(expected) if suite.ref.digest in pace else None,
        cluster=sampling.cluster,
        sequential=sequential,
        value_range=suite.value_range,
        largest_groups=largest or None,
    )


def _with_companions(work: Work, planned: PlannedSuite, base: Digest, engine: EngineInfo) -> PlannedSuite:
    """Return a suite that is planned as sequential with the run of the base whose values can steady its tests."""
    if planned.sequential is None or planned.sequential.claim != "benchmark":
        return planned
    if not any(isinstance(gate, ComparisonGate) for gate in work.policy.gates_on(planned.suite.id)):
        return planned
    whole = whole_run_of_base(work, work.suites[planned.suite.id], base, engine)
    return planned if whole is None else planned.model_copy(update={"companions": whole.id})
