from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from placet.attest.envelope import Envelope, sign_statement
from placet.attest.statement import Subject, build_statement
from placet.domain.digests import digest_bytes
from placet.domain.errors import IntegrityError, NotAuthorizedError, StorageError, UsageError
from placet.ledger.checkpoint import verify_checkpoint
from placet.ledger.derived import derive
from placet.ledger.merkle import leaf_hash, tree_root
from placet.ledger.store import DuckStore, Seen, StaleError
from placet.ledger.store import duck as store_module
from tests.support.connections import faulty, watched
from tests.support.offices import signer_named

LOG, ADA = signer_named("log"), signer_named("ada")
ORIGIN = "placet.dev/acme"
TYPE = "https://placet.dev/verdict/v1"


def _envelope(number: int, *subjects: str, predicate_type: str = TYPE) -> Envelope:
    named = tuple(Subject(name, digest_bytes(name.encode())) for name in subjects or ("x",))
    return sign_statement(build_statement(predicate_type, named, {"number": number}), ADA)


@pytest.fixture
def store(tmp_path: Path) -> DuckStore:
    made = DuckStore(tmp_path / "ledger.duckdb", ORIGIN, wait_s=5)
    made.create()
    return made


def _sql(store: DuckStore, statement: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(store.path)) as db:
        return db.execute(statement, values or []).fetchall()


# --- appending ---------------------------------------------------------------------------------------------


def test_a_new_log_is_empty_and_has_no_checkpoint(store: DuckStore) -> None:
    assert store.entries() == ()
    assert store.latest_checkpoint() is None


def test_records_come_back_in_order_with_their_exact_bytes(store: DuckStore) -> None:
    envelopes = [_envelope(n) for n in range(5)]
    store.append(envelopes[:2], LOG)
    store.append(envelopes[2:], LOG)

    assert [entry.index for entry in store.entries()] == [0, 1, 2, 3, 4]
    assert [entry.envelope for entry in store.entries()] == [envelope.raw for envelope in envelopes]
    assert [entry.record_id for entry in store.entries(1, 3)] == [e.record_id for e in envelopes[1:3]]
    assert [entry.leaf for entry in store.entries()] == [leaf_hash(envelope.raw) for envelope in envelopes]


def test_each_append_leaves_one_checkpoint_signed_over_all_records(store: DuckStore) -> None:
    store.append([_envelope(0), _envelope(1)], LOG)
    store.append([_envelope(2)], LOG)

    sizes = []
    for size, note in store.checkpoint_notes():
        checkpoint = verify_checkpoint(note, ORIGIN, LOG.public)
        assert (checkpoint.size, checkpoint.root) == (
            size,
            tree_root([entry.leaf for entry in store.entries(0, size)]),
        )
        sizes.append(size)
    assert sizes == [2, 3]
    assert store.latest_checkpoint() == store.checkpoint_notes()[-1][1]


def test_the_same_record_again_gets_the_index_it_has(store: DuckStore) -> None:
    first = store.append([_envelope(0), _envelope(1)], LOG)
    again = store.append([_envelope(1), _envelope(2), _envelope(0), _envelope(2)], LOG)

    assert [entry.index for entry in again] == [1, 2, 0, 2]
    assert again[2] == first[0]
    assert len(store.entries()) == 3
    notes = store.checkpoint_notes()
    store.append([_envelope(0)], LOG)
    assert store.checkpoint_notes() == notes


def test_a_batch_is_taken_whole_or_not_at_all(store: DuckStore) -> None:
    store.append([_envelope(0)], LOG)

    def check(envelope: Envelope, index: int) -> None:
        if index == 3:
            raise NotAuthorizedError("not this one", hint="x")

    with pytest.raises(NotAuthorizedError, match="not this one"):
        store.append([_envelope(n) for n in range(1, 5)], LOG, check)
    assert len(store.entries()) == len(store.derived()) == 1
    assert [size for size, _ in store.checkpoint_notes()] == [1]


def test_each_new_record_is_checked_at_the_index_it_gets(store: DuckStore) -> None:
    seen: list[tuple[int, str]] = []
    store.append([_envelope(0)], LOG)
    store.append([_envelope(0), _envelope(1), _envelope(2)], LOG, lambda e, i: seen.append((i, e.record_id)))

    assert seen == [(1, _envelope(1).record_id), (2, _envelope(2).record_id)]


def test_a_draft_is_made_for_the_index_it_gets(store: DuckStore) -> None:
    store.append([_envelope(0), _envelope(1)], LOG)
    made: list[int] = []

    def draft(index: int) -> Envelope:
        made.append(index)
        return _envelope(100 + index)

    (entry,) = store.append([draft], LOG)

    assert made == [entry.index] == [2]
    assert entry.record_id == _envelope(102).record_id


