"""Folders of keys, and where passphrases come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from placet.attest.keyfiles import KeyFolder, forget, passphrase_for, remember
from placet.attest.keys import KeyKind, new_signer
from placet.cli import app
from placet.domain.errors import KeyAccessError, UsageError
from tests.support import offices

PASSPHRASE = "correct horse battery"


class _Ring(KeyringBackend):
    """A keyring in memory."""

    priority = 1.0
    locked = False

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise KeyringLocked("locked")
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise KeyringLocked("locked")
        self.held[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        try:
            del self.held[service, username]
        except KeyError as error:
            raise PasswordDeleteError("nothing there") from error


@pytest.fixture
def ring() -> Iterator[_Ring]:
    before, ring = keyring.get_keyring(), _Ring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    folder = KeyFolder(tmp_path / "keys")
    folder.add("ada", new_signer(), PASSPHRASE)
    folder.add("files", new_signer(KeyKind.P256), PASSPHRASE)
    return folder


# --- folders -------------------------------------------------------------------------------------------------


def test_keys_are_found_by_name_and_by_id(folder: KeyFolder) -> None:
    key = folder.public("ada")

    assert folder.names() == ("ada", "files")
    assert folder.name_of(key.key_id) == "ada"
    assert folder.name_of("sha256:" + "0" * 64) is None
    assert folder.signer("ada", lambda _: PASSPHRASE).public == key
    assert folder.signer("files", lambda _: PASSPHRASE).public.kind is KeyKind.P256


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "-", "a\0"])
def test_a_key_needs_a_plain_name(folder: KeyFolder, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a key"):
        folder.add(name, new_signer(), PASSPHRASE)


def test_a_name_is_taken_once_whether_by_a_file_or_a_uri(folder: KeyFolder) -> None:
    public = new_signer().public
    folder.add_uri("token", "hsm:2", public)

    for name in ("ada", "token"):
        with pytest.raises(KeyAccessError, match="exists already"):
            folder.add(name, new_signer(), PASSPHRASE)
        with pytest.raises(KeyAccessError, match="exists already"):
            folder.add_uri(name, "hsm:2", public)
    assert folder.names() == ("ada", "files", "token")
    assert folder.public("token") == public


def test_a_public_half_that_is_damaged_is_no_key_and_hides_no_other(folder: KeyFolder) -> None:
    key_id = folder.public("files").key_id
    (folder.path / "ada.pem.pub").write_text("damaged")

    assert folder.name_of(key_id) == "files"


# --- the keyring ---------------------------------------------------------------------------------------------


def test_a_passphrase_is_asked_of_the_environment_then_the_keyring_then_a_person(
    ring: _Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLACET_PASSPHRASE", raising=False)
    assert passphrase_for("ada", lambda _: "asked", "sha256:1") == "asked"
    remember("sha256:1", "kept")
    assert passphrase_for("ada", lambda _: "asked", "sha256:1") == "kept"
    assert passphrase_for("ada", lambda _: "asked", "sha256:2") == "asked"
    monkeypatch.setenv("PLACET_PASSPHRASE", "set")
    assert passphrase_for("ada", lambda _: "asked", "sha256:1") == "set"
    monkeypatch.delenv("PLACET_PASSPHRASE")
    forget("sha256:1")
    assert passphrase_for("ada", lambda _: "asked", "sha256:1") == "asked"


def test_a_locked_keyring_leads_to_the_prompt_and_takes_nothing(ring: _Ring) -> None:
    ring.locked = True

    assert passphrase_for("ada", lambda _: "asked", "sha256:1") == "asked"
    with pytest.raises(KeyAccessError, match="did not take it"):
        remember("sha256:1", "x")
    with pytest.raises(KeyAccessError, match="holds nothing for this key"):
        forget("sha256:1")


def test_a_remembered_key_opens_without_being_asked(
    ring: _Ring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    made = offices.released_office(tmp_path / "office")
    home = str(made.office.home)

    def run(*words: str) -> int:
        return CliRunner().invoke(app, [*words, "--home", home], catch_exceptions=False).exit_code

    monkeypatch.setenv("PLACET_PASSPHRASE", "not the passphrase")
    assert run("keys", "remember", "ada") == 2
    assert not ring.held
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    for name in ("ada", "log"):
        assert run("keys", "remember", name) == 0
    monkeypatch.delenv("PLACET_PASSPHRASE")
    review = ("review", "desk-good", "--reject", "--key", "ada", "--comment", "x")
    assert run(*review) == 0
    assert run("keys", "forget", "ada") == 0
    assert run(*review) == 2
