"""Somebody with nothing but a record, a proof and the ledger's key finds out whether the record is in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from placet.cli.program import make_app
from placet.domain.errors import IntegrityError, UsageError
from placet.ledger.checkpoint import sign_checkpoint
from placet.ledger.note import WITNESS_KEY_TYPE, VerifierKey, cosign
from placet.ledger.proof import parse_proof, verify_offline
from placet.ledger.witness import log_key
from placet.office import LOG_KEY
from tests.support.offices import Released, released_office, signer_named


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(make_app(), words)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.output


@pytest.fixture
def kit(made: Released, tmp_path: Path) -> tuple[Path, Path, str]:
    """Have the office write what it hands out about its release; then there is no office any more."""
    home, envelope, proof = str(made.office.home), tmp_path / "release.json", tmp_path / "release.tlog-proof"
    index = str(made.released.index)
    _run("ledger", "show", index, "--envelope", str(envelope), "--home", home)
    proof.write_text(_run("ledger", "proof", index, "--home", home))
    key = _run("ledger", "key", "--home", home).strip()
    made.office.home.rename(tmp_path / "gone")
    return proof, envelope, key


def test_a_record_is_shown_to_be_in_the_ledger_without_the_office(
    kit: tuple[Path, Path, str], made: Released
) -> None:
    proof, envelope, key = kit
    assert envelope.read_bytes() == made.released.envelope.raw

    told = json.loads(_run("ledger", "check-proof", str(proof), str(envelope), "--log", key, "--json"))

    assert told == {
        "index": made.released.index,
        "id": made.released.id,
        "predicateType": "https://placet.dev/release/v1",
        "keyId": made.released.key_id,
        "origin": made.office.settings.origin,
        "size": made.released.index + 1,
        "root": told["root"],
        "witness": None,
    }
    shown = _run("ledger", "check-proof", str(proof), str(envelope), "--log", key)
    assert f"{made.released.index}, {made.released.id}" in shown
    assert "not checked here" in shown


def _other_bytes(proof: str, envelope: bytes) -> tuple[str, bytes]:
    return proof, envelope[:-1] + b" "


def _other_index(proof: str, envelope: bytes) -> tuple[str, bytes]:
    index = parse_proof(proof).index
    return proof.replace(f"index {index}\n", f"index {index - 1}\n"), envelope


def _other_root(proof: str, envelope: bytes) -> tuple[str, bytes]:
    head, _, note = proof.partition("\n\n")
    lines = note.split("\n")
    return head + "\n\n" + note.replace(lines[2], "A" * 43 + "="), envelope


def _no_proof(proof: str, envelope: bytes) -> tuple[str, bytes]:
    return "hello\n\n" + proof, envelope


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_bytes, "is not in the log of the checkpoint"),
        (_other_index, "is not in the log|an inclusion proof is too long|is not in a log"),
        (_other_root, "signature"),
        (_no_proof, "not a proof file"),
    ],
)
def test_what_does_not_hold_is_refused(
    kit: tuple[Path, Path, str], change: Callable[[str, bytes], tuple[str, bytes]], message: str
) -> None:
    proof, envelope, key = kit
    text, raw = change(proof.read_text(), envelope.read_bytes())
    with pytest.raises(IntegrityError, match=message):
        verify_offline(text, raw, [key])
    proof.write_text(text)
    envelope.write_bytes(raw)

    _run("ledger", "check-proof", str(proof), str(envelope), "--log", key, code=1)


def test_another_logs_key_or_another_key_of_its_name_is_refused(
    kit: tuple[Path, Path, str], made: Released
) -> None:
    proof, envelope, _ = kit
    origin = made.office.settings.origin
    for name, message in (
        (origin, "not signed by the log's key"),
        ("placet.dev/other", "not of 'placet.dev/other'"),
    ):
        stranger = str(log_key(name, signer_named("eve").public))
        with pytest.raises(IntegrityError, match=message):
            verify_offline(proof.read_text(), envelope.read_bytes(), [stranger])
        _run("ledger", "check-proof", str(proof), str(envelope), "--log", stranger, code=1)


def test_a_ledger_with_several_keys_needs_one_of_them(kit: tuple[Path, Path, str], made: Released) -> None:
    proof, envelope, key = kit
    other = str(log_key(made.office.settings.origin, signer_named("older").public))

    _run("ledger", "check-proof", str(proof), str(envelope), "--log", f"{other}\n{key}")


def test_a_witness_that_is_asked_for_has_to_have_cosigned(
    kit: tuple[Path, Path, str], made: Released
) -> None:
    proof, envelope, key = kit
    witness = str(VerifierKey("w.example.org", WITNESS_KEY_TYPE, signer_named("w").public))
    words = ("ledger", "check-proof", str(proof), str(envelope), "--log", key, "--witness", witness)

    assert "not co-signed by w.example.org" in _run(*words, code=1)
    head, _, note = proof.read_text().partition("\n\n")
    proof.write_text(head + "\n\n" + cosign(note, "w.example.org", signer_named("w"), 1_700_000_000))
    assert made.released.id in _run(*words)


def test_what_was_asked_wrongly_is_said(kit: tuple[Path, Path, str], made: Released, tmp_path: Path) -> None:
    proof, envelope, key = kit
    other = str(log_key("placet.dev/other", signer_named("x").public))
    with pytest.raises(UsageError, match="2 ledgers are named"):
        verify_offline(proof.read_text(), envelope.read_bytes(), [key, other])
    with pytest.raises(UsageError, match="0 ledgers are named"):
        verify_offline(proof.read_text(), envelope.read_bytes(), [])
    for words in (
        (str(tmp_path / "none"), str(envelope), "--log", key),
        (str(proof), str(tmp_path / "none"), "--log", key),
        (str(proof), str(envelope), "--log", "no key"),
        (str(proof), str(envelope), "--log", key, "--witness", key),
        (str(proof), str(envelope)),
    ):
        _run("ledger", "check-proof", *words, code=2)


def test_an_envelope_is_of_one_record(made: Released, tmp_path: Path) -> None:
    home = str(made.office.home)

    _run("ledger", "show", "--envelope", str(tmp_path / "x"), "--home", home, code=2)
    assert not (tmp_path / "x").exists()


def test_a_checkpoint_of_another_history_shows_nothing_about_this_record(
    kit: tuple[Path, Path, str], made: Released
) -> None:
    proof, envelope, key = kit
    head, _, _ = proof.read_text().partition("\n\n")
    note = sign_checkpoint(made.office.settings.origin, 17, bytes(32), made.office.opened[LOG_KEY]).note

    with pytest.raises(IntegrityError, match="is not in the log of the checkpoint"):
        verify_offline(head + "\n\n" + note, envelope.read_bytes(), [key])
