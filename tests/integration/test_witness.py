"""A witness co-signs a ledger that only grows, remembers before it signs, and keeps the evidence of any other."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from placet.attest.keys import new_signer
from placet.cli.program import make_app
from placet.domain.errors import IntegrityError, KeyAccessError, StorageError, UsageError
from placet.ledger import witness as witness_module
from placet.ledger.audit import Outside
from placet.ledger.checkpoint import sign_checkpoint
from placet.ledger.note import (
    LOG_KEY_TYPE,
    WITNESS_KEY_TYPE,
    VerifierKey,
    cosign,
    parse_verifier_key,
    verify_cosignature,
)
from placet.ledger.witness import (
    ConflictError,
    Update,
    Witness,
    dump_update,
    log_key,
    make_update,
    open_key,
    parse_update,
)
from placet.office import LOG_KEY, TrustDesk
from tests.support import offices
from tests.support.offices import PASSPHRASE, Released, released_office, signer_named
from tests.support.tampering import logged, revocation_by, truncate

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _key(made: Released) -> str:
    return str(log_key(made.office.settings.origin, made.office.signer(LOG_KEY).public))


@pytest.fixture
def witness(made: Released, tmp_path: Path) -> Witness:
    return Witness.create(tmp_path / "witness", "w.example.org", (_key(made),), PASSPHRASE, lambda: NOW)


def _look(witness: Witness, made: Released) -> str:
    seen = witness.remembered(made.office.settings.origin)
    return witness.add(make_update(made.office.store, seen.size if seen else 0))


def _grow(made: Released) -> None:
    offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
    made.sample.clock.advance(minutes=1)


def test_a_log_that_grows_is_cosigned_each_time(witness: Witness, made: Released) -> None:
    for _ in range(3):
        note = _look(witness, made)
        assert verify_cosignature(note, "w.example.org", witness.key.key) == int(NOW.timestamp())
        seen = witness.remembered(made.office.settings.origin)
        assert seen is not None
        assert (seen.size, seen.note) == (made.office.store.size(), note)
        _grow(made)
        _grow(made)


def test_looking_again_at_the_same_log_is_cosigned_again(witness: Witness, made: Released) -> None:
    first = _look(witness, made)
    assert _look(witness, made) == first


def test_the_audit_takes_a_cosigned_checkpoint_and_only_of_that_witness(
    witness: Witness, made: Released
) -> None:
    note = _look(witness, made)
    mine = Outside(note, (witness.key.name, witness.key.key))

    report = made.office.audit([mine])
    assert report.whole
    assert any("co-signed by w.example.org" in line for line in report.checked)
    assert not any("--checkpoint" in line for line in report.blind)

    stranger = Outside(note, ("w.example.org", signer_named("eve").public))
    unsigned = Outside(made.office.store.latest_checkpoint() or "", (witness.key.name, witness.key.key))
    for other in (stranger, unsigned):
        report = made.office.audit([other])
        assert [finding.id for finding in report.findings] == ["foreign-checkpoint"]


def test_a_log_cut_and_regrown_is_refused_with_evidence_and_found_by_the_audit(
    witness: Witness, made: Released
) -> None:
    seen = _look(witness, made)
    truncate(made.office, made.walk.verdict.index)
    while made.office.store.size() < 20:
        _grow(made)

    with pytest.raises(ConflictError, match="not shown to continue") as caught:
        _look(witness, made)

    kept = caught.value.evidence.read_text()
    assert seen in kept
    assert (made.office.store.latest_checkpoint() or "") in kept
    remembered = witness.remembered(made.office.settings.origin)
    assert remembered is not None
    assert remembered.note == seen
    report = made.office.audit([Outside(seen, (witness.key.name, witness.key.key))])
    assert "forked-log" in {finding.id for finding in report.findings}


def test_a_fork_of_the_same_size_is_refused(witness: Witness, made: Released) -> None:
    _look(witness, made)
    truncate(made.office, made.released.index)
    logged(made.office, revocation_by("ada", "ada"))

    with pytest.raises(ConflictError, match="two histories"):
        _look(witness, made)


def test_a_log_cut_back_is_refused(witness: Witness, made: Released) -> None:
    _look(witness, made)
    truncate(made.office, made.released.index)

    with pytest.raises(ConflictError, match="cut back"):
        _look(witness, made)


def test_a_proof_of_something_else_is_refused(witness: Witness, made: Released) -> None:
    _look(witness, made)
    size = made.office.store.size()
    _grow(made)
    update = make_update(made.office.store, size)

    for proof in ((), update.proof[:-1], (*update.proof, bytes(32)), (bytes(32), *update.proof[1:])):
        with pytest.raises(ConflictError):
            witness.add(Update(size, proof, update.note))
    assert witness.add(update)


def test_an_update_for_another_size_is_said(witness: Witness, made: Released) -> None:
    _look(witness, made)
    _grow(made)

    with pytest.raises(UsageError, match="saw 3 records; this one saw") as caught:
        witness.add(make_update(made.office.store, 3))
    assert "--old" in caught.value.hint


def test_other_logs_and_other_keys_are_not_cosigned(witness: Witness, made: Released) -> None:
    origin = made.office.settings.origin
    foreign = sign_checkpoint("placet.dev/other", 3, bytes(32), made.office.signer(LOG_KEY)).note
    with pytest.raises(UsageError, match="does not watch"):
        witness.add(Update(0, (), foreign))
    forged = sign_checkpoint(origin, 3, bytes(32), signer_named("eve")).note
    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        witness.add(Update(0, (), forged))


def test_nothing_is_cosigned_that_cannot_be_remembered(
    witness: Witness, made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("no space", hint="x")

    monkeypatch.setattr(witness_module, "_write", full)
    with pytest.raises(StorageError):
        _look(witness, made)
    monkeypatch.undo()
    assert witness.remembered(made.office.settings.origin) is None


def test_an_altered_memory_is_not_believed(witness: Witness, made: Released) -> None:
    _look(witness, made)
    (path,) = (witness.folder / "logs").glob("*/checkpoint")
    path.write_text(made.office.store.latest_checkpoint() or "")

    with pytest.raises(IntegrityError, match=r"not co-signed by w\.example\.org"):
        _look(witness, made)


def test_a_memory_is_made_once_and_opens_with_its_passphrase(witness: Witness, made: Released) -> None:
    with pytest.raises(UsageError, match="already"):
        Witness.create(witness.folder, "w", (_key(made),), PASSPHRASE, lambda: NOW)
    with pytest.raises(KeyAccessError):
        open_key(witness.folder, "another one")
    again = Witness.open(witness.folder, open_key(witness.folder, PASSPHRASE), lambda: NOW)
    assert again.key == witness.key
    with pytest.raises(UsageError, match="no witness"):
        Witness.open(witness.folder / "nowhere", None, lambda: NOW)


@pytest.mark.parametrize("name", ["", "two words", "a+b"])
def test_a_witness_needs_a_name_that_a_note_can_hold(made: Released, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a witness"):
        Witness.create(tmp_path / "w", name, (_key(made),), PASSPHRASE, lambda: NOW)


# --- another key -------------------------------------------------------------------------------------------------


def _changed_key(made: Released) -> str:
    """Change the office's log key, log something under it, and return its verifier key."""
    new = new_signer()
    made.office.keys.add("log-2", new, PASSPHRASE)
    TrustDesk(made.office).rotate_key(made.office.signer(LOG_KEY).public.key_id, new.public)
    made.office.opened.pop(LOG_KEY, None)
    _grow(made)
    return _key(made)


