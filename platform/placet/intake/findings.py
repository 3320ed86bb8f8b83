"""Everything intake can find, in one literal table: what it means, why it matters, how to mend it.

`docs/reference/findings.md` says the same for people; a test holds it to this table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from placet.domain.records import Finding, Severity

_SHOWN = 5
_MAX_QUOTED = 100


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One kind of finding: its id, what it does, and the words that go with it."""

    id: str
    severity: Severity
    title: str
    why: str
    fix: str


def _refuse(id: str, title: str, why: str, fix: str) -> FindingKind:
    return FindingKind(id, Severity.REFUSE, title, why, fix)


def _warn(id: str, title: str, why: str, fix: str) -> FindingKind:
    return FindingKind(id, Severity.WARN, title, why, fix)


KINDS: tuple[FindingKind, ...] = (
    # --- files
    _refuse(
        "symlink",
        "A symlink in the submission",
        "A link can lead out of the folder to files that were never submitted, and to others after review.",
        "Replace the link by a copy of the file it points to.",
    ),
    _refuse(
        "special-file",
        "A pipe, socket or device in the submission",
        "It has no fixed bytes, so no digest can stand for it.",
        "Remove it.",
    ),
    _refuse(
        "pickle-file",
        "A file in a pickle format",
        "Loading a pickle runs whatever code it holds. Scanners miss such code; loaders fall back to such files.",
        "Save the weights as adapter_model.safetensors (save_pretrained does) and remove the pickle.",
    ),
    _refuse(
        "code-file",
        "Program code in the submission",
        "An adapter is data. Code beside it can be imported by loaders that trust the folder.",
        "Remove the code; LoRA adapters need none.",
    ),
    _refuse(
        "unexpected-file",
        "A file that is not on the list of accepted names",
        "What no check looks at must not travel with a release.",
        "Remove it, or submit a folder with the adapter's files only.",
    ),
    _refuse(
        "too-large",
        "A file, a header or a count beyond intake's limits",
        "Bounds keep a submission from exhausting the machine that examines or serves it.",
        "Shrink it; the limits are in docs/reference/findings.md.",
    ),
    _refuse(
        "missing-config",
        "No adapter_config.json",
        "Without it nobody knows what the weights are for.",
        "Submit the folder that save_pretrained wrote.",
    ),
    _refuse(
        "missing-weights",
        "No adapter_model.safetensors",
        "There is nothing to evaluate. Loaders would look for a pickle instead.",
        "Submit the folder that save_pretrained wrote.",
    ),
    # --- configuration
    _refuse(
        "malformed-config",
        "adapter_config.json cannot be read in one way only",
        "Two readers that disagree about a configuration evaluate one adapter and serve another.",
        "Write it anew with save_pretrained; no duplicate keys, NaN or wrong types.",
    ),
    _refuse(
        "unsupported-kind",
        "Not a LoRA adapter for causal language models",
        "Every gate here is built for LoRA on causal language models; others would be measured wrongly.",
        "Train with peft_type LORA and task_type CAUSAL_LM.",
    ),
    _refuse(
        "unsupported-config",
        "A LoRA feature that Placet does not evaluate",
        "The feature changes what the adapter computes in a way that evaluation would not reproduce.",
        "Train without it, or convert the adapter to a plain LoRA (for PiSSA, OLoRA and CorDA PEFT does that).",
    ),
    _refuse(
        "unknown-config-field",
        "A configuration field that is not known",
        "Loaders drop fields they do not know, so the adapter would mean different things in different versions.",
        "Remove the field if it has no effect, or train with a PEFT version that Placet knows.",
    ),
    _refuse(
        "code-in-config",
        "A configuration that makes loaders import code",
        "Fields such as auto_mapping and megatron_core name modules that some loaders import.",
        "Set the field to null and submit again.",
    ),
    _refuse(
        "regex-in-config",
        "A pattern where a module name is expected",
        "Loaders run such strings as regular expressions: they can hang, or match other modules than reviewed.",
        "List plain module names, such as q_proj, or use all-linear.",
    ),
    _refuse(
        "extreme-scale",
        "A rank or scale outside sane bounds",
        "Such a factor drowns the base model or is a typing error.",
        "Check r, lora_alpha, rank_pattern and alpha_pattern.",
    ),
    # --- base
    _refuse(
        "base-not-named",
        "The adapter does not say which base it was trained on",
        "An adapter means something on its own base only.",
        "Set base_model_name_or_path in adapter_config.json to the base's registered name.",
    ),
    _refuse(
        "base-mismatch",
        "The adapter names another base model",
        "On another base its weights do something that nobody measured.",
        "Submit it for the base it was trained on, or correct base_model_name_or_path.",
    ),
    # --- weights
    _refuse(
        "truncated-weights",
        "The safetensors file is cut short",
        "The copy or upload was interrupted; tensors are missing their bytes.",
        "Copy or save adapter_model.safetensors again and compare its size.",
    ),
    _refuse(
        "malformed-weights",
        "The safetensors file breaks its format",
        "Readers disagree about such files, so one could be evaluated and another served.",
        "Write the file anew with the safetensors library.",
    ),
    _refuse(
        "unsupported-dtype",
        "Tensors of a type that LoRA weights do not have",
        "Only F32, F16 and BF16 are evaluated as they are stored.",
        "Save the adapter in float32, float16 or bfloat16.",
    ),
    _refuse(
        "non-finite-weights",
        "NaN or infinity in the weights",
        "Every answer that touches them is NaN; training diverged or the file is damaged.",
        "Go back to a checkpoint before the loss became NaN and submit that.",
    ),
    _refuse(
        "adapter-does-nothing",
        "All updates are zero",
        "The adapter is the base under another name: it was saved before training, or lost its weights.",
        "Submit the trained checkpoint.",
    ),
    _warn(
        "idle-module",
        "Some updates are zero",
        "These modules are as in the base; often a sign of a wrong target or a frozen layer.",
        "Check target_modules and that every layer was trained.",
    ),
    # --- fit
    _refuse(
        "unknown-module",
        "The adapter targets modules that the base does not have",
        "Loaders ignore such tensors with a warning at most, so the adapter would silently not apply.",
        "Submit it for the base it was trained on. Embeddings cannot be targeted; where the output head is, save with "
        "save_embedding_layers=False.",
    ),
    _refuse(
        "shape-mismatch",
        "Tensors do not fit the base's shapes",
        "The adapter was trained on another base or with another rank than its configuration says.",
        "Submit it for the base it was trained on, with its own adapter_config.json.",
    ),
    _refuse(
        "incomplete-pair",
        "lora_A without lora_B, or the other way round",
        "Half a pair does nothing, and loaders do not say so.",
        "Save the adapter again from the trained model; if it was sharded, gather it first.",
    ),
    _refuse(
        "missing-module",
        "A targeted module has no weights in the file",
        "The configuration promises an update that would silently stay away.",
        "Save the adapter again, or correct target_modules.",
    ),
    _refuse(
        "untargeted-tensor",
        "Weights that the configuration does not mention",
        "Loaders skip them with a warning at most: what was trained is not what would run.",
        "Correct target_modules or modules_to_save so that they cover every tensor.",
    ),
    # --- prompts
    _refuse(
        "foreign-chat-template",
        "A chat template that is not the base's own",
        "A template is a program that rewrites every conversation; it can add instructions or leak text.",
        "Remove chat_template.jinja (and chat_template from tokenizer_config.json): the base's own is used.",
    ),
    _refuse(
        "foreign-tokenizer",
        "A tokenizer that is not the base's own",
        "Other token ids turn the same text into other inputs than were evaluated.",
        "Remove the tokenizer files: the base's own are used.",
    ),
    _refuse(
        "malformed-tokenizer",
        "Tokenizer files that cannot be read in one way only",
        "Readers that disagree about a file use another tokenizer than was checked.",
        "Remove the tokenizer files: the base's own are used.",
    ),
    _warn(
        "special-tokens-differ",
        "Special tokens other than the base's",
        "Evaluation and serving use the base's; what was trained with others may behave differently.",
        "Check that training used the base's tokens for begin, end and padding.",
    ),
)

BY_ID: dict[str, FindingKind] = {kind.id: kind for kind in KINDS}


def finding(id: str, message: str, where: str = "") -> Finding:
    """Return a finding of the registered kind `id`."""
    kind = BY_ID[id]
    return Finding(id=kind.id, severity=kind.severity, message=message, fix=kind.fix, where=where)


def quoted(text: object) -> str:
    """Return foreign text so that it cannot spoil a terminal or a page: escaped, quoted, cut."""
    shown = ascii(str(text)[: _MAX_QUOTED + 1])
    return shown if len(str(text)) <= _MAX_QUOTED else shown[:_MAX_QUOTED] + "…'"


def listed(names: Sequence[str]) -> str:
    """Return the first few names, quoted, and how many more there are."""
    shown = ", ".join(quoted(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
