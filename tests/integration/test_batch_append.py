"""Large batches, whose signatures are checked ahead of everything else: the same outcome as one by one."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from placet.attest import signatures
from placet.attest.envelope import Envelope, parse_envelope, sign_statement
from placet.attest.keys import PublicKey
from placet.attest.predicates import Kind, spec_of
from placet.attest.signatures import WORTH_IT
from placet.attest.statement import Subject, build_statement
from placet.attest.trust import sign_record
from placet.domain.digests import digest_bytes
from placet.domain.errors import Error
from placet.domain.records import Revocation
from placet.office import Office
from tests.support.offices import START, Released, released_office, signer_named

COUNT = 2 * WORTH_IT + 3


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _revocation(number: int, by: str = "rhea") -> Envelope:
    target = digest_bytes(b"%d" % number)
    record = Revocation(
        target=target, target_kind="adapter", reason="a test", revoked_by=by, revoked_at=START
    )
    return sign_record(Kind.REVOCATION, record, (Subject("x", target),), signer_named(by))


def _forged(number: int) -> Envelope:
    one, other = _revocation(number), _revocation(number + 10_000)
    old, new = (base64.b64encode(item.signature) for item in (one, other))
    return parse_envelope(one.raw.replace(old, new))


def _of_two_kinds(number: int) -> Envelope:
    one, other = _revocation(number), _revocation(number + 10_000)
    return Envelope(one.payload, one.key_id, one.signature, other.raw)


def _by_a_submitter(number: int) -> Envelope:
    return _revocation(number, "sam")


def _by_a_stranger(number: int) -> Envelope:
    return _revocation(number, "nobody")


def _malformed(number: int) -> Envelope:
    subject = (Subject("x", digest_bytes(b"%d" % number)),)
    statement = build_statement(spec_of(Kind.REVOCATION).predicate_type, subject, {"reason": "a test"})
    return sign_statement(statement, signer_named("rhea"))


def _unknown(number: int) -> Envelope:
    subject = (Subject("x", digest_bytes(b"%d" % number)),)
    return sign_statement(build_statement("https://example.org/x/v1", subject, {}), signer_named("rhea"))


def _refusal(office: Office, batch: Sequence[Envelope]) -> tuple[type[Error], str, str]:
    before = office.store.size(), office.store.latest_checkpoint()
    with pytest.raises(Error) as caught:
        office.append(batch)
    assert (office.store.size(), office.store.latest_checkpoint()) == before, "something was appended"
    return type(caught.value), caught.value.message, caught.value.hint


@pytest.mark.parametrize("at", [0, 1, WORTH_IT, COUNT - 2, COUNT - 1])
@pytest.mark.parametrize(
    "bad", [_forged, _of_two_kinds, _by_a_submitter, _by_a_stranger, _malformed, _unknown]
)
def test_a_bad_record_anywhere_is_refused_in_the_same_words_and_nothing_is_appended(
    made: Released, bad: Callable[[int], Envelope], at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [_revocation(number) for number in range(COUNT)]
    batch[at] = bad(at)
    beside = _refusal(made.office, batch)

    monkeypatch.setattr(signatures, "WORTH_IT", COUNT + 1)
    assert _refusal(made.office, batch) == beside


def test_of_two_bad_records_the_first_is_named(made: Released) -> None:
    batch = [_revocation(number) for number in range(COUNT)]
    batch[COUNT - 1], batch[5] = _forged(1), _by_a_stranger(5)
    assert "is not one of office" in _refusal(made.office, batch)[1]
    batch[5], batch[4] = batch[4], _forged(4)
    assert "does not match" in _refusal(made.office, batch)[1]


def test_a_large_batch_is_appended_in_order_and_no_signature_is_verified_twice(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = [_revocation(number) for number in range(COUNT)]
    verified: list[bytes] = []
    verify = PublicKey.verify

    def counted(key: PublicKey, signature: bytes, message: bytes) -> None:
        verified.append(signature)
        verify(key, signature, message)

    monkeypatch.setattr(PublicKey, "verify", counted)
    before = made.office.store.size()
    found = made.office.append(batch)
    monkeypatch.undo()

    assert [item.index for item in found] == list(range(before, before + COUNT))
    assert [item.envelope for item in found] == batch
    assert {item.person for item in found} == {"rhea"}
    assert not {item.signature for item in batch} & set(verified)
    assert [item.id for item in made.office.append(batch)] == [item.id for item in found]
    assert made.office.store.size() == before + COUNT
    assert made.office.audit(blobs=False).whole


def test_if_checking_fails_nothing_is_appended(made: Released, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(part: Sequence[signatures.Signed]) -> list[signatures.Signed]:
        raise MemoryError("no memory")

    monkeypatch.setattr(signatures, "_good", fails)
    before = made.office.store.size()
    with pytest.raises(MemoryError):
        made.office.append([_revocation(number) for number in range(COUNT)])
    monkeypatch.undo()
    assert made.office.store.size() == before
    assert made.office.audit(blobs=False).whole
