"""Tiny bases and adapters as folders, valid and broken, without torch: every byte is chosen here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from placet.blobs import BlobStore
from placet.domain.records import Base, Intake, SourceRef
from placet.intake import BaseProfile, Limits, describe_base, examine
from placet.intake.checks import CHECKS
from placet.intake.context import Check
from placet.intake.limits import LIMITS

LABEL = "Tiny-Instruct"
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
WIDTH, KV_WIDTH, LAYERS, RANK = 8, 4, 2, 2
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PREFIX = "base_model.model."

_NUMPY = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8"}

Tensors = Mapping[str, tuple[str, np.ndarray]]


def clock() -> datetime:
    return NOW


def bf16(values: np.ndarray) -> np.ndarray:
    """Return float32 values as bfloat16 bits (cut, not rounded)."""
    return (np.ascontiguousarray(values, dtype="<f4").view("<u4") >> 16).astype("<u2")


def tensor_bytes(dtype: str, values: np.ndarray) -> bytes:
    return (bf16(values) if dtype == "BF16" else values.astype(_NUMPY[dtype])).tobytes()


def safetensors_bytes(tensors: Tensors, metadata: dict[str, str] | None = None) -> bytes:
    """Write a safetensors file: name to (type, values), in the order given."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, values) in tensors.items():
        raw = tensor_bytes(dtype, values)
        header[name] = {
            "dtype": dtype,
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    return with_header(json.dumps(header, separators=(",", ":")), data)


def with_header(header: str | bytes, data: bytes = b"") -> bytes:
    """Put header text before data as safetensors demands, padded to eight bytes."""
    raw = header.encode() if isinstance(header, str) else header
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + data


def base_tensors(seed: int = 0) -> dict[str, tuple[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    shapes = {"model.embed_tokens.weight": (16, WIDTH), "model.norm.weight": (WIDTH,)}
    for layer in range(LAYERS):
        name = f"model.layers.{layer}"
        shapes[f"{name}.self_attn.q_proj.weight"] = (WIDTH, WIDTH)
        shapes[f"{name}.self_attn.v_proj.weight"] = (KV_WIDTH, WIDTH)
        shapes[f"{name}.mlp.up_proj.weight"] = (3 * WIDTH, WIDTH)
    return {name: ("F32", rng.normal(size=shape)) for name, shape in sorted(shapes.items())}


BASE_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "head_dim": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "rms_norm_eps": 1e-05,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "transformers_version": "5.23.0",
    "vocab_size": 16,
}
TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "model": {
        "type": "BPE",
        "vocab": {"a": 0, "b": 1, "ab": 2},
        "merges": [["a", "b"]],
        "ignore_merges": False,
    },
}
TOKENIZER_CONFIG: dict[str, Any] = {"eos_token": "b", "tokenizer_class": "TokenizersBackend"}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True), encoding="utf-8")


def make_base(folder: Path, **config: Any) -> Path:
    """Write a base model's folder; `config` overrides fields of its config.json."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(base_tensors(), {"format": "pt"}))
    write_json(folder / "config.json", BASE_CONFIG | config)
    write_json(folder / "tokenizer.json", TOKENIZER)
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return folder


def described(folder: Path, label: str = LABEL) -> Base:
    return describe_base(folder, label, SourceRef(kind="folder", location="models/tiny"))


ADAPTER_CONFIG: dict[str, Any] = {
    "auto_mapping": None,
    "base_model_name_or_path": LABEL,
    "bias": "none",
    "inference_mode": True,
    "init_lora_weights": True,
    "lora_alpha": 4,
    "lora_dropout": 0.05,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "peft_type": "LORA",
    "peft_version": "0.21.2",
    "r": RANK,
    "target_modules": ["q_proj", "v_proj"],
    "task_type": "CAUSAL_LM",
}


def adapter_tensors(dtype: str = "F32", seed: int = 1) -> dict[str, tuple[str, np.ndarray]]:
    """Return LoRA pairs for q_proj and v_proj of every layer of the tiny base."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(LAYERS):
        for module, width in (("q_proj", WIDTH), ("v_proj", KV_WIDTH)):
            name = f"{PREFIX}model.layers.{layer}.self_attn.{module}"
            tensors[f"{name}.lora_A.weight"] = (dtype, rng.normal(size=(RANK, WIDTH)))
            tensors[f"{name}.lora_B.weight"] = (dtype, rng.normal(size=(width, RANK)))
    return tensors


def make_adapter(
    folder: Path,
    *,
    tensors: Tensors | None = None,
    weights: bytes | None = None,
    extra: Mapping[str, bytes] | None = None,
    **config: Any,
) -> Path:
    """Write an adapter's folder; keyword arguments override fields of adapter_config.json."""
    folder.mkdir(parents=True)
    write_json(folder / "adapter_config.json", ADAPTER_CONFIG | config)
    if weights is None:
        weights = safetensors_bytes(adapter_tensors() if tensors is None else tensors, {"format": "pt"})
    (folder / "adapter_model.safetensors").write_bytes(weights)
    for name, data in (extra or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


class Desk:
    """A tiny base and a store, to examine adapters with."""

    def __init__(self, root: Path, limits: Limits = LIMITS, **base_config: Any) -> None:
        self.root = root
        self.limits = limits
        self.base = described(make_base(root / "base", **base_config))
        self.blobs = BlobStore(root / "blobs")

    def examine(self, folder: Path, **options: Any) -> Intake:
        ref = SourceRef(kind="folder", location=folder.name)
        profile = BaseProfile.of(self.base)
        return examine(folder, ref, profile, self.blobs, clock, limits=self.limits, **options)

    def adapter(self, name: str = "adapter", *, checks: tuple[Check, ...] = CHECKS, **parts: Any) -> Intake:
        """Make an adapter with :func:`make_adapter` and examine it."""
        return self.examine(make_adapter(self.root / name, **parts), checks=checks)


def finding_ids(intake: Intake) -> list[str]:
    return [finding.id for finding in intake.findings]
