"""A base that stays loaded while adapters are merged into it and taken out again, one at a time.

Guarantees: after :meth:`ResidentBase.restore` every module and every weight is the one it was before, bit for
bit, because touched weights are put back from a copy made before the merge, never subtracted. An adapter
counts as merged only if every tensor of its file was consumed, none is missing, and a probe shows that the
merged model computes what PEFT computes unmerged and not what the base computes.

Beyond the base it holds one copy of the weights the adapter touches.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModelForCausalLM
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file

from placet.domain.errors import EvaluationError

WEIGHTS_FILE = "adapter_model.safetensors"
PROBE_TOKENS = 24
# Ways to start training that leave the base's own weights alone.
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a probe of `PROBE_TOKENS` tokens showed, in logits.

    `effect` is the largest difference from the base, `error` the largest from PEFT's unmerged model.
    """

    tensors: int
    effect: float
    error: float


class ResidentBase:
    """See the module's guarantees.

    Args:
        model: The base, a causal language model of `transformers`.
        merge_tolerance: The largest `error` that counts as rounding, relative to the largest logit.
    """

    def __init__(self, model: Any, merge_tolerance: float) -> None:
        self._model = model
        self._tolerance = merge_tolerance
        self._modules: list[tuple[Any, str, Any]] = []
        self._weights: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        self._tied: list[tuple[Any, str, torch.nn.Parameter]] = []
        self._attributes: frozenset[str] = frozenset()
        self._config: dict[str, Any] = {}
        self._base_logits: torch.Tensor | None = None

    def merge(self, adapter: Path, label: str) -> MergeReport:
        """Merge the adapter in folder `adapter` into the base, which must be restored.

        Raises:
            EvaluationError: It is not LoRA in safetensors, does not fit this base, or does not act. The base
                is then restored.
        """
        if self._modules:
            raise RuntimeError("an adapter is merged already; restore the base first")
        base = self._base_probe()
        self._remember_modules()
        try:
            return self._merge(adapter, label, base)
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Put the base back as it was; does nothing when it is."""
        for parent, name, module in self._modules:
            if parent._modules.get(name) is not module:
                parent._modules[name] = module
        with torch.no_grad():
            for parameter, copy in self._weights:
                parameter.data.copy_(copy)
        for module, name, parameter in self._tied:
            module._parameters[name] = parameter
        if self._modules:
            for name in set(vars(self._model)) - self._attributes:
                delattr(self._model, name)
            vars(self._model.config).clear()
            vars(self._model.config).update(self._config)
        self._modules, self._weights, self._tied = [], [], []

    def _remember_modules(self) -> None:
        self._attributes = frozenset(vars(self._model))
        self._config = dict(vars(self._model.config))
        self._modules = [
            (parent, name, child)
            for parent in self._model.modules()
            for name, child in parent._modules.items()
            if child is not None
        ]

    def _merge(self, adapter: Path, label: str, base: torch.Tensor) -> MergeReport:
        config, tensors = _read(adapter, label)
        try:
            wrapped = PeftModelForCausalLM(self._model, config)
            self._copy_weights(wrapped, all_biases=config.bias == "all")
            result: Any = set_peft_model_state_dict(wrapped, tensors)
        except (RuntimeError, ValueError, KeyError) as error:
            raise EvaluationError(
                f"adapter {label} does not fit this base: {_first_line(error)}",
                hint="check that it was trained on this base, with these target modules and this rank",
            ) from error
        unused = sorted(result.unexpected_keys)
        missing = sorted(key for key in result.missing_keys if ".lora_" in key or ".modules_to_save." in key)
        if unused or missing:
            raise EvaluationError(
                f"adapter {label} does not fit this base: {len(unused)} of its tensors have no place in it"
                f" and {len(missing)} are missing (first: {(unused + missing)[0]})",
                hint="check that it was trained on this base, with these target modules",
            )
        wrapped.eval()
        unmerged = self._probe(wrapped)
        try:
            wrapped.merge_and_unload(safe_merge=True)
        except ValueError as error:
            raise EvaluationError(
                f"adapter {label} cannot be merged: {_first_line(error)}",
                hint="its weights hold NaN or infinity; submit finite weights",
            ) from error
        return self._verify(label, len(tensors), unmerged, base)

    def _copy_weights(self, wrapped: Any, all_biases: bool) -> None:
        """Copy every weight the merge changes, and give those who share one the copy instead."""
        touched = {
            id(parameter): parameter
            for module in wrapped.modules()
            if isinstance(module, BaseTunerLayer)
            for parameter in module.get_base_layer().parameters(recurse=False)
        }
        layers = {
            id(module.get_base_layer()) for module in wrapped.modules() if isinstance(module, BaseTunerLayer)
        }
        if all_biases:
            touched |= {id(p): p for name, p in wrapped.named_parameters() if name.endswith("bias")}
        for parameter in touched.values():
            self._weights.append((parameter, parameter.detach().clone()))
        copies = {id(parameter): copy for parameter, copy in self._weights if copy.dim() > 1}
        for module in wrapped.modules():
            if id(module) in layers:
                continue
            for name, held in module._parameters.items():
                if id(held) in copies:
                    # Tied, as a head to its embedding: the adapter acts on one of them only.
                    self._tied.append((module, name, held))
                    module._parameters[name] = torch.nn.Parameter(copies[id(held)], requires_grad=False)

    def _verify(self, label: str, count: int, unmerged: torch.Tensor, base: torch.Tensor) -> MergeReport:
        merged = self._probe(self._model)
        if not bool(merged.isfinite().all()):
            raise EvaluationError(
                f"adapter {label} makes the model compute NaN or infinity", hint="submit finite weights"
            )
        effect = float((merged - base).abs().max())
        error = float((merged - unmerged).abs().max())
        if effect == 0:
            raise EvaluationError(
                f"adapter {label} changes nothing: on a probe its logits equal the base's",
                hint="its weights are zero or were not applied; submit the trained adapter",
            )
        if error > self._tolerance * max(1.0, float(unmerged.abs().max())):
            raise EvaluationError(
                f"adapter {label} merged differs from itself unmerged by {error:.2e} in a logit",
                hint="this kind of adapter cannot be merged exactly; please report it",
            )
        return MergeReport(count, effect, error)

    def _base_probe(self) -> torch.Tensor:
        if self._base_logits is None:
            self._base_logits = self._probe(self._model)
        return self._base_logits

    def _probe(self, model: Any) -> torch.Tensor:
        """Return the logits of fixed tokens spread over the vocabulary: (PROBE_TOKENS, vocabulary), float32."""
        size = int(self._model.config.get_text_config().vocab_size)
        ids = torch.tensor([[(1 + 7919 * (i + 1)) % size for i in range(PROBE_TOKENS)]])
        with torch.inference_mode():
            logits: torch.Tensor = model(input_ids=ids.to(self._model.device), use_cache=False).logits
            return logits[0].float().cpu()


def _read(adapter: Path, label: str) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    weights = adapter / WEIGHTS_FILE
    if not weights.is_file():
        raise EvaluationError(
            f"adapter {label} has no {WEIGHTS_FILE}", hint="save it with PEFT's save_pretrained"
        )
    try:
        config = PeftConfig.from_pretrained(str(adapter))
        tensors = load_file(str(weights))
    except Exception as error:  # PEFT and safetensors raise many kinds over a bad file
        raise EvaluationError(
            f"adapter {label} cannot be read: {_first_line(error)}", hint="run it through intake again"
        ) from error
    if not isinstance(config, LoraConfig):
        raise EvaluationError(
            f"adapter {label} is of kind {config.peft_type}, not LoRA",
            hint="only LoRA adapters (rsLoRA and DoRA among them) can be evaluated",
        )
    if config.init_lora_weights not in _PLAIN_STARTS:
        raise EvaluationError(
            f"adapter {label} was started with {config.init_lora_weights}, which changes the base's weights",
            hint="convert it to a plain LoRA adapter (PEFT: save_pretrained with path_initial_model_for_...)",
        )
    config.inference_mode = True
    return config, tensors


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
