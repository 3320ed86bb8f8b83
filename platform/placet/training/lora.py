"""Trains a LoRA adapter on a base model, on the CPU, in float32.

Guarantees: same base, recipe, examples and parent on the same machine and thread count give the same adapter
bytes, whether the run was interrupted or not; `out_dir` appears in one rename, complete; the adapter is in
PEFT's own format and names its base by the label given, not by a path of this machine.

Does not guarantee: the same bytes on another machine; matrix products round differently there.

Sources: Hu et al. 2021, "LoRA", arXiv:2106.09685; Loshchilov and Hutter 2017, AdamW, arXiv:1711.05101.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placet.domain.digests import digest_file, digest_json
from placet.domain.errors import Error, IntegrityError, SourceError, UsageError
from placet.domain.progress import NullProgress, Progress, tracked
from placet.engine.quiet import without_progress_bars
from placet.training.checkpoint import load_checkpoint, save_checkpoint, write_atomically
from placet.training.packing import Encoded, encode, pack, schedule
from placet.training.recipe import Example, LoraRecipe, examples_digest

if TYPE_CHECKING:
    import torch

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"


def train_lora(
    base_dir: Path,
    examples: Sequence[Example],
    recipe: LoraRecipe,
    out_dir: Path,
    *,
    base_label: str,
    parent_dir: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Train the adapter that `recipe` and `examples` describe and leave it in `out_dir`.

    A run that was cut short is taken up from the checkpoint beside `out_dir`, which goes away at the end.

    Args:
        base_dir: Folder of the base model, as transformers saves it.
        examples: What to learn.
        recipe: How.
        out_dir: Where the adapter goes; must not exist.
        base_label: What the adapter's configuration calls its base.
        parent_dir: Adapter to continue from; needed exactly when the recipe has a parent.
        progress: Told of every step.

    Raises:
        UsageError: the recipe, the examples and the parent do not fit together.
        SourceError: the base cannot be loaded.
        IntegrityError: the parent's weights are not what the recipe says.
        Error: the loss is no longer finite.
    """
    _check_request(examples, recipe, out_dir, parent_dir)
    progress = progress or NullProgress()
    state = out_dir.with_name(f".{out_dir.name}.training")
    checkpoint = state / "checkpoint.safetensors"
    tokenizer, model = _load_base(base_dir)
    start, encoded = encode(examples, tokenizer, recipe.max_example_tokens)
    model = _with_lora(model, recipe, parent_dir)
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    run = _run_id(base_dir, examples, recipe, parent_dir)
    with tracked(progress, f"train {recipe.name}", recipe.steps, "steps"):
        _run_steps(model, parameters, start, encoded, recipe, checkpoint, run, progress)
    _save_adapter(model, state / "adapter", base_label, recipe)
    (state / "adapter").replace(out_dir)
    shutil.rmtree(state)


