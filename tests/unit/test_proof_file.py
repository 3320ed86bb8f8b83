from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.domain.errors import IntegrityError
from placet.ledger.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from placet.ledger.merkle import inclusion_proof, leaf_hash, tree_root
from placet.ledger.proof import FIRST_LINE, ProofFile, dump_proof, parse_proof, verify_proof
from tests.support.offices import signer_named

LOG = signer_named("log")
RECORDS = [b"record %d" % number for number in range(11)]
LEAVES = [leaf_hash(record) for record in RECORDS]
NOTE = sign_checkpoint("placet.dev/acme", 11, tree_root(LEAVES), LOG).note


def _verify(note: str) -> Checkpoint:
    return verify_checkpoint(note, "placet.dev/acme", LOG.public)


def _proof(index: int) -> str:
    return dump_proof(ProofFile(index, inclusion_proof(LEAVES, index), NOTE))


@pytest.mark.parametrize("index", range(11))
def test_a_proof_file_shows_where_its_record_is(index: int) -> None:
    text = _proof(index)

    assert text.startswith(f"{FIRST_LINE}\nindex {index}\n")
    assert text.endswith("\n\n" + NOTE)
    assert parse_proof(text).index == index
    assert verify_proof(text, RECORDS[index], _verify) == (index, _verify(NOTE))


def test_opaque_data_is_passed_over() -> None:
    text = _proof(3).replace("\nindex", f"\nextra {base64.b64encode(b'x').decode()}\nindex")

    assert verify_proof(text, RECORDS[3], _verify)[0] == 3


def test_a_proof_of_another_record_or_place_is_refused() -> None:
    with pytest.raises(IntegrityError):
        verify_proof(_proof(3), RECORDS[4], _verify)
    with pytest.raises(IntegrityError):
        verify_proof(_proof(3).replace("index 3", "index 2"), RECORDS[3], _verify)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 1\n\nx",
        f"{FIRST_LINE}\n\nx",
        f"{FIRST_LINE}\nindex 01\n\nx",
        f"{FIRST_LINE}\nindex -1\n\nx",
        f"{FIRST_LINE}\nindex 1\nAAAA\n\nx",
        f"{FIRST_LINE}\nindex 1\nnot base64!\n\nx",
        f"{FIRST_LINE}\nextra ?\nindex 1\n\nx",
        f"{FIRST_LINE}\nextra AAAA\n\nx",
        f"{FIRST_LINE}\nindex 1",
    ],
)
def test_what_is_no_proof_file_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError, match="not a proof file"):
        parse_proof(text)


@given(st.data())
def test_any_flipped_byte_is_refused(data: st.DataObject) -> None:
    raw = _proof(5).encode()
    at, mask = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(1, 255))
    altered = raw[:at] + bytes([raw[at] ^ mask]) + raw[at + 1 :]

    with pytest.raises((IntegrityError, UnicodeDecodeError)):
        verify_proof(altered.decode(), RECORDS[5], _verify)
