"""Writers that wait for the head of a log in PostgreSQL: served by the holder, and never on anybody's word."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.ledger_kills import PostgresKills
from placet.attest.envelope import Envelope
from placet.attest.keys import LocalSigner
from placet.attest.predicates import Kind, spec_of
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import digest_bytes
from placet.domain.errors import Error, IntegrityError, LedgerBusyError, NotAuthorizedError, StorageError
from placet.domain.records import Revocation
from placet.ledger.store import DuckStore, Entry, Seen, StaleError
from placet.ledger.store import postgres_queue as queue_module
from placet.ledger.store.postgres import PostgresStore
from placet.ledger.store.postgres_queue import HEAD_LOCK
from placet.ledger.store.requests import dump_answer, dump_request
from placet.office import LOG_KEY, Office, migrate_ledger
from tests.support import offices
from tests.support.offices import Released, released_office, signer_named
from tests.support.postgres import new_database, server

ROLES = spec_of(Kind.ROLES).predicate_type


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as made:
        yield made


def _envelope(number: int) -> Envelope:
    record = Revocation(
        target=digest_bytes(b"x%d" % number),
        target_kind="adapter",
        reason="r",
        revoked_by="ada",
        revoked_at=offices.START + timedelta(seconds=number),
    )
    return sign_record(Kind.REVOCATION, record, (Subject("x", record.target),), signer_named("ada"))


@dataclass
class Team:
    """An office whose log is in a database, and writers of it."""

    made: Released
    dsn: str
    seen: Seen
    checked: list[tuple[int, int]] = field(default_factory=list)
    writers: int = 0

    @property
    def office(self) -> Office:
        return self.made.sample.office

    @property
    def log(self) -> LocalSigner:
        signer = self.office.signer(LOG_KEY)
        assert isinstance(signer, LocalSigner)
        return signer

    def store(self, wait_s: float = 20) -> PostgresStore:
        index = DuckStore(self.office.home / "ledger.duckdb", self.office.settings.origin, wait_s=20)
        return PostgresStore(self.dsn, index, self.office.root, wait_s=wait_s)

    def sql(self, statement: str, values: list[object] | None = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as db:
            cursor = db.execute(statement, values or [])  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def waiting(self) -> int:
        """How many writers stand in line for the lock."""
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return int(self.sql(query)[0][0])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the head's lock as another writer does."""
        with psycopg.connect(self.dsn, autocommit=True) as db:
            db.execute("SELECT pg_advisory_lock(%s)", [HEAD_LOCK])
            yield

    def append(
        self,
        numbers: list[int],
        *,
        seen: Seen | None = None,
        refuse: int | None = None,
        wait_s: float = 20,
    ) -> tuple[threading.Thread, list[Any]]:
        """Append from a thread of its own; gives what came of it."""
        results: list[Any] = []
        self.writers += 1
        writer = self.writers

        def check(envelope: Envelope, index: int) -> None:
            self.checked.append((writer, index))
            if refuse is not None and envelope == _envelope(refuse):
                raise NotAuthorizedError("not this one", hint="x")

        def run() -> None:
            store = self.store(wait_s)
            try:
                made = [_envelope(n) for n in numbers]
                results.append(store.append(made, self.log, check, seen=seen or self.seen))
            except Error as error:
                results.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread, results

    def append_waiting(self, numbers: list[int], **options: Any) -> tuple[threading.Thread, list[Any]]:
        """As :meth:`append`; returns once it stands in line."""
        before = self.waiting()
        started = self.append(numbers, **options)
        _until(lambda: self.waiting() > before or not started[0].is_alive())
        return started


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@pytest.fixture
def team(address: str, tmp_path: Path) -> Team:
    made, dsn = released_office(tmp_path / "office"), new_database(address)
    made.sample.office = migrate_ledger(made.office, dsn)
    return Team(made, dsn, Seen((ROLES,), made.sample.office.reader().trust.statements))


def _entries(results: list[Any]) -> tuple[Entry, ...]:
    (result,) = results
    assert isinstance(result, tuple), result
    return result


