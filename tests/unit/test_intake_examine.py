from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placet.blobs import BlobStore
from placet.demo.broken import EXPECTED, make_broken
from placet.domain.digests import digest_bytes
from placet.domain.errors import IntegrityError, SourceError, StorageError, UndecidedError
from placet.domain.records import CheckResult, CheckStatus, FileEntry, Intake, Severity, files_digest
from placet.intake import BY_ID, Limits, materialise, weights_id_of
from placet.intake.checks import CHECKS
from placet.intake.context import Context
from tests.support.adapters import (
    ADAPTER_CONFIG,
    KV_WIDTH,
    LABEL,
    NOW,
    PREFIX,
    TEMPLATE,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WIDTH,
    Desk,
    adapter_tensors,
    bf16,
    finding_ids,
    make_adapter,
    safetensors_bytes,
    write_json,
)

Q0 = f"{PREFIX}model.layers.0.self_attn.q_proj"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def _statuses(intake: Intake) -> dict[str, str]:
    return {check.check: check.status.value for check in intake.checks}


# --- what passes ----------------------------------------------------------------------------------------


def test_a_good_adapter_becomes_a_subject(desk: Desk) -> None:
    intake = desk.adapter(extra={"README.md": b"# card"})
    assert not intake.refused
    assert intake.findings == ()
    assert set(_statuses(intake).values()) == {"passed"}
    assert [check.check for check in intake.checks] == [check.id for check in CHECKS]
    assert intake.adapter is not None
    assert intake.adapter.label == "adapter"
    assert intake.adapter.id == intake.files_id == files_digest(intake.files)
    assert [entry.path for entry in intake.files] == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert all(desk.blobs.verify(entry.sha256) == entry.size for entry in intake.files)
    assert intake.examined_at == NOW
    assert Intake.from_json(intake.to_json()) == intake


def test_the_trainer_can_know_the_weights_id_beforehand(desk: Desk) -> None:
    intake = desk.adapter()
    assert intake.adapter is not None
    assert weights_id_of(desk.root / "adapter") == intake.adapter.weights_id


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_all_three_float_types_pass(desk: Desk, dtype: str) -> None:
    assert not desk.adapter(tensors=adapter_tensors(dtype)).refused


def test_the_bases_own_prompt_files_pass(desk: Desk) -> None:
    intake = desk.adapter(
        extra={
            "chat_template.jinja": TEMPLATE.encode(),
            "tokenizer.json": json.dumps(TOKENIZER, sort_keys=True).encode(),
            "tokenizer_config.json": json.dumps(TOKENIZER_CONFIG | {"chat_template": TEMPLATE}).encode(),
        }
    )
    assert not intake.refused
    assert intake.findings == ()


def test_an_older_tokenizer_file_of_the_same_content_passes(desk: Desk) -> None:
    old = {"version": "1.0", "model": {"type": "BPE", "merges": ["a b"], "vocab": {"ab": 2, "b": 1, "a": 0}}}
    assert not desk.adapter(extra={"tokenizer.json": json.dumps(old).encode()}).refused


def test_the_base_may_be_named_by_its_id_or_its_place(desk: Desk) -> None:
    for number, name in enumerate([desk.base.ref.id, "models/tiny", f"{LABEL}/"]):
        assert not desk.adapter(f"adapter-{number}", base_model_name_or_path=name).refused


def test_a_pair_of_other_rank_and_a_module_saved_whole_pass(desk: Desk) -> None:
    tensors = adapter_tensors()
    tensors[f"{Q0}.lora_A.weight"] = ("F32", np.ones((3, WIDTH)))
    tensors[f"{Q0}.lora_B.weight"] = ("F32", np.ones((WIDTH, 3)))
    tensors[f"{PREFIX}model.norm.weight"] = ("F32", np.ones(WIDTH))
    intake = desk.adapter(
        tensors=tensors, rank_pattern={"layers.0.self_attn.q_proj": 3}, modules_to_save=["norm"]
    )
    assert not intake.refused


