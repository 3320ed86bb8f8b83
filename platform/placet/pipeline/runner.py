"""The model runner of a gate: one loaded base, adapters put to work on it, answers remembered until recorded.

Loading checks: the base folder must still have the content it was registered with, and an adapter's folder is
written from the content-addressed store alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from placet.domain.digests import Digest
from placet.domain.progress import Progress
from placet.domain.records import EngineInfo, FileEntry, Stage
from placet.intake import materialise
from placet.office import Office
from placet.pipeline.bases import base_folder

if TYPE_CHECKING:
    from placet.engine.model import PlacetLM
    from placet.measuring.measured import MeasuredSuite
    from placet.measuring.suite import Suite


class Runner:
    """A resident base and its adapters.

    Args:
        office: Where base, adapters and remembered answers lie.
        base: Id of the base to load.
        progress: Listens.
    """

    def __init__(self, office: Office, base: Digest, progress: Progress) -> None:
        self._office, self._base, self._progress = office, base, progress
        self._journal = office.folder("work", "answers") / f"{base.removeprefix('sha256:')[:16]}.jsonl"
        self._adapters = office.folder("work", "adapters")
        from placet.engine.harness import HarnessRunner

        self._lm = self._load()
        self._harness = HarnessRunner(self._lm)

    def info(self) -> EngineInfo:
        """Return what computes the answers."""
        return self._lm.info()

    def add_adapter(self, weights_id: Digest, files: tuple[FileEntry, ...]) -> None:
        """Write an adapter's files from the store and make it known."""
        folder = self._adapters / weights_id.removeprefix("sha256:")
        shutil.rmtree(folder, ignore_errors=True)
        materialise(files, self._office.blobs, folder)
        self._lm.add_adapter(weights_id, folder)

    def measure(
        self, suite: Suite, samples: tuple[int, ...], weights_id: Digest | None, label: str
    ) -> MeasuredSuite:
        """Run `samples` of `suite` on an adapter, or with None on the bare base.

        Raises:
            EvaluationError: It could not be measured.
        """
        from placet.evaluation.run import measure
        from placet.safety.probes import probe

        self._lm.use_adapter(weights_id)
        stage = measure if suite.stage is Stage.EVALUATION else probe
        return stage(
            self._harness, suite, samples, subject=label, progress=self._progress, clock=self._office.clock
        )

    def close(self, *, finished: bool) -> None:
        """Let go. Remembered answers are dropped once everything is on record, and kept otherwise."""
        self._answers.close()
        if finished:
            self._journal.unlink(missing_ok=True)
        shutil.rmtree(self._adapters, ignore_errors=True)

    def _load(self) -> PlacetLM:
        from placet.engine.answers import JournalAnswers
        from placet.engine.model import PlacetLM

        folder: Path = base_folder(self._office, self._base)
        self._answers = JournalAnswers(self._journal)
        return PlacetLM(
            str(folder),
            base_id=self._base,
            answers=self._answers,
            dtype="float32",
            device="cpu",
            batch_size=8,
        )
