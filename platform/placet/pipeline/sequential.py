"""Runs a suite in chunks of the plan's order, on everybody who is compared, until its gates are settled.

Guarantees: every subject is run on the same documents, a beginning of the plan's order; what is run next depends on
nothing but whether to go on. An interrupted run is taken up again from the answers that were kept, and stops where it
would have stopped.
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
    """Return what was run, by subject; subjects whose values are `known` were not run.

    Args:
        policy: Whose gates decide.
        planned: The suite, planned as sequential.
        own: The adapter.
        others: ``base`` and the references by name.
        known: Subjects that were measured before on every planned document, with their values.
        run: Runs documents.
        companions: Document → value of the base's run that the plan names, if it names one.

    Raises:
        EvaluationError: A chunk could not be run.
    """
    chunk = planned.sequential.chunk if planned.sequential else len(planned.samples)
    subjects = {target.subject: target for target in (*others.values(), own)}
    parts: dict[Digest, list[MeasuredSuite]] = {subject: [] for subject in subjects if subject not in known}
    watch: Watch | None = None
    for start in range(0, len(planned.samples), chunk):
        documents = planned.samples[start : start + chunk]
        values: dict[Digest, Sequence[float]] = {}
        for subject, target in subjects.items():
            if subject in known:
                values[subject] = [known[subject][document] for document in documents]
            else:
                part = run(documents, target)
                parts[subject].append(part)
                values[subject] = [row.value for row in part.rows]
        if watch is None:
            higher = parts[own.subject][0].higher_is_better
            watch = Watch(policy, planned, tuple(others), higher_is_better=higher, companions=companions)
        watch.take(values[own.subject], {name: values[target.subject] for name, target in others.items()})
        if watch.settled:
            break
    return {subject: joined(made) for subject, made in parts.items()}
