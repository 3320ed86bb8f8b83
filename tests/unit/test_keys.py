from __future__ import annotations

import base64
import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from placet.attest.keyfiles import load_signer, passphrase_for, save_key
from placet.attest.keys import KeyKind, LocalSigner, PublicKey, low_s, new_signer, parse_public_key
from placet.domain.errors import IntegrityError, KeyAccessError

PASSPHRASE = "correct horse battery"
# RFC 8032 section 7.1, test 2.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
# Points of small order: a signature "by" such a key can be made for any message by anybody.
SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


def _pem(raw: bytes) -> str:
    return (
        Ed25519PublicKey.from_public_bytes(raw)
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def test_signatures_are_those_of_rfc_8032() -> None:
    signer = LocalSigner(Ed25519PrivateKey.from_private_bytes(SECRET))

    assert signer.public.raw == PUBLIC
    assert signer.sign(b"\x72") == SIGNATURE
    signer.public.verify(SIGNATURE, b"\x72")


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (SIGNATURE, b"\x73"),
        (SIGNATURE, b""),
        (SIGNATURE[:-1], b"\x72"),
        (SIGNATURE + b"\0", b"\x72"),
        (b"", b"\x72"),
        (bytes(64), b"\x72"),
    ],
)
def test_a_signature_of_something_else_is_refused(signature: bytes, message: bytes) -> None:
    with pytest.raises(IntegrityError, match="signature does not match"):
        PublicKey(PUBLIC).verify(signature, message)


def test_a_key_id_is_the_digest_of_the_key_itself_whatever_its_file_looks_like() -> None:
    key = parse_public_key(_pem(PUBLIC))
    der = bytes.fromhex("302a300506032b6570032100") + PUBLIC

    assert key.key_id == "sha256:" + hashlib.sha256(der).hexdigest()
    assert parse_public_key("a comment\n" + _pem(PUBLIC) + "\n\n").key_id == key.key_id
    assert parse_public_key(key.pem) == key


def test_only_ed25519_and_p256_keys_are_taken() -> None:
    for other in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        pem = other.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        with pytest.raises(IntegrityError, match="neither an Ed25519 nor a P-256 key"):
            parse_public_key(pem.decode())


# --- P-256 -------------------------------------------------------------------------------------------------

# RFC 6979 appendix A.2.5: the key, and its signature of "sample" with SHA-256.
P256_SECRET = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
P256_R = 0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
P256_S = 0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _p256() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(P256_SECRET, ec.SECP256R1())


def test_an_ecdsa_signature_counts_in_one_spelling_only() -> None:
    key = LocalSigner(_p256()).public
    high, low = (encode_dss_signature(P256_R, s) for s in (P256_S, P256_ORDER - P256_S))

    key.verify(low, b"sample")
    with pytest.raises(IntegrityError, match="signature does not match"):
        key.verify(high, b"sample")
    assert low_s(high) == low_s(low) == low


def test_what_is_signed_with_p256_verifies_and_is_low() -> None:
    signer = new_signer(KeyKind.P256)
    for message in (b"", b"a", b"b" * 1000):
        signature = signer.sign(message)
        signer.public.verify(signature, message)
        assert low_s(signature) == signature
        for wrong in (signature[:-1], signature + b"\0", b"", bytes(64)):
            with pytest.raises(IntegrityError):
                signer.public.verify(wrong, message)


def test_every_spelling_of_a_key_has_one_id() -> None:
    private = _p256().public_key()
    point = {
        form: private.public_bytes(serialization.Encoding.X962, form)
        for form in (serialization.PublicFormat.UncompressedPoint, serialization.PublicFormat.CompressedPoint)
    }
    compressed = (
        bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
        + point[serialization.PublicFormat.CompressedPoint]
    )
    lines = base64.encodebytes(compressed).decode()
    plain = LocalSigner(_p256()).public
    spellings = [
        plain.pem,
        plain.pem.replace("\n", "\r\n"),
        "comment\n" + plain.pem,
        plain.pem + "\n\n",
        f"-----BEGIN PUBLIC KEY-----\n{lines}-----END PUBLIC KEY-----\n",
    ]

    assert {parse_public_key(text) for text in spellings} == {plain}
    assert plain.raw == point[serialization.PublicFormat.UncompressedPoint]
    der = private.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert plain.key_id == "sha256:" + hashlib.sha256(der).hexdigest()


