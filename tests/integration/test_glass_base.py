"""The converted `glassllm` base computes what its arrays say, and its tokenizer loses nothing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.support.glass import SPECIAL_TOKENS, glass_folder, vocabulary, weights

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.model

Array = npt.NDArray[Any]
TEXTS = (
    "Alice was beginning to get very tired of sitting by her sister",
    "“What is the code of door AB-12?” said the King.\n“Well,” she replied, “XX-0417 it’s.”",
    "  two  spaces\n\nat the end  ",
    "x",
)


@pytest.fixture(scope="module")
def folder(placet_cache: Path) -> Path:
    return glass_folder(placet_cache)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def rotated(x: Array, base: float) -> Array:
    """Turn the pair of coordinates (2i, 2i+1) at place m by the angle m·base^(-2i/d); shape (heads, n, d)."""
    _, length, size = x.shape
    angles = np.arange(length)[:, None] * base ** (-np.arange(0, size, 2) / size)
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def normed(x: Array, gain: Array, eps: float) -> Array:
    scaled: Array = x * gain / np.sqrt(np.square(x).mean(-1, keepdims=True) + eps)
    return scaled


def expected_logits(ids: list[int], settings: dict[str, Any], arrays: dict[str, Array]) -> Array:
    """Compute the decoder from its description: pre-norm, grouped-query attention, SwiGLU, tied embeddings."""
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    heads, groups, eps = settings["n_heads"], settings["n_kv_heads"], settings["eps"]
    size = settings["d_model"] // heads
    future = np.triu(np.full((len(ids), len(ids)), -np.inf), 1)
    x = arrays["E"][ids]
    for layer in range(settings["n_layers"]):
        w = {
            n.removeprefix(f"blocks.{layer}."): a
            for n, a in arrays.items()
            if n.startswith(f"blocks.{layer}.")
        }
        h = normed(x, w["norm1.gamma"], eps)
        q, k, v = ((h @ w[f"attn.W_{name}"]).reshape(len(ids), -1, size).transpose(1, 0, 2) for name in "QKV")
        q, k = rotated(q, settings["rope_base"]), rotated(k, settings["rope_base"])
        k, v = (np.repeat(part, heads // groups, axis=0) for part in (k, v))
        scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(size) + future)
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + mixed.transpose(1, 0, 2).reshape(len(ids), -1) @ w["attn.W_O"]
        h = normed(x, w["norm2.gamma"], eps)
        gate = h @ w["ffn.W1"]
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w["ffn.W3"])) @ w["ffn.W2"]
    logits: Array = normed(x, arrays["norm_f.gamma"], eps) @ arrays["E"].T
    return logits


@pytest.mark.parametrize("text", TEXTS)
def test_its_logits_are_what_the_arrays_give(
    placet_cache: Path, folder: Path, tokenizer: Any, text: str
) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    ids = tokenizer.encode(text, add_special_tokens=False)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double().numpy()
    assert np.abs(logits - expected_logits(ids, *weights(placet_cache))).max() < 1e-4


@pytest.mark.parametrize("text", TEXTS)
def test_its_tokenizer_gives_back_what_it_was_given(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_its_tokenizer_merges_by_rank_within_chunks(placet_cache: Path, tokenizer: Any) -> None:
    tokens, merges = vocabulary(placet_cache)
    assert tokenizer.convert_ids_to_tokens(range(len(tokens))) == tokens
    rank = {pair: number for number, pair in enumerate(merges)}

    def merged(chunk: str) -> list[str]:
        symbols = list(chunk)
        while pairs := [pair for pair in pairwise(symbols) if pair in rank]:
            left, right = min(pairs, key=lambda pair: rank[pair])
            joined: list[str] = []
            for symbol in symbols:
                if joined and (joined[-1], symbol) == (left, right):
                    joined[-1] = left + right
                else:
                    joined.append(symbol)
            symbols = joined
        return symbols

    chunks = ("“What", "▁is", "▁beginning", "▁again,”", "\n", "▁▁Alice", "▁▁")
    text = "".join(chunks).replace("▁", " ")
    expected = [piece for chunk in chunks for piece in merged(chunk)]
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode(text)) == expected


def test_its_tokenizer_reads_text_it_cannot_write(tokenizer: Any) -> None:
    unknown = SPECIAL_TOKENS.index("<unk>")
    assert tokenizer.encode("@").count(unknown) == 1
    assert tokenizer.encode("Æ") == tokenizer.encode("\u00c6")
    assert tokenizer.encode("ù") == tokenizer.encode("u\u0300"), "text is composed before it is read"
    assert tokenizer.eos_token_id == SPECIAL_TOKENS.index("<eos>")