def test_nothing_is_added_when_the_caller_has_not_seen_everything_that_matters(store: DuckStore) -> None:
    store.append([_envelope(0)], LOG)

    for count in (0, 2):
        with pytest.raises(StaleError, match="changed meanwhile"):
            store.append([_envelope(1)], LOG, seen=Seen((TYPE,), count))
    assert len(store.append([_envelope(1)], LOG, seen=Seen((TYPE,), 1))) == 1
    assert len(store.entries()) == 2


# --- finding -----------------------------------------------------------------------------------------------


def test_records_are_found_by_type_subject_and_id(store: DuckStore) -> None:
    a, b, c = _envelope(0, "x"), _envelope(1, "x", "y"), _envelope(2, "y", predicate_type="https://other/v1")
    store.append([a, b, c], LOG)

    def ids(**wanted: str) -> list[str]:
        return [entry.record_id for entry in store.find(**wanted)]

    assert ids(predicate_type=TYPE) == [a.record_id, b.record_id]
    assert ids(subject=digest_bytes(b"y")) == [b.record_id, c.record_id]
    assert ids(subject=digest_bytes(b"y"), predicate_type=TYPE) == [b.record_id]
    assert ids(record_id=c.record_id) == [c.record_id]
    assert ids(record_id=digest_bytes(b"nothing")) == []
    assert ids(predicate_type="' OR TRUE --") == []


def test_a_record_about_the_same_subject_twice_is_found_once(store: DuckStore) -> None:
    digest = digest_bytes(b"x")
    statement = build_statement(TYPE, (Subject("a", digest), Subject("b", digest)), {})
    store.append([sign_statement(statement, ADA)], LOG)

    assert len(store.find(subject=digest)) == 1


def test_derived_tables_can_be_made_again_from_the_envelopes(store: DuckStore) -> None:
    store.append([_envelope(n, "x", f"s{n}") for n in range(4)], LOG)
    before = store.derived()
    _sql(store, "DELETE FROM subjects")
    _sql(store, "UPDATE records SET type_id = 7, suite = 'y'")
    assert store.derived() != before

    assert store.rebuild() == 4
    assert (
        store.derived() == before == tuple(derive(entry.index, entry.envelope) for entry in store.entries())
    )


def test_a_snapshot_holds_all_tables_of_one_moment(store: DuckStore) -> None:
    store.append([_envelope(n) for n in range(3)], LOG)

    snapshot = store.snapshot()

    assert snapshot.entries == store.entries()
    assert snapshot.checkpoints == store.checkpoint_notes()
    assert snapshot.derived == store.derived()


# --- a log that was tampered with is not built upon --------------------------------------------------------

TAMPERINGS: dict[str, Callable[[DuckStore], object]] = {
    "deleted last row": lambda s: _sql(s, "DELETE FROM entries WHERE idx = 2"),
    "deleted first row": lambda s: _sql(s, "DELETE FROM entries WHERE idx = 0"),
    "inserted row": lambda s: _sql(
        s, "INSERT INTO entries SELECT 3, 'sha256:x', leaf, envelope FROM entries WHERE idx = 0"
    ),
    "leaf replaced": lambda s: _sql(s, "UPDATE entries SET leaf = ? WHERE idx = 1", [bytes(32)]),
    "no checkpoint": lambda s: _sql(s, "DELETE FROM checkpoints"),
    "older checkpoint": lambda s: _sql(s, "DELETE FROM checkpoints WHERE size = 3"),
    "forged checkpoint": lambda s: _sql(
        s, "UPDATE checkpoints SET note = replace(note, '3', '4') WHERE size = 3"
    ),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_nothing_is_signed_over_a_log_that_does_not_match_its_checkpoint(
    store: DuckStore, tampering: str
) -> None:
    store.append([_envelope(0), _envelope(1)], LOG)
    store.append([_envelope(2)], LOG)
    TAMPERINGS[tampering](store)
    before = store.snapshot()

    with pytest.raises(IntegrityError) as caught:
        store.append([_envelope(9)], LOG)
    assert caught.value.hint
    assert store.snapshot() == before


def test_another_log_key_does_not_continue_a_log(store: DuckStore) -> None:
    store.append([_envelope(0)], LOG)

    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        store.append([_envelope(1)], signer_named("another log"))


def test_a_log_under_another_name_is_not_continued(store: DuckStore) -> None:
    store.append([_envelope(0)], LOG)

    with pytest.raises(IntegrityError):
        DuckStore(store.path, "placet.dev/other").append([_envelope(1)], LOG)


# --- files and disks ---------------------------------------------------------------------------------------


def test_a_ledger_is_not_made_twice(store: DuckStore) -> None:
    store.append([_envelope(0)], LOG)

    with pytest.raises(UsageError, match="there is a ledger"):
        store.create()
    assert len(store.entries()) == 1


def test_a_ledger_half_made_by_a_killed_process_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DuckStore(tmp_path / "ledger.duckdb", ORIGIN)
    migrations = store_module.migrations()

    def killed() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "migrations", killed)
    with pytest.raises(KeyboardInterrupt):
        store.create()
    assert not store.path.exists()
    (tmp_path / "ledger.duckdb.new").write_bytes(b"torn")
    monkeypatch.setattr(store_module, "migrations", lambda: migrations)

    store.create()
    assert store.append([_envelope(0)], LOG)[0].index == 0
    assert not (tmp_path / "ledger.duckdb.new").exists()


