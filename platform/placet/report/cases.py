"""Submissions joined with their verdicts, decisions and releases, from one snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from placet.attest.predicates import Training
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.errors import UsageError
from placet.domain.records import (
    BaseStatus,
    Intake,
    Measurement,
    Release,
    Review,
    Revocation,
    Submission,
    Verdict,
    Waiver,
)
from placet.report.snapshot import Snapshot, newest
from placet.report.state import Standing, standing_of
from placet.review.approval import Approval, barred_people, weigh_approval
from placet.review.lapse import lapses, with_lapses


@dataclass(frozen=True, slots=True)
class Dossier:
    """Everything on record about one adapter, and where it stands."""

    submission: Verified[Submission]
    intake: Verified[Intake] | None
    trainings: tuple[Verified[Training], ...]
    verdicts: tuple[Verified[Verdict], ...]
    reviews: tuple[Verified[Review], ...]
    waivers: tuple[Verified[Waiver], ...]
    releases: tuple[Verified[Release], ...]
    revocation: Verified[Revocation] | None
    approval: Approval | None
    barred: dict[str, str]
    standing: Standing

    @property
    def verdict(self) -> Verified[Verdict] | None:
        """The newest verdict, which is the one that holds."""
        return newest(self.verdicts)


def latest_submissions(snapshot: Snapshot) -> tuple[Verified[Submission], ...]:
    """Return the newest submission of each adapter on each base, newest first."""
    latest: dict[tuple[Digest, Digest], Verified[Submission]] = {}
    for item in snapshot.of(Submission):
        latest[item.record.adapter.id, item.record.base.id] = item
    return tuple(sorted(latest.values(), key=lambda item: -item.index))


def refused_intakes(snapshot: Snapshot) -> tuple[Verified[Intake], ...]:
    """Return the newest refused intake of each set of files on each base, newest first."""
    latest: dict[tuple[Digest, Digest], Verified[Intake]] = {}
    for item in snapshot.of(Intake):
        latest[item.record.files_id, item.record.base.id] = item
    return tuple(sorted((i for i in latest.values() if i.record.refused), key=lambda item: -item.index))


def find_submission(snapshot: Snapshot, text: str) -> Verified[Submission]:
    """Return the newest submission whose label is `text` or whose adapter id starts with it.

    Raises:
        UsageError: None, or several different adapters by their id's beginning.
    """
    known = latest_submissions(snapshot)
    by_label = [item for item in known if item.record.adapter.label == text]
    if by_label:
        return by_label[0]
    prefix = text.removeprefix("sha256:")
    by_id = [i for i in known if prefix and i.record.adapter.id.removeprefix("sha256:").startswith(prefix)]
    if not by_id:
        _refuse_refused(snapshot, text)
        raise UsageError(f"no adapter {text!r} was submitted", hint="`placet report` lists what was")
    if len({item.record.adapter.id for item in by_id}) > 1:
        labels = ", ".join(sorted({item.record.adapter.label for item in by_id}))
        raise UsageError(
            f"{text!r} begins several adapter ids: {labels}", hint="give more digits, or a label"
        )
    return by_id[0]


def refused_label(intake: Intake) -> str:
    """Return what people call files that intake refused: the adapter's label, or the last part of where they were."""
    return intake.adapter.label if intake.adapter else intake.source.location.rstrip("/").rsplit("/", 1)[-1]


def _refuse_refused(snapshot: Snapshot, text: str) -> None:
    for item in refused_intakes(snapshot):
        if text == refused_label(item.record):
            found = item.record.findings
            why = (
                "; ".join(f"{finding.id}: {finding.message}" for finding in found) or "a check did not finish"
            )
            raise UsageError(
                f"{text!r} was refused at intake: {why}",
                hint=found[0].fix if found else "submit it again",
            )


def dossier(snapshot: Snapshot, submission: Verified[Submission]) -> Dossier:
    """Return everything on record about the adapter of `submission`."""
    ref, base = submission.record.adapter, submission.record.base
    verdicts = tuple(
        i
        for i in snapshot.about(Verdict, ref.id)
        if i.record.adapter.id == ref.id and i.record.base.id == base.id
    )
    reviews = tuple(i for i in snapshot.about(Review, ref.id) if i.record.adapter.id == ref.id)
    waivers = tuple(i for i in snapshot.about(Waiver, ref.id) if i.record.adapter.id == ref.id)
    trainings = snapshot.trainings_of(ref.weights_id)
    verdict, approval, barred = newest(verdicts), None, {}
    if verdict is not None:
        resubmissions = tuple(
            item
            for item in snapshot.about(Submission, ref.weights_id)
            if item.id != submission.id and item.record.adapter.weights_id == ref.weights_id
        )
        barred = barred_people(verdict.record, submission, trainings, resubmissions)
        approval = weigh_approval(
            verdict,
            reviews,
            waivers,
            submission=submission,
            trainings=trainings,
            now=snapshot.now,
            resubmissions=resubmissions,
        )
        later = (*snapshot.about(Measurement, ref.weights_id), *snapshot.about(BaseStatus, base.id))
        reasons = lapses(verdict, approval, later, snapshot.trust, snapshot.head.size)
        approval = with_lapses(approval, reasons)
    releases = tuple(i for i in snapshot.about(Release, ref.id) if i.record.adapter.id == ref.id)
    held = {item.id for item in releases}
    running = (
        frozenset(c for c, item in on_channels(snapshot).items() if item.id in held) if held else frozenset()
    )
    targets = {ref.id, ref.weights_id, base.id}
    if verdict is not None:
        targets |= {verdict.id, *verdict.record.evidence}
    revocation = revocation_of(snapshot, targets)
    return Dossier(
        submission=submission,
        intake=newest([item for item in snapshot.about(Intake, ref.id) if item.record.adapter == ref]),
        trainings=trainings,
        verdicts=verdicts,
        reviews=reviews,
        waivers=waivers,
        releases=releases,
        revocation=revocation,
        approval=approval,
        barred=barred,
        standing=standing_of(verdict, approval, releases, revocation, running),
    )


def revocation_of(snapshot: Snapshot, targets: set[Digest]) -> Verified[Revocation] | None:
    """Return the newest revocation of any of `targets`."""
    return newest([item for target in targets for item in snapshot.about(Revocation, target)])


def on_channels(snapshot: Snapshot) -> dict[str, Verified[Release]]:
    """Return what runs today: for each channel its newest release that was not taken back."""
    running: dict[str, Verified[Release]] = {}
    for item in snapshot.of(Release):
        record = item.record
        named = {record.adapter.id, record.adapter.weights_id, record.base.id, record.verdict, item.id}
        if revocation_of(snapshot, named) is None:
            running[record.channel] = item
    return running