def learning_rate(recipe: LoraRecipe, step: int) -> float:
    """Return the learning rate of `step` (from 0): up over the first tenth, then down to 0, linearly."""
    warm_up = max(1, recipe.steps // 10)
    rising = (step + 1) / warm_up
    falling = (recipe.steps - step) / max(1, recipe.steps - warm_up)
    return recipe.learning_rate * min(1.0, rising, falling)


def _run_steps(
    model: Any,
    parameters: dict[str, torch.nn.Parameter],
    start: Sequence[int],
    encoded: Sequence[Encoded],
    recipe: LoraRecipe,
    checkpoint: Path,
    run: str,
    progress: Progress,
) -> None:
    import torch

    optimizer = torch.optim.AdamW(
        parameters.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, foreach=False
    )
    plan = schedule(
        start, encoded, steps=recipe.steps, tokens_per_step=recipe.tokens_per_step, seed=recipe.seed
    )
    done = load_checkpoint(checkpoint, run, parameters, optimizer)
    if done:
        progress.advance(f"train {recipe.name}", done)
    for step in range(done, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        loss = _loss(model, start, [encoded[number] for number in plan[step]])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(list(parameters.values()), recipe.gradient_norm)
        if not bool(torch.isfinite(loss)) or not bool(torch.isfinite(norm)):
            raise Error(
                f"training {recipe.name} diverged at step {step + 1}", hint="lower the recipe's learning_rate"
            )
        optimizer.step()
        if (step + 1) % recipe.checkpoint_steps == 0 and step + 1 < recipe.steps:
            save_checkpoint(checkpoint, run, step + 1, parameters, optimizer)
        progress.advance(f"train {recipe.name}")


def _loss(model: Any, start: Sequence[int], examples: Sequence[Encoded]) -> torch.Tensor:
    """Return the mean over examples of their mean answer-token loss; the head runs on those positions only."""
    import torch

    row = pack(start, examples)
    language_model = model.get_base_model()
    hidden = language_model.model(
        input_ids=row.ids, position_ids=row.positions, attention_mask=row.mask, use_cache=False
    ).last_hidden_state[0]
    logits = language_model.lm_head(hidden[row.predictors])
    losses = torch.nn.functional.cross_entropy(logits.float(), row.answers, reduction="none")
    return (losses * row.weights).sum()


def _check_request(
    examples: Sequence[Example], recipe: LoraRecipe, out_dir: Path, parent_dir: Path | None
) -> None:
    if (recipe.parent is None) != (parent_dir is None):
        raise UsageError(
            f"recipe {recipe.name} {'continues another' if recipe.parent else 'starts from the base'}, "
            f"but {'no' if parent_dir is None else 'a'} parent adapter is given",
            hint="give parent_dir exactly when the recipe has a parent",
        )
    if not examples:
        raise UsageError(f"recipe {recipe.name} has no examples", hint="an adapter is trained on something")
    if out_dir.exists():
        raise UsageError(f"{out_dir} exists already", hint="choose another folder, or remove it first")


def _load_base(base_dir: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with without_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(str(base_dir), local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                str(base_dir), local_files_only=True, dtype=torch.float32, attn_implementation="sdpa"
            )
    except (OSError, ValueError) as error:
        raise SourceError(
            f"the base model in {base_dir} cannot be loaded: {error}",
            hint="add it again with `placet base add`",
        ) from error
    return tokenizer, model.eval()  # type: ignore[no-untyped-call]


def _with_lora(model: Any, recipe: LoraRecipe, parent_dir: Path | None) -> Any:
    """Return `model` with LoRA weights: drawn from the seed, or the parent's."""
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=sorted(recipe.targets),
        layers_to_transform=list(range(*recipe.layers)) if recipe.layers else None,
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    tuned = get_peft_model(model, config)
    if recipe.parent is not None and parent_dir is not None:
        tensors = load_file(parent_dir / _WEIGHTS)
        ours = get_peft_model_state_dict(tuned, save_embedding_layers=False)
        # A run may tune more modules than its parent did: those start at zero.
        expected = {name: tensor.shape for name, tensor in ours.items() if _tunes(recipe.parent, name)}
        if {name: tensor.shape for name, tensor in tensors.items()} != expected:
            raise IntegrityError(
                f"the parent adapter in {parent_dir} does not have the tensors that {recipe.name} continues",
                hint="train the parent from the parent's recipe",
            )
        set_peft_model_state_dict(tuned, tensors)
    return tuned


def _tunes(recipe: LoraRecipe, tensor: str) -> bool:
    """Return whether `recipe` tunes the module that `tensor` belongs to."""
    parts = tensor.split(".")
    layer = next((int(part) for part in parts if part.isdecimal()), None)
    inside = recipe.layers is None or (layer is not None and layer in range(*recipe.layers))
    return inside and not set(parts).isdisjoint(recipe.targets)


def _run_id(base_dir: Path, examples: Sequence[Example], recipe: LoraRecipe, parent_dir: Path | None) -> str:
    """Return a digest of all that decides the run, by which a checkpoint is recognised."""
    import torch

    return digest_json(
        {
            "base": [digest_file(path) for path in sorted(base_dir.glob("*.safetensors"))],
            "recipe": recipe.digest(),
            "examples": examples_digest(examples),
            "parent": digest_file(parent_dir / _WEIGHTS) if parent_dir else None,
            "torch": str(torch.__version__),
        }
    )


def _save_adapter(model: Any, folder: Path, base_label: str, recipe: LoraRecipe) -> None:
    """Write weights and configuration alone, in bytes that depend on nothing but their content."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    if folder.exists():
        shutil.rmtree(folder)
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    config = model.peft_config["default"].to_dict()
    config |= {
        "base_model_name_or_path": base_label,
        "inference_mode": True,
        "target_modules": sorted(recipe.targets),
    }
    write_atomically(folder / _WEIGHTS, save(tensors, metadata={"format": "pt"}))
    text = json.dumps(config, indent=2, sort_keys=True, default=_plain) + "\n"
    write_atomically(folder / _CONFIG, text.encode())


def _plain(value: object) -> object:
    """Return what JSON can hold for the sets and enumerations in a PEFT configuration."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    convert: Callable[[object], str] = str
    return getattr(value, "value", None) or convert(value)
