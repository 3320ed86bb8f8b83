"""Each kind of adapter acts in each family as in `hf`, and what the engine cannot hold to that is refused."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM as Auto

from placet.domain.errors import EvaluationError, UsageError
from placet.engine.answers import JournalAnswers
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM
from tests.support.tiny_models import MAX_LENGTH, TARGETS, save_adapter, save_model

pytestmark = pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings=True`")

FAMILIES = ("qwen2", "gemma", "mistral", "phi", "phi3", "gpt2", "gpt_neox")
EMBEDDINGS = {"gpt2": "wte", "gpt_neox": "embed_in"}
HEADS = {"gpt_neox": "embed_out"}
SHOTS = "Question: which of these is a fruit? Answer: an apple, yes. The fox. "
PAIRS = [
    *((f"{SHOTS}Question {n}: the fox?", option) for n in range(3) for option in (" apple", " no dog", "é")),
    ("", "x"),
    ("The qu", "ick brown"),
    ("a" * 300, " after a context longer than the model"),
]
PROMPTS = [(SHOTS[: 20 + 9 * n], {"until": ["stop", " the"], "max_gen_toks": 8 + n}) for n in range(3)]
SMALL = EngineSettings(pack_tokens=60, generation_rows=2, threads=1)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("families")
    return {family: save_model(family, root / family) for family in ("llama", *FAMILIES)}


def requests(kind: str, arguments: list[Any]) -> list[Instance]:
    return [Instance(kind, {}, args, index) for index, args in enumerate(arguments)]


def answers(lm: Any, pairs: list[tuple[str, str]] = PAIRS) -> tuple[list[tuple[float, bool]], list[str]]:
    scored = list(lm.loglikelihood(requests("loglikelihood", pairs), disable_tqdm=True))
    return scored, list(lm.generate_until(requests("generate_until", PROMPTS), disable_tqdm=True))


def with_adapter(base: Path, adapter: Path, settings: EngineSettings = SMALL, **options: Any) -> PlacetLM:
    lm = PlacetLM(str(base), settings=settings, **options)
    lm.add_adapter("A", adapter)
    lm.use_adapter("A")
    return lm


def assert_same(ours: Any, theirs: Any) -> None:
    assert ours[1] == theirs[1]
    assert [greedy for _, greedy in ours[0]] == [greedy for _, greedy in theirs[0]]
    for (mine, _), (other, _) in zip(ours[0], theirs[0], strict=True):
        assert abs(mine - other) <= max(1e-4, 1e-6 * abs(other))


def options_of(kind: str, family: str) -> dict[str, Any]:
    first, second = TARGETS.get(family, ["q_proj", "down_proj"])[:2]
    return {
        "dora": {"use_dora": True, "bias": "all"},
        "rank-stabilised": {
            "use_rslora": True,
            "rank_pattern": {first: 2},
            "alpha_pattern": {second: 3},
            "modules_to_save": [HEADS.get(family, "lm_head")],
        },
        "embeddings": {"target_modules": [EMBEDDINGS.get(family, "embed_tokens"), first]},
        "saved-embeddings": {"modules_to_save": [EMBEDDINGS.get(family, "embed_tokens")]},
    }[kind]


@pytest.mark.parametrize("kind", ["dora", "rank-stabilised", "embeddings", "saved-embeddings"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_adapter_acts_in_every_family_as_in_hf(
    bases: dict[str, Path], tmp_path: Path, family: str, kind: str
) -> None:
    adapter = save_adapter(bases[family], tmp_path / "a", family, **options_of(kind, family))
    lm = with_adapter(bases[family], adapter)
    assert "scoring packed" in lm.info().layout
    hf = HFLM(str(bases[family]), device="cpu", dtype="float32", batch_size=1, peft=str(adapter))
    assert_same(answers(lm), answers(hf))


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "phi", "gemma"])
@pytest.mark.parametrize(("pack_tokens", "block"), [(7, 2), (4096, 50)])
def test_order_and_packing_change_nothing_under_an_adapter(
    bases: dict[str, Path], tmp_path: Path, family: str, pack_tokens: int, block: int
) -> None:
    """With learned positions, positions for a part of each head, and one key head for several queries."""
    adapter = save_adapter(bases[family], tmp_path / "a", family)
    expected, texts = answers(with_adapter(bases[family], adapter))
    settings = EngineSettings(pack_tokens=pack_tokens, attention_block=block, generation_rows=3, threads=1)
    found, again = answers(with_adapter(bases[family], adapter, settings), PAIRS[::-1])
    assert_same((found[::-1], again), (expected, texts))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_on_a_tied_base_the_head_stays_the_bases_as_in_training(tmp_path: Path, family: str) -> None:
    """lm-eval ties the head to the trained embedding once more after PEFT loaded it; nothing that serves it does."""
    base = save_model(family, tmp_path / "base", tied=True)
    name = EMBEDDINGS.get(family, "embed_tokens")
    adapter = save_adapter(base, tmp_path / "a", family, modules_to_save=[name])
    lm = with_adapter(base, adapter)
    rows = torch.tensor([[5, 9, 30, 7]])
    with torch.inference_mode():
        mine = lm.model(rows).logits
    fresh = PeftModel.from_pretrained(Auto.from_pretrained(base, dtype=torch.float32), adapter).eval()
    with torch.inference_mode():
        served = fresh(rows).logits
        assert torch.allclose(mine, served, atol=1e-4)
    head = lm.model.get_output_embeddings().weight
    assert torch.equal(head, Auto.from_pretrained(base).get_output_embeddings().weight)
    hf = HFLM(str(base), device="cpu", dtype="float32", batch_size=1, peft=str(adapter))
    assert max(abs(a - b) for (a, _), (b, _) in zip(answers(lm)[0], answers(hf)[0], strict=True)) > 0.01


def without(folder: Path, ending: str) -> Path:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(ending)}
    assert len(kept) < len(tensors)
    save_file(kept, path)
    return folder


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_an_adapter_that_lacks_the_biases_it_trained_is_refused(tmp_path: Path, bias: str) -> None:
    base = save_model("llama-scaled-rope", tmp_path / "base")
    whole = save_adapter(base, tmp_path / "whole", bias=bias)
    with_adapter(base, whole)
    with pytest.raises(EvaluationError, match=r"does not fit .* are missing .*bias"):
        with_adapter(base, without(save_adapter(base, tmp_path / "part", bias=bias), ".bias"))


@pytest.mark.parametrize("options", [{}, {"modules_to_save": ["lm_head"]}])
def test_an_adapter_that_peft_activates_by_tokens_is_refused(
    bases: dict[str, Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    adapter = save_adapter(
        bases["llama"], tmp_path / "a", alora_invocation_tokens=[5, 6], task_type="CAUSAL_LM", **options
    )
    with pytest.raises(EvaluationError, match="alora_invocation_tokens, which the engine does not take"):
        with_adapter(bases["llama"], adapter)


def test_what_hf_refuses_together_is_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    adapter = str(save_adapter(bases["llama"], tmp_path / "a"))
    with pytest.raises(UsageError, match="both `peft` and `delta`"):
        PlacetLM(str(bases["llama"]), peft=adapter, delta=adapter)


@pytest.mark.parametrize("name", ["settings", "answers"])
def test_objects_cannot_be_given_as_words(bases: dict[str, Path], name: str) -> None:
    with pytest.raises(UsageError, match="cannot be written on a command line"):
        PlacetLM(str(bases["llama"]), base_id="b", **{name: "x"})


def test_a_length_in_the_generation_config_is_obeyed_as_in_hf(tmp_path: Path) -> None:
    base = save_model("llama", tmp_path / "base")
    path = base / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_new_tokens": 3}))
    lm = PlacetLM(str(base), settings=SMALL)
    assert "its generation config sets max_new_tokens" in lm.info().layout
    hf = HFLM(str(base), device="cpu", dtype="float32", batch_size=1)
    assert answers(lm)[1] == answers(hf)[1]


def test_requests_that_lose_their_beginning_are_counted_and_said(
    bases: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    lm = PlacetLM(str(bases["llama"]), settings=SMALL)
    with caplog.at_level(logging.WARNING, logger="lm_eval.models.placet"):
        lm.loglikelihood(requests("loglikelihood", PAIRS), disable_tqdm=True)
        lm.generate_until(
            requests("generate_until", [*PROMPTS, ("é" * 300, PROMPTS[0][1])]), disable_tqdm=True
        )
    assert lm.self_check()["requests_truncated"] == "2"
    assert [record.getMessage() for record in caplog.records if record.name == "lm_eval.models.placet"] == [
        f"1 requests are longer than the model's context of {MAX_LENGTH} tokens and lose their beginning"
    ] * 2
    lm.reset_self_check()
    lm.loglikelihood(requests("loglikelihood", PAIRS[:3]), disable_tqdm=True)
    assert "requests_truncated" not in lm.self_check()


KILLED = """
import sys, time
from pathlib import Path
from lm_eval.api.instance import Instance
from placet.engine.answers import JournalAnswers
from placet.engine.answers import JournalAnswers
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM
from placet.engine.packed import PackedModel
from tests.integration.test_engine_adapters import PAIRS, requests
forward = PackedModel.forward
def slowly(self, *rest, **more):
    time.sleep(0.3)
    return forward(self, *rest, **more)
