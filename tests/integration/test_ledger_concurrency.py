"""Several real processes on one ledger: nothing acknowledged is lost, nothing is torn, nothing is there twice."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import Kind, Role
from placet.attest.statement import parse_statement
from placet.domain.errors import LedgerBusyError, NotAuthorizedError, StorageError
from placet.domain.records import Base
from placet.ledger.checkpoint import verify_checkpoint
from placet.ledger.lock import ledger_lock
from placet.ledger.merkle import leaf_hash, tree_root
from placet.ledger.store import DuckStore
from placet.office import Office, TrustDesk
from tests.support import offices
from tests.support.offices import released_office, signer_named

ROOT = Path(__file__).resolve().parents[2]
PYTHONPATH = os.pathsep.join((str(ROOT / "platform"), str(ROOT)))
ORIGIN = "placet.dev/acme"
LOG = signer_named("log")

# Appends records named WRITER-0, WRITER-1, … and prints each index once it is acknowledged.
WRITER = """
import json, sys, time
from pathlib import Path
from placet.attest.envelope import sign_statement
from placet.attest.statement import Subject, build_statement
from placet.domain.digests import digest_bytes
from placet.ledger.store import DuckStore
from tests.support.offices import signer_named

path, writer, count, batch, hold_at = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
store = DuckStore(Path(path), "placet.dev/acme", wait_s=60)

def envelope(number):
    subject = Subject("x", digest_bytes(b"x"))
    statement = build_statement("https://placet.dev/test/v1", (subject,), {"writer": writer, "number": number})
    return sign_statement(statement, signer_named("ada"))

def check(item, index):
    if number == hold_at:
        print("holding", flush=True)
        time.sleep(600)

print("ready", flush=True)
sys.stdin.readline()
for number in range(0, count, batch):
    entries = store.append([envelope(n) for n in range(number, number + batch)], signer_named("log"), check)
    print(json.dumps([[writer, number + n, entry.index] for n, entry in enumerate(entries)]), flush=True)
