"""Runs a suite in chunks of the plan's order, on everybody who is compared, until its gates are settled.

Guarantees: every subject is run on a beginning of the plan's order, the adapter on no more than was needed, the others
on at least as much; what is run next depends on nothing but whether to go on. An interrupted run is taken up again from
the answers that were kept, and stops where it would have stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from placet.domain.digests import Digest
from placet.domain.records import AdapterRef, PlannedSuite
from placet.measuring.measured import MeasuredSuite, joined
from placet.policy.schema import Policy
from placet.policy.stopping import Watch


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a suite is run on: the base (no adapter), the adapter, or another one to compare with."""

    subject: Digest
    label: str
    adapter: AdapterRef | None


Run = Callable[[tuple[int, ...], Target], MeasuredSuite]
"""Runs documents of the suite on a target."""


def run_until_settled(
    policy: Policy,
    planned: PlannedSuite,
    own: Target,
    others: Mapping[str, Target],
    known: Mapping[Digest, Mapping[int, float]],
    run: Run,
    companions: Mapping[int, float] | None = None,
) -> dict[Digest, MeasuredSuite]:
    """Return what was run, by subject; one whose values are `known` of all that was looked at was not run.

    Args:
        policy: Whose gates decide.
        planned: The suite, planned as sequential.
        own: The adapter.
        others: ``base`` and the references by name.
        known: Subjects that were measured before, with the values of one run on record; of some documents, perhaps.
        run: Runs documents.
        companions: Document → value of the base's run that the plan names, if it names one.

    Raises:
        EvaluationError: A chunk could not be run.
    """
    chunk = planned.sequential.chunk if planned.sequential else len(planned.samples)
    subjects = {target.subject: target for target in (*others.values(), own)}
    parts: dict[Digest, list[MeasuredSuite]] = {}
    held = {subject: dict(known.get(subject, {})) for subject in subjects}
    watch: Watch | None = None
    for start in range(0, len(planned.samples), chunk):
        documents = planned.samples[start : start + chunk]
        for subject, target in subjects.items():
            if all(document in held[subject] for document in documents):
                continue
            # The others are run at once on what is expected to be looked at: putting an adapter to work and taking it
            # off for every chunk costs as much as the chunk. What is run too much of them serves the next adapter.
            ahead = 0 if subject == own.subject or subject in parts else planned.expected_documents or 0
            stretch = planned.samples[start : max(start + chunk, ahead)]
            part = run(tuple(document for document in stretch if document not in held[subject]), target)
            parts.setdefault(subject, []).append(part)
            held[subject].update((row.doc, row.value) for row in part.rows)
        if watch is None:
            higher = parts[own.subject][0].higher_is_better
            watch = Watch(policy, planned, tuple(others), higher_is_better=higher, companions=companions)
        values = {subject: [held[subject][document] for document in documents] for subject in subjects}
        watch.take(values[own.subject], {name: values[target.subject] for name, target in others.items()})
        if watch.settled:
            break
    return {subject: _whole(made, planned.samples, subjects[subject], run) for subject, made in parts.items()}


def _whole(parts: Sequence[MeasuredSuite], order: tuple[int, ...], target: Target, run: Run) -> MeasuredSuite:
    """Return the run of the order's beginning, up to where it was run, whose first documents may have been known."""
    made = joined(parts)
    beginning = order[: order.index(made.samples[-1]) + 1]
    return made if made.samples == beginning else run(beginning, target)  # every answer of it is there by now
