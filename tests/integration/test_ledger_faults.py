"""Kills, full and read-only disks, faults around every write, a clock set back: nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from benchmarks.ledger_kills import Kills
from placet.attest.envelope import Envelope, sign_statement
from placet.attest.predicates import Kind
from placet.attest.statement import Subject, build_statement
from placet.domain.digests import digest_bytes
from placet.domain.errors import (
    IntegrityError,
    LedgerBusyError,
    NotAuthorizedError,
    RefusedError,
    StorageError,
)
from placet.ledger.derived import derive
from placet.ledger.lock import ledger_lock, ledger_turn
from placet.ledger.merkle import leaf_hash, tree_root
from placet.ledger.queue import Queue
from placet.ledger.store import DuckStore, Seen, StaleError
from placet.ledger.store import duck as duck_module
from placet.ledger.tiles import build_tiles
from placet.review.desk import approval_of, load_case
from tests.support import offices
from tests.support.connections import faulty, watched
from tests.support.offices import released_office, signer_named

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join((str(ROOT / "platform"), str(ROOT)))
LOG, ADA = signer_named("log"), signer_named("ada")
ORIGIN = "placet.dev/acme"
TYPE = "https://placet.dev/verdict/v1"
NONE_SEEN = Seen(("https://placet.dev/roles/v1",), 0)


def _envelope(number: int, words: str = "") -> Envelope:
    subject = Subject("x", digest_bytes(b"x"))
    return sign_statement(build_statement(TYPE, (subject,), {"number": number, "words": words}), ADA)


def _passed(envelope: Envelope, index: int) -> None:
    """Check nothing: as good a check for others' records as for one's own."""


@pytest.fixture
def store(tmp_path: Path) -> DuckStore:
    made = DuckStore(tmp_path / "ledger.duckdb", ORIGIN, wait_s=20)
    made.create()
    return made


def _whole(store: DuckStore) -> int:
    """Check everything about the file against the envelopes and return how many there are."""
    snapshot = store.snapshot()
    leaves = [leaf_hash(entry.envelope) for entry in snapshot.entries]
    assert [entry.leaf for entry in snapshot.entries] == leaves
    assert [entry.index for entry in snapshot.entries] == list(range(len(leaves)))
    assert snapshot.derived == tuple(derive(entry.index, entry.envelope) for entry in snapshot.entries)
    assert sorted(snapshot.tiles, key=str) == sorted(build_tiles(leaves), key=str)
    assert [size for size, _ in snapshot.checkpoints][-1:] == ([len(leaves)] if leaves else [])
    assert len({entry.record_id for entry in snapshot.entries}) == len(leaves)
    return len(leaves)


# --- faults before and after every statement ---------------------------------------------------------------


def test_a_fault_at_any_statement_of_an_append_loses_and_doubles_nothing(store: DuckStore) -> None:
    store.append([_envelope(n) for n in range(255)], LOG)
    statements: list[str] = []
    with watched(before=statements.append):
        DuckStore(store.path, ORIGIN).append([_envelope(900)], LOG, _passed, seen=NONE_SEEN)
    assert any("INSERT INTO tiles" in statement for statement in statements)
    assert statements[-2:] == ["COMMIT", "DETACH ledger"]

    held = 256
    for at in range(1, len(statements) + 1):
        for after in (False, True):
            new = _envelope(1000 + 2 * at + after)
            numbers = iter(range(1, 10_000))
            with faulty(lambda _, at=at, numbers=numbers: next(numbers) == at, after=after):  # type: ignore[misc]
                writer = DuckStore(store.path, ORIGIN)
                try:
                    writer.append([new], LOG, _passed, seen=NONE_SEEN)
                    acknowledged = True
                except StorageError:
                    acknowledged = False
            size = _whole(store)
            committed = at > len(statements) - 1 or (after and at == len(statements) - 1)
            assert size == held + (1 if acknowledged or size > held else 0)
            assert not acknowledged or size == held + 1
            assert size == held or committed or acknowledged, statements[at - 1]
            # Repeating is always safe, also for who met the fault, and afterwards the record is there once.
            (entry,) = writer.append([new], LOG, _passed, seen=NONE_SEEN)
            held += 1
            assert entry.index == held - 1
            assert _whole(store) == held


# --- disks ---------------------------------------------------------------------------------------------------


_UNTIL_FULL = """
import resource, signal, sys
from pathlib import Path
from placet.domain.errors import StorageError
from placet.ledger.store import DuckStore
from tests.integration.test_ledger_faults import LOG, _envelope

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = DuckStore(Path(sys.argv[1]), "placet.dev/acme")
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for number in range(10_000):
    try:
        (entry,) = store.append([_envelope(number, "w" * 20_000)], LOG)
    except StorageError as error:
        print("full", error.message, flush=True)
        sys.exit(0)
    print(entry.index, flush=True)
