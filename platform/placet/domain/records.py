"""The values that travel between stages and end in signed records.

Each model is frozen and forbids unknown fields. :meth:`Record.to_json` gives what is signed: camelCase names
(as in in-toto predicates), measured numbers as decimal strings, times in UTC. Reading it back gives an equal
value, so a record can be checked against what produced it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from placet.domain.digests import Digest, decimal_string, digest_json, parse_digest
from placet.domain.errors import Error, IntegrityError


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a measured number is a decimal string")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a measured number must be finite")
    # Rounded on the way in, so that a value and what is read back from its record are equal.
    return float(decimal_string(number))


def _utc_seconds(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs its zone")
    return value.astimezone(UTC).replace(microsecond=0)


def _same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are spelled alike: 1 and true, and 1 and 1.0, are equal, but are not."""
    return bool(one == other) and _same_types(one, other)


def _same_types(one: Any, other: Any) -> bool:
    """Tell whether two equal values are of the same types all the way down."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is dict:
        # Text equals only text: most of a record need not be looked at.
        return all(_same_types(item, other[name]) for name, item in one.items() if type(item) is not str)
    if kind is list:
        kinds = set(map(type, one))
        if kinds.isdisjoint((dict, list)) and len(kinds) <= 1:
            return set(map(type, other)) == kinds
        return all(map(_same_types, one, other))
    return True


def _digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except Error as error:
        raise ValueError(str(error)) from error


def _inside(path: str) -> str:
    if "\0" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise ValueError("a path names a file below its root, without '.', '..' and empty parts")
    return path


Measured = Annotated[
    float,
    BeforeValidator(_finite),
    PlainSerializer(decimal_string, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]{1,6})?$"}, mode="serialization"
    ),
]
"""A measured number: a float in memory, a decimal string with at most 6 places on record."""

Sha256 = Annotated[
    Digest,
    AfterValidator(_digest),
    WithJsonSchema({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
]
"""A digest, checked for its form."""

Moment = Annotated[
    datetime,
    AfterValidator(_utc_seconds),
    PlainSerializer(lambda v: v.astimezone(UTC).isoformat(timespec="seconds")[:-6] + "Z", return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"},
        mode="serialization",
    ),
]
"""A point in time, UTC, whole seconds."""


class Record(BaseModel):
    """Base of everything that is recorded."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
        defer_build=True,  # each model is made ready when it is first used: most commands use a few
    )

    def to_json(self) -> dict[str, Any]:
        """Return the recorded form: JSON types only, no floats, absent optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Return the record that `value` is the recorded form of.

        Raises:
            IntegrityError: `value` does not have this record's form, or is another spelling of it.
        """
        hint = "it was written by another version, or tampered with; run `placet audit`"
        try:
            record = cls.model_validate(value)
        except ValidationError as error:
            raise IntegrityError(
                f"a {cls.__name__} record is malformed: {error.errors()[0]['msg']} at "
                f"{'.'.join(str(part) for part in error.errors()[0]['loc'])}",
                hint=hint,
            ) from error
        if not _same(value, record.to_json()):
            # Numbers as text, other time zones, other names of a field: what others could read differently.
            raise IntegrityError(f"a {cls.__name__} record is not in its one recorded form", hint=hint)
        return record


# --- files and subjects ---------------------------------------------------------------------------------


class FileEntry(Record):
    """One file of an artifact: path relative to its root with forward slashes, size in bytes, SHA-256."""

    path: Annotated[str, AfterValidator(_inside)]
    size: int = Field(ge=0)
    sha256: Sha256


def files_digest(files: tuple[FileEntry, ...]) -> Digest:
    """Return the id of a set of files: SHA-256 over canonical JSON of the list sorted by path."""
    return digest_json([entry.to_json() for entry in sorted(files, key=lambda entry: entry.path)])


class SourceRef(Record):
    """Where bytes came from, pinned: `kind` is folder, hub, package or file; `revision` what it resolved to."""

    kind: str
    location: str
    revision: str | None = None
    sha256: Sha256 | None = None


class BaseRef(Record):
    """A base model: `id` names its content, `label` is for people."""

    id: Sha256
    label: str


class AdapterRef(Record):
    """An adapter: `id` names all its files, `weights_id` its tensors and configuration alone."""

    id: Sha256
    weights_id: Sha256
    label: str


class Base(Record):
    """A registered base model."""

    ref: BaseRef
    source: SourceRef
    files: tuple[FileEntry, ...]
    architecture: str
    parameters: int
    license: str | None = None
    canonical: str | None = Field(default=None, description="what the id is made of, see docs")


