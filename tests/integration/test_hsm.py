"""Keys on a PKCS#11 token (SoftHSM2) sign records; the token's key never lies in a file of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pkcs11", reason="needs the extra placet[hsm]")

from typer.testing import CliRunner

from placet.attest.keyfiles import KeyFolder
from placet.attest.keys import KeyKind, low_s, new_signer
from placet.attest.predicates import Role
from placet.attest.remote import RemoteSigner, read_public_key, require_scheme
from placet.cli import app
from placet.domain.errors import KeyAccessError, UsageError
from placet.office import Office, TrustDesk
from placet.verify.verifier import verify_bundle
from tests.support import offices

PIN = "246810-user-pin"
TOKEN = "placet test"
MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
MODULE = next((path for path in MODULES if Path(path).exists()), "")
URI = "hsm:7?label=placet+test"

pytestmark = pytest.mark.skipif(
    not MODULE or shutil.which("softhsm2-util") is None, reason="needs SoftHSM2 (Debian: softhsm2)"
)


@pytest.fixture(scope="module", autouse=True)
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make a token with one P-256 key, number 7. The library reads its settings once in a process."""
    import pkcs11
    from pkcs11 import Attribute, KeyType
    from pkcs11.util.ec import encode_named_curve_parameters

    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    before = {name: os.environ.get(name) for name in ("SOFTHSM2_CONF", "PYKCS11LIB")}
    os.environ.update(SOFTHSM2_CONF=str(folder / "softhsm2.conf"), PYKCS11LIB=MODULE)
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--so-pin", "13579-so", "--pin", PIN],
        check=True,
        capture_output=True,
    )
    with pkcs11.lib(MODULE).get_token(token_label=TOKEN).open(rw=True, user_pin=PIN) as session:
        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
        )
        parameters.generate_keypair(store=True, id=bytes([7]), label="record key")
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def test_a_key_on_a_token_signs_what_its_public_half_verifies() -> None:
    public = read_public_key(URI, lambda: PIN)
    signer = RemoteSigner("token", URI, public, lambda: PIN)

    assert public.kind is KeyKind.P256
    # A token gives either spelling of a signature; ours is always the one that counts.
    for number in range(24):
        message = b"record %d" % number
        signature = signer.sign(message)
        public.verify(signature, message)
        assert low_s(signature) == signature


@pytest.mark.parametrize(
    ("uri", "pin"),
    [(URI, "wrong pin"), ("hsm:8?label=placet+test", PIN), ("hsm:7?label=another", PIN), ("hsm:x", PIN)],
)
def test_a_token_that_does_not_sign_is_an_error_that_says_what_to_look_at(uri: str, pin: str) -> None:
    public = read_public_key(URI, lambda: PIN)

    with pytest.raises(KeyAccessError, match="did not sign") as caught:
        RemoteSigner("token", uri, public, lambda: pin).sign(b"x")
    assert "PYKCS11LIB" in caught.value.hint


def test_a_token_with_another_key_than_was_linked_is_noticed() -> None:
    other = new_signer(KeyKind.P256).public

    with pytest.raises(KeyAccessError, match="signed with another key than token"):
        RemoteSigner("token", URI, other, lambda: PIN).sign(b"x")


@pytest.mark.parametrize("uri", ["", "file2:key.pem", "https://example.org", "pkcs11:token=x", "hsm:7\n"])
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="is no URI of a key"):
        require_scheme(uri)


def test_a_key_service_has_to_be_given_its_public_half() -> None:
    with pytest.raises(UsageError, match="do not tell their public half"):
        read_public_key("awskms:arn", lambda: "")


def test_an_approver_with_a_token_works_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = offices.make_office(tmp_path / "office")
    walk = offices.walk_to_verdict(sample)
    offices.approve(sample, walk.ref, "ada")
    home = str(sample.office.home)
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    monkeypatch.setenv("PLACET_PASSPHRASE_CLEO", PIN)
    monkeypatch.setattr("placet.office.Office.open", _same_clock(sample))

    def run(*words: str) -> None:
        done = CliRunner().invoke(app, [*words, "--home", home], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    run("keys", "link", "cleo", URI)
    run("trust", "add", "cleo", "--person", "Cleo", "--role", "approver", "--role", "releaser")
    sample.clock.advance(minutes=1)
    run("review", walk.ref.label, "--approve", "--key", "cleo", "--comment", "Signed on a token.")
    sample.clock.advance(minutes=1)
    run("release", walk.ref.label, "--channel", "staging", "--key", "cleo")

    (bundle,) = (sample.office.home / "releases" / "staging").iterdir()
    assert verify_bundle(bundle, sample.office.root.pin, now=sample.clock.now).approvers == ("ada", "Cleo")
    folder = KeyFolder(sample.office.home / "keys")
    assert folder.where("cleo") == URI
    assert not folder.file("cleo").exists()


def _same_clock(sample: offices.SampleOffice):  # type: ignore[no-untyped-def]
    real = Office.open.__func__  # type: ignore[attr-defined]

    def opened(home: Path, **options: object) -> Office:
        return real(Office, home, **{**options, "clock": sample.clock})

    return opened


def test_a_root_key_may_live_on_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from placet.attest.root import RootKey

    sample = offices.make_office(tmp_path / "office", key_files=False)
    office = sample.office
    monkeypatch.setenv("PLACET_PASSPHRASE_ROOT_TOKEN", PIN)
    public = read_public_key(URI, lambda: PIN)
    office.keys.add_uri("root-token", URI, public)

    TrustDesk(office).change_root((RootKey(public, "Ada Lovelace"),), 1)
    (office.home / "keys" / "root.pem").unlink()
    again = Office.open(office.home, ask=lambda _: offices.PASSPHRASE, clock=sample.clock)
    TrustDesk(again).grant(offices.signer_named("cleo").public, "cleo", (Role.APPROVER,))

    assert again.audit().whole
    assert again.root.current.keys[0].key == public
