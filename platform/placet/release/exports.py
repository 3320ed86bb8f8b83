"""A verdict told in the words of other tools: SLSA verification summaries and in-toto test results.

Both are signed DSSE envelopes that stand for themselves and are not logged: what counts is the verdict they name by its
record id. NEEDS_REVIEW is neither a pass nor a fail, so it has no summary.

Sources: SLSA Verification Summary Attestation (VSA) v1.1, predicate ``https://slsa.dev/verification_summary/v1``;
in-toto test result v0.1, predicate ``https://in-toto.io/attestation/test-result/v0.1``.
"""

from __future__ import annotations

from typing import Any

from placet import __version__
from placet.attest.envelope import Envelope, sign_statement
from placet.attest.keys import Signer
from placet.attest.predicates import Kind, Role
from placet.attest.statement import Subject, build_statement
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.errors import UsageError
from placet.domain.records import Decision, Outcome, Verdict
from placet.office import EVALUATOR_KEY, Office

VSA_TYPE = "https://slsa.dev/verification_summary/v1"
TEST_RESULT_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
VERIFIER = "https://placet.dev/verifier"
LEVEL = "PLACET_ALLOWED"
"""What an ALLOW says in a summary's levels. SLSA leaves names outside its own tracks to verifiers."""

_RESULT = {Decision.ALLOW: "PASSED", Decision.DENY: "FAILED"}


def export_vsa(office: Office, adapter: Digest, signer: Signer | None = None) -> Envelope:
    """Return the newest verdict about `adapter` as a SLSA verification summary.

    Raises:
        UsageError: It has no verdict, or the verdict is NEEDS_REVIEW.
        NotAuthorizedError: The key does not hold the evaluator role.
    """
    verdict = _newest(office, adapter)
    return _signed(office, VSA_TYPE, verdict, vsa_predicate(verdict), signer)


def export_test_result(office: Office, adapter: Digest, signer: Signer | None = None) -> Envelope:
    """Return the gates of the newest verdict about `adapter` as an in-toto test result.

    Raises:
        UsageError: It has no verdict.
        NotAuthorizedError: The key does not hold the evaluator role.
    """
    verdict = _newest(office, adapter)
    return _signed(office, TEST_RESULT_TYPE, verdict, test_result_predicate(verdict), signer)


def vsa_predicate(verdict: Verified[Verdict]) -> dict[str, Any]:
    """Return the summary's predicate.

    Raises:
        UsageError: The verdict is NEEDS_REVIEW.
    """
    record = verdict.record
    if record.decision not in _RESULT:
        raise UsageError(
            f"{record.adapter.label} needs review: that is neither a pass nor a fail",
            hint="a summary can be made of ALLOW and DENY",
        )
    return {
        "verifier": {"id": VERIFIER, "version": {"placet": __version__}},
        "timeVerified": f"{record.decided_at:%Y-%m-%dT%H:%M:%SZ}",
        "resourceUri": f"placet:adapter/{_hex(record.adapter.id)}",
        "policy": {
            "uri": f"placet:policy/{record.policy.id}/{record.policy.version}",
            "digest": {"sha256": _hex(record.policy.digest)},
        },
        "inputAttestations": [
            {"uri": f"placet:record/{_hex(item)}", "digest": {"sha256": _hex(item)}}
            for item in (verdict.id, *record.evidence)
        ],
        "verificationResult": _RESULT[record.decision],
        "verifiedLevels": [LEVEL] if record.decision is Decision.ALLOW else [],
        "slsaVersion": "1.1",
    }


def test_result_predicate(verdict: Verified[Verdict]) -> dict[str, Any]:
    """Return the test result's predicate: a gate that is not required cannot fail the whole, it can only warn."""
    record = verdict.record
    named: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for gate in record.gates:
        if gate.outcome is Outcome.PASS:
            named["passedTests"].append(gate.gate)
        elif gate.outcome is Outcome.INCONCLUSIVE or not gate.required:
            named["warnedTests"].append(gate.gate)
        else:
            named["failedTests"].append(gate.gate)
    return {
        "result": _RESULT.get(record.decision, "WARNED"),
        "configuration": [
            {
                "name": f"policy {record.policy.id} {record.policy.version}",
                "digest": {"sha256": _hex(record.policy.digest)},
            },
            {"name": "plan", "digest": {"sha256": _hex(record.plan)}},
        ],
        **named,
    }


def _newest(office: Office, adapter: Digest) -> Verified[Verdict]:
    verdicts = office.reader().find(Kind.VERDICT, Verdict, subject=adapter)
    if not verdicts:
        raise UsageError(f"adapter {adapter} has no verdict yet", hint="run `placet gate` first")
    return verdicts[-1]


def _signed(
    office: Office,
    predicate_type: str,
    verdict: Verified[Verdict],
    predicate: dict[str, Any],
    signer: Signer | None,
) -> Envelope:
    adapter = verdict.record.adapter
    signer = signer or office.signer(EVALUATOR_KEY)
    reader = office.reader()
    reader.trust.authorize(signer.public.key_id, (Role.EVALUATOR,), reader.head().size)
    statement = build_statement(predicate_type, (Subject(adapter.label, adapter.id),), predicate)
    return sign_statement(statement, signer)


def _hex(digest: Digest) -> str:
    return digest.removeprefix("sha256:")
