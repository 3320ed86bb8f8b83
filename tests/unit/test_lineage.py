from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from placet.attest.predicates import (
    BuildDefinition,
    Builder,
    Kind,
    ResourceDescriptor,
    RunDetails,
    RunMetadata,
    Training,
)
from placet.attest.statement import Subject, parse_statement
from placet.attest.trust import Verified, sign_record
from placet.domain.digests import Digest, digest_json
from placet.domain.records import (
    AdapterRef,
    Base,
    BaseRef,
    Decision,
    EngineInfo,
    GateResult,
    LedgerHead,
    Measurement,
    Outcome,
    PolicyRef,
    Record,
    Release,
    Review,
    ReviewDecision,
    ReviewRule,
    Revocation,
    SourceRef,
    Stage,
    Submission,
    SuiteRef,
    Verdict,
)
from placet.domain.text import plain, printable
from placet.lineage.draw import SIGNS, describe, to_dot, to_text
from placet.lineage.graph import Lineage, Node, NodeKind, Status, build_lineage
from tests.support.offices import signer_named

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BASE = BaseRef(id=digest_json("base"), label="tiny-base")
POLICY = PolicyRef(id="default", version="1", digest=digest_json("policy"))
SUITE = SuiteRef(id="support-desk", version="1", digest=digest_json("suite"))
HEAD = LedgerHead(size=1, root="00" * 32)
SOURCE = SourceRef(kind="folder", location="./somewhere")


def adapter(label: str) -> AdapterRef:
    return AdapterRef(
        id=digest_json(["files", label]), weights_id=digest_json(["weights", label]), label=label
    )


class Log:
    """Records as a reader would give them, made in memory."""

    def __init__(self) -> None:
        self.records: list[Verified[Any]] = []

    def add(self, kind: Kind, record: Record, person: str, *subjects: Subject) -> Verified[Any]:
        signer = signer_named(person)
        envelope = sign_record(kind, record, subjects or (Subject("it", digest_json(1)),), signer)
        statement = parse_statement(envelope.payload)
        index = len(self.records)
        verified = Verified(index, kind, record, statement, envelope, signer.public.key_id, person)
        self.records.append(verified)
        return verified

    def base(self) -> None:
        base = Base(ref=BASE, source=SOURCE, files=(), architecture="Llama", parameters=1)
        self.add(Kind.BASE, base, "evaluator", Subject(BASE.label, BASE.id))

    def training(
        self, ref: AdapterRef, *, parent: AdapterRef | None = None, dataset: str = "tickets"
    ) -> None:
        wanted: list[tuple[str, str, Digest]] = [
            ("base", BASE.label, BASE.id),
            ("dataset", dataset, digest_json(dataset)),
        ]
        if parent is not None:
            wanted.append(("parent-adapter", parent.label, parent.weights_id))
        training = Training(
            build_definition=BuildDefinition(
                build_type="https://placet.dev/training/lora/v1",
                external_parameters={"steps": "40", "rank": "8"},
                resolved_dependencies=tuple(
                    ResourceDescriptor(name=name, digest={"sha256": digest[7:]}, annotations={"role": role})
                    for role, name, digest in wanted
                ),
            ),
            run_details=RunDetails(
                builder=Builder(id="https://placet.dev/training"),
                metadata=RunMetadata(
                    invocation_id="run", started_on=NOW, finished_on=NOW + timedelta(minutes=2)
                ),
            ),
        )
        self.add(Kind.TRAINING, training, "tara", Subject(ref.label, ref.weights_id))

    def submission(self, ref: AdapterRef) -> None:
        record = Submission(
            adapter=ref, base=BASE, source=SOURCE, files=(), submitter="sam", submitted_at=NOW
        )
        self.add(Kind.SUBMISSION, record, "sam", Subject(ref.label, ref.id))

    def measurement(self, ref: AdapterRef | BaseRef, mean: float) -> Verified[Any]:
        on_base = isinstance(ref, BaseRef)
        record = Measurement(
            subject=ref.id if isinstance(ref, BaseRef) else ref.weights_id,
            subject_kind="base" if on_base else "adapter",
            base=BASE,
            stage=Stage.EVALUATION,
            suite=SUITE,
            metric="acc",
            higher_is_better=True,
            n=10,
            mean=mean,
            samples=tuple(range(10)),
            rows_digest=digest_json("rows"),
            blob=digest_json("blob"),
            engine=EngineInfo(name="e", version="1", dtype="float32", device="cpu", layout="packed"),
            plan=digest_json("plan"),
            started_at=NOW,
            finished_at=NOW,
        )
        return self.add(Kind.EVALUATION, record, "evaluator", Subject(ref.label, ref.id))

    def verdict(
        self,
        ref: AdapterRef,
        evidence: Sequence[Digest],
        outcome: Outcome = Outcome.PASS,
        decision: Decision = Decision.ALLOW,
    ) -> Verified[Any]:
        gate = GateResult(
            gate="job", kind="floor", outcome=outcome, reason="so it is", evidence=tuple(evidence)
        )
        record = Verdict(
            adapter=ref,
            base=BASE,
            policy=POLICY,
            plan=digest_json("plan"),
            decision=decision,
            gates=(gate,),
            evidence=tuple(sorted(evidence)),
            plans_on_weights=(digest_json("plan"),),
            review=ReviewRule(approvals=1, valid_days=30),
            head=HEAD,
            decided_at=NOW,
        )
        return self.add(Kind.VERDICT, record, "evaluator", Subject(ref.label, ref.id))

    def review(self, ref: AdapterRef, verdict: Verified[Any], person: str = "ada") -> Verified[Any]:
        record = Review(
            adapter=ref,
            base=BASE,
            policy=POLICY,
            verdict=verdict.id,
            evidence=verdict.record.evidence,
            head=HEAD,
            decision=ReviewDecision.APPROVE,
            comment="Looked.",
            reviewer=person,
            reviewed_at=NOW,
            expires_at=NOW + timedelta(days=30),
        )
        return self.add(Kind.REVIEW, record, person, Subject(ref.label, ref.id))

    def release(self, ref: AdapterRef, verdict: Verified[Any], review: Verified[Any]) -> Verified[Any]:
        record = Release(
            adapter=ref,
            base=BASE,
            policy=POLICY,
            verdict=verdict.id,
            reviews=(review.id,),
            files=(),
            channel="staging",
            released_at=NOW,
        )
        return self.add(Kind.RELEASE, record, "rhea", Subject(ref.label, ref.id))

    def revocation(self, target: Digest, kind: str) -> Verified[Any]:
        record = Revocation(
            target=target, target_kind=kind, reason="bad data", revoked_by="rhea", revoked_at=NOW
        )
        return self.add(Kind.REVOCATION, record, "rhea", Subject("it", target))

    def whole_way(self, label: str, parent: AdapterRef | None = None) -> AdapterRef:
        ref = adapter(label)
        self.training(ref, parent=parent, dataset=f"data of {label}")
        self.submission(ref)
        base, own = self.measurement(BASE, 0.3), self.measurement(ref, 0.9)
        verdict = self.verdict(ref, [base.id, own.id])
        self.release(ref, verdict, self.review(ref, verdict))
        return ref


