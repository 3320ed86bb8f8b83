"""The engine gives the answers of lm-eval's own `hf` model, for each family, whatever the order and packing."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM as Auto

from placet.domain.errors import EvaluationError, UsageError
from placet.engine.answers import JournalAnswers, MemoryAnswers
from placet.engine.identity import EngineSettings
from placet.engine.model import PlacetLM
from placet.engine.packed import PackedModel
from tests.support.tiny_models import CONFIGS, MAX_LENGTH, UNPACKED, save_adapter, save_model

TOLERANCE = 1e-4
PREFIX = "Question: which of these is a fruit? Answer: an apple, yes. " * 2
OPTIONS = (" apple", " no", " yes, it is an apple", "é ü", " a", "ζζ")
PAIRS = [
    *(
        (f"{PREFIX}Question {d}: the fox jumps {'over ' * (d % 3)}? Answer:", o)
        for d in range(6)
        for o in OPTIONS
    ),
    ("", "apple yes"),  # no context
    ("", "x"),
    ("The fox ", " jumps"),  # the space moves to the option
    ("The fox ", "jumps"),
    ("The qu", "ick brown"),  # tokenises across the border
    ("a" * 300, " after a context longer than the model"),
    ("", "a" * MAX_LENGTH),  # an option as long as the model
    ("日本語 ", "ok"),
    (PREFIX, " apple"),
    (PREFIX, " apple"),  # asked twice
    (PREFIX, " an"),
]
PROMPTS: list[tuple[str, dict[str, Any]]] = [
    *(
        (PREFIX[: 60 + 7 * i] + "?" * i, {"until": ["stop", "\n", " the"], "max_gen_toks": 12 + i % 3})
        for i in range(9)
    ),
    ("hi", {"until": [], "max_gen_toks": 20, "do_sample": False}),
    ("é" * 300, {"until": ["a"], "max_gen_toks": 20, "temperature": 0.0}),
    ("hi", {"until": "e", "max_new_tokens": 9}),
    ("hi", {"until": "e", "max_new_tokens": 9}),
    ("hi", {"until": ["", "e"], "max_gen_toks": 9}),  # which every text contains
]
# One thread: these models are so small that waiting for a second one costs more than it gives.
SMALL = EngineSettings(pack_tokens=100, generation_rows=4, threads=1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Give base and adapter folders of a family, made once."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    root, made = tmp_path_factory.mktemp("tiny"), {}

    def make(family: str) -> tuple[Path, Path]:
        if family not in made:
            base = save_model(family, root / family)
            made[family] = base, save_adapter(base, root / f"{family}-adapter", family)
        return made[family]

    return make


def instances(kind: str, arguments: list[Any]) -> list[Instance]:
    return [Instance(kind, {}, args, index) for index, args in enumerate(arguments)]


def scores(lm: Any, pairs: list[tuple[str, str]] = PAIRS) -> list[tuple[float, bool]]:
    return list(lm.loglikelihood(instances("loglikelihood", pairs), disable_tqdm=True))


def texts(lm: Any, prompts: list[tuple[str, dict[str, Any]]] = PROMPTS) -> list[str]:
    return list(lm.generate_until(instances("generate_until", prompts), disable_tqdm=True))


def ordinary(base: Path, adapter: Path | None = None) -> HFLM:
    more = {} if adapter is None else {"peft": str(adapter)}
    return HFLM(str(base), device="cpu", dtype="float32", batch_size=1, **more)


def assert_same(ours: list[tuple[float, bool]], theirs: list[tuple[float, bool]]) -> None:
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    for (a, _), (b, _) in zip(ours, theirs, strict=True):
        assert abs(a - b) <= max(TOLERANCE, 1e-6 * abs(b))


@pytest.mark.parametrize("family", list(CONFIGS))
def test_answers_equal_those_of_hf(models: Callable[[str], tuple[Path, Path]], family: str) -> None:
    base, adapter = models(family)
    lm = PlacetLM(str(base), settings=SMALL)
    lm.add_adapter("A", adapter)
    for weights in (None, "A"):
        lm.use_adapter(weights)
        hf = ordinary(base, adapter if weights else None)
        assert_same(scores(lm), scores(hf))
        assert texts(lm) == texts(hf)
        windows = instances("loglikelihood_rolling", [("a fox. " * 60,), ("x",), ("",)])
        assert lm.loglikelihood_rolling(windows) == pytest.approx(
            hf.loglikelihood_rolling(windows, disable_tqdm=True), abs=TOLERANCE, rel=1e-6
        )
    packed = "scoring packed" in lm.info().layout
    assert packed == (family not in UNPACKED)
    assert packed or UNPACKED[family] in lm.info().layout
    assert packed or "generation ordinary, one by one" in lm.info().layout


@pytest.mark.parametrize(
    ("pack_tokens", "block"), [(1, 1), (17, 3), (64, 128), (4096, 1), (4096, 50), (4096, 4096)]
)
def test_any_packing_and_any_order_give_the_same_answers(
    models: Callable[[str], tuple[Path, Path]], pack_tokens: int, block: int
) -> None:
    base, _ = models("llama")
    expected = scores(PlacetLM(str(base), settings=SMALL))
    order = list(range(len(PAIRS)))
    random.Random(pack_tokens).shuffle(order)
    lm = PlacetLM(str(base), settings=EngineSettings(pack_tokens=pack_tokens, attention_block=block))
    shuffled = scores(lm, [PAIRS[index] for index in order])
    assert_same(shuffled, [expected[index] for index in order])


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_any_batch_generates_the_same_texts(models: Callable[[str], tuple[Path, Path]], rows: int) -> None:
    base, _ = models("llama")
    expected = texts(PlacetLM(str(base), settings=SMALL))
    lm = PlacetLM(str(base), settings=EngineSettings(generation_rows=rows))
    assert texts(lm, PROMPTS[::-1]) == expected[::-1]


def test_sampling_goes_the_ordinary_way(models: Callable[[str], tuple[Path, Path]]) -> None:
    """In the order of `hf` at batch size 1, so that one seed draws the same."""
    base, _ = models("llama")
    sampled = {"until": ["e"], "max_gen_toks": 6, "do_sample": True, "temperature": 0.7}
    requests = [("hi " * (1 + n % 3), sampled) for n in range(5)]
    requests[2:2] = [("hi", {**sampled, "temperature": 0.9}), ("hi", {"until": ["e"], "max_gen_toks": 3})]
    torch.manual_seed(1)
    expected = texts(ordinary(base), requests)
    assert len(set(expected)) == len(expected)
    lm = PlacetLM(str(base))
    torch.manual_seed(1)
    assert texts(lm, requests) == expected


def test_a_batch_size_to_be_found_is_found_once(
    models: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, _ = models("mistral-windowed")
    expected = scores(ordinary(base)), texts(ordinary(base))
    detect, found = HFLM._detect_batch_size, []

    def counted(self: Any, requests: Any = None, pos: int = 0) -> int:
        found.append(len(requests or ()))
        return int(detect(self, requests, pos))

    monkeypatch.setattr(HFLM, "_detect_batch_size", counted)
    monkeypatch.setattr("placet.engine.scoring._ORDINARY_ROUND", 16)
    lm = PlacetLM(str(base), batch_size="auto", max_batch_size=4, settings=SMALL)
    assert_same(scores(lm), expected[0])
    assert found == [16]
    assert texts(lm) == expected[1]
    assert found == [16]


def test_log_probabilities_in_16_bit_are_those_of_hf_itself(
    models: Callable[[str], tuple[Path, Path]],
) -> None:
    base, _ = models("llama")
    lm = PlacetLM(str(base), dtype="bfloat16", softmax_dtype="bfloat16", settings=SMALL)
    assert "log-probabilities in bfloat16" in lm.info().layout
    assert "generation greedy" in lm.info().layout
    hf = HFLM(str(base), device="cpu", dtype="bfloat16", batch_size=1)
    assert scores(lm) == scores(hf)
    assert texts(lm, PROMPTS[:2]) == texts(hf, PROMPTS[:2])


def test_mixed_precision_goes_the_ordinary_way(models: Callable[[str], tuple[Path, Path]]) -> None:
    base, _ = models("llama")
    lm = PlacetLM(str(base), settings=SMALL, mixed_precision_dtype="bfloat16")
    assert "ordinary" in lm.info().layout
    assert "mixed precision" in lm.info().layout
    hf = HFLM(
        str(base), device="cpu", batch_size=1, mixed_precision_dtype="bfloat16", softmax_dtype="float32"
    )
    assert_same(scores(lm, PAIRS[:8]), scores(hf, PAIRS[:8]))


@pytest.mark.parametrize(
    "options",
    [
        {"use_rslora": True},
        {"use_dora": True},
        {"bias": "lora_only"},
        {"bias": "all"},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["embed_tokens", "q_proj"]},
        {"trainable_token_indices": [5, 6, 7]},
        {"target_modules": "all-linear"},
    ],
    ids=lambda options: next(iter(options)) + ":" + str(next(iter(options.values())))[:12],
)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings=True`")
def test_every_kind_of_lora_acts_as_in_peft_and_is_taken_away_again(
    tmp_path: Path, options: dict[str, Any], tied: bool
) -> None:
    base = save_model("llama", tmp_path / "base", tied=tied)
    adapter = save_adapter(base, tmp_path / "adapter", **options)
    lm = PlacetLM(str(base), settings=SMALL)
    lm.add_adapter("A", adapter)
    before = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    places = {name: id(p) for name, p in lm.model.named_parameters() if not name.endswith("bias")}
    shared = {id(p) for p in lm.model.parameters()}
    config = lm.model.config.to_dict()
    lm.use_adapter("A")
    held = {id(p): p for p in lm.model.parameters()}
    assert all(torch.equal(held[key], before[name]) for name, key in places.items() if key in held)
    if not (
        tied and {"modules_to_save", "trainable_token_indices"} & set(options)
    ):  # lm-eval's loader fails on these
        assert_same(scores(lm), scores(ordinary(base, adapter)))
    lm.use_adapter(None)
    after = lm.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert {id(p) for p in lm.model.parameters()} == shared
    assert lm.model.config.to_dict() == config


def replaced(folder: Path, name: str, value: torch.Tensor) -> Path:
    """Let the adapter in `folder` hold a tensor of the base's own."""
    return adapter_with(folder, lambda tensors: {**tensors, f"base_model.model.{name}": value})


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_embeddings_that_come_with_an_adapter_are_put_back_afterwards(tmp_path: Path, tied: bool) -> None:
    base = save_model("llama", tmp_path / "base", tied=tied)
    lm = PlacetLM(str(base), settings=SMALL)
    name = "model.embed_tokens.weight"
    before = lm.model.state_dict()[name].clone()
    untouched = scores(lm)
    lm.add_adapter("A", replaced(save_adapter(base, tmp_path / "a"), name, before * 1.5))
    lm.use_adapter("A")
    assert_same(scores(lm), scores(ordinary(base, tmp_path / "a")))
    lm.use_adapter(None)
    assert torch.equal(lm.model.state_dict()[name], before)
    assert scores(lm) == untouched


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.1.self_attn.q_proj.base_layer.weight",
        "model.norm.weight",
    ],
)
def test_an_adapter_that_would_replace_other_weights_of_the_base_is_refused(
    models: Callable[[str], tuple[Path, Path]], tmp_path: Path, name: str
) -> None:
    base, _ = models("llama")
    lm = PlacetLM(str(base), settings=SMALL)
    before = {key: tensor.clone() for key, tensor in lm.model.state_dict().items()}
    value = before[name.replace(".base_layer", "")]
    lm.add_adapter("A", replaced(save_adapter(base, tmp_path / "a"), name, value + 1))
    with pytest.raises(EvaluationError, match=f"replace the base's own weights .*{name}"):
        lm.use_adapter("A")
    assert all(torch.equal(lm.model.state_dict()[key], tensor) for key, tensor in before.items())
    lm.add_adapter(
        "B", replaced(save_adapter(base, tmp_path / "b"), name, value)
    )  # the same: nothing to replace
    lm.use_adapter("B")


