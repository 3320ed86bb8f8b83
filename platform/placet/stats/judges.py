"""Rates found by a judge that errs, corrected by errors that were measured.

A judge that misses some of what it looks for, and flags some of what it should not, reports a rate that is not the true
one. Where its answers were compared with people's, the true rate can be had back (Rogan & Gladen 1978), but its
interval has to carry two uncertainties more: those of the judge's own rates.

Guarantees: each bound is wrong with probability at most its `alpha`, for every true rate and every judge (tested by
enumeration), if the judge errs here as it did where it was measured. Less calibration means wider bounds, and a
judge that is not shown to be better than a coin gives [0, 1]: the correction never hides what is not known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from placet.stats.bounds import Bounds, require_alpha
from placet.stats.exact import exact_interval
from placet.stats.proportion import lower_bound, upper_bound

METHOD = "Rogan-Gladen, Clopper-Pearson for each rate"
DIFFERENCE_METHOD = "Rogan-Gladen difference, exact for each rate"


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

    def spend(self, alpha: float, n: int) -> tuple[float, float, float]:
        """Divide `alpha` among the rate flagged, the sensitivity and the specificity.

        In proportion to how far each is from being known, ``1 / sqrt(documents)``, the judge's two at half weight
        since each concerns a part of the documents. Only sizes count, which are known before anything is judged.
        """
        weights = (1.0 / math.sqrt(n), 0.5 / math.sqrt(self.positives), 0.5 / math.sqrt(self.negatives))
        total = math.fsum(weights)
        first, second, third = (alpha * weight / total for weight in weights)
        return first, second, third


def corrected_rate(flagged: int, n: int, calibration: Calibration, alpha: float = 0.05) -> Bounds:
    """Return the true rate and its bounds, given how many of `n` documents the judge flagged.

    With q the rate flagged, Se the sensitivity and f = 1 - Sp the rate of false alarms, the true rate is
    ``(q - f) / (Se - f)``: rising in q, falling in Se and in f. The lower bound takes q at its own lower bound and the
    others at their upper ones, each with its part of `alpha` (Bonferroni); the upper bound the other way round.

    The estimate is cut to [0, 1]; where the judge was no better than chance it is the rate flagged.

    Source: Rogan & Gladen, American Journal of Epidemiology 107 (1978) 71-76; on the intervals in use, Lang &
    Reiczigel, Preventive Veterinary Medicine 113 (2014) 13-22, whose asymptotic one is narrower.

    Raises:
        ValueError: The counts do not fit, or `alpha` is not in (0, 0.5).
    """
    require_alpha(alpha)
    low_q, high_q, sense, alarm = _parts(flagged, n, calibration, alpha)
    low = _ratio(low_q - alarm[1], sense[1] - alarm[1], 0.0)
    high = _ratio(high_q - alarm[0], sense[0] - alarm[0], 1.0)
    if sense[0] <= alarm[1]:
        # A judge that may be worse than chance: a high rate flagged could mean a low true one.
        low, high = 0.0, 1.0
    estimate = _ratio(
        flagged / n - (1.0 - calibration.specificity),
        calibration.sensitivity + calibration.specificity - 1.0,
        flagged / n,
    )
    return Bounds(estimate, min(low, estimate), max(high, estimate), alpha, METHOD, n)


def corrected_difference(
    gained: int, lost: int, n: int, calibration: Calibration, alpha: float = 0.05
) -> Bounds:
    """Return the true paired difference of two rates that one judge found on the same documents, and its bounds.

    If the judge errs alike on both subjects, false alarms cancel and the true difference is the one found, divided by
    ``Se + Sp - 1``. The bounds are those of the difference found (`placet.stats.exact`), divided by whichever
    bound of that divisor lies farther out.

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
    own, _, _ = calibration.spend(alpha, n)
    found = exact_interval(gained, lost, n, own)
    _, _, sense, alarm = _parts(0, n, calibration, alpha)
    least, most = sense[0] - alarm[1], sense[1] - alarm[0]
    divisor = calibration.sensitivity + calibration.specificity - 1.0
    estimate = found.estimate if divisor <= 0.0 else max(-1.0, min(1.0, found.estimate / divisor))
    if least <= 0.0:
        low, high = -1.0, 1.0
    else:
        low = max(-1.0, found.low / (most if found.low > 0.0 else least))
        high = min(1.0, found.high / (least if found.high > 0.0 else most))
    return Bounds(estimate, min(low, estimate), max(high, estimate), alpha, DIFFERENCE_METHOD, n)


def _parts(
    flagged: int, n: int, calibration: Calibration, alpha: float
) -> tuple[float, float, tuple[float, float], tuple[float, float]]:
    """Return the bounds of the rate flagged, of the sensitivity and of the rate of false alarms."""
    own, first, second = calibration.spend(alpha, n)
    hits, positives = calibration.true_positives, calibration.positives
    alarms, negatives = calibration.negatives - calibration.true_negatives, calibration.negatives
    return (
        lower_bound(flagged, n, own),
        upper_bound(flagged, n, own),
        (lower_bound(hits, positives, first), upper_bound(hits, positives, first)),
        (lower_bound(alarms, negatives, second), upper_bound(alarms, negatives, second)),
    )


def _ratio(part: float, whole: float, otherwise: float) -> float:
    return otherwise if whole <= 0.0 else max(0.0, min(1.0, part / whole))
