"""The lineage graph: from bases and datasets over trainings to adapters, verdicts, people and releases.

A pure function of verified records: nothing is read here, and nothing appears in the graph that no signed
record says. A thing that a record names but that has no record of its own here (a dataset, a parent adapter
trained elsewhere) is a node without records. Edges point the way material flows: from what went in to what
came out, so that everything left of a node is what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from placet.attest.predicates import ResourceDescriptor, Training
from placet.attest.trust import Verified
from placet.domain.digests import Digest, short
from placet.domain.records import (
    Base,
    Decision,
    Intake,
    Measurement,
    Outcome,
    Record,
    Release,
    Review,
    ReviewDecision,
    Revocation,
    Submission,
    Verdict,
    Waiver,
)
from placet.lineage.nodes import Edge, Lineage, Node, NodeKind, Status

__all__ = ["Edge", "Lineage", "Node", "NodeKind", "Status", "build_lineage"]

R = TypeVar("R", bound=Record)


def build_lineage(records: Iterable[Verified[Any]], adapter: Digest | None = None) -> Lineage:
    """Return the lineage of everything in `records`, or of one adapter.

    Args:
        records: Verified records of any kinds, in the ledger's order.
        adapter: An adapter id or weights id. The graph is then cut to it, its own verdicts, decisions and
            releases, the adapters continued from it, and everything any of its own nodes rests on.

    Raises:
        KeyError: `adapter` is given and no record speaks of it.
    """
    build = _Build(tuple(records))
    build.run()
    full = Lineage(tuple(build.nodes.values()), tuple(build.edges))
    if adapter is None:
        return full
    return cut_lineage(full, build.weights_of.get(adapter, adapter))


def cut_lineage(full: Lineage, weights_id: Digest) -> Lineage:
    """Return of a whole lineage the part about one adapter, as :func:`build_lineage` does.

    Raises:
        KeyError: It does not speak of these weights.
    """
    return _cut(full, _adapter_id(weights_id))


def _cut(full: Lineage, focus: str) -> Lineage:
    full.node(focus)
    forward: dict[str, list[str]] = {}
    backward: dict[str, list[str]] = {}
    kinds = {node.id: node.kind for node in full.nodes}
    for edge in full.edges:
        forward.setdefault(edge.source, []).append(edge.target)
        backward.setdefault(edge.target, []).append(edge.source)
    own, todo = {focus}, [focus]
    while todo:
        for target in forward.get(todo.pop(), ()):
            if target not in own and kinds[target] is not NodeKind.TRAINING:
                own.add(target)
                todo.append(target)
    keep, todo = set(own), list(own)
    while todo:
        for source in backward.get(todo.pop(), ()):
            if source not in keep:
                keep.add(source)
                todo.append(source)
    for training in forward.get(focus, ()):
        if kinds[training] is NodeKind.TRAINING:
            keep |= {training, *forward.get(training, ())}
    return Lineage(
        tuple(node for node in full.nodes if node.id in keep),
        tuple(edge for edge in full.edges if edge.source in keep and edge.target in keep),
        focus,
    )


def _adapter_id(weights_id: str) -> str:
    return f"adapter:{weights_id}"


@dataclass
class _Build:
    records: tuple[Verified[Any], ...]
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[Edge, None] = field(default_factory=dict)
    weights_of: dict[str, Digest] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        for item in self.each(Submission):
            self.weights_of[item.record.adapter.id] = item.record.adapter.weights_id
        for step in (
            self.bases,
            self.trainings,
            self.submissions,
            self.refusals,
            self.verdicts,
            self.decisions,
            self.releases,
            self.revocations,
        ):
            step()

    def each(self, model: type[R]) -> Sequence[Verified[R]]:
        return [item for item in self.records if isinstance(item.record, model)]

    def add(self, node: Node) -> str:
        """Add a node, or add to the one of that id: newer words win, records accumulate."""
        old = self.nodes.get(node.id)
        if old is not None:
            node = replace(
                node,
                label=node.label or old.label,
                detail=node.detail or old.detail,
                status=old.status if node.status is Status.NEUTRAL else node.status,
                person=node.person or old.person,
                records=tuple(dict.fromkeys((*old.records, *node.records))),
            )
        self.nodes[node.id] = node
        for record in node.records:
            self.named[record] = node.id
        return node.id

    def link(self, source: str, target: str, label: str = "") -> None:
        if source in self.nodes and target in self.nodes:
            self.edges[Edge(source, target, label)] = None

    def base_node(self, base_id: str, label: str, *records: Digest) -> str:
        return self.add(Node(f"base:{base_id}", NodeKind.BASE, label, short(base_id), records=records))

    def adapter_node(self, weights_id: str, label: str, *records: Digest) -> str:
        node_id = _adapter_id(weights_id)
        return self.add(Node(node_id, NodeKind.ADAPTER, label, short(weights_id), records=records))

    def bases(self) -> None:
        for item in self.each(Base):
            self.base_node(item.record.ref.id, item.record.ref.label, item.id)

    def trainings(self) -> None:
        for item in self.each(Training):
            training, who = item.record, item.person
            given = training.build_definition.external_parameters
            said = [f"{given[name]} {name}" for name in ("steps", "epochs") if name in given]
            said += [f"{name} {given[name]}" for name in ("rank",) if name in given]
            node = self.add(
                Node(
                    f"training:{item.id}",
                    NodeKind.TRAINING,
                    ", ".join(said) or short(item.id),
                    f"{training.run_details.metadata.finished_on:%Y-%m-%d %H:%M}",
                    person=who,
                    records=(item.id,),
                )
            )
            for dependency in training.build_definition.resolved_dependencies:
                source, label = self.dependency(dependency)
                self.link(source, node, label)
            for subject in item.statement.subjects:
                self.link(node, self.adapter_node(subject.digest, subject.name))

    def dependency(self, item: ResourceDescriptor) -> tuple[str, str]:
        digest = "sha256:" + item.digest.get("sha256", "")
        match item.annotations.get("role"):
            case "base":
                return self.base_node(digest, item.name), ""
            case "parent-adapter":
                return self.adapter_node(digest, item.name), "continued"
            case _:
                node = Node(f"dataset:{digest}", NodeKind.DATASET, item.name, short(digest))
                return self.add(node), ""

    def submissions(self) -> None:
        for item in self.each(Submission):
            record = item.record
            adapter = self.adapter_node(record.adapter.weights_id, record.adapter.label)
            base = self.base_node(record.base.id, record.base.label)
            node = self.add(
                Node(
                    f"submission:{item.id}",
                    NodeKind.SUBMISSION,
                    f"{record.submitted_at:%Y-%m-%d %H:%M}",
                    f"{len(record.files)} files, {short(record.adapter.id)}",
                    person=item.person,
                    records=(item.id,),
                )
            )
            self.link(adapter, node)
            self.link(base, node)

    def refusals(self) -> None:
        for item in self.each(Intake):
            record = item.record
            if not record.refused:
                continue
            label = record.adapter.label if record.adapter else record.source.location.rsplit("/", 1)[-1]
            detail = ", ".join(dict.fromkeys(f.id for f in record.findings)) or "a check did not finish"
            node = self.add(
                Node(f"refusal:{item.id}", NodeKind.REFUSAL, label, detail, Status.BAD, records=(item.id,))
            )
            self.link(self.base_node(record.base.id, record.base.label), node)
            if record.adapter and _adapter_id(record.adapter.weights_id) in self.nodes:
                self.link(_adapter_id(record.adapter.weights_id), node)

    def verdicts(self) -> None:
        measured = {item.id: item for item in self.each(Measurement)}
        submitted: dict[str, str] = {}
        for item in self.each(Submission):
            submitted[item.record.adapter.id] = f"submission:{item.id}"
        for verdict in self.each(Verdict):
            record = verdict.record
            policy = self.add(
                Node(
                    f"policy:{record.policy.digest}",
                    NodeKind.POLICY,
                    f"{record.policy.id} {record.policy.version}",
                    short(record.policy.digest),
                )
            )
            node = self.add(
                Node(
                    f"verdict:{verdict.id}",
                    NodeKind.VERDICT,
                    str(record.decision),
                    _gates_in_words(record),
                    _DECISION_STATUS[record.decision],
                    records=(verdict.id,),
                )
            )
            self.link(policy, node)
            origin = submitted.get(record.adapter.id)
            self.link(origin or self.adapter_node(record.adapter.weights_id, record.adapter.label), node)
            self.measurements(verdict, node, origin, measured)

    def measurements(
        self,
        verdict: Verified[Verdict],
        node: str,
        origin: str | None,
        measured: dict[Digest, Verified[Measurement]],
    ) -> None:
        """One node for each suite of a verdict: the adapter's figure, with the base's beside it."""
        record = verdict.record
        suites: dict[str, list[Verified[Measurement]]] = {}
        for evidence in record.evidence:
            if evidence in measured:
                item = measured[evidence]
                suites.setdefault(f"{item.record.suite.digest}:{item.record.metric}", []).append(item)
        for key, items in suites.items():
            suite = items[-1].record
            ids = tuple(item.id for item in items)
            figures = [(i.record.subject_kind, f"{i.record.subject_kind} {i.record.mean:.4g}") for i in items]
            name = f"measured:{record.adapter.weights_id}:{key}"
            self.add(
                Node(
                    name,
                    NodeKind.MEASUREMENT,
                    suite.suite.id,
                    f"{suite.metric}: " + ", ".join(dict.fromkeys(text for _, text in sorted(figures))),
                    _worst(record, ids),
                    records=ids,
                )
            )
            self.link(origin or _adapter_id(record.adapter.weights_id), name)
            self.link(name, node)

    def decisions(self) -> None:
        for item in self.each(Review):
            approved = item.record.decision is ReviewDecision.APPROVE
            node = self.add(
                Node(
                    f"review:{item.id}",
                    NodeKind.REVIEW,
                    "approved" if approved else "rejected",
                    f"{item.record.reviewed_at:%Y-%m-%d %H:%M}",
                    Status.GOOD if approved else Status.BAD,
                    item.person,
                    (item.id,),
                )
            )
            self.link(f"verdict:{item.record.verdict}", node)
        for waiver in self.each(Waiver):
            node = self.add(
                Node(
                    f"waiver:{waiver.id}",
                    NodeKind.WAIVER,
                    waiver.record.gate,
                    f"until {waiver.record.expires_at:%Y-%m-%d}",
                    Status.CAUTION,
                    waiver.person,
                    (waiver.id,),
                )
            )
            self.link(f"verdict:{waiver.record.verdict}", node)

    def releases(self) -> None:
        for item in self.each(Release):
            node = self.add(
                Node(
                    f"release:{item.id}",
                    NodeKind.RELEASE,
                    item.record.channel,
                    f"{item.record.released_at:%Y-%m-%d %H:%M}",
                    Status.GOOD,
                    item.person,
                    (item.id,),
                )
            )
            for review in item.record.reviews:
                self.link(f"review:{review}", node)
            for waiver in item.record.waivers:
                self.link(f"waiver:{waiver}", node)
            if not item.record.reviews:
                self.link(f"verdict:{item.record.verdict}", node)

    def revocations(self) -> None:
        for item in self.each(Revocation):
            target = self.target_of(item.record)
            if target is None:
                continue
            node = self.add(
                Node(
                    f"revocation:{item.id}",
                    NodeKind.REVOCATION,
                    "revoked",
                    item.record.reason,
                    Status.BAD,
                    item.person,
                    (item.id,),
                )
            )
            self.link(target, node)
            self.nodes[target] = replace(self.nodes[target], status=Status.BAD)
            for release in self.each(Release):
                about = release.record
                if item.record.target in {about.adapter.id, about.adapter.weights_id, about.base.id}:
                    self.link(f"release:{release.id}", node)

    def target_of(self, record: Revocation) -> str | None:
        weights = self.weights_of.get(record.target, record.target)
        for candidate in (_adapter_id(weights), f"base:{record.target}", self.named.get(record.target)):
            if candidate in self.nodes:
                return candidate
        return None


_DECISION_STATUS = {
    Decision.ALLOW: Status.GOOD,
    Decision.NEEDS_REVIEW: Status.CAUTION,
    Decision.DENY: Status.BAD,
}


def _gates_in_words(verdict: Verdict) -> str:
    failed = [gate.gate for gate in verdict.gates if gate.required and gate.outcome is not Outcome.PASS]
    if not failed:
        return f"{len(verdict.gates)} gates pass"
    return ("not passed: " if len(failed) < 4 else f"{len(failed)} gates not passed: ") + ", ".join(
        failed[:3]
    )


def _worst(verdict: Verdict, records: tuple[Digest, ...]) -> Status:
    """Return the worst outcome among the gates that rest on any of `records`."""
    outcomes = {gate.outcome for gate in verdict.gates if set(gate.evidence) & set(records)}
    if outcomes & {Outcome.FAIL, Outcome.ERROR, Outcome.MISSING}:
        return Status.BAD
    if Outcome.INCONCLUSIVE in outcomes:
        return Status.CAUTION
    return Status.GOOD if outcomes else Status.NEUTRAL
