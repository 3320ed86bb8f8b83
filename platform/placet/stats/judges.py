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
from dataclasses import dataclass

from placet.stats.bounds import Bounds, NotEstimableError, require_alpha
from placet.stats.exact import exact_interval
from placet.stats.proportion import clopper_pearson

METHOD = "Rogan-Gladen, Clopper-Pearson combined by MOVER"
DIFFERENCE_METHOD = "Rogan-Gladen difference, exact bounds combined by MOVER"
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
    ruled out (more is flagged than of what people flagged, or less than of what they did not) the calibration does
    not hold for these documents; if it does, that happens with probability `alpha` at most at either end.

    Source: Rogan & Gladen, American Journal of Epidemiology 107 (1978) 71-76; Zou & Donner, Statistics in Medicine 27
    (2008) 1693-1702 (MOVER).

    Raises:
        ValueError: The counts do not fit, or `alpha` is not in (0, 0.5).
        NotEstimableError: No true rate explains what the judge flagged.
    """
    require_alpha(alpha)
    found, sense, alarm = clopper_pearson(flagged, n, alpha), *calibration.rates(alpha)

    def least(p: float) -> float:
        middle = found.estimate - (1.0 - p) * alarm.estimate - p * sense.estimate
        return middle - math.hypot(_below(found), (1.0 - p) * _above(alarm), p * _above(sense))

    def most(p: float) -> float:
        middle = found.estimate - (1.0 - p) * alarm.estimate - p * sense.estimate
        return middle + math.hypot(_above(found), (1.0 - p) * _below(alarm), p * _below(sense))

    if least(1.0) > 0.0:
        raise _elsewhere(
            f"flags {found.estimate:.3g} of these answers, of those that people flagged {sense.estimate:.3g}"
        )
    if most(0.0) < 0.0:
        raise _elsewhere(
            f"flags {found.estimate:.3g} of these answers, of those that people did not flag {alarm.estimate:.3g}"
        )
    # `least` is concave and `most` convex, so each leaves the rates that it rules out at one end of [0, 1].
    low = _last(lambda p: least(p) > 0.0, 0.0, 1.0)
    high = 1.0 - _last(lambda p: most(1.0 - p) < 0.0, 0.0, 1.0)
    skill = sense.estimate - alarm.estimate
    estimate = found.estimate
    if skill > 0.0:
        estimate = max(0.0, min(1.0, (found.estimate - alarm.estimate) / skill))
    return Bounds(estimate, min(low, estimate), max(high, estimate), alpha, METHOD, n)


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
        NotEstimableError: No true difference explains the one that the judge found.
    """
    require_alpha(alpha)
    found, (sense, alarm) = exact_interval(gained, lost, n, alpha), calibration.rates(alpha)
    skill = sense.estimate - alarm.estimate

    def least(difference: float, bounds: Bounds) -> float:
        more = math.hypot(_above(sense), _below(alarm))
        less = math.hypot(_below(sense), _above(alarm))
        doubt = difference * (more if difference > 0.0 else less)
        return bounds.estimate - difference * skill - math.hypot(_below(bounds), doubt)

    if least(1.0, found) > 0.0 or least(1.0, found.mirrored()) > 0.0:
        raise _elsewhere(
            f"finds a difference of {found.estimate:.3g}, between answers that people told apart one of {skill:.3g}"
        )
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
        corrected: The one that this judge gives; None if it cannot be had.
        endless: The one that this judge would give on documents without end: what its calibration leaves open.
    """

    rate: float
    flagged: float
    plain: Bounds
    corrected: Bounds | None
    endless: Bounds | None


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

    def corrected(documents: int) -> Bounds | None:
        try:
            return corrected_rate(round(documents * flagged), documents, calibration, alpha)
        except NotEstimableError:
            return None

    return Widening(
        rate, flagged, clopper_pearson(round(n * rate), n, alpha), corrected(n), corrected(_ENDLESS)
    )


def _elsewhere(found: str) -> NotEstimableError:
    return NotEstimableError(
        f"the judge {found}: it errs here otherwise than where it was measured",
        hint="have people label answers of this adapter, and measure the judge on those",
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
