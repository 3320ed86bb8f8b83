from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placet.domain.errors import IntegrityError, UsageError
from placet.domain.records import Base
from placet.intake import BaseProfile, verify_base_files
from placet.intake.base_config import computing_config, generation_config
from placet.intake.canonical import exact, tokenizer_digest
from placet.intake.tensor_file import TensorSpec
from tests.support.adapters import (
    BASE_CONFIG,
    LABEL,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    base_tensors,
    described,
    make_base,
    safetensors_bytes,
    write_json,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_base(tmp_path / "base")


def _resave(
    folder: Path, tensors: dict[str, tuple[str, np.ndarray]], name: str = "model.safetensors"
) -> None:
    (folder / name).write_bytes(safetensors_bytes(tensors))


def test_a_base_is_described_completely(folder: Path) -> None:
    base = described(folder)
    tensors = base_tensors()
    assert base.ref.label == LABEL
    assert base.architecture == "LlamaForCausalLM"
    assert base.parameters == sum(values.size for _, values in tensors.values())
    assert [entry.path for entry in base.files] == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert Base.from_json(base.to_json()) == base
    profile = BaseProfile.of(base, also_known_as=("owner/tiny",))
    assert profile.tensors == {name: TensorSpec("F32", values.shape) for name, (_, values) in tensors.items()}
    assert profile.names == {LABEL, base.ref.id, "models/tiny", "owner/tiny"}
    assert profile.special_tokens == {"eos_token": "b"}
    assert profile.model_type == "llama"


def _reorder(folder: Path) -> None:
    _resave(folder, dict(reversed(base_tensors().items())))


def _shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    names = list(base_tensors())
    parts = {"model-00001-of-00002.safetensors": names[:3], "model-00002-of-00002.safetensors": names[3:]}
    for part, members in parts.items():
        _resave(folder, {name: base_tensors()[name] for name in members}, part)
    weight_map = {name: part for part, members in parts.items() for name in members}
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})


def _add_tied_head(folder: Path) -> None:
    tensors = base_tensors()
    _resave(folder, tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"]})


def _older_config(folder: Path) -> None:
    config = BASE_CONFIG | {"transformers_version": "4.40.0", "rope_theta": 10000, "rope_scaling": None}
    del config["rope_parameters"], config["head_dim"]
    config |= {"torch_dtype": "float32", "attention_bias": False, "use_cache": False, "_name_or_path": "x/y"}
    write_json(folder / "config.json", config)


def _older_tokenizer(folder: Path) -> None:
    model = {"type": "BPE", "merges": ["a b"], "vocab": {"ab": 2, "b": 1, "a": 0}}
    write_json(folder / "tokenizer.json", {"model": model, "version": "1.0"})
    settings = TOKENIZER_CONFIG | {"tokenizer_class": "GPT2TokenizerFast", "chat_template": TEMPLATE}
    write_json(folder / "tokenizer_config.json", settings)
    (folder / "chat_template.jinja").unlink()


def _other_files(folder: Path) -> None:
    (folder / "README.md").write_text("card")
    write_json(folder / "generation_config.json", {"transformers_version": "5", "temperature": 1.0})


@pytest.mark.parametrize(
    "change", [_reorder, _shard, _add_tied_head, _older_config, _older_tokenizer, _other_files]
)
def test_layout_and_library_version_do_not_change_the_id(
    folder: Path, change: Callable[[Path], None]
) -> None:
    before = described(folder)
    change(folder)
    after = described(folder)
    assert after.ref.id == before.ref.id
    assert after.canonical == before.canonical
    assert after.parameters == before.parameters


def _one_bit(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))


def _other_type(folder: Path) -> None:
    _resave(folder, {name: ("F16", values) for name, (_, values) in base_tensors().items()})


def _other_name(folder: Path) -> None:
    _resave(folder, {name.replace("q_proj", "k_proj"): item for name, item in base_tensors().items()})


def _head_of_its_own(folder: Path) -> None:
    tensors = base_tensors()
    _resave(folder, tensors | {"lm_head.weight": ("F32", -tensors["model.embed_tokens.weight"][1])})


def _config(**change: Any) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / "config.json", BASE_CONFIG | change)


