"""Signing with keys that never leave a token or a key service, by securesystemslib's signer URIs.

| URI | where the key is |
|---|---|
| ``hsm:KEYID?label=TOKEN`` | a PKCS#11 token (``PYKCS11LIB`` names its module); P-256 |
| ``awskms:…``, ``gcpkms:…``, ``azurekms:…``, ``hv:…`` | Amazon, Google and Azure key services, HashiCorp Vault |

What comes back is checked against the public key before it is used: a service that signs with another key, or
another message, is an error here and not a bad record later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from placet.attest.keys import KeyKind, PublicKey, low_s, parse_public_key
from placet.domain.errors import IntegrityError, KeyAccessError, UsageError

SCHEMES = ("hsm", "awskms", "gcpkms", "azurekms", "hv")


@dataclass(frozen=True, slots=True)
class RemoteSigner:
    """Signs through a URI; `secret` returns the PIN or passphrase when one is asked for."""

    name: str
    uri: str
    public: PublicKey
    secret: Callable[[], str]

    def sign(self, message: bytes) -> bytes:
        """Return the signature of `message`.

        Raises:
            KeyAccessError: The token or service did not sign, or signed with another key.
        """
        signer = _signing()
        try:
            key = _library_key(self.public)
            held = signer.Signer.from_priv_key_uri(self.uri, key, lambda _: self.secret())
            signature = bytes.fromhex(held.sign(message).signature)
            if self.public.kind is KeyKind.P256:
                signature = low_s(signature)
            self.public.verify(signature, message)
        except IntegrityError as error:
            raise KeyAccessError(
                f"{self.uri} signed with another key than {self.name}.pem.pub",
                hint="is the right token plugged in? `placet keys link` names it anew",
            ) from error
        except KeyAccessError:
            raise
        except Exception as error:  # each kind of token and service raises errors of its own
            raise KeyAccessError(
                f"key {self.name} at {self.uri} did not sign: {str(error) or type(error).__name__}",
                hint="is the token plugged in, PYKCS11LIB set, the PIN right, the service reachable?",
            ) from error
        return signature


def require_scheme(uri: str) -> None:
    """Return if `uri` is of a kind that is used here.

    Raises:
        UsageError: It is not.
    """
    scheme = uri.partition(":")[0]
    if scheme not in SCHEMES or not uri.isprintable():
        raise UsageError(
            f"{uri!r} is no URI of a key", hint="it starts with one of " + ", ".join(f"{s}:" for s in SCHEMES)
        )


def read_public_key(uri: str, secret: Callable[[], str]) -> PublicKey:
    """Return the public half of the key on the token that `uri` names.

    Raises:
        UsageError: Only tokens tell it; that of a key service is given as a file.
        KeyAccessError: The token is not there, or holds no such key.
    """
    require_scheme(uri)
    parts = urlsplit(uri)
    if parts.scheme != "hsm":
        raise UsageError(
            f"{parts.scheme}: keys do not tell their public half here", hint="give it: --public FILE"
        )
    signing = _signing()
    try:
        number = int(parts.path) if parts.path else None
        label = dict(parse_qsl(parts.query)).get("label")
        _, key = signing.HSMSigner.import_(number, label, lambda _: secret())
    except Exception as error:  # PKCS#11 modules raise errors of their own
        raise KeyAccessError(
            f"{uri} cannot be read: {str(error) or type(error).__name__}",
            hint="is the token plugged in, and does PYKCS11LIB name its PKCS#11 module?",
        ) from error
    return parse_public_key(key.keyval["public"])


def _library_key(public: PublicKey) -> Any:
    scheme = ("ecdsa", "ecdsa-sha2-nistp256") if public.kind is KeyKind.P256 else ("ed25519", "ed25519")
    value = public.pem if public.kind is KeyKind.P256 else public.raw.hex()
    return _signing().SSlibKey(public.key_id, *scheme, {"public": value})


def _signing() -> Any:
    try:
        import securesystemslib.signer as signing
    except ModuleNotFoundError as error:
        raise KeyAccessError("securesystemslib is not installed", hint="pip install 'placet[hsm]'") from error
    return signing
