"""Small SVG pictures: an interval against its threshold, and a figure beside the base's.

Drawn with classes that the style sheet colours, so that they follow light and dark; shape tells what colour tells:
the passing side is shaded from a dashed line, the figure is a dot (filled where the gate passed, hollow where not),
and the picture has a title that says the same in words. Axes run from 0 to 1 where they can, so that the pictures of
one table compare.
"""

from __future__ import annotations

import math

from placet.report.gap import Plot
from placet.report.markup import Html, el
from placet.report.text import figure, signed

WIDTH, HEIGHT = 260, 44
_LEFT, _RIGHT, _AXIS, _MIDDLE = 12, 12, 30, 16


def interval_svg(plot: Plot, *, passed: bool) -> Html:
    """Return the picture of an interval against its threshold, `WIDTH` by `HEIGHT` pixels."""
    low, high = domain(plot)

    def x(value: float) -> float:
        clipped = min(max(value, low), high)
        return round(_LEFT + (clipped - low) / (high - low) * (WIDTH - _LEFT - _RIGHT), 1)

    limit, right = x(plot.threshold), WIDTH - _RIGHT
    parts: list[Html] = []
    if plot.passes_above is not None:
        start, end = (limit, right) if plot.passes_above else (_LEFT, limit)
        parts.append(el("rect", x=start, y=3, width=max(end - start, 0), height=_AXIS - 3, class_="p-pass"))
    parts.append(el("line", x1=_LEFT, y1=_AXIS, x2=right, y2=_AXIS, class_="p-axis"))
    if low < 0 < high:
        parts.append(el("line", x1=x(0), y1=_AXIS - 4, x2=x(0), y2=_AXIS + 3, class_="p-axis"))
    parts.append(el("line", x1=limit, y1=2, x2=limit, y2=_AXIS + 3, class_="p-limit"))
    ends = (x(plot.low), x(plot.high))
    parts.append(el("line", x1=ends[0], y1=_MIDDLE, x2=ends[1], y2=_MIDDLE, class_="p-range"))
    parts += [el("line", x1=e, y1=_MIDDLE - 4, x2=e, y2=_MIDDLE + 4, class_="p-range") for e in ends]
    parts.append(
        el("circle", cx=x(plot.point), cy=_MIDDLE, r=4.2, class_="p-dot" if passed else "p-dot hollow")
    )
    parts += _labels(plot, low, high, x(plot.threshold), x(0) if low < 0 < high else None)
    return el(
        "svg",
        el("title", words(plot)),
        parts,
        class_="plot",
        role="img",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        xmlns="http://www.w3.org/2000/svg",
    )


def words(plot: Plot) -> str:
    """Return what the picture shows, in words."""
    write = signed if plot.difference else figure
    what = f"against {plot.against} " if plot.difference else ""
    side = f"passes if {plot.sign}" if plot.sign else "limit"
    return (
        f"{what}{write(plot.point)}, interval {write(plot.low)} to {write(plot.high)}, "
        f"{side} {write(plot.threshold)}"
    )


def domain(plot: Plot) -> tuple[float, float]:
    """Return the axis' ends: 0 and 1 for shares, around 0 for differences, else what holds everything."""
    values = (plot.point, plot.low, plot.high, plot.threshold)
    if plot.difference:
        widest = max(abs(value) for value in values)
        # A difference of shares goes no further than 1, so that an interval up to there needs no room beyond.
        reach = min(widest * 1.15, 1.0) if widest <= 1.0 else widest * 1.15
        for nice in (0.1, 0.2, 0.5, 1.0):
            if reach <= nice:
                return -nice, nice
        reach = _nice(reach)
        return -reach, reach
    if min(values) >= 0 and max(values) <= 1:
        return 0.0, 1.0
    low, high = min(0.0, *values), max(values)
    return (-_nice(-low) if low < 0 else 0.0), _nice(high * 1.1)


def _nice(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, … that is not below `value` (a positive number)."""
    if value <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= value)


def _labels(plot: Plot, low: float, high: float, limit: float, zero: float | None) -> list[Html]:
    """Return the axis' figures: the limit always, its ends and 0 where they leave room for it."""
    write = signed if plot.difference else figure
    sign = f"{plot.sign} " if plot.sign else ""
    anchor = "middle" if 34 < limit < WIDTH - 34 else "start" if limit <= 34 else "end"
    place = limit if anchor == "middle" else _LEFT - 8 if anchor == "start" else WIDTH - _RIGHT + 8
    texts = [
        el(
            "text",
            sign + write(plot.threshold),
            x=place,
            y=HEIGHT - 2,
            text_anchor=anchor,
            class_="p-limit-text",
        )
    ]
    if limit > 70:
        texts.append(el("text", _short(low), x=_LEFT - 6, y=HEIGHT - 2, text_anchor="start", class_="p-text"))
    if limit < WIDTH - 70:
        texts.append(
            el("text", _short(high), x=WIDTH - _RIGHT + 6, y=HEIGHT - 2, text_anchor="end", class_="p-text")
        )
    if zero is not None and abs(zero - limit) > 44:
        texts.append(el("text", "0", x=zero, y=HEIGHT - 2, text_anchor="middle", class_="p-text"))
    return texts


def _short(value: float) -> str:
    return f"{value:g}".replace("-", "−")