def test_all_linear_and_layers_are_understood_as_peft_does(desk: Desk) -> None:
    tensors = {name: item for name, item in adapter_tensors().items() if ".1." in name}
    assert not desk.adapter("one", tensors=tensors, layers_to_transform=[1]).refused
    assert not desk.adapter("two", tensors=tensors, layers_to_transform=1, layers_pattern="layers").refused
    up = {
        f"{PREFIX}model.layers.{layer}.mlp.up_proj.lora_{half}.weight": ("F32", np.ones(shape))
        for layer in range(2)
        for half, shape in {"A": (2, WIDTH), "B": (3 * WIDTH, 2)}.items()
    }
    assert not desk.adapter("three", tensors=adapter_tensors() | up, target_modules="all-linear").refused
    assert not desk.adapter("four", target_modules="all-linear", exclude_modules=["up_proj"]).refused


# --- identities -----------------------------------------------------------------------------------------


def _weights_id(intake: Intake) -> str:
    assert intake.adapter is not None
    return intake.adapter.weights_id


def test_card_order_and_training_fields_change_the_adapter_but_not_the_weights_id(desk: Desk) -> None:
    first = desk.adapter("first")
    tensors = adapter_tensors()
    second = desk.adapter(
        "second",
        weights=safetensors_bytes(dict(reversed(tensors.items())), {"made": "elsewhere"}),
        extra={"README.md": b"another card"},
        lora_dropout=0.1,
        peft_version="0.20.0",
        inference_mode=False,
        target_modules=["v_proj", "q_proj"],
        lora_alpha=4.0,
        base_model_name_or_path="models/tiny",
        use_rslora=None,
    )
    assert first.files_id != second.files_id
    assert _weights_id(first) == _weights_id(second)


@pytest.mark.parametrize(
    "change",
    [{"lora_alpha": 5}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 8}}],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_the_computation_changes_the_weights_id(desk: Desk, change: dict[str, Any]) -> None:
    assert _weights_id(desk.adapter("first")) != _weights_id(desk.adapter("second", **change))


def test_one_bit_of_a_weight_changes_both_ids(desk: Desk) -> None:
    first = desk.adapter("first")
    data = bytearray((desk.root / "first" / "adapter_model.safetensors").read_bytes())
    data[-4] ^= 1
    second = desk.adapter("second", weights=bytes(data))
    assert first.files_id != second.files_id
    assert _weights_id(first) != _weights_id(second)


def test_the_same_bytes_elsewhere_give_the_same_record(desk: Desk, tmp_path: Path) -> None:
    first = desk.adapter("one")
    shutil.copytree(tmp_path / "one", tmp_path / "else" / "one")
    second = desk.examine(tmp_path / "else" / "one")
    assert first == second


# --- what is refused ------------------------------------------------------------------------------------


def test_each_broken_submission_of_the_demo_has_its_own_one_finding(desk: Desk, tmp_path: Path) -> None:
    good = make_adapter(tmp_path / "good")
    broken = make_broken(good, tmp_path / "broken")
    assert list(broken) == list(EXPECTED)
    assert len(set(EXPECTED.values())) == 5
    for expected, folder in broken.values():
        intake = desk.examine(folder)
        assert intake.refused
        assert finding_ids(intake) == [expected]
        assert _statuses(intake)[_failed(intake)] == "failed"
    assert not desk.examine(good).refused, "the good adapter was left alone"
    assert {name: item[0] for name, item in make_broken(good, tmp_path / "broken").items()} == EXPECTED


