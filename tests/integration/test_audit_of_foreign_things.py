"""What does not belong into a ledger file, or makes one office look like another, is found, in bounded time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from placet.cli.program import make_app
from placet.domain.errors import IntegrityError, StorageError
from placet.domain.progress import NullProgress
from placet.ledger.audit import AuditReport
from placet.ledger.audit.words import UNKNOWN_OFFICE
from placet.ledger.store import IN_POSTGRES
from placet.ledger.store.tables import Tables
from placet.office import Office, TrustDesk
from tests.support import offices
from tests.support.offices import Released, released_office
from tests.support.tampering import sql


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _of(report: AuditReport, finding_id: str) -> list[str]:
    assert not report.whole
    return [finding.message for finding in report.findings if finding.id == finding_id]


# --- numbers that lead nowhere -------------------------------------------------------------------------------


class _Counted(NullProgress):
    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0

    def start(self, step: str, total: int | None, unit: str) -> None:
        if step == "records":
            self.total = total

    def advance(self, step: str, count: int = 1) -> None:
        self.done += count if step == "records" else 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("far", [10**12, 2**62, 2**63 - 1])
def test_one_row_far_behind_the_others_is_one_gap_and_costs_no_time(made: Released, far: int) -> None:
    size, heard = made.office.store.size(), _Counted()
    sql(made.office, f"INSERT INTO entries SELECT {far}, 'x', leaf, envelope FROM entries WHERE idx = 8")

    report = made.office.audit(progress=heard)

    assert _of(report, "deleted-record") == [
        f"records {size} to {far - 1} are missing from the ledger file",
    ]
    assert (report.records, heard.total, heard.done) == (size + 1, size + 1, size + 1)


@pytest.mark.timeout(120)
def test_many_rows_far_apart_are_read_in_few_stretches(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, stretches = made.office.store.size(), []
    sql(
        made.office,
        "INSERT INTO entries SELECT 1000000000 * (1 + r.i), 'x' || r.i, leaf, envelope FROM entries, range(3000) r(i) "
        "WHERE idx = 8",
    )
    from placet.ledger.audit import run

    audit_part = run.audit_part
    monkeypatch.setattr(run, "audit_part", lambda job, store: stretches.append(job) or audit_part(job, store))

    report = made.office.audit(blobs=False, workers=1)

    assert len(stretches) == 1
    missing = _of(report, "deleted-record")
    assert len(missing) == 101
    assert missing[:2] == [
        f"records {size} to 999999999 are missing from the ledger file",
        "records 1000000001 to 1999999999 are missing from the ledger file",
    ]
    assert missing[-1] == "2900 more of this kind"


def test_each_gap_is_one_finding_and_what_lies_behind_it_is_read(made: Released) -> None:
    sql(made.office, "DELETE FROM entries WHERE idx IN (3, 8, 9)")
    sql(made.office, "UPDATE entries SET envelope = 'x' WHERE idx = 12")

    report = made.office.audit()

    assert _of(report, "deleted-record") == [
        "record 3 is missing from the ledger file",
        "records 8 to 9 are missing from the ledger file",
    ]
    assert _of(report, "edited-record")[0].startswith("record 12 was edited")


def test_a_row_below_the_first_one_is_found(made: Released) -> None:
    sql(made.office, "INSERT INTO entries SELECT -5, 'x', leaf, envelope FROM entries WHERE idx = 8")

    assert _of(made.office.audit(), "edited-derived-table") == [
        "the ledger file holds a record -5, which does not belong there"
    ]


@pytest.mark.parametrize(
    ("level", "index"), [(5, 9223372036854775), (0, 2**63 - 1), (2**31 - 1, 1), (-3, 0), (0, -1)]
)
def test_a_tile_that_no_log_has_is_a_finding(made: Released, level: int, index: int) -> None:
    sql(made.office, "INSERT INTO tiles VALUES (?, ?, ''::BLOB)", [level, index])

    assert _of(made.office.audit(), "edited-derived-table") == [
        f"the ledger file holds tile {index} of level {level}, which does not belong there"
    ]


# --- what a ledger file does not hold ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("CREATE TABLE notes (x INTEGER)", "holds the table notes"),
        ("CREATE VIEW v AS SELECT 1", "holds the view v"),
        ("ALTER TABLE records ADD COLUMN hidden VARCHAR", "holds the column records.hidden VARCHAR"),
        (
            "ALTER TABLE records ALTER suite SET DEFAULT 'x'",
            "holds the column records.suite VARCHAR DEFAULT 'x'",
        ),
        ("CREATE INDEX i ON records (idx)", "holds the index i: CREATE INDEX i ON records(idx);"),
        ("CREATE MACRO m(x) AS x + 1", "holds the macro m"),
        ("CREATE SEQUENCE q", "holds the sequence q"),
        ("CREATE TYPE t AS ENUM ('a')", "holds the type t"),
        ("CREATE SCHEMA s", "holds the schema s in s"),
        ("COMMENT ON TABLE words IS 'hello'", "holds the comment hello"),
        ("DROP INDEX entries_by_record", "lacks the index entries_by_record: CREATE UNIQUE INDEX"),
        ("INSERT INTO following VALUES ('x')", "says that it follows 'x', and office.json says otherwise"),
        (
            "INSERT INTO migrations VALUES (2)",
            "says that other migrations were made than there are: [1, 2, 2, 3]",
        ),
        (
            "INSERT INTO checkpoints SELECT -1, note FROM checkpoints WHERE size = 5",
            "holds a checkpoint of size -1",
        ),
        (
            "INSERT INTO checkpoints SELECT 0, note FROM checkpoints WHERE size = 5",
            "holds a checkpoint of size 0",
        ),
    ],
)
def test_what_no_ledger_file_holds_is_found(made: Released, statement: str, found: str) -> None:
    sql(made.office, statement)

    messages = _of(made.office.audit(), "foreign-content")

    assert any(message.startswith(f"the ledger file {found}") for message in messages), messages


def test_a_name_that_would_act_on_a_terminal_does_not(made: Released) -> None:
    sql(made.office, 'CREATE TABLE "\x1b[2Jgone" (x INTEGER)')

    assert _of(made.office.audit(), "foreign-content") == [
        "the ledger file holds the table ?[2Jgone, which no ledger has"
    ]


def test_a_table_that_is_a_view_is_found_and_nothing_in_it_believed(made: Released) -> None:
    sql(made.office, "CREATE TABLE others AS SELECT * FROM entries")
    sql(made.office, "DROP TABLE entries")
    sql(made.office, "CREATE VIEW entries AS SELECT * FROM others")

    report = made.office.audit()

    lacking, *foreign = _of(report, "foreign-content")
    assert lacking == "the ledger file lacks the table entries"
    assert {
        f"the ledger file holds the {what}, which no ledger has" for what in ("table others", "view entries")
    } <= {*foreign}
    assert report.records == 0


def test_two_records_under_one_number_are_found_without_the_key_that_forbids_them(made: Released) -> None:
    from placet.ledger.audit.part import Job, Scope, audit_part

    for statement in (
        "CREATE TABLE copied AS SELECT * FROM entries",
        "DROP TABLE entries",
        "ALTER TABLE copied RENAME TO entries",
        "INSERT INTO entries SELECT 8, 'x', leaf, envelope FROM entries WHERE idx = 9",
    ):
        sql(made.office, statement)

    assert "the ledger file lacks the constraint PRIMARY KEY(idx) of entries" in _of(
        made.office.audit(), "foreign-content"
    )
    store = made.office.store.local()
    part = audit_part(Job(store.path, store.origin, 0, 17, None, Scope()))
    assert part.broken
    assert "there are two records 8" in [
        item.message for item in part.findings if item.id == "doubled-record"
    ]


def test_a_word_that_no_record_uses_is_found_and_mended(made: Released) -> None:
    sql(made.office, "INSERT INTO words VALUES (999, 'a message')")

    assert _of(made.office.audit(), "edited-derived-table") == [
        "the index tables hold the word 'a message', which no record uses"
    ]
    made.office.store.rebuild()
    assert made.office.audit().whole


def test_an_index_of_a_log_elsewhere_has_to_say_so(made: Released) -> None:
    from placet.ledger.audit import audit

    file, root = made.office.store.local(), made.office.root
    (said,) = _of(audit(file, root, follows=(IN_POSTGRES,)), "foreign-content")
    assert said.startswith(
        "the ledger file says that it follows no other log, and office.json says otherwise"
    )

    sql(made.office, "INSERT INTO following VALUES (?)", [IN_POSTGRES])
    assert audit(file, root, follows=(IN_POSTGRES,)).whole
    assert made.office.audit(moving=True).whole
    assert not made.office.audit().whole


def test_a_checkpoint_that_a_record_names_is_missed(made: Released) -> None:
    head = made.walk.verdict.record.head
    sql(made.office, "DELETE FROM checkpoints WHERE size = ?", [head.size])

    messages = _of(made.office.audit(), "deleted-checkpoint")

    assert any(message.startswith(f"record {made.walk.verdict.index} (verdict by ") for message in messages)
    assert all(
        f"over the checkpoint of size {head.size}, which is not in the ledger" in item for item in messages
    )


def test_a_file_without_its_migrations_says_what_to_do_and_does_not_send_to_the_audit(made: Released) -> None:
    sql(made.office, "DELETE FROM migrations")

    with pytest.raises(StorageError, match="lacks a table's rows") as caught:
        made.office.audit()
    assert "placet audit" not in caught.value.hint


def test_a_damaged_file_says_what_to_do_and_does_not_send_to_the_audit(made: Released) -> None:
    made.office.store.local().path.write_bytes(b"no database" * 5000)

    with pytest.raises(StorageError, match="the ledger file refused") as caught:
        made.office.audit()
    assert "placet audit" not in caught.value.hint
    assert "put a copy back" in caught.value.hint


def test_numbers_are_counted_without_overflow(made: Released) -> None:
    import duckdb

    with duckdb.connect(str(made.office.store.local().path)) as db:
        db.execute(
            "INSERT INTO entries SELECT 9223372036854775807, 'x', leaf, envelope FROM entries WHERE idx = 8"
        )
        tables = Tables(db)
        assert (tables.size(), tables.extent()) == (-1, 2**63)
        assert tables.gaps() == ((17, 2**63 - 2),)


# --- another office in its place -----------------------------------------------------------------------------


def _replaced(made: Released, tmp_path: Path) -> Office:
    """Put an office of the same name, with a root, keys and a log of its own, in the place of the one that is known."""
    other = offices.make_office(tmp_path / "other")
    offices.walk_to_release(other)
    shutil.rmtree(made.office.home)
    shutil.copytree(other.office.home, made.office.home)
    return Office.open(made.office.home)


def test_an_office_in_anothers_place_is_refused_by_the_pin(made: Released, tmp_path: Path) -> None:
    pin, other = made.office.root.pin, _replaced(made, tmp_path)

    assert other.audit().whole
    with pytest.raises(IntegrityError, match="not the office that you know") as caught:
        other.audit(pin=pin)
    assert pin in str(caught.value)
    assert other.root.pin in str(caught.value)


def test_without_a_pin_the_audit_says_that_it_does_not_know_the_office(made: Released) -> None:
    assert UNKNOWN_OFFICE in made.office.audit().blind

    report = made.office.audit(pin=made.office.root.pin)

    assert report.whole
    assert UNKNOWN_OFFICE not in report.blind
    assert f"the office's root: one of its versions is the given {made.office.root.pin}" in report.checked


def test_the_pin_of_any_version_will_do_also_of_one_that_came_with_the_log(made: Released) -> None:
    old = made.office.root.pin
    new = TrustDesk(made.office).change_root(made.office.root.current.keys, 1).pin

    for pin in (old, new):
        assert made.office.audit(pin=pin).whole
    (made.office.home / "trust" / "2.root.json").unlink()
    assert Office.open(made.office.home).audit(pin=new).whole


def test_a_pin_is_compared_also_where_nobody_can_be_trusted(made: Released, tmp_path: Path) -> None:
    pin, other = made.office.root.pin, _replaced(made, tmp_path)
    sql(other, "UPDATE entries SET envelope = 'x' WHERE idx = 0")

    with pytest.raises(IntegrityError, match="not the office that you know"):
        other.audit(pin=pin)
    assert _of(other.audit(pin=other.root.pin), "untrusted-roles")
    sql(other, "DROP TABLE subjects")
    with pytest.raises(IntegrityError, match="not the office that you know"):
        other.audit(pin=pin)


def test_the_command_takes_a_pin(made: Released, tmp_path: Path) -> None:
    home, pin = str(made.office.home), made.office.root.pin
    run = CliRunner().invoke

    good = run(make_app(), ["audit", "--home", home, "--pin", pin])
    assert (good.exit_code, UNKNOWN_OFFICE in good.stdout) == (0, False)
    assert UNKNOWN_OFFICE in run(make_app(), ["audit", "--home", home]).stdout
    malformed = run(make_app(), ["audit", "--home", home, "--pin", "sha256:12"])
    assert (malformed.exit_code, "--pin" in malformed.output) == (2, True)
    _replaced(made, tmp_path)
    refused = run(make_app(), ["audit", "--home", home, "--pin", pin])
    assert refused.exit_code == 1
    assert "not the office that you know" in refused.output
    assert "WHOLE" not in refused.output
