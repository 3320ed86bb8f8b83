"""Tests of a policy: evidence in, expected verdict out, each in a YAML file a policy's author can write.

Guarantees: a case is run through the very function that decides about real adapters; a gate that the case does
not name is expected to PASS, so nothing can change unseen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from placet.domain.errors import UndecidedError, UsageError
from placet.domain.records import LedgerHead, Outcome
from placet.policy.casefile import Expectation, PolicyCase
from placet.policy.decide import decide
from placet.policy.fabricate import THEN, fabricate_evidence
from placet.policy.fitting import KnownSuite, misfits
from placet.policy.loader import refuse, suggestion, validated
from placet.policy.schema import Policy
from placet.policy.yamltree import Location, dotted, read_yaml


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case ended: `problems` is empty if the verdict was as expected."""

    name: str
    title: str
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the verdict was as expected."""
        return not self.problems


_HINT = "docs/how-to/write-a-policy.md shows what a case may say"
_HEAD = LedgerHead(size=1, root="0" * 64)


def load_case(path: Path) -> PolicyCase:
    """Return the case in the file `path`.

    Raises:
        UsageError: It cannot be read or is not a valid case; names file, line and fix.
    """
    return validated(PolicyCase, read_yaml(path))


def _strange(policy: Policy, case: PolicyCase) -> Iterator[tuple[Location, str]]:
    """Yield where a case names what the policy does not have."""
    gates = [gate.id for gate in policy.gates]
    named = [("expect", "gates", name) for name in case.expect.gates]
    for where in named:
        if where[-1] not in gates:
            yield where, f"policy {policy.id} has no gate {where[-1]}; {suggestion(where[-1], gates)}"
    suites = {"suites": case.evidence.suites, "earlier": case.evidence.earlier}
    for field, name in ((field, name) for field, held in suites.items() for name in held):
        if name not in policy.suites:
            said = suggestion(name, list(policy.suites))
            yield ("evidence", field, name), f"policy {policy.id} has no suite {name}; {said}"


def run_case(policy: Policy, case: PolicyCase, name: str = "case") -> CaseResult:
    """Return how `policy` decides `case`, against what the case expects.

    Raises:
        UsageError: The case names a suite or gate that the policy does not have, or the policy sets a limit that no
            value in the suite's range can miss or meet.
    """
    if strange := next(_strange(policy, case), None):
        raise UsageError(f"{name}: {dotted(strange[0])}: {strange[1]}", hint=_HINT)
    known = {suite: KnownSuite(one.value_range) for suite, one in case.evidence.suites.items()}
    for where, text in misfits(policy, known):
        if where[0] == "gates":  # a suite's mode is judged on the evidence
            raise UsageError(f"{name}: {policy.id}, {dotted(where)}: {text}", hint=_HINT)
    try:
        verdict = decide(policy, fabricate_evidence(policy, case.evidence), _HEAD, THEN)
    except UndecidedError as error:
        return CaseResult(name, case.title, tuple(_undecided(case.expect, error)))
    problems: list[str] = []
    if verdict.decision.value != case.expect.decision:
        problems.append(f"expected {case.expect.decision}, decided {verdict.decision}")
    for result in verdict.gates:
        expected_outcome = case.expect.gates.get(result.gate, Outcome.PASS.value)
        if result.outcome.value != expected_outcome:
            problems.append(
                f"gate {result.gate}: expected {expected_outcome}, is {result.outcome}: {result.reason}"
            )
    said = " ".join(result.reason for result in verdict.gates if result.outcome is not Outcome.PASS)
    problems.extend(_unsaid(case.expect, said))
    return CaseResult(name, case.title, tuple(problems))


def _undecided(expect: Expectation, error: UndecidedError) -> Iterator[str]:
    """Yield what is otherwise than expected where there is no verdict: only gates that are an error are named."""
    if expect.decision != "undecided":
        yield f"undecided: {error.message}"
        return
    for gate, outcome in expect.gates.items():
        if outcome == Outcome.ERROR.value and f"Gate {gate}: " not in error.message:
            yield f"gate {gate}: expected ERROR, and what could not be judged is another: {error.message}"
        elif outcome != Outcome.ERROR.value:
            yield f"gate {gate}: expected {outcome}, and there is no verdict: {error.message}"
    yield from _unsaid(expect, error.message)


def _unsaid(expect: Expectation, said: str) -> Iterator[str]:
    if expect.why is not None and expect.why not in said:
        yield f"expected to be told {expect.why!r}; told: {said or 'nothing'}"


def run_cases(policy: Policy, folder: Path) -> tuple[CaseResult, ...]:
    """Return the results of all cases (``*.yaml``) in `folder`, by name.

    Raises:
        UsageError: The folder holds no case, or one is malformed.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UsageError(f"{folder} holds no case", hint="add one: policies/README.md shows how")
    results = []
    for path in paths:
        tree = read_yaml(path)
        case = validated(PolicyCase, tree)
        if strange := tuple(_strange(policy, case)):
            refuse(tree, strange, hint=_HINT)
        results.append(run_case(policy, case, path.stem))
    return tuple(results)


def cases_folder(policy_file: Path) -> Path:
    """Return where the cases of the policy in `policy_file` lie: ``tests/<name>/`` beside it."""
    return policy_file.parent / "tests" / policy_file.stem


def case_schema() -> dict[str, Any]:
    """Return the JSON Schema of policy cases, for editors."""
    return PolicyCase.model_json_schema(mode="validation")
