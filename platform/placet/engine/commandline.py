"""lm-eval's own command line with the engine's model among its models, under the name `placet`.

lm-eval has no entry point through which a package could add a model, so the class is registered here and lm-eval's
command line is then called with the words it was given.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from placet.domain.errors import UsageError

MODEL_NAME = "placet"

# The first answers one adapter's questions with another's answers, since its key holds the request and not
# the model; the second keeps requests whatever happens to the documents they were made from.
_REFUSED = ("--use_cache", "-c", "--cache_requests")


def run_lm_eval(arguments: Sequence[str]) -> None:
    """Run lm-eval's command line with `arguments`.

    Raises:
        UsageError: One of lm-eval's own caches was asked for.
        SystemExit: lm-eval's, with its code.
    """
    for argument in arguments:
        if argument.split("=")[0] in _REFUSED:
            raise UsageError(
                f"{argument} is not offered here: lm-eval's caches mix the answers of different models and data",
                hint="leave it out; equal requests are answered once anyway",
            )
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.registry import model_registry, register_model

    from placet.engine.model import PlacetLM

    if MODEL_NAME not in model_registry:
        register_model(MODEL_NAME)(PlacetLM)
    before = sys.argv
    sys.argv = ["placet lm-eval", *arguments]
    try:
        cli_evaluate()
    finally:
        sys.argv = before
