"""OpenSSF Model Signing, both ways, with the `model_signing` program: theirs verifies ours, ours verifies theirs."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from placet.attest.envelope import PAYLOAD_TYPE, pre_authentication_encoding
from placet.attest.keys import KeyKind, LocalSigner, new_signer
from placet.attest.oms import sign_files, verify_files
from placet.domain.errors import IntegrityError, UsageError
from placet.verify.layout import hash_files
from tests.support import offices

PROGRAM = Path(sys.executable).with_name("model_signing")
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="needs model-signing")
KEY = new_signer(KeyKind.P256)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    (folder / "deep" / "er").mkdir(parents=True)
    for name, data in {
        "adapter_config.json": b"{}",
        "adapter_model.safetensors": bytes(range(256)) * 40,
        "README.md": "Gr\u00fc\u00dfe \u2013 \u4f60\u597d\n".encode(),
        "deep/er/with space.txt": b"",
        "deep/b.txt": b"b",
        "deep.txt": b"sorts differently by bytes and by parts",
    }.items():
        (folder / name).write_bytes(data)
    return folder


def _theirs(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *(str(word) for word in words)], capture_output=True, text=True, check=False
    )


def _verified_by_them(folder: Path, raw: bytes, key: LocalSigner = KEY) -> bool:
    signature, public = folder.parent / "ours.sig", folder.parent / "key.pub"
    signature.write_bytes(raw)
    public.write_text(key.public.pem)
    return _theirs("verify", "key", "--signature", signature, "--public_key", public, folder).returncode == 0


def _signed_by_them(folder: Path, *options: str) -> bytes:
    private, signature = folder.parent / "key.pem", folder.parent / "theirs.sig"
    private.write_bytes(
        KEY.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    done = _theirs("sign", "key", "--private_key", private, "--signature", signature, *options, folder)
    assert done.returncode == 0, done.stderr
    return signature.read_bytes()


def _sign(folder: Path) -> bytes:
    return sign_files("adapter", hash_files(folder), KEY)


def test_theirs_verifies_ours_and_refuses_what_was_changed(folder: Path) -> None:
    raw = _sign(folder)

    assert _verified_by_them(folder, raw)
    (folder / "deep" / "b.txt").write_bytes(b"c")
    assert not _verified_by_them(folder, raw)
    (folder / "deep" / "b.txt").write_bytes(b"b")
    (folder / "more.txt").touch()
    assert not _verified_by_them(folder, raw)
    (folder / "more.txt").unlink()
    assert not _verified_by_them(folder, raw, new_signer(KeyKind.P256))
    assert _verified_by_them(folder, raw)


def test_ours_verifies_theirs_and_refuses_what_was_changed(folder: Path) -> None:
    raw = _signed_by_them(folder)

    verify_files(raw, KEY.public, hash_files(folder))
    (folder / "deep" / "b.txt").write_bytes(b"c")
    with pytest.raises(IntegrityError, match=r"'deep/b.txt' is not the file that was signed"):
        verify_files(raw, KEY.public, hash_files(folder))


def test_the_signature_of_a_release_is_one_that_they_verify(tmp_path: Path) -> None:
    made = offices.released_office(tmp_path / "office")
    public = tmp_path / "files.pub"
    public.write_text(made.released.record.files_key)

    done = _theirs(
        "verify", "key", "--signature", made.bundle / "placet" / "model.sig", "--public_key", public,
        made.bundle / "adapter",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def test_a_file_in_a_path_that_the_signer_ignored_is_seen_here_and_not_there(folder: Path) -> None:
    hidden = folder / "deep" / "er"
    raw = _signed_by_them(folder, "--ignore-paths", str(hidden))
    (hidden / "payload.bin").write_bytes(b"anything")

    # Their verifier takes the signer's word for what to leave out.
    assert _verified_by_them(folder, raw)
    with pytest.raises(IntegrityError, match=r"is not signed"):
        verify_files(raw, KEY.public, hash_files(folder))
    raw = _signed_by_them(folder)
    (folder / ".gitignore").touch()
    with pytest.raises(IntegrityError, match=r"'\.gitignore' is not signed"):
        verify_files(raw, KEY.public, hash_files(folder))


def _resigned(raw: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    value = json.loads(raw)
    statement = json.loads(base64.b64decode(value["dsseEnvelope"]["payload"]))
    change(statement)
    payload = json.dumps(statement).encode()
    signature = KEY.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
    value["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    value["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    return json.dumps(value).encode()


def test_two_files_in_each_others_place_are_noticed_though_the_subject_says_nothing_of_names(
    folder: Path,
) -> None:
    def swap(statement: dict[str, Any]) -> None:
        one, two = statement["predicate"]["resources"][:2]
        one["name"], two["name"] = two["name"], one["name"]

    with pytest.raises(IntegrityError, match="is not the file that was signed"):
        verify_files(_resigned(_sign(folder), swap), KEY.public, hash_files(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["predicate"]["resources"].pop(),
        lambda s: s["predicate"]["resources"].append(s["predicate"]["resources"][0]),
        lambda s: s["predicate"]["resources"][0].update(algorithm="blake3"),
        lambda s: s["predicate"]["resources"][0].update(digest="zz"),
        lambda s: s["predicate"]["serialization"].update(method="shards"),
        lambda s: s["predicate"]["serialization"].update(hash_type="blake2b"),
        lambda s: s["predicate"]["serialization"].update(allow_symlinks=True),
        lambda s: s["predicate"].pop("serialization"),
        lambda s: s["subject"][0]["digest"].update(sha256="0" * 64),
        lambda s: s["subject"].append(s["subject"][0]),
        lambda s: s.update(predicateType="https://model_signing/Digests/v0.1"),
        lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"),
    ],
    ids=range(12),
)
def test_a_well_signed_statement_that_says_something_else_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    with pytest.raises(IntegrityError):
        verify_files(_resigned(_sign(folder), change), KEY.public, hash_files(folder))


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.update(mediaType="application/json"),
        lambda b: b.update(extra=1),
        lambda b: b["verificationMaterial"].update(tlogEntries=[{}]),
        lambda b: b["verificationMaterial"].update(tlogEntriet=b["verificationMaterial"].pop("tlogEntries")),
        lambda b: b["verificationMaterial"]["publicKey"].update(hint="0" * 64),
        lambda b: b["verificationMaterial"].update(publicKey={}),
        lambda b: b["dsseEnvelope"].update(payloadType="text/plain"),
        lambda b: b["dsseEnvelope"].update(extra=1),
        lambda b: b["dsseEnvelope"].update(signatures=[]),
        lambda b: b["dsseEnvelope"]["signatures"].append(b["dsseEnvelope"]["signatures"][0]),
        lambda b: b["dsseEnvelope"]["signatures"][0].update(sig="AAAA"),
        lambda b: b["dsseEnvelope"]["signatures"][0].update(keyid="x"),
        lambda b: b.clear(),
    ],
    ids=range(13),
)
def test_another_bundle_around_a_good_statement_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    value = json.loads(_sign(folder))
    change(value)

    with pytest.raises(IntegrityError):
        verify_files(json.dumps(value).encode(), KEY.public, hash_files(folder))


def test_only_a_p256_key_signs_files(folder: Path) -> None:
    with pytest.raises(UsageError, match="signed with a P-256 key"):
        sign_files("adapter", hash_files(folder), new_signer())
    with pytest.raises(IntegrityError):
        verify_files(_sign(folder), new_signer().public, hash_files(folder))


def test_no_flipped_byte_of_a_bundle_verifies_in_the_one_spelling(folder: Path) -> None:
    raw, files = _sign(folder), hash_files(folder)
    for position in range(len(raw)):
        for flip in (0x01, 0x04, 0x20):
            altered = bytearray(raw)
            altered[position] ^= flip
            with pytest.raises(IntegrityError):
                verify_files(bytes(altered), KEY.public, files, one_spelling=True)


def test_a_bundle_takes_the_one_spelling_only(folder: Path) -> None:
    raw, files = _sign(folder), hash_files(folder)
    verify_files(raw, KEY.public, files, one_spelling=True)
    theirs = _signed_by_them(folder)
    for other in (raw + b"\n", json.dumps(json.loads(raw), indent=1).encode()):
        verify_files(other, KEY.public, files)
        with pytest.raises(IntegrityError, match="in another way than ours"):
            verify_files(other, KEY.public, files, one_spelling=True)
    verify_files(theirs, KEY.public, files)


def test_they_refuse_a_swap_of_whole_folders(folder: Path) -> None:
    raw = _sign(folder)
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    (other / "deep.txt").write_bytes(b"something else")

    assert not _verified_by_them(other, raw)
