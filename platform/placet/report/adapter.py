"""From an office to the view model of one adapter."""

from __future__ import annotations

from typing import cast

from placet.attest.predicates import Training
from placet.attest.trust import Verified
from placet.domain.digests import Digest, short
from placet.domain.names import same_person
from placet.domain.records import (
    GateResult,
    Intake,
    Measurement,
    Plan,
    Record,
    Review,
    Submission,
    Verdict,
)
from placet.lineage.graph import cut_lineage
from placet.office import Office
from placet.report.brief import brief_of
from placet.report.cases import Dossier, dossier, find_submission, on_channels
from placet.report.gap import plot_of
from placet.report.plans import PlanView, plan_of
from placet.report.snapshot import Snapshot, load_snapshot
from placet.report.text import figure, plain
from placet.report.view import (
    AdapterReport,
    ApprovalView,
    EvidenceView,
    GateView,
    ReleaseView,
    ReviewView,
    SuiteFigures,
    TrainingView,
    VerdictView,
    WaiverView,
)


def load_adapter_report(office: Office, text: str) -> AdapterReport:
    """Return the report of the adapter labelled `text` or whose id begins with it.

    Raises:
        UsageError: No such adapter.
        IntegrityError: The log does not verify.
    """
    snapshot = load_snapshot(office)
    return adapter_report(office, snapshot, find_submission(snapshot, text))


def adapter_report(office: Office, snapshot: Snapshot, submission: Verified[Submission]) -> AdapterReport:
    """Return the report of the adapter of `submission`."""
    case = dossier(snapshot, submission)
    record = submission.record
    plan = plan_of(office, snapshot, case)
    verdict, approval = _verdict(snapshot, case, plan), _approval(case)
    figures = _figures(snapshot, case)
    releases = _releases(office, snapshot, case)
    return AdapterReport(
        office=snapshot.office,
        root_pin=office.root.pin,
        head=snapshot.head,
        at=snapshot.now,
        adapter=record.adapter,
        base=record.base,
        standing=case.standing,
        submitter=submission.person,
        submitted_at=record.submitted_at,
        submission=submission.id,
        source=record.source,
        files=record.files,
        note=record.note,
        checks=case.intake.record.checks if case.intake else (),
        trainings=tuple(_training(item) for item in case.trainings),
        plan=plan,
        verdict=verdict,
        approval=approval,
        figures=figures,
        evidence=_evidence(snapshot, case),
        releases=releases,
        lineage=cut_lineage(snapshot.lineage, record.adapter.weights_id),
        brief=brief_of(case, verdict, approval, figures, releases),
    )


def _verdict(snapshot: Snapshot, case: Dossier, plan: PlanView | None) -> VerdictView | None:
    verdict = case.verdict
    if verdict is None:
        return None
    return VerdictView(
        record=verdict.id,
        decision=verdict.record.decision,
        policy=verdict.record.policy,
        decided_at=verdict.record.decided_at,
        gates=tuple(_gate(snapshot, case, gate, plan) for gate in verdict.record.gates),
        plans=len(verdict.record.plans_on_weights),
        older=len(case.verdicts) - 1,
    )


def _gate(snapshot: Snapshot, case: Dossier, gate: GateResult, plan: PlanView | None) -> GateView:
    waivers = [
        item
        for item in case.waivers
        if case.verdict is not None
        and item.record.verdict == case.verdict.id
        and item.record.gate == gate.gate
    ]
    used = {item.id for item in case.approval.waivers} if case.approval else set()
    measured = (snapshot.by_id(record) for record in gate.evidence)
    suites = {item.record.suite.id for item in measured if item and isinstance(item.record, Measurement)}
    planned = [item for item in plan.suites if item.suite in suites] if plan else []
    return GateView(
        gate,
        plot_of(gate),
        tuple(dict.fromkeys(item.person for item in waivers)),
        sum(item.id in used for item in waivers),
        planned[0].planned if len(planned) == 1 else None,
        planned[0].run if len(planned) == 1 else None,
    )


