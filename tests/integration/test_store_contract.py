"""What every store of the log promises, held to by the DuckDB file and by PostgreSQL with its local index."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from placet.attest.envelope import Envelope
from placet.attest.predicates import Kind, spec_of
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import digest_bytes
from placet.domain.errors import IntegrityError, NotAuthorizedError, StorageError, UsageError
from placet.domain.records import Revocation
from placet.ledger.checkpoint import sign_checkpoint, verify_log_checkpoint
from placet.ledger.merkle import leaf_hash, tree_root, verify_consistency, verify_inclusion
from placet.ledger.store import DuckStore, LedgerStore, Seen, StaleError
from placet.office import LOG_KEY, Office, TrustDesk, create_office, migrate_ledger
from tests.support import offices
from tests.support.offices import PASSPHRASE, Released, released_office, signer_named
from tests.support.postgres import new_database, server
from tests.support.tampering import logged, revocation_by

ROLES = spec_of(Kind.ROLES).predicate_type
VERDICT = spec_of(Kind.VERDICT).predicate_type


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as made:
        yield made


def _moved(made: Released, dsn: str) -> Released:
    made.sample.office = migrate_ledger(made.office, dsn)
    return made


@pytest.fixture(params=["duckdb", "postgres"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Released:
    made = released_office(tmp_path / "office")
    if request.param == "postgres":
        return _moved(made, new_database(request.getfixturevalue("address")))
    return made


@pytest.fixture
def remote(address: str, tmp_path: Path) -> Released:
    return _moved(released_office(tmp_path / "office"), new_database(address))


def _store(made: Released) -> LedgerStore:
    return made.sample.office.store


def _log(made: Released) -> offices.LocalSigner:
    return made.sample.office.signer(LOG_KEY)  # type: ignore[return-value]


def _envelope(number: int, signer: str = "ada") -> Envelope:
    record = Revocation(
        target=digest_bytes(b"x%d" % number),
        target_kind="adapter",
        reason="r",
        revoked_by=signer,
        revoked_at=offices.START + timedelta(seconds=number),
    )
    return sign_record(Kind.REVOCATION, record, (Subject("x", record.target),), signer_named(signer))


def test_records_come_back_in_order_with_their_bytes_and_a_checkpoint_over_them(made: Released) -> None:
    store, size = _store(made), _store(made).size()

    entries = store.append([_envelope(n) for n in range(3)], _log(made))

    assert [entry.index for entry in entries] == [size, size + 1, size + 2]
    assert store.entries(size) == entries
    assert store.size() == size + 3
    leaves = [leaf_hash(entry.envelope) for entry in store.entries()]
    trust = made.sample.office.reader().trust
    checkpoint = verify_log_checkpoint(trust, store.latest_checkpoint() or "", store.origin)
    assert (checkpoint.size, checkpoint.root) == (size + 3, tree_root(leaves))
    assert store.checkpoint_notes(size) == ((size + 3, checkpoint.note),)


def test_the_same_record_again_gets_the_index_it_has(made: Released) -> None:
    store = _store(made)
    first = store.append([_envelope(0), _envelope(1)], _log(made))
    again = store.append([_envelope(1), _envelope(2), _envelope(0), _envelope(2)], _log(made))

    base = first[0].index
    assert [entry.index - base for entry in again] == [1, 2, 0, 2]
    notes = store.checkpoint_notes()
    assert store.append([_envelope(0)], _log(made)) == first[:1]
    assert store.checkpoint_notes() == notes


def test_a_batch_is_taken_whole_or_not_at_all_and_checked_at_its_index(made: Released) -> None:
    store, size = _store(made), _store(made).size()
    seen: list[int] = []

    def check(envelope: Envelope, index: int) -> None:
        seen.append(index)
        if index == size + 2:
            raise NotAuthorizedError("not this one", hint="x")

    with pytest.raises(NotAuthorizedError, match="not this one"):
        store.append([_envelope(n) for n in range(4)], _log(made), check)
    assert seen == [size, size + 1, size + 2]
    assert store.size() == size
    assert store.append([_envelope(7)], _log(made))[0].index == size


def test_a_draft_is_made_for_the_index_it_gets(made: Released) -> None:
    store, size = _store(made), _store(made).size()
    asked: list[int] = []

    def draft(index: int) -> Envelope:
        asked.append(index)
        return _envelope(100 + index)

    entries = store.append([_envelope(0), draft], _log(made))

    assert asked == [size + 1] == [entries[1].index]


def test_nothing_is_added_on_an_outdated_view(made: Released) -> None:
    store, size = _store(made), _store(made).size()
    version = made.sample.office.reader().trust.roles.version

    for count in (version - 1, version + 1):
        with pytest.raises(StaleError):
            store.append([_envelope(0)], _log(made), seen=Seen((ROLES,), count))
    assert store.size() == size
    assert store.append([_envelope(0)], _log(made), seen=Seen((ROLES,), version))[0].index == size


def test_another_log_key_does_not_continue_the_log(made: Released) -> None:
    size = _store(made).size()
    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        _store(made).append([_envelope(0)], signer_named("another log"))
    assert _store(made).size() == size


def test_records_are_found_by_what_is_asked_often(made: Released) -> None:
    store, walk = _store(made), made.walk
    by: dict[str, Callable[[], list[int]]] = {
        "type": lambda: [e.index for e in store.find(predicate_type=VERDICT)],
        "subject": lambda: [e.index for e in store.find(subject=walk.ref.id, predicate_type=VERDICT)],
        "id": lambda: [e.index for e in store.find(record_id=walk.verdict.id)],
        "decision": lambda: [e.index for e in store.find(decision="ALLOW")],
        "both": lambda: [e.index for e in store.find(record_id=walk.verdict.id, predicate_type=VERDICT)],
    }
    assert {name: tuple(ask()) for name, ask in by.items()} == dict.fromkeys(by, (walk.verdict.index,))
    suite = walk.measurements[0].record.suite.id
    assert walk.measurements[0].index in [e.index for e in store.find(suite=suite)]
    assert [e.index for e in store.find(last=2)] == [store.size() - 2, store.size() - 1]
    assert store.find(record_id=walk.verdict.id, predicate_type=ROLES) == ()
    assert store.find(predicate_type="' OR TRUE --") == ()
    assert store.find(subject="no digest") == ()
    assert store.find(since="2099-01-01T00:00:00Z") == ()
    assert len(store.find(since="2000-01-01T00:00:00Z")) == store.size() - 1  # a base gives no moment
    assert store.indices_of([walk.verdict.id, "sha256:0"]) == {walk.verdict.id: walk.verdict.index}


def test_proofs_from_stored_hashes_hold(made: Released) -> None:
    store = _store(made)
    store.append([_envelope(n) for n in range(600)], _log(made))
    leaves = [leaf_hash(entry.envelope) for entry in store.entries()]
    size = len(leaves)

    for index, proof in zip(
        (0, 300, size - 1), store.inclusion_proofs([0, 300, size - 1], size), strict=True
    ):
        verify_inclusion(leaves[index], index, size, proof, tree_root(leaves))
    for old in (1, 16, 256, 500, size):
        proof = store.consistency_proof(old, size)
        verify_consistency(old, size, tree_root(leaves[:old]), tree_root(leaves), proof)
    with pytest.raises(IntegrityError):
        store.inclusion_proofs([0], size + 1)
    assert made.sample.office.audit().whole


def test_derived_tables_are_made_again(made: Released) -> None:
    before = _store(made).snapshot()
    assert _store(made).rebuild() == _store(made).size()
    assert _store(made).snapshot() == before


def test_a_whole_office_works_on_it(made: Released) -> None:
    walk = offices.walk_to_verdict(made.sample, "second", base=made.walk.base)
    offices.approve(made.sample, walk.ref, "ada")
    offices.approve(made.sample, walk.ref, "ben")
    offices.release(made.sample, walk.ref, "production")
    offices.add_person(made.sample, "cleo", offices.Role.APPROVER)
    TrustDesk(made.sample.office).end_grants(signer_named("cleo").public.key_id)

    kept = _store(made).latest_checkpoint() or ""
    assert made.sample.office.audit([kept]).whole


def test_threads_append_side_by_side(made: Released) -> None:
    store, size, failures = _store(made), _store(made).size(), list[Exception]()

    def work(first: int) -> None:
        try:
            for number in range(first, first + 5):
                store.append([_envelope(number)], _log(made))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failures
    assert store.size() == size + 20
    assert made.sample.office.audit(blobs=False).whole


# --- several machines on one database ------------------------------------------------------------------------


def _machine(made: Released, home: Path) -> Office:
    """Another machine of the office: its settings, trust and keys, and no ledger file yet."""
    home.mkdir()
    for name in ("office.json", "trust", "keys", "blobs"):
        source = made.sample.office.home / name
        if source.is_dir():
            shutil.copytree(source, home / name)
        else:
            shutil.copy(source, home / name)
    return Office.open(home, ask=lambda _: PASSPHRASE, clock=made.sample.clock)


def _sql(made: Released, statement: str, values: list[object] | None = None) -> None:
    import psycopg

    with psycopg.connect(made.sample.office.settings.postgres or "", autocommit=True) as db:
        db.execute(statement, values or [])


def test_machines_see_what_others_append_and_go_on_from_there(remote: Released, tmp_path: Path) -> None:
    other = _machine(remote, tmp_path / "other")
    size = _store(remote).size()
    assert other.store.size() == size
    other.store.append([_envelope(0)], other.signer(LOG_KEY))
    remote.sample.office.store.append([_envelope(1)], _log(remote))
    other.store.append([_envelope(2)], other.signer(LOG_KEY))

    assert _store(remote).entries() == other.store.entries()
    assert _store(remote).size() == size + 3
    assert other.audit().whole
    assert remote.sample.office.audit().whole


def test_a_record_logged_past_every_check_is_not_taken_over(remote: Released, tmp_path: Path) -> None:
    other = _machine(remote, tmp_path / "other")
    size = other.store.size()
    _store(remote).append([revocation_by("eve", "eve")], _log(remote))

    with pytest.raises(IntegrityError, match=f"record {size} of the database does not verify") as caught:
        other.store.size()
    assert "is not one of office" in str(caught.value)
    assert other.store._index.size() == size  # type: ignore[attr-defined]


def test_a_database_that_was_cut_short_or_put_back_is_noticed(remote: Released) -> None:
    size = _store(remote).size()
    _sql(remote, "DELETE FROM placet_entries WHERE idx >= %s", [size - 1])
    _sql(remote, "DELETE FROM placet_checkpoints WHERE size >= %s", [size])

    with pytest.raises(IntegrityError, match="cut short"):
        _store(remote).size()


def test_a_database_that_was_forked_with_the_real_keys_is_noticed(remote: Released) -> None:
    entries = list(_store(remote).entries())
    size, new = len(entries), _envelope(5)
    _sql(
        remote,
        "UPDATE placet_entries SET record_id = %s, envelope = %s WHERE idx = %s",
        [new.record_id, new.raw, size - 1],
    )
    leaves = [entry.leaf for entry in entries[:-1]] + [leaf_hash(new.raw)]
    note = sign_checkpoint(_store(remote).origin, size, tree_root(leaves), _log(remote)).note
    _sql(remote, "UPDATE placet_checkpoints SET note = %s WHERE size = %s", [note, size])

    with pytest.raises(IntegrityError, match="another history"):
        _store(remote).size()


def test_a_record_edited_in_the_database_behind_what_was_seen_is_found_by_the_audit(remote: Released) -> None:
    index = remote.walk.verdict.index
    _sql(remote, "UPDATE placet_entries SET envelope = 'x' WHERE idx = %s", [index])

    report = remote.sample.office.audit()

    assert [(finding.id, finding.index) for finding in report.findings] == [("edited-record", index)]
    assert "edited in the database" in report.findings[0].message


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM placet_entries WHERE idx = (SELECT max(idx) FROM placet_entries)",
        "UPDATE placet_entries SET envelope = 'x' WHERE idx = (SELECT max(idx) FROM placet_entries)",
        "UPDATE placet_checkpoints SET note = replace(note, '1', '2')",
        "DELETE FROM placet_checkpoints",
    ],
)
def test_nothing_is_signed_over_what_does_not_match_the_last_checkpoint(
    remote: Released, tmp_path: Path, statement: str
) -> None:
    other = _machine(remote, tmp_path / "other")
    other.store.append([_envelope(0)], other.signer(LOG_KEY))
    _store(remote).append([_envelope(1)], _log(remote))
    _sql(remote, statement)

    with pytest.raises((IntegrityError, StaleError)):
        other.store.append([_envelope(2)], other.signer(LOG_KEY))


def test_a_local_index_that_was_altered_is_found(remote: Released) -> None:
    import duckdb

    file = _store(remote).local().path
    with duckdb.connect(str(file)) as db:
        db.execute("UPDATE entries SET envelope = 'x'::BLOB WHERE idx = 5")

    assert "edited-record" in {finding.id for finding in remote.sample.office.audit().findings}


def test_nothing_is_appended_to_a_local_index(remote: Released) -> None:
    file = _store(remote).local()
    with pytest.raises(UsageError, match="local index of a log that lives elsewhere"):
        DuckStore(file.path, file.origin).append([_envelope(0)], _log(remote))


def test_a_database_that_is_not_there_says_so(remote: Released) -> None:
    office = remote.sample.office
    settings = office.settings.model_copy(update={"postgres": "host=127.0.0.1 port=1 user=nobody"})
    gone = Office(office.home, settings, office.root, ask=office.ask)

    with pytest.raises(StorageError, match="the database refused") as caught:
        gone.store.size()
    assert "office.json" in caught.value.hint


# --- moving --------------------------------------------------------------------------------------------------


def test_a_log_moves_to_a_database_and_back_the_same(address: str, tmp_path: Path) -> None:
    made = released_office(tmp_path / "office")
    before = made.office.store.snapshot()
    dsn = new_database(address)

    there = migrate_ledger(made.office, dsn)
    assert there.store.snapshot() == before
    there.store.append([_envelope(0)], there.signer(LOG_KEY))
    back = migrate_ledger(there, None)

    assert isinstance(back.store, DuckStore)
    assert back.store.size() == len(before.entries) + 1
    back.store.append([_envelope(1)], back.signer(LOG_KEY))
    assert back.audit().whole
    with pytest.raises(UsageError, match="was moved to"):
        there.store.append([_envelope(2)], there.signer(LOG_KEY))
    again = migrate_ledger(back, dsn)
    again.store.append([_envelope(3)], again.signer(LOG_KEY))
    assert again.audit().whole
    assert again.store.size() == len(before.entries) + 3


def test_a_log_that_is_not_whole_is_not_moved(address: str, tmp_path: Path) -> None:
    made = released_office(tmp_path / "office")
    logged(made.office, revocation_by("eve", "eve"))

    with pytest.raises(IntegrityError, match="not whole and is not moved"):
        migrate_ledger(made.office, new_database(address))
    assert isinstance(made.office.store, DuckStore)


def test_a_database_holds_one_log(address: str, tmp_path: Path) -> None:
    dsn = new_database(address)
    migrate_ledger(released_office(tmp_path / "one").office, dsn)
    other = create_office(tmp_path / "two", "Another", ask=lambda _: PASSPHRASE)

    with pytest.raises(UsageError, match="holds the ledger"):
        migrate_ledger(other, dsn)


def test_an_interrupted_move_is_repeated(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, dsn = released_office(tmp_path / "office"), new_database(address)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DuckStore, "follow_elsewhere", killed)
    with pytest.raises(KeyboardInterrupt):
        migrate_ledger(made.office, dsn)
    monkeypatch.undo()
    made.office.store.append([_envelope(0)], made.office.signer(LOG_KEY))

    there = migrate_ledger(Office.open(made.office.home, ask=made.office.ask, clock=made.sample.clock), dsn)
    assert there.store.size() == made.released.index + 2
    assert there.audit().whole