"""


@contextmanager
def _writers(path: Path, *arguments: tuple[str, int, int, int]) -> Iterator[list[subprocess.Popen[str]]]:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), *map(str, argument)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        for argument in arguments
    ]
    try:
        for process in running:
            assert process.stdout
            assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        for process in running:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _acknowledged(lines: Sequence[str]) -> dict[tuple[str, int], int]:
    done: dict[tuple[str, int], int] = {}
    for line in lines:
        if line.startswith("["):
            done.update({(writer, number): index for writer, number, index in json.loads(line)})
    return done


def _held(store: DuckStore) -> dict[tuple[str, int], int]:
    """Return (writer, number) → index of all records, after checking that the log is whole."""
    snapshot = store.snapshot()
    leaves = [leaf_hash(entry.envelope) for entry in snapshot.entries]
    assert [entry.index for entry in snapshot.entries] == list(range(len(leaves)))
    assert [entry.leaf for entry in snapshot.entries] == leaves
    assert len({entry.record_id for entry in snapshot.entries}) == len(leaves)
    assert len(snapshot.derived) == len(leaves)
    for size, note in snapshot.checkpoints:
        checkpoint = verify_checkpoint(note, ORIGIN, LOG.public)
        assert (checkpoint.size, checkpoint.root) == (size, tree_root(leaves[:size]))
    assert not leaves or snapshot.checkpoints[-1][0] == len(leaves)
    held = {}
    for entry in snapshot.entries:
        predicate = parse_statement(parse_envelope(entry.envelope).payload).predicate
        held[(predicate["writer"], predicate["number"])] = entry.index
    return held


@pytest.fixture
def store(tmp_path: Path) -> DuckStore:
    made = DuckStore(tmp_path / "ledger.duckdb", ORIGIN, wait_s=20)
    made.create()
    return made


def test_several_processes_append_side_by_side(store: DuckStore) -> None:
    done: dict[tuple[str, int], int] = {}
    with _writers(store.path, *((f"w{n}", 6, 2, -1) for n in range(3))) as running:
        for process in running:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            done |= _acknowledged(out.splitlines())

    assert len(done) == 18
    assert _held(store) == done


def test_processes_that_append_the_same_records_add_them_once(store: DuckStore) -> None:
    answers = []
    with _writers(store.path, *(("same", 6, 1, -1) for _ in range(3))) as running:
        for process in running:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            answers.append(_acknowledged(out.splitlines()))

    assert answers[0] == answers[1] == answers[2] == _held(store)
    assert len(answers[0]) == 6


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


def test_a_wait_is_bounded_and_the_message_names_the_holder(store: DuckStore) -> None:
    with _writers(store.path, ("slow", 1, 1, 0)) as (process,):
        assert _line(process) == "holding\n"
        hasty = DuckStore(store.path, ORIGIN, wait_s=0.3)

        for call in (hasty.entries, lambda: hasty.append([], LOG)):
            start = time.monotonic()
            with pytest.raises(
                LedgerBusyError, match=rf"held by process {process.pid} \(.*waited 0\.3 s"
            ) as caught:
                call()
            assert 0.25 < time.monotonic() - start < 3
            assert "nothing of yours was lost" in caught.value.hint


def test_a_holder_that_is_killed_lets_go_and_leaves_nothing_half_written(store: DuckStore) -> None:
    with _writers(store.path, ("killed", 6, 3, 3)) as (process,):
        first = _line(process)
        assert _line(process) == "holding\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)

    assert _held(store) == _acknowledged([first]) == {("killed", n): n for n in range(3)}
    with _writers(store.path, ("killed", 6, 3, -1)) as (again,):
        out, err = again.communicate(timeout=60)
        assert again.returncode == 0, err
    assert _held(store) == _acknowledged(out.splitlines()) == {("killed", n): n for n in range(6)}


def test_writers_killed_at_any_point_lose_nothing_that_was_acknowledged(store: DuckStore) -> None:
    done: dict[tuple[str, int], int] = {}
    for turn in range(4):
        with _writers(store.path, (f"a{turn}", 400, 1, -1), (f"b{turn}", 400, 2, -1)) as (first, second):
            time.sleep(0.15 + 0.13 * turn)
            for process in (first, second):
                process.send_signal(signal.SIGKILL)
            for process in (first, second):
                out, _ = process.communicate(timeout=10)
                # A line torn by the kill was not acknowledged.
                done |= _acknowledged(out.split("\n")[:-1])
        held = _held(store)
        assert done.items() <= held.items()
    assert done, "no writer got as far as one record"


KILLED_AT = """
import os, signal, sys
from tests.support.connections import watched

def kill(statement):
    if "COMMIT" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

listening = watched(**{sys.argv[6]: kill})
listening.__enter__()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_writer_killed_around_its_commit_leaves_all_or_nothing(store: DuckStore, when: str) -> None:
    command = [sys.executable, "-c", KILLED_AT + WRITER, str(store.path), "killed", "2", "2", "-1", when]
    done = subprocess.run(
        command,
        input="go\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
    )

    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(_held(store)) == (2 if when == "after" else 0)
    with _writers(store.path, ("killed", 2, 1, -1)) as (again,):
        out, err = again.communicate(timeout=60)
        assert again.returncode == 0, err
    assert _held(store) == _acknowledged(out.splitlines()) == {("killed", n): n for n in range(2)}


# --- the lock by itself ------------------------------------------------------------------------------------


def _try_writing(path: Path) -> None:
    with ledger_lock(path, exclusive=True, wait_s=0.05):
        pass


def test_readers_share_and_a_writer_waits_for_them(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        ledger_lock(path, exclusive=False),
        ledger_lock(path, exclusive=False, wait_s=0),
        pytest.raises(LedgerBusyError),
    ):
        _try_writing(path)
    _try_writing(path)


def test_a_writer_that_is_done_is_not_named_as_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with suppress(RuntimeError), ledger_lock(path, exclusive=True):
        assert f"process {os.getpid()}" in path.read_text()
        raise RuntimeError

    with ledger_lock(path, exclusive=False), pytest.raises(LedgerBusyError, match="held by another process"):
        _try_writing(path)


