"""Evidence made up from a policy case. It names no real adapter: every id is the digest of a word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from placet.domain.digests import Digest, digest_bytes
from placet.domain.records import (
    AdapterRef,
    Advisory,
    Base,
    BaseRef,
    BaseStatus,
    CheckResult,
    CheckStatus,
    EngineInfo,
    FileEntry,
    Finding,
    Intake,
    LedgerHead,
    Measurement,
    Overlap,
    Plan,
    PlannedReference,
    PlannedSuite,
    Sequential,
    Severity,
    SourceRef,
    Stage,
    SuiteRef,
)
from placet.policy.casefile import EvidenceCase, SuiteCase
from placet.policy.evidence import (
    Dataset,
    Evidence,
    ModelCard,
    RecordedBase,
    RecordedIntake,
    RecordedOverlap,
    RecordedPlan,
    RecordedStatus,
    Rows,
    TrainingStatement,
)
from placet.policy.gates.contamination import ContaminationGate
from placet.policy.gates.documentation import DocumentationGate
from placet.policy.gates.no_new_failure import NoNewFailureGate
from placet.policy.schema import DEFAULT_CHUNK, Policy

THEN = datetime(2026, 1, 1, tzinfo=UTC)
"""The moment at which cases are decided."""

_LONG_AGO_DAYS = 10_000


def _id(word: str) -> Digest:
    return digest_bytes(word.encode())


ADAPTER = AdapterRef(id=_id("adapter"), weights_id=_id("weights"), label="case-adapter")
BASE = BaseRef(id=_id("base"), label="case-base")
ENGINE = EngineInfo(name="case", version="1", dtype="float32", device="cpu", layout="one")
_DATA = _id("training data")
OTHER_ENGINE = EngineInfo(name="case", version="2", dtype="float32", device="cpu", layout="one")


REFERENCE = AdapterRef(id=_id("reference"), weights_id=_id("reference weights"), label="case-reference")
OTHER_REFERENCE = AdapterRef(id=_id("other"), weights_id=_id("other weights"), label="case-other")


@dataclass(frozen=True, slots=True)
class _Registered:
    """A plan with the runs made under it."""

    plan: RecordedPlan
    runs: tuple[Rows, ...]
    base_runs: tuple[Rows, ...]
    reference_runs: tuple[Rows, ...]


def fabricate_evidence(policy: Policy, case: EvidenceCase) -> Evidence:
    """Return evidence that shows what `case` says, under a plan for `policy`."""
    own = _registered(policy, "plan", case, case.suites)
    earlier = _registered(policy, "earlier plan", case, case.earlier) if case.earlier else None
    before = (earlier,) if earlier else ()
    base = _base(case)
    draft = Evidence(
        adapter=ADAPTER,
        base=BASE,
        policy=policy.ref,
        plan=own.plan.record,
        plans=tuple(one.plan for one in (*before, own)),
        runs=tuple(run for one in (*before, own) for run in one.runs),
        base_runs=tuple(run for one in (*before, own) for run in one.base_runs),
        intake=_intake(case.intake),
        training=_training(case),
        listed=(),
        errors={suite: "the case says so" for suite, one in case.suites.items() if one.state == "error"},
        base_record=base,
        base_status=_status(case) if base else None,
        card=_card(policy, case),
        overlaps=tuple(_overlaps(policy, case, own.plan.plan)),
        references=_references(policy, case, now=True),
        reference_runs=tuple(run for one in (*before, own) for run in one.reference_runs),
    )
    return replace(draft, listed=tuple(draft.records()))


def _registered(
    policy: Policy, name: str, case: EvidenceCase, suites: Mapping[str, SuiteCase]
) -> _Registered:
    record = _id(name)
    planned, runs, base_runs, reference_runs = [], list[Rows](), list[Rows](), list[Rows]()
    when = THEN - timedelta(days=case.age_days)
    references = _references(policy, case, now=False)
    for number, (suite, one) in enumerate(suites.items()):
        values = one.subject_values()
        # Each plan draws its own documents, in an order that is not the natural one.
        start = 0 if policy.samples_of(suite) is None else 100_000 * (name != "plan")
        samples = tuple(start + index for index in reversed(range(len(values))))
        stage = Stage.EVALUATION if number % 2 == 0 else Stage.SAFETY
        ref = SuiteRef(id=suite, version="1", digest=_id(f"suite {suite}"))
        if one.state != "unplanned":
            planned.append(_planned(policy, ref, stage, one, samples))
        if one.state in {"unplanned", "missing", "error"}:
            continue
        base_values = one.baseline_values()
        if policy.suites[suite].mode == "sequential":
            # A case lists its documents by outcome; a run that may stop early has them in random order.
            order = sorted(range(len(values)), key=lambda place: _id(f"order {place}"))
            samples = tuple(samples[place] for place in order)
            values, base_values = (tuple(each[place] for place in order) for each in (values, base_values))
            planned[-1:] = [item.model_copy(update={"samples": samples}) for item in planned[-1:]]
        made = _Made(name, record, ref, stage, one, when, _ids(policy, suite, one, samples))
        done = samples if one.state != "partial" else samples[:-1]
        runs.append(made.rows("run", done, values[: len(done)], ENGINE, ADAPTER.weights_id))
        if one.state != "base-missing":
            engine = OTHER_ENGINE if one.state == "base-other-engine" else ENGINE
            where = tuple(doc + 1 for doc in samples) if one.state == "base-other-rows" else samples
            base_runs.append(made.rows("base", where, base_values, engine, BASE.id))
        if references and one.reference != "missing":
            theirs = {"base": base_values, "adapter": values, "perfect": (1.0,) * len(values)}[one.reference]
            reference_runs.append(made.rows("reference", samples, theirs, ENGINE, REFERENCE.weights_id))
    plan = Plan(
        adapter=ADAPTER,
        base=BASE,
        policy=policy.ref,
        suites=tuple(planned),
        engine=ENGINE,
        head=LedgerHead(size=1, root="0" * 64),
        planned_at=when,
        references=references or None,
    )
    return _Registered(RecordedPlan(record, plan), tuple(runs), tuple(base_runs), tuple(reference_runs))


def _planned(
    policy: Policy, ref: SuiteRef, stage: Stage, case: SuiteCase, samples: tuple[int, ...]
) -> PlannedSuite:
    columns = policy.columns_of(ref.id)
    sampling = policy.suites[ref.id]
    sequential = None
    if sampling.mode == "sequential" and sampling.claim is not None:
        sequential = Sequential(claim=sampling.claim, chunk=sampling.chunk or DEFAULT_CHUNK)
    groups = {
        column: _clusters(case, samples) if column == sampling.cluster else _groups(case, samples)
        for column in columns
    }
    return PlannedSuite(
        suite=ref,
        stage=stage,
        documents=len(samples) if policy.samples_of(ref.id) is None else 200_000,
        samples=samples,
        groups=groups or None,
        cluster=sampling.cluster,
        sequential=sequential,
        value_range=case.value_range,
        largest_groups={name: max(map(len, parts.values())) for name, parts in groups.items()} or None,
    )


def _groups(case: SuiteCase, samples: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    if case.groups is None:
        return {"everyone": samples}
    parts, start = {}, 0
    for name, group in case.groups.items():
        parts[name] = samples[start : start + group.n]
        start += group.n
    return {name: members for name, members in parts.items() if members}


def _clusters(case: SuiteCase, samples: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return neighbours as clusters: documents that came out alike, which is the hard case."""
    size = case.cluster_size
    return {f"c{start}": samples[start : start + size] for start in range(0, len(samples), size)}


