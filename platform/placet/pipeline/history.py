"""Past verdicts and the evidence each rests on, for trying another policy on them.

What is read of a verdict once is kept as facts in the office's work folder, by record id: a later call reads only
what was added. It is kept while reading goes on, so that an interrupted reading goes on where it stopped. The folder
can be deleted at any time, and `--fresh` reads everything anew.
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, cast

from placet.attest.draw import drawn_otherwise
from placet.attest.predicates import Kind, Training, spec_of
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.errors import StorageError, UsageError
from placet.domain.progress import Progress, tracked
from placet.domain.records import (
    Base,
    BaseStatus,
    Intake,
    Measurement,
    Overlap,
    Plan,
    Release,
    Review,
    Submission,
    Verdict,
    Waiver,
)
from placet.ledger.reader import LedgerReader
from placet.office import Office
from placet.pipeline.evidence import CARD, load_values_of, statement_of
from placet.pipeline.policies import Questions, policy_of
from placet.policy.about import About, about_from, kept_about
from placet.policy.evidence import (
    Evidence,
    RecordedBase,
    RecordedIntake,
    RecordedOverlap,
    RecordedStatus,
    Rows,
    TrainingStatement,
)
from placet.policy.facts import Facts, ReleaseFacts, Signed, facts_of
from placet.policy.modelcard import read_card
from placet.policy.schema import Policy
from placet.review.desk import trainings_of

_FACTS, _ABOUT = "facts.json", "facts-about.json"
"""Outcomes and counts, read each time; and what gates without a suite look at, read when such a gate is new."""

_FORM = 3
"""Raised whenever facts are made or kept in another way, so that older ones are made anew."""

_READING = "reading past verdicts"

_BATCH = 64
"""Verdicts whose records are fetched from the log together."""

_KEEP_EVERY_S = 20.0
_RECORDS_HELD, _RUNS_HELD = 4096, 256


@dataclass
class History:
    """Past verdicts of an office.

    Attributes:
        facts: One for each verdict, in the ledger's order.
        read: How many were read from their evidence now, and not taken from what was kept.
        left_out: Verdicts that cannot be tried (their policy's document is not in the store), with why.
    """

    facts: tuple[Facts, ...]
    read: int
    left_out: tuple[tuple[Digest, str], ...]
    _reader: _Reader
    _kept: _Kept

    def about_of(self, record: Digest) -> About | None:
        """Return what is kept of a verdict's evidence beside what was measured."""
        return self._kept.about_of(record)

    def evidence_of(self, record: Digest) -> tuple[Verdict, Evidence]:
        """Return a verdict and the evidence it rests on.

        Raises:
            IntegrityError: Something of it does not verify.
        """
        return self._reader.evidence_of(record)


def load_history(office: Office, progress: Progress, *, fresh: bool = False) -> History:
    """Return the facts of every verdict on record.

    Args:
        office: The office.
        progress: Listens.
        fresh: Use nothing that was kept.

    Raises:
        IntegrityError: A record or a blob does not verify.
        StorageError: The facts cannot be kept.
    """
    reader = _Reader(office)
    ids = office.store.record_ids(spec_of(Kind.VERDICT).predicate_type)
    kept = _Kept(office) if fresh else _Kept.load(office)
    todo = [record for record in ids if record not in kept.facts]
    left_out: list[tuple[Digest, str]] = []
    if todo:
        with tracked(progress, _READING, len(todo), "verdicts"), kept.being_filled():
            for start in range(0, len(todo), _BATCH):
                reader.fetch(todo[start : start + _BATCH])
                for record in todo[start : start + _BATCH]:
                    try:
                        kept.add(record, *reader.facts_of(record))
                    except UsageError as error:
                        left_out.append((record, error.message))
                    progress.advance(_READING)
                kept.save_now_and_then()
    released = kept.released()
    facts = tuple(
        replace(Facts.from_json(kept.facts[record]), released=released.get(record, ()))
        for record in ids
        if record in kept.facts
    )
    return History(facts, len(todo) - len(left_out), tuple(left_out), reader, kept)


@dataclass
class _Reader:
    """Reads what verdicts rest on. What several rest on, such as the base's runs, is held for the next."""

    office: Office
    _records: OrderedDict[Digest, Verified[Any]] = field(default_factory=OrderedDict)
    _runs: OrderedDict[Digest, Rows] = field(default_factory=OrderedDict)
    _policies: dict[Digest, Policy] = field(default_factory=dict)

    @cached_property
    def _log(self) -> LedgerReader:
        return self.office.reader()

    @cached_property
    def _questions(self) -> Questions:
        return Questions(self.office.blobs)

    def facts_of(self, record: Digest) -> tuple[Facts, Verdict, Evidence]:
        # How the documents were drawn was looked at when the verdict was given; its outcomes say so.
        verdict, evidence = self._read(record)
        return facts_of(self._policy(verdict), verdict, record, evidence), verdict, evidence

    def evidence_of(self, record: Digest) -> tuple[Verdict, Evidence]:
        verdict, evidence = self._read(record)
        plans = (
            replace(one, drawn_otherwise=drawn_otherwise(one.plan)) if one.record == verdict.plan else one
            for one in evidence.plans
        )
        return verdict, replace(evidence, plans=tuple(plans))

    def _read(self, record: Digest) -> tuple[Verdict, Evidence]:
        self.fetch([record])
        verdict = cast("Verdict", self._records[record].record)
        return verdict, self._evidence(verdict)

    def fetch(self, verdicts: Sequence[Digest]) -> None:
        """Read the records of some verdicts, and those they rest on, together."""
        self._hold(verdicts)
        wanted = dict[Digest, None]()
        for record in verdicts:
            verdict = cast("Verdict", self._records[record].record)
            wanted.update(dict.fromkeys((verdict.plan, *verdict.evidence, *verdict.plans_on_weights)))
        self._hold(list(wanted))
        while len(self._records) > max(_RECORDS_HELD, len(wanted) + len(verdicts)):
            self._records.popitem(last=False)

    def _hold(self, wanted: Sequence[Digest]) -> None:
        for record in wanted:
            if record in self._records:
                self._records.move_to_end(record)
        self._records.update(self._log.get_many(item for item in wanted if item not in self._records))

    def _policy(self, verdict: Verdict) -> Policy:
        digest = verdict.policy.digest
        if digest not in self._policies:
            self._policies[digest] = policy_of(self.office.blobs, verdict.policy)
        return self._policies[digest]

    def _evidence(self, verdict: Verdict) -> Evidence:
        """Return what a verdict names as its evidence, and nothing that was logged since."""
        items = [self._records[record] for record in verdict.evidence]
        plan = cast("Plan", self._records[verdict.plan].record)
        own = {verdict.adapter.weights_id}
        rows = [self._rows(item) for item in items if isinstance(item.record, Measurement)]
        submission = next((item for item in items if isinstance(item.record, Submission)), None)
        evidence = Evidence(
            adapter=verdict.adapter,
            base=verdict.base,
            policy=verdict.policy,
            plan=verdict.plan,
            plans=tuple(
                self._questions.recorded(record, cast("Plan", self._records[record].record))
                for record in verdict.plans_on_weights
            ),
            runs=tuple(run for run in rows if run.measurement.subject in own),
            base_runs=tuple(run for run in rows if run.measurement.subject == verdict.base.id),
            intake=_last(items, Intake, RecordedIntake),
            training=tuple(_trainings(items)),
            listed=(),
            base_record=_last(items, Base, RecordedBase),
            base_status=_last(items, BaseStatus, RecordedStatus),
            card=None if submission is None else self._card(submission),
            overlaps=tuple(
                RecordedOverlap(item.id, item.record) for item in items if isinstance(item.record, Overlap)
            ),
            references=plan.references or (),
            reference_runs=tuple(
                run for run in rows if run.measurement.subject not in {*own, verdict.base.id}
            ),
        )
        return replace(evidence, listed=tuple(evidence.records()))

    def _rows(self, item: Verified[Any]) -> Rows:
        if item.id in self._runs:
            self._runs.move_to_end(item.id)
            return self._runs[item.id]
        rows = load_values_of(item, self.office.blobs)
        # An adapter's own runs serve its own verdicts only; the others' serve many.
        self._runs[item.id] = rows
        while len(self._runs) > _RUNS_HELD:
            self._runs.popitem(last=False)
        return rows

    def _card(self, submission: Verified[Any]) -> Any:
        entry = next((item for item in submission.record.files if item.path == CARD), None)
        return None if entry is None else read_card(submission.id, self.office.blobs.read(entry.sha256))


def _trainings(items: list[Verified[Any]]) -> list[TrainingStatement]:
    return [statement_of(item) for item in items if isinstance(item.record, Training)]


def _last(items: list[Verified[Any]], model: type, wrap: Any) -> Any:
    found = [item for item in items if isinstance(item.record, model)]
    return wrap(found[-1].id, found[-1].record) if found else None


def release_facts(reader: LedgerReader, release: Verified[Release]) -> ReleaseFacts:
    """Return what people signed for a release, and which part each of them had in the adapter by then."""
    record, weights = release.record, release.record.adapter.weights_id
    had_part = {
        "submitter": reader.find(Kind.SUBMISSION, Submission, subject=weights),
        "trainer": trainings_of(reader, weights),
    }

    def signed(decision: Verified[Any], at: datetime) -> Signed:
        parts = (
            part
            for part, items in had_part.items()
            if any(
                item.index < release.index
                and (item.person == decision.person or item.key_id == decision.key_id)
                for item in items
            )
        )
        return Signed(decision.person, tuple(parts), (record.released_at - at).total_seconds())

    named = reader.get_many((*record.reviews, *record.waivers))
    waivers: dict[str, tuple[Signed, ...]] = {}
    for one in (named[item] for item in record.waivers):
        waiver = cast("Waiver", one.record)
        waivers[waiver.gate] = (*waivers.get(waiver.gate, ()), signed(one, waiver.waived_at))
    approvals = (named[item] for item in record.reviews)
    return ReleaseFacts(
        record.channel,
        tuple(signed(one, cast("Review", one.record).reviewed_at) for one in approvals),
        waivers,
    )


@dataclass
class _Kept:
    """What is kept in the office's work folder."""

    office: Office
    facts: dict[Digest, Any] = field(default_factory=dict)
    releases: dict[Digest, tuple[str, list[Any]]] = field(default_factory=dict)
    _about: dict[Digest, Any] | None = field(default_factory=dict)
    _shared: dict[str, Any] = field(default_factory=dict)
    _saved_at: float = 0.0

    @classmethod
    def load(cls, office: Office) -> _Kept:
        """Return what is kept; nothing if it is of another form or cannot be read."""
        held = _load(office, _FACTS)
        if held is None:
            return cls(office)
        # The other part is read when something asks for it.
        return cls(office, dict(held["facts"]), dict(held["releases"]), None)

    def add(self, record: Digest, facts: Facts, verdict: Verdict, evidence: Evidence) -> None:
        """Keep what was read of a verdict."""
        about, shared = self._everything()
        self.facts[record] = facts.to_json()
        about[record] = kept_about(verdict, evidence, shared)

    def about_of(self, record: Digest) -> About | None:
        """Return what gates without a suite look at; None where it is lost."""
        about, shared = self._everything()
        return about_from(about[record], shared) if record in about else None

    def released(self) -> Mapping[Digest, tuple[ReleaseFacts, ...]]:
        """Return which releases rest on each verdict, with who signed for them."""
        ids = self.office.store.record_ids(spec_of(Kind.RELEASE).predicate_type)
        if any(record not in self.releases for record in ids):
            reader = self.office.reader()
            for item in reader.find(Kind.RELEASE, Release):
                if item.id not in self.releases:
                    self.releases[item.id] = (item.record.verdict, release_facts(reader, item).to_json())
            self._save_facts()
        found: dict[Digest, tuple[ReleaseFacts, ...]] = {}
        for record in ids:
            verdict, kept = self.releases[record]
            found[Digest(verdict)] = (*found.get(Digest(verdict), ()), ReleaseFacts.from_json(kept))
        return found

    @contextmanager
    def being_filled(self) -> Iterator[None]:
        """Keep what is added every now and then, and at the end, however that comes."""
        self._saved_at = time.monotonic()
        try:
            yield
        finally:
            self.save()

    def save_now_and_then(self) -> None:
        """Keep what was added, if that was not done lately."""
        if time.monotonic() - self._saved_at > _KEEP_EVERY_S:
            self.save()
            self._saved_at = time.monotonic()

    def save(self) -> None:
        """Keep everything. What is asked of a verdict only later is written first, so that it is there for each."""
        about, shared = self._everything()
        _save(self.office, _ABOUT, {"about": about, "shared": shared})
        self._save_facts()

    def _save_facts(self) -> None:
        _save(self.office, _FACTS, {"facts": self.facts, "releases": self.releases})

    def _everything(self) -> tuple[dict[Digest, Any], dict[str, Any]]:
        if self._about is None:
            held = _load(self.office, _ABOUT) or {"about": {}, "shared": {}}
            self._about, self._shared = dict(held["about"]), dict(held["shared"])
        return self._about, self._shared


def _load(office: Office, name: str) -> dict[str, Any] | None:
    try:
        held = json.loads((office.folder("work") / name).read_bytes())
        return held if held["form"] == _FORM else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _save(office: Office, name: str, held: Mapping[str, Any]) -> None:
    path = office.folder("work") / name
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps({"form": _FORM, **held}, separators=(",", ":")))
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"what was read of past verdicts cannot be kept: {error.strerror}",
            hint="free some space, or check the permissions of the office's work folder",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