def test_who_gets_the_lock_adds_what_all_that_wait_want_under_one_checkpoint(team: Team) -> None:
    size = team.office.store.size()
    with team.held():
        started = [team.append_waiting([2 * n, 2 * n + 1]) for n in range(4)]
    for thread, _ in started:
        thread.join(60)

    indices = [[entry.index for entry in _entries(results)] for _, results in started]
    assert sorted(index for pair in indices for index in pair) == list(range(size, size + 8))
    assert all(second == first + 1 for first, second in indices)
    assert [s for s, _ in team.office.store.checkpoint_notes(size)] == [size + 8]
    # One of them checked for all.
    assert {writer for writer, _ in team.checked} == {1}
    assert team.office.audit(blobs=False).whole


def test_a_refused_record_of_one_writer_holds_up_no_other(team: Team) -> None:
    size = team.office.store.size()
    with team.held():
        first = team.append_waiting([1], refuse=2)
        second = team.append_waiting([0, 2])
        third = team.append_waiting([3])
    for thread, _ in (first, second, third):
        thread.join(60)

    assert [entry.index for entry in _entries(first[1]) + _entries(third[1])] == [size, size + 1]
    assert isinstance(second[1][0], NotAuthorizedError)
    assert team.office.store.size() == size + 2


def test_a_writer_that_saw_other_roles_is_not_served_along(team: Team) -> None:
    size = team.office.store.size()
    with team.held():
        first = team.append_waiting([1])
        stale = team.append_waiting([2], seen=Seen((ROLES,), team.seen.count - 1))
    for thread, _ in (first, stale):
        thread.join(60)

    assert [entry.index for entry in _entries(first[1])] == [size]
    assert isinstance(stale[1][0], StaleError)
    assert [writer for writer, _ in team.checked] == [1]


def test_records_that_two_ask_for_are_added_once_and_both_learn_where(team: Team) -> None:
    size = team.office.store.size()
    with team.held():
        started = [team.append_waiting([7, 8]) for _ in range(3)]
    for thread, _ in started:
        thread.join(60)

    assert {tuple(entry.index for entry in _entries(results)) for _, results in started} == {(size, size + 1)}
    assert team.office.store.size() == size + 2


def test_who_waited_too_long_takes_the_request_back(team: Team) -> None:
    size = team.office.store.size()
    with team.held():
        thread, results = team.append_waiting([1], wait_s=0.5)
        thread.join(60)
        assert isinstance(results[0], LedgerBusyError)
        assert "nothing of yours was lost" in results[0].hint
        assert team.sql("SELECT count(*) FROM placet_waiting WHERE request IS NOT NULL") == [(0,)]
    team.append([2])[0].join(60)

    assert [entry.record_id for entry in team.office.store.entries(size)] == [_envelope(2).record_id]


def _killed_while(team: Team, ready: Callable[[], bool], check: Callable[[Envelope, int], None]) -> None:
    """Append from a process of its own, which is killed once it is `ready`."""
    made, seen, log, store = _envelope(1), team.seen, team.log, team.store()
    child = os.fork()
    if not child:
        try:
            store.append([made], log, check, seen=seen)
        finally:
            os._exit(1)
    try:
        _until(ready)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_holder_that_is_killed_leaves_nothing_and_the_next_takes_over(team: Team, tmp_path: Path) -> None:
    size, mark = team.office.store.size(), tmp_path / "holding"

    def hold(envelope: Envelope, index: int) -> None:
        mark.touch()
        time.sleep(600)

    _killed_while(team, mark.exists, hold)
    thread, results = team.append([2])
    thread.join(60)

    # The dead writer's request waits no longer than it did: it was signed for that time.
    assert _entries(results)[0].index in (size, size + 1)
    again = team.office.store.append([_envelope(1)], team.log)
    assert {again[0].index, _entries(results)[0].index} == {size, size + 1}
    assert team.office.audit(blobs=False).whole


def test_a_waiting_writer_that_is_killed_holds_up_nobody_and_its_record_is_there_once(team: Team) -> None:
    size = team.office.store.size()
    with team.held():
        _killed_while(team, lambda: team.waiting() == 1, lambda envelope, index: None)
        thread, results = team.append_waiting([2])
    thread.join(60)

    assert _entries(results)
    again = team.office.store.append([_envelope(1), _envelope(2)], team.log)
    assert sorted(entry.index for entry in again) == [size, size + 1]
    assert team.office.store.size() == size + 2
    assert team.office.audit(blobs=False).whole


