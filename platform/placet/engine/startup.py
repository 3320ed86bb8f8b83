"""Imports what the engine stands on, faster than by itself."""

from __future__ import annotations

import atexit
import gc
import importlib


def load_engine() -> None:
    """Import the engine with torch, transformers, peft and lm-eval.

    They make over a million objects that live as long as the process. The garbage collector, which looks through them
    again and again while they come in and finds nothing, rests meanwhile, and leaves them out from then on.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("placet.engine.harness")
        importlib.import_module("placet.engine.model")
        gc.freeze()
        # At the end libraries look for what is left of them, and would find it all.
        atexit.register(gc.unfreeze)
    finally:
        if enabled:
            gc.enable()
