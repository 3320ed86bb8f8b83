"""The ledger: appending by several processes, in batches and under kills, proofs, and the audit of a large log.

``python -m benchmarks.ledger append postgres batch proof audit kills postgres-kills`` runs what it is told (all by
default). The log `proof` and `audit` read is made once in ``--folder`` and used again; its records are well-formed,
signed evaluation results of about 2.1 KB with the plans they ran under.

The audit is compared with a bare loop over the same signatures: as many processes as the audit uses, each with the
messages, signatures and opened keys in memory, doing nothing but verify. Both are run in turn, several times, and the
ratio is that of the medians, so that other work on the machine weighs on both.

What this does not show: power cuts (a killed process loses nothing that the kernel has), and other disks.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from placet.attest.draw import draw_order, sign_draw
from placet.attest.envelope import PAYLOAD_TYPE, Envelope, parse_envelope, pre_authentication_encoding
from placet.attest.keys import LocalSigner
from placet.attest.predicates import Kind, spec_for_type
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import Digest, digest_bytes
from placet.domain.records import (
    AdapterRef,
    BaseRef,
    EngineInfo,
    LedgerHead,
    Measurement,
    Plan,
    PlannedSuite,
    PolicyRef,
    Stage,
    SuiteRef,
)
from placet.ledger.audit import Scope, audit
from placet.ledger.audit.verifier import Verifier
from placet.ledger.checkpoint import verify_log_checkpoint
from placet.ledger.derived import predicate_type_of
from placet.ledger.merkle import GrowingTree, leaf_hash, verify_inclusion
from placet.ledger.reader import load_trust, seen_in
from placet.ledger.store import DuckStore, Seen
from placet.office import EVALUATOR_KEY, LOG_KEY, Office, create_office, migrate_ledger
from tests.support.postgres import new_database, server

ROOT = Path(__file__).resolve().parents[1]
PASSPHRASE = "a benchmark's passphrase"  # noqa: S105 - of keys that are made for one run
NOW = datetime(2026, 11, 1, tzinfo=UTC)
ENGINE = EngineInfo(
    name="placet",
    version="0.1.0",
    dtype="float32",
    device="cpu",
    layout="packed-v1",
    libraries={"torch": "2.13.0"},
)
SUITE = SuiteRef(id="support-desk", version="1", digest=digest_bytes(b"suite"))
BASE = BaseRef(id=digest_bytes(b"base"), label="base")


def new_office(folder: Path) -> Office:
    return create_office(folder, "Bench", ask=lambda _: PASSPHRASE)


def open_office(folder: Path) -> Office:
    return Office.open(folder, ask=lambda _: PASSPHRASE)


class Results:
    """Makes signed evaluation results: well-formed records whose digests and figures differ."""

    def __init__(self, office: Office, seed: str = "") -> None:
        signer = office.signer(EVALUATOR_KEY)
        assert isinstance(signer, LocalSigner)
        self.signer, self.seed = signer, seed
        self.key_id = signer.public.key_id
        self.plan: Envelope | None = None

    def plan_for(self, number: int, head: LedgerHead) -> Envelope:
        weights = digest_bytes(f"{self.seed} weights {number}".encode())
        adapter = AdapterRef(id=digest_bytes(weights.encode()), weights_id=weights, label=f"adapter {number}")
        draw = sign_draw(head, self.signer)
        samples = draw_order(60, 60, head.root, draw, SUITE.digest)
        plan = Plan(
            adapter=adapter,
            base=BASE,
            policy=PolicyRef(id="default", version="1", digest=digest_bytes(b"policy")),
            suites=(PlannedSuite(suite=SUITE, stage=Stage.EVALUATION, documents=60, samples=samples),),
            engine=ENGINE,
            head=head,
            draw=draw,
            planned_at=NOW,
        )
        subjects = (Subject(adapter.label, adapter.id), Subject("weights", weights))
        envelope = sign_record(Kind.PLAN, plan, subjects, self.signer)
        result = Measurement(
            subject=weights,
            subject_kind="adapter",
            base=BASE,
            stage=Stage.EVALUATION,
            suite=SUITE,
            metric="exact_match",
            higher_is_better=True,
            n=60,
            mean=0.5,
            samples=samples,
            rows_digest=Digest("sha256:" + "a" * 64),
            blob=Digest("sha256:" + "b" * 64),
            engine=ENGINE,
            plan=envelope.record_id,
            started_at=NOW,
            finished_at=NOW,
        )
        named = (Subject(adapter.label, weights), Subject(SUITE.id, SUITE.digest))
        template = sign_record(Kind.EVALUATION, result, named, self.signer).payload
        self._template = (
            template.replace(b'"0.5"', b'"0.%05d1"').replace(b"a" * 64, b"%s").replace(b"b" * 64, b"%s")
        )
        return envelope

    def result(self, number: int) -> Envelope:
        # Written from a template: what is measured is the ledger, not the making of records.
        blob, rows = (
            sha256(f"{self.seed} {what} {number}".encode()).hexdigest().encode() for what in ("b", "r")
        )
        payload = self._template % (blob, 10_000 + number % 80_000, rows)
        signature = self.signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
        raw = b'{"payload":"%s","payloadType":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}' % (
            base64.b64encode(payload),
            PAYLOAD_TYPE.encode(),
            self.key_id.removeprefix("sha256:").encode(),
            base64.b64encode(signature),
        )
        return Envelope(payload, self.key_id, signature, raw)

    def many(self, count: int, tree: GrowingTree, first: int = 0) -> list[Envelope]:
        """Return records that follow on the log of `tree`, to be appended at once: a plan, then results under it."""
        made: list[Envelope] = []
        for number in range(first, first + count):
            if not made:  # right behind the checkpoint that it names, as every plan is
                head = LedgerHead(size=tree.size, root=tree.root().hex())
                made.append(self.plan_for(number, head))
            else:
                made.append(self.result(number))
            tree.add(leaf_hash(made[-1].raw))
        return made


def roles_check(office: Office) -> tuple[Callable[[Envelope, int], None], Seen]:
    """Return a check of signature and role at the index, and what it rests on."""
    trust = office.reader().trust
    verifier = Verifier(trust)

    def check(envelope: Envelope, index: int) -> None:
        verifier.verify(envelope, index, spec_for_type(predicate_type_of(envelope.payload)))

    return check, seen_in(trust)


# --- a large log ---------------------------------------------------------------------------------------------


def large_log(folder: Path, records: int, batch: int = 5000) -> Office:
    """Return an office whose log has at least so many records, made now or before."""
    office = open_office(folder) if (folder / "office.json").exists() else new_office(folder)
    results, log = Results(office, "large"), office.signer(LOG_KEY)
    while (size := office.store.size()) < records:
        made = results.many(min(batch, records - size), _tree(office), size)
        office.store.append(made, log)
        print(f"\r  making the log: {size:,} of {records:,}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return office


def _tree(office: Office) -> GrowingTree:
    return GrowingTree(office.store.frontier(office.store.size()))


# --- appending -----------------------------------------------------------------------------------------------


def bench_batch(folder: Path, batches: int = 5, batch: int = 5000) -> dict[str, Any]:
    """Return how many records a second one append of many takes.

    The figure is that of :meth:`Office.append`, which checks each record's signature, role and form. Beside it, what
    the store does alone, and with every signature verified by OpenSSL on one core, which says how fast the machine is.
    """
    office = large_log(folder, 1)
    log, (check, seen) = office.signer(LOG_KEY), roles_check(office)
    rates: dict[str, list[float]] = {"office": [], "one core": [], "store": [], "one by one": []}
    for turn in range(batches):
        for how, found in rates.items():
            made = Results(office, f"{how} {turn} {time.time_ns()}").many(batch, _tree(office))
            start = time.perf_counter()
            if how == "office":
                office.append(made)
            elif how == "one core":
                with _on_one_core():
                    office.append(made)
            else:
                office.store.append(made, log, check if how == "one by one" else None, seen=seen)
            found.append(batch / (time.perf_counter() - start))
    return {
        "records in a batch": batch,
        "cores": len(os.sched_getaffinity(0)),
        "records/s, signature, role and form of each checked": statistics.median(rates["office"]),
        "the same, slowest batch": min(rates["office"]),
        "the same on one core": statistics.median(rates["one core"]),
        "records/s, store alone": statistics.median(rates["store"]),
        "records/s, store, signatures and roles one by one": statistics.median(rates["one by one"]),
    }


@contextmanager
def _on_one_core() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def bench_append(folder: Path, processes: int = 8, seconds: float = 15.0) -> dict[str, Any]:
    """Return what several processes that append one record at a time get, and how long each append takes."""
    large_log(folder, 1)
    return run_appenders(folder, processes, seconds)


def bench_postgres(folder: Path, processes: int = 8, seconds: float = 15.0) -> dict[str, Any]:
    """Return the same of a log in a PostgreSQL server of its own on loopback."""
    with server() as address:
        dsn = new_database(address)
        office = migrate_ledger(new_office(folder), dsn)
        assert office.store.size()
        before = _server_cpu_seconds(dsn)
        found = run_appenders(folder, processes, seconds)
        # Of the whole run, with each process's first append, the connections and the local indices.
        return found | {"server CPU s": _server_cpu_seconds(dsn) - before}


def _server_cpu_seconds(dsn: str) -> float:
    import psycopg

    with psycopg.connect(dsn) as db:
        row = db.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    parent = int(str(row and row[0]).split()[0])
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(") ")[2].split()
        except FileNotFoundError:
            continue
        if path.parent.name == str(parent):
            ticks += sum(map(int, fields[11:15]))  # its own, and of those that ended
        elif fields[1] == str(parent):
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def run_appenders(folder: Path, processes: int, seconds: float) -> dict[str, Any]:
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.ledger", "--appender", str(folder), str(number), str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(processes)
    ]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    before = open_office(folder).store.size()
    for process in running:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    took: list[float] = []
    used = 0.0
    for process in running:
        out, _ = process.communicate()
        one = json.loads(out)
        took += one["took"]
        used += one["cpu"]
    size = open_office(folder).store.size()
    assert size - before == len(took), "an append was lost or doubled"
    return {
        "processes": processes,
        "seconds": seconds,
        "appends/s": len(took) / seconds,
        "p50 s": statistics.median(took),
        "p95 s": statistics.quantiles(took, n=20)[-1],
        "max s": max(took),
        "writers' CPU ms an append": 1e3 * used / len(took),
    }


def appender(folder: Path, number: int, seconds: float) -> None:
    """Append single records for so long and print how long each took; runs in a process of its own."""
    office = open_office(folder)
    log, (check, seen) = office.signer(LOG_KEY), roles_check(office)
    results = Results(office, f"appender {number} {time.time_ns()}")
    results.plan_for(number, office.reader().head())
    # The first append of a process loads what it needs; that is not what is measured.
    office.store.append([results.result(70_000)], log, check, seen=seen)
    print("ready", flush=True)
    sys.stdin.readline()
    took: list[float] = []
    end, before = time.monotonic() + seconds, time.process_time()
    while (start := time.monotonic()) < end:
        office.store.append([results.result(len(took))], log, check, seen=seen)
        took.append(time.monotonic() - start)
    print(json.dumps({"took": took, "cpu": time.process_time() - before}))


# --- proofs --------------------------------------------------------------------------------------------------


def bench_proof(folder: Path, records: int, proofs: int = 30) -> dict[str, Any]:
    """Return how long an inclusion proof takes in a process that did nothing before, and what it reads."""
    office = large_log(folder, records)
    took, read, warm = [], [], []
    for _ in range(proofs):
        index = random.randrange(office.store.size())
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.ledger", "--prover", str(folder), str(index)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        one = json.loads(done.stdout)
        took.append(one["seconds"])
        read.append(one["bytes"])
        warm.append(one["again"])
    return {
        "records": office.store.size(),
        "first proof, median ms": 1e3 * statistics.median(took),
        "first proof, largest ms": 1e3 * max(took),
        "next proof, median ms": 1e3 * statistics.median(warm),
        "read, median MB": statistics.median(read) / 1e6,
        "read, largest MB": max(read) / 1e6,
    }


def prover(folder: Path, index: int) -> None:
    """Make one proof, check it, and print what it took and what was read, from the kernel's account of this process."""
    office = open_office(folder)
    store = DuckStore(folder / "ledger.duckdb", office.settings.origin)
    trust = office.reader().trust
    note = store.latest_checkpoint() or ""
    checkpoint = verify_log_checkpoint(trust, note, office.settings.origin)
    (entry,) = store.entries(index, index + 1)
    before, start = _bytes_read(), time.perf_counter()
    ((*path,),) = store.inclusion_proofs([index], checkpoint.size)
    seconds, read = time.perf_counter() - start, _bytes_read() - before
    verify_inclusion(leaf_hash(entry.envelope), index, checkpoint.size, path, checkpoint.root)
    start = time.perf_counter()
    store.inclusion_proofs([index // 2], checkpoint.size)
    print(json.dumps({"seconds": seconds, "bytes": read, "again": time.perf_counter() - start}))


def _bytes_read() -> int:
    # rchar: what the process asked the kernel for, whether or not it was in the page cache.
    return int(Path("/proc/self/io").read_text().split()[1])


# --- audit ---------------------------------------------------------------------------------------------------


def bench_audit(folder: Path, records: int, turns: int, workers: int) -> dict[str, Any]:
    """Return the audit's time by its parts against a bare loop of the same verifications."""
    office = large_log(folder, records)
    scopes = {
        "signatures and tree": Scope(derived=False, meaning=False),
        "derived tables too": Scope(meaning=False),
        "all but blobs": Scope(),
    }
    took: dict[str, list[float]] = {name: [] for name in ("bare", *scopes)}
    spent: dict[str, list[float]] = {name: [] for name in took}
    for _ in range(turns):
        wall, cpu = bare_seconds(folder, office, workers)
        took["bare"].append(wall)
        spent["bare"].append(cpu)
        for name, scope in scopes.items():
            start, before = time.perf_counter(), _cpu_seconds()
            report = audit(office.store.local(), office.root, scope=scope, workers=workers)
            took[name].append(time.perf_counter() - start)
            spent[name].append(_cpu_seconds() - before)
            assert report.whole, report.findings[:3]
            assert report.records >= records
    middle = {name: statistics.median(values) for name, values in took.items()}
    cpu_middle = {name: statistics.median(values) for name, values in spent.items()}
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "records": office.store.size(),
        "workers": workers,
        **{f"{name}, s": value for name, value in middle.items()},
        **{f"{name}, CPU s": value for name, value in cpu_middle.items()},
        **{f"{name} ÷ bare": middle[name] / middle["bare"] for name in scopes},
        **{f"{name} ÷ bare, CPU": cpu_middle[name] / cpu_middle["bare"] for name in scopes},
        "largest process, MB": peak / 1024,
    }


def _cpu_seconds() -> float:
    # Of this process and of all it has waited for: other work on the machine does not count.
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(item.ru_utime + item.ru_stime for item in used)


def bare_seconds(folder: Path, office: Office, workers: int) -> tuple[float, float]:
    """Return how long verifying every signature takes in as many processes, and its CPU seconds in all.

    What is not verifying (starting, reading, taking apart) is not counted, and the processes are taken to share evenly.
    """
    size = office.store.size()
    jobs = [(folder, low, min(size, low + 32_768)) for low in range(0, size, 32_768)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(_bare, jobs))
    return sum(wall for wall, _ in found) / workers, sum(cpu for _, cpu in found)


def _bare(job: tuple[Path, int, int]) -> tuple[float, float]:
    folder, low, high = job
    office = open_office(folder)
    trust = load_trust(office.store, office.root)
    keys = {grant.key_id: grant.public_key for grant in trust.roles.grants}
    keys |= {item.key.key_id: item.key.pem for version in trust.root.versions for item in version.keys}
    opened: dict[str, Any] = {name: load_pem_public_key(pem.encode()) for name, pem in keys.items()}
    work = []
    stored = office.store.snapshot(low, high)
    for entry in stored.entries:
        taken = parse_envelope(entry.envelope)
        work.append(
            (opened[taken.key_id], taken.signature, pre_authentication_encoding(PAYLOAD_TYPE, taken.payload))
        )
    log = next(opened[grant.key_id] for grant in trust.roles.grants if "log" in grant.roles)
    for _, note in stored.checkpoints:
        text, _, line = note.partition("\n\n")
        blob = base64.b64decode(line.split(" ")[2])
        work.append((log, blob[4:], (text + "\n").encode()))
    start, before = time.perf_counter(), time.process_time()
    for key, signature, message in work:
        key.verify(signature, message)
    return time.perf_counter() - start, time.process_time() - before


# --- kills ---------------------------------------------------------------------------------------------------


def bench_kills(folder: Path, kills: int, holders: int, limit_s: float) -> dict[str, Any]:
    """Return what kills of writers left behind."""
    from benchmarks.ledger_kills import Kills

    log, signer = (LocalSigner(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2))
    outcome = Kills(folder, log, signer, seed=int(time.time())).run(kills, holders, limit_s)
    return asdict(outcome)


def bench_postgres_kills(folder: Path, kills: int, holders: int, limit_s: float) -> dict[str, Any]:
    """Return what kills of writers of a log in PostgreSQL left behind."""
    from benchmarks.ledger_kills import PostgresKills

    with server() as address:
        dsn = new_database(address)
        office = migrate_ledger(new_office(folder), dsn)
        log, signer = office.signer(LOG_KEY), office.signer(EVALUATOR_KEY)
        assert isinstance(log, LocalSigner)
        assert isinstance(signer, LocalSigner)
        _, seen = roles_check(office)
        runs = PostgresKills(folder, log, signer, seed=int(time.time()), dsn=dsn, root=office.root)
        runs.origin, runs.seen = office.settings.origin, seen
        return asdict(runs.run(kills, holders, limit_s))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=[], help=", ".join(ALL))
    parser.add_argument("--folder", type=Path, help="where the large log lies (made if it is not there)")
    parser.add_argument("--records", type=int, default=1_000_000, help="of the large log")
    parser.add_argument("--turns", type=int, default=3, help="repetitions of the audit and the bare loop")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--holders", type=int, default=300, help="kills that must hit the lock's holder")
    parser.add_argument(
        "--limit", type=float, default=float("inf"), help="seconds after which no more is killed"
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="of appending")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--appender", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--prover", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.appender:
        return appender(Path(given.appender[0]), int(given.appender[1]), float(given.appender[2]))
    if given.prover:
        return prover(Path(given.prover[0]), int(given.prover[1]))
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        large = given.folder or Path(scratch) / "large"
        runs: dict[str, Callable[[], dict[str, Any]]] = {
            "append": lambda: bench_append(Path(scratch) / "append", seconds=given.seconds),
            "postgres": lambda: bench_postgres(Path(scratch) / "postgres", seconds=given.seconds),
            "batch": lambda: bench_batch(Path(scratch) / "batch"),
            "proof": lambda: bench_proof(large, given.records),
            "audit": lambda: bench_audit(large, given.records, given.turns, given.workers),
            "kills": lambda: bench_kills(
                _made(Path(scratch) / "kills"), given.kills, given.holders, given.limit
            ),
            "postgres-kills": lambda: bench_postgres_kills(
                Path(scratch) / "postgres-kills", given.kills, given.holders, given.limit
            ),
        }
        for name in given.what or ALL:
            found[name] = {"load": os.getloadavg()[0], **runs[name]()}
            if not given.json:
                print(name)
                for word, value in found[name].items():
                    shown = f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"
                    print(f"  {word:<58}{shown:>14}")
    if given.json:
        print(json.dumps(found, indent=2))
    return None


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


ALL = ("append", "postgres", "batch", "proof", "audit", "kills", "postgres-kills")

if __name__ == "__main__":
    main()
