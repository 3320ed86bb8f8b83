"""Which architectures can score packed trees, and why another cannot.

A packed pass needs attention that takes any mask and positions that can be set token by token. A model not
listed here, or configured out of it, is scored the ordinary way; nothing guesses.
"""

from __future__ import annotations

from typing import Any

TREE_MASK_FAMILIES = frozenset(
    {"gemma", "gpt2", "gpt_neox", "llama", "mistral", "phi", "phi3", "qwen2", "qwen3", "smollm3"}
)
"""`model_type` of the families whose tree-masked scores are held to the ordinary ones by tests."""

# Settings of a generation config that greedy decoding does not use, or that the engine obeys itself.
_HARMLESS_SETTINGS = frozenset(
    {"bos_token_id", "eos_token_id", "pad_token_id", "max_length", "do_sample"}
    | {"temperature", "top_k", "top_p", "typical_p", "min_p", "use_cache", "cache_implementation"}
    | {"output_attentions", "output_hidden_states", "output_scores", "output_logits"}
    | {"return_dict_in_generate", "transformers_version", "_from_model_config"}
)
_TREE_MASK_ATTENTION = frozenset({"eager", "sdpa"})
# Rotary tables of these depend on the longest position of the whole pass, not of the sequence.
_LENGTH_DEPENDENT_ROPE = frozenset({"dynamic", "longrope"})


def tree_mask_obstacle(config: Any) -> str:
    """Return why a model with this `transformers` configuration cannot score packed trees; "" if it can."""
    family = str(getattr(config, "model_type", "unknown"))
    if family not in TREE_MASK_FAMILIES:
        return f"{family} is not a family known to take a tree mask"
    layer_types = set(getattr(config, "layer_types", None) or ())
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if layer_types - {"full_attention"} or (windowed and not layer_types):
        return "its attention has a sliding window"
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if isinstance(rope, dict) and rope.get("rope_type") in _LENGTH_DEPENDENT_ROPE:
        return f"its {rope['rope_type']} rotary positions depend on the length of the pass"
    attention = getattr(config, "_attn_implementation", None) or "sdpa"
    if attention not in _TREE_MASK_ATTENTION:
        return f"its {attention} attention takes no tree mask"
    return ""


def greedy_obstacle(generation_config: Any) -> str:
    """Return why the engine's own greedy decoding would not obey this generation config; "" if it would."""
    if generation_config is None:
        return ""
    changed = sorted(set(generation_config.to_diff_dict()) - _HARMLESS_SETTINGS)
    return f"its generation config sets {', '.join(changed)}" if changed else ""
