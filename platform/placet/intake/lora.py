"""adapter_config.json, read strictly into the few things that change what a LoRA adapter computes.

Guarantees: a configuration that :func:`parse_lora` accepts holds no code to import, no pattern to run as a
regular expression, and no feature or field that Placet would evaluate otherwise than a loader serves it.
Two files that give equal :class:`LoraConfig` values compute the same on the same weights.

Fields are those of PEFT's LoraConfig (peft 0.21); older ones write fewer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from placet.attest.strict_json import parse_json
from placet.domain.errors import IntegrityError
from placet.domain.records import Finding
from placet.intake.canonical import exact
from placet.intake.findings import finding, quoted
from placet.intake.limits import Limits

FILE = "adapter_config.json"
ALL_LINEAR = "all-linear"
DEFAULT_RANK = 8
DEFAULT_ALPHA = 8
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_MAX_NAME = 200

_COMPUTING = {
    "peft_type",
    "task_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "fan_in_fan_out",
    "target_modules",
    "exclude_modules",
    "modules_to_save",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
}
# Labels, and what matters in training only. `init_lora_weights` has its own rule below.
_INERT = {
    "base_model_name_or_path",
    "revision",
    "peft_version",
    "inference_mode",
    "lora_dropout",
    "init_lora_weights",
    "qalora_group_size",
}
# Fields that some loaders turn into imports, and the values with which nothing is imported.
_CODE: dict[str, tuple[Any, ...]] = {
    "auto_mapping": (None,),
    "parent_library": (None,),
    "megatron_config": (None,),
    "megatron_core": (None, "megatron.core"),
}
# Features that must be off: null, false, empty, or the value named here.
_OFF: dict[str, Any] = {
    "bias": "none",
    "use_dora": False,
    "use_qalora": False,
    "use_bdlora": None,
    "lora_bias": False,
    "trainable_token_indices": None,
    "target_parameters": None,
    "layer_replication": None,
    "alora_invocation_tokens": None,
    "loftq_config": {},
    "eva_config": None,
    "corda_config": None,
    "lora_ga_config": None,
    "velora_config": None,
    "monteclora_config": None,
    "arrow_config": None,
    "kasa_config": None,
    "runtime_config": None,
    "ensure_weight_tying": False,
}
# Ways of drawing the first weights that leave the base alone; PiSSA, OLoRA, CorDA and LoftQ rewrite it on loading.
_HARMLESS_INIT: tuple[Any, ...] = (None, True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """What of a LoRA configuration changes the computation, and what it says about its base."""

    rank: int
    alpha: float
    rslora: bool
    fan_in_fan_out: bool
    targets: tuple[str, ...]
    """Module names, sorted; ``("all-linear",)`` for all linear layers."""
    excluded: tuple[str, ...]
    saved_modules: tuple[str, ...]
    layers: tuple[int, ...]
    layers_pattern: tuple[str, ...]
    ranks: tuple[tuple[str, int], ...]
    """Rank by module name, in the file's order: the first that matches holds."""
    alphas: tuple[tuple[str, float], ...]
    base_name: str | None
    base_revision: str | None

    def rank_of(self, module: str) -> int:
        """Return the rank of the pair on `module`."""
        return next((rank for name, rank in self.ranks if _is_named(module, name)), self.rank)

    def scaling_of(self, module: str) -> float:
        """Return LoRA's factor on B·A for `module`."""
        alpha = next((value for name, value in self.alphas if _is_named(module, name)), self.alpha)
        return _scaling(alpha, self.rank_of(module), self.rslora)

    def identity(self) -> dict[str, Any]:
        """Return the fields that change the computation, as they enter the weights id."""
        return {
            "peftType": "LORA",
            "taskType": "CAUSAL_LM",
            "r": self.rank,
            "alpha": exact(self.alpha),
            "rslora": self.rslora,
            "fanInFanOut": self.fan_in_fan_out,
            "targetModules": list(self.targets),
            "excludeModules": list(self.excluded),
            "modulesToSave": list(self.saved_modules),
            "layers": list(self.layers),
            "layersPattern": list(self.layers_pattern),
            "rankPattern": [list(item) for item in self.ranks],
            "alphaPattern": [[name, exact(alpha)] for name, alpha in self.alphas],
        }


def parse_lora(data: bytes, limits: Limits) -> tuple[LoraConfig | None, tuple[Finding, ...]]:
    """Return the configuration in `data`, None where it is refused, and every finding about it."""
    try:
        fields = parse_json(data, FILE)
    except IntegrityError as error:
        return None, (finding("malformed-config", quoted(error.message), where=FILE),)
    if not isinstance(fields, dict):
        return None, (finding("malformed-config", "it is not a JSON object", where=FILE),)
    reader = _Reader(fields, limits)
    if fields.get("peft_type") != "LORA" or fields.get("task_type") != "CAUSAL_LM":
        kinds = f"peft_type {quoted(fields.get('peft_type'))}, task_type {quoted(fields.get('task_type'))}"
        reader.find("unsupported-kind", f"{kinds}: only LORA and CAUSAL_LM are", "peft_type")
        return None, tuple(reader.findings)
    reader.refuse_features()
    config = reader.config()
    reader.check_scale(config)
    return (None if reader.findings else config), tuple(reader.findings)


