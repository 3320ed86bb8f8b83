"""What the demo runs, and what it expects of each adapter."""

from __future__ import annotations

from dataclasses import dataclass

from placet.training.recipe import LoraRecipe


@dataclass(frozen=True, slots=True)
class DemoAdapter:
    """A recipe and the only gate it is expected to fail; None where it is expected to pass them all."""

    recipe: LoraRecipe
    fails: str | None
    about: str


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """A base, the adapters trained on it (the first is the parent of the others), and the policy.

    `base_source` is as on the command line; `policy` is a file in the policies folder.
    """

    base_source: str
    base_label: str
    base_license: str
    policy: str
    adapters: tuple[DemoAdapter, ...]
