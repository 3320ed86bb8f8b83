"""How a page carries its pictures: as inline SVG, or as images where inline SVG is not let through."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from placet.report.markup import Html, el
from placet.report.style import Theme, picture_style

Draw = Callable[[Html, str], Html]
"""Takes an ``<svg>`` element and what it shows in words; returns what stands on the page."""

_VIEW = re.compile(r'viewBox="[\d.\- ]*?([\d.]+) ([\d.]+)"')


def inline(svg: Html, _words: str) -> Html:
    """Return the picture as it is: the page's style sheet colours it."""
    return svg


def as_image(theme: Theme, css_class: str) -> Draw:
    """Return a way to draw that makes ``<img>`` elements, coloured for `theme`, without any reference outwards."""
    style = el("style", picture_style(theme))

    def draw(svg: Html, words: str) -> Html:
        found = _VIEW.search(svg)
        width, height = (float(found.group(1)), float(found.group(2))) if found else (260.0, 44.0)
        whole = el(
            "svg",
            style,
            el("g", svg, class_=css_class),
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {width:g} {height:g}",
            width=f"{width:g}",
            height=f"{height:g}",
        )
        data = base64.b64encode(whole.encode()).decode()
        return el("img", src=f"data:image/svg+xml;base64,{data}", alt=words, class_=f"{css_class}-image")

    return draw
