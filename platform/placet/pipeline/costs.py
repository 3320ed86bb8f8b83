"""What measuring a suite is expected to cost, by what it took before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from placet.attest.predicates import Kind
from placet.domain.digests import Digest
from placet.domain.records import Measurement
from placet.domain.text import duration
from placet.ledger.reader import LedgerReader


@dataclass(frozen=True, slots=True)
class Pace:
    """What a suite took on one subject or another: `runs` of it, with `documents` in `seconds`, all added up.

    A run's clock counts whole seconds, so short runs say little; they are added up, not averaged one by one.
    """

    seconds: float
    documents: int
    runs: int

    def of(self, documents: int) -> float:
        """Return the seconds that so many documents are expected to take."""
        return self.seconds / self.documents * documents


@dataclass(frozen=True, slots=True)
class Cost:
    """What is still to run, and what it is expected to take.

    Attributes:
        samples: Documents, over all suites and subjects.
        seconds: Of the suites that were run before.
        runs: Earlier runs that `seconds` rests on.
        unknown: Suites that were never run, for which `seconds` counts nothing.
    """

    samples: int
    seconds: float
    runs: int
    unknown: tuple[str, ...]

    def told(self) -> str:
        """Return it in words, with what it rests on."""
        text = f"{self.samples:,} samples"
        if self.runs:
            text += f", about {duration(self.seconds)} by {self.runs} earlier runs"
        if self.unknown:
            text += f"{'; ' if self.runs else ', '}never run here: {', '.join(self.unknown)}"
        return text


def paces(reader: LedgerReader, base: Digest | None = None) -> Mapping[Digest, Pace]:
    """Return suite digest → what it took, over all runs on record (on `base`) that computed all of their answers."""
    found: dict[Digest, Pace] = {}
    for kind in (Kind.EVALUATION, Kind.SAFETY):
        for item in reader.find(kind, Measurement):
            record = item.record
            # A run that took answers over from another says nothing of what computing them takes.
            if record.reused or (base is not None and record.base.id != base):
                continue
            before = found.get(record.suite.digest, Pace(0.0, 0, 0))
            took = (record.finished_at - record.started_at).total_seconds()
            found[record.suite.digest] = Pace(
                before.seconds + took, before.documents + record.n, before.runs + 1
            )
    return found


def cost_of(wanted: Iterable[tuple[str, Digest, int]], known: Mapping[Digest, Pace]) -> Cost:
    """Return what it takes to run each of `wanted`: a suite by name and digest, and documents expected."""
    samples, seconds, unknown = 0, 0.0, dict[str, None]()
    rests_on: set[Digest] = set()
    for name, digest, documents in wanted:
        samples += documents
        if digest in known:
            seconds += known[digest].of(documents)
            rests_on.add(digest)
        else:
            unknown[name] = None
    return Cost(samples, seconds, sum(known[digest].runs for digest in rests_on), tuple(unknown))