def _approval(case: Dossier) -> ApprovalView | None:
    verdict, approval = case.verdict, case.approval
    if verdict is None or approval is None:
        return None
    counted = {item.id for item in approval.reviews}
    used = {item.id for item in approval.waivers}
    return ApprovalView(
        approved=approval.approved,
        rule=verdict.record.review,
        approvers=approval.approvers,
        missing=approval.missing,
        reviews=tuple(
            ReviewView(
                person=item.person,
                decision=str(item.record.decision),
                comment=item.record.comment,
                at=item.record.reviewed_at,
                expires_at=item.record.expires_at,
                record=item.id,
                counts=item.id in counted or _stands_as_rejection(item, verdict, case),
                why=_why_not(item, verdict, case, counted),
            )
            for item in case.reviews
        ),
        waivers=tuple(
            WaiverView(
                person=item.person,
                gate=item.record.gate,
                reason=item.record.reason,
                at=item.record.waived_at,
                expires_at=item.record.expires_at,
                record=item.id,
                counts=item.id in used,
            )
            for item in case.waivers
        ),
        barred=tuple(sorted(case.barred.items())),
    )


def _newest_of_person(review: Verified[Review], verdict: Verified[Verdict], case: Dossier) -> bool:
    later = [
        item
        for item in case.reviews
        if same_person(item.person, review.person)
        and item.record.verdict == verdict.id
        and item.index > review.index
    ]
    return not later


def _stands_as_rejection(review: Verified[Review], verdict: Verified[Verdict], case: Dossier) -> bool:
    return (
        str(review.record.decision) == "reject"
        and review.record.verdict == verdict.id
        and _newest_of_person(review, verdict, case)
    )


def _why_not(
    review: Verified[Review], verdict: Verified[Verdict], case: Dossier, counted: set[Digest]
) -> str:
    if review.record.verdict != verdict.id:
        return "about an older verdict"
    if not _newest_of_person(review, verdict, case):
        return "replaced by a newer decision"
    if review.id in counted or _stands_as_rejection(review, verdict, case):
        return ""
    start = f"the approval of {review.person} does not count: "
    reasons = [line for line in (case.approval.missing if case.approval else ()) if line.startswith(start)]
    return reasons[0].removeprefix(start) if reasons else "another decision with the same key counts"


def _figures(snapshot: Snapshot, case: Dossier) -> tuple[SuiteFigures, ...]:
    """Return the suites the verdict rests on: the adapter's figure, the base's, and the incumbents'."""
    if case.verdict is None:
        return ()
    named = (snapshot.by_id(record) for record in case.verdict.record.evidence)
    cited = sorted(
        (
            cast("Verified[Measurement]", item)
            for item in named
            if item and isinstance(item.record, Measurement)
        ),
        key=lambda item: item.index,
    )
    weights = case.submission.record.adapter.weights_id
    own: dict[tuple[Digest, str], Verified[Measurement]] = {}
    base: dict[tuple[Digest, str], Verified[Measurement]] = {}
    for item in cited:
        key = (item.record.suite.digest, item.record.metric)
        if item.record.subject_kind == "base":
            base[key] = item
        elif item.record.subject == weights and (
            key not in own or item.record.plan == case.verdict.record.plan
        ):
            own[key] = item
    running = on_channels(snapshot)
    found = []
    for key, item in own.items():
        incumbents = []
        for channel, release in sorted(running.items()):
            if release.record.adapter.weights_id == weights:
                continue
            theirs = snapshot.about(Measurement, release.record.adapter.weights_id)
            same = [m for m in theirs if (m.record.suite.digest, m.record.metric) == key]
            if same:
                name = f"{channel}: {release.record.adapter.label}"
                incumbents.append((name, same[-1].record.mean))
        beside = base.get(key)
        found.append(
            SuiteFigures(
                suite=item.record.suite.id,
                version=item.record.suite.version,
                metric=item.record.metric,
                adapter=item.record,
                adapter_record=item.id,
                base=beside.record if beside else None,
                base_record=beside.id if beside else None,
                incumbents=tuple(incumbents),
            )
        )
    # In the order of the policy's gates, so that gates and figures read alike.
    cited_by = [gate.evidence for gate in case.verdict.record.gates]

    def place(row: SuiteFigures) -> int:
        return next((i for i, ids in enumerate(cited_by) if row.adapter_record in ids), len(cited_by))

    return tuple(sorted(found, key=lambda row: (place(row), row.suite, row.metric)))


