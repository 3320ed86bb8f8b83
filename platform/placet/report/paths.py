"""A small SVG picture of a sequential test: how the evidence for PASS and for FAIL grew, document by document.

Two lines in powers of ten, solid for PASS and dashed for FAIL, each named at its end, and a dashed line at which either
decides; a dot where one did. Below, a bar for all planned documents, filled as far as the test needed them. Evidence
far below 1 is cut off at the bottom, and certainty at the top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from placet.domain.records import GateResult, Outcome, PathPoint
from placet.report.markup import Html, el
from placet.report.text import figure

WIDTH, HEIGHT = 260, 124
_LEFT, _RIGHT, _TOP, _BOTTOM = 12, 46, 6, 76
_BAR_TOP, _BAR_HEIGHT = 96, 7
_LOWEST = -1.0
_CERTAIN = 99.0
_TEXT_HEIGHT = 11.0


def path_svg(gate: GateResult, planned: int | None = None) -> Html | None:
    """Return the picture of a gate's sequential test, `WIDTH` by `HEIGHT` pixels; None if it has none.

    Args:
        gate: The gate's result.
        planned: How many documents were planned; without it the bar of documents used is left out.
    """
    if not gate.path or gate.interval is None or gate.path[-1].n == 0:
        return None
    goal = decides_at(gate)
    end, highest = gate.path[-1], goal * 1.5
    right = WIDTH - _RIGHT

    def x(n: int) -> float:
        return round(_LEFT + n / end.n * (right - _LEFT), 1)

    def y(value: float) -> float:
        clipped = min(max(value, _LOWEST), highest)
        return round(_BOTTOM - (clipped - _LOWEST) / (highest - _LOWEST) * (_BOTTOM - _TOP), 1)

    def line(values: Sequence[tuple[int, float]], name: str) -> Html:
        return el("polyline", points=" ".join(f"{x(n)},{y(value)}" for n, value in values), class_=name)

    return el(
        "svg",
        el("title", path_words(gate, planned)),
        el("desc", "Solid: evidence for PASS. Dashed: evidence for FAIL. Powers of ten, by documents read."),
        el("line", x1=_LEFT, y1=y(0.0), x2=right, y2=y(0.0), class_="p-axis"),
        el("line", x1=_LEFT, y1=y(goal), x2=right, y2=y(goal), class_="p-limit"),
        el("text", f"decides at {figure(10**goal, 0)}", x=_LEFT, y=y(goal) - 4, class_="p-limit-text"),
        line([(point.n, point.to_fail) for point in gate.path], "p-path-fail"),
        line([(point.n, point.to_pass) for point in gate.path], "p-path-pass"),
        _names(gate, right, y(end.to_pass), y(end.to_fail), y(0.0)),
        _decided(gate, right, y(end.to_pass), y(end.to_fail)),
        el("text", "0", x=_LEFT, y=_BOTTOM + 12, text_anchor="middle", class_="p-text"),
        el("text", f"{end.n} read", x=right, y=_BOTTOM + 12, text_anchor="end", class_="p-text"),
        _used(end.n, planned),
        class_="plot path",
        role="img",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        xmlns="http://www.w3.org/2000/svg",
    )


def decides_at(gate: GateResult) -> float:
    """Return the power of ten of evidence at which the gate's test decides: that of ``1 / alpha``."""
    level = gate.interval.level if gate.interval is not None else 0.9
    return math.log10(2.0 / (1.0 - level))


def path_words(gate: GateResult, planned: int | None = None) -> str:
    """Return what the picture shows, in words."""
    end: PathPoint = (gate.path or (PathPoint(n=0, to_pass=0.0, to_fail=0.0),))[-1]
    decided = gate.outcome in {Outcome.PASS, Outcome.FAIL}
    said = f"decided {gate.outcome} after {end.n}" if decided else f"not decided after {end.n}"
    of = f" of {planned} planned documents ({_share(end.n, planned)})" if planned else " documents"
    return (
        f"sequential test, {said}{of}: the evidence for PASS is {_power(end.to_pass)}, for FAIL {_power(end.to_fail)}; "
        f"it decides at {figure(10 ** decides_at(gate), 0)}"
    )


def _names(gate: GateResult, right: float, passing: float, failing: float, one: float) -> list[Html]:
    """Return the lines' names beside their ends, moved apart where they would cover each other."""
    upper, lower = sorted((("PASS", passing), ("FAIL", failing)), key=lambda item: item[1])
    low_at = min(max(lower[1], upper[1] + _TEXT_HEIGHT, _TOP + 2 * _TEXT_HEIGHT), float(_BOTTOM))
    high_at = max(min(upper[1], low_at - _TEXT_HEIGHT), float(_TOP) + 4)
    places = {upper[0]: high_at, lower[0]: low_at}
    texts = [
        el(
            "text",
            name,
            x=right + 8,
            y=round(place + 3.5, 1),
            class_="p-limit-text" if gate.outcome == name else "p-text",
        )
        for name, place in places.items()
    ]
    if all(abs(place - one) > _TEXT_HEIGHT for place in places.values()):
        texts.append(el("text", "1", x=right + 8, y=one + 3.5, class_="p-text"))
    return texts


def _decided(gate: GateResult, right: float, passing: float, failing: float) -> Html | None:
    if gate.outcome is Outcome.PASS:
        return el("circle", cx=right, cy=passing, r=3.6, class_="p-dot")
    if gate.outcome is Outcome.FAIL:
        return el("rect", x=right - 3.4, y=failing - 3.4, width=6.8, height=6.8, class_="p-end")
    return None


def _used(used: int, planned: int | None) -> list[Html]:
    """Return the bar of documents that the test needed, of all that were planned."""
    if not planned:
        return []
    whole = WIDTH - 2 * _LEFT
    share = min(used / planned, 1.0)
    return [
        el("rect", x=_LEFT, y=_BAR_TOP, width=whole, height=_BAR_HEIGHT, rx=2, class_="p-all"),
        el(
            "rect",
            x=_LEFT,
            y=_BAR_TOP,
            width=round(max(share * whole, 2.0), 1),
            height=_BAR_HEIGHT,
            rx=2,
            class_="p-used",
        ),
        el(
            "text",
            f"{used} of {planned} planned documents ({_share(used, planned)})",
            x=_LEFT,
            y=_BAR_TOP + _BAR_HEIGHT + 13,
            class_="p-text",
        ),
    ]


def _share(used: int, planned: int) -> str:
    share = 100.0 * used / planned
    return f"{share:.0f} %" if share >= 10 or share == 0 else f"{share:.1f} %"


def _power(value: float) -> str:
    if abs(value) >= _CERTAIN:
        return "certain" if value > 0 else "0"
    return f"{10**value:.3g}"