def _failed(intake: Intake) -> str:
    (failed,) = [check.check for check in intake.checks if check.status is CheckStatus.FAILED]
    return failed


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "prompt tuning": ({"peft_type": "PROMPT_TUNING"}, "unsupported-kind"),
    "no kind": ({"peft_type": None}, "unsupported-kind"),
    "classifier": ({"task_type": "SEQ_CLS"}, "unsupported-kind"),
    "auto mapping": (
        {"auto_mapping": {"parent_library": "os", "base_model_class": "system"}},
        "code-in-config",
    ),
    "parent library": ({"parent_library": "os"}, "code-in-config"),
    "megatron": ({"megatron_config": {"a": 1}}, "code-in-config"),
    "megatron core": ({"megatron_core": "evil.module"}, "code-in-config"),
    "DoRA": ({"use_dora": True}, "unsupported-config"),
    "trained bias": ({"bias": "all"}, "unsupported-config"),
    "token indices": ({"trainable_token_indices": [1]}, "unsupported-config"),
    "parameters": ({"target_parameters": ["mlp.weight"]}, "unsupported-config"),
    "PiSSA": ({"init_lora_weights": "pissa"}, "unsupported-config"),
    "LoftQ settings": ({"loftq_config": {"bits": 4}}, "unsupported-config"),
    "number for init": ({"init_lora_weights": 1}, "unsupported-config"),
    "unknown field": ({"use_next_years_trick": True}, "unknown-config-field"),
    "pattern as target": ({"target_modules": "(.|.)*X"}, "regex-in-config"),
    "plain text as target": ({"target_modules": "q_proj"}, "regex-in-config"),
    "pattern in targets": ({"target_modules": ["q_proj", ".*_proj"]}, "regex-in-config"),
    "pattern as exclusion": ({"exclude_modules": ".*"}, "regex-in-config"),
    "pattern in saved modules": ({"modules_to_save": ["(a+)+$"]}, "regex-in-config"),
    "pattern as rank key": ({"rank_pattern": {"^.*q": 4}}, "regex-in-config"),
    "pattern as alpha key": ({"alpha_pattern": {"(x|y)": 4}}, "regex-in-config"),
    "pattern for layers": ({"layers_to_transform": [0], "layers_pattern": "(a|a)*"}, "regex-in-config"),
    "no targets": ({"target_modules": None}, "malformed-config"),
    "empty targets": ({"target_modules": []}, "malformed-config"),
    "targets not text": ({"target_modules": [1]}, "malformed-config"),
    "rank zero": ({"r": 0}, "extreme-scale"),
    "rank huge": ({"r": 100_000}, "extreme-scale"),
    "rank as text": ({"r": "8"}, "malformed-config"),
    "rank true": ({"r": True}, "malformed-config"),
    "alpha negative": ({"lora_alpha": -1}, "extreme-scale"),
    "alpha huge": ({"lora_alpha": 1e9}, "extreme-scale"),
    "alpha huge for one": ({"alpha_pattern": {"q_proj": 1e9}}, "extreme-scale"),
    "rank huge for one": ({"rank_pattern": {"q_proj": 1e6}}, "malformed-config"),
    "alpha as text": ({"lora_alpha": "16"}, "malformed-config"),
    "flag as text": ({"use_rslora": "yes"}, "malformed-config"),
    "layers negative": ({"layers_to_transform": [-1]}, "malformed-config"),
    "table as list": ({"rank_pattern": ["q_proj"]}, "malformed-config"),
    "base as number": ({"base_model_name_or_path": 3}, "malformed-config"),
    "no base": ({"base_model_name_or_path": None}, "base-not-named"),
    "empty base": ({"base_model_name_or_path": ""}, "base-not-named"),
    "other base": ({"base_model_name_or_path": "Other-Instruct"}, "base-mismatch"),
    "target the base lacks": ({"target_modules": ["c_attn"]}, "unknown-module"),
    "more targets than weights": ({"target_modules": ["q_proj", "v_proj", "up_proj"]}, "missing-module"),
    "fewer targets than weights": ({"target_modules": ["q_proj"]}, "untargeted-tensor"),
    "other rank": ({"r": 4}, "shape-mismatch"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_is_refused_with_one_finding(desk: Desk, case: str) -> None:
    config, expected = CONFIGS[case]
    intake = desk.adapter(**config)
    assert intake.refused
    assert finding_ids(intake) == [expected]
    _failed(intake)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nonsense",
        '{"r": NaN}',
        '{"r": 8, "r": 9}',
        "[" * 100_000,
        '{"peft_type": "LORA", "peft_type": "LORA"}',
        "\udcff",
    ],
)
def test_a_configuration_that_is_not_strict_json_is_malformed(desk: Desk, text: str) -> None:
    folder = make_adapter(desk.root / "adapter")
    (folder / "adapter_config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert finding_ids(desk.examine(folder)) == ["malformed-config"]


def test_independent_faults_are_all_reported_at_once(desk: Desk) -> None:
    intake = desk.adapter(use_dora=True, target_modules="q.*", weights=b"short")
    assert finding_ids(intake) == ["unsupported-config", "regex-in-config", "truncated-weights"]


def _weights(change: str) -> dict[str, tuple[str, np.ndarray]]:
    tensors = adapter_tensors()
    name = f"{Q0}.lora_B.weight"
    if change == "half":
        del tensors[name]
    elif change == "transposed":
        tensors[name] = ("F32", tensors[name][1].T)
    elif change == "another base":
        tensors[name] = ("F32", np.ones((2 * WIDTH, 2)))
    elif change == "deeper base":
        tensors |= {key.replace("layers.1.", "layers.7."): item for key, item in tensors.items()}
    elif change == "embedding":
        tensors[f"{PREFIX}model.embed_tokens.lora_A.weight"] = ("F32", np.ones((2, 16)))
        tensors[f"{PREFIX}model.embed_tokens.lora_B.weight"] = ("F32", np.ones((WIDTH, 2)))
    elif change == "no prefix":
        tensors = {key.removeprefix(PREFIX): item for key, item in tensors.items()}
    elif change == "double":
        tensors[name] = ("F64", tensors[name][1])
    elif change == "all zero":
        tensors = {key: (t, a * (-0.0 if "lora_B" in key else 1)) for key, (t, a) in tensors.items()}
    elif change == "none":
        tensors = {}
    return tensors


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("half", "incomplete-pair"),
        ("transposed", "shape-mismatch"),
        ("another base", "shape-mismatch"),
        ("deeper base", "unknown-module"),
        ("embedding", "unknown-module"),
        ("no prefix", "unknown-module"),
        ("double", "unsupported-dtype"),
        ("all zero", "adapter-does-nothing"),
        ("none", "malformed-weights"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_one_finding(desk: Desk, change: str, expected: str) -> None:
    intake = desk.adapter(tensors=_weights(change))
    assert intake.refused
    assert finding_ids(intake) == [expected]


def test_some_updates_at_zero_are_a_warning(desk: Desk) -> None:
    tensors = adapter_tensors()
    tensors[f"{Q0}.lora_B.weight"] = ("F32", np.zeros((WIDTH, 2)))
    intake = desk.adapter(tensors=tensors)
    assert not intake.refused
    assert [(item.id, item.severity) for item in intake.findings] == [("idle-module", Severity.WARN)]


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found(desk: Desk, dtype: str, bad: float) -> None:
    tensors = adapter_tensors(dtype)
    name = f"{PREFIX}model.layers.1.self_attn.v_proj.lora_B.weight"
    values = np.array(tensors[name][1])
    values[KV_WIDTH - 1, 1] = bad
    tensors[name] = (dtype, values)
    intake = desk.adapter(tensors=tensors)
    assert finding_ids(intake) == ["non-finite-weights"]
    assert intake.findings[0].where == name


def test_numbers_just_below_infinity_and_subnormals_are_finite(desk: Desk) -> None:
    tensors = adapter_tensors("BF16")
    name = f"{Q0}.lora_A.weight"
    tensors[name] = ("BF16", np.full((2, WIDTH), np.finfo(np.float32).max))
    assert bf16(tensors[name][1])[0, 0] == 0x7F7F
    tensors[f"{Q0}.lora_B.weight"] = ("BF16", np.full((WIDTH, 2), 1e-40))
    assert not desk.adapter(tensors=tensors).refused


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("adapter_model.bin", "pickle-file"),
        ("optimizer.pt", "pickle-file"),
        ("checkpoint-10/scheduler.PT", "pickle-file"),
        ("modeling.py", "code-file"),
        ("deep/er/run.sh", "code-file"),
        ("notes.txt", "unexpected-file"),
        ("model.safetensors", "unexpected-file"),
        ("vocab.json", "unexpected-file"),
        ("readme.md", "unexpected-file"),
        (".hidden", "unexpected-file"),
        ("sub/adapter_config.json", "unexpected-file"),
        ("new\nline", "unexpected-file"),
        ("\udcff.bin", "pickle-file"),
    ],
)
def test_what_is_not_on_the_list_is_refused_and_not_kept(desk: Desk, name: str, expected: str) -> None:
    intake = desk.adapter(extra={name: b"some bytes"})
    assert finding_ids(intake) == [expected]
    assert not desk.blobs.has(digest_bytes(b"some bytes"))
    assert Intake.from_json(json.loads(json.dumps(intake.to_json()))) == intake