def test_a_point_that_is_not_on_the_curve_is_no_key() -> None:
    raw = b"\x04" + bytes(63) + b"\x01"

    with pytest.raises(IntegrityError):
        parse_public_key(PublicKey(raw, KeyKind.P256).pem)


@pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----\n", "é", "\ud800"])
def test_what_is_not_pem_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="not a public key in PEM form"):
        parse_public_key(text)


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_that_everybody_can_sign_for_is_refused(point: str) -> None:
    der = bytes.fromhex("302a300506032b6570032100" + point)
    pem = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"

    with pytest.raises(IntegrityError):
        parse_public_key(pem)


# --- key files ---------------------------------------------------------------------------------------------


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "ada.pem"
    save_key(LocalSigner(Ed25519PrivateKey.from_private_bytes(SECRET)), path, PASSPHRASE)
    return path


def test_a_key_file_is_encrypted_private_and_opens_with_its_passphrase(key_file: Path) -> None:
    data = key_file.read_bytes()

    assert data.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert load_signer(key_file, PASSPHRASE).public.raw == PUBLIC
    assert parse_public_key(key_file.with_name("ada.pem.pub").read_text()).raw == PUBLIC


@pytest.mark.parametrize("passphrase", ["", "wrong", PASSPHRASE + " ", PASSPHRASE.upper()])
def test_a_wrong_passphrase_is_said_and_does_not_open(key_file: Path, passphrase: str) -> None:
    with pytest.raises(
        KeyAccessError, match=r"ada\.pem (does not open: wrong passphrase|is not encrypted)"
    ) as caught:
        load_signer(key_file, passphrase)
    assert caught.value.hint


def test_a_key_is_never_overwritten(key_file: Path) -> None:
    before = key_file.read_bytes()

    with pytest.raises(KeyAccessError, match="exists already"):
        save_key(new_signer(), key_file, PASSPHRASE)
    assert key_file.read_bytes() == before


def test_a_short_passphrase_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyAccessError, match="shorter than 8"):
        save_key(new_signer(), tmp_path / "keys" / "a.pem", "1234567")
    assert not (tmp_path / "keys").exists()


def test_an_unencrypted_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.pem"
    path.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )

    with pytest.raises(KeyAccessError, match="is not encrypted"):
        load_signer(path, PASSPHRASE)


def test_an_encrypted_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p384.pem"
    path.write_bytes(
        ec.generate_private_key(ec.SECP384R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSPHRASE.encode()),
        )
    )

    with pytest.raises(KeyAccessError, match="neither an Ed25519 nor a P-256 key"):
        load_signer(path, PASSPHRASE)


@pytest.mark.parametrize("cut", [0, 10, 100])
def test_a_damaged_key_file_does_not_open(key_file: Path, cut: int) -> None:
    key_file.chmod(0o600)
    key_file.write_bytes(key_file.read_bytes()[:cut])

    with pytest.raises(KeyAccessError, match=r"ada\.pem does not open"):
        load_signer(key_file, PASSPHRASE)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyAccessError, match=r"no key file .*nobody\.pem"):
        load_signer(tmp_path / "nobody.pem", PASSPHRASE)


# --- passphrases -------------------------------------------------------------------------------------------


def test_the_keys_own_variable_wins_over_the_common_one_and_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLACET_PASSPHRASE", "common")
    assert passphrase_for("ada.l-x", lambda _: "asked") == "common"
    monkeypatch.setenv("PLACET_PASSPHRASE_ADA_L_X", "own")
    assert passphrase_for("ada.l-x", lambda _: "asked") == "own"


def test_without_a_variable_a_person_is_asked_and_without_a_person_it_is_an_error() -> None:
    assert passphrase_for("ada", lambda name: f"for {name}") == "for ada"
    with pytest.raises(KeyAccessError, match="passphrase of key 'ada' is not known") as caught:
        passphrase_for("ada")
    assert "PLACET_PASSPHRASE_ADA" in caught.value.hint
