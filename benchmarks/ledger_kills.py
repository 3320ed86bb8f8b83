"""Writers that are killed at random points: is anything of their ledger lost, torn or there twice?

:class:`Kills` is about a log in a DuckDB file, :class:`PostgresKills` about one in PostgreSQL.

Writers are forked from this process, so that a killed one is back at work within milliseconds. Each writes a line for
every record that was acknowledged, before it goes on to the next; so what the lines say was acknowledged. A kill of
the lock's holder stops the process first and makes sure that it is the holder while it stands still.
"""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from placet.attest.envelope import Envelope, parse_envelope, sign_statement
from placet.attest.keys import LocalSigner
from placet.attest.root import TrustRoot
from placet.attest.statement import Subject, build_statement, parse_statement
from placet.domain.digests import digest_bytes
from placet.ledger.checkpoint import verify_checkpoint
from placet.ledger.derived import derive
from placet.ledger.merkle import GrowingTree, leaf_hash
from placet.ledger.store import DuckStore, LedgerStore, Seen
from placet.ledger.store.postgres import PostgresStore
from placet.ledger.tiles import build_tiles

ORIGIN = "placet.dev/kills"
TYPE = "https://placet.dev/test/v1"
SEEN = Seen(("https://placet.dev/roles/v1",), 0)


@dataclass
class Outcome:
    """What a run of kills came to. All of `lost`, `torn`, `doubled`, `failed` must be 0."""

    kills: int = 0
    holders: int = 0
    acknowledged: int = 0
    durable: int = 0
    lost: int = 0
    torn: int = 0
    doubled: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass
class Writer:
    """One writer's name, its process now, and how often it was started."""

    name: str
    pid: int = 0
    starts: int = 0


def envelope(signer: LocalSigner, writer: str, number: int) -> Envelope:
    subject = Subject("x", digest_bytes(writer.encode()))
    return sign_statement(build_statement(TYPE, (subject,), {"writer": writer, "number": number}), signer)


