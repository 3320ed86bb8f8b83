"""A base that stays loaded while adapters are put beside its weights and taken away again, one at a time.

Guarantees: an adapter acts as PEFT has it act, unmerged: the base's weights are not changed, so nothing is rounded
twice, and after :meth:`ResidentBase.restore` every module is the one it was before, bit for bit (an adapter's biases
are put back from a copy). An adapter counts as at work only if every tensor of its file was consumed, none is
missing, and a probe shows that the model computes finite logits, and others than the base's.

Beyond the base it holds the adapter; for DoRA also the product of its matrices, a copy of the targeted weights' size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModelForCausalLM
from peft.helpers import DoraCaching
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file

from placet.domain.errors import EvaluationError

WEIGHTS_FILE = "adapter_model.safetensors"
PROBE_TOKENS = 24
_DORA_CACHING = DoraCaching()
# Ways to start training that leave the base's own weights alone.
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True, slots=True)
class AdapterAtWork:
    """How many tensors it has, and the largest difference it makes to a logit on a probe of `PROBE_TOKENS` tokens."""

    tensors: int
    effect: float


class ResidentBase:
    """See the module's guarantees.

    Args:
        model: The base, a causal language model of `transformers`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._modules: list[tuple[Any, str, Any]] = []
        self._biases: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        self._attributes: frozenset[str] = frozenset()
        self._config: dict[str, Any] = {}
        self._base_logits: torch.Tensor | None = None

    def attach(self, adapter: Path, label: str) -> AdapterAtWork:
        """Put the adapter in folder `adapter` to work beside the base, which must be bare.

        Raises:
            EvaluationError: It is not LoRA in safetensors, does not fit this base, or does not act. The base
                is then restored.
        """
        if self._modules:
            raise RuntimeError("an adapter is at work already; restore the base first")
        base = self._base_probe()
        self._remember_modules()
        try:
            return self._attach(adapter, label, base)
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Put the base back as it was; does nothing when it is."""
        for parent, name, module in self._modules:
            if parent._modules.get(name) is not module:
                parent._modules[name] = module
        with torch.no_grad():
            for parameter, copy in self._biases:
                parameter.data.copy_(copy)
        if self._modules:
            for name in set(vars(self._model)) - self._attributes:
                delattr(self._model, name)
            vars(self._model.config).clear()
            vars(self._model.config).update(self._config)
            _DORA_CACHING(enabled=False)
        self._modules, self._biases = [], []

    def _remember_modules(self) -> None:
        self._attributes = frozenset(vars(self._model))
        self._config = dict(vars(self._model.config))
        self._modules = [
            (parent, name, child)
            for parent in self._model.modules()
            for name, child in parent._modules.items()
            if child is not None
        ]

    def _attach(self, adapter: Path, label: str, base: torch.Tensor) -> AdapterAtWork:
        config, tensors = _read(adapter, label)
        # Else each pass would compute the norms of all targeted weights anew.
        _DORA_CACHING(enabled=bool(config.use_dora))
        if config.bias != "none":
            self._biases = [
                (parameter, parameter.detach().clone())
                for name, parameter in self._model.named_parameters()
                if name.endswith("bias")
            ]
        try:
            wrapped = PeftModelForCausalLM(self._model, config)
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
        logits = self._probe()
        if not bool(logits.isfinite().all()):
            raise EvaluationError(
                f"adapter {label} makes the model compute NaN or infinity", hint="submit smaller weights"
            )
        effect = float((logits - base).abs().max())
        if effect == 0:
            raise EvaluationError(
                f"adapter {label} changes nothing: on a probe its logits equal the base's",
                hint="its weights are zero or were not applied; submit the trained adapter",
            )
        return AdapterAtWork(len(tensors), effect)

    def _base_probe(self) -> torch.Tensor:
        if self._base_logits is None:
            self._base_logits = self._probe()
        return self._base_logits

    def _probe(self) -> torch.Tensor:
        """Return the logits of fixed tokens spread over the vocabulary: (PROBE_TOKENS, vocabulary), float32."""
        size = int(self._model.config.get_text_config().vocab_size)
        ids = torch.tensor([[(1 + 7919 * (i + 1)) % size for i in range(PROBE_TOKENS)]])
        with torch.inference_mode():
            logits: torch.Tensor = self._model(input_ids=ids.to(self._model.device), use_cache=False).logits
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
    unsound = next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)
    if unsound is not None:
        raise EvaluationError(
            f"adapter {label} holds NaN or infinity in {unsound}", hint="submit finite weights"
        )
    config.inference_mode = True
    return config, tensors


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
