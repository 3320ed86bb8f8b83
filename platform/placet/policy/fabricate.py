"""Evidence made up from a policy case. It names no real adapter: every id is the digest of a word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from placet.domain.digests import Digest, digest_bytes
from placet.domain.records import (
    AdapterRef,
    BaseRef,
    CheckResult,
    CheckStatus,
    EngineInfo,
    FileEntry,
    Finding,
    Intake,
    LedgerHead,
    Measurement,
    Plan,
    PlannedSuite,
    Severity,
    SourceRef,
    Stage,
    SuiteRef,
)
from placet.policy.casefile import EvidenceCase, SuiteCase
from placet.policy.evidence import Evidence, RecordedIntake, RecordedPlan, Rows, TrainingStatement
from placet.policy.schema import Policy

_THEN = datetime(2026, 1, 1, tzinfo=UTC)


def _id(word: str) -> Digest:
    return digest_bytes(word.encode())


ADAPTER = AdapterRef(id=_id("adapter"), weights_id=_id("weights"), label="case-adapter")
BASE = BaseRef(id=_id("base"), label="case-base")
ENGINE = EngineInfo(name="case", version="1", dtype="float32", device="cpu", layout="one")
OTHER_ENGINE = EngineInfo(name="case", version="2", dtype="float32", device="cpu", layout="one")


@dataclass(frozen=True, slots=True)
class _Registered:
    """A plan with the runs made under it."""

    plan: RecordedPlan
    runs: tuple[Rows, ...]
    base_runs: tuple[Rows, ...]


def fabricate_evidence(policy: Policy, case: EvidenceCase) -> Evidence:
    """Return evidence that shows what `case` says, under a plan for `policy`."""
    own = _registered(policy, "plan", case.suites)
    earlier = _registered(policy, "earlier plan", case.earlier) if case.earlier else None
    plans = (own.plan,) if earlier is None else (earlier.plan, own.plan)
    intake = _intake(case.intake)
    draft = Evidence(
        adapter=ADAPTER,
        base=BASE,
        policy=policy.ref,
        plan=own.plan.record,
        plans=plans,
        runs=(*(earlier.runs if earlier else ()), *own.runs),
        base_runs=(*(earlier.base_runs if earlier else ()), *own.base_runs),
        intake=intake,
        training=_training(case.provenance),
        listed=(),
        errors={suite: "the case says so" for suite, one in case.suites.items() if one.state == "error"},
    )
    return Evidence(
        **{name: getattr(draft, name) for name in Evidence.__slots__ if name != "listed"},
        listed=tuple(draft.records()),
    )


def _registered(policy: Policy, name: str, suites: Mapping[str, SuiteCase]) -> _Registered:
    record = _id(name)
    planned, runs, base_runs = [], [], []
    for number, (suite, case) in enumerate(suites.items()):
        values = case.subject_values()
        # Each plan draws its own documents, in an order that is not the natural one.
        start = 0 if policy.samples_of(suite) is None else 100_000 * (name != "plan")
        samples = tuple(start + index for index in reversed(range(len(values))))
        stage = Stage.EVALUATION if number % 2 == 0 else Stage.SAFETY
        ref = SuiteRef(id=suite, version="1", digest=_id(f"suite {suite}"))
        if case.state != "unplanned":
            documents = len(samples) if policy.samples_of(suite) is None else 200_000
            planned.append(PlannedSuite(suite=ref, stage=stage, documents=documents, samples=samples))
        if case.state in {"unplanned", "missing", "error"}:
            continue
        done = samples if case.state != "partial" else samples[:-1]
        runs.append(
            _rows(
                f"{name} run {suite}", record, ref, stage, case, done, values[: len(done)], ENGINE, "adapter"
            )
        )
        if case.state != "base-missing":
            engine = OTHER_ENGINE if case.state == "base-other-engine" else ENGINE
            where = tuple(one + 1 for one in samples) if case.state == "base-other-rows" else samples
            base_values = case.baseline_values()
            base_runs.append(
                _rows(f"{name} base {suite}", record, ref, stage, case, where, base_values, engine, "base")
            )
    plan = Plan(
        adapter=ADAPTER,
        base=BASE,
        policy=policy.ref,
        suites=tuple(planned),
        engine=ENGINE,
        head=LedgerHead(size=1, root="0" * 64),
        planned_at=_THEN,
    )
    return _Registered(RecordedPlan(record, plan), tuple(runs), tuple(base_runs))


def _rows(
    record: str,
    plan: Digest,
    suite: SuiteRef,
    stage: Stage,
    case: SuiteCase,
    samples: tuple[int, ...],
    values: tuple[float, ...],
    engine: EngineInfo,
    subject_kind: str,
) -> Rows:
    measurement = Measurement(
        subject=ADAPTER.weights_id if subject_kind == "adapter" else BASE.id,
        subject_kind=subject_kind,
        base=BASE,
        stage=stage,
        suite=suite,
        metric=case.metric,
        higher_is_better=case.higher_is_better,
        n=len(samples),
        mean=math.fsum(values) / len(values) if values else 0.0,
        samples=samples,
        rows_digest=_id(f"rows {record}"),
        blob=_id(f"blob {record}"),
        engine=engine,
        plan=plan,
        started_at=_THEN,
        finished_at=_THEN,
    )
    return Rows(_id(record), measurement, values)


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
        examined_at=_THEN,
    )
    return RecordedIntake(_id("intake"), intake)


def _training(state: str) -> tuple[TrainingStatement, ...]:
    if state == "missing":
        return ()
    parent = _id("parent weights")
    parents = (parent,) if state in {"continued", "parent-missing"} else ()
    own = TrainingStatement(
        record=_id("training"),
        weights_id=ADAPTER.weights_id,
        base=_id("other base") if state == "other-base" else BASE.id,
        parents=parents,
        signer="someone",
        by_trainer=state != "unsigned",
    )
    if state != "continued":
        return (own,)
    ancestor = TrainingStatement(_id("parent training"), parent, BASE.id, (), "someone", True)
    return (own, ancestor)
