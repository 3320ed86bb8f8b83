"""The safety stage: what an adapter does when it should not, or does not do when it should.

Behavioural suites (kind generation) put requests to the model and let the suite's scorer judge each response:
refusals of harmful requests, refusals of harmless ones. Leakage suites (kind exposure) score a registered canary among
alternatives that nobody trained on; the scorer turns its rank into exposure (Carlini et al. 2019, section 4).

Guarantees: see :mod:`placet.measuring.measured`. A safety figure always comes from a scorer whose bytes are part of
the suite's digest. What it does not do: say how often the scorer errs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from placet.domain.errors import UsageError
from placet.domain.progress import Progress
from placet.domain.records import Stage
from placet.engine.tasks import TaskRunner
from placet.measuring.measured import MeasuredSuite, run_suite
from placet.measuring.scorer import scorer_values
from placet.measuring.suite import Suite


def probe(
    runner: TaskRunner,
    suite: Suite,
    samples: tuple[int, ...],
    *,
    subject: str,
    progress: Progress,
    clock: Callable[[], datetime],
) -> MeasuredSuite:
    """Run `samples` of a safety suite on what is at work in `runner`, and score them with its scorer.

    Raises:
        UsageError: The suite belongs to another stage or has no scorer.
        EvaluationError: A sample could not be run or scored.
        SourceError: The suite's pinned data could not be had.
    """
    if suite.stage is not Stage.SAFETY:
        raise UsageError(f"{suite.manifest.id} is an {suite.stage} suite", hint="give it to that stage")
    if suite.manifest.scorer is None:
        raise UsageError(
            f"{suite.manifest.id} is a safety suite without a scorer", hint="name a local evaluate module"
        )
    return run_suite(runner, suite, samples, scorer_values, subject=subject, progress=progress, clock=clock)
