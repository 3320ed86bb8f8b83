from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from placet.attest.predicates import PREDICATES, KeyGrant, Kind, Role, spec_for_type, spec_of
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import IntegrityError
from placet.domain.records import (
    AdapterRef,
    BaseRef,
    CheckResult,
    CheckStatus,
    FileEntry,
    Finding,
    GateResult,
    Intake,
    Interval,
    LedgerHead,
    Outcome,
    Record,
    Review,
    ReviewDecision,
    ReviewRule,
    Severity,
    SourceRef,
    files_digest,
)
from tests.support.offices import START, policy_ref

D = digest_bytes(b"d")
ADAPTER = AdapterRef(id=D, weights_id=D, label="desk-good")
BASE = BaseRef(id=D, label="tiny")


def _review(**changed: Any) -> Review:
    fields: dict[str, Any] = {
        "adapter": ADAPTER,
        "base": BASE,
        "policy": policy_ref(),
        "verdict": D,
        "evidence": (D,),
        "head": LedgerHead(size=3, root="ab" * 32),
        "decision": ReviewDecision.APPROVE,
        "comment": "ok",
        "reviewer": "ada",
        "reviewed_at": START,
        "expires_at": START + timedelta(days=90),
    }
    return Review(**(fields | changed))


def test_a_record_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        _review().comment = "changed"


def test_the_recorded_form_is_camel_case_and_reads_back_equal() -> None:
    form = _review().to_json()

    assert form["reviewedAt"] == "2026-03-02T09:00:00Z"
    assert form["adapter"]["weightsId"] == D
    assert Review.from_json(form) == _review()
    canonical_json(form)


def test_a_time_is_recorded_in_utc_and_whole_seconds_and_needs_a_zone() -> None:
    cet = datetime(2026, 3, 2, 10, 0, 0, 900_000, tzinfo=timezone(timedelta(hours=1)))

    assert _review(reviewed_at=cet).reviewed_at == datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    with pytest.raises(ValidationError, match="a time needs its zone"):
        _review(reviewed_at=datetime(2026, 3, 2, 10, 0))  # noqa: DTZ001 - that is the point


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"comment": 5},
        {"decision": "maybe"},
        {"verdict": "sha256:xy"},
        {"head": {"size": -1, "root": "ab" * 32}},
        {"head": {"size": 1, "root": "ab"}},
        {"evidence": "x"},
        {"expiresAt": "tomorrow"},
    ],
)
def test_a_malformed_record_is_refused_naming_the_place(change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=r"a Review record is malformed: .* at ") as caught:
        Review.from_json(_review().to_json() | change)
    assert "placet audit" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"reviewedAt": "2026-03-02T10:00:00+01:00"},
        {"reviewedAt": "2026-03-02T09:00:00.5Z"},
        {"reviewedAt": 1_772_442_000},
        {"head": {"size": "3", "root": "ab" * 32}},
        {"head": {"size": True, "root": "ab" * 32}},
    ],
)
def test_another_spelling_of_a_record_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="not in its one recorded form"):
        Review.from_json(_review().to_json() | change)


def test_python_names_of_fields_are_not_a_second_spelling() -> None:
    form = _review().to_json()
    form["expires_at"] = form.pop("expiresAt")

    with pytest.raises(IntegrityError, match="not in its one recorded form"):
        Review.from_json(form)


def test_a_field_under_both_its_names_is_refused() -> None:
    with pytest.raises(IntegrityError):
        Review.from_json(_review().to_json() | {"expires_at": "2099-01-01T00:00:00Z"})


@pytest.mark.parametrize("value", [None, 5, [], "x"])
def test_what_is_no_object_is_no_record(value: Any) -> None:
    with pytest.raises(IntegrityError, match="Review record is malformed"):
        Review.from_json(value)


# --- measured numbers --------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(-1e6, 1e6))
def test_a_measured_number_reads_back_equal(number: float) -> None:
    interval = Interval(low=number, high=number, level=0.9, method="m")

    assert Interval.from_json(interval.to_json()) == interval
    assert isinstance(interval.to_json()["low"], str)


@pytest.mark.parametrize("low", ["nan", "inf", "-Infinity", "x", True, None, float("nan")])
def test_a_measured_number_must_be_finite(low: Any) -> None:
    with pytest.raises(ValidationError):
        Interval(low=low, high=1.0, level=0.9, method="m")