class _Reader:
    """Reads typed fields, collecting findings instead of stopping at the first."""

    def __init__(self, fields: dict[str, Any], limits: Limits) -> None:
        self.fields = fields
        self.limits = limits
        self.findings: list[Finding] = []

    def find(self, id: str, message: str, field: str) -> None:
        self.findings.append(finding(id, message, where=f"{FILE}: {field}"))

    def config(self) -> LoraConfig:
        return LoraConfig(
            rank=self.integer("r", DEFAULT_RANK),
            alpha=self.number("lora_alpha", DEFAULT_ALPHA),
            rslora=self.flag("use_rslora"),
            fan_in_fan_out=self.flag("fan_in_fan_out"),
            targets=self.targets(),
            excluded=self.names("exclude_modules"),
            saved_modules=self.names("modules_to_save"),
            layers=self.layers(),
            layers_pattern=self.names("layers_pattern", text_is_name=True),
            ranks=tuple(
                (name, value) for name, value in self.table("rank_pattern") if isinstance(value, int)
            ),
            alphas=self.table("alpha_pattern"),
            base_name=self.text("base_model_name_or_path"),
            base_revision=self.text("revision"),
        )

    def refuse_features(self) -> None:
        for name, value in self.fields.items():
            if name in _CODE:
                if value not in _CODE[name]:
                    self.find("code-in-config", f"{name} is {quoted(value)}", name)
            elif name in _OFF:
                if value != _OFF[name] and not _is_nothing(value):
                    self.find("unsupported-config", f"{name} is {quoted(value)}", name)
            elif name not in _COMPUTING | _INERT and not _is_nothing(value):
                self.find("unknown-config-field", f"field {quoted(name)} is {quoted(value)}", quoted(name))
        start = self.fields.get("init_lora_weights")
        if not any(start is known or (isinstance(start, str) and start == known) for known in _HARMLESS_INIT):
            self.find("unsupported-config", f"init_lora_weights is {quoted(start)}", "init_lora_weights")

    def integer(self, field: str, default: int) -> int:
        value = self.fields.get(field, default)
        if type(value) is int and 0 < value <= self.limits.max_rank:
            return value
        self.find(
            "malformed-config" if type(value) is not int else "extreme-scale",
            f"{field} is {quoted(value)}",
            field,
        )
        return default

    def number(self, field: str, default: float) -> float:
        value = self.fields.get(field, default)
        if type(value) in {int, float} and 0 < value < math.inf:
            return float(value)
        self.find(
            "malformed-config" if not _is_number(value) else "extreme-scale",
            f"{field} is {quoted(value)}",
            field,
        )
        return default

    def flag(self, field: str) -> bool:
        value = self.fields.get(field)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.find("malformed-config", f"{field} is {quoted(value)}, not true or false", field)
        return False

    def text(self, field: str) -> str | None:
        value = self.fields.get(field)
        if value is None or isinstance(value, str):
            return value or None
        self.find("malformed-config", f"{field} is {quoted(value)}, not text", field)
        return None

    def targets(self) -> tuple[str, ...]:
        value = self.fields.get("target_modules")
        if isinstance(value, str) and value.lower() == ALL_LINEAR:
            return (ALL_LINEAR,)
        names = self.names("target_modules")
        if not names and not self.findings:
            self.find("malformed-config", "target_modules names no module", "target_modules")
        return names

    def names(self, field: str, *, text_is_name: bool = False) -> tuple[str, ...]:
        value = self.fields.get(field)
        if _is_nothing(value):
            return ()
        if isinstance(value, str):
            if not text_is_name:
                self.find("regex-in-config", f"{field} is the pattern {quoted(value)}, not a list", field)
                return ()
            value = [value]
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.find("malformed-config", f"{field} is no list of names", field)
            return ()
        self.plain(value, field)
        return tuple(sorted(set(value)))

    def plain(self, names: list[str], field: str) -> None:
        if len(names) > self.limits.max_names:
            self.find("too-large", f"{field} holds {len(names):,} names", field)
        odd = [name for name in names if len(name) > _MAX_NAME or not _PLAIN_NAME.fullmatch(name)]
        if odd:
            self.find(
                "regex-in-config", f"{field} holds {quoted(odd[0])}, which is no plain module name", field
            )

    def layers(self) -> tuple[int, ...]:
        value = self.fields.get("layers_to_transform")
        if value is None:
            return ()
        numbers = value if isinstance(value, list) else [value]
        if all(type(number) is int and number >= 0 for number in numbers):
            return tuple(sorted(set(numbers)))
        self.find(
            "malformed-config", "layers_to_transform is no list of layer numbers", "layers_to_transform"
        )
        return ()

    def table(self, field: str) -> tuple[tuple[str, Any], ...]:
        value = self.fields.get(field)
        if _is_nothing(value):
            return ()
        if not isinstance(value, dict):
            self.find("malformed-config", f"{field} is no table", field)
            return ()
        self.plain(list(value), field)
        for item in value.values():
            whole = field == "rank_pattern"
            if not _is_number(item) or (whole and type(item) is not int):
                self.find("malformed-config", f"{field} holds {quoted(item)}", field)
                return ()
            if not 0 < item < math.inf or (whole and item > self.limits.max_rank):
                self.find("extreme-scale", f"{field} holds {quoted(item)}", field)
                return ()
        return tuple((name, item if field == "rank_pattern" else float(item)) for name, item in value.items())

    def check_scale(self, config: LoraConfig) -> None:
        # The largest factor that any module can get: largest alpha over smallest rank.
        alpha = max([config.alpha, *(value for _, value in config.alphas)])
        rank = min([config.rank, *(value for _, value in config.ranks)])
        largest = _scaling(alpha, rank, config.rslora)
        if largest > self.limits.max_scaling:
            bound = f"at most {self.limits.max_scaling:g} is accepted"
            self.find("extreme-scale", f"updates are multiplied by {largest:g}; {bound}", "lora_alpha")


def _scaling(alpha: float, rank: int, rslora: bool) -> float:
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def _is_named(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_nothing(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})
