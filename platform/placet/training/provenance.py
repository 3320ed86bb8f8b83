"""What a training run leaves behind: a SLSA provenance v1 predicate about the adapter's weights.

It names base, data and parent adapter by digest, and the recipe by value, so that "what was this made of" and
"what did this data set touch" are questions about records, not about memory.

Source: SLSA provenance v1 (https://slsa.dev/provenance/v1).
"""

from __future__ import annotations

import json
from datetime import datetime
from importlib.metadata import version

from placet.attest.envelope import Envelope
from placet.attest.keys import Signer
from placet.attest.predicates import (
    BuildDefinition,
    Builder,
    Kind,
    ResourceDescriptor,
    RunDetails,
    RunMetadata,
    Training,
)
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import Digest
from placet.domain.records import BaseRef
from placet.training.recipe import LoraRecipe

BUILD_TYPE = "https://placet.dev/training/lora/v1"
_LIBRARIES = ("torch", "transformers", "peft")


def training_record(
    recipe: LoraRecipe,
    *,
    base: BaseRef,
    data: Digest,
    parent: Subject | None,
    started_at: datetime,
    finished_at: datetime,
) -> Training:
    """Return the provenance of one run of `recipe`.

    Args:
        recipe: What was run.
        base: The base model it was trained on.
        data: Digest of the examples, in their order.
        parent: The adapter it was continued from: label and weights id.
        started_at: When it began.
        finished_at: When it ended.
    """
    dependencies = [
        _dependency("base", base.label, base.id),
        _dependency("dataset", f"{recipe.name} examples", data),
    ]
    if parent is not None:
        dependencies.append(_dependency("parent-adapter", parent.name, parent.digest))
    return Training(
        build_definition=BuildDefinition(
            build_type=BUILD_TYPE,
            external_parameters={
                name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
                for name, value in recipe.to_json().items()
            },
            internal_parameters={"recipe": recipe.digest()},
            resolved_dependencies=tuple(dependencies),
        ),
        run_details=RunDetails(
            builder=Builder(
                id="https://placet.dev/training",
                version={"placet": version("placet"), **{name: version(name) for name in _LIBRARIES}},
            ),
            metadata=RunMetadata(
                invocation_id=recipe.digest(), started_on=started_at, finished_on=finished_at
            ),
        ),
    )


def sign_training(training: Training, adapter: Subject, signer: Signer) -> Envelope:
    """Return `training` as a signed envelope about an adapter: its label and weights id."""
    return sign_record(Kind.TRAINING, training, (adapter,), signer)


def _dependency(role: str, name: str, digest: Digest) -> ResourceDescriptor:
    return ResourceDescriptor(
        name=name, digest={"sha256": digest.removeprefix("sha256:")}, annotations={"role": role}
    )
