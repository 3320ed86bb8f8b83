"""What a lineage graph is made of: nodes with a standing, edges, the graph."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from placet.domain.digests import Digest


class NodeKind(StrEnum):
    """What a node stands for."""

    BASE = "base"
    DATASET = "dataset"
    TRAINING = "training"
    ADAPTER = "adapter"
    SUBMISSION = "submission"
    REFUSAL = "refusal"
    MEASUREMENT = "measurement"
    POLICY = "policy"
    VERDICT = "verdict"
    REVIEW = "review"
    WAIVER = "waiver"
    RELEASE = "release"
    REVOCATION = "revocation"


class Status(StrEnum):
    """How a node stands; drawn as a sign and a line style as well as a colour."""

    NEUTRAL = "neutral"
    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Node:
    """A node: `id` is unique in the graph, `records` are the ids of the records that speak of it."""

    id: str
    kind: NodeKind
    label: str
    detail: str = ""
    status: Status = Status.NEUTRAL
    person: str = ""
    records: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """`source` went into `target`; `label` says as what, where that is not plain."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Lineage:
    """A lineage graph; `focus` is the id of the adapter's node it was asked for, if it was."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    focus: str | None = None

    def node(self, node_id: str) -> Node:
        """Return the node `node_id`; KeyError if there is none."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)

    def to_json(self) -> dict[str, Any]:
        """Return the graph as JSON types."""
        return {
            "focus": self.focus,
            "nodes": [
                {
                    "id": node.id,
                    "kind": str(node.kind),
                    "label": node.label,
                    "detail": node.detail,
                    "status": str(node.status),
                    "person": node.person,
                    "records": list(node.records),
                }
                for node in self.nodes
            ],
            "edges": [
                {"source": edge.source, "target": edge.target, "label": edge.label} for edge in self.edges
            ],
        }