def test_an_adapter_that_acts_on_a_few_tokens_alone_is_seen_to_act(
    models: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    base, _ = models("llama")
    folder = save_adapter(base, tmp_path / "a", trainable_token_indices=[5, 6])
    adapter_with(
        folder, lambda t: {k: v * 0 if "lora_B" in k else v + ("lora" not in k) for k, v in t.items()}
    )
    lm = PlacetLM(str(base), settings=SMALL)
    lm.add_adapter("A", folder)
    lm.use_adapter("A")
    assert float(lm.self_check()["adapter_effect"]) > 0.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_untrained_dora_adapter_changes_nothing_but_rounding(
    models: Callable[[str], tuple[Path, Path]], tmp_path: Path, dtype: str
) -> None:
    base, _ = models("llama")
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], use_dora=True)
    untrained = get_peft_model(Auto.from_pretrained(base, dtype=getattr(torch, dtype)), config)
    untrained.save_pretrained(tmp_path / "a")
    lm = PlacetLM(str(base), dtype=dtype, settings=SMALL)
    lm.add_adapter("A", tmp_path / "a")
    with pytest.raises(EvaluationError, match="changes nothing"):
        lm.use_adapter("A")


def test_going_from_adapter_to_adapter_leaves_nothing_behind(
    models: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    base, first = models("llama")
    second = save_adapter(base, tmp_path / "second", seed=2, target_modules=["o_proj", "lm_head"])
    lm = PlacetLM(str(base), settings=SMALL)
    lm.add_adapter("A", first)
    lm.add_adapter("B", second)
    alone = {}
    for name in ("A", "B"):
        fresh = PlacetLM(str(base), settings=SMALL)
        fresh.add_adapter(name, first if name == "A" else second)
        fresh.use_adapter(name)
        alone[name] = scores(fresh)
    untouched = scores(lm)
    seen = {}
    for name in ("A", "B", None, "B", "A", None):
        lm.use_adapter(name)
        seen[name] = scores(lm)
        assert seen[name] == (untouched if name is None else alone[name])
    assert seen["A"] != seen["B"] != untouched


def adapter_with(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}, path)
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {name: tensor * 0 for name, tensor in t.items()}, "changes nothing"),
        (lambda t: {name: tensor * float("nan") for name, tensor in t.items()}, "NaN"),
        (lambda t: dict(list(t.items())[1:]), "1 are missing"),
        (lambda t: {**t, "base_model.model.other.lora_A.weight": torch.ones(2, 2)}, "1 of its tensors"),
        (lambda t: {name: tensor[:1] for name, tensor in t.items()}, "does not fit"),
    ],
)
def test_an_adapter_that_does_not_fit_or_act_is_refused_and_the_base_stays(
    models: Callable[[str], tuple[Path, Path]], tmp_path: Path, change: Any, words: str
) -> None:
    base, _ = models("llama")
    lm = PlacetLM(str(base), settings=SMALL)
    expected = scores(lm)
    lm.add_adapter("A", adapter_with(save_adapter(base, tmp_path / "a"), change))
    with pytest.raises(EvaluationError, match=words) as caught:
        lm.use_adapter("A")
    assert caught.value.hint
    assert lm.current is None
    assert scores(lm) == expected