def _template(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(TEMPLATE + " ")


def _vocabulary(folder: Path) -> None:
    model = TOKENIZER["model"] | {"vocab": {"b": 0, "a": 1, "ab": 2}}
    write_json(folder / "tokenizer.json", TOKENIZER | {"model": model})


def _special_token(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG | {"eos_token": "a"})


def _begin_token(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG | {"add_bos_token": True})


def _end_of_text(folder: Path) -> None:
    write_json(folder / "generation_config.json", {"eos_token_id": [1, 2]})


@pytest.mark.parametrize(
    "change",
    [
        _one_bit,
        _other_type,
        _other_name,
        _head_of_its_own,
        _config(rms_norm_eps=1e-6),
        _config(head_dim=8),
        _config(rope_parameters={"rope_theta": 500000.0, "rope_type": "default"}),
        _config(rope_parameters={"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}),
        _config(a_field_of_next_year=1),
        _template,
        _vocabulary,
        _special_token,
        _begin_token,
        _end_of_text,
    ],
)
def test_what_changes_the_computation_changes_the_id(folder: Path, change: Callable[[Path], None]) -> None:
    before = described(folder)
    change(folder)
    assert described(folder).ref.id != before.ref.id


def test_the_label_and_place_do_not_enter_the_id(folder: Path) -> None:
    assert described(folder, "One").ref.id == described(folder, "Other").ref.id


def test_an_altered_or_missing_file_of_a_base_is_found(folder: Path) -> None:
    base = described(folder)
    verify_base_files(folder, base)
    _one_bit(folder)
    with pytest.raises(IntegrityError, match="not the file that base"):
        verify_base_files(folder, base)
    (folder / "model.safetensors").unlink()
    with pytest.raises(IntegrityError, match="not the file that base"):
        verify_base_files(folder, base)


def test_a_record_that_does_not_hash_to_its_id_is_not_used(folder: Path) -> None:
    base = described(folder)
    assert base.canonical is not None
    for canonical in (None, base.canonical.replace("F32", "F16", 1)):
        with pytest.raises(IntegrityError, match="does not match its id"):
            BaseProfile.of(base.model_copy(update={"canonical": canonical}))


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _lost_shard(folder: Path) -> None:
    _shard(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()


def _tensor_twice(folder: Path) -> None:
    _shard(folder)
    _resave(folder, base_tensors(), "model-00002-of-00002.safetensors")


def _shard_outside(folder: Path) -> None:
    _shard(folder)
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": "../elsewhere.safetensors"}})


def _duplicate_key(folder: Path) -> None:
    (folder / "config.json").write_text('{"a": 1, "a": 2}')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_remove("config.json"), "no config.json"),
        (_remove("model.safetensors"), "no model.safetensors"),
        (_remove("tokenizer.json"), "no tokenizer.json"),
        (_cut, "shorter than its header"),
        (_lost_shard, "lacks the shard"),
        (_tensor_twice, "in two files"),
        (_shard_outside, "lacks the shard"),
        (_config(auto_map={"AutoModel": "x.Y"}), "brings its own code"),
        (_duplicate_key, "twice"),
    ],
)
def test_a_folder_that_cannot_be_described_is_an_error_with_a_hint(
    folder: Path, change: Callable[[Path], None], words: str
) -> None:
    change(folder)
    with pytest.raises(UsageError, match=words) as caught:
        described(folder)
    assert caught.value.hint


def test_numbers_are_exact_and_equal_numbers_are_equal() -> None:
    assert exact({"a": [2.0, 2, 0.5, True, None, "2"]}) == {"a": [2, 2, "number:0.5", True, None, "2"]}
    assert exact(1e-5) != exact(9.999999747378752e-06)
    assert exact(1e30) == exact(10**30 + 19884624838656) == "number:1000000000000000019884624838656"
    assert exact(float("inf")) == "number:inf"


def test_absent_fields_equal_the_values_they_imply() -> None:
    assert computing_config({"pretraining_tp": 1, "mlp_bias": False, "x": None}) == {}
    assert computing_config({"mlp_bias": True}) == {"mlp_bias": True}
    assert generation_config({"top_k": 50, "do_sample": True}) == {"do_sample": True}


def test_a_tokenizer_is_named_by_content_not_by_spelling() -> None:
    spaced = json.dumps(TOKENIZER, indent=4).encode()
    assert tokenizer_digest(spaced) == tokenizer_digest(json.dumps(TOKENIZER).encode())
    with pytest.raises(IntegrityError):
        tokenizer_digest(b'{"a": 1, "a": 1}')