def test_a_log_whose_key_was_changed_is_refused_until_the_witness_is_told_and_must_continue_what_it_saw(
    witness: Witness, made: Released
) -> None:
    _look(witness, made)
    old, new = _key(made), _changed_key(made)
    assert old != new
    with pytest.raises(IntegrityError, match="not signed by the log's key") as caught:
        _look(witness, made)
    assert "placet witness rekey" in caught.value.hint

    witness.rekey((new,))
    again = Witness.open(witness.folder, open_key(witness.folder, PASSPHRASE), lambda: NOW)
    assert (again.settings.logs, again.settings.retired) == (
        {made.office.settings.origin: (new,)},
        {made.office.settings.origin: (old,)},
    )
    assert again.key == witness.key
    seen = again.remembered(made.office.settings.origin)
    assert seen is not None  # signed by the key that was retired
    note = _look(again, made)
    assert verify_cosignature(note, "w.example.org", witness.key.key)

    truncate(made.office, made.walk.verdict.index)
    with pytest.raises(ConflictError, match="cut back"):
        again.add(Update(0, (), sign_checkpoint(seen.origin, 3, bytes(32), made.office.signer(LOG_KEY)).note))


def test_a_retired_key_signs_nothing_new_and_can_come_back(witness: Witness, made: Released) -> None:
    origin, old = made.office.settings.origin, made.office.signer(LOG_KEY)
    _look(witness, made)
    witness.rekey((str(log_key(origin, signer_named("new").public)),))
    _grow(made)

    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        _look(witness, made)
    witness.rekey((str(log_key(origin, old.public)),))
    assert _look(witness, made)
    assert witness.settings.retired == {origin: (str(log_key(origin, signer_named("new").public)),)}


