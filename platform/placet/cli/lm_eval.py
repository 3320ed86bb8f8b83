"""`placet lm-eval`: lm-eval's own command line, with Placet's engine as one more model."""

from __future__ import annotations

import typer

HELP = """Run lm-eval's own command line with Placet's engine as one more model, `placet`.

Every argument goes to lm-eval as it is, and what it writes is what lm-eval writes (its own help: placet lm-eval --
--help). The engine takes the arguments of lm-eval's hf model and gives the same scores for less work.

lm-eval's own caches (--use_cache, --cache_requests) are refused. No office is needed, and nothing is signed."""

EXAMPLE = (
    "placet lm-eval --model placet --model_args pretrained=BASE,peft=ADAPTER,dtype=float32 --tasks piqa"
    " --log_samples --output_path results"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "lm-eval",
        help=HELP,
        epilog=f"Example:\n{EXAMPLE}",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_run)


def _run(context: typer.Context) -> None:
    from placet.engine.commandline import run_lm_eval

    run_lm_eval(context.args or ["--help"])
