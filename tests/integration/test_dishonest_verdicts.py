"""Verdicts that their runs do not bear out: the desk does not release them, and a bundle of one does not verify."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from placet.domain.errors import RefusedError
from placet.release import desk as release_desk
from placet.verify.verifier import VerificationError, verify_bundle
from tests.support import dishonest, offices
from tests.support.demo_office import make_demo_like_office
from tests.support.offices import Released, Walk, released_office
from tests.support.varied_office import make_varied_office

Lie = Callable[[Released], Walk]


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


SHOWN: list[tuple[Lie, str, str]] = [
    (
        dishonest.measures_fewer_documents,
        "unplanned-run",
        "which are not the 120 of its plan in the order drawn",
    ),
    (dishonest.measures_an_unplanned_suite, "unplanned-run", "does not name suite general-piqa"),
    (dishonest.measures_before_the_plan, "unplanned-run", "began on 2026-02-27, before its plan"),
    (
        dishonest.contradicts_its_runs,
        "contradicted-figure",
        "gate job says 0.9 on 120 documents, .* say 0 on 120",
    ),
    (dishonest.contradicts_its_runs_and_cites_none, "left-out-run", "leaves out the plan at"),
    (dishonest.measures_nothing, "unmeasured-suite", "no run of support-desk"),
]
LEFT_OUT: list[tuple[Lie, str, str]] = [
    (dishonest.leaves_out_a_plan, "left-out-run", "leaves out the plan at 17"),
    (dishonest.leaves_out_a_run, "left-out-run", "leaves out the run of support-desk at 17"),
    (dishonest.files_a_run_under_anothers_plan, "left-out-run", "leaves out the run of support-desk at 18"),
]
OTHERS: list[tuple[Lie, str, str]] = [
    (dishonest.rests_on_anothers_runs, "foreign-evidence", "is of other weights"),
]


@pytest.mark.parametrize(
    ("lie", "finding", "words"),
    SHOWN + LEFT_OUT + OTHERS,
    ids=[x[0].__name__ for x in SHOWN + LEFT_OUT + OTHERS],
)
def test_the_desk_signs_no_release_of_it(made: Released, lie: Lie, finding: str, words: str) -> None:
    walk = lie(made)
    before = made.office.store.size()

    with pytest.raises(RefusedError, match=rf"does not hold \({finding}\): .*{words}") as caught:
        offices.release(made.sample, walk.ref, "production")

    assert "gated again" in caught.value.hint
    assert made.office.store.size() == before


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A desk that does not ask."""
    monkeypatch.setattr(release_desk, "_refuse_unaccounted", lambda reader, case: None)


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize(
    ("lie", "words"),
    [
        *((lie, words) for lie, finding, words in SHOWN if finding != "left-out-run"),
        (
            dishonest.contradicts_its_runs_and_cites_none,
            "gate job says 0.9 on 120 documents, .* say 0 on 120",
        ),
        (dishonest.rests_on_anothers_runs, "0 intake records where there must be one"),
    ],
)
def test_a_bundle_of_it_does_not_verify(made: Released, lie: Lie, words: str) -> None:
    walk = lie(made)

    with pytest.raises(VerificationError, match=words) as caught:
        offices.release(made.sample, walk.ref, "production")

    assert caught.value.step == "evidence"


@pytest.mark.usefixtures("careless")
@pytest.mark.parametrize("lie", [item[0] for item in LEFT_OUT], ids=[item[0].__name__ for item in LEFT_OUT])
def test_what_a_bundle_cannot_show_the_verifier_says_it_does_not_know(made: Released, lie: Lie) -> None:
    walk = lie(made)
    _, bundle = offices.release(made.sample, walk.ref, "production")
    feed = release_desk.export_revocations(made.office)

    for revocations in (None, feed):
        verified = verify_bundle(
            bundle, made.office.root.pin, now=made.sample.clock(), revocations=revocations
        )
        assert any("leaves out a plan or a run on these weights" in line for line in verified.unknown)


def test_as_of_the_release_is_not_before_what_the_bundle_holds(made: Released) -> None:
    """A release dated back to when the approvals of the bundle stood, behind a later verdict's evidence."""
    sample = made.sample
    sample.clock.advance(days=80)
    walk = offices.decide_again(made, approved_by=("ada", "ben"))
    then = sample.clock()
    sample.clock.advance(days=95)
    offices.add_submission(sample, walk.adapter, walk.base, training=[walk.training.id], note="once more")
    case = release_desk.load_case(made.office.reader(), walk.ref.id)
    record = made.released.record.model_copy(
        update={
            "verdict": walk.verdict.id,
            "reviews": tuple(item.id for item in case.reviews[-2:]),
            "released_at": then + timedelta(minutes=1),
        }
    )
    late = sample.record(made.released.kind, record, made.released.statement.subjects, sample.signers["rhea"])
    sample.clock.now = then + timedelta(minutes=2)
    release_desk.build_bundle(made.office, case, late, made.office.home / "late")

    with pytest.raises(VerificationError, match="it expired at") as caught:
        verify_bundle(made.office.home / "late", made.office.root.pin, now=None)
    assert caught.value.step == "approval"


# --- honest offices -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_demo_like_office, make_varied_office])
def test_honest_offices_are_whole(tmp_path: Path, make: Callable[[Path], offices.SampleOffice]) -> None:
    """Sequential runs and others' at their own lengths, references, denied and undecided verdicts, resubmissions."""
    office = make(tmp_path / "office").office

    report = office.audit()

    assert report.findings == ()
    assert office.audit(since=office.store.checkpoint_notes()[20][1]).findings == ()