def _ids(policy: Policy, suite: str, case: SuiteCase, samples: tuple[int, ...]) -> dict[int, str]:
    """Return the documents' names: those that the policy lists are documents that base and adapter get right.

    `pinned_lost` of them are documents that the adapter lost.
    """
    names = {document: f"doc-{document}" for document in samples}
    listed = [
        name
        for gate in policy.gates_on(suite)
        if isinstance(gate, NoNewFailureGate)
        for name in gate.documents
    ]
    pairs = list(zip(samples, case.subject_values(), case.baseline_values(), strict=True))
    lost = [document for document, mine, base in pairs if not mine and base][: case.pinned_lost]
    kept = [document for document, mine, base in pairs if mine and base]
    names.update(zip((*lost, *kept), dict.fromkeys(listed), strict=False))
    return names


def _references(policy: Policy, case: EvidenceCase, *, now: bool) -> tuple[PlannedReference, ...]:
    if case.release == "none":
        return ()
    changed = now and case.release == "changed"
    adapter = OTHER_REFERENCE if changed else REFERENCE
    record = _id("other release" if changed else "release")
    return tuple(PlannedReference(name=name, adapter=adapter, record=record) for name in policy.others)


@dataclass(frozen=True, slots=True)
class _Made:
    """What the runs of one suite under one plan share."""

    name: str
    plan: Digest
    suite: SuiteRef
    stage: Stage
    case: SuiteCase
    when: datetime
    ids: Mapping[int, str]

    def rows(
        self,
        word: str,
        samples: tuple[int, ...],
        values: tuple[float, ...],
        engine: EngineInfo,
        subject: Digest,
    ) -> Rows:
        """Return a run; `word` tells it from the suite's others."""
        record = f"{self.name} {word} {self.suite.id}"
        measurement = Measurement(
            subject=subject,
            subject_kind="base" if subject == BASE.id else "adapter",
            base=BASE,
            stage=self.stage,
            suite=self.suite,
            metric=self.case.metric,
            higher_is_better=self.case.higher_is_better,
            n=len(samples),
            mean=math.fsum(values) / len(values) if values else 0.0,
            samples=samples,
            rows_digest=_id(f"rows {record}"),
            blob=_id(f"blob {record}"),
            engine=engine,
            plan=self.plan,
            started_at=self.when,
            finished_at=self.when,
        )
        ids = tuple(self.ids.get(document, f"doc-{document}") for document in samples)
        return Rows(_id(record), measurement, values, ids)


