"""The model runner of a gate: one loaded base, adapters put to work on it, answers remembered until recorded.

Loading checks: the base folder must still have the content it was registered with, and an adapter's folder is
written from the content-addressed store alone. Answers are taken over from an interrupted run of the same plan, out of
its journal, and from signed measurements, which are then named; from nowhere else.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from placet.attest.trust import Verified
from placet.domain.digests import Digest, short
from placet.domain.progress import Progress
from placet.domain.records import EngineInfo, FileEntry, Measurement, Stage
from placet.intake import materialise
from placet.measuring.rows import Row
from placet.office import Office
from placet.pipeline.bases import base_folder

if TYPE_CHECKING:
    from placet.engine.answers import Answer, AnswerId, JournalAnswers
    from placet.engine.model import PlacetLM
    from placet.measuring.measured import MeasuredSuite
    from placet.measuring.suite import Suite

_SCORED = {"multiple_choice": "loglikelihood", "loglikelihood": "loglikelihood"}
_SCORED["loglikelihood_rolling"] = "loglikelihood_rolling"


class Runner:
    """A resident base and its adapters.

    Args:
        office: Where base, adapters and remembered answers lie.
        base: Id of the base to load.
        progress: Listens.
    """

    def __init__(self, office: Office, base: Digest, progress: Progress) -> None:
        self._office, self._base, self._progress = office, base, progress
        self._adapters = office.folder("work", "adapters")
        self._journals: dict[Digest, JournalAnswers] = {}
        from placet.engine.harness import HarnessRunner

        self._lm = self._load()
        self._harness = HarnessRunner(self._lm)

    def info(self) -> EngineInfo:
        """Return what computes the answers."""
        return self._lm.info()

    def add_adapter(self, weights_id: Digest, files: tuple[FileEntry, ...]) -> None:
        """Write an adapter's files from the store and make it known."""
        folder = self._adapters / short(weights_id, 64)
        shutil.rmtree(folder, ignore_errors=True)
        materialise(files, self._office.blobs, folder)
        self._lm.add_adapter(weights_id, folder)

    def measure(
        self,
        suite: Suite,
        samples: tuple[int, ...],
        weights_id: Digest | None,
        label: str,
        *,
        plan: Digest,
        recorded: Sequence[tuple[Verified[Measurement], tuple[Row, ...]]] = (),
    ) -> MeasuredSuite:
        """Run `samples` of `suite` on an adapter, or with None on the bare base.

        Args:
            suite: The suite.
            samples: Document numbers, in the order they run.
            weights_id: The adapter's.
            label: What a person calls it.
            plan: Record id of the plan this is for: answers of its own interrupted runs are taken over.
            recorded: Verified measurements of the suite on the same weights, with their rows, to take answers from.

        Raises:
            EvaluationError: It could not be measured.
        """
        from placet.engine.answers import RecordedAnswers
        from placet.evaluation.run import measure
        from placet.safety.probes import probe

        self._lm.use_adapter(weights_id)
        answers = RecordedAnswers(self._journal(plan))
        for run, rows in recorded:
            if run.record.engine == self.info():
                answers.add(run.id, self._answers_of(suite, rows))
        self._lm.use_answers(answers)
        stage = measure if suite.stage is Stage.EVALUATION else probe
        measured = stage(
            self._harness, suite, samples, subject=label, progress=self._progress, clock=self._office.clock
        )
        return dataclasses.replace(measured, reused=tuple(Digest(record) for record in answers.used))

    def finish(self, plan: Digest) -> None:
        """Forget the answers remembered for a plan: everything it asked for is on record."""
        self._journal(plan).close()
        del self._journals[plan]
        self._journal_path(plan).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go. Remembered answers of unfinished plans stay."""
        for journal in self._journals.values():
            journal.close()
        shutil.rmtree(self._adapters, ignore_errors=True)

    def _journal(self, plan: Digest) -> JournalAnswers:
        from placet.engine.answers import JournalAnswers

        if plan not in self._journals:
            self._journals[plan] = JournalAnswers(self._journal_path(plan))
        return self._journals[plan]

    def _journal_path(self, plan: Digest) -> Path:
        return self._office.folder("work", "answers") / f"{short(plan, 16)}.jsonl"

    def _answers_of(self, suite: Suite, rows: Sequence[Row]) -> list[tuple[AnswerId, Answer]]:
        """Return the answers that the rows of a run of `suite` hold, by the ids they have for what is at work."""
        from placet.engine.answers import Generated, Likelihood
        from placet.engine.model import is_sampled

        kind = _SCORED.get(str(suite.task.get("output_type")), "")
        asked: dict[str, list[tuple[tuple[object, ...], Answer]]] = {"generate_until": []}
        for row in rows:
            for option in row.options:
                pair = (option.context or row.prompt, option.text)
                arguments = pair[1:] if kind == "loglikelihood_rolling" else pair
                asked.setdefault(kind, []).append((arguments, Likelihood(option.logprob, option.greedy)))
            if row.response is not None and row.generation:
                options = json.loads(row.generation)
                if not is_sampled(options):
                    asked["generate_until"].append(((row.prompt, options), Generated(row.response)))
        asked.pop("", None)  # scored by a kind of task that is not known here
        return [
            (key, answer)
            for kind, pairs in asked.items()
            for key, (_, answer) in zip(self._lm.answer_ids(kind, [p for p, _ in pairs]), pairs, strict=True)
        ]

    def _load(self) -> PlacetLM:
        from placet.engine.model import PlacetLM

        folder: Path = base_folder(self._office, self._base)
        return PlacetLM(str(folder), base_id=self._base, dtype="float32", device="cpu", batch_size=8)
