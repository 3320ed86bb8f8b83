"""The lineage graph on a page: an SVG where Graphviz is installed, else a nested list."""

from __future__ import annotations

import re
import shutil
import subprocess

from placet.lineage.draw import describe, drawn_edges, to_dot
from placet.lineage.graph import Lineage
from placet.report.markup import Html, el
from placet.report.pictures import Draw, inline

_TIMEOUT_S = 20
_SVG = re.compile(r"<svg\b.*</svg>", re.DOTALL)
# Sizes in points are taken as pixels, so that a graph and a picture of it are of one size.
_POINTS = re.compile(r'\b(width|height)="([\d.]+)pt"')
# Comments repeat names outside of any element.
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def lineage_html(lineage: Lineage, draw: Draw = inline) -> Html:
    """Return the graph as inline SVG if Graphviz is there and draws it, else as a nested list."""
    drawn = lineage_svg(lineage)
    if drawn is None:
        return el("div", _list(lineage), class_="lineage")
    return el(
        "div", draw(drawn, "lineage graph; the same stands below as text"), class_="lineage", tabindex="0"
    )


def lineage_svg(lineage: Lineage) -> Html | None:
    """Return the graph as an ``<svg>`` element, or None without a working `dot`."""
    program = shutil.which("dot")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-Tsvg"],
            input=to_dot(lineage).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    found = _SVG.search(_COMMENT.sub("", done.stdout.decode("utf-8", "replace")))
    # Graphviz escapes every label it draws; labels were escaped before, in to_dot, as its own markup asks for.
    return Html(_POINTS.sub(r'\1="\2"', found.group(0), count=2)) if found else None


def _list(lineage: Lineage) -> Html:
    children: dict[str, list[str]] = {}
    targets = set()
    for edge in drawn_edges(lineage):
        children.setdefault(edge.source, []).append(edge.target)
        targets.add(edge.target)
    seen: set[str] = set()

    def item(node_id: str) -> Html:
        text = describe(lineage.node(node_id))
        if node_id in seen:
            return el("li", text, " ↑")
        seen.add(node_id)
        below = children.get(node_id, [])
        return el("li", text, el("ul", [item(target) for target in below]) if below else None)

    return el("ul", [item(node.id) for node in lineage.nodes if node.id not in targets])
