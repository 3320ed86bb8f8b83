"""The engine stops at a difference that is no rounding, and says which architectures it cannot pack."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from placet.domain.errors import EvaluationError
from placet.engine.families import greedy_obstacle, tree_mask_obstacle
from placet.engine.selfcheck import SelfCheck, choose


def test_the_largest_difference_is_reported() -> None:
    check = SelfCheck(tolerance=5e-4)
    check.observe("logprob", -1.0, -1.0001, "a")
    check.observe("logprob", -2.0, -2.00002, "b")
    assert check.report() == {
        "logprob_checked": "2",
        "logprob_max_difference": "0.0001",
        "tolerance": "0.0005",
    }


@pytest.mark.parametrize("ours", [-1.1, float("nan"), float("-inf")])
def test_a_difference_beyond_tolerance_stops_the_run_naming_both_figures(ours: float) -> None:
    with pytest.raises(EvaluationError, match=r"request r1.*-1\.000000") as caught:
        SelfCheck(tolerance=5e-4).observe("logprob", ours, -1.0, "request r1")
    assert caught.value.hint


def test_the_checked_requests_do_not_depend_on_order_or_duplicates() -> None:
    ids = ["d", "a", "c", "a", "b"]
    assert sorted(ids[i] for i in choose(ids, 2)) == sorted(ids[::-1][i] for i in choose(ids[::-1], 2))
    assert len(choose(["a", "a"], 5)) == 1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "mamba"}, "mamba"),
        ({"model_type": "mistral", "sliding_window": 4096}, "sliding window"),
        ({"model_type": "qwen2", "layer_types": ["full_attention", "sliding_attention"]}, "sliding window"),
        ({"model_type": "llama", "rope_parameters": {"rope_type": "dynamic"}}, "dynamic"),
        ({"model_type": "llama", "_attn_implementation": "flash_attention_2"}, "flash_attention_2"),
    ],
)
def test_an_architecture_that_cannot_be_packed_is_named(config: dict[str, object], words: str) -> None:
    assert words in tree_mask_obstacle(SimpleNamespace(**config))


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "llama", "rope_parameters": {"rope_type": "llama3"}},
        {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False},
        {"model_type": "mistral", "sliding_window": None},
    ],
)
def test_full_attention_can_be_packed(config: dict[str, object]) -> None:
    assert tree_mask_obstacle(SimpleNamespace(**config)) == ""


def test_a_generation_config_that_changes_greedy_decoding_is_named() -> None:
    config = SimpleNamespace(to_diff_dict=lambda: {"eos_token_id": 2, "repetition_penalty": 1.1})
    assert "repetition_penalty" in greedy_obstacle(config)
    assert greedy_obstacle(None) == ""