def test_a_key_of_a_log_that_is_not_watched_changes_nothing(witness: Witness) -> None:
    before = (witness.folder / "witness.json").read_bytes()

    with pytest.raises(UsageError, match=r"does not watch 'placet\.dev/other'"):
        witness.rekey((str(log_key("placet.dev/other", signer_named("x").public)),))
    with pytest.raises(UsageError, match="needs a log to watch"):
        witness.rekey(())
    assert (witness.folder / "witness.json").read_bytes() == before


def test_a_new_witness_begins_at_the_checkpoint_of_an_old_one(
    witness: Witness, made: Released, tmp_path: Path
) -> None:
    last = _look(witness, made)
    begun = Witness.create(
        tmp_path / "second", "w2.example.org", (_key(made),), PASSPHRASE, lambda: NOW, begin=(last,)
    )
    seen = begun.remembered(made.office.settings.origin)
    assert seen is not None
    assert seen.size == made.office.store.size()
    assert verify_cosignature(seen.note, "w.example.org", witness.key.key)

    _grow(made)
    assert _look(begun, made)
    truncate(made.office, made.walk.verdict.index)
    with pytest.raises(ConflictError, match="cut back"):
        _look(begun, made)


def test_a_witness_does_not_begin_at_a_checkpoint_that_the_log_did_not_sign(
    made: Released, tmp_path: Path
) -> None:
    origin = made.office.settings.origin
    forged = sign_checkpoint(origin, 3, bytes(32), signer_named("eve")).note

    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        Witness.create(tmp_path / "w", "w", (_key(made),), PASSPHRASE, lambda: NOW, begin=(forged,))
    foreign = sign_checkpoint("placet.dev/other", 3, bytes(32), made.office.signer(LOG_KEY)).note
    with pytest.raises(UsageError, match="does not watch"):
        Witness.create(tmp_path / "w", "w", (_key(made),), PASSPHRASE, lambda: NOW, begin=(foreign,))
    assert not (tmp_path / "w" / "witness.json").exists()
    assert not (tmp_path / "w" / "logs").exists()
    assert Witness.create(tmp_path / "w", "w", (_key(made),), PASSPHRASE, lambda: NOW)


def test_what_is_wrong_with_the_memory_is_mended_from_the_memory(
    witness: Witness, made: Released, tmp_path: Path
) -> None:
    _look(witness, made)
    other = Witness.create(tmp_path / "other", "w3", (_key(made),), PASSPHRASE, lambda: NOW)
    shutil.copytree(witness.folder / "logs", other.folder / "logs")

    with pytest.raises(IntegrityError, match=r"remembers of .* is not what it co-signed") as caught:
        _look(other, made)
    assert "not co-signed by w3" in str(caught.value)
    assert "init --from" in caught.value.hint
    (other.folder / "witness.json").write_text("{}")
    with pytest.raises(IntegrityError, match="settings cannot be read") as caught:
        Witness.open(other.folder, None, lambda: NOW)
    assert "witness.json" in caught.value.hint
    assert "placet audit" not in caught.value.hint


# --- forms -------------------------------------------------------------------------------------------------


def test_an_update_reads_back(made: Released) -> None:
    update = make_update(made.office.store, 5)

    assert parse_update(dump_update(update)) == update
    assert dump_update(update).startswith("old 5\n")


@pytest.mark.parametrize(
    "text",
    ["", "old 5", "old -1\n\nx", "old 05\n\nx", "new 5\n\nx", "old 5\nAA\n\nx", "old 5\nnot base64\n\nx"],
)
def test_what_is_no_update_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="not an update"):
        parse_update(text)


def test_verifier_keys_read_back_and_a_wrong_hash_or_kind_is_refused() -> None:
    key = VerifierKey("w.example.org/a", WITNESS_KEY_TYPE, signer_named("w").public)

    assert parse_verifier_key(str(key) + "\n", WITNESS_KEY_TYPE) == key
    for text in (str(key).replace(key.hash.hex(), "00000000"), str(key)[:-4], "x", ""):
        with pytest.raises(UsageError):
            parse_verifier_key(text, WITNESS_KEY_TYPE)
    with pytest.raises(UsageError, match="a log's"):
        parse_verifier_key(str(key), LOG_KEY_TYPE)


