"""Tiny random models of several families, with random adapters: enough to hold two code paths together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM as Auto
from transformers import (
    AutoTokenizer,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

MAX_LENGTH = 96
_TEXT = (
    "Question: which of these is a fruit? Answer: an apple, yes. The quick brown fox jumps over the lazy dog. "
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. stop here. no, that is not it. "
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of about 300 tokens, with a chat template."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([_TEXT] * 4, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", bos_token="<|end|>", pad_token="<|pad|>"
    )
    fast.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    return fast


_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": MAX_LENGTH,
    # Large enough that greedy choices are clear and differences between code paths would show.
    "initializer_range": 0.3,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2}
_ROPE: dict[str, Any] = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
CONFIGS: dict[str, Any] = {
    "llama": lambda: LlamaConfig(**_GROUPED),
    "gpt2": lambda: GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=MAX_LENGTH, initializer_range=0.3),
    "qwen2": lambda: Qwen2Config(**_GROUPED),
    "gemma": lambda: GemmaConfig(**_GROUPED, head_dim=8),
    "gpt_neox": lambda: GPTNeoXConfig(**_SMALL),
    "phi": lambda: PhiConfig(**_SMALL),
    "phi3": lambda: Phi3Config(**_GROUPED, pad_token_id=1),
    "smollm3": lambda: SmolLM3Config(**_GROUPED, no_rope_layer_interval=2),
    "mistral": lambda: MistralConfig(**_GROUPED, sliding_window=None),
    "mistral-windowed": lambda: MistralConfig(**_GROUPED, sliding_window=16),
    "gemma2": lambda: Gemma2Config(**_GROUPED, head_dim=8, sliding_window=16, query_pre_attn_scalar=8),
    "mamba": lambda: MambaConfig(
        hidden_size=32, state_size=4, num_hidden_layers=2, expand=2, initializer_range=0.3
    ),
    # Shapes that a family allows and its smallest model does not have.
    "qwen3-wide-heads": lambda: Qwen3Config(**_GROUPED, head_dim=20),
    "llama-scaled-rope": lambda: LlamaConfig(**_GROUPED, attention_bias=True, mlp_bias=True, rope_parameters=_ROPE),
    "gemma-one-key-head": lambda: GemmaConfig(**_SMALL, num_key_value_heads=1, head_dim=24),
    "phi-normed": lambda: PhiConfig(**_GROUPED, qk_layernorm=True, partial_rotary_factor=0.25),
    "gpt_neox-serial": lambda: GPTNeoXConfig(**_SMALL, use_parallel_residual=False, rotary_pct=1.0),
    "gpt2-odd": lambda: GPT2Config(
        n_embd=30, n_layer=3, n_head=5, n_inner=44, n_positions=MAX_LENGTH, initializer_range=0.3,
        scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=False,
    ),
}  # fmt: skip
UNPACKED = {
    "mistral-windowed": "sliding window",
    "gemma2": "gemma2 is not a family known to take a tree mask",
    "mamba": "mamba is not a family known to take a tree mask",
}
"""Models that cannot take a tree mask, and what the engine says of them."""
TARGETS = {
    "gpt2": ["c_attn", "c_fc"],
    "gpt_neox": ["query_key_value", "dense_h_to_4h"],
    "mamba": ["in_proj", "x_proj"],
    "phi": ["q_proj", "fc1"],
    "phi3": ["qkv_proj", "down_proj"],
}


def save_model(family: str, folder: Path, *, tied: bool = False) -> Path:
    """Write a random model of `family` and its tokenizer to `folder`."""
    torch.manual_seed(7)
    words = tokenizer()
    config = CONFIGS[family]()
    config.tie_word_embeddings = tied
    config.bos_token_id = config.eos_token_id = words.eos_token_id
    config.pad_token_id = words.pad_token_id
    words.save_pretrained(folder)
    config.save_pretrained(folder)
    # Some families' tokenizers add tokens of their own, and lm-eval's `hf` resizes the embeddings to the
    # tokenizer when (and only when) it loads an adapter: the two must agree to begin with.
    config.vocab_size = len(AutoTokenizer.from_pretrained(folder))
    Auto.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


def save_adapter(base: Path, folder: Path, family: str = "llama", seed: int = 1, **options: Any) -> Path:
    """Write a random LoRA adapter for the model in `base` to `folder`."""
    torch.manual_seed(seed)
    settings = {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": TARGETS.get(family.partition("-")[0], ["q_proj", "v_proj", "down_proj"]),
        "fan_in_fan_out": family.startswith("gpt2"),
        "init_lora_weights": False,
        **options,
    }
    wrapped = get_peft_model(Auto.from_pretrained(base, dtype=torch.float32), LoraConfig(**settings))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    wrapped.save_pretrained(folder)
    return folder
