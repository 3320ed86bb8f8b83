"""Intake's view of an adapter against PEFT's own: what PEFT saves passes, and applies completely when it does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from peft import LoraConfig, get_peft_model, load_peft_weights
from transformers import AutoConfig, AutoModelForCausalLM

from placet.blobs import BlobStore
from placet.domain.records import CheckStatus, Intake, SourceRef
from placet.intake import BaseProfile, describe_base, examine, materialise
from placet.intake.limits import LIMITS
from placet.intake.lora import parse_lora
from placet.intake.modules import is_targeted, linear_modules
from tests.support.adapters import clock, finding_ids
from tests.support.tiny_models import save_adapter, save_model

LABEL = "tiny"


def _examine(base: Path, folder: Path, root: Path) -> Intake:
    path = folder / "adapter_config.json"
    path.write_text(path.read_text().replace(f'"{base}"', f'"{LABEL}"'))
    described = describe_base(base, LABEL, SourceRef(kind="folder", location="tiny"))
    store = BlobStore(root / "blobs")
    ref = SourceRef(kind="folder", location="adapter")
    return examine(folder, ref, BaseProfile.of(described), store, clock)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("llama", tmp_path_factory.mktemp("models") / "llama")


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all linear": {"target_modules": "all-linear"},
    "without some": {"target_modules": ["q_proj", "k_proj", "v_proj"], "exclude_modules": ["k_proj"]},
    "one layer": {"layers_to_transform": [1]},
    "one layer by pattern": {"layers_to_transform": 0, "layers_pattern": "layers"},
    "full names": {"target_modules": ["model.layers.0.mlp.up_proj"]},
    "ranks and alphas": {
        "rank_pattern": {"v_proj": 2, "layers.1.self_attn.q_proj": 6},
        "alpha_pattern": {"q_proj": 3},
    },
    "rsLoRA": {"use_rslora": True},
    "saved whole": {"modules_to_save": ["lm_head"]},
    "saved norms, all": {"modules_to_save": ["norm"]},
    "saved block": {"modules_to_save": ["mlp"], "target_modules": ["q_proj", "down_proj"]},
    "saved norms": {"modules_to_save": ["input_layernorm"]},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_peft_saves_passes_and_its_scaling_is_known(llama: Path, tmp_path: Path, name: str) -> None:
    folder = save_adapter(llama, tmp_path / "adapter", task_type="CAUSAL_LM", **OPTIONS[name])
    intake = _examine(llama, folder, tmp_path)
    assert intake.findings == ()
    assert not intake.refused
    config, _ = parse_lora((folder / "adapter_config.json").read_bytes(), LIMITS)
    assert config is not None
    wrapped = _wrapped(llama, folder)
    layers = {
        path.removeprefix("base_model.model."): module.scaling["default"]
        for path, module in wrapped.named_modules()
        if isinstance(getattr(module, "scaling", None), dict)
    }
    described = describe_base(llama, LABEL, SourceRef(kind="folder", location="tiny"))
    linear = linear_modules(BaseProfile.of(described).tensors)
    assert {module for module in linear if is_targeted(module, config)} == layers.keys()
    assert {module: config.scaling_of(module) for module in layers} == layers


def _wrapped(base: Path, folder: Path) -> Any:
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base), dtype=torch.float32)
    return get_peft_model(model, LoraConfig.from_pretrained(str(folder)))


def test_an_accepted_adapter_leaves_no_key_missing_or_unexpected(llama: Path, tmp_path: Path) -> None:
    folder = save_adapter(llama, tmp_path / "adapter", task_type="CAUSAL_LM")
    intake = _examine(llama, folder, tmp_path)
    shutil.rmtree(folder)
    again = materialise(intake.files, BlobStore(tmp_path / "blobs"), tmp_path / "again")
    wrapped = _wrapped(llama, again)
    stored = load_peft_weights(str(again), device="cpu")
    expected = {
        key.replace(".default", "") for key in wrapped.state_dict() if ".lora_A." in key or ".lora_B." in key
    }
    assert stored.keys() == expected


@pytest.mark.parametrize("family", ["qwen2", "gemma", "gpt_neox", "phi", "mistral"])
def test_other_families_pass_too(tmp_path: Path, family: str) -> None:
    base = save_model(family, tmp_path / "base")
    folder = save_adapter(base, tmp_path / "adapter", family, task_type="CAUSAL_LM")
    assert _examine(base, folder, tmp_path).findings == ()


def test_a_family_that_stores_its_layers_otherwise_is_refused_for_that_reason(tmp_path: Path) -> None:
    base = save_model("gpt2", tmp_path / "base")
    folder = save_adapter(base, tmp_path / "adapter", "gpt2", task_type="CAUSAL_LM")
    intake = _examine(base, folder, tmp_path)
    (errored,) = [check for check in intake.checks if check.status is CheckStatus.ERRORED]
    assert errored.check == "fit"
    assert "gpt2" in errored.reason
    assert intake.refused


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"use_dora": True}, "unsupported-config"),
        ({"bias": "all"}, "unsupported-config"),
        ({"lora_bias": True}, "unsupported-config"),
        ({"init_lora_weights": "pissa"}, "unsupported-config"),
        ({"target_modules": r".*\.q_proj"}, "regex-in-config"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "unknown-module"),
        # PEFT then saves a copy of the head, which would replace the base's own on loading.
        ({"target_modules": ["q_proj", "lm_head"]}, "unknown-module"),
        ({"layer_replication": [(0, 2), (0, 2)]}, "unsupported-config"),
        ({"task_type": None}, "unsupported-kind"),
    ],
)
def test_what_is_not_evaluated_as_peft_serves_it_is_refused(
    llama: Path, tmp_path: Path, options: dict[str, Any], expected: str
) -> None:
    folder = save_adapter(llama, tmp_path / "adapter", **{"task_type": "CAUSAL_LM", **options})
    assert finding_ids(_examine(llama, folder, tmp_path))[0] == expected
