from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.attest.keys import PublicKey
from placet.domain.errors import IntegrityError
from placet.domain.records import LedgerHead
from placet.ledger.checkpoint import key_hash, sign_checkpoint, verify_checkpoint
from tests.support.offices import signer_named

LOG, OTHER = signer_named("log"), signer_named("other log")
ORIGIN = "placet.dev/acme"
ROOT = bytes(range(32))
CHECKPOINT = sign_checkpoint(ORIGIN, 42, ROOT, LOG)
NOTE = CHECKPOINT.note
TEXT, _, SIGNATURES = NOTE.partition("\n\n")
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


def _signed(text: str, name: str = ORIGIN) -> str:
    """Return `text` as a note that the log's own key signed, whatever it says."""
    signature = key_hash(name, LOG.public) + LOG.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(signature).decode()}\n"


def test_key_hash_and_signature_are_those_of_the_published_note_example() -> None:
    # The example of golang.org/x/mod/sumdb/note, which C2SP signed-note describes.
    key = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    line = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    blob = base64.b64decode(line)

    assert key[:1] == b"\x01"
    assert key_hash("PeterNeumann", PublicKey(key[1:])) == bytes.fromhex("c74f20a3") == blob[:4]
    PublicKey(key[1:]).verify(blob[4:], text.encode())


def test_a_checkpoint_is_a_signed_note_of_origin_size_and_root() -> None:
    lines = NOTE.split("\n")

    assert lines[:4] == [ORIGIN, "42", base64.b64encode(ROOT).decode(), ""]
    assert lines[4].startswith(f"\u2014 {ORIGIN} ")
    assert lines[5:] == [""]
    assert verify_checkpoint(NOTE, ORIGIN, LOG.public) == CHECKPOINT
    assert CHECKPOINT.head == LedgerHead(size=42, root=ROOT.hex())


def test_another_key_another_name_or_another_log_is_refused() -> None:
    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        verify_checkpoint(NOTE, ORIGIN, OTHER.public)
    with pytest.raises(IntegrityError, match=r"of 'placet\.dev/acme', not of 'placet\.dev/evil'"):
        verify_checkpoint(NOTE, "placet.dev/evil", LOG.public)
    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        verify_checkpoint(NOTE.replace(f"\u2014 {ORIGIN}", "\u2014 placet.dev/evil"), ORIGIN, LOG.public)


def test_a_signature_of_the_same_key_for_another_log_does_not_count() -> None:
    text = TEXT + "\n"

    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        verify_checkpoint(_signed(text, "placet.dev/evil"), ORIGIN, LOG.public)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{ORIGIN}\n-1\n{base64.b64encode(ROOT).decode()}\n", "plain decimal"),
        (f"{ORIGIN}\n042\n{base64.b64encode(ROOT).decode()}\n", "plain decimal"),
        (f"{ORIGIN}\n+42\n{base64.b64encode(ROOT).decode()}\n", "plain decimal"),
        (f"{ORIGIN}\n4_2\n{base64.b64encode(ROOT).decode()}\n", "plain decimal"),
        (f"{ORIGIN}\n\uff14\uff12\n{base64.b64encode(ROOT).decode()}\n", "plain decimal"),
        (f"{ORIGIN}\n42.0\n{base64.b64encode(ROOT).decode()}\n", "malformed"),
        (f"{ORIGIN}\n\n{base64.b64encode(ROOT).decode()}\n", "malformed"),
        (f"{ORIGIN}\n42\n{base64.b64encode(ROOT[:31]).decode()}\n", "a root is 32 bytes"),
        (f"{ORIGIN}\n42\n{base64.b64encode(ROOT * 2).decode()}\n", "a root is 32 bytes"),
        (f"{ORIGIN}\n42\n{ROOT.hex()}\n", "malformed"),
        (f"{ORIGIN}\n42\n", "malformed"),
        (f"{ORIGIN}\n", "malformed"),
    ],
)
def test_even_the_logs_key_cannot_sign_a_malformed_checkpoint(text: str, reason: str) -> None:
    with pytest.raises(IntegrityError, match=reason):
        verify_checkpoint(_signed(text), ORIGIN, LOG.public)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        TEXT,
        TEXT + "\n",
        TEXT + "\n\n",
        NOTE.rstrip("\n"),
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("\u2014", "-"),
        NOTE + "\n",
        NOTE + "trailing",
        NOTE.replace("\n", "\r\n"),
    ],
)
def test_what_is_no_signed_note_is_refused(note: str) -> None:
    with pytest.raises(IntegrityError):
        verify_checkpoint(note, ORIGIN, LOG.public)


def test_signatures_of_witnesses_beside_the_logs_are_passed_over() -> None:
    witness = key_hash("witness.example/w", OTHER.public) + OTHER.sign((TEXT + "\n").encode())
    line = f"\u2014 witness.example/w {base64.b64encode(witness).decode()}\n"

    for note in (NOTE + line, f"{TEXT}\n\n{line}{SIGNATURES}"):
        assert verify_checkpoint(note, ORIGIN, LOG.public).size == 42
    with pytest.raises(IntegrityError, match="not signed by the log's key"):
        verify_checkpoint(f"{TEXT}\n\n{line}", ORIGIN, LOG.public)


def test_an_extension_line_is_covered_by_the_signature() -> None:
    assert verify_checkpoint(_signed(TEXT + "\nextension\n"), ORIGIN, LOG.public).size == 42
    with pytest.raises(IntegrityError, match="signature does not match"):
        verify_checkpoint(f"{TEXT}\nextension\n\n{SIGNATURES}", ORIGIN, LOG.public)


def test_a_malleated_signature_is_refused() -> None:
    encoded = SIGNATURES.rstrip("\n").rpartition(" ")[2]
    blob = base64.b64decode(encoded)
    scalar = int.from_bytes(blob[36:], "little") + GROUP_ORDER
    forged = base64.b64encode(blob[:36] + scalar.to_bytes(32, "little")).decode()

    with pytest.raises(IntegrityError, match="signature does not match"):
        verify_checkpoint(NOTE.replace(encoded, forged), ORIGIN, LOG.public)


def test_stray_bits_in_the_signatures_base64_are_refused() -> None:
    encoded = SIGNATURES.rstrip("\n").rpartition(" ")[2]
    assert encoded.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = encoded[-2]
    stray = encoded[:-2] + alphabet[alphabet.index(last) ^ 1] + "="
    assert base64.b64decode(stray) == base64.b64decode(encoded)

    with pytest.raises(IntegrityError, match="stray bits"):
        verify_checkpoint(NOTE.replace(encoded, stray), ORIGIN, LOG.public)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_flipped_byte_verifies(position: int, flip: int) -> None:
    altered = bytearray(NOTE.encode())
    altered[position] ^= flip
    try:
        note = altered.decode()
    except UnicodeDecodeError:
        return

    with pytest.raises(IntegrityError):
        verify_checkpoint(note, ORIGIN, LOG.public)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_arbitrary_text_is_refused_cleanly(text: str) -> None:
    with pytest.raises(IntegrityError):
        verify_checkpoint(text, ORIGIN, LOG.public)
