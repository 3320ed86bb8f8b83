"""A base that stays loaded while adapters are put beside its weights and taken away again, one at a time.

Guarantees: an adapter acts as PEFT has it act, unmerged: the base's weights are not changed, so nothing is rounded
twice, and after :meth:`ResidentBase.restore` every module is the one it was before, bit for bit. Of the base's own
tensors an adapter's file may replace embeddings, and biases if it trains them: those are put back from copies, and
any other is refused. An adapter counts as at work only if every tensor of its file was consumed, none is
missing, and a probe shows that the model computes finite logits, and others than the base's.

Beyond the base it holds the adapter; for DoRA also the product of its matrices, a copy of the targeted weights' size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModelForCausalLM
from peft.helpers import DoraCaching
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from placet.domain.errors import EvaluationError
from placet.engine.memory import is_out_of_memory, needed_memory

WEIGHTS_FILE = "adapter_model.safetensors"
PROBE_TOKENS = 24
_DORA_CACHING = DoraCaching()
# What makes an adapter more than matrices beside weights. PEFT computes some of it in the wrapper around the model,
# which nothing here goes through, or in ways that no test holds to `hf`: such an adapter would be scored as another.
_EXTENSIONS = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "velora_config",
)
# Ways to start training that leave the base's own weights alone.
_PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")


@dataclass(frozen=True, slots=True)
class AdapterAtWork:
    """How many tensors it has, and the largest difference it makes to a logit on a probe of a few tokens."""

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
        self._own: frozenset[int] = frozenset()  # the base's own tensors, and the embeddings among them
        self._embeddings: frozenset[int] = frozenset()
        self._replaced: list[tuple[torch.Tensor, torch.Tensor]] = []  # of those, with their copies
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
        config, tensors = _read(adapter, label)
        tokens = self._probe_tokens(config)
        base = self._base_probe(tokens)
        self._remember()
        try:
            with needed_memory(f"to put adapter {label} to work"):
                wrapped = self._wrap(config, label)
                # DoRA scales by norms: even an untrained one rounds in another way than the base.
                rounding = _difference(self._probe(tokens), base) if config.use_dora else 0.0
                # Else each pass would compute the norms of all targeted weights anew.
                _DORA_CACHING(enabled=bool(config.use_dora))
                self._load(wrapped, config, tensors, label)
                return AdapterAtWork(len(tensors), self._effect(tokens, base, rounding, label))
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Put the base back as it was; does nothing when it is."""
        for parent, name, module in self._modules:
            if parent._modules.get(name) is not module:
                parent._modules[name] = module
        with torch.no_grad():
            for tensor, copy in self._replaced:
                tensor.data.copy_(copy)
        if self._modules:
            for name in set(vars(self._model)) - self._attributes:
                delattr(self._model, name)
            vars(self._model.config).clear()
            vars(self._model.config).update(self._config)
            _DORA_CACHING(enabled=False)
        self._modules, self._replaced = [], []

    def _remember(self) -> None:
        self._own = frozenset(map(id, [*self._model.parameters(), *self._model.buffers()]))
        ends = (self._model.get_input_embeddings(), self._model.get_output_embeddings())
        self._embeddings = frozenset(id(end.weight) for end in ends if end is not None)
        self._attributes = frozenset(vars(self._model))
        self._config = dict(vars(self._model.config))
        self._modules = [
            (parent, name, child)
            for parent in self._model.modules()
            for name, child in parent._modules.items()
            if child is not None
        ]

    def _wrap(self, config: LoraConfig, label: str) -> Any:
        """Put the modules of an adapter, not its weights yet, beside the base's."""
        if config.use_dora:
            config.init_lora_weights = True  # as untrained as its norms
        with _fitting(label):
            wrapped: Any = PeftModelForCausalLM(self._model, config)
        wrapped.eval()
        return wrapped

    def _load(
        self, wrapped: Any, config: LoraConfig, tensors: Mapping[str, torch.Tensor], label: str
    ) -> None:
        """Put an adapter's tensors into its modules, each into its own."""

        def load_state_dict(state: Mapping[str, torch.Tensor], *args: Any, **options: Any) -> Any:
            self._keep_replaced(wrapped, state, label, biases=config.bias != "none")
            return torch.nn.Module.load_state_dict(wrapped, state, *args, **options)

        # Only here have PEFT's names become those of places; it would write into any of them.
        vars(wrapped)["load_state_dict"] = load_state_dict
        with _fitting(label):
            result: Any = set_peft_model_state_dict(wrapped, dict(tensors))
        unused = sorted(result.unexpected_keys)
        missing = [key for key in result.missing_keys if ".lora_" in key or ".modules_to_save." in key]
        missing = sorted([*missing, *_missing_biases(wrapped, config, tensors)])
        if unused or missing:
            raise EvaluationError(
                f"adapter {label} does not fit this base: {len(unused)} of its tensors have no place in it"
                f" and {len(missing)} are missing (first: {(unused + missing)[0]})",
                hint="check that it was trained on this base, with these target modules",
            )

    def _keep_replaced(
        self, wrapped: Any, state: Mapping[str, torch.Tensor], label: str, *, biases: bool
    ) -> None:
        """Copy the base's own tensors that `state` replaces.

        Raises:
            EvaluationError: One is neither an embedding nor, with `biases`, a bias.
        """
        places = dict(wrapped.named_parameters(remove_duplicate=False))
        places |= dict(wrapped.named_buffers(remove_duplicate=False))
        for name, tensor in state.items():
            place = places.get(name)
            if place is None or id(place) not in self._own:
                continue
            if place.shape == tensor.shape and torch.equal(tensor.to(place), place):
                continue  # PEFT saves an embedding that it targets with the adapter
            if id(place) not in self._embeddings and not (biases and name.endswith("bias")):
                raise EvaluationError(
                    f"adapter {label} would replace the base's own weights {name}",
                    hint="train the module as one of modules_to_save, or submit the merged model as another base",
                )
            self._replaced.append((place, place.detach().clone()))

    def _effect(self, tokens: torch.Tensor, base: torch.Tensor, rounding: float, label: str) -> float:
        """Return the largest difference to a logit of `base`, where `rounding` alone makes one."""
        logits = self._probe(tokens)
        if not bool(logits.isfinite().all()):
            raise EvaluationError(
                f"adapter {label} makes the model compute NaN or infinity", hint="submit smaller weights"
            )
        effect = _difference(logits, base)
        if effect <= 2 * rounding:
            raise EvaluationError(
                f"adapter {label} changes nothing: on a probe its logits equal the base's"
                + (", but for rounding" if effect else ""),
                hint="its weights are untrained or were not applied; submit the trained adapter",
            )
        return effect

    def _probe_tokens(self, config: LoraConfig) -> torch.Tensor:
        """Return fixed tokens spread over the vocabulary, and some that the adapter trains one by one."""
        size = int(self._model.config.get_text_config().vocab_size)
        spread = [(1 + 7919 * (i + 1)) % size for i in range(PROBE_TOKENS)]
        chosen: Any = config.trainable_token_indices or ()
        groups = chosen.values() if isinstance(chosen, dict) else [chosen]
        trained = sorted({int(token) for group in groups for token in group if 0 <= int(token) < size})
        return torch.tensor([spread + trained[:PROBE_TOKENS]])

    def _base_probe(self, tokens: torch.Tensor) -> torch.Tensor:
        if tokens.shape[1] > PROBE_TOKENS:
            return self._probe(tokens)
        if self._base_logits is None:
            self._base_logits = self._probe(tokens)
        return self._base_logits

    def _probe(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of `tokens`: (tokens, vocabulary), float32."""
        with torch.inference_mode():
            logits: torch.Tensor = self._model(
                input_ids=tokens.to(self._model.device), use_cache=False
            ).logits
            return logits[0].float().cpu()


def _missing_biases(wrapped: Any, config: LoraConfig, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the biases that an adapter trained, as its configuration says, and does not bring along."""
    if config.bias == "none":
        return []
    saved = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    return [key for key in saved if key.endswith("bias") and key not in tensors]


def _difference(logits: torch.Tensor, others: torch.Tensor) -> float:
    return float((logits - others).abs().max())


@contextmanager
def _fitting(label: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        raise EvaluationError(
            f"adapter {label} does not fit this base: {_in_words(error)}",
            hint="check that it was trained on this base, with these target modules and this rank",
        ) from error


def _read(adapter: Path, label: str) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    weights = adapter / WEIGHTS_FILE
    if not adapter.is_dir():
        raise EvaluationError(
            f"adapter {label} cannot be read: there is no folder {adapter}",
            hint="give the folder that PEFT saved it to; one from the Hub has to be downloaded first",
        )
    if not weights.is_file():
        raise EvaluationError(
            f"adapter {label} has no {WEIGHTS_FILE}", hint="save it with PEFT's save_pretrained"
        )
    try:
        config = PeftConfig.from_pretrained(str(adapter))
        tensors = load_file(str(weights))
    except Exception as error:  # PEFT and safetensors raise many kinds over a bad file
        raise EvaluationError(
            f"adapter {label} cannot be read: {_in_words(error)}", hint="run it through intake again"
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
    extensions = [name for name in _EXTENSIONS if getattr(config, name, None)]
    if extensions:
        raise EvaluationError(
            f"adapter {label} asks for {', '.join(extensions)}, which the engine does not take",
            hint="only LoRA as such (rsLoRA and DoRA among it) can be evaluated; train it without",
        )
    unsound = next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), None)
    if unsound is not None:
        raise EvaluationError(
            f"adapter {label} holds NaN or infinity in {unsound}", hint="submit finite weights"
        )
    config.inference_mode = True
    return config, tensors


def _in_words(error: BaseException) -> str:
    """Return what `error` says in a line: torch puts a heading over its list, and a KeyError holds a bare name."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.endswith(":")), type(error).__name__)
