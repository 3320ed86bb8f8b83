"""The pages about policies say what the code does: fields, kinds and figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from placet.policy.gates import KINDS
from placet.policy.loader import parse_policy
from placet.policy.model import ComparisonGate, Gate, PlanningGuess, SuiteGate
from placet.policy.schema import Policy, Sampling
from placet.policy.tiers import Review
from placet.stats.planning import detectable_margin, not_worse_power, score_power

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "policy.md").read_text("utf-8")
STATISTICS = (DOCS / "explanation" / "statistics.md").read_text("utf-8")


def section(text: str, heading: str) -> str:
    """Return the text under `heading`, up to the next heading of the same or a higher level."""
    level = len(heading) - len(heading.lstrip("#"))
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"no section {heading}"
    return re.split(rf"\n#{{1,{level}}} ", rest)[0]


def fields_told(text: str) -> set[str]:
    return {name.split(".")[-1] for name in re.findall(r"^\| `([a-z_.]+)` \|", text, re.MULTILINE)}


def test_the_document_and_its_parts_are_told() -> None:
    assert fields_told(section(REFERENCE, "## The document")) == (
        set(Policy.model_fields) | set(Review.model_fields) | set(Sampling.model_fields)
    )


def test_the_common_fields_are_told() -> None:
    common = section(REFERENCE, "## Gates").split("\n### ")[0]
    assert fields_told(common) == (
        set(Gate.model_fields) | set(SuiteGate.model_fields) | set(ComparisonGate.model_fields)
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_told_with_its_own_fields_and_an_example(kind: object) -> None:
    row = next(one for one in KINDS if one is kind)
    told = section(REFERENCE, f"### {row.name}")
    own = set(row.model.model_fields) - set(ComparisonGate.model_fields)
    if "planning" in own:
        own |= set(PlanningGuess.model_fields)
    assert fields_told(told) == own
    (example,) = re.findall(r"```yaml\n(.*?)```", told, re.DOTALL)
    # Beside a gate that measures something: the age of evidence can be asked for only there.
    whole = f"{example}- {{id: beside, kind: floor, suite: beside, threshold: 0.5, why: w}}\n"
    suites = "".join(f"  {suite}: {{samples: all}}\n" for suite in re.findall(r"suite: ([\w-]+)", whole))
    top = (
        'id: p\nversion: "1"\ntitle: t\ndescription: d\nrisk_tier: minimal\nrisk: r\n'
        "review: {approvals: 1, valid_days: 1}\nsuites:"
    )
    policy = parse_policy(f"{top}\n{suites}gates:\n{whole}")
    assert policy.gates[0].kind == row.name


def test_every_kind_is_linked_from_the_contents() -> None:
    for kind in KINDS:
        assert f"[{kind.name}](#{kind.name})" in REFERENCE


def rows(heading: str) -> list[list[str]]:
    table = re.findall(r"^\| (\d+ \|.*) \|$", section(STATISTICS, heading), re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in table]


def test_the_errors_told_are_those_enumerated() -> None:
    told = rows("## A paired difference: Tango's score, exact")
    assert [row[0] for row in told] == ["50", "100", "200", "500", "1000", "2000"]
    for documents, *cells in told:
        n = int(documents)
        for margin, cell in zip((0.03, 0.05, 0.1), cells, strict=True):
            exact, score = (float(figure) for figure in re.findall(r"0\.\d+", cell))
            assert exact <= 0.05 < score
            if n > 100:  # those take a minute: benchmarks/statistics.py
                continue
            grid = [min(1.0, margin * (1 / margin) ** (step / 119)) for step in range(120)]
            assert max(not_worse_power(n, margin, psi, -margin) for psi in grid) == pytest.approx(
                exact, abs=0.00006
            )
            assert max(score_power(n, margin, psi, -margin) for psi in grid) == pytest.approx(
                score, abs=0.00051
            )


def test_the_margins_told_are_those_computed() -> None:
    told = rows("## Planning")
    assert len(told) == 6
    for documents, figure in told:
        if int(documents) <= 200:  # the others by the quicker test, which is close to the exact one there
            assert detectable_margin(int(documents), 0.1) == pytest.approx(float(figure), abs=0.00051), (
                documents
            )
        else:
            assert score_power(int(documents), float(figure), 0.1) == pytest.approx(0.8, abs=0.02), documents
