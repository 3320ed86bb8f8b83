"""What the engine found when it checked itself against the ordinary way of computing the same answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from placet.domain.digests import decimal_string
from placet.domain.errors import EvaluationError

TOLERANCES = {"float64": 2e-4, "float32": 2e-4, "bfloat16": 0.5, "float16": 0.06}
"""Largest difference of one token's log-probability (nats) or logit that counts as rounding, by dtype.

Those of float64 models are float32 as well. Rounding errors of the tokens of a sum are as good as independent, so they
grow with the square root of their number.
On a 135M model in two layouts the largest was 2e-5, 0.21 and 0.026 by that measure.
"""


@dataclass(slots=True)
class SelfCheck:
    """Collects differences, and stops the run at the first that is no rounding error.

    `tolerance` is for one token, in nats or logits.
    """

    tolerance: float
    figures: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    truncated: int = 0

    def note(self, name: str, value: int) -> None:
        """Keep the smallest `value` of something that had to give way, such as the size of a pass."""
        self.notes[name] = min(value, self.notes.get(name, value))

    def note_truncated(self, count: int) -> None:
        """Count requests that are longer than the model's context, so that their beginning was cut off."""
        self.truncated += count

    def observe(self, kind: str, ours: float, ordinary: float, what: str, *, tokens: int = 1) -> None:
        """Record one comparison of sums over `tokens` tokens.

        Raises:
            EvaluationError: The two differ beyond tolerance, or one is not a number.
        """
        difference = abs(ours - ordinary)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.figures[kind] = max(self.figures.get(kind, 0.0), difference)
        limit = self.tolerance * math.sqrt(tokens) + 1e-6 * abs(ordinary)
        if not difference <= limit:
            raise EvaluationError(
                f"engine self-check failed on {what}: {ours:.6f} here, {ordinary:.6f} the ordinary way"
                f" (tolerance {limit:g})",
                hint="no score of this run counts; run with the ordinary layout (packing off) and report it",
            )

    def report(self) -> dict[str, str]:
        """Return the figures for the record, as decimal strings."""
        found = {f"{kind}_max_difference": decimal_string(value, 9) for kind, value in self.figures.items()}
        found |= {f"{kind}_checked": str(count) for kind, count in self.counts.items()}
        found |= {f"{name}_reduced_to": str(value) for name, value in self.notes.items()}
        if self.truncated:
            found["requests_truncated"] = str(self.truncated)
        return dict(sorted({**found, "tolerance": decimal_string(self.tolerance, 9)}.items()))


def choose(ids: Sequence[str], count: int) -> list[int]:
    """Return `count` of the indices of `ids`, chosen by content: the same requests whatever their order."""
    seen: dict[str, int] = {}
    for index, answer_id in enumerate(ids):
        seen.setdefault(answer_id, index)
    return [seen[answer_id] for answer_id in sorted(seen)[:count]]
