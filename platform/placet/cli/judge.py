"""`placet policy judge`: a judge's errors, measured on labels, as a gate writes them and as they widen its interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.errors import REFUSED
from placet.cli.render import print_table, words
from placet.cli.session import JsonOption, Session
from placet.domain.errors import UsageError

if TYPE_CHECKING:
    from placet.stats.bounds import Bounds
    from placet.stats.judges import Calibration, Widening

_RATES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def judge(
    labels: Annotated[
        Path,
        typer.Argument(
            metavar="LABELS",
            help="CSV file with the columns human and judge, 0 or 1 in each line, and id if wanted.",
        ),
    ],
    documents: Annotated[
        int,
        typer.Option("--documents", metavar="N", min=1, help="How many documents the gate's sample has."),
    ] = 200,
    alpha: Annotated[
        float, typer.Option("--alpha", metavar="ALPHA", help="The gate's alpha; above 0 and below 0.5.")
    ] = 0.05,
    json: JsonOption = False,
) -> None:
    """Measure a judge's errors on answers that people labelled: `judge_error` for a gate, and how it widens intervals.

    Exit code 1: the judge is not shown to be better than chance, so that no gate should rest on it.
    """
    from placet.policy.labels import load_labels
    from placet.stats.judges import widening

    if not 0.0 < alpha < 0.5:
        raise UsageError(f"--alpha {alpha:g} is no error probability of a gate", hint="give one such as 0.05")
    session = Session(json=json)
    found = load_labels(labels)
    rows = [widening(found, documents, rate, alpha) for rate in _RATES]
    useful = found.is_useful(alpha)

    session.result(
        _to_json(found, rows, documents, alpha, useful),
        lambda console: _show(console, found, rows, documents, alpha, useful),
    )
    if not useful:
        raise typer.Exit(REFUSED)


def _show(
    console: Console, found: Calibration, rows: list[Widening], documents: int, alpha: float, useful: bool
) -> None:
    sense, alarm = found.rates(alpha)
    console.print(words(f"judge_error: {{{_block(found)}}}", style="bold"), soft_wrap=True)
    console.print(
        f"It finds {_range(sense)} of what is there, and flags {_range(alarm)} of what is not "
        f"({100.0 * (1.0 - alpha):.4g}% confidence on either side).",
        soft_wrap=True,
    )
    headings = (
        "true rate",
        "judge finds",
        f"no error, n={documents}",
        "corrected",
        "corrected, n without end",
    )
    print_table(
        console,
        headings,
        (
            (
                f"{row.rate:g}",
                f"{row.flagged:.3f}",
                _ends(row.plain),
                _ends(row.corrected),
                _ends(row.endless),
            )
            for row in rows
        ),
    )
    if not useful:
        console.print(
            words(
                "Not shown to be better than chance: what it finds and what it flags in error overlap. "
                "Label more answers, or use another judge.",
                style="bold yellow",
            ),
            soft_wrap=True,
        )


def _to_json(
    found: Calibration, rows: list[Widening], documents: int, alpha: float, useful: bool
) -> dict[str, Any]:
    sense, alarm = found.rates(alpha)
    return {
        "judge_error": dict(_counts(found)),
        "alpha": alpha,
        "documents": documents,
        "sensitivity": {"estimate": found.sensitivity, "low": sense.low, "high": sense.high},
        "falseAlarms": {"estimate": alarm.estimate, "low": alarm.low, "high": alarm.high},
        "betterThanChance": useful,
        "widening": [
            {
                "rate": row.rate,
                "judgeFinds": row.flagged,
                "plain": _pair(row.plain),
                "corrected": _pair(row.corrected),
                "endless": _pair(row.endless),
            }
            for row in rows
        ],
    }


def _counts(found: Calibration) -> tuple[tuple[str, int], ...]:
    return (
        ("true_positives", found.true_positives),
        ("positives", found.positives),
        ("true_negatives", found.true_negatives),
        ("negatives", found.negatives),
    )


def _block(found: Calibration) -> str:
    return ", ".join(f"{name}: {count}" for name, count in _counts(found))


def _range(bounds: Bounds) -> str:
    return f"{bounds.estimate:.3f} ({bounds.low:.3f} to {bounds.high:.3f})"


def _ends(bounds: Bounds) -> str:
    return f"{bounds.low:.3f} to {bounds.high:.3f}"


def _pair(bounds: Bounds) -> list[float]:
    return [bounds.low, bounds.high]