@pytest.fixture
def log() -> Log:
    log = Log()
    log.base()
    return log


def names(graph: Lineage, kind: NodeKind) -> set[str]:
    return {node.label for node in graph.nodes if node.kind is kind}


def ways(graph: Lineage) -> set[tuple[str, str]]:
    return {(graph.node(e.source).label, graph.node(e.target).label) for e in graph.edges}


def test_training_joins_base_data_and_parent_to_the_adapter(log: Log) -> None:
    good = log.whole_way("good")
    log.training(adapter("child"), parent=good, dataset="more tickets")
    graph = build_lineage(log.records)
    assert names(graph, NodeKind.ADAPTER) == {"good", "child"}
    assert names(graph, NodeKind.DATASET) == {"data of good", "more tickets"}
    (child_training,) = {e.source for e in graph.edges if graph.node(e.target).label == "child"}
    into = {graph.node(e.source).label for e in graph.edges if e.target == child_training}
    assert into == {"tiny-base", "more tickets", "good"}


def test_a_release_is_reached_over_its_reviews_and_verdict(log: Log) -> None:
    log.whole_way("good")
    found = ways(build_lineage(log.records))
    assert {("ALLOW", "approved"), ("approved", "staging"), ("default 1", "ALLOW")} <= found


def test_base_and_adapter_figures_of_a_suite_share_a_node(log: Log) -> None:
    log.whole_way("good")
    graph = build_lineage(log.records)
    (node,) = [node for node in graph.nodes if node.kind is NodeKind.MEASUREMENT]
    assert len(node.records) == 2
    assert node.detail == "acc: adapter 0.9, base 0.3"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.PASS, Status.GOOD),
        (Outcome.INCONCLUSIVE, Status.CAUTION),
        (Outcome.FAIL, Status.BAD),
        (Outcome.MISSING, Status.BAD),
        (Outcome.ERROR, Status.BAD),
    ],
)
def test_a_measurement_stands_as_the_gates_that_rest_on_it(
    log: Log, outcome: Outcome, status: Status
) -> None:
    ref = adapter("it")
    log.submission(ref)
    log.verdict(ref, [log.measurement(ref, 0.5).id], outcome)
    graph = build_lineage(log.records)
    assert [node.status for node in graph.nodes if node.kind is NodeKind.MEASUREMENT] == [status]


