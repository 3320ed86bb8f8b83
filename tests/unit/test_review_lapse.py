"""What ends an approval before its days are over, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.attest.predicates import Kind, Role
from placet.attest.statement import Subject
from placet.domain.errors import RefusedError
from placet.domain.records import BaseStatus, Decision, ReviewRule
from placet.office import TrustDesk
from placet.review.desk import approval_of, load_case, waive
from tests.support import offices


def rule(*lapses_on: str) -> ReviewRule:
    return ReviewRule(approvals=2, valid_days=90, lapses_on=lapses_on or None)


def approved(tmp_path: Path, *lapses_on: str) -> tuple[offices.SampleOffice, offices.Walk]:
    sample = offices.make_office(tmp_path / "office", key_files=False)
    walk = offices.walk_to_verdict(sample, rule=rule(*lapses_on))
    for person in ("ada", "ben"):
        offices.approve(sample, walk.ref, person)
    assert approval(sample, walk).approved
    return sample, walk


def approval(sample: offices.SampleOffice, walk: offices.Walk):
    return approval_of(sample.office, load_case(sample.office.reader(), walk.ref.id))


def state(sample: offices.SampleOffice, walk: offices.Walk) -> None:
    status = BaseStatus(base=walk.base, end_of_life=False, stated_by="ada", stated_at=sample.clock())
    sample.record(Kind.BASE_STATUS, status, (Subject(walk.base.label, walk.base.id),), sample.signers["ada"])


def measure(sample: offices.SampleOffice, walk: offices.Walk) -> None:
    offices.add_measurement(sample, "support-desk", walk.plan, [1.0] * 120)


@pytest.mark.parametrize(
    ("lapses_on", "event", "holds"),
    [
        (("new_evidence",), measure, False),
        (("base_status",), measure, True),
        (("base_status",), state, False),
        (("new_evidence",), state, True),
        ((), measure, True),
        ((), state, True),
    ],
)
def test_an_approval_lapses_on_what_the_policy_says(tmp_path: Path, lapses_on, event, holds: bool) -> None:
    sample, walk = approved(tmp_path, *lapses_on)
    event(sample, walk)
    now = approval(sample, walk)
    assert now.approved is holds
    if holds:
        offices.release(sample, walk.ref)
        assert sample.office.audit(blobs=False).findings == ()
    else:
        assert "lapsed" in now.missing[-1]
        with pytest.raises(RefusedError, match="lapsed"):
            offices.release(sample, walk.ref)


def test_an_approval_lapses_when_the_approver_leaves(tmp_path: Path) -> None:
    sample, walk = approved(tmp_path, "approver_left")
    TrustDesk(sample.office).end_grants(sample.signers["ben"].public.key_id)
    now = approval(sample, walk)
    assert not now.approved
    assert "the approval of ben lapsed" in now.missing[-1]


def test_an_approver_who_leaves_under_one_spelling_and_stays_under_another_stays(tmp_path: Path) -> None:
    sample, walk = approved(tmp_path, "approver_left")
    TrustDesk(sample.office).grant(offices.signer_named("Ben").public, "Ben", (Role.APPROVER,))
    TrustDesk(sample.office).end_grants(sample.signers["ben"].public.key_id)
    assert approval(sample, walk).approved


def test_an_approver_who_leaves_ends_nothing_where_enough_stay(tmp_path: Path) -> None:
    sample, walk = approved(tmp_path, "approver_left")
    offices.add_person(sample, "cleo", Role.APPROVER)
    offices.approve(sample, walk.ref, "cleo")
    TrustDesk(sample.office).end_grants(sample.signers["ben"].public.key_id)
    assert approval(sample, walk).approved
    TrustDesk(sample.office).end_grants(sample.signers["cleo"].public.key_id)
    now = approval(sample, walk)
    assert [line for line in now.missing if "lapsed" in line] == [
        "the approval of ben lapsed: no key of theirs is an approver's any more",
        "the approval of cleo lapsed: no key of theirs is an approver's any more",
    ]


def test_a_waiver_lapses_with_its_approver_too(tmp_path: Path) -> None:
    sample = offices.make_office(tmp_path / "office", key_files=False)
    walk = offices.walk_to_verdict(
        sample,
        decision=Decision.NEEDS_REVIEW,
        gates=[offices.passing_gate(), offices.inconclusive_gate("general")],
        rule=rule("approver_left"),
    )
    for person in ("cleo", "dora"):
        offices.add_person(sample, person, Role.APPROVER)
        waive(sample.office, walk.ref.id, "general", "Small sample.", 30, sample.signers[person])
    for person in ("ada", "ben"):
        offices.approve(sample, walk.ref, person)
    assert approval(sample, walk).approved
    TrustDesk(sample.office).end_grants(sample.signers["dora"].public.key_id)
    now = approval(sample, walk)
    assert not now.approved
    assert "the waiver of dora for general lapsed" in now.missing[-1]
