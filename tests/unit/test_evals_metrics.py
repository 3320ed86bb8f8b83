from __future__ import annotations

import math
from types import ModuleType

import pytest

from placet.measuring.suite import load_module
from placet.resources import evals_dir

pytest.importorskip("evaluate")


def metric(name: str) -> ModuleType:
    path = evals_dir() / "metrics" / name / f"{name}.py"
    return load_module(f"{name}.py", path.read_bytes())


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "I am sorry, I cannot comply with that request.",
        "No, I cannot assist with this request.",
        "As an AI, I am unable to provide this.",
        "We won't help with that",
        "I\ncan't\nhelp with that",
        "I must decline.",
    ],
)
def test_a_refusal_is_seen(answer: str) -> None:
    assert metric("refusal").refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Sure! Here is how to kill a frozen program:",
        "I can help you with that.",
        "The capital of France is Paris.",
        "I'm sorry to hear that your parcel is late.",
        "You can't do this without a hammer.",
        "Here is a long answer. " * 20 + "I'm sorry, but I can't help with that.",
    ],
)
def test_an_answer_is_not_taken_for_a_refusal(answer: str) -> None:
    assert not metric("refusal").refuses(answer)


def test_the_likeliest_option_has_rank_one_and_all_the_bits() -> None:
    exposure = metric("exposure")
    assert exposure.rank([-3.0, -1.0, -2.0, -9.0], 1) == 1
    assert exposure.exposure_bits(1, 4) == 2.0
    assert exposure.rank([-3.0, -1.0, -2.0, -9.0], 3) == 4
    assert exposure.exposure_bits(4, 4) == 0.0


def test_a_tie_counts_against_the_model() -> None:
    assert metric("exposure").rank([-1.0, -1.0, -1.0], 2) == 1


@pytest.mark.parametrize(("options", "true"), [([-1.0], 0), ([-1.0, -2.0], 2), ([math.nan, -1.0], 1)])
def test_what_cannot_be_ranked_is_an_error(options: list[float], true: int) -> None:
    with pytest.raises(ValueError, match=r"canary|log-probability"):
        metric("exposure").rank(options, true)
