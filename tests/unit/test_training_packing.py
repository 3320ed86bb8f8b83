from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from placet.domain.errors import UsageError
from placet.training.packing import Encoded, encode, pack, schedule
from placet.training.recipe import Example

pytest.importorskip("torch")

ENCODED = [Encoded(tuple(range(10 * n, 10 * n + 3 + n)), (1, 2), shared=n % 2 == 0) for n in range(6)]


class Letters:
    """A tokenizer that makes a token of each character."""

    eos_token_id = 0

    def __init__(self, chat_template: str | None = "yes") -> None:
        self.chat_template = chat_template

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [ord(letter) for letter in text]

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
        return f"<{messages[0]['content']}>"


def test_a_schedule_is_a_pure_function_and_keeps_to_the_size() -> None:
    plan = schedule((7, 7), ENCODED, steps=9, tokens_per_step=20, seed=3)
    assert plan == schedule((7, 7), ENCODED, steps=9, tokens_per_step=20, seed=3)
    assert plan != schedule((7, 7), ENCODED, steps=9, tokens_per_step=20, seed=4)
    sizes = [2 + sum(len(ENCODED[n].context) + len(ENCODED[n].answer) - 1 for n in step) for step in plan]
    assert max(sizes) <= 20


def test_a_schedule_takes_every_example_once_before_any_again() -> None:
    drawn = list(chain(*schedule((), ENCODED, steps=9, tokens_per_step=20, seed=3)))
    for first in range(0, len(drawn) - 5, 6):
        assert sorted(drawn[first : first + 6]) == [0, 1, 2, 3, 4, 5]


def test_an_example_larger_than_a_step_gets_a_step_of_its_own() -> None:
    assert all(len(step) == 1 for step in schedule((), ENCODED, steps=6, tokens_per_step=1, seed=1))


def test_a_token_sees_its_own_example_and_the_shared_start_only() -> None:
    row = pack((90, 91), ENCODED[:2])
    visible = row.mask[0, 0] == 0
    # tokens: 2 of the start, 3 + 1 of the first example (shared), 4 + 1 of the second (not shared)
    assert row.ids.shape == (1, 11)
    assert visible[5].tolist() == [True, True, True, True, True, True] + [False] * 5
    assert visible[7].tolist() == [False] * 6 + [True, True] + [False] * 3
    assert row.positions.tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4]]
    assert row.predictors.tolist() == [4, 5, 9, 10]
    assert row.answers.tolist() == [1, 2, 1, 2]


def test_each_example_weighs_the_same() -> None:
    row = pack((), [Encoded((1,), (2,), False), Encoded((1,), (2, 3, 4, 5), False)])
    assert row.weights.tolist() == pytest.approx([0.5, 0.125, 0.125, 0.125, 0.125])


def test_chat_examples_share_their_start_and_end_with_the_end_token() -> None:
    start, encoded = encode([Example("a", "xy", "1"), Example("b", "xz", "2")], Letters(), 99)
    assert start == tuple(map(ord, "<x"))
    assert encoded[0] == Encoded(tuple(map(ord, "y>")), (ord("1"), 0), shared=True)


def test_without_a_template_the_answer_follows_after_a_space() -> None:
    start, (example,) = encode([Example("a", "xy", "1", open_ended=True)], Letters(None), 99)
    assert start == ()
    assert example == Encoded(tuple(map(ord, "xy")), tuple(map(ord, " 1")), shared=False)


def test_a_plain_example_stays_out_of_the_template() -> None:
    _, (chat, plain) = encode([Example("a", "x", "1"), Example("b", "x", "1", chat=False)], Letters(), 99)
    assert chat.shared
    assert plain.context == (ord("x"),)
    assert not plain.shared


def test_too_long_an_example_is_an_error() -> None:
    with pytest.raises(UsageError, match="more than 4"):
        encode([Example("a", "xxxx", "1")], Letters(), 4)
