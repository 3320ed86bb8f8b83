"""What a gate says of evidence, before the decision adds the gate's own name and reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from placet.domain.digests import Digest
from placet.domain.records import Interval, Outcome, PathPoint
from placet.stats.bounds import Bounds

_BADNESS = (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.MISSING, Outcome.FAIL, Outcome.ERROR)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One gate's outcome on one piece of evidence, with the figures behind it.

    Where `baseline` and `interval` are both given, the interval and the threshold are of the difference
    ``figure - baseline``.
    """

    outcome: Outcome
    reason: str
    fix: str = ""
    figure: float | None = None
    baseline: float | None = None
    interval: Interval | None = None
    threshold: float | None = None
    comparison: str = ""
    n: int = 0
    evidence: tuple[Digest, ...] = ()
    compared_with: str | None = None
    path: tuple[PathPoint, ...] | None = None

    def adding(self, sentence: str) -> Judgement:
        """Return this judgement with one more sentence of reason."""
        return replace(self, reason=f"{self.reason} {sentence}")

    def citing(self, *records: Digest) -> Judgement:
        """Return this judgement resting on `records` as well."""
        return replace(self, evidence=tuple(dict.fromkeys((*self.evidence, *records))))


def badness(outcome: Outcome) -> int:
    """Return the rank of an outcome: PASS, INCONCLUSIVE, MISSING, FAIL, ERROR, from best to worst."""
    return _BADNESS.index(outcome)


def missing(reason: str, fix: str) -> Judgement:
    """Return the judgement that the evidence asked for is not there."""
    return Judgement(Outcome.MISSING, reason, fix)


def error(reason: str, fix: str) -> Judgement:
    """Return the judgement that what is there cannot be judged."""
    return Judgement(Outcome.ERROR, reason, fix)


def recorded_interval(bounds: Bounds) -> Interval:
    """Return `bounds` (already rounded outward) as they go on record."""
    return Interval(low=bounds.low, high=bounds.high, level=bounds.level, method=bounds.method)


def percent(alpha: float) -> str:
    """Return the confidence of a one-sided bound in words, for example ``95%``."""
    return f"{100.0 * (1.0 - alpha):.4g}%"


def figure(value: float) -> str:
    """Return a figure for people: up to 4 decimal places, at least 2, a real minus sign never needed."""
    text = f"{value:.4f}"
    while text.endswith("0") and len(text.split(".")[1]) > 2:
        text = text[:-1]
    return "0.00" if text == "-0.00" else text


def worst(judgements: Sequence[Judgement]) -> Judgement:
    """Return the worst of `judgements` (at least one), the first of equals, resting on the records of all."""
    chosen = max(judgements, key=lambda one: badness(one.outcome))
    return chosen.citing(*(record for one in judgements for record in one.evidence))