def _evidence(snapshot: Snapshot, case: Dossier) -> tuple[EvidenceView, ...]:
    """Return what the case rests on, by index; what is named and not in the log comes first, as a problem."""
    wanted: dict[Digest, None] = {case.submission.id: None}
    for training in case.trainings:
        wanted[training.id] = None
    if case.intake is not None:
        wanted[case.intake.id] = None
    if case.verdict is not None:
        verdict = case.verdict.record
        for record_id in (verdict.plan, *verdict.evidence, case.verdict.id):
            wanted[record_id] = None
    for item in (*case.reviews, *case.waivers, *case.releases):
        wanted[item.id] = None
    rows = []
    for record_id in wanted:
        found = snapshot.by_id(record_id)
        if found is None:
            missing = "the log has no such record"
            rows.append(EvidenceView(record_id, "?", "", "", None, None, verified=False, problem=missing))
        else:
            rows.append(
                EvidenceView(
                    record_id,
                    str(found.kind),
                    about(found),
                    found.person,
                    found.key_id,
                    found.index,
                    verified=True,
                )
            )
    return tuple(sorted(rows, key=lambda row: -1 if row.index is None else row.index))


def about(item: Verified[Record]) -> str:
    """Return in a few words what a record says."""
    match item.record:
        case Measurement() as record:
            return plain(f"{record.suite.id}, {record.subject_kind}: {figure(record.mean)} on {record.n}", 80)
        case Verdict() as record:
            return f"{record.decision} for {plain(record.adapter.label, 40)}"
        case Plan() as record:
            return f"{len(record.suites)} suites for {plain(record.adapter.label, 40)}"
        case Review() as record:
            return f"{record.decision} {plain(record.adapter.label, 40)}"
        case Intake() as record:
            return "refused" if record.refused else f"{len(record.checks)} checks"
        case _:
            return plain(", ".join(subject.name for subject in item.statement.subjects[:1]), 60)


def _releases(office: Office, snapshot: Snapshot, case: Dossier) -> tuple[ReleaseView, ...]:
    running = {item.id for item in on_channels(snapshot).values()}
    ref = case.submission.record.adapter
    views = []
    for item in case.releases:
        bundle = f"releases/{item.record.channel}/{ref.label}-{short(ref.id)}"
        views.append(
            ReleaseView(
                channel=item.record.channel,
                at=item.record.released_at,
                by=item.person,
                record=item.id,
                bundle=bundle if (office.home / bundle).is_dir() else None,
                running=item.id in running,
            )
        )
    return tuple(views)


def _training(item: Verified[Training]) -> TrainingView:
    record = item.record
    return TrainingView(
        adapter=item.statement.subjects[0].name,
        by=item.person,
        started_on=record.run_details.metadata.started_on,
        finished_on=record.run_details.metadata.finished_on,
        made_from=tuple(
            (dependency.annotations.get("role", "material"), dependency.name)
            for dependency in record.build_definition.resolved_dependencies
        ),
        parameters=tuple(
            (key, value)
            for key, value in record.build_definition.external_parameters.items()
            if key not in {"name", "label"}
        ),
        record=item.id,
    )