class Advisory(Record):
    """A known problem of a base that is not mended: `id` as its publisher or the office names it."""

    id: str = Field(min_length=1)
    summary: str = Field(min_length=1)


class BaseStatus(Record):
    """What is known of a base's support. The newest statement about a base holds, and replaces the ones before."""

    base: BaseRef
    end_of_life: bool = Field(description="its maker, or the office, no longer stands by it")
    supported_until: Moment | None = Field(default=None, description="when support ends, if that is known")
    advisories: tuple[Advisory, ...] = Field(default=(), description="the open ones, all of them")
    note: str = ""
    stated_by: str
    stated_at: Moment


class Submission(Record):
    """An adapter handed in for release on a base."""

    adapter: AdapterRef
    base: BaseRef
    source: SourceRef
    files: tuple[FileEntry, ...]
    submitter: str
    submitted_at: Moment
    training: tuple[Sha256, ...] = Field(default=(), description="record ids of training provenance")
    note: str = ""


# --- findings -------------------------------------------------------------------------------------------


class Severity(StrEnum):
    """What a finding does: `refuse` ends the adapter's way here."""

    REFUSE = "refuse"
    WARN = "warn"
    NOTE = "note"


class Finding(Record):
    """Something a check found: what, where, and how to mend it."""

    id: str
    severity: Severity
    message: str
    fix: str
    where: str = ""