@pytest.mark.parametrize("there", [True, False])
def test_on_a_read_only_disk_readers_get_in_and_writers_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    path, real = tmp_path / "lock", os.open
    if there:
        path.touch()

    def read_only(name: Path, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system")
        return real(name, flags, mode)

    monkeypatch.setattr(os, "open", read_only)
    with ledger_lock(path, exclusive=False), ledger_lock(path, exclusive=False):
        pass
    with pytest.raises(StorageError, match="Read-only file system"):
        _try_writing(path)


def test_a_waiting_process_gets_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    got = threading.Event()

    def wait() -> None:
        with ledger_lock(path, exclusive=True, wait_s=5):
            got.set()

    with ledger_lock(path, exclusive=True):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not got.wait(0.1)
    waiting.join(timeout=5)
    assert got.is_set()


# --- an office used by several at once ---------------------------------------------------------------------


def _between(monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    """Let `what` happen once, after the next append has looked at the log and before it takes the lock."""
    real = DuckStore.append
    todo = [what]

    def append(self: DuckStore, *arguments: Any, **options: Any) -> Any:
        if todo:
            todo.pop()()
        return real(self, *arguments, **options)

    monkeypatch.setattr(DuckStore, "append", append)


def test_a_grant_made_while_others_append_starts_where_it_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = released_office(tmp_path / "office")
    _between(monkeypatch, lambda: offices.add_base(made.sample, "another-base"))

    offices.add_person(made.sample, "cleo", Role.APPROVER)

    grant = made.office.reader().trust.roles.grants[-1]
    assert (grant.person, grant.valid_from) == ("cleo", len(made.office.store.entries()) - 1)
    assert made.office.audit().whole


def test_two_grants_at_once_are_both_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = released_office(tmp_path / "office")
    _between(monkeypatch, lambda: offices.add_person(made.sample, "dora", Role.RELEASER))

    offices.add_person(made.sample, "cleo", Role.APPROVER)

    assert [grant.person for grant in made.office.reader().trust.roles.grants][-2:] == ["dora", "cleo"]
    assert made.office.audit().whole


def test_a_grant_ended_while_others_append_ends_where_it_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = released_office(tmp_path / "office")
    _between(monkeypatch, lambda: offices.add_base(made.sample, "another-base"))

    assert TrustDesk(made.office).end_grants(signer_named("ada").public.key_id) == 1

    assert made.office.audit().whole
    ended = next(g for g in made.office.reader().trust.roles.grants if g.person == "ada")
    assert ended.valid_until == len(made.office.store.entries()) - 1


def test_a_key_that_is_ended_meanwhile_signs_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = released_office(tmp_path / "office")
    before = len(made.office.store.entries())
    _between(monkeypatch, lambda: TrustDesk(made.office).end_grants(signer_named("sam").public.key_id))
    adapter = offices.make_adapter(made.sample, "late")

    with pytest.raises(NotAuthorizedError, match="the key of sam may not sign as submitter"):
        offices.add_submission(made.sample, adapter, made.walk.base)

    assert len(made.office.store.entries()) == before + 1
    assert made.office.audit().whole


def test_a_key_that_is_granted_meanwhile_may_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = released_office(tmp_path / "office")
    made.sample.signers["sue"] = signer_named("sue")
    _between(
        monkeypatch,
        lambda: TrustDesk(made.office).grant(signer_named("sue").public, "sue", (Role.SUBMITTER,)),
    )
    adapter = offices.make_adapter(made.sample, "late")

    assert offices.add_submission(made.sample, adapter, made.walk.base, signer="sue").person == "sue"
    assert made.office.audit().whole


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    made = released_office(tmp_path / "office")
    before = len(made.office.store.entries())
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            office = Office.open(made.office.home, ask=lambda _: offices.PASSPHRASE, clock=made.sample.clock)
            office.opened.update(made.office.opened)
            sample = offices.SampleOffice(
                office, offices.FixedClock(made.sample.clock.now), made.sample.signers
            )
            for number in range(3):
                offices.add_base(sample, f"{name}-{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert not failures
    assert len(made.office.store.entries()) == before + 9
    assert len(made.office.reader().find(Kind.BASE, Base)) == 10
    assert made.office.audit().whole
