"""What the engine found when it checked itself against the ordinary way of computing the same answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from placet.domain.digests import decimal_string
from placet.domain.errors import EvaluationError

TOLERANCES = {"float32": 5e-4, "bfloat16": 0.25, "float16": 0.05}
"""Largest difference of a log-probability (nats) or a logit that counts as rounding, by dtype."""


@dataclass(slots=True)
class SelfCheck:
    """Collects differences, and stops the run at the first beyond `tolerance` (absolute, plus 1e-6 of size)."""

    tolerance: float
    figures: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def observe(self, kind: str, ours: float, ordinary: float, what: str) -> None:
        """Record one comparison.

        Raises:
            EvaluationError: The two differ beyond tolerance, or one is not a number.
        """
        difference = abs(ours - ordinary)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.figures[kind] = max(self.figures.get(kind, 0.0), difference)
        if not difference <= self.tolerance + 1e-6 * abs(ordinary):
            raise EvaluationError(
                f"engine self-check failed on {what}: {ours:.6f} here, {ordinary:.6f} the ordinary way"
                f" (tolerance {self.tolerance:g})",
                hint="no score of this run counts; run with the ordinary layout (packing off) and report it",
            )

    def report(self) -> dict[str, str]:
        """Return the figures for the record, as decimal strings."""
        found = {f"{kind}_max_difference": decimal_string(value, 9) for kind, value in self.figures.items()}
        found |= {f"{kind}_checked": str(count) for kind, count in self.counts.items()}
        return dict(sorted({**found, "tolerance": decimal_string(self.tolerance, 9)}.items()))


def choose(ids: Sequence[str], count: int) -> list[int]:
    """Return `count` of the indices of `ids`, chosen by content: the same requests whatever their order."""
    seen: dict[str, int] = {}
    for index, answer_id in enumerate(ids):
        seen.setdefault(answer_id, index)
    return [seen[answer_id] for answer_id in sorted(seen)[:count]]
