"""A lineage graph drawn: Graphviz DOT, and an indented tree for the terminal.

Every kind of node has its own shape and its name above the label, and a node's standing is a sign (✓ ! ✕) and a
line style beside its colour, so that nothing is told by colour alone. Labels are escaped: no name can become
markup, another node or an attribute.
"""

from __future__ import annotations

import html

from placet.domain.text import plain
from placet.lineage.graph import Edge, Lineage, Node, NodeKind, Status

SIGNS = {Status.NEUTRAL: "", Status.GOOD: "✓", Status.CAUTION: "!", Status.BAD: "✕"}
"""The sign that stands for a status where colour cannot be seen."""

_SHAPES = {
    NodeKind.BASE: "box3d",
    NodeKind.DATASET: "cylinder",
    NodeKind.TRAINING: "cds",
    NodeKind.ADAPTER: "component",
    NodeKind.SUBMISSION: "folder",
    NodeKind.REFUSAL: "octagon",
    NodeKind.MEASUREMENT: "box",
    NodeKind.POLICY: "note",
    NodeKind.VERDICT: "hexagon",
    NodeKind.REVIEW: "box",
    NodeKind.WAIVER: "box",
    NodeKind.RELEASE: "box3d",
    NodeKind.REVOCATION: "octagon",
}
# Margin in inches and least height of shapes that draw lines of their own where the text of a box would stand.
_ROOM = {
    "box3d": ("0.18,0.13", 0.62),
    "cds": ("0.2,0.16", 0.75),
    "cylinder": ("0.14,0.15", 0.75),
    "component": ("0.2,0.1", 0.6),
    "folder": ("0.14,0.14", 0.65),
    "hexagon": ("0.0,0.06", 0.85),
    "note": ("0.16,0.1", 0.6),
}
_ROUNDED = {NodeKind.MEASUREMENT, NodeKind.REVIEW, NodeKind.WAIVER}
_INK = {Status.NEUTRAL: "#5b6573", Status.GOOD: "#1a7f4b", Status.CAUTION: "#9a6700", Status.BAD: "#b42332"}
_FILL = {Status.NEUTRAL: "#ffffff", Status.GOOD: "#eef8f2", Status.CAUTION: "#fdf6e3", Status.BAD: "#fdeff0"}
_STYLE = {Status.NEUTRAL: "solid", Status.GOOD: "solid", Status.CAUTION: "dashed", Status.BAD: "bold"}
_MAX_LABEL_CHARACTERS = 26
_MAX_DETAIL_CHARACTERS = 40
_FONT = "Helvetica,Arial,sans-serif"


def to_dot(lineage: Lineage) -> str:
    """Return `lineage` as a DOT graph, left to right; nodes carry the SVG classes `kind-…` and `status-…`."""
    lines = [
        "digraph lineage {",
        f'  graph [rankdir=LR, bgcolor="transparent", nodesep=0.18, ranksep=0.3, pad=0.15, fontname="{_FONT}"];',
        f'  node [fontname="{_FONT}", fontsize=11, margin="0.14,0.07", penwidth=1.1, height=0.5];',
        f'  edge [fontname="{_FONT}", fontsize=9, color="#9aa4b1", fontcolor="#5b6573", arrowsize=0.6];',
    ]
    names = {node.id: f"n{number}" for number, node in enumerate(lineage.nodes)}
    lines += [
        f"  {names[node.id]} [{_attributes(node, focus=node.id == lineage.focus)}];" for node in lineage.nodes
    ]
    for edge in drawn_edges(lineage):
        label = f' [label=<<font point-size="9">{_text(edge.label, 20)}</font>>]' if edge.label else ""
        lines.append(f"  {names[edge.source]} -> {names[edge.target]}{label};")
    return "\n".join([*lines, "}", ""])