def test_a_missing_ledger_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no ledger at") as caught:
        DuckStore(tmp_path / "ledger.duckdb", ORIGIN).entries()
    assert "placet init" in caught.value.hint
    assert not (tmp_path / "ledger.duckdb").exists()


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="lock file"):
        DuckStore(tmp_path / "gone" / "ledger.duckdb", ORIGIN).create()


@pytest.mark.parametrize("content", [b"", b"not a database", b"\0" * 20_000])
def test_a_file_that_is_no_ledger_is_said(store: DuckStore, content: bytes) -> None:
    store.path.write_bytes(content)

    with pytest.raises(StorageError, match="the ledger file refused"):
        store.entries()


@pytest.mark.parametrize("part", [0.1, 0.3, 0.6])
def test_a_ledger_file_cut_short_is_an_error_not_a_shorter_log(store: DuckStore, part: float) -> None:
    store.append([_envelope(n) for n in range(3)], LOG)
    data = store.path.read_bytes()
    store.path.write_bytes(data[: int(len(data) * part)])

    with pytest.raises((StorageError, IntegrityError)):
        store.append([_envelope(9)], LOG)


@pytest.mark.parametrize(
    "word", ["BEGIN", "INSERT INTO entries", "INSERT INTO subjects", "INSERT INTO checkpoints"]
)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_full_disk_adds_nothing_and_says_so(store: DuckStore, word: str, after: bool) -> None:
    store.append([_envelope(0)], LOG)
    before = store.snapshot()

    with (
        faulty(lambda statement: word in statement, after=after),
        pytest.raises(StorageError, match="No space left on device") as caught,
    ):
        DuckStore(store.path, store.origin).append([_envelope(1), _envelope(2)], LOG)
    assert "disk full" in caught.value.hint
    assert store.snapshot() == before
    assert [entry.index for entry in store.append([_envelope(1)], LOG)] == [1]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_failing_commit_leaves_a_whole_log_and_a_repeat_adds_nothing_twice(
    store: DuckStore, after: bool
) -> None:
    store.append([_envelope(0)], LOG)

    with (
        faulty(lambda statement: statement == "COMMIT", after=after),
        pytest.raises(StorageError, match="No space"),
    ):
        DuckStore(store.path, store.origin).append([_envelope(1)], LOG)
    assert len(store.entries()) == (2 if after else 1)
    assert store.append([_envelope(1)], LOG)[0].index == 1
    assert len(store.entries()) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only files")
def test_a_read_only_ledger_file_refuses_to_be_written(store: DuckStore) -> None:
    store.append([_envelope(0)], LOG)
    store.path.chmod(0o444)

    with pytest.raises(StorageError):
        store.append([_envelope(1)], LOG)
    assert len(store.entries()) == 1


def test_a_ledger_that_cannot_be_opened_for_writing_refuses_and_is_still_read(store: DuckStore) -> None:
    store.append([_envelope(0)], LOG)

    def read_only(statement: str) -> None:
        if "ATTACH" in statement and "READ_ONLY" not in statement:
            raise duckdb.IOException('IO Error: Cannot open file "ledger.duckdb": Read-only file system')

    with watched(before=read_only):
        again = DuckStore(store.path, store.origin)
        with pytest.raises(StorageError, match="Read-only file system"):
            again.append([_envelope(1)], LOG)
        assert len(again.entries()) == 1
    assert store.append([_envelope(1)], LOG)[0].index == 1


def test_queries_cannot_reach_outside_the_ledger_file(store: DuckStore, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")

    for query in (
        f"SELECT * FROM '{tmp_path}/secret.csv'",
        f"COPY entries TO '{tmp_path}/copy.csv'",
        f"ATTACH '{tmp_path}/other.duckdb' AS other",
        "SET enable_external_access = true",
        f"SET allowed_paths = ['{tmp_path}/secret.csv']",
    ):
        with (
            pytest.raises(StorageError, match=r"disabled|Cannot change|Cannot enable"),
            store._reading() as tables,
        ):
            tables.db.execute(query).fetchall()
    assert store.size() == 0


@pytest.mark.parametrize("way", ["odd name", "through a link", "relative"])
def test_a_ledger_may_lie_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    folder = tmp_path / "an office's [folder]; ä"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(folder)
    place = {"odd name": folder, "through a link": tmp_path / "link", "relative": Path("../link")}[way]
    store = DuckStore(place / "ledger.duckdb", "placet.dev/acme")

    store.create()
    store.append([_envelope(n) for n in range(3)], LOG)

    assert len(DuckStore(folder / "ledger.duckdb", "placet.dev/acme").entries()) == 3
    assert not (folder / "ledger.duckdb.wal").exists()
