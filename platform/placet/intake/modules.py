"""How a LoRA file's tensor names and a configuration's module names refer to a base's modules.

The rules are PEFT's own (peft 0.21, ``tuners_utils.check_target_module_exists``), on plain names only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from placet.intake.lora import ALL_LINEAR, LoraConfig
from placet.intake.tensor_file import TensorSpec

PREFIX = "base_model.model."
"""What PEFT puts before the base's own names."""

_PAIR = re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])\.weight")
_LAYER = re.compile(r".*?\.[^.]*\.(\d+)\.")
# By convention: embeddings are 2-D but no linear layers, and the output head is left out of all-linear.
_EMBEDDINGS = {
    "embed_tokens",
    "embed_positions",
    "wte",
    "wpe",
    "embed_in",
    "word_embeddings",
    "token_embedding",
}
_HEADS = {"lm_head", "embed_out", "output"}


@dataclass(frozen=True, slots=True)
class PairHalf:
    """The `A` or `B` of the pair on `module` (the base's name for it)."""

    module: str
    half: str


def pair_half(name: str) -> PairHalf | None:
    """Return which half of which pair a tensor is, None where it is none."""
    match = _PAIR.fullmatch(name.removeprefix(PREFIX))
    return PairHalf(match["module"], match["half"]) if match else None


def linear_modules(tensors: Mapping[str, TensorSpec]) -> dict[str, tuple[int, int]]:
    """Return the base's linear layers with their output and input width."""
    found = {}
    for name, spec in tensors.items():
        module, _, kind = name.rpartition(".")
        if kind == "weight" and len(spec.shape) == 2 and _last(module) not in _EMBEDDINGS:
            found[module] = (spec.shape[0], spec.shape[1])
    return found


def is_targeted(module: str, config: LoraConfig) -> bool:
    """Return whether `config` puts a pair on the linear layer `module`."""
    if _named(module, config.excluded) or _within(module, config.saved_modules):
        return False
    if config.targets == (ALL_LINEAR,):
        # Layer numbers restrict nothing here: PEFT expands the word to full names first, which match as they are.
        return _last(module) not in _HEADS
    if module in config.targets:
        return True
    return _named(module, config.targets) and _in_layers(module, config)


def is_saved_whole(module: str, config: LoraConfig) -> bool:
    """Return whether `config` replaces the whole module (or one it lies in) by a trained copy."""
    # PEFT compares ends of names here, not whole parts: "norm" also means every "input_layernorm".
    parts = module.split(".")
    around = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return any(path.endswith(name) for path in around for name in config.saved_modules)


def _in_layers(module: str, config: LoraConfig) -> bool:
    if not config.layers:
        return True
    patterns = [
        re.compile(rf"(?:^|.*?\.){re.escape(pattern)}\.(\d+)\.") for pattern in config.layers_pattern
    ] or [_LAYER]
    match = next((found for pattern in patterns if (found := pattern.match(module))), None)
    return match is not None and int(match[1]) in config.layers


def _named(module: str, names: tuple[str, ...]) -> bool:
    return any(module == name or module.endswith(f".{name}") for name in names)


def _within(module: str, names: tuple[str, ...]) -> bool:
    return any(f".{name}." in f".{module}." for name in names)


def _last(module: str) -> str:
    return module.rpartition(".")[2]
