"""Whether the weights belong on the base: every tensor has its place and shape, and every place its tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from placet.domain.errors import UndecidedError
from placet.domain.records import CheckResult, Finding
from placet.intake.context import WEIGHTS, Context, concluded, grouped
from placet.intake.findings import finding
from placet.intake.lora import LoraConfig
from placet.intake.modules import PREFIX, is_saved_whole, is_targeted, linear_modules, pair_half
from placet.intake.tensor_file import TensorSpec

_STORED_TRANSPOSED = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer"}


@dataclass(frozen=True, slots=True)
class FitCheck:
    """Loading this adapter on this base puts every tensor to use, and leaves no targeted module without one.

    PEFT only warns about keys that are missing or unexpected, so an adapter can silently not apply.
    """

    id: str = "fit"
    version: str = "1"
    needs: tuple[str, ...] = ("config", "base", "weights-format")

    def run(self, context: Context) -> CheckResult:
        """Compare names and shapes with the base's; no tensor is loaded.

        Raises:
            UndecidedError: The base's family stores its layers in a way whose shapes are not known here.
        """
        if context.base.model_type in _STORED_TRANSPOSED:
            raise UndecidedError(
                f"bases of the family {context.base.model_type} are not supported yet",
                hint="use a base whose linear layers are stored as (out, in)",
            )
        actual = context.header.specs()
        strangers = sorted(name for name in actual if not name.startswith(PREFIX))
        if strangers:
            message = f"names that do not begin with {PREFIX}: {{}}"
            return concluded(self, grouped("unknown-module", message, strangers))
        found = _unknown(actual, context.base.tensors) or _incomplete(actual)
        return concluded(self, found or _differences(actual, context.lora, context.base.tensors))


def _unknown(actual: Mapping[str, TensorSpec], base: Mapping[str, TensorSpec]) -> list[Finding]:
    linear = linear_modules(base)
    unknown = set()
    for name in actual:
        half = pair_half(name)
        if half is None and name.removeprefix(PREFIX) not in base:
            unknown.add(name.removeprefix(PREFIX))
        elif half is not None and half.module not in linear:
            unknown.add(half.module)
    return grouped(
        "unknown-module", f"{len(unknown)} names that the base does not have: {{}}", sorted(unknown)
    )


def _incomplete(actual: Mapping[str, TensorSpec]) -> list[Finding]:
    halves: dict[str, set[str]] = {}
    for name in actual:
        if half := pair_half(name):
            halves.setdefault(half.module, set()).add(half.half)
    single = sorted(module for module, found in halves.items() if len(found) == 1)
    return grouped("incomplete-pair", "one half only on: {}", single)


def _differences(
    actual: Mapping[str, TensorSpec], config: LoraConfig, base: Mapping[str, TensorSpec]
) -> list[Finding]:
    expected = _expected(config, base)
    if not expected:
        message = "target_modules names no linear layer of the base"
        return [finding("unknown-module", message, "adapter_config.json: target_modules")]
    if wrong := sorted(
        name for name in actual.keys() & expected.keys() if actual[name].shape != expected[name]
    ):
        first = wrong[0]
        message = (
            f"{len(wrong)} of {len(actual)} tensors; {first} is {list(actual[first].shape)}, "
            f"the base and rank need {list(expected[first])}"
        )
        return [finding("shape-mismatch", message, f"{WEIGHTS}: {first}")]
    return [
        *grouped(
            "untargeted-tensor", "not in the configuration: {}", sorted(actual.keys() - expected.keys())
        ),
        *grouped("missing-module", "in the configuration only: {}", sorted(expected.keys() - actual.keys())),
    ]


def _expected(config: LoraConfig, base: Mapping[str, TensorSpec]) -> dict[str, tuple[int, ...]]:
    """Return every tensor that the configuration promises, with the shape that the base demands."""
    expected: dict[str, tuple[int, ...]] = {}
    for module, (out_width, in_width) in linear_modules(base).items():
        if is_targeted(module, config):
            rank = config.rank_of(module)
            expected[f"{PREFIX}{module}.lora_A.weight"] = (rank, in_width)
            expected[f"{PREFIX}{module}.lora_B.weight"] = (out_width, rank)
    for name, spec in base.items():
        if is_saved_whole(name.rpartition(".")[0], config):
            expected[PREFIX + name] = spec.shape
    return expected
