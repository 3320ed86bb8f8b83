"""What the demo runs, and what it expects of each adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from placet.training.recipe import LoraRecipe


@dataclass(frozen=True, slots=True)
class DemoAdapter:
    """A recipe and the only gate it is expected to fail; None where it is expected to pass them all."""

    recipe: LoraRecipe
    fails: str | None
    about: str


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """A base, the adapters trained on it (the first is the parent of the others), a policy and its suites.

    `base_source` is as on the command line.
    """

    base_source: str
    base_label: str
    base_license: str
    policy: Path
    suites: Path
    adapters: tuple[DemoAdapter, ...]
