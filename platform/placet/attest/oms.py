"""Signatures over released files that other tools can check: the OpenSSF Model Signing format (OMS) 1.0.

A Sigstore bundle with a public key's hint, around a DSSE envelope, around an in-toto statement that lists every file
with its SHA-256. Signed with ECDSA over P-256; ``model_signing verify key`` checks it.

Two things the format leaves open are closed here. Its subject digest covers the files' digests and not their names,
so names are compared one by one. A signer may list paths to ignore, and a verifier that obeys may be blind to a file
put there; here every file of the folder has to be listed, whatever is to be ignored.

Sources: the OMS specification (bundle v0.3, predicate ``model_signing/signature/v1.0``), DSSE v1.0.2.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from placet.attest.envelope import PAYLOAD_TYPE, pre_authentication_encoding
from placet.attest.keys import KeyKind, PublicKey, Signer, low_s
from placet.attest.statement import STATEMENT_TYPE
from placet.attest.strict_json import parse_base64, parse_json
from placet.domain.digests import canonical_json
from placet.domain.errors import Error, IntegrityError, UsageError
from placet.domain.records import FileEntry

PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_AGAIN = "the files or their signature were altered: fetch them again"


def sign_files(name: str, files: Sequence[FileEntry], signer: Signer) -> bytes:
    """Return the OMS bundle of `files`, signed by a P-256 key.

    Args:
        name: What the model is called: the name of its folder.
        files: Every file of it.
        signer: A P-256 key.

    Raises:
        UsageError: The key is of another kind: the format knows no Ed25519.
    """
    key = signer.public
    if key.kind is not KeyKind.P256:
        raise UsageError(
            "released files are signed with a P-256 key", hint="make one: `placet keys new files --kind p256`"
        )
    ordered = sorted(files, key=lambda entry: entry.path)
    payload = canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": name, "digest": {"sha256": _subject_digest(entry.sha256 for entry in ordered)}}
            ],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "resources": [
                    {
                        "name": entry.path,
                        "algorithm": "sha256",
                        "digest": entry.sha256.removeprefix("sha256:"),
                    }
                    for entry in ordered
                ],
                "serialization": {
                    "method": "files",
                    "hash_type": "sha256",
                    "allow_symlinks": False,
                    "ignore_paths": [],
                },
            },
        }
    )
    return _bundle(payload, signer.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload)), key)


def _bundle(payload: bytes, signature: bytes, key: PublicKey) -> bytes:
    return canonical_json(
        {
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": _hint(key)}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
    )


def verify_files(
    raw: bytes, key: PublicKey, files: Sequence[FileEntry], *, one_spelling: bool = False
) -> None:
    """Return if OMS bundle `raw` is `key`'s signature over exactly `files`, every one of them and no other.

    Args:
        raw: The bundle, ours or another tool's.
        key: Who has to have signed it.
        files: Every file there is.
        one_spelling: Refuse every other spelling of the same thing than the one :func:`sign_files` writes.

    Raises:
        IntegrityError: It is not.
    """
    payload, signature = _parse_bundle(raw, key)
    try:
        # Other tools write either spelling of an ECDSA signature; nothing is named by it.
        plain = low_s(signature)
    except ValueError as error:
        raise IntegrityError("the signature of the files is malformed", hint=_AGAIN) from error
    if one_spelling and raw != _bundle(payload, plain, key):
        raise IntegrityError("the signature of the files is spelled in another way than ours", hint=_AGAIN)
    key.verify(plain, pre_authentication_encoding(PAYLOAD_TYPE, payload))
    value = parse_json(payload, "signature of the files")
    try:
        signed = _signed_files(value)
    except (Error, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"the signature of the files is malformed: {error}", hint=_AGAIN) from error
    found = {entry.path: entry.sha256.removeprefix("sha256:") for entry in files}
    for path in sorted(set(found) ^ set(signed)):
        how = "not signed" if path in found else "missing"
        raise IntegrityError(f"{path!a} is {how}", hint=_AGAIN)
    for path, digest in sorted(found.items()):
        if signed[path] != digest:
            raise IntegrityError(f"{path!a} is not the file that was signed", hint=_AGAIN)


def _parse_bundle(raw: bytes, key: PublicKey) -> tuple[bytes, bytes]:
    value = parse_json(raw, "signature of the files")
    try:
        material, envelope = value["verificationMaterial"], value["dsseEnvelope"]
        (entry,) = envelope["signatures"]
        if value["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD_TYPE:
            raise ValueError("another kind of bundle")
        if material.get("tlogEntries"):
            raise ValueError("more than a signature by a key")
        if material["publicKey"] != {"hint": _hint(key)} or entry.get("keyid", "") != "":
            raise ValueError("another key is named")
        if (
            set(value) != {"mediaType", "verificationMaterial", "dsseEnvelope"}
            or not set(material) <= {"publicKey", "tlogEntries"}
            or set(envelope) != {"payload", "payloadType", "signatures"}
            or not set(entry) <= {"sig", "keyid"}
        ):
            raise ValueError("unknown fields")
        return parse_base64(envelope["payload"]), parse_base64(entry["sig"])
    except (Error, KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"no OMS signature by this key: {error}", hint=_AGAIN) from error


def _signed_files(value: dict[str, Any]) -> dict[str, str]:
    predicate = value["predicate"]
    serialization, resources = predicate["serialization"], predicate["resources"]
    if value["_type"] != STATEMENT_TYPE or value["predicateType"] != PREDICATE_TYPE:
        raise ValueError("another kind of statement")
    if (serialization["method"], serialization["hash_type"], serialization["allow_symlinks"]) != (
        "files",
        "sha256",
        False,
    ):
        raise ValueError("files hashed in a way that is not read here")
    (subject,) = value["subject"]
    signed: dict[str, str] = {}
    for resource in resources:
        if resource["algorithm"] != "sha256" or resource["name"] in signed:
            raise ValueError("another digest, or one file twice")
        signed[resource["name"]] = resource["digest"]
    if subject["digest"] != {"sha256": _subject_digest(signed.values())}:
        raise ValueError("the subject is not made of the files")
    return signed


def _subject_digest(digests: Any) -> str:
    joined = b"".join(bytes.fromhex(str(digest).removeprefix("sha256:")) for digest in digests)
    return hashlib.sha256(joined).hexdigest()


def _hint(key: PublicKey) -> str:
    return hashlib.sha256(key.pem.encode()).hexdigest()
