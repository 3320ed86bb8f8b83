"""Which interval a run's figure gets: by what its values are, how its documents hang together, how its scorer errs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from placet.domain.records import PlannedSuite
from placet.policy.model import StatisticalGate
from placet.stats.bounds import Bounds, NotEstimableError, Range, counted
from placet.stats.judges import Calibration, corrected_difference, corrected_rate
from placet.stats.mean import difference_bounds, mean_bounds
from placet.stats.paired import paired_table


def bounds_of_mean(
    gate: StatisticalGate, values: Sequence[float], samples: Sequence[int], planned: PlannedSuite
) -> Bounds:
    """Return the bounds of the mean of `values`, measured on `samples`.

    Raises:
        NotEstimableError: The values allow none, or a scorer's error is to be corrected in other than 0/1 values.
    """
    calibration = _calibration(gate)
    if calibration is None:
        return mean_bounds(values, gate.alpha, **rests_on(planned, samples))
    _require_counts(values, planned)
    return corrected_rate(sum(1 for value in values if value), len(values), calibration, gate.alpha)


def bounds_of_difference(
    gate: StatisticalGate,
    first: Sequence[float],
    second: Sequence[float],
    samples: Sequence[int],
    planned: PlannedSuite,
    limit: float,
) -> Bounds:
    """Return the bounds of the mean difference on `samples`; `limit` is what they will be compared with.

    Raises:
        NotEstimableError: As :func:`bounds_of_mean`.
    """
    calibration = _calibration(gate)
    if calibration is None:
        return difference_bounds(first, second, gate.alpha, limit=limit, **rests_on(planned, samples))
    _require_counts((*first, *second), planned)
    table = paired_table(first, second)
    return corrected_difference(table.gained, table.lost, table.n, calibration, gate.alpha)


class RestsOn(TypedDict):
    """What an interval takes of the plan: the metric's declared range, and which documents belong together."""

    within: Range | None
    groups: tuple[str, ...] | None
    largest: int | None
    drawn: float


def rests_on(planned: PlannedSuite, samples: Sequence[int]) -> RestsOn:
    """Return what an interval of values measured on `samples` takes of the plan."""
    largest = None if planned.cluster is None else (planned.largest_groups or {}).get(planned.cluster)
    return RestsOn(
        within=planned.value_range,
        groups=clusters(planned, samples),
        largest=largest,
        drawn=len(planned.samples) / planned.documents,
    )


def clusters(planned: PlannedSuite, samples: Sequence[int]) -> tuple[str, ...] | None:
    """Return which cluster each of `samples` belongs to; None where documents stand for themselves."""
    if planned.cluster is None or planned.groups is None:
        return None
    of = {document: name for name, members in planned.groups[planned.cluster].items() for document in members}
    return tuple(of[document] for document in samples)


def adjusted(gate: StatisticalGate, planned: PlannedSuite) -> bool:
    """Return whether an interval is other than the plain one, so that plain counts say nothing of what would pass."""
    return gate.judge_error is not None or planned.cluster is not None


def _calibration(gate: StatisticalGate) -> Calibration | None:
    known = gate.judge_error
    if known is None:
        return None
    return Calibration(known.true_positives, known.positives, known.true_negatives, known.negatives)


def _require_counts(values: Sequence[float], planned: PlannedSuite) -> None:
    if not counted(values, planned.value_range):
        raise NotEstimableError(
            "a scorer's error can be corrected in values of 0 and 1 alone", hint="remove `judge_error`"
        )
