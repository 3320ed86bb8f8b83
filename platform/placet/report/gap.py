"""A gate's interval against its limit: what is drawn of it, and in words how far it is from passing."""

from __future__ import annotations

from dataclasses import dataclass

from placet.domain.records import GateResult, Outcome
from placet.report.text import figure, signed


@dataclass(frozen=True, slots=True)
class Plot:
    """An interval against its threshold.

    Attributes:
        point: The figure, or where `difference` the figure minus the base's.
        low: Lower end of the interval, as `point`.
        high: Upper end.
        threshold: The limit.
        sign: The condition that passes, point to threshold: ``≥``, ``>``, ``≤`` or ``<``; empty if unknown.
        difference: Whether the axis is a difference to something.
        against: What it is a difference to.
    """

    point: float
    low: float
    high: float
    threshold: float
    sign: str
    difference: bool
    against: str = "the base"

    @property
    def passes_above(self) -> bool | None:
        """Whether values above the threshold pass; None if unknown."""
        return None if not self.sign else self.sign in "≥>"

    @property
    def room(self) -> float | None:
        """How far the deciding end of the interval is on the passing side; negative where it is not."""
        if self.passes_above is None:
            return None
        return self.low - self.threshold if self.passes_above else self.threshold - self.high


def plot_of(gate: GateResult) -> Plot | None:
    """Return what can be drawn of a gate: None unless it has figure, interval and threshold."""
    if gate.figure is None or gate.interval is None or gate.threshold is None:
        return None
    # The policy records intervals of the difference wherever a baseline is compared.
    difference = gate.baseline is not None
    point = gate.figure - gate.baseline if gate.baseline is not None else gate.figure
    signs = [sign for sign in "≥>≤<" if sign in gate.comparison]
    return Plot(
        point=point,
        low=gate.interval.low,
        high=gate.interval.high,
        threshold=gate.threshold,
        sign=signs[0] if len(signs) == 1 else "",
        difference=difference,
        against=gate.compared_with or "the base",
    )


def gap_of(gate: GateResult, plot: Plot | None) -> str:
    """Return what is missing for a gate to pass, in figures: where the interval ends, and where it would have to.

    Empty if it passed, or there is no interval, or another interval would not have been enough.
    """
    if gate.outcome is Outcome.PASS or plot is None or plot.room is None or plot.room > 0:
        return ""
    write = signed if plot.difference else figure
    end, word = (plot.low, "lower") if plot.passes_above else (plot.high, "upper")
    beyond = {"≥": "at least", ">": "above", "≤": "at most", "<": "below"}[plot.sign]
    return (
        f"The {word} end of the interval is {write(end)} and has to be {beyond} {write(plot.threshold)}: "
        f"{figure(-plot.room)} is missing."
    )


def to_pass(gate: GateResult) -> str:
    """Return what would have to change for a gate to pass: the gap, and the fix that its verdict names."""
    return " ".join(filter(None, (gap_of(gate, plot_of(gate)), gate.fix)))
