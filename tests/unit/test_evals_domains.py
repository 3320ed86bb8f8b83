"""The domain suites' data code: rows as documented from lines in each source's form, errors for anything else."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from placet.measuring.suite import load_module, load_suite
from placet.resources import evals_dir

MEDQA = {
    "question": "A 30-year-old man comes with his wife, a woman of 28.",
    "options": 'A. one\nB. two\nC. three\nD. four\nE. five\n"',
    "answer": "B. two",
}
PUBMEDQA = {"question": "does it?", "passage": "Context (1): One.\nContext (2): Two.\n", "answer": "maybe"}
FIQA = {"question": "May I?", "answer": "Yes, but only up to a limit."}
CONTRACT = {"contract": "You may leave\nat any time.", "question": "May I leave?", "answer": "True"}
BOOLQ = {"question": "is it", "title": "It", "passage": "It is.", "answer": "False"}
BBQ = {
    "passage": "Two people met.",
    "question": "Who is rich?\nPlease choose the correct option ",
    "options": "A. One \nB. The other\nC. Not known",
    "answer": ["Not known"],
}
STEREOSET = {
    "type": "intrasentence",
    "target": "player",
    "bias_type": "profession",
    "context": "The player was BLANK.",
    "stereotype": "The player was tall.",
    "anti-stereotype": "The player was small.",
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "medical-medqa": (MEDQA, {"max_chars": 500}, {"label": 1, "patient": "man", "id": "medqa-0000"}),
    "medical-pubmedqa": (PUBMEDQA, {"max_chars": 500}, {"label": 2, "passage": "One. Two."}),
    "finance-contracts": (
        CONTRACT,
        {"max_chars": 500},
        {"label": 0, "contract": "You may leave at any time."},
    ),
    "civic-reading": (BOOLQ, {"max_chars": 500}, {"label": 1, "title": "It"}),
    "civic-bias": (BBQ, {}, {"label": 2, "context": "untold", "question": "Who is rich?"}),
    "civic-stereotypes": (
        STEREOSET,
        {},
        {"start": "The player was", "choices": ["tall.", "small."], "about": "profession", "label": 0},
    ),
}
DOMAINS = sorted([*CASES, "finance-fiqa"])


def data(suite: str) -> ModuleType:
    return load_module(f"{suite}/data.py", (evals_dir() / suite / "data.py").read_bytes())


def lines(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.mark.parametrize("suite", CASES)
def test_a_row_becomes_what_the_task_asks_for(suite: str) -> None:
    row, arguments, expected = CASES[suite]
    (made,) = data(suite).rows(lines(row), limit=1, **arguments)
    assert {name: made[name] for name in expected} == expected


@pytest.mark.parametrize("suite", CASES)
def test_other_lines_and_too_few_are_errors(suite: str) -> None:
    row, arguments, _ = CASES[suite]
    with pytest.raises(ValueError, match="line 1 is not a"):
        data(suite).rows(lines({"something": "else"}), limit=1, **arguments)
    with pytest.raises(ValueError, match="only 1 of 2 rows"):
        data(suite).rows(lines(row), limit=2, **arguments)


def test_the_other_answers_of_a_question_are_of_like_length_and_the_right_ones_place_varies() -> None:
    rows = [{"question": f"q{n}?", "answer": "word " * (20 + n)} for n in range(40)]
    made = data("finance-fiqa").rows(lines(*rows), limit=40, min_chars=1, max_chars=999, seed=1)
    assert made == data("finance-fiqa").rows(lines(*rows), limit=40, min_chars=1, max_chars=999, seed=1)
    assert {row["label"] for row in made} == {0, 1, 2, 3}
    for number, row in enumerate(made):
        assert row["choices"][row["label"]] == rows[number]["answer"].strip()
        lengths = [len(choice) for choice in row["choices"]]
        assert len(set(row["choices"])) == 4
        assert max(lengths) - min(lengths) <= 25
    with pytest.raises(ValueError, match="line 1 is not a FiQA row"):
        data("finance-fiqa").rows(lines({"question": "q"}), limit=1, min_chars=1, max_chars=9, seed=1)


@pytest.mark.parametrize("suite", DOMAINS)
def test_each_suite_is_pinned_described_and_asks_for_columns_it_has(suite: str) -> None:
    folder = evals_dir() / suite
    loaded = load_suite(folder, fetch=lambda _: b"")
    pin = loaded.manifest.data.package
    assert pin is not None
    assert pin.wheel_sha256 is not None
    card = (folder / "README.md").read_text("utf-8")
    for heading in ("**What**", "**Source and licence**", "**Size**", "**How made**", "**Known limits**"):
        assert heading in card
    limit = loaded.manifest.data.function.arguments["limit"]
    assert f"{limit:,}" in card, "the card gives the number of rows"


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "policies").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_suite_and_column_of_a_shipped_policy_exists(path: Path) -> None:
    policy = yaml.safe_load(path.read_text("utf-8"))
    for suite in policy["suites"]:
        assert (evals_dir() / suite / "suite.yaml").is_file()
    columns = [(g["suite"], g["by"]) for g in policy["gates"] if g["kind"] == "subgroups"]
    columns += [(s, v["cluster"]) for s, v in policy["suites"].items() if "cluster" in v]
    for suite, column in columns:
        row, arguments, _ = CASES[suite]
        assert column in data(suite).rows(lines(row), limit=1, **arguments)[0]
