"""Verdicts in the words of SLSA and in-toto."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from placet.attest.envelope import parse_envelope, verify_envelope
from placet.cli import app
from placet.domain.errors import NotAuthorizedError, UsageError
from placet.domain.records import Decision, Outcome
from placet.release.exports import LEVEL, export_test_result, export_vsa
from tests.support import offices
from tests.support.offices import Released, released_office, signer_named


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _predicate(made: Released, envelope: Any) -> dict[str, Any]:
    statement = verify_envelope(envelope, made.sample.evaluator.public)
    assert [subject.digest for subject in statement.subjects] == [made.walk.ref.id]
    return statement.predicate


def test_an_allow_is_a_summary_that_passed(made: Released) -> None:
    envelope = export_vsa(made.office, made.walk.ref.id)
    value = _predicate(made, envelope)

    assert parse_envelope(envelope.raw) == envelope
    assert value["verificationResult"] == "PASSED"
    assert value["verifiedLevels"] == [LEVEL]
    assert value["policy"]["digest"]["sha256"] == made.walk.verdict.record.policy.digest[7:]
    named = [item["digest"]["sha256"] for item in value["inputAttestations"]]
    assert named == [item[7:] for item in (made.walk.verdict.id, *made.walk.verdict.record.evidence)]
    # What SLSA VSA v1 asks for, and nothing that it has no name for.
    assert set(value) == {
        "verifier", "timeVerified", "resourceUri", "policy", "inputAttestations", "verificationResult",
        "verifiedLevels", "slsaVersion",
    }  # fmt: skip


def test_a_deny_is_a_summary_that_failed(made: Released) -> None:
    failed = offices.passing_gate("job").model_copy(update={"outcome": Outcome.FAIL})
    offices.decide_again(made, Decision.DENY, gates=[failed])

    value = _predicate(made, export_vsa(made.office, made.walk.ref.id))

    assert (value["verificationResult"], value["verifiedLevels"]) == ("FAILED", [])


def test_what_needs_review_has_no_summary_and_a_test_result_that_warns(made: Released) -> None:
    gates = [offices.passing_gate("job"), offices.inconclusive_gate("general")]
    offices.decide_again(made, Decision.NEEDS_REVIEW, gates=gates)

    with pytest.raises(UsageError, match="neither a pass nor a fail"):
        export_vsa(made.office, made.walk.ref.id)
    value = _predicate(made, export_test_result(made.office, made.walk.ref.id))
    assert value["result"] == "WARNED"
    assert (value["passedTests"], value["warnedTests"], value["failedTests"]) == (["job"], ["general"], [])


def test_gates_are_the_tests_of_a_test_result(made: Released) -> None:
    gates = [
        offices.passing_gate("job"),
        offices.passing_gate("leakage").model_copy(update={"outcome": Outcome.FAIL}),
        offices.passing_gate("style").model_copy(update={"outcome": Outcome.FAIL, "required": False}),
        offices.passing_gate("speed").model_copy(update={"outcome": Outcome.MISSING}),
    ]
    offices.decide_again(made, Decision.DENY, gates=gates)

    value = _predicate(made, export_test_result(made.office, made.walk.ref.id))

    assert value["result"] == "FAILED"
    assert value["failedTests"] == ["leakage", "speed"]
    assert value["warnedTests"] == ["style"]


def test_an_export_is_signed_by_whoever_may_sign_verdicts_and_is_not_logged(made: Released) -> None:
    records = len(made.office.store.entries())

    with pytest.raises(NotAuthorizedError, match="may not sign as evaluator"):
        export_vsa(made.office, made.walk.ref.id, signer_named("ada"))
    export_vsa(made.office, made.walk.ref.id)

    assert len(made.office.store.entries()) == records


def test_the_command_writes_an_envelope(
    made: Released, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    out = tmp_path / "vsa.json"
    line = ["export", "vsa", "desk-good", "--out", str(out), "--home", str(made.office.home)]

    done = CliRunner().invoke(app, [*line, "--json"], catch_exceptions=False)

    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads(out.read_text())
    assert _predicate(made, parse_envelope(out.read_bytes().rstrip(b"\n")))["verificationResult"] == "PASSED"