"""


def test_a_disk_that_fills_up_keeps_every_acknowledged_record(store: DuckStore) -> None:
    """No file may grow beyond so many bytes: what a writer meets at the end of a disk."""
    limit = store.path.stat().st_size + 1_500_000
    done = subprocess.run(
        [sys.executable, "-c", _UNTIL_FULL, str(store.path), str(limit)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )

    assert done.returncode == 0, done.stderr
    *indices, last = done.stdout.splitlines()
    assert last.startswith("full the ledger file refused"), done.stdout[-300:]
    assert [int(index) for index in indices] == list(range(len(indices)))
    assert indices
    size = _whole(store)
    assert size in {len(indices), len(indices) + 1}
    assert store.append([_envelope(99_999)], LOG)[0].index == size


def _mounted(folder: Path, options: str) -> bool:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    if not _mounted(folder, "size=3m"):
        pytest.skip("no file system can be mounted here: needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_keeps_every_acknowledged_record(small_disk: Path) -> None:
    store = DuckStore(small_disk / "ledger.duckdb", ORIGIN)
    store.create()
    acknowledged = 0
    try:
        for number in range(1000):
            store.append([_envelope(number, "w" * 20_000)], LOG)
            acknowledged += 1
    except StorageError:
        pass
    assert acknowledged < 1000
    assert acknowledged
    # Room again: all is there, and it goes on.
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    assert _whole(store) in {acknowledged, acknowledged + 1}
    store.append([_envelope(number) for number in range(5000, 5010)], LOG)
    assert _whole(store) >= acknowledged + 10


def test_a_read_only_disk_is_read_and_refuses_to_be_written(small_disk: Path) -> None:
    store = DuckStore(small_disk / "ledger.duckdb", ORIGIN, wait_s=1)
    store.create()
    store.append([_envelope(n) for n in range(3)], LOG)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    assert _whole(store) == 3
    with pytest.raises(StorageError):
        store.append([_envelope(9)], LOG)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert store.append([_envelope(9)], LOG)[0].index == 3


# --- clocks and kills ----------------------------------------------------------------------------------------


def test_a_clock_set_back_adds_records_loses_nothing_and_shows(tmp_path: Path) -> None:
    made = released_office(tmp_path / "office")
    before = made.office.store.size()
    made.sample.clock.advance(days=-400)

    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
    offices.add_base(made.sample, "another-base")

    assert made.office.store.size() == before + 2
    (finding,) = made.office.audit().findings
    assert (finding.id, finding.index) == ("dated-back", before)
    assert f"399 days before record {before - 1} (release by rhea)" in finding.message


def test_a_clock_set_back_revives_no_approval(tmp_path: Path) -> None:
    made = released_office(tmp_path / "office")
    made.sample.clock.advance(days=200)  # the approvals lapsed after 90
    offices.add_intake(made.sample, made.walk.adapter, made.walk.base)
    case = load_case(made.office.reader(), made.walk.ref.id)
    made.sample.clock.advance(days=-190)

    approval = approval_of(made.office, case)
    assert not approval.approved
    assert any("it expired at 2026-05-31" in item for item in approval.missing), approval.missing
    with pytest.raises(RefusedError, match="this machine's clock says 2026-03-12") as caught:
        offices.release(made.sample, made.walk.ref, "production")
    assert "set the clock" in caught.value.hint


def test_a_release_dated_back_past_the_desk_revives_no_approval(tmp_path: Path) -> None:
    made = released_office(tmp_path / "office")
    made.sample.clock.advance(days=200)
    offices.add_intake(made.sample, made.walk.adapter, made.walk.base)
    made.sample.clock.advance(days=-190)
    record = made.released.record.model_copy(
        update={"channel": "production", "released_at": made.sample.clock()}
    )
    subjects = made.released.statement.subjects
    late = made.sample.record(Kind.RELEASE, record, subjects, made.sample.signers["rhea"])

    found = {item.id: item.message for item in made.office.audit().findings if item.index == late.index}

    assert found.keys() == {"dated-back", "unallowed-release"}
    assert "it expired at 2026-05-31" in found["unallowed-release"]


def test_the_queue_does_not_ask_the_wall_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Queue(tmp_path / "queue")
    with queue.ticket(writes=True) as first:
        monkeypatch.setattr(time, "time", lambda: 0.0)
        with queue.ticket(writes=True) as second:
            assert first is not None
            assert second is not None
            assert first.is_next()
            assert not second.is_next()
        assert first.is_next()


@pytest.mark.slow
def test_writers_killed_at_random_points_lose_tear_and_double_nothing(tmp_path: Path) -> None:
    outcome = Kills(tmp_path, LOG, ADA, writers=4, seed=7).run(kills=20, holders=8)

    assert (outcome.lost, outcome.torn, outcome.doubled, outcome.failed) == (0, 0, 0, 0), outcome
    assert outcome.holders >= 8
    assert outcome.acknowledged


# --- the queue and what is done for those who wait -----------------------------------------------------------


def _waiting(
    store: DuckStore, numbers: list[int], seen: Seen | None = NONE_SEEN
) -> tuple[threading.Thread, list[Any]]:
    """Append from another thread; returns once it stands in the queue."""
    results: list[Any] = []

    def run() -> None:
        other = DuckStore(store.path, ORIGIN, wait_s=20)
        try:
            results.append(other.append([_envelope(n) for n in numbers], LOG, _passed, seen=seen))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    before = _tickets(store)
    thread.start()
    while _tickets(store) == before:
        time.sleep(0.002)
    return thread, results


def _tickets(store: DuckStore) -> int:
    folder = store.path.with_name(store.path.name + ".queue")
    return sum(path.suffix in {".w", ".r"} for path in folder.iterdir()) if folder.exists() else 0


def test_the_holder_appends_what_others_wait_to_append_under_one_checkpoint(store: DuckStore) -> None:
    first = _envelope(0)
    threads: list[tuple[threading.Thread, list[Any]]] = []

    def draft(index: int) -> Envelope:
        # While this process holds the lock, two others come.
        threads.extend((_waiting(store, [1, 2]), _waiting(store, [3])))
        return first

    store.append([draft], LOG, _passed, seen=NONE_SEEN)
    for thread, _ in threads:
        thread.join(timeout=20)

    (a,), (b,) = (results for _, results in threads)
    assert [entry.index for entry in (*a, *b)] == [1, 2, 3]
    assert [entry.envelope for entry in a] == [_envelope(1).raw, _envelope(2).raw]
    assert [size for size, _ in store.checkpoint_notes()] == [4]
    assert _whole(store) == 4


def test_a_refused_request_is_told_why_and_does_not_harm_the_others(store: DuckStore) -> None:
    threads: list[tuple[threading.Thread, list[Any]]] = []

    def draft(index: int) -> Envelope:
        threads.extend((_waiting(store, [7, 13]), _waiting(store, [3])))
        return _envelope(0)

    def check(envelope: Envelope, index: int) -> None:
        if envelope.record_id == _envelope(13).record_id:
            raise NotAuthorizedError("not this one", hint="ask for the role")

    store.append([draft], LOG, check, seen=NONE_SEEN)
    for thread, _ in threads:
        thread.join(timeout=20)

    (refused,), (added,) = (results for _, results in threads)
    assert isinstance(refused, NotAuthorizedError)
    assert (refused.message, refused.hint) == ("not this one", "ask for the role")
    assert [entry.index for entry in added] == [1]
    assert _whole(store) == 2


def test_who_waits_with_another_view_of_the_roles_is_not_served_by_somebody_elses_check(
    store: DuckStore,
) -> None:
    threads: list[tuple[threading.Thread, list[Any]]] = []

    def draft(index: int) -> Envelope:
        threads.append(_waiting(store, [5], seen=Seen(NONE_SEEN.predicate_types, 1)))
        return _envelope(0)

    store.append([draft], LOG, _passed, seen=NONE_SEEN)
    threads[0][0].join(timeout=20)

    assert isinstance(threads[0][1][0], StaleError)
    assert _whole(store) == 1


def test_when_the_holders_transaction_fails_those_it_served_are_told_and_nothing_is_there(
    store: DuckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[tuple[threading.Thread, list[Any]]] = []
    real = duck_module.sign_checkpoint

    def draft(index: int) -> Envelope:
        threads.append(_waiting(store, [5]))
        return _envelope(0)

    def fails(*arguments: Any) -> Any:
        monkeypatch.setattr(duck_module, "sign_checkpoint", real)
        raise StorageError("the key's device is gone", hint="put it back")

    monkeypatch.setattr(duck_module, "sign_checkpoint", fails)
    with pytest.raises(StorageError, match="device is gone"):
        store.append([draft], LOG, _passed, seen=NONE_SEEN)
    threads[0][0].join(timeout=20)

    assert isinstance(threads[0][1][0], StorageError)
    assert _whole(store) == 0


def test_a_record_that_two_wait_to_append_is_added_once(store: DuckStore) -> None:
    threads: list[tuple[threading.Thread, list[Any]]] = []

    def draft(index: int) -> Envelope:
        threads.extend((_waiting(store, [5]), _waiting(store, [5, 6])))
        return _envelope(5)

    store.append([draft], LOG, _passed, seen=NONE_SEEN)
    for thread, _ in threads:
        thread.join(timeout=20)

    assert [[e.index for e in results[0]] for _, results in threads] == [[0], [0, 1]]
    assert _whole(store) == 2


def test_a_torn_request_is_left_alone(store: DuckStore) -> None:
    queue = Queue(store.path.with_name(store.path.name + ".queue"))
    with queue.ticket(writes=True, request=b'{"type":') as ticket:
        assert ticket is not None
        with ledger_lock(store.path.with_name("other.lock"), exclusive=True):
            pass
        claims = list(queue.claims())
        assert [claim.request for claim in claims] == [b'{"type":']
        queue.give_back(claims[0])
        assert ticket.withdraw()


def test_a_torn_answer_is_an_error_and_not_a_success(store: DuckStore, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no answer that makes sense"):
        duck_module.parse_answer(b'{"entries": [[0, "AAAA"]]}', [_envelope(0)])
    with pytest.raises(StorageError, match="no answer that makes sense"):
        duck_module.parse_answer(b"{", [_envelope(0)])


def test_dead_processes_tickets_do_not_hold_anybody_up(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    queue = Queue(tmp_path / "x.queue")
    child = os.fork()
    if not child:
        with queue.ticket(writes=True, request=b"r"):
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert queue.anybody()

    with ledger_lock(path, exclusive=True, wait_s=2):
        pass
    with ledger_lock(path, exclusive=False, wait_s=2):
        pass
    assert not queue.anybody()


def test_a_writer_is_not_passed_by_readers_that_keep_coming(tmp_path: Path) -> None:
    path, stop = tmp_path / "x.lock", threading.Event()

    def read() -> None:
        while not stop.is_set():
            with ledger_lock(path, exclusive=False):
                time.sleep(0.02)

    readers = [threading.Thread(target=read) for _ in range(6)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(5):
            with ledger_lock(path, exclusive=True, wait_s=5):
                pass
    finally:
        stop.set()
        for reader in readers:
            reader.join()


def test_whoever_came_first_is_served_first(tmp_path: Path) -> None:
    path, order = tmp_path / "x.lock", list[int]()

    def write(number: int) -> None:
        with ledger_lock(path, exclusive=True, wait_s=10):
            order.append(number)

    threads = []
    folder = tmp_path / "x.queue"
    with ledger_lock(path, exclusive=True):
        for number in range(6):
            threads.append(threading.Thread(target=write, args=(number,)))
            threads[-1].start()
            while not folder.exists() or len(list(folder.glob("[0-9]*.w"))) <= number:
                time.sleep(0.002)
    for thread in threads:
        thread.join(timeout=10)
    assert order == list(range(6))


def test_a_request_that_was_taken_on_and_never_answered_is_said_to_be_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from placet.ledger import lock as lock_module

    monkeypatch.setattr(lock_module, "_CLAIMED_WAIT_S", 0.2)
    path, queue = tmp_path / "x.lock", Queue(tmp_path / "x.queue")
    failures: list[LedgerBusyError] = []

    def wait() -> None:
        try:
            with ledger_turn(path, exclusive=True, wait_s=0.3, request=b"r"):
                pass
        except LedgerBusyError as error:
            failures.append(error)

    with ledger_lock(path, exclusive=True):
        thread = threading.Thread(target=wait)
        thread.start()
        while not queue.anybody():
            time.sleep(0.002)
        list(queue.claims())
        thread.join(timeout=10)
    assert "has not said how it went" in failures[0].hint


# --- groups of queries ---------------------------------------------------------------------------------------


def test_a_group_of_queries_opens_the_file_once(store: DuckStore) -> None:
    store.append([_envelope(n) for n in range(3)], LOG)
    statements: list[str] = []
    with watched(before=statements.append):
        store = DuckStore(store.path, ORIGIN)
        store.size()

    def count() -> int:
        return sum(statement.startswith("ATTACH") for statement in statements) - 1

    with store.reading():
        for n in range(3):
            assert store.entries(n, n + 1)
        with store.reading():
            assert store.latest_checkpoint()
    assert count() == 1
    assert store.size() == 3
    assert count() == 2


def test_an_append_inside_a_group_lets_go_of_the_connection_first(store: DuckStore) -> None:
    with store.reading():
        assert store.size() == 0
        store.append([_envelope(0)], LOG)
        assert store.size() == 1
    assert DuckStore(store.path, ORIGIN, wait_s=1).size() == 1


def test_a_group_belongs_to_its_thread(store: DuckStore) -> None:
    store.append([_envelope(0)], LOG)
    sizes: list[int] = []
    with store.reading():
        assert store.size() == 1
        thread = threading.Thread(target=lambda: sizes.append(store.size()))
        thread.start()
        thread.join(timeout=10)
        assert sizes == [1]
    assert store._shared.tables is None


# --- ledgers of earlier versions -----------------------------------------------------------------------------


def _first_form(path: Path, count: int) -> None:
    """Make a ledger as the first version did: one table of records and one of subjects, no tiles."""
    from placet.ledger.checkpoint import sign_checkpoint
    from placet.ledger.store.tables import migrations

    leaves: list[bytes] = []
    with duckdb.connect(str(path)) as db:
        db.execute(migrations()[0].sql)
        for number in range(count):
            item = _envelope(number)
            leaves.append(leaf_hash(item.raw))
            db.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?)", [number, item.record_id, leaves[-1], item.raw]
            )
            db.execute("INSERT INTO records VALUES (?, ?, ?)", [number, TYPE, item.key_id])
            db.execute("INSERT INTO subjects VALUES (?, 'x', ?)", [number, digest_bytes(b"x")])
        note = sign_checkpoint(ORIGIN, count, tree_root(leaves), LOG).note
        db.execute("INSERT INTO checkpoints VALUES (?, ?)", [count, note])


@pytest.mark.parametrize("first", ["read", "append"])
def test_a_ledger_of_the_first_form_is_brought_up_to_date_in_place(tmp_path: Path, first: str) -> None:
    path = tmp_path / "ledger.duckdb"
    _first_form(path, 300)
    store = DuckStore(path, ORIGIN)

    if first == "read":
        assert len(store.find(subject=digest_bytes(b"x"))) == 300
    assert store.append([_envelope(1000)], LOG)[0].index == 300
    assert _whole(store) == 301


def test_a_ledger_of_the_first_form_that_was_tampered_with_is_not_built_upon(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    _first_form(path, 5)
    with duckdb.connect(str(path)) as db:
        db.execute("DELETE FROM entries WHERE idx = 4")

    with pytest.raises(IntegrityError, match="does not match its last checkpoint"):
        DuckStore(path, ORIGIN).append([_envelope(9)], LOG)


def test_a_ledger_of_a_later_form_says_so(store: DuckStore) -> None:
    with duckdb.connect(str(store.path)) as db:
        db.execute("INSERT INTO migrations VALUES (4)")

    for call in (store.entries, lambda: store.append([_envelope(0)], LOG)):
        with pytest.raises(StorageError, match="form 4, this Placet knows up to 3") as caught:
            call()
        assert "newer Placet" in caught.value.hint