def _left_in_the_table(team: Team, signer: LocalSigner, monkeypatch: pytest.MonkeyPatch, at: float) -> None:
    """Leave a request for record 1 that no process waits for, signed by `signer` at a moment."""
    key = team.log.public.key_id
    request = dump_request([_envelope(1)], team.seen, key)
    ask = queue_module.Ask(request, [_envelope(1).record_id], team.seen, signer, team.log.public)
    place = queue_module.PostgresQueue(team.office.settings.origin, 20)
    with monkeypatch.context() as changed:
        changed.setattr(queue_module.time, "time", lambda: at)
        signed = place._signed(ask)
    team.sql(
        "INSERT INTO placet_waiting VALUES (%s, %s, clock_timestamp(), %s, %s, %s, NULL)",
        [place._writer, place._number, ask.served_with, signed, [_envelope(1).record_id]],
    )


@pytest.mark.parametrize(("by", "late_s", "added"), [("log", 0, True), ("log", 60, False), ("eve", 0, False)])
def test_only_what_the_logs_key_asks_for_now_is_done(
    team: Team, monkeypatch: pytest.MonkeyPatch, by: str, late_s: int, added: bool
) -> None:
    size = team.office.store.size()
    signer = team.log if by == "log" else signer_named(by)
    _left_in_the_table(team, signer, monkeypatch, time.time() - late_s)

    thread, results = team.append([2])
    thread.join(60)

    assert _entries(results)
    ids = {entry.record_id for entry in team.office.store.entries(size)}
    assert ids == ({_envelope(1).record_id} if added else set()) | {_envelope(2).record_id}
    # Nobody looks at it again.
    assert team.sql("SELECT count(*) FROM placet_waiting WHERE request IS NOT NULL") == [(0,)]


@pytest.mark.parametrize("claimed", ["behind the end", "where another record is", "long ago"])
def test_an_answer_is_not_believed_before_the_log_bears_it_out(team: Team, claimed: str) -> None:
    size = team.office.store.size()
    index = {"behind the end": size, "where another record is": size - 1, "long ago": 2}[claimed]
    made = _envelope(1)
    with team.held():
        thread, results = team.append_waiting([1])
        answer = dump_answer([Entry(index, made.record_id, b"", made.raw)], [made])
        team.sql("UPDATE placet_waiting SET answer = %s WHERE request IS NOT NULL", [answer])
    thread.join(60)

    assert isinstance(results[0], IntegrityError)
    assert "the log has another one there" in str(results[0])


def test_what_failed_is_not_done_by_another_writer_afterwards(team: Team) -> None:
    size = team.office.store.size()
    team.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'No space left on device'; END $$"
    )
    team.sql("CREATE TRIGGER full_disk BEFORE INSERT ON placet_checkpoints EXECUTE FUNCTION full_disk()")
    with team.held():
        started = [team.append_waiting([n]) for n in (1, 2)]
    for thread, results in started:
        thread.join(60)
        assert isinstance(results[0], StorageError)
        assert "No space left" in str(results[0])
    team.sql("DROP TRIGGER full_disk ON placet_checkpoints")

    thread, results = team.append([3])
    thread.join(60)

    assert [entry.index for entry in _entries(results)] == [size]
    assert team.office.store.size() == size + 1


def test_a_database_of_the_form_before_is_brought_up_to_date(team: Team) -> None:
    team.sql("DROP TABLE placet_waiting")
    team.sql("UPDATE placet_log SET form = 1")

    thread, results = team.append([1])
    thread.join(60)

    assert _entries(results)
    assert team.sql("SELECT form FROM placet_log") == [(2,)]


def test_acknowledged_is_durable_whatever_the_database_says(team: Team) -> None:
    name = team.sql("SELECT current_database()")[0][0]
    team.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = team.store()
    store.append([_envelope(1)], team.log)

    db = store._mine.db
    assert db is not None
    assert db.execute("SHOW synchronous_commit").fetchone() == ("on",)


@pytest.mark.slow
def test_killed_writers_lose_tear_and_double_nothing(team: Team) -> None:
    kills = PostgresKills(team.office.home, team.log, signer_named("ada"), writers=4, seed=7, dsn=team.dsn)
    kills.root, kills.origin, kills.seen = team.office.root, team.office.settings.origin, team.seen

    outcome = kills.run(kills=12, holders=5)

    assert (outcome.lost, outcome.torn, outcome.doubled, outcome.failed) == (0, 0, 0, 0), outcome
    assert outcome.holders >= 5
    assert outcome.acknowledged