@pytest.mark.parametrize("low", ["0.50", "5e-1", " 0.5", "0.5000001", 0.5])
def test_a_measured_number_on_record_has_one_spelling(low: Any) -> None:
    form = Interval(low=0.5, high=1.0, level=0.9, method="m").to_json() | {"low": low}

    with pytest.raises(IntegrityError, match="not in its one recorded form"):
        Interval.from_json(form)


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["", ".", "..", "../x", "/etc/passwd", "a/../../x", "a//b", "a/", "./a", "a/./b", "a\0b"]
)
def test_a_path_that_could_lead_out_of_its_folder_is_no_file_entry(path: str) -> None:
    with pytest.raises(ValidationError, match="a path names a file below its root"):
        FileEntry(path=path, size=1, sha256=D)


def test_an_id_of_files_does_not_depend_on_their_order_but_on_everything_else() -> None:
    a, b = FileEntry(path="a", size=1, sha256=D), FileEntry(path="b", size=1, sha256=D)

    assert files_digest((a, b)) == files_digest((b, a))
    others = [(a,), (a, b.model_copy(update={"path": "c"})), (a, b.model_copy(update={"size": 2})), (a, b, b)]
    assert files_digest((a, b)) not in {files_digest(other) for other in others}


# --- intake fails closed -----------------------------------------------------------------------------------


def _intake(*checks: CheckResult, adapter: AdapterRef | None = ADAPTER) -> Intake:
    return Intake(
        source=SourceRef(kind="folder", location="."),
        files=(),
        files_id=D,
        base=BASE,
        checks=checks,
        adapter=adapter,
        examined_at=START,
    )


def _check(status: CheckStatus, *findings: Finding) -> CheckResult:
    return CheckResult(check="c", version="1", status=status, findings=findings)


def _finding(severity: Severity) -> Finding:
    return Finding(id="f", severity=severity, message="m", fix="x")


def test_an_intake_whose_checks_all_passed_is_accepted() -> None:
    assert not _intake(_check(CheckStatus.PASSED)).refused
    assert not _intake(_check(CheckStatus.PASSED, _finding(Severity.WARN))).refused


@pytest.mark.parametrize(
    "intake",
    [
        _intake(),
        _intake(_check(CheckStatus.PASSED), adapter=None),
        _intake(_check(CheckStatus.PASSED), _check(CheckStatus.SKIPPED)),
        _intake(_check(CheckStatus.PASSED), _check(CheckStatus.ERRORED)),
        _intake(_check(CheckStatus.PASSED), _check(CheckStatus.FAILED)),
        _intake(_check(CheckStatus.PASSED, _finding(Severity.REFUSE))),
        _intake(_check(CheckStatus.FAILED, _finding(Severity.REFUSE))),
    ],
    ids=["no checks", "no subject", "skipped", "errored", "failed unsaid", "refusing", "failed"],
)
def test_an_intake_that_is_not_whole_refuses(intake: Intake) -> None:
    assert intake.refused


# --- rules -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"approvals": 0},
        {"valid_days": 0},
        {"waivers_needed": 0},
        {"separate_from": ("trainers",)},
        {"separate_from": ("Trainer",)},
        {"separate_from": ("submitter\n",)},
    ],
)
def test_a_review_rule_that_asks_for_nothing_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReviewRule(**({"approvals": 2, "valid_days": 30} | change))


def test_a_gate_cannot_be_waived_by_nobody() -> None:
    with pytest.raises(ValidationError):
        GateResult(gate="g", kind="k", outcome=Outcome.INCONCLUSIVE, reason="r", waivers_needed=0)


@pytest.mark.parametrize("person", ["", " ", "ada ", " ada", "ada\n", "ada\u200b", "\u202eada"])
def test_a_person_has_one_visible_name(person: str) -> None:
    with pytest.raises(ValidationError, match="person"):
        KeyGrant(key_id=D, public_key="p", person=person, roles=(Role.APPROVER,), valid_from=0)


# --- the table of kinds ------------------------------------------------------------------------------------


def test_every_kind_has_one_row_one_type_and_somebody_who_may_sign_it() -> None:
    assert [spec.kind for spec in PREDICATES] == list(Kind)
    assert len({spec.predicate_type for spec in PREDICATES}) == len(PREDICATES)
    for spec in PREDICATES:
        assert spec.roles
        assert issubclass(spec.model, Record)
        assert spec_of(spec.kind) is spec_for_type(spec.predicate_type) is spec


def test_only_the_root_may_say_who_signs_what() -> None:
    for spec in PREDICATES:
        assert (Role.ROOT in spec.roles) == (spec.kind is Kind.ROLES)
        assert not {Role.LOG, Role.WITNESS} & set(spec.roles)


@pytest.mark.parametrize("predicate_type", ["https://placet.dev/verdict/v2", "", "verdict"])
def test_a_type_of_the_future_is_not_known(predicate_type: str) -> None:
    with pytest.raises(IntegrityError, match="are not known here"):
        spec_for_type(predicate_type)