def to_text(lineage: Lineage) -> tuple[str, ...]:
    """Return `lineage` as an indented tree, one line a node, from what went in to what came out.

    A node reached again is named with "↑ above" and not followed a second time.
    """
    children: dict[str, list[str]] = {}
    targets = set()
    for edge in drawn_edges(lineage):
        children.setdefault(edge.source, []).append(edge.target)
        targets.add(edge.target)
    lines: list[str] = []
    seen: set[str] = set()

    def walk(node_id: str, prefix: str, connector: str) -> None:
        node = lineage.node(node_id)
        again = node_id in seen
        lines.append(f"{prefix}{connector}{describe(node)}" + ("  ↑ above" if again else ""))
        if again:
            return
        seen.add(node_id)
        deeper = prefix + {"": "", "├─ ": "│  ", "└─ ": "   "}[connector]
        below = children.get(node_id, [])
        for target in below:
            walk(target, deeper, "└─ " if target == below[-1] else "├─ ")

    roots = [node.id for node in lineage.nodes if node.id not in targets]
    for root in roots or [node.id for node in lineage.nodes[:1]]:
        walk(root, "", "")
    return tuple(lines)


def drawn_edges(lineage: Lineage) -> tuple[Edge, ...]:
    """Return the edges worth drawing.

    Those into trainings, submissions and verdicts that another way implies are left out: that an adapter continued
    from another rests on the same base shows already.
    """
    forward: dict[str, list[str]] = {}
    for edge in lineage.edges:
        forward.setdefault(edge.source, []).append(edge.target)
    kinds = {node.id: node.kind for node in lineage.nodes}

    def implied(edge: Edge) -> bool:
        if kinds[edge.target] not in {NodeKind.TRAINING, NodeKind.SUBMISSION, NodeKind.VERDICT}:
            return False
        todo = [target for target in forward[edge.source] if target != edge.target]
        seen = set(todo)
        while todo:
            for target in forward.get(todo.pop(), ()):
                if target == edge.target:
                    return True
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        return False

    return tuple(edge for edge in lineage.edges if not implied(edge))


def describe(node: Node) -> str:
    """Return a node in one line for people: sign, kind, label, person and detail."""
    sign = SIGNS[node.status]
    words = [sign] if sign else []
    words += [str(node.kind), plain(node.label, 60)]
    if node.person:
        words.append(f"by {plain(node.person, 40)}")
    if node.detail:
        words.append(f"({plain(node.detail, 80)})")
    return " ".join(words)


def _attributes(node: Node, *, focus: bool) -> str:
    style = f"filled,{_STYLE[node.status]}" + (",rounded" if node.kind in _ROUNDED else "")
    width = 2.2 if focus else 1.1
    margin, height = _ROOM.get(_SHAPES[node.kind], ("0.14,0.07", 0.5))
    return ", ".join(
        [
            f"shape={_SHAPES[node.kind]}",
            f'style="{style}"',
            f'color="{_INK[node.status]}"',
            f'fillcolor="{_FILL[node.status]}"',
            f"penwidth={width}",
            f'margin="{margin}"',
            f"height={height}",
            f'class="kind-{node.kind} status-{node.status}{" focus" if focus else ""}"',
            f"tooltip=<{_text(describe(node), 200)}>",
            f"label=<{_label(node)}>",
        ]
    )


def _label(node: Node) -> str:
    sign = SIGNS[node.status]
    caption = f"{sign} {node.kind}" if sign else str(node.kind)
    if node.person:
        caption += f" · {plain(node.person, 26)}"
    parts = [
        f'<font point-size="8.5" color="{_INK[node.status]}">{_text(caption, 44)}</font>',
        f'<font point-size="11.5" color="#16202c"><b>{_text(node.label, _MAX_LABEL_CHARACTERS)}</b></font>',
    ]
    if node.detail:
        parts.append(
            f'<font point-size="9" color="#4a5563">{_text(node.detail, _MAX_DETAIL_CHARACTERS)}</font>'
        )
    return "<br/>".join(parts)


def _text(text: str, limit: int) -> str:
    return html.escape(plain(text, limit)) or " "
