"""A released bundle: verified, taken apart, and put together anew as a hostile office can."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from placet.attest.envelope import parse_envelope
from placet.attest.statement import parse_statement
from placet.domain.digests import canonical_json
from placet.domain.errors import IntegrityError
from placet.ledger.merkle import inclusion_proof
from placet.verify.verifier import VerificationError, VerifiedRelease, verify_bundle
from tests.support.offices import Released

STEPS = ("trust root", "checkpoint", "records", "files", "evidence", "approval", "revocation")
ADAPTER_FILES = ("README.md", "adapter_config.json", "adapter_model.safetensors")
RECORD_FILES = ("1.root.json", "checkpoint.txt", "model.sig", "records.json")


def verify_made(made: Released, **options: Any) -> VerifiedRelease:
    options.setdefault("now", made.sample.clock.now)
    return verify_bundle(made.bundle, options.pop("pin", made.office.root.pin), **options)


def require_refused(made: Released, step: str | None, reason: str = ".", **options: Any) -> None:
    with pytest.raises(IntegrityError, match=reason) as caught:
        verify_made(made, **options)
    assert caught.value.hint
    if step is not None:
        assert isinstance(caught.value, VerificationError)
        assert caught.value.step == step, caught.value
        assert caught.value.passed == STEPS[: STEPS.index(step)]


def records_in(bundle: Path) -> list[dict[str, Any]]:
    return list(json.loads((bundle / "placet" / "records.json").read_bytes()))


def write_records(bundle: Path, records: list[dict[str, Any]]) -> None:
    (bundle / "placet" / "records.json").write_bytes(canonical_json(records))


def kind_of(record: dict[str, Any]) -> str:
    payload = parse_envelope(base64.b64decode(record["envelope"])).payload
    return parse_statement(payload).predicate_type.removeprefix("https://").split("/")[-2]


def put_together_anew(made: Released, *, add: tuple[int, ...] = (), drop: tuple[int, ...] = ()) -> None:
    """Put the bundle's records together anew under the newest checkpoint, as a hostile office can."""
    stored = made.office.store.snapshot()
    leaves = [entry.leaf for entry in stored.entries]
    indices = {record["index"] for record in records_in(made.bundle)} | set(add)
    records = [
        {
            "index": index,
            "envelope": base64.b64encode(stored.entries[index].envelope).decode(),
            "proof": [item.hex() for item in inclusion_proof(leaves, index)],
        }
        for index in sorted(indices - set(drop))
    ]
    write_records(made.bundle, records)
    (made.bundle / "placet" / "checkpoint.txt").write_text(stored.checkpoints[-1][1])
