"""lm-eval's own command line with the engine's model among its models, under the name `placet`.

lm-eval has no entry point through which a package could add a model, so the class is registered here and lm-eval's
command line is then called with the words it was given.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from placet.domain.errors import UsageError
from placet.engine.startup import load_engine

MODEL_NAME = "placet"

# The first answers one adapter's questions with another's answers, since its key holds the request and not
# the model; the second keeps requests whatever happens to the documents they were made from.
_REFUSED = ("use_cache", "cache_requests")


def run_lm_eval(arguments: Sequence[str]) -> None:
    """Run lm-eval's command line with `arguments`.

    Raises:
        UsageError: One of lm-eval's own caches was asked for, or the configuration file cannot be read.
        SystemExit: lm-eval's, with its code.
    """
    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    before = sys.argv
    sys.argv = ["placet lm-eval", *arguments]
    try:
        setup_logging()
        command_line = HarnessCLI()
        # Its own parser reads the words, which knows every way to write an option.
        parsed = command_line.parse_args()
        _refuse_caches(parsed)
        load_engine()  # only now: help and refusals need not wait for it
        _register()
        command_line.execute(parsed)
    finally:
        sys.argv = before


def _refuse_caches(parsed: argparse.Namespace) -> None:
    asked = {name for name in _REFUSED if getattr(parsed, name, None)}
    path = getattr(parsed, "config", None)
    if path:
        from lm_eval.config.evaluate_config import EvaluatorConfig

        try:
            written = EvaluatorConfig.load_yaml_config(path)
        except (OSError, TypeError, ValueError) as error:
            raise UsageError(str(error), hint="give --config a YAML file of lm-eval's arguments") from error
        asked |= {name for name in _REFUSED if written.get(name)}
    for name in sorted(asked):
        raise UsageError(
            f"--{name} is not offered here: lm-eval's caches mix the answers of different models and data",
            hint="leave it out; equal requests are answered once anyway",
        )


def _register() -> None:
    from lm_eval.api.registry import model_registry, register_model

    from placet.engine.model import PlacetLM

    if MODEL_NAME not in model_registry:
        register_model(MODEL_NAME)(PlacetLM)
