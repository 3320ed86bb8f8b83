"""What a training run is made of, by value, so that it has a digest.

Guarantees: two recipes with the same digest, on the same base and machine, give the same adapter bytes; the
digest covers the parent's recipe too. Nothing here imports a model library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from placet.domain.digests import Digest, decimal_string, digest_json
from placet.domain.errors import UsageError


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn: after `prompt` comes `answer`.

    Attributes:
        id: Its name in the data it comes from.
        prompt: What is asked. No loss is taken on it.
        answer: What is to be said.
        chat: Whether the prompt goes through the base's chat template, where it has one.
        open_ended: Whether the answer goes on, so that no end is learned after it.
    """

    id: str
    prompt: str
    answer: str
    chat: bool = True
    open_ended: bool = False

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Example:
        """Return the example that a data function's row describes.

        Raises:
            UsageError: a field is missing, unknown or of the wrong type.
        """
        try:
            example = cls(**row)
        except TypeError as error:
            raise UsageError(
                f"a training row has the wrong fields: {error}",
                hint="give id, prompt and answer, and optionally chat and open_ended",
            ) from error
        texts: tuple[object, ...] = (example.id, example.prompt, example.answer)
        if not all(isinstance(text, str) and text for text in texts):
            raise UsageError(
                f"training row {row.get('id')!r} has an empty or non-text field",
                hint="id, prompt and answer are non-empty text",
            )
        return example


@dataclass(frozen=True, slots=True)
class DataPart:
    """A part of the training data: what `function` in the data file of `suite` gives for `arguments`."""

    suite: str
    function: str
    arguments: tuple[tuple[str, int], ...]
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class LoraRecipe:
    """All that decides a training run, apart from the base.

    Attributes:
        name: The adapter's label.
        data: Where the examples come from, in this order.
        seed: Draws the initial weights and the order of the examples.
        steps: Optimizer steps.
        tokens_per_step: Size limit of one step's packed row, in tokens.
        learning_rate: Its peak; it rises linearly over the first tenth of the steps and falls linearly to 0.
        rank: Rank of the update matrices.
        alpha: Their scale is `alpha / rank`.
        targets: Names of the linear modules that are tuned.
        layers: The first layer tuned and the first one no longer tuned, from 0; None for all. Tuning only
            upper layers saves the backward pass through the lower ones.
        weight_decay: AdamW's.
        gradient_norm: Largest gradient norm of a step; a longer gradient is scaled down to it.
        max_example_tokens: A longer example is an error, never cut.
        checkpoint_steps: A checkpoint is written every so many steps. No effect on the result.
        parent: The recipe whose adapter this run continues from.
    """

    name: str
    data: tuple[DataPart, ...]
    seed: int
    steps: int
    tokens_per_step: int
    learning_rate: float
    rank: int
    alpha: int
    targets: tuple[str, ...]
    layers: tuple[int, int] | None = None
    weight_decay: float = 0.0
    gradient_norm: float = 1.0
    max_example_tokens: int = 256
    checkpoint_steps: int = 10
    parent: LoraRecipe | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the recorded form: JSON types only, measured numbers as decimal strings."""
        value = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("learning_rate", "weight_decay", "gradient_norm"):
            value[name] = decimal_string(value[name], places=9)
        del value["checkpoint_steps"]
        value["data"] = [
            {
                "suite": part.suite,
                "function": part.function,
                "arguments": dict(part.arguments),
                "repeats": part.repeats,
            }
            for part in self.data
        ]
        value["targets"] = sorted(self.targets)
        value["layers"] = list(self.layers) if self.layers else None
        value["parent"] = self.parent.digest() if self.parent else None
        return value

    def digest(self) -> Digest:
        """Return the SHA-256 of the recorded form."""
        return digest_json(self.to_json())


def examples_digest(examples: Iterable[Example]) -> Digest:
    """Return the SHA-256 of the examples, in their order."""
    return digest_json([dataclasses.asdict(example) for example in examples])