def _intake(state: str) -> RecordedIntake | None:
    if state == "missing":
        return None
    severities = {"refused": Severity.REFUSE, "warned": Severity.WARN}
    findings = (
        (Finding(id="made-up", severity=severities[state], message="the case says so", fix="mend the case"),)
        if state in severities
        else ()
    )
    status = {
        "refused": CheckStatus.FAILED,
        "warned": CheckStatus.FAILED,
        "errored": CheckStatus.ERRORED,
    }.get(state, CheckStatus.PASSED)
    intake = Intake(
        source=SourceRef(kind="folder", location="made-up"),
        files=(FileEntry(path="adapter_model.safetensors", size=1, sha256=_id("file")),),
        files_id=ADAPTER.id,
        base=BASE,
        checks=(CheckResult(check="made-up", version="1", status=status, findings=findings),),
        adapter=ADAPTER,
        examined_at=THEN,
    )
    return RecordedIntake(_id("intake"), intake)


def _training(case: EvidenceCase) -> tuple[TrainingStatement, ...]:
    state = case.provenance
    if state == "missing":
        return ()
    parent = _id("parent weights")
    parents = (parent,) if state in {"continued", "parent-missing"} else ()
    data = (Dataset("case-data", _DATA, _stated(case.data_license)),) if case.data == "named" else ()
    own = TrainingStatement(
        record=_id("training"),
        weights_id=ADAPTER.weights_id,
        base=_id("other base") if state == "other-base" else BASE.id,
        parents=parents,
        signer="someone",
        by_trainer=state != "unsigned",
        datasets=data,
    )
    if state != "continued":
        return (own,)
    ancestor = TrainingStatement(_id("parent training"), parent, BASE.id, (), "someone", True, data)
    return (own, ancestor)


def _base(case: EvidenceCase) -> RecordedBase | None:
    if case.base_status == "unregistered":
        return None
    base = Base(
        ref=BASE,
        source=SourceRef(kind="folder", location="made-up"),
        files=(),
        architecture="made-up",
        parameters=1,
        license=_stated(case.license),
    )
    return RecordedBase(_id("base record"), base)


def _stated(license: str) -> str | None:
    return None if license == "unstated" else license


def _status(case: EvidenceCase) -> RecordedStatus | None:
    if case.base_status == "missing":
        return None
    days = _LONG_AGO_DAYS if case.base_status == "stale" else 1
    advisories = (
        (Advisory(id="CASE-1", summary="the case says so"),) if case.base_status == "advisory" else ()
    )
    status = BaseStatus(
        base=BASE,
        end_of_life=case.base_status == "end-of-life",
        supported_until=THEN if case.base_status == "ending" else None,
        advisories=advisories,
        stated_by="someone",
        stated_at=THEN - timedelta(days=days),
    )
    return RecordedStatus(_id("base status"), status)


def _card(policy: Policy, case: EvidenceCase) -> ModelCard | None:
    if case.card == "missing":
        return None
    record = _id("submission")
    if case.card == "unreadable":
        return ModelCard(record, frozenset(), frozenset(), "the case says so")
    lacking = {name.lower() for name in case.card} if isinstance(case.card, tuple) else set()
    gates = [gate for gate in policy.gates if isinstance(gate, DocumentationGate)]
    fields = frozenset(name for gate in gates for name in gate.fields if name.lower() not in lacking)
    sections = frozenset(name.lower() for gate in gates for name in gate.sections) - lacking
    return ModelCard(record, fields, sections)


def _overlaps(policy: Policy, case: EvidenceCase, plan: Plan) -> Iterator[RecordedOverlap]:
    for gate in policy.gates:
        planned = next(
            (
                one
                for one in plan.suites
                if isinstance(gate, ContaminationGate) and one.suite.id == gate.suite
            ),
            None,
        )
        if not isinstance(gate, ContaminationGate) or planned is None or not case.suites[gate.suite].compared:
            continue
        overlap = Overlap(
            subject=ADAPTER.weights_id,
            suite=planned.suite,
            datasets=(_DATA,),
            ngram=gate.ngram,
            documents=planned.documents,
            found={str(document): 1.0 for document in planned.samples[: case.suites[gate.suite].seen]},
            measured_at=THEN,
        )
        yield RecordedOverlap(_id(f"overlap {gate.id}"), overlap)
