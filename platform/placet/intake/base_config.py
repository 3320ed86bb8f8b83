"""Which fields of a model's configuration change what it computes.

Fields that are not known count: an unknown field may at worst give one model two ids, never two models one id.
Fields are left out only where they are labels, matter in training only, or hold the value that is implied when
they are absent; where library versions write the same thing differently, it is brought to one form.
"""

from __future__ import annotations

from typing import Any

from placet.intake.canonical import exact

# Labels, bookkeeping, and what matters in training or to the caller's convenience only.
_IGNORED = {
    "_name_or_path",
    "_model_name_or_path",
    "_from_model_config",
    "_attn_implementation_autoset",
    "architectures",
    "attention_dropout",
    "dtype",  # the tensors carry their own types
    "embd_pdrop",
    "finetuning_task",
    "hidden_dropout",
    "initializer_range",
    "output_attentions",
    "output_hidden_states",
    "resid_pdrop",
    "return_dict",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
# What an absent field means, for fields that newer library versions write out.
_IMPLIED: dict[str, Any] = {
    "attention_bias": False,
    "mlp_bias": False,
    "pretraining_tp": 1,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "use_sliding_window": False,
}
_GENERATION_IMPLIED: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1,
    "temperature": 1,
    "top_k": 50,
    "top_p": 1,
}


def computing_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of config.json that enters a base's id, with exact numbers."""
    kept = _kept(config, _IMPLIED)
    heads, width = config.get("num_attention_heads"), config.get("hidden_size")
    if (
        isinstance(heads, int)
        and isinstance(width, int)
        and heads > 0
        and config.get("head_dim") == width // heads
    ):
        kept.pop("head_dim", None)
    if config.get("num_key_value_heads") == heads:
        kept.pop("num_key_value_heads", None)
    if rope := _rope(kept):
        kept["rope_parameters"] = rope
    return {key: exact(value) for key, value in kept.items()}


def generation_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of generation_config.json that changes which tokens come out."""
    return {key: exact(value) for key, value in _kept(config, _GENERATION_IMPLIED).items()}


def _kept(config: dict[str, Any], implied: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in config.items()
        if value is not None and key not in _IGNORED and not (key in implied and value == implied[key])
    }


def _rope(kept: dict[str, Any]) -> dict[str, Any]:
    """Bring both ways of writing rotary embeddings (before and since transformers 5) to the newer one."""
    rope: dict[str, Any] = {}
    if "rope_theta" in kept:
        rope["rope_theta"] = kept.pop("rope_theta")
    scaling = kept.pop("rope_scaling", None)
    parameters = kept.pop("rope_parameters", None)
    for part in (scaling, parameters):
        if isinstance(part, dict):
            rope.update({("rope_type" if key == "type" else key): value for key, value in part.items()})
    if rope.get("rope_type") == "default":
        del rope["rope_type"]
    return rope
