"""Rates found by a judge that errs, corrected by errors that were measured.

A judge that misses some of what it looks for, and flags some of what it should not, reports a rate that is not the true
one. Where its answers were compared with people's, the true rate can be had back (Rogan & Gladen 1978), but its
interval has to carry two uncertainties more: those of the judge's own rates.

Guarantees: each bound was wrong with probability at most its `alpha` for all true rates, judges and sample sizes
enumerated (`docs/explanation/statistics.md`), if the judge errs here as it did where it was measured. Less calibration
means wider bounds, and of a judge that is no better than a coin they are about [0, 1]: the correction never hides what
is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from placet.stats.bounds import Bounds, require_alpha
from placet.stats.exact import exact_interval
from placet.stats.proportion import clopper_pearson

METHOD = "Rogan-Gladen, Clopper-Pearson combined by MOVER"
DIFFERENCE_METHOD = "Rogan-Gladen difference, exact bounds combined by MOVER"
BETTER = "errs less here than measured"
"""What the method says where the calibration is contradicted."""

_BISECTIONS = 50
_ENDLESS = 10**7


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a judge did on documents that people had judged.

    Attributes:
        true_positives: Documents that people flagged, and the judge did too.
        positives: Documents that people flagged.
        true_negatives: Documents that neither flagged.
        negatives: Documents that people did not flag.

    Raises:
        ValueError: The counts do not fit each other, or a kind is missing.
    """

    true_positives: int
    positives: int
    true_negatives: int
    negatives: int

    def __post_init__(self) -> None:
        for right, total in ((self.true_positives, self.positives), (self.true_negatives, self.negatives)):
            if total < 1 or not 0 <= right <= total:
                raise ValueError(
                    f"a calibration needs positives and negatives, and counts that fit: {right}/{total}"
                )

    @property
    def sensitivity(self) -> float:
        """Share of true positives that the judge flags."""
        return self.true_positives / self.positives

    @property
    def specificity(self) -> float:
        """Share of true negatives that the judge does not flag."""
        return self.true_negatives / self.negatives

    def is_useful(self, alpha: float) -> bool:
        """Return whether the judge is shown to flag more of what is there than of what is not."""
        sense, alarm = self.rates(alpha)
        return sense.low > alarm.high

    def rates(self, alpha: float) -> tuple[Bounds, Bounds]:
        """Return the bounds of the sensitivity and of the rate of false alarms."""
        return (
            clopper_pearson(self.true_positives, self.positives, alpha),
            clopper_pearson(self.negatives - self.true_negatives, self.negatives, alpha),
        )


def corrected_rate(flagged: int, n: int, calibration: Calibration, alpha: float = 0.05) -> Bounds:
    """Return the true rate and its bounds, given how many of `n` documents the judge flagged.

    With q the rate flagged, Se the sensitivity and f = 1 - Sp the rate of false alarms, the true rate is
    ``(q - f) / (Se - f)``. A rate p is ruled out where ``q - (1 - p) f - p Se``, which is 0 at the true one, is bounded
    away from 0: its bounds are those of the three parts, each Clopper-Pearson's, the distances added as squares
    (MOVER). Nothing is divided by, so a judge near chance makes the bounds wide, not wild.

    The estimate is cut to [0, 1]; where the judge was no better than chance it is the rate flagged. If every rate is
    ruled out because more is flagged than of what people flagged, the sensitivity is higher here than measured, and
    the bounds are [the lower one for a sensitivity of 1, 1]; if less is flagged than of what they did not flag,
    [0, the upper one without false alarms]. A calibration that holds comes to that with probability `alpha` at most.

    Source: Rogan & Gladen, American Journal of Epidemiology 107 (1978) 71-76; Zou & Donner, Statistics in Medicine 27
    (2008) 1693-1702 (MOVER).

    Raises:
        ValueError: The counts do not fit, or `alpha` is not in (0, 0.5).
    """
    require_alpha(alpha)
    found, sense, alarm = clopper_pearson(flagged, n, alpha), *calibration.rates(alpha)

    method = METHOD
    if _least(1.0, found, sense, alarm) > 0.0:
        sense, method = Bounds(1.0, 1.0, 1.0, alpha, METHOD, n), f"{METHOD}, {BETTER}"
        low, high = _last(lambda p: _least(p, found, sense, alarm) > 0.0, 0.0, 1.0), 1.0
    elif _most(0.0, found, sense, alarm) < 0.0:
        alarm, method = Bounds(0.0, 0.0, 0.0, alpha, METHOD, n), f"{METHOD}, {BETTER}"
        low, high = 0.0, 1.0 - _last(lambda p: _most(1.0 - p, found, sense, alarm) < 0.0, 0.0, 1.0)
    else:
        # `_least` is concave and `_most` convex, so each leaves the rates that it rules out at one end of [0, 1].
        low = _last(lambda p: _least(p, found, sense, alarm) > 0.0, 0.0, 1.0)
        high = 1.0 - _last(lambda p: _most(1.0 - p, found, sense, alarm) < 0.0, 0.0, 1.0)
    skill = sense.estimate - alarm.estimate
    estimate = found.estimate
    if skill > 0.0:
        estimate = max(0.0, min(1.0, (found.estimate - alarm.estimate) / skill))
    return Bounds(estimate, min(low, estimate), max(high, estimate), alpha, method, n)


