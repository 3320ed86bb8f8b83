"""Past verdicts and the evidence each rests on, for trying another policy on them.

What is read of a verdict once is kept as facts in the office's work folder, by record id: a later call reads only
what was added. The folder can be deleted at any time, and `--fresh` reads everything anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from placet.attest.predicates import Kind, Training, spec_of
from placet.attest.strict_json import parse_json
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.errors import Error, IntegrityError, StorageError
from placet.domain.progress import Progress, tracked
from placet.domain.records import (
    Base,
    BaseStatus,
    Intake,
    Measurement,
    Overlap,
    Plan,
    Release,
    Submission,
    Verdict,
)
from placet.office import Office
from placet.pipeline.evidence import CARD, load_rows_of, statement_of
from placet.policy.evidence import (
    Evidence,
    RecordedBase,
    RecordedIntake,
    RecordedOverlap,
    RecordedPlan,
    RecordedStatus,
    Rows,
    TrainingStatement,
)
from placet.policy.facts import Facts, facts_of
from placet.policy.modelcard import read_card
from placet.policy.schema import Policy

_FILE = "facts.json"
_FORM = 1
"""Raised whenever facts are made or kept in another way, so that older ones are made anew."""


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
    kept, channels = ({}, {}) if fresh else _load(office)
    todo = [record for record in ids if record not in kept]
    left_out: list[tuple[Digest, str]] = []
    if todo:
        with tracked(progress, "reading past verdicts", len(todo), "verdicts"):
            for record in todo:
                try:
                    kept[record] = reader.facts_of(record).to_json()
                except _UnreadablePolicyError as error:
                    left_out.append((record, error.message))
                progress.advance("reading past verdicts")
    before = len(channels)
    released = _released(office, channels)
    if todo or len(channels) != before:
        _save(office, kept, channels)
    facts = tuple(
        replace(Facts.from_json(kept[record]), released=released.get(record, ()))
        for record in ids
        if record in kept
    )
    return History(facts, len(todo) - len(left_out), tuple(left_out), reader)


class _UnreadablePolicyError(Error):
    """The policy that a verdict was made under is not here, or was written for another version."""


@dataclass
class _Reader:
    """Reads the whole log once, when first something is asked of it."""

    office: Office
    _records: dict[Digest, Verified[Any]] = field(default_factory=dict)
    _policies: dict[Digest, Policy] = field(default_factory=dict)

    def facts_of(self, record: Digest) -> Facts:
        verdict, evidence = self.evidence_of(record)
        return facts_of(self._policy(verdict), verdict, record, evidence)

    def evidence_of(self, record: Digest) -> tuple[Verdict, Evidence]:
        verdict = cast("Verdict", self._record(record).record)
        return verdict, self._evidence(verdict)

    def _policy(self, verdict: Verdict) -> Policy:
        digest = verdict.policy.digest
        if digest not in self._policies:
            try:
                document = parse_json(self.office.blobs.read(digest), "a policy")
                self._policies[digest] = Policy.from_json(document)
            except Error as error:
                raise _UnreadablePolicyError(
                    f"policy {verdict.policy.id} {verdict.policy.version}: {error.message}", hint=error.hint
                ) from error
        return self._policies[digest]

    def _record(self, record: Digest) -> Verified[Any]:
        if not self._records:
            everything = self.office.reader().everything()
            self._records = {item.id: item for item in everything if isinstance(item, Verified)}
        if record not in self._records:
            raise IntegrityError(f"the log has no record {record}", hint="run `placet audit`")
        return self._records[record]

    def _evidence(self, verdict: Verdict) -> Evidence:
        """Return what a verdict names as its evidence, and nothing that was logged since."""
        items = [self._record(record) for record in verdict.evidence]
        plan = cast("Plan", self._record(verdict.plan).record)
        own = {verdict.adapter.weights_id}
        rows = [self._rows(item) for item in items if isinstance(item.record, Measurement)]
        submission = next((item for item in items if isinstance(item.record, Submission)), None)
        evidence = Evidence(
            adapter=verdict.adapter,
            base=verdict.base,
            policy=verdict.policy,
            plan=verdict.plan,
            plans=tuple(
                RecordedPlan(record, cast("Plan", self._record(record).record))
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
        return load_rows_of(item, self.office.blobs)

    def _card(self, submission: Verified[Any]) -> Any:
        entry = next((item for item in submission.record.files if item.path == CARD), None)
        return None if entry is None else read_card(submission.id, self.office.blobs.read(entry.sha256))


def _trainings(items: list[Verified[Any]]) -> list[TrainingStatement]:
    return [statement_of(item) for item in items if isinstance(item.record, Training)]


def _last(items: list[Verified[Any]], model: type, wrap: Any) -> Any:
    found = [item for item in items if isinstance(item.record, model)]
    return wrap(found[-1].id, found[-1].record) if found else None


def _released(office: Office, known: dict[Digest, list[str]]) -> Mapping[Digest, tuple[str, ...]]:
    """Return which channels each verdict was released to; add to `known`: release → verdict, channel."""
    ids = office.store.record_ids(spec_of(Kind.RELEASE).predicate_type)
    if any(record not in known for record in ids):
        for item in office.reader().find(Kind.RELEASE, Release):
            known[item.id] = [item.record.verdict, item.record.channel]
    found: dict[Digest, tuple[str, ...]] = {}
    for record in ids:
        verdict, channel = known[record]
        found[Digest(verdict)] = tuple(dict.fromkeys((*found.get(Digest(verdict), ()), channel)))
    return found


def _load(office: Office) -> tuple[dict[Digest, Any], dict[Digest, list[str]]]:
    """Return the kept facts and releases by record id; nothing if they are of another form or cannot be read."""
    try:
        held = json.loads((office.folder("work") / _FILE).read_bytes())
        if held["form"] == _FORM:
            return dict(held["facts"]), dict(held["releases"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return {}, {}


def _save(office: Office, kept: Mapping[Digest, Any], releases: Mapping[Digest, list[str]]) -> None:
    held = {"form": _FORM, "facts": kept, "releases": releases}
    path = office.folder("work") / _FILE
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(held, separators=(",", ":")))
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"what was read of past verdicts cannot be kept: {error.strerror}",
            hint="free some space, or check the permissions of the office's work folder",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