def test_an_adapter_without_safetensors_or_never_added_is_refused(
    models: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    base, _ = models("llama")
    lm = PlacetLM(str(base))
    with pytest.raises(UsageError, match="no adapter B"):
        lm.use_adapter("B")
    folder = save_adapter(base, tmp_path / "a")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    lm.add_adapter("A", folder)
    with pytest.raises(EvaluationError, match=r"adapter_model\.safetensors"):
        lm.use_adapter("A")
    lm.add_adapter("/folders/that/are/not/there", tmp_path / "none")
    with pytest.raises(
        EvaluationError, match="adapter /folders/that/are/not/there cannot be read: there is no"
    ):
        lm.use_adapter("/folders/that/are/not/there")


@pytest.mark.parametrize(
    ("base", "options", "words"),
    [
        ("nowhere/at/all", {}, "OSError"),
        (None, {"dtype": "float33"}, "float33"),
        (None, {"nonsense": 3}, "nonsense"),
    ],
)
def test_a_base_that_cannot_be_loaded_is_said_in_words(
    models: Callable[[str], tuple[Path, Path]], base: str | None, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=f"(?s)the base cannot be loaded from .*{words}") as caught:
        PlacetLM(base or str(models("llama")[0]), **options)
    assert caught.value.hint


def test_an_option_without_tokens_is_refused(models: Callable[[str], tuple[Path, Path]]) -> None:
    lm = PlacetLM(str(models("llama")[0]))
    with pytest.raises(EvaluationError, match="no tokens to score"):
        scores(lm, [("The fox", "")])
    with pytest.raises(EvaluationError, match="a context without tokens"):
        scores(lm, [("  ", "The fox")])
    with pytest.raises(EvaluationError, match="no tokens to generate from"):
        texts(lm, [("", {"until": ["e"], "max_gen_toks": 3})])


def test_more_new_tokens_than_the_model_holds_are_refused(models: Callable[[str], tuple[Path, Path]]) -> None:
    lm = PlacetLM(str(models("llama")[0]))
    for more in ({}, {"do_sample": True}):
        with pytest.raises(EvaluationError, match=f"leave no room for a prompt in the model's {MAX_LENGTH}"):
            texts(lm, [("The fox", {"until": ["e"], "max_gen_toks": MAX_LENGTH, **more})])


def test_a_model_needs_a_base() -> None:
    with pytest.raises(UsageError, match="no base is given"):
        PlacetLM()


def test_an_option_longer_than_the_model_is_refused(models: Callable[[str], tuple[Path, Path]]) -> None:
    lm = PlacetLM(str(models("llama")[0]))
    with pytest.raises(EvaluationError, match=f"the model's {MAX_LENGTH}"):
        scores(lm, [("The fox", "a" * (MAX_LENGTH + 1))])


# --- the self-check and the journal -------------------------------------------------------------------------


def test_the_self_check_reports_its_largest_difference(models: Callable[[str], tuple[Path, Path]]) -> None:
    base, adapter = models("llama")
    lm = PlacetLM(str(base), settings=SMALL)
    lm.add_adapter("A", adapter)
    lm.use_adapter("A")
    scores(lm)
    texts(lm)
    report = lm.self_check()
    assert 2 <= int(report["logprob_checked"]) <= 4
    assert report["greedy_logit_checked"] == "2"
    assert int(report["noise_floor_checked"]) >= 2
    assert float(report["logprob_max_difference"]) < TOLERANCE
    assert 0 < float(report["noise_floor_max_difference"]) < TOLERANCE
    assert float(report["adapter_effect"]) > 0.01
    assert int(report["adapter_tensors"]) > 0


def test_wrong_scores_stop_the_run(
    models: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "placet.engine.packed.tree_mask",
        lambda pack: torch.ones(len(pack.tokens), pack.depth + len(pack.tokens), dtype=torch.bool).tril(
            pack.depth
        ),
    )
    lm = PlacetLM(str(models("llama")[0]), settings=SMALL)
    with pytest.raises(EvaluationError, match="self-check failed"):
        scores(lm)


def test_wrong_tokens_stop_the_run(
    models: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = PlacetLM(str(models("llama")[0]), settings=SMALL)
    forward = PackedModel.forward

    def from_zero(self: PackedModel, tokens: Any, positions: torch.Tensor, *rest: Any, **more: Any) -> Any:
        return forward(self, tokens, positions * 0, *rest, **more)

    monkeypatch.setattr(PackedModel, "forward", from_zero)
    with pytest.raises(EvaluationError, match="self-check failed"):
        texts(lm)


def test_answers_are_kept_by_weights_and_not_computed_again(
    models: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter = models("llama")
    store = MemoryAnswers()

    def fresh() -> PlacetLM:
        lm = PlacetLM(str(base), base_id="sha256:base", answers=store, settings=SMALL)
        lm.add_adapter("A", adapter)
        return lm

    lm, expected = fresh(), {}
    for name in (None, "A"):
        lm.use_adapter(name)
        expected[name] = scores(lm), texts(lm)
    assert expected[None] != expected["A"]
    monkeypatch.setattr("placet.engine.model.Scoring.compute", None)
    monkeypatch.setattr("placet.engine.model.GreedyGenerator.generate", None)
    again = fresh()
    for name in (None, "A"):
        again.use_adapter(name)
        assert (scores(again), texts(again)) == expected[name]


def test_a_run_killed_in_the_middle_resumes_from_its_journal(
    models: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    base, _ = models("llama")
    path = tmp_path / "answers.jsonl"
    with JournalAnswers(path) as journal:
        lm = PlacetLM(str(base), base_id="b", answers=journal, settings=SMALL)
        expected = scores(lm), texts(lm)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    journal = JournalAnswers(path)
    kept = len(journal)
    lm = PlacetLM(str(base), base_id="b", answers=journal, settings=SMALL)
    assert_same(scores(lm), expected[0])
    assert texts(lm) == expected[1]
    assert 0 < kept < len(JournalAnswers(path)) == whole.count(b"\n")


def test_whatever_may_change_an_answer_makes_it_another_one(
    models: Callable[[str], tuple[Path, Path]],
) -> None:
    base, adapter = models("llama")

    def asked(settings: EngineSettings = SMALL, **options: Any) -> PlacetLM:
        return PlacetLM(str(base), base_id=options.pop("base_id", "b"), settings=settings, **options)

    variants = [
        asked(),
        asked(base_id="c"),
        asked(dtype="bfloat16"),
        asked(softmax_dtype="float64"),
        asked(attn_implementation="eager"),
        asked(max_length=64),
        asked(add_bos_token=True),
        asked(prefix_token_id=5),
        asked(truncation=True),
        asked(EngineSettings(pack_tokens=99, threads=1)),
        asked(EngineSettings(pack_tokens=100, generation_rows=5, threads=1)),
        asked(EngineSettings(packed=False, threads=1)),
        asked(EngineSettings(packed=False, threads=1), batch_size=2),
    ]
    ids = [lm.answer_ids("loglikelihood", [("The fox", " jumps")])[0] for lm in variants]
    lm = asked()
    assert lm.answer_ids("loglikelihood", [("The fox", " jumps")]) == ids[:1]
    lm.add_adapter("A", adapter)
    lm.use_adapter("A")
    ids += lm.answer_ids("loglikelihood", [("The fox", " jumps")])
    assert len(set(ids)) == len(variants) + 1


def test_on_its_own_the_engine_shows_lm_evals_bars(
    models: Callable[[str], tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    lm = PlacetLM(str(models("llama")[0]), settings=SMALL)
    capsys.readouterr()
    lm.loglikelihood(instances("loglikelihood", PAIRS))
    lm.generate_until(instances("generate_until", PROMPTS[:3]))
    said = capsys.readouterr().err
    assert f"Running loglikelihood requests: 100%|██████████| {len(PAIRS)}/{len(PAIRS)}" in said
    assert "Running generate_until requests: 100%|██████████| 3/3" in said
    scores(lm)
    assert capsys.readouterr().err == ""


def test_a_store_needs_to_know_the_base(models: Callable[[str], tuple[Path, Path]]) -> None:
    with pytest.raises(UsageError, match="base's id"):
        PlacetLM(str(models("llama")[0]), answers=MemoryAnswers())