@dataclass
class Kills:
    """Runs writers on a ledger and kills them."""

    folder: Path
    log: LocalSigner
    signer: LocalSigner
    writers: int = 8
    seed: int = 1
    running: list[Writer] = field(default_factory=list)
    holding_s: float = 0.03

    origin: str = ORIGIN
    seen: Seen = SEEN

    @property
    def store(self) -> LedgerStore:
        return DuckStore(self.folder / "ledger.duckdb", ORIGIN, wait_s=120)

    def create(self) -> None:
        """Make the ledger if it is not there."""
        store = self.store
        if isinstance(store, DuckStore) and not store.path.exists():
            store.create()

    def holder(self) -> int | None:
        """Return the process that has the lock, if one has."""
        with suppress(OSError, ValueError, IndexError):
            return int((self.folder / "ledger.duckdb.lock").read_text().split()[1])
        return None

    def run(self, kills: int, holders: int, limit_s: float = float("inf")) -> Outcome:
        """Kill so many times, at least `holders` of them the process that has the lock, and look at what is left.

        After `limit_s` seconds it is looked at what as many kills as there were until then left.
        """
        rng, outcome, started = random.Random(self.seed), Outcome(), time.monotonic()
        self.create()
        self.running = [Writer(f"w{number}") for number in range(self.writers)]
        try:
            for writer in self.running:
                self._start(writer)
            while outcome.kills < kills or outcome.holders < holders:
                if time.monotonic() - started > limit_s:
                    break
                time.sleep(rng.uniform(0.0, 0.04))
                wanted = outcome.holders < holders and rng.random() < 1.3 * holders / kills
                victim = self._stopped_holder() if wanted else rng.choice(self.running)
                if victim is None:
                    continue
                # A writer that ended by itself met an error, which it printed.
                outcome.failed += os.waitpid(victim.pid, os.WNOHANG)[0] != 0
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(victim.pid, signal.SIGKILL)
                    os.waitpid(victim.pid, 0)
                outcome.kills += 1
                outcome.holders += wanted
                self._start(victim)
            # On a busy machine all may have been killed before any got its turn.
            deadline = time.monotonic() + 60
            while not self._any_acknowledged() and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            for writer in self.running:
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(writer.pid, signal.SIGKILL)
                    os.waitpid(writer.pid, 0)
        self._look(outcome)
        outcome.seconds = time.monotonic() - started
        return outcome

    def _any_acknowledged(self) -> bool:
        return any(path.stat().st_size for path in self.folder.glob("*.acknowledged"))

    def _start(self, writer: Writer) -> None:
        writer.starts += 1
        writer.pid = os.fork()
        if not writer.pid:
            try:
                self._work(writer)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)

    def _work(self, writer: Writer) -> None:
        path = self.folder / f"{writer.name}.acknowledged"
        store, handle = self.store, os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        # Begins with what was on its way when the process before it was killed: that may be in the log already.
        number = path.read_bytes().count(b"\n")
        while True:
            batch = 1 + number % 3
            made = [envelope(self.signer, writer.name, number + i) for i in range(batch)]
            entries = store.append(made, self.log, lambda item, index: None, seen=self.seen)
            os.write(handle, b"".join(b"%d %d\n" % (number + i, e.index) for i, e in enumerate(entries)))
            number += batch

    def _stopped_holder(self) -> Writer | None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            pid = self.holder()
            found = next((writer for writer in self.running if writer.pid == pid), None)
            if pid is not None and found is not None:
                time.sleep(random.uniform(0, self.holding_s))
                with suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
                    os.waitpid(pid, os.WUNTRACED)
                    if self.holder() == pid:
                        return found
                    os.kill(pid, signal.SIGCONT)
        return None

    def _look(self, outcome: Outcome) -> None:
        acknowledged: dict[tuple[str, int], int] = {}
        for writer in self.running:
            path = self.folder / f"{writer.name}.acknowledged"
            # A line that a kill cut off was not written whole, so nobody was told.
            for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else ():
                number, index = line.split()
                acknowledged[writer.name, int(number)] = int(index)
        snapshot, tree = self.store.snapshot(), GrowingTree()
        held: dict[tuple[str, int], list[int]] = {}
        roots = {0: tree.root()}
        for entry in snapshot.entries:
            roots[tree.size] = tree.root()
            outcome.torn += entry.leaf != leaf_hash(entry.envelope) or entry.index != tree.size
            tree.add(entry.leaf)
            if derive(entry.index, entry.envelope).predicate_type != TYPE:
                continue
            predicate = parse_statement(parse_envelope(entry.envelope).payload).predicate
            held.setdefault((predicate["writer"], predicate["number"]), []).append(entry.index)
        roots[tree.size] = tree.root()
        outcome.torn += snapshot.derived != tuple(derive(e.index, e.envelope) for e in snapshot.entries)
        tiles = build_tiles([entry.leaf for entry in snapshot.entries])
        outcome.torn += sorted(snapshot.tiles, key=str) != sorted(tiles, key=str)
        for size, note in snapshot.checkpoints:
            checkpoint = verify_checkpoint(note, self.origin, self.log.public)
            outcome.torn += (checkpoint.size, checkpoint.root) != (size, roots.get(size))
        outcome.torn += bool(snapshot.entries) and snapshot.checkpoints[-1][0] != len(snapshot.entries)
        outcome.acknowledged, outcome.durable = len(acknowledged), len(snapshot.entries)
        outcome.lost = sum(held.get(key, []) != [index] for key, index in acknowledged.items())
        outcome.doubled = sum(len(found) > 1 for found in held.values())


@dataclass
class PostgresKills(Kills):
    """Kills writers of an office's log in PostgreSQL: those that wait there, and the one that has the head."""

    dsn: str = ""
    root: TrustRoot | None = None
    watch: psycopg.Connection | None = None

    @property
    def store(self) -> PostgresStore:
        assert self.root is not None
        index = DuckStore(self.folder / "ledger.duckdb", self.origin, wait_s=120)
        # The process is told by its connection's name.
        return PostgresStore(
            f"{self.dsn} application_name=placet-{os.getpid()}", index, self.root, wait_s=120
        )

    def create(self) -> None:
        """The office made it."""

    def holder(self) -> int | None:
        """Return the process that has the head's lock, if one has."""
        query = (
            "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND granted AND application_name LIKE 'placet-%%'"
        )
        if self.watch is None:  # one connection for all looks; writers that inherit its handle never use it
            self.watch = psycopg.connect(self.dsn, autocommit=True)
        row = self.watch.execute(query).fetchone()
        return None if row is None else int(row[0].removeprefix("placet-"))

    def _look(self, outcome: Outcome) -> None:
        super()._look(outcome)
        store = self.store
        outcome.torn += len(list(store.differences(store.size())))
        outcome.torn += store.remote_size() != store.size()
