"""A small SVG picture of a sequential test: how the evidence for PASS and for FAIL grew, document by document.

Two lines in powers of ten, solid for PASS and dashed for FAIL, and a dashed line at which either decides. Evidence
far below 1 is cut off at the bottom, and certainty at the top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from placet.domain.records import GateResult, PathPoint
from placet.report.markup import Html, el
from placet.report.text import figure

WIDTH, HEIGHT = 260, 84
_LEFT, _RIGHT, _TOP, _BOTTOM = 12, 12, 8, 66
_LOWEST = -1.0


def path_svg(gate: GateResult) -> Html | None:
    """Return the picture of a gate's sequential test, `WIDTH` by `HEIGHT` pixels; None if it has none."""
    if not gate.path or gate.interval is None or gate.path[-1].n == 0:
        return None
    goal = decides_at(gate)
    last, highest = gate.path[-1].n, goal * 1.2

    def x(n: int) -> float:
        return round(_LEFT + n / last * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        clipped = min(max(value, _LOWEST), highest)
        return round(_BOTTOM - (clipped - _LOWEST) / (highest - _LOWEST) * (_BOTTOM - _TOP), 1)

    def line(values: Sequence[tuple[int, float]], name: str) -> Html:
        return el("polyline", points=" ".join(f"{x(n)},{y(value)}" for n, value in values), class_=name)

    right = WIDTH - _RIGHT
    return el(
        "svg",
        el("title", path_words(gate)),
        el("line", x1=_LEFT, y1=y(0.0), x2=right, y2=y(0.0), class_="p-axis"),
        el("line", x1=_LEFT, y1=y(goal), x2=right, y2=y(goal), class_="p-limit"),
        line([(point.n, point.to_fail) for point in gate.path], "p-path-fail"),
        line([(point.n, point.to_pass) for point in gate.path], "p-path-pass"),
        el("text", f"decides at {10**goal:.3g}", x=_LEFT, y=y(goal) + 11, class_="p-limit-text"),
        el("text", "1", x=right, y=y(0.0) - 3, text_anchor="end", class_="p-text"),
        el("text", f"{last} documents", x=right, y=HEIGHT - 4, text_anchor="end", class_="p-text"),
        el("text", "solid: pass, dashed: fail", x=_LEFT - 6, y=HEIGHT - 4, class_="p-text"),
        class_="plot",
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


def path_words(gate: GateResult) -> str:
    """Return what the picture shows, in words."""
    end: PathPoint = (gate.path or (PathPoint(n=0, to_pass=0.0, to_fail=0.0),))[-1]
    return (
        f"after {end.n} documents the evidence for PASS is {_power(end.to_pass)}, for FAIL {_power(end.to_fail)}; "
        f"it decides at {figure(10 ** decides_at(gate), 0)}"
    )


def _power(value: float) -> str:
    return "certain" if value >= 99 else f"{10**value:.3g}"