class CheckStatus(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    ERRORED = "errored"


class CheckResult(Record):
    """One check's end: findings when it failed, a reason when it was skipped or could not run."""

    check: str
    version: str
    status: CheckStatus
    reason: str = ""
    findings: tuple[Finding, ...] = ()


class Intake(Record):
    """What intake saw in an adapter's bytes. `adapter` is absent when no subject could be made of them."""

    source: SourceRef
    files: tuple[FileEntry, ...]
    files_id: Sha256
    base: BaseRef
    checks: tuple[CheckResult, ...]
    adapter: AdapterRef | None = None
    examined_at: Moment

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of all checks, in the checks' order."""
        return tuple(finding for check in self.checks for finding in check.findings)

    @property
    def refused(self) -> bool:
        """True when a finding refuses the adapter, or a check did not run to its end or failed unsaid why."""
        unfinished = any(
            check.status in {CheckStatus.ERRORED, CheckStatus.SKIPPED}
            or (check.status is CheckStatus.FAILED and not check.findings)
            for check in self.checks
        )
        return (
            self.adapter is None
            or unfinished
            or not self.checks
            or any(finding.severity is Severity.REFUSE for finding in self.findings)
        )


# --- plan and measurement -------------------------------------------------------------------------------


class Stage(StrEnum):
    """The two measuring stages."""

    EVALUATION = "evaluation"
    SAFETY = "safety"


class SuiteRef(Record):
    """A suite by content: its digest covers task, data and scorer."""

    id: str
    version: str
    digest: Sha256


class PolicyRef(Record):
    """A policy document by content."""

    id: str
    version: str
    digest: Sha256


class EngineInfo(Record):
    """What computed the answers; part of every answer's identity."""

    name: str
    version: str
    dtype: str
    device: str
    layout: str
    libraries: dict[str, str] = Field(default_factory=dict)


class Sequential(Record):
    """How a run may stop early: looked at after every `chunk` documents of the plan's order."""

    claim: str = Field(
        pattern="^(benchmark|population)$",
        description="what a decision is about: these documents, or all like them",
    )
    chunk: int = Field(ge=1)


class PlannedReference(Record):
    """Another adapter that gates compare with: what a channel runs, or one the policy names."""

    name: str = Field(description="as the policy writes it: channel:NAME or adapter:NAME")
    adapter: AdapterRef
    record: Sha256 = Field(description="record id of the release, or of the submission")


class PlannedSuite(Record):
    """A suite in a plan: the documents to run, in this order."""

    suite: SuiteRef
    stage: Stage
    documents: int = Field(ge=1, description="how many documents the suite has")
    samples: tuple[int, ...] = Field(description="document numbers, in the order they run")
    groups: dict[str, dict[str, tuple[int, ...]]] | None = Field(
        default=None, description="column → its value → the planned documents that have it, where a gate asks"
    )
    expected_documents: int | None = Field(
        default=None, description="how many documents are expected to be run, where the run may stop early"
    )
    expected_s: Measured | None = Field(
        default=None,
        description="seconds that running it on one subject is expected to take; absent: never run",
    )
    cluster: str | None = Field(
        default=None, description="the column of `groups` whose values make documents that belong together"
    )
    sequential: Sequential | None = Field(
        default=None, description="how the run may stop before its last document; absent: it may not"
    )
    value_range: tuple[Measured, Measured] | None = Field(
        default=None,
        description="the least and the greatest value that the suite says its metric can have; absent: it does not say",
    )
    largest_groups: dict[str, Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        description="column of `groups` → most documents that one of its values can have, known before the draw: as "
        "the suite says, else the most of all its documents",
    )
    companions: Sha256 | None = Field(
        default=None,
        description="record id of a run of the base on every document of the suite, whose values steady a sequential "
        "comparison with it; absent: none",
    )


class LedgerHead(Record):
    """A state of the ledger: number of records and Merkle root (64 hex digits)."""

    size: int = Field(ge=0)
    root: str = Field(pattern="^[0-9a-f]{64}$")


class Plan(Record):
    """What will be measured, registered before the first sample runs."""

    adapter: AdapterRef
    base: BaseRef
    policy: PolicyRef
    suites: tuple[PlannedSuite, ...]
    engine: EngineInfo
    head: LedgerHead = Field(description="the ledger state that the sample order was drawn from")
    draw: Annotated[str, Field(pattern="^[A-Za-z0-9+/]+={0,2}$", max_length=200)] | None = Field(
        default=None,
        description="signature over `head` by the key that signs the plan, in base64, from which the sample order was "
        "drawn, too; absent in older plans, whose order comes of `head` alone",
    )
    planned_at: Moment
    references: tuple[PlannedReference, ...] | None = Field(
        default=None, description="other adapters to compare with, as they stood; absent: none"
    )
    known_results: tuple[Sha256, ...] | None = Field(
        default=None,
        description="record ids of runs of these suites on these weights that were on record already; absent: none",
    )


class Measurement(Record):
    """One suite run on one subject (an adapter's weights on a base, or the base itself)."""

    subject: Sha256 = Field(description="weights id of the adapter, or id of the base")
    subject_kind: str = Field(pattern="^(adapter|base)$")
    base: BaseRef
    stage: Stage
    suite: SuiteRef
    metric: str
    higher_is_better: bool
    n: int
    mean: Measured
    samples: tuple[int, ...]
    rows_digest: Sha256 = Field(description="digest of the per-sample rows in canonical form")
    blob: Sha256 = Field(description="digest of the Parquet file that holds them")
    engine: EngineInfo
    plan: Sha256 = Field(description="record id of the plan this ran under")
    self_check: dict[str, str] = Field(default_factory=dict, description="engine self-check figures")
    reused: tuple[Sha256, ...] | None = Field(
        default=None,
        description="record ids of earlier measurements whose answers were taken over; absent: none",
    )
    started_at: Moment
    finished_at: Moment


class Overlap(Record):
    """How much of a suite's documents stands word for word in the data that an adapter was trained on."""

    subject: Sha256 = Field(description="weights id of the adapter")
    suite: SuiteRef
    datasets: tuple[Sha256, ...] = Field(description="the training data compared, by digest, sorted")
    ngram: int = Field(ge=1, description="words in a row that make a match")
    documents: int = Field(ge=1, description="how many documents of the suite were compared: all")
    found: dict[str, Measured] = Field(
        description="document number → share of its words in a match, where there is one"
    )
    measured_at: Moment


# --- verdict --------------------------------------------------------------------------------------------


class Outcome(StrEnum):
    """How a gate ended."""

    PASS = "PASS"  # noqa: S105 - an outcome, not a password
    FAIL = "FAIL"
    MISSING = "MISSING"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class Decision(StrEnum):
    """What a verdict says."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    NEEDS_REVIEW = "NEEDS_REVIEW"


class Interval(Record):
    """A confidence interval: `level` is its coverage (0.90 two-sided gives one-sided 95% bounds)."""

    low: Measured
    high: Measured
    level: Measured
    method: str


class PathPoint(Record):
    """A point of a sequential test: after `n` documents, log10 of the evidence for PASS and for FAIL."""

    n: int = Field(ge=0)
    to_pass: Measured
    to_fail: Measured


class GateResult(Record):
    """One gate's outcome with everything a reader needs to check it."""

    gate: str
    kind: str
    outcome: Outcome
    required: bool = True
    figure: Measured | None = None
    baseline: Measured | None = Field(
        default=None, description="the figure of what is compared with: the base, or another adapter"
    )
    compared_with: str | None = Field(
        default=None, description="what is compared with, where it is not the base"
    )
    interval: Interval | None = None
    threshold: Measured | None = None
    comparison: str = Field(default="", description="the condition that passes, in words with figures")
    n: int = 0
    reason: str
    fix: str = ""
    why: str = Field(default="", description="why the policy has this gate")
    waivable: bool = False
    waivers_needed: int = Field(default=2, ge=1)
    evidence: tuple[Sha256, ...] = Field(default=(), description="record ids the outcome rests on")
    path: tuple[PathPoint, ...] | None = Field(
        default=None, description="how the evidence grew, document by document, thinned; for a picture"
    )


class Verdict(Record):
    """A policy's answer about exactly these bytes on exactly this base."""

    adapter: AdapterRef
    base: BaseRef
    policy: PolicyRef
    plan: Sha256
    decision: Decision
    gates: tuple[GateResult, ...]
    evidence: tuple[Sha256, ...] = Field(description="record ids of everything it rests on, sorted")
    plans_on_weights: tuple[Sha256, ...] = Field(description="all plans logged on the same weights id")
    review: ReviewRule
    head: LedgerHead
    decided_at: Moment


class ReviewRule(Record):
    """How many people must approve, who may not, and how long their approval lasts."""

    approvals: int = Field(ge=1)
    separate_from: tuple[Annotated[str, Field(pattern="^(trainer|submitter)$")], ...] = (
        "trainer",
        "submitter",
    )
    valid_days: int = Field(ge=1)
    waivers_needed: int = Field(default=2, ge=1)
    lapses_on: (
        tuple[Annotated[str, Field(pattern="^(new_evidence|base_status|approver_left)$")], ...] | None
    ) = Field(default=None, description="what ends an approval before its days are over; absent: nothing")


# --- people's decisions ---------------------------------------------------------------------------------


class ReviewDecision(StrEnum):
    """What a reviewer decided."""

    APPROVE = "approve"
    REJECT = "reject"


class Review(Record):
    """A person's decision about a verdict, naming all that the person saw."""

    adapter: AdapterRef
    base: BaseRef
    policy: PolicyRef
    verdict: Sha256
    evidence: tuple[Sha256, ...]
    head: LedgerHead
    decision: ReviewDecision
    comment: str
    reviewer: str
    reviewed_at: Moment
    expires_at: Moment


class Waiver(Record):
    """A person's consent to let one inconclusive gate of one verdict be approved all the same."""

    adapter: AdapterRef
    policy: PolicyRef
    verdict: Sha256
    gate: str
    reason: str
    reviewer: str
    waived_at: Moment
    expires_at: Moment


class Release(Record):
    """An approved adapter put on a channel."""

    adapter: AdapterRef
    base: BaseRef
    policy: PolicyRef
    verdict: Sha256
    reviews: tuple[Sha256, ...]
    waivers: tuple[Sha256, ...] = ()
    files: tuple[FileEntry, ...]
    files_key: str | None = Field(
        default=None, description="public key (P-256, PEM) that signs the files in the OpenSSF format"
    )
    channel: str
    released_at: Moment


class Revocation(Record):
    """An adapter, or everything built on a base or a record, taken back."""

    target: Sha256 = Field(description="adapter id, base id or record id")
    target_kind: str = Field(pattern="^(adapter|base|record)$")
    reason: str
    revoked_by: str
    revoked_at: Moment


class FeedPart(Record):
    """How many items a part of a revocation feed has, and which."""

    count: int = Field(ge=0)
    digest: Sha256 = Field(description="digest of the list of their hashes, in order, as canonical JSON")

    @classmethod
    def of(cls, hashes: Sequence[str]) -> Self:
        """Return the part that holds the items of these hashes, in this order."""
        return cls(count=len(hashes), digest=digest_json(list(hashes)))


class FeedStatement(Record):
    """Everything in the log before this record that a feed holds, so that nothing can be left out of it unseen.

    Records are named by their leaf hashes in the log (hex), versions of the root by the digests of their files.
    """

    office: str
    head: LedgerHead = Field(description="the ledger state that its signer saw")
    roles: FeedPart = Field(description="the roles statements logged before it")
    roots: FeedPart = Field(description="the versions of the trust root, from the first on")
    revocations: FeedPart = Field(description="the revocations logged before it")
    releases: FeedPart = Field(description="the releases logged before it")
    issued_at: Moment
