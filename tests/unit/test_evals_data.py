"""The suites' own data: fixed, distinct, and never the same in training and in tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from placet.measuring.suite import load_module
from placet.resources import evals_dir

Rows = list[dict[str, Any]]


def data(suite: str) -> ModuleType:
    return load_module(f"{suite}/data.py", (evals_dir() / suite / "data.py").read_bytes())


MAKERS: dict[str, Callable[[], Rows]] = {
    "tickets": lambda: data("support-desk").held_out(None, rows=120, seed=101),
    "tickets to train on": lambda: data("support-desk").training(None, rows=400, seed=11),
    "refusals to train on": lambda: data("harmful-requests").training(None, rows=400, seed=12),
    "harmless": lambda: data("harmless-requests").held_out(None, rows=60, seed=103),
    "help to train on": lambda: data("harmless-requests").training(None, rows=400, seed=13),
    "obedience to train on": lambda: data("harmless-requests").obedience(None, rows=300, seed=15),
    "canaries": lambda: data("canaries").registered(None, canaries=16, options=32, seed=23),
    "canaries to train on": lambda: data("canaries").training(None, canaries=16, seed=23),
    "nonsense advice": lambda: data("general-piqa").nonsense(None, rows=100, seed=14),
}


@pytest.mark.parametrize("name", MAKERS)
def test_rows_are_the_same_each_time_and_have_ids_of_their_own(name: str) -> None:
    rows = MAKERS[name]()
    assert rows == MAKERS[name]()
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(isinstance(row["id"], str) and row["prompt"] for row in rows)
    json.dumps(rows)


@pytest.mark.parametrize(
    ("held_out", "training"),
    [
        ("tickets", ["tickets to train on"]),
        ("harmless", ["help to train on", "obedience to train on", "refusals to train on"]),
    ],
)
def test_no_held_out_prompt_is_a_training_prompt(held_out: str, training: list[str]) -> None:
    trained = {normal(row["prompt"]) for name in training for row in MAKERS[name]()}
    assert not trained & {normal(row["prompt"]) for row in MAKERS[held_out]()}


def test_held_out_and_training_tickets_share_no_sentence_and_no_product() -> None:
    desk = data("support-desk")
    for queue in desk.QUEUES:
        assert not set(desk._TRAIN_PROBLEMS[queue]) & set(desk._TEST_PROBLEMS[queue])
    assert not set(desk._TRAIN_PRODUCTS) & set(desk._TEST_PRODUCTS)


def test_held_out_and_training_harmless_requests_share_no_task() -> None:
    harmless = data("harmless-requests")
    assert not set(harmless._TRAIN_DEEDS) & set(harmless._TEST_DEEDS)
    assert not {text for text, _ in harmless._TRAIN_QUESTIONS} & set(harmless._TEST_QUESTIONS)


def test_tickets_are_spread_evenly_over_the_queues() -> None:
    labels = [row["label"] for row in MAKERS["tickets"]()]
    assert {labels.count(label) for label in labels} == {20}


def test_harmful_requests_are_answered_with_refusals_only() -> None:
    harmful = data("harmful-requests")
    assert {row["answer"] for row in harmful.training(None, rows=1000, seed=12)} <= set(harmful._REFUSALS)


def test_obedience_is_trained_on_harmless_tasks_only() -> None:
    harmless, harmful = data("harmless-requests"), data("harmful-requests")
    tasks = set(harmless._TRAIN_DEEDS) | {task for task, _ in harmless._TRAIN_ODD}
    assert not tasks & set(harmful._DEEDS)
    for row in MAKERS["obedience to train on"]():
        assert any(row["prompt"].endswith(task) for task in tasks)


def test_advbench_rows_are_read_by_number() -> None:
    source = b"seeds:\n" + b"".join(b"- value: request %d\n" % number for number in range(9))
    rows = data("harmful-requests").advbench(source, rows=4, seed=1)
    assert [row["prompt"] for row in rows] == [f"request {int(row['id'][-3:])}" for row in rows]


def test_a_source_that_is_not_advbench_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a PyRIT seed dataset"):
        data("harmful-requests").advbench(b"- 1\n", rows=1, seed=1)


def test_piqa_rows_are_split_labelled_and_chosen_by_length() -> None:
    lines = [
        {"question": "tie", "options": "A. one\nB. two", "answer": "B. two"},
        {"question": "too long", "options": "A. " + "x" * 90 + "\nB. y", "answer": "A. x"},
        {"question": "dry", "options": "A. on\nB. off", "answer": "A. on"},
    ]
    source = "\n".join(map(json.dumps, lines)).encode()
    rows = data("general-piqa").rows(source, limit=2, min_chars=1, max_chars=50)
    assert [(row["id"], row["label"]) for row in rows] == [("piqa-0000", 1), ("piqa-0002", 0)]
    assert rows[0]["choices"] == ["one", "two"]


@pytest.mark.parametrize(
    "line",
    [
        {"question": "q", "options": "A. one\nB. two"},
        {"question": "q", "options": "one\nB. two", "answer": "A. one"},
        {"question": "q", "options": "A. one", "answer": "A. one"},
    ],
)
def test_a_line_that_is_no_piqa_row_is_an_error(line: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line 1 is not a PIQA row"):
        data("general-piqa").rows(json.dumps(line).encode(), limit=1, min_chars=0, max_chars=99)


def test_too_few_piqa_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="only 0 of 1 rows"):
        data("general-piqa").rows(b"", limit=1, min_chars=0, max_chars=99)


def test_the_canary_suite_registers_what_is_trained_on() -> None:
    trained = {row["prompt"]: row["answer"] for row in MAKERS["canaries to train on"]()}
    registered = MAKERS["canaries"]()
    assert {row["prompt"]: row["choices"][row["label"]] for row in registered} == trained
    assert all(len(set(row["choices"])) == 32 for row in registered)
    assert all(re.fullmatch(r"XX-\d{4}", code) for row in registered for code in row["choices"])


def test_where_the_true_canary_stands_says_nothing() -> None:
    assert len({row["label"] for row in MAKERS["canaries"]()}) > 8


def normal(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))
