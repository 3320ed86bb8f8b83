"""Answers a list of requests: each distinct one once, out of the store or computed, in any order.

Guarantees: an answer is stored before it is reported as done, so a killed run loses at most the pass under way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from placet.domain.progress import Progress
from placet.engine.answers import Answer, AnswerId, AnswerStore

Compute = Callable[[list[int]], Iterator[list[tuple[int, Answer]]]]
"""Given indices of requests, yields their answers in batches, each index once."""


def answer_all(
    ids: Sequence[AnswerId], store: AnswerStore, compute: Compute, done: Callable[[int], None]
) -> list[Answer]:
    """Return the answer to each of `ids`, in their order.

    `compute` is asked for the first request of each id the store does not hold; `done` is called with the
    index of every request as it is answered, duplicates included.
    """
    same: dict[AnswerId, list[int]] = {}
    for index, answer_id in enumerate(ids):
        same.setdefault(answer_id, []).append(index)
    answers: dict[AnswerId, Answer] = {}

    def accept(answer_id: AnswerId, answer: Answer) -> None:
        answers[answer_id] = answer
        for index in same[answer_id]:
            done(index)

    missing: list[int] = []
    for answer_id, places in same.items():
        held = store.get(answer_id)
        if held is None:
            missing.append(places[0])
        else:
            accept(answer_id, held)
    if missing:
        for batch in compute(missing):
            store.put([(ids[index], answer) for index, answer in batch])
            for index, answer in batch:
                accept(ids[index], answer)
    return [answers[answer_id] for answer_id in ids]


class DocumentProgress:
    """Turns answered requests into documents done, for a person to see.

    Args:
        progress: Who listens.
        step: The name the documents are reported under; the caller starts and finishes it.
    """

    def __init__(self, progress: Progress, step: str) -> None:
        self._progress = progress
        self._step = step
        self._owners: list[Any] = []
        self._waiting: Counter[Any] = Counter()

    def expect(self, owners: Sequence[Any]) -> None:
        """Say which document each of the coming requests belongs to."""
        self._owners = list(owners)
        self._waiting = Counter(owners)

    def done(self, index: int) -> None:
        """Count request `index`; its document is done when all its requests are."""
        owner = self._owners[index]
        self._waiting[owner] -= 1
        if self._waiting[owner] == 0:
            self._progress.advance(self._step)