def _least(p: float, found: Bounds, sense: Bounds, alarm: Bounds) -> float:
    """Return the lower bound of what the judge finds beyond what a true rate of `p` explains."""
    middle = found.estimate - (1.0 - p) * alarm.estimate - p * sense.estimate
    return middle - math.hypot(_below(found), (1.0 - p) * _above(alarm), p * _above(sense))


def _most(p: float, found: Bounds, sense: Bounds, alarm: Bounds) -> float:
    """Return the upper bound of it."""
    middle = found.estimate - (1.0 - p) * alarm.estimate - p * sense.estimate
    return middle + math.hypot(_above(found), (1.0 - p) * _below(alarm), p * _below(sense))


def corrected_difference(
    gained: int, lost: int, n: int, calibration: Calibration, alpha: float = 0.05
) -> Bounds:
    """Return the true paired difference of two rates that one judge found on the same documents, and its bounds.

    If the judge errs alike on both subjects, false alarms cancel and the true difference is the one found, divided by
    ``Se - f``. The bounds follow as in :func:`corrected_rate`, those of the difference found being exact
    (`placet.stats.exact`).

    Args:
        gained: Documents flagged for the first subject only.
        lost: Documents flagged for the second only.
        n: All documents.
        calibration: The judge's errors, the same for both subjects.
        alpha: Error probability of each bound.

    Raises:
        ValueError: The counts do not fit, or `alpha` is not in (0, 0.5).
    """
    require_alpha(alpha)
    found, (sense, alarm) = exact_interval(gained, lost, n, alpha), calibration.rates(alpha)
    skill = sense.estimate - alarm.estimate

    def least(difference: float, bounds: Bounds) -> float:
        more = math.hypot(_above(sense), _below(alarm))
        less = math.hypot(_below(sense), _above(alarm))
        doubt = difference * (more if difference > 0.0 else less)
        return bounds.estimate - difference * skill - math.hypot(_below(bounds), doubt)

    # More apart than the calibration allows: a judge without error says the least that can be true.
    if least(1.0, found) > 0.0:
        return replace(found, high=1.0, method=f"{DIFFERENCE_METHOD}, {BETTER}")
    if least(1.0, found.mirrored()) > 0.0:
        return replace(found, low=-1.0, method=f"{DIFFERENCE_METHOD}, {BETTER}")
    low = _last(lambda d: least(d, found) > 0.0, -1.0, 1.0)
    high = -_last(lambda d: least(d, found.mirrored()) > 0.0, -1.0, 1.0)
    estimate = found.estimate if skill <= 0.0 else max(-1.0, min(1.0, found.estimate / skill))
    return Bounds(estimate, min(low, estimate), max(high, estimate), alpha, DIFFERENCE_METHOD, n)


@dataclass(frozen=True, slots=True)
class Widening:
    """What a judge's errors make of an interval, at one true rate.

    Attributes:
        rate: The true rate.
        flagged: The rate that the judge is expected to find.
        plain: The interval that documents would give which are scored without error.
        corrected: The one that this judge gives.
        endless: The one that this judge would give on documents without end: what its calibration leaves open.
    """

    rate: float
    flagged: float
    plain: Bounds
    corrected: Bounds
    endless: Bounds


def widening(calibration: Calibration, n: int, rate: float, alpha: float = 0.05) -> Widening:
    """Return what the judge's errors make of the interval of `n` documents if the true rate is `rate`.

    Counts are the closest whole numbers to those expected.

    Raises:
        ValueError: `n` < 1, `rate` is not in [0, 1] or `alpha` not in (0, 0.5).
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"a rate is in [0, 1], not {rate}")
    alarm = 1.0 - calibration.specificity
    flagged = alarm + rate * (calibration.sensitivity - alarm)

    def corrected(documents: int) -> Bounds:
        return corrected_rate(round(documents * flagged), documents, calibration, alpha)

    return Widening(
        rate, flagged, clopper_pearson(round(n * rate), n, alpha), corrected(n), corrected(_ENDLESS)
    )


def _below(bounds: Bounds) -> float:
    return bounds.estimate - bounds.low


def _above(bounds: Bounds) -> float:
    return bounds.high - bounds.estimate


def _last(ruled_out: Callable[[float], bool], low: float, high: float) -> float:
    """Return where the values ruled out from `low` upwards end: `low` if none is, `high` if all are."""
    if not ruled_out(low):
        return low
    if ruled_out(high):
        return high
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if ruled_out(middle):
            low = middle
        else:
            high = middle
    return low