PackedModel.forward = slowly
lm = PlacetLM(
    sys.argv[1], base_id="b", answers=JournalAnswers(Path(sys.argv[2])),
    settings=EngineSettings(pack_tokens=20, threads=1),
)
lm.loglikelihood(requests("loglikelihood", PAIRS))
print("ended")
"""


def test_a_process_that_is_killed_leaves_what_it_answered(bases: dict[str, Path], tmp_path: Path) -> None:
    journal, base = tmp_path / "answers.jsonl", bases["llama"]
    command = [sys.executable, "-c", KILLED, str(base), str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        assert process.stdout is not None
        assert b"ended" not in process.stdout.read()
    kept = JournalAnswers(journal)
    assert 2 < len(kept) < len(PAIRS)
    settings = EngineSettings(pack_tokens=20, threads=1)
    lm = PlacetLM(str(base), base_id="b", answers=kept, settings=settings)
    again = lm.loglikelihood(requests("loglikelihood", PAIRS), disable_tqdm=True)
    hf = HFLM(str(base), device="cpu", dtype="float32", batch_size=1)
    theirs = hf.loglikelihood(requests("loglikelihood", PAIRS), disable_tqdm=True)
    assert [a for a, _ in again] == pytest.approx([b for b, _ in theirs], abs=1e-4)
    assert len(JournalAnswers(journal)) == len(PAIRS)
