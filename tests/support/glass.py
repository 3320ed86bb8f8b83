"""The `glassllm` package's English model as an ordinary transformers folder: a real trained base of 0.85 M parameters.

Only two files are taken out of the wheel, pinned by digest; the package is neither installed nor imported.
The model is a Llama whose rotary embedding turns neighbouring coordinates where Llama's turns the two
halves of a head, so the rows of the query and key projections change places. Its tokenizer is a character-level BPE
over chunks that begin at a space, which is written ``▁``.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from placet.domain.digests import Digest
from placet.domain.progress import NullProgress
from placet.sources.package import PackageSource

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

Array = npt.NDArray[Any]
LABEL = "glass-en"
LICENSE = "MIT"
SPECIAL_TOKENS = ("<pad>", "<unk>", "<bos>", "<eos>")
_CONVERSION = 1
"""Raised whenever converting gives other files, so that an older conversion in the cache is not used."""
_WHEEL = Digest("sha256:1611801c031d0fc300dc89d3c07cd6be56dc1784e38e24422b2242d0761a333b")
_WHEEL_BYTES = 3_196_628
_MEMBERS = {
    "en.npz": Digest("sha256:261ae219ab98caa1f3641e23deb3d9d91b7b7a276f991cbd494f67cfa5abce4d"),
    "en.tokenizer.json": Digest("sha256:4cf0830157c45cf7f8c70a8fdcb8378c33330b9ba0c9a312e772d7d6485ca4df"),
}
_LAYER = {
    "input_layernorm": "norm1.gamma",
    "post_attention_layernorm": "norm2.gamma",
    "self_attn.q_proj": "attn.W_Q",
    "self_attn.k_proj": "attn.W_K",
    "self_attn.v_proj": "attn.W_V",
    "self_attn.o_proj": "attn.W_O",
    "mlp.gate_proj": "ffn.W1",
    "mlp.up_proj": "ffn.W3",
    "mlp.down_proj": "ffn.W2",
}


def glass_folder(cache: Path) -> Path:
    """Return the converted model, made in `cache` if it is not there yet.

    Args:
        cache: Where fetched packages and conversions are kept.
    """
    out = cache / "converted" / f"glassllm-0.1.0-en-{_CONVERSION}"
    if not out.exists():
        staged = out.with_name(f".{out.name}.{os.getpid()}")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        try:
            _convert(cache, staged)
            if not out.exists():  # another process may have been faster
                staged.rename(out)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
    return out


def weights(cache: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the package's settings of the model, and its arrays by their names there, as float32."""
    with np.load(_member(cache, "en.npz"), allow_pickle=False) as stored:
        settings: dict[str, Any] = json.loads(str(stored["__config__"]))
        return settings, {
            name: stored[name].astype(np.float32) for name in stored.files if name != "__config__"
        }


def vocabulary(cache: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the tokens in the order of their ids, and the merges in the order of their ranks."""
    stored = json.loads(_member(cache, "en.tokenizer.json").read_text(encoding="utf-8"))
    merges = [(left, right) for left, right in stored["merges"]]
    return [*SPECIAL_TOKENS, *stored["alphabet"], *(left + right for left, right in merges)], merges


def _member(cache: Path, name: str) -> Path:
    source = PackageSource(
        "glassllm", "0.1.0", f"glassllm/weights/{name}", _MEMBERS[name], _WHEEL, _WHEEL_BYTES
    )
    return source.fetch(cache, NullProgress()).path


def _convert(cache: Path, out: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    settings, arrays = weights(cache)
    pad, unk, bos, eos = SPECIAL_TOKENS
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=_tokenizer(*vocabulary(cache)),
        pad_token=pad,
        unk_token=unk,
        bos_token=bos,
        eos_token=eos,
        model_max_length=settings["max_len"],
        clean_up_tokenization_spaces=False,
    ).save_pretrained(out)
    config = LlamaConfig(
        vocab_size=settings["vocab_size"],
        hidden_size=settings["d_model"],
        intermediate_size=arrays["blocks.0.ffn.W1"].shape[1],
        num_hidden_layers=settings["n_layers"],
        num_attention_heads=settings["n_heads"],
        num_key_value_heads=settings["n_kv_heads"],
        max_position_embeddings=settings["max_len"],
        rms_norm_eps=settings["eps"],
        rope_parameters={"rope_type": "default", "rope_theta": settings["rope_base"]},
        tie_word_embeddings=True,
        pad_token_id=SPECIAL_TOKENS.index(pad),
        bos_token_id=SPECIAL_TOKENS.index(bos),
        eos_token_id=SPECIAL_TOKENS.index(eos),
    )
    model = LlamaForCausalLM(config)
    model.load_state_dict(_state(settings, arrays))
    model.save_pretrained(out)


def _state(settings: dict[str, Any], arrays: dict[str, Array]) -> dict[str, torch.Tensor]:
    """Return the arrays under transformers' names; a linear layer there keeps its matrix transposed."""
    import torch

    heads = {"self_attn.q_proj": settings["n_heads"], "self_attn.k_proj": settings["n_kv_heads"]}
    state = {"model.embed_tokens": arrays["E"], "lm_head": arrays["E"], "model.norm": arrays["norm_f.gamma"]}
    for layer in range(settings["n_layers"]):
        for theirs, ours in _LAYER.items():
            matrix = arrays[f"blocks.{layer}.{ours}"].T
            state[f"model.layers.{layer}.{theirs}"] = (
                _halves(matrix, heads[theirs]) if theirs in heads else matrix
            )
    return {f"{name}.weight": torch.from_numpy(np.ascontiguousarray(array)) for name, array in state.items()}


def _halves(matrix: Array, heads: int) -> Array:
    """Return `matrix` with each head's rows reordered: first the even ones, then the odd ones."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _tokenizer(tokens: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    ids = {token: number for number, token in enumerate(tokens)}
    raw = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>"))
    raw.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "▁")])
    # A line break, or a word with the spaces before it, or spaces at the end.
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|▁*[^▁\n]+|▁+"), "isolated")
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return raw
