"""The shipped policies decide as their cases say, and a case that expects wrongly is told so."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.domain.errors import UsageError
from placet.policy.casefile import PolicyCase
from placet.policy.cases import cases_folder, load_case, run_case, run_cases
from placet.policy.loader import load_policy
from placet.policy.schema import Policy
from tests.support.policies import small_policy

ROOT = Path(__file__).resolve().parents[2]
POLICIES = sorted((ROOT / "policies").glob("*.yaml"))
CASES = [(policy, case) for policy in POLICIES for case in sorted(cases_folder(policy).glob("*.yaml"))]


@pytest.fixture
def policy() -> Policy:
    return load_policy(ROOT / "policies" / "default.yaml")


@pytest.mark.parametrize(("policy_file", "case_file"), CASES, ids=lambda path: path.stem)
def test_a_shipped_case_ends_as_expected(policy_file: Path, case_file: Path) -> None:
    result = run_case(load_policy(policy_file), load_case(case_file), case_file.stem)
    assert result.passed, result.problems


@pytest.mark.parametrize("policy_file", POLICIES, ids=lambda path: path.stem)
def test_every_gate_of_a_shipped_policy_has_a_case_that_it_stops(policy_file: Path) -> None:
    policy = load_policy(policy_file)
    stopped: set[str] = set()
    for case_file in cases_folder(policy_file).glob("*.yaml"):
        expected = load_case(case_file).expect
        stopped |= {gate for gate, outcome in expected.gates.items() if outcome != "PASS"}
    assert stopped == {gate.id for gate in policy.gates}


def test_every_shipped_policy_allows_something(policy: Policy) -> None:
    results = run_cases(policy, ROOT / "policies" / "tests" / "default")
    assert all(result.passed for result in results)
    assert {load_case(case).expect.decision for _, case in CASES} == {
        "ALLOW",
        "DENY",
        "NEEDS_REVIEW",
        "undecided",
    }


def case_of(**expect: object) -> PolicyCase:
    good = load_case(ROOT / "policies" / "tests" / "default" / "good.yaml")
    return PolicyCase.model_validate({**good.model_dump(exclude_unset=True), "expect": expect})


def test_a_wrong_expectation_is_told(policy: Policy) -> None:
    result = run_case(policy, case_of(decision="DENY", gates={"intake": "FAIL"}))
    assert not result.passed
    assert result.problems[0] == "expected DENY, decided ALLOW"
    assert result.problems[1].startswith("gate intake: expected FAIL, is PASS: ")


def test_expecting_no_decision_where_there_is_one_is_told(policy: Policy) -> None:
    assert run_case(policy, case_of(decision="undecided")).problems[0] == "expected undecided, decided ALLOW"


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ({"gates": {"intake": "ERROR"}}, None),
        ({"gates": {"intake": "ERROR"}, "why": "Intake checks errored"}, None),
        ({"gates": {"provenance": "ERROR"}}, "gate provenance: expected ERROR, and what could not be judged"),
        (
            {"gates": {"intake": "FAIL"}},
            "gate intake: expected FAIL, and there is no verdict: could not decide",
        ),
        (
            {"why": "out of memory"},
            "expected to be told 'out of memory'; told: could not decide. Gate intake: ",
        ),
    ],
)
def test_no_verdict_for_another_reason_than_expected_is_told(
    policy: Policy, expect: dict[str, object], problem: str | None
) -> None:
    broke = load_case(ROOT / "policies" / "tests" / "default" / "check-broke.yaml")
    document = {**broke.model_dump(exclude_unset=True), "expect": {"decision": "undecided", **expect}}
    problems = run_case(policy, PolicyCase.model_validate(document)).problems
    assert [one.startswith(problem or "") for one in problems] == ([] if problem is None else [True])


def test_words_that_a_gate_must_say_are_looked_for(policy: Policy) -> None:
    orphan = load_case(ROOT / "policies" / "tests" / "default" / "orphan.yaml")
    expect = orphan.expect.model_dump(exclude_unset=True)
    for why, problems in (("Parent adapter", 0), ("somebody else", 1)):
        document = {**orphan.model_dump(exclude_unset=True), "expect": {**expect, "why": why}}
        result = run_case(policy, PolicyCase.model_validate(document))
        assert len(result.problems) == problems
    assert result.problems[0].startswith("expected to be told 'somebody else'; told: Parent adapter ")


def test_a_gate_or_suite_that_the_policy_lacks_is_refused(policy: Policy) -> None:
    with pytest.raises(UsageError, match="has no gate general"):
        run_case(policy, case_of(decision="ALLOW", gates={"general": "FAIL"}))
    strange = case_of(decision="ALLOW").model_dump(exclude_unset=True)
    strange["evidence"]["suites"]["other"] = {"ones": 1, "of": 2}
    with pytest.raises(UsageError, match="has no suite other"):
        run_case(policy, PolicyCase.model_validate(strange))


@pytest.mark.parametrize(
    "suite",
    [
        {},
        {"ones": 1},
        {"ones": 3, "of": 2},
        {"ones": 1, "of": 2, "both": 1},
        {"values": [1, 0]},
        {"both": 0},
        {"ones": 1, "of": 2, "colour": "red"},
    ],
)
def test_a_suite_that_says_nothing_is_refused(suite: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        PolicyCase.model_validate(
            {"title": "t", "evidence": {"suites": {"a": suite}}, "expect": {"decision": "ALLOW"}}
        )


def test_a_mistake_in_a_case_names_file_line_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("title: t\nevidence:\n  suites: {}\n  intak: clean\nexpect: {decision: ALLOW}\n")
    with pytest.raises(UsageError, match=r"odd\.yaml:4: evidence\.intak: unknown field"):
        load_case(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("evidnce: {}", r"a\.yaml:5: evidnce: unknown field; did you mean evidence\?"),
        ("colour: {}", r"a\.yaml:5: colour: unknown field; known here: title, evidence, expect"),
    ],
)
def test_an_unknown_field_of_a_case_is_told_what_a_case_knows(
    line: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"title: t\nevidence:\n  suites: {{}}\nexpect: {{decision: ALLOW}}\n{line}\n")
    with pytest.raises(UsageError, match=message):
        load_case(path)


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("{ones: 3, off: 4}", r"a\.yaml:4: evidence\.suites\.desk\.off: unknown field; did you mean of\?"),
        (
            "{groups: {men: {gaind: 3}}}",
            r"evidence\.suites\.desk\.groups\.men\.gaind: unknown field; did you mean gained\?",
        ),
        ("{ones: 1, of: 99999999999}", r"a\.yaml:4: evidence\.suites\.desk\.of: must be at most 1,000,000"),
        (
            "{values: [1.5], base_values: [1], range: [2, 1]}",
            r"a\.yaml:4: evidence\.suites\.desk: `range` names the least value first",
        ),
    ],
)
def test_a_mistake_in_a_case_s_suite_names_line_and_fix(suite: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(f"title: t\nevidence:\n  suites:\n    desk: {suite}\nexpect: {{decision: ALLOW}}\n")
    with pytest.raises(UsageError, match=message):
        load_case(path)


def test_a_case_that_names_what_the_policy_lacks_names_file_line_and_fix(
    policy: Policy, tmp_path: Path
) -> None:
    good = (ROOT / "policies" / "tests" / "default" / "good.yaml").read_text()
    (tmp_path / "a.yaml").write_text(good.rstrip() + "\n  gates:\n    intaik: FAIL\n")
    line = len(good.rstrip().splitlines()) + 2
    message = (
        rf"a\.yaml:{line}: expect\.gates\.intaik: policy default has no gate intaik; did you mean intake\?"
    )
    with pytest.raises(UsageError, match=message) as caught:
        run_cases(policy, tmp_path)
    assert caught.value.hint
    (tmp_path / "a.yaml").write_text(good.replace("support-desk:", "support-dsk:", 1))
    with pytest.raises(
        UsageError, match=r"a\.yaml:\d+: evidence\.suites\.support-dsk: policy default has no suite"
    ):
        run_cases(policy, tmp_path)


def test_a_case_shows_a_limit_that_nothing_can_miss() -> None:
    open_policy = small_policy(
        {"a": {"samples": "all"}},
        [{"id": "f", "kind": "floor", "suite": "a", "threshold": 0, "why": "w"}],
    )
    case = {
        "title": "t",
        "evidence": {"suites": {"a": {"ones": 0, "of": 3}}},
        "expect": {"decision": "ALLOW"},
    }
    with pytest.raises(UsageError, match=r"gates\[0\]\.threshold: nothing can miss this floor"):
        run_case(open_policy, PolicyCase.model_validate(case))


def test_a_folder_without_cases_is_refused(policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no case"):
        run_cases(policy, tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a" * 300_000])
def test_a_file_that_is_no_policy_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"not UTF-8|larger than"):
        load_policy(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_policy(tmp_path / "none.yaml")