def test_a_refused_file_at_the_top_is_on_record_by_digest(desk: Desk) -> None:
    intake = desk.adapter(extra={"optimizer.pt": b"pickled"})
    assert FileEntry(path="optimizer.pt", size=7, sha256=digest_bytes(b"pickled")) in intake.files
    assert intake.adapter is None


def test_a_pickle_in_place_of_the_weights_is_the_only_finding(desk: Desk) -> None:
    folder = make_adapter(desk.root / "adapter", extra={"adapter_model.bin": b"\x80\x04."})
    (folder / "adapter_model.safetensors").unlink()
    assert finding_ids(desk.examine(folder)) == ["pickle-file"]


@pytest.mark.parametrize("start", [b"\x80\x04\x95", b"PK\x03\x04"])
def test_a_pickle_under_the_weights_name_is_one_still(desk: Desk, start: bytes) -> None:
    assert finding_ids(desk.adapter(weights=start + b"\0" * 40)) == ["pickle-file"]


def test_links_are_never_followed_wherever_they_lead(desk: Desk, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_bytes(b"private")
    for number, (name, target) in enumerate(
        [
            ("README.md", secret / "key"),
            ("sub", secret),
            ("LICENSE", Path("adapter_config.json")),
            ("x", Path("gone")),
        ]
    ):
        folder = make_adapter(tmp_path / f"linked-{number}")
        (folder / name).symlink_to(target)
        intake = desk.examine(folder)
        assert finding_ids(intake) == ["symlink"]
        assert name not in {entry.path for entry in intake.files}
    assert not desk.blobs.has(digest_bytes(b"private"))


def test_a_link_as_the_folder_itself_is_refused(desk: Desk, tmp_path: Path) -> None:
    make_adapter(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    intake = desk.examine(tmp_path / "link")
    assert finding_ids(intake) == ["symlink"]
    assert intake.files == ()


def test_a_link_beside_good_files_gives_another_id_than_the_files_alone(desk: Desk, tmp_path: Path) -> None:
    good = desk.adapter("good")
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    (tmp_path / "bad" / "x").symlink_to("/")
    refused = desk.examine(tmp_path / "bad")
    assert refused.files == good.files
    assert refused.files_id != good.files_id


def test_a_pipe_does_not_hang_intake(desk: Desk, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter")
    os.mkfifo(folder / "README.md")
    assert finding_ids(desk.examine(folder)) == ["special-file"]


@pytest.mark.parametrize(
    ("missing", "expected"),
    [(["adapter_config.json"], "missing-config"), (["adapter_model.safetensors"], "missing-weights")],
)
def test_a_missing_file_is_named(desk: Desk, missing: list[str], expected: str) -> None:
    folder = make_adapter(desk.root / "adapter")
    for name in missing:
        (folder / name).unlink()
    assert finding_ids(desk.examine(folder)) == [expected]


def test_an_empty_folder_lacks_its_configuration(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert finding_ids(desk.examine(tmp_path / "empty")) == ["missing-config"]


def test_limits_on_sizes_entries_and_depth_are_findings(tmp_path: Path) -> None:
    small = Desk(tmp_path, Limits(max_text_bytes=10, max_entries=6, max_depth=1))
    assert finding_ids(small.adapter("text", extra={"README.md": b"x" * 11})) == ["too-large"]
    assert finding_ids(small.adapter("many", extra={f"{n}": b"" for n in range(9)}))[-1] == "too-large"
    assert finding_ids(small.adapter("deep", extra={"a/b/c": b""}))[-1] == "too-large"
    folder = make_adapter(tmp_path / "empty-folders")
    for number in range(9):
        (folder / f"d{number}").mkdir()
    assert finding_ids(small.examine(folder)) == ["too-large"]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("chat_template.jinja", TEMPLATE.encode() + b" ", "foreign-chat-template"),
        ("tokenizer_config.json", json.dumps({"chat_template": "{{ x }}"}).encode(), "foreign-chat-template"),
        (
            "tokenizer_config.json",
            json.dumps({"chat_template": [{"name": "a"}]}).encode(),
            "foreign-chat-template",
        ),
        ("tokenizer_config.json", b'{"chat_template": "\\ud800"}', "foreign-chat-template"),
        (
            "tokenizer_config.json",
            json.dumps({"auto_map": {"AutoTokenizer": "x.Y"}}).encode(),
            "code-in-config",
        ),
        ("tokenizer_config.json", b'{"a": 1, "a": 2}', "malformed-tokenizer"),
        ("tokenizer_config.json", b"[]", "malformed-tokenizer"),
        ("tokenizer.json", b"{", "malformed-tokenizer"),
        ("tokenizer.json", b'{"a": "\\ud800"}', "malformed-tokenizer"),
        ("tokenizer.json", json.dumps(TOKENIZER | {"model": {"type": "BPE"}}).encode(), "foreign-tokenizer"),
        (
            "special_tokens_map.json",
            json.dumps({"pad_token": {"content": "a"}}).encode(),
            "special-tokens-differ",
        ),
    ],
)
def test_what_would_change_the_prompt_is_found(desk: Desk, name: str, data: bytes, expected: str) -> None:
    intake = desk.adapter(extra={name: data})
    assert finding_ids(intake) == [expected]
    assert intake.refused == (BY_ID[expected].severity is Severity.REFUSE)


# --- skipped, errored, unreadable -----------------------------------------------------------------------


def test_a_check_whose_ground_failed_is_skipped_with_a_reason(desk: Desk) -> None:
    intake = desk.adapter(weights=b"")
    skipped = {check.check: check.reason for check in intake.checks if check.status is CheckStatus.SKIPPED}
    assert skipped == {
        "weights-values": "needs weights-format to pass first",
        "fit": "needs weights-format to pass first",
    }
    assert intake.adapter is None


class _Undecided:
    id, version, needs = "undecided", "1", ()

    def run(self, context: Context) -> CheckResult:
        raise UndecidedError("numpy is not installed", hint="install it")


def test_a_check_that_cannot_be_made_refuses(desk: Desk) -> None:
    intake = desk.adapter(checks=(*CHECKS, _Undecided()))
    assert intake.findings == ()
    assert intake.checks[-1].status is CheckStatus.ERRORED
    assert intake.checks[-1].reason == "numpy is not installed (install it)"
    assert intake.refused


def test_no_checks_at_all_refuse(desk: Desk) -> None:
    assert desk.adapter(checks=()).refused


def test_a_base_whose_layers_are_stored_otherwise_is_not_decided(tmp_path: Path) -> None:
    intake = Desk(tmp_path, model_type="gpt2").adapter()
    assert {check.check for check in intake.checks if check.status is CheckStatus.ERRORED} == {"fit"}
    assert intake.refused


def test_a_folder_that_cannot_be_read_is_an_error_not_a_finding(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name, words in {"gone": "cannot be read", "file": "is not a folder"}.items():
        with pytest.raises(SourceError, match=words) as caught:
            desk.examine(tmp_path / name)
        assert caught.value.hint


def test_foreign_names_are_escaped_in_findings(desk: Desk) -> None:
    intake = desk.adapter(base_model_name_or_path="\x1b[31m<script>\n" + "x" * 500)
    (found,) = intake.findings
    assert found.message.isprintable()
    assert len(found.message) < 300


# --- from the store again -------------------------------------------------------------------------------


def test_files_come_back_from_the_store_after_the_folder_is_gone(desk: Desk, tmp_path: Path) -> None:
    intake = desk.adapter()
    shutil.rmtree(tmp_path / "adapter")
    out = materialise(intake.files, desk.blobs, tmp_path / "work" / "out")
    assert {path.name for path in out.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert json.loads((out / "adapter_config.json").read_text())["r"] == ADAPTER_CONFIG["r"]
    assert materialise(intake.files, desk.blobs, out) == out
    assert list((tmp_path / "work").iterdir()) == [out]


def test_an_altered_blob_or_folder_is_not_handed_on(desk: Desk, tmp_path: Path) -> None:
    intake = desk.adapter()
    out = materialise(intake.files, desk.blobs, tmp_path / "out")
    (out / "extra.py").write_text("import os")
    with pytest.raises(IntegrityError, match="something else"):
        materialise(intake.files, desk.blobs, out)
    blob = desk.blobs.path(intake.files[0].sha256)
    blob.chmod(0o644)
    blob.write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="not those that were submitted"):
        materialise(intake.files, desk.blobs, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "", ".", "a\\b", "./x"])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, path: str) -> None:
    store = BlobStore(tmp_path / "blobs")
    digest = store.put_bytes(b"x")
    with pytest.raises(IntegrityError):
        materialise((FileEntry.model_construct(path=path, size=1, sha256=digest),), store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_a_storage_error(desk: Desk, tmp_path: Path) -> None:
    intake = desk.adapter()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        materialise(intake.files, desk.blobs, tmp_path / "file" / "out")


def test_a_settings_file_is_read_from_the_store_only(desk: Desk, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "adapter")
    first = desk.examine(folder)
    write_json(folder / "adapter_config.json", ADAPTER_CONFIG | {"r": 4})
    out = materialise(first.files, desk.blobs, tmp_path / "out")
    assert json.loads((out / "adapter_config.json").read_text())["r"] == 2
