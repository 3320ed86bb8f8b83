"""Per-sample results, the adapter's beside the base's: which answers flipped.

The rows come out of the blobs that the signed measurements name; each blob is hashed again while it is read, so a
row shown here is the row that was judged. Reading them needs pyarrow (the `ui` or `eval` extra).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from enum import StrEnum

from placet.domain.errors import IntegrityError, UsageError
from placet.domain.records import Measurement
from placet.measuring.rows import Row
from placet.office import Office
from placet.pipeline.evidence import signed_rows
from placet.report.view import SuiteFigures


class Flip(StrEnum):
    """How the adapter's answer to a document compares with the base's."""

    LOST = "worse"
    GAINED = "better"
    SAME = "same"
    ALONE = "no base"


@dataclass(frozen=True, slots=True)
class Sample:
    """One document: what was asked, and what base and adapter made of it."""

    doc: int
    id: str
    prompt: str
    target: str
    answer: str
    value: float
    base_answer: str | None
    base_value: float | None
    flip: Flip


@dataclass(frozen=True, slots=True)
class SampleTable:
    """A suite's samples in the order they ran, flips first: worse, better, same."""

    suite: str
    metric: str
    higher_is_better: bool
    samples: tuple[Sample, ...]

    def counts(self) -> dict[Flip, int]:
        """Return how many samples went which way."""
        return {flip: sum(sample.flip is flip for sample in self.samples) for flip in Flip}


def samples_readable() -> bool:
    """Return whether per-sample results can be read in this installation."""
    return importlib.util.find_spec("pyarrow") is not None


def load_samples(office: Office, figures: SuiteFigures) -> SampleTable:
    """Return the samples of one suite of an adapter report.

    Raises:
        UsageError: This installation cannot read Parquet.
        IntegrityError: A blob is missing or altered, or its rows are not those the record names.
    """
    if not samples_readable():
        raise UsageError(
            "per-sample results cannot be read: pyarrow is not installed", hint="pip install 'placet[ui]'"
        )
    adapter = _rows(office, figures.adapter)
    base = {row.doc: row for row in _rows(office, figures.base)} if figures.base else {}
    higher = figures.adapter.higher_is_better
    samples = [_sample(row, base.get(row.doc), higher) for row in adapter]
    order = list(Flip)
    samples.sort(key=lambda sample: order.index(sample.flip))  # stable: the order they ran is kept
    return SampleTable(figures.suite, figures.metric, higher, tuple(samples))


def _rows(office: Office, measurement: Measurement) -> tuple[Row, ...]:
    rows = signed_rows(measurement, office.blobs)
    if rows is None:
        raise IntegrityError(
            f"the rows of {measurement.suite.id} are not those its record names", hint="run `placet audit`"
        )
    return rows


def _sample(row: Row, base: Row | None, higher_is_better: bool) -> Sample:
    flip = Flip.ALONE
    if base is not None:
        change = (row.value - base.value) * (1 if higher_is_better else -1)
        flip = Flip.SAME if change == 0 else Flip.GAINED if change > 0 else Flip.LOST
    return Sample(
        doc=row.doc,
        id=row.id,
        prompt=row.prompt,
        target=row.target,
        answer=answer_of(row),
        value=row.value,
        base_answer=None if base is None else answer_of(base),
        base_value=None if base is None else base.value,
        flip=flip,
    )


def answer_of(row: Row) -> str:
    """Return what the model answered: its text, or the option it found likeliest."""
    if row.response is not None:
        return row.response
    if not row.options:
        return ""
    best = max(row.options, key=lambda option: option.logprob)
    return best.text.strip() or best.context[-80:].strip()
