"""An audit from the last audited checkpoint, and one in stretches and processes: the same findings."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.attest.predicates import Kind
from placet.attest.trust import sign_record
from placet.domain.errors import IntegrityError, UsageError
from placet.domain.progress import NullProgress
from placet.ledger.audit import run as audit_run
from placet.ledger.checkpoint import sign_checkpoint
from placet.office import LOG_KEY, TrustDesk
from tests.support import offices
from tests.support.audits import finding_ids
from tests.support.offices import Released, released_office, signer_named
from tests.support.tampering import logged as _logged
from tests.support.tampering import replace as _replace
from tests.support.tampering import revocation_by as _revocation_by
from tests.support.tampering import sql as _sql
from tests.support.tampering import truncate as _truncate


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _grow(made: Released, records: int = 2) -> None:
    for _ in range(records):
        offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
        made.sample.clock.advance(minutes=1)


def test_an_audit_from_the_last_audited_checkpoint_reads_only_what_is_new(made: Released) -> None:
    first = made.office.audit()
    _grow(made)

    report = made.office.audit(since=first.checkpoint)

    assert report.whole, report.findings
    assert (report.start, report.records) == (first.records, first.records + 2)
    assert report.root == made.office.reader().head().root
    assert any("2 records: indices" in line for line in report.checked)
    assert any(f"the signatures of the first {first.records} records" in line for line in report.blind)
    assert any("that bear on the new ones were read" in line for line in report.checked)
    again = made.office.audit(since=report.checkpoint)
    assert again.whole
    assert again.start == again.records


def test_an_audit_from_a_checkpoint_finds_what_was_done_since(made: Released) -> None:
    since = made.office.audit().checkpoint
    _grow(made)
    index = made.office.store.size() - 1
    _replace(made.office, index, b"not an envelope")

    report = made.office.audit(since=since)

    assert "edited-record" in finding_ids(report)
    assert report.start == index - 1


def test_an_audit_from_a_checkpoint_finds_that_a_plan_from_before_it_is_left_out_since(
    made: Released,
) -> None:
    plan = offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
    since = made.office.audit().checkpoint
    offices.decide_again(made)

    report = made.office.audit(since=since)

    assert report.start == plan.index + 1
    assert [(item.id, item.index) for item in report.findings] == [("left-out-run", report.start)]
    assert f"leaves out the plan at {plan.index} on the same weights" in report.findings[0].message


def test_an_audit_from_a_checkpoint_finds_what_was_hidden_from_the_index_before_it(made: Released) -> None:
    run = offices.add_measurement(made.sample, "support-desk", made.walk.plan, [0.0] * 120)
    since = made.office.audit().checkpoint
    _sql(made.office, "DELETE FROM subjects WHERE idx = ?", [run.index])
    assert made.office.audit(since=since).whole, "nothing new rests on it"
    offices.decide_again(made)

    report = made.office.audit(since=since)

    assert [(item.id, item.index) for item in report.findings] == [("edited-derived-table", run.index)]


def test_an_audit_from_a_checkpoint_hashes_what_came_before_it_again(made: Released) -> None:
    since = made.office.audit().checkpoint
    other = sign_record(
        Kind.VERDICT,
        made.walk.verdict.record.model_copy(update={"gates": (offices.passing_gate("softer"),)}),
        made.walk.verdict.statement.subjects,
        made.sample.evaluator,
    )
    _replace(made.office, made.walk.verdict.index, other.raw, leaf=False)

    assert finding_ids(made.office.audit(since=since)) == {"edited-record", "rewritten-log"}
    _replace(made.office, made.walk.verdict.index, other.raw)
    assert finding_ids(made.office.audit(since=since)) >= {"rewritten-log", "wrong-record-id"}


@pytest.mark.parametrize("how", ["deleted", "another type", "another in its place"])
def test_an_audit_from_a_checkpoint_finds_a_hidden_roles_statement_and_who_signed_since(
    made: Released, how: str
) -> None:
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)
    since = made.office.audit().checkpoint
    last = made.office.store.size() - 1
    if how == "another type":
        _sql(made.office, "UPDATE records SET type_id = 77 WHERE idx = ?", [last])
    else:
        _sql(made.office, "DELETE FROM records WHERE idx = ?", [last])
    if how == "another in its place":  # so that the number of roles statements is right
        _sql(made.office, "INSERT INTO records SELECT * FROM records WHERE idx = 3")
    index = _logged(made.office, _revocation_by("ada", "ada"))

    for report in (made.office.audit(since=since), made.office.audit()):
        found = [item for item in report.findings if item.id == "unauthorized-signer"]
        assert [item.index for item in found] == [index], report.findings
        assert "ada may not sign as releaser or approver at ledger index" in found[0].message
        told = [item.message for item in report.findings if item.id == "edited-derived-table"]
        assert any("roles statements and root versions, the index tables show" in item for item in told)


def test_plans_drawn_together_from_one_state_are_no_finding_even_across_an_audit(made: Released) -> None:
    drawn = offices.drawn_again(made.sample, made.walk.plan.record)
    records = [
        drawn.model_copy(update={"planned_at": made.sample.clock.advance(minutes=1)}) for _ in range(3)
    ]
    subjects = made.walk.plan.statement.subjects
    made.sample.record(Kind.PLAN, records[0], subjects)
    made.sample.record(Kind.PLAN, records[1], subjects)
    since = made.office.audit().checkpoint
    made.sample.record(Kind.PLAN, records[2], subjects)

    assert made.office.audit(since=since).whole
    assert made.office.audit().whole
    offices.add_base(made.sample, "in between")
    again = records[2].model_copy(update={"planned_at": made.sample.clock.advance(minutes=1)})
    late = made.sample.record(Kind.PLAN, again, subjects)
    for report in (made.office.audit(since=since), made.office.audit()):
        assert [(item.id, item.index) for item in report.findings] == [("stale-head", late.index)]


def test_an_audit_from_a_checkpoint_knows_the_moments_before_it(made: Released) -> None:
    since = made.office.audit().checkpoint
    made.sample.clock.advance(days=-2)
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    (finding,) = made.office.audit(since=since).findings

    assert finding.id == "dated-back"
    assert "is dated 2026-02-28" in finding.message


def test_clocks_a_few_hours_apart_are_no_finding(made: Released) -> None:
    made.sample.clock.advance(hours=-20)
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])

    assert made.office.audit().whole


def test_an_audit_from_a_checkpoint_that_the_log_does_not_continue_says_so(made: Released) -> None:
    since = made.office.audit().checkpoint
    _truncate(made.office, made.walk.verdict.index)
    report = made.office.audit(since=since)
    assert "truncated-log" in finding_ids(report)

    _grow(made, 8)
    report = made.office.audit(since=since)
    assert "rewritten-log" in finding_ids(report)
    assert report.start == 0


def test_a_checkpoint_of_another_log_is_nothing_to_go_on_from(made: Released) -> None:
    note = sign_checkpoint(made.office.settings.origin, 3, bytes(32), signer_named("eve")).note

    with pytest.raises(UsageError, match="not one of this log"):
        made.office.audit(since=note)


def test_an_older_checkpoint_kept_elsewhere_is_held_against_stored_hashes(made: Released) -> None:
    notes = [note for _, note in made.office.store.checkpoint_notes()]
    since = made.office.audit().checkpoint
    _grow(made)

    assert made.office.audit([notes[4]], since=since).whole
    forged = sign_checkpoint(made.office.settings.origin, 5, bytes(32), made.office.signer(LOG_KEY)).note
    assert "forked-log" in finding_ids(made.office.audit([forged], since=since))


# --- in stretches and processes ----------------------------------------------------------------------------


@pytest.fixture
def large(made: Released, monkeypatch: pytest.MonkeyPatch) -> Released:
    """Stretches of 256 records, so that a log of a thousand has several."""
    monkeypatch.setattr(audit_run, "PART_RECORDS", 256)
    monkeypatch.setattr(audit_run, "_PARALLEL_FROM", 300)
    drawn = offices.drawn_again(made.sample, made.walk.plan.record)
    envelopes = [
        sign_record(
            Kind.PLAN,
            drawn.model_copy(
                update={
                    "planned_at": offices.START.replace(microsecond=0, minute=n % 60, hour=n // 60),
                }
            ),
            made.walk.plan.statement.subjects,
            made.sample.evaluator,
        )
        for n in range(600)
    ]
    made.office.store.append(envelopes, made.office.signer(LOG_KEY))
    return made


@pytest.mark.parametrize("workers", [1, 2])
def test_stretches_and_processes_make_no_difference(large: Released, workers: int) -> None:
    kept = large.office.store.latest_checkpoint() or ""
    heard = Heard()
    report = large.office.audit([kept], workers=workers, progress=heard)

    assert report.whole, report.findings[:3]
    assert report.root == large.office.reader().head().root
    assert heard.done["records"] == report.records > 600
    _replace(large.office, 500, b"not an envelope")
    report = large.office.audit([kept], workers=workers)
    assert {"edited-record", "rewritten-log", "forked-log"} <= finding_ids(report)


class Heard(NullProgress):
    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    def advance(self, step: str, count: int = 1) -> None:
        self.done[step] = self.done.get(step, 0) + count


@pytest.mark.parametrize(
    "statement", ["UPDATE tiles SET root = 'x'::BLOB WHERE idx = 1", "DELETE FROM tiles"]
)
def test_edited_tiles_are_found_and_made_again(large: Released, statement: str) -> None:
    _sql(large.office, statement)

    assert finding_ids(large.office.audit(workers=1)) >= {"edited-derived-table"}
    with pytest.raises(IntegrityError):
        _grow(large)
    large.office.store.rebuild()
    assert large.office.audit(workers=1).whole
    _grow(large)


def test_hundreds_of_findings_of_a_kind_are_counted_not_listed(large: Released) -> None:
    _sql(large.office, "UPDATE records SET suite = 'x'")

    report = large.office.audit(workers=1)

    assert len(report.findings) == 101
    assert "more of this kind" in report.findings[-1].message