def test_one_adapters_lineage_leaves_the_decisions_about_others_out(log: Log) -> None:
    good = log.whole_way("good")
    child = log.whole_way("child", parent=good)
    other = log.whole_way("other")
    graph = build_lineage(log.records, child.id)
    assert names(graph, NodeKind.ADAPTER) == {"child", "good"}
    assert len([node for node in graph.nodes if node.kind is NodeKind.VERDICT]) == 1
    assert graph.focus is not None
    assert graph.node(graph.focus).label == "child"
    assert "data of good" in names(graph, NodeKind.DATASET)
    assert "data of other" not in names(graph, NodeKind.DATASET)
    assert other.label not in names(graph, NodeKind.ADAPTER)


def test_what_was_continued_from_an_adapter_is_in_its_lineage(log: Log) -> None:
    good = log.whole_way("good")
    log.whole_way("child", parent=good)
    assert names(build_lineage(log.records, good.weights_id), NodeKind.ADAPTER) == {"good", "child"}


def test_an_adapter_without_any_record_is_an_error(log: Log) -> None:
    with pytest.raises(KeyError):
        build_lineage(log.records, digest_json("never seen"))


def test_a_revoked_base_stands_bad_and_its_releases_lead_to_the_revocation(log: Log) -> None:
    log.whole_way("good")
    log.revocation(BASE.id, "base")
    graph = build_lineage(log.records)
    assert graph.node(f"base:{BASE.id}").status is Status.BAD
    assert {("tiny-base", "revoked"), ("staging", "revoked")} <= ways(graph)


def test_a_revoked_adapter_is_found_by_its_adapter_id(log: Log) -> None:
    good = log.whole_way("good")
    log.revocation(good.id, "adapter")
    graph = build_lineage(log.records, good.id)
    assert graph.node(graph.focus or "").status is Status.BAD


def test_json_names_every_node_and_edge(log: Log) -> None:
    log.whole_way("good")
    graph = build_lineage(log.records)
    data = graph.to_json()
    known = {node["id"] for node in data["nodes"]}
    assert len(known) == len(graph.nodes)
    assert {end for edge in data["edges"] for end in (edge["source"], edge["target"])} <= known


HOSTILE = 'x"]; evil [label=<<b>"> <script>alert(1)</script> & \\" \n } digraph { \x1b[2J \u202e'


def test_hostile_names_stay_inside_their_label_in_dot(log: Log) -> None:
    log.whole_way(HOSTILE)
    graph = build_lineage(log.records)
    dot = to_dot(graph)
    body = dot.splitlines()
    assert "<script" not in dot
    assert "<b>&quot;" not in dot
    assert not set(dot) & {"\x1b", "\u202e"}
    drawn = [
        line for line in body if line.startswith("  n") and "->" not in line and not line.startswith("  node")
    ]
    assert len(drawn) == len(graph.nodes)
    assert all(line.endswith("];") for line in drawn)


def test_the_text_tree_names_each_node_once_in_full(log: Log) -> None:
    good = log.whole_way("good")
    lines = to_text(build_lineage(log.records, good.id))
    verdicts = [line for line in lines if "verdict ALLOW" in line]
    assert len([line for line in verdicts if "↑ above" not in line]) == 1
    assert any("✓ release staging by rhea" in line for line in lines)


def test_every_standing_but_neutral_has_a_sign() -> None:
    assert all(SIGNS[status] for status in Status if status is not Status.NEUTRAL)
    assert len({SIGNS[status] for status in Status}) == len(Status)


def test_every_kind_of_node_can_be_drawn() -> None:
    nodes = tuple(Node(f"n:{kind}", kind, str(kind), status=Status.BAD, person="p") for kind in NodeKind)
    dot = to_dot(Lineage(nodes, ()))
    assert all(f"kind-{kind} status-bad" in dot for kind in NodeKind)


def test_describe_tells_sign_kind_label_person_and_detail() -> None:
    node = Node("n", NodeKind.REVIEW, "approved", "2026", Status.GOOD, "ada")
    assert describe(node) == "✓ review approved by ada (2026)"


def test_plain_text_has_one_line_and_no_control_characters() -> None:
    assert plain("a\tb\nc\x1b[31m\u202ed") == "a b c\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}d"
    assert plain("abcdef", 4) == "abc…"


def test_printable_text_keeps_line_ends_and_tabs() -> None:
    assert printable("a\r\n\tb\x00") == "a\n\tb\N{REPLACEMENT CHARACTER}"