def test_a_cosignature_is_over_the_time_and_the_checkpoint() -> None:
    # Written out from the specification: key id, signed message and line.
    import hashlib

    signer = signer_named("w")
    note = sign_checkpoint("example.com/log", 7, bytes(range(32)), signer_named("log")).note
    line = cosign(note, "w.example.org", signer, 1_679_315_147).removeprefix(note)
    blob = base64.b64decode(line.split(" ")[2])

    assert line.startswith("\u2014 w.example.org ")
    assert blob[:4] == hashlib.sha256(b"w.example.org\n\x04" + signer.public.raw).digest()[:4]
    assert int.from_bytes(blob[4:12], "big") == 1_679_315_147
    text = f"cosignature/v1\ntime 1679315147\nexample.com/log\n7\n{base64.b64encode(bytes(range(32))).decode()}\n"
    signer.public.verify(blob[12:], text.encode())


@pytest.mark.parametrize("flip", range(0, 76, 5))
def test_a_flipped_byte_in_a_cosignature_is_refused(flip: int) -> None:
    signer = signer_named("w")
    note = sign_checkpoint("example.com/log", 7, bytes(32), signer_named("log")).note
    line = cosign(note, "w", signer, 5).removeprefix(note)
    blob = bytearray(base64.b64decode(line.split(" ")[2]))
    blob[flip] ^= 1
    altered = f"{note}\u2014 w {base64.b64encode(bytes(blob)).decode()}\n"

    with pytest.raises(IntegrityError):
        verify_cosignature(altered, "w", signer.public)


# --- the command line ----------------------------------------------------------------------------------------


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    monkeypatch.setenv("PLACET_PASSPHRASE", PASSPHRASE)
    return CliRunner()


def test_the_way_from_init_to_an_audit_against_the_witness(
    made: Released, tmp_path: Path, runner: CliRunner
) -> None:
    home, memory = str(made.office.home), str(tmp_path / "w")

    def run(*words: str) -> str:
        done = runner.invoke(make_app(), words)
        assert done.exit_code == 0, done.output
        return done.stdout

    key = run("ledger", "key", "--home", home).strip()
    run("witness", "init", memory, "--name", "w.example.org", "--log", key)
    run("witness", "run", memory, "--office", home)
    size = made.office.store.size()
    _grow(made)
    update = tmp_path / "update.txt"
    update.write_text(run("ledger", "update", "--old", str(size), "--home", home))
    cosigned = tmp_path / "cosigned"
    cosigned.write_text(run("witness", "run", memory, "--update", str(update)))
    shown = run("witness", "show", memory)
    assert f"{size + 1} records" in shown
    vkey = str(Witness.open(Path(memory), None, lambda: NOW).key)
    assert vkey in shown

    told = run("audit", "--home", home, "--checkpoint", str(cosigned), "--witness", vkey)
    assert "WHOLE" in told

    truncate(made.office, size - 2)
    done = runner.invoke(make_app(), ["witness", "run", memory, "--office", home])
    assert done.exit_code == 1
    assert "cut back" in done.output
    done = runner.invoke(
        make_app(), ["audit", "--home", home, "--checkpoint", str(cosigned), "--witness", vkey]
    )
    assert done.exit_code == 1
    assert "truncated-log" in done.stdout


def test_the_way_through_a_change_of_the_logs_key(made: Released, tmp_path: Path, runner: CliRunner) -> None:
    home, memory = str(made.office.home), str(tmp_path / "w")

    def run(*words: str, code: int = 0) -> str:
        done = runner.invoke(make_app(), words)
        assert done.exit_code == code, done.output
        return done.output

    old = run("ledger", "key", "--home", home).strip()
    run("witness", "init", memory, "--name", "w.example.org", "--log", old)
    cosigned = tmp_path / "last"
    cosigned.write_text(run("witness", "run", memory, "--office", home))
    new = _changed_key(made)
    assert "rekey" in run("witness", "run", memory, "--office", home, code=1)

    run("witness", "rekey", memory, "--log", new)
    run("witness", "run", memory, "--office", home)
    second = str(tmp_path / "w2")
    run("witness", "init", second, "--name", "w2", "--log", f"{old}\n{new}", "--from", str(cosigned))
    run("witness", "run", second, "--office", home)
    assert f"{made.office.store.size()} records" in run("witness", "show", second)
    run("witness", "init", str(tmp_path / "w3"), "--name", "w", "--log", old, "--from", "/nowhere", code=2)


def test_the_command_says_what_it_needs(made: Released, tmp_path: Path, runner: CliRunner) -> None:
    home = str(made.office.home)
    assert runner.invoke(make_app(), ["witness", "run", str(tmp_path / "w"), "--office", home]).exit_code == 2
    assert runner.invoke(make_app(), ["witness", "run", str(tmp_path / "w")]).exit_code == 2
    assert runner.invoke(make_app(), ["audit", "--home", home, "--witness", "x"]).exit_code == 2
    assert not (tmp_path / "w").exists()
