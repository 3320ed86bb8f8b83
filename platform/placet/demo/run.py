"""The main job from nothing: train, submit, gate, approve, release, verify; and what must be refused is.

Every step looks at what is there first, so a demo stopped at any point goes on from there: training from its last
checkpoint, measuring from its last answer, records from the ledger. What is expected is compared with what the
ledger says at the end, not with what the steps returned.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from placet.attest.keys import Signer
from placet.attest.predicates import Kind, Role
from placet.attest.statement import Subject
from placet.attest.trust import Verified
from placet.demo.broken import make_broken
from placet.demo.plan import DemoAdapter, DemoPlan
from placet.demo.recipes import examples_of
from placet.domain.digests import Digest, short
from placet.domain.errors import Error, IntegrityError, UsageError
from placet.domain.progress import Progress
from placet.domain.records import (
    Base,
    Decision,
    Intake,
    Outcome,
    Release,
    Review,
    ReviewDecision,
    Submission,
    Verdict,
)
from placet.intake import weights_id_of
from placet.ledger.reader import LedgerReader
from placet.office import Office, TrustDesk, create_office
from placet.pipeline.bases import add_base, base_folder
from placet.pipeline.gate import gate
from placet.pipeline.submission import submit
from placet.release.desk import release
from placet.review.desk import review
from placet.sources import FolderSource, parse_source
from placet.training.checkpoint import write_atomically
from placet.training.recipe import LoraRecipe, examples_digest

OFFICE_NAME = "Placet demo"
CHANNEL = "staging"
PASSPHRASE = "demo passphrase, never use it"  # noqa: S105 - the demo's keys guard nothing
PEOPLE: tuple[tuple[str, str, tuple[Role, ...]], ...] = (
    ("tara", "Tara (trainer)", (Role.TRAINER,)),
    ("sam", "Sam (submitter)", (Role.SUBMITTER,)),
    ("ada", "Ada (approver)", (Role.APPROVER,)),
    ("ben", "Ben (approver)", (Role.APPROVER,)),
    ("rhea", "Rhea (releaser)", (Role.RELEASER,)),
)


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One submission: what was expected of it, and what the ledger says."""

    name: str
    expected: str
    found: str
    detail: str

    @property
    def as_expected(self) -> bool:
        """True when the ledger says what was expected."""
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo showed. `steps` are the things done after the verdicts, each with whether it held."""

    home: Path
    rows: tuple[DemoRow, ...]
    steps: tuple[tuple[str, bool, str], ...]
    bundle: Path
    pin: Digest
    seconds_to_first_verdict: float
    seconds: float

    @property
    def as_expected(self) -> bool:
        """True when every row and every step is as expected."""
        return all(row.as_expected for row in self.rows) and all(held for _, held, _ in self.steps)


def run_demo(home: Path, progress: Progress, plan: DemoPlan) -> DemoResult:
    """Run, or take up, the demo in an office at `home`.

    Raises:
        UsageError: `home` is an office that the demo did not make.
        Error: Whatever stops a step; the demo goes on from there when run again.
    """
    began = time.monotonic()
    os.environ.setdefault("PLACET_PASSPHRASE", PASSPHRASE)
    office = _office(home)
    base = add_base(
        office, parse_source(plan.base_source), plan.base_label, progress, license=plan.base_license
    )
    first, *others = plan.adapters
    folder = _trained(office, base, first, plan, progress)
    good = _submitted(office, base, first, folder, progress)
    gate(office, [good], plan.policy, progress, suites_dir=plan.suites)
    to_first = time.monotonic() - began
    broken = _refuse_broken(office, base, folder, progress)
    rest = [
        _submitted(office, base, adapter, _trained(office, base, adapter, plan, progress), progress)
        for adapter in others
    ]
    gate(office, rest, plan.policy, progress, suites_dir=plan.suites)
    bundle, steps = _release(office, good, progress)
    rows = (*_adapter_rows(office, plan.adapters), *_broken_rows(office, broken))
    report = office.audit()
    steps.append(("audit", report.whole, f"{report.records} records, {len(report.findings)} findings"))
    return DemoResult(home, rows, tuple(steps), bundle, office.root.pin, to_first, time.monotonic() - began)


# --- office, training, submission -----------------------------------------------------------------------


def _office(home: Path) -> Office:
    if (home / "office.json").exists():
        office = Office.open(home)
        if office.settings.name != OFFICE_NAME:
            raise UsageError(
                f"{home} is the office {office.settings.name!r}, not a demo",
                hint="give the demo a folder of its own",
            )
    else:
        office = create_office(home, OFFICE_NAME)
    granted = {info.person for info in TrustDesk(office).list_keys()}
    for name, person, roles in PEOPLE:
        if person not in granted:
            # A key file without a grant is left over from a stop between the two.
            if office.keys.holds(name):
                TrustDesk(office).grant(office.signer(name).public, person, roles)
            else:
                TrustDesk(office).new_key(name, person, roles)
    return office


def _trained(
    office: Office, base: Verified[Base], adapter: DemoAdapter, plan: DemoPlan, progress: Progress
) -> Path:
    """Return the folder of the trained adapter, training it if it is not there; its provenance lies beside it."""
    recipe = adapter.recipe
    folder = _training_folder(office, recipe)
    provenance = _provenance(folder)
    if folder.exists() and provenance.exists():
        return folder
    from placet.training.lora import train_lora
    from placet.training.provenance import sign_training, training_record

    examples = examples_of(recipe, plan.suites)
    parent_folder = None if recipe.parent is None else _training_folder(office, recipe.parent)
    started = folder.with_name(f"{folder.name}.started")
    if not started.exists():
        write_atomically(started, office.clock().isoformat().encode())
    if not folder.exists():
        train_lora(
            base_folder(office, base.record.ref.id),
            examples,
            recipe,
            folder,
            base_label=base.record.ref.label,
            parent_dir=parent_folder,
            progress=progress,
        )
    training = training_record(
        recipe,
        base=base.record.ref,
        data=examples_digest(examples),
        parent=None if parent_folder is None else _weights(parent_folder),
        started_at=datetime.fromisoformat(started.read_text()),
        finished_at=office.clock(),
    )
    envelope = sign_training(training, _weights(folder), office.signer("tara"))
    write_atomically(provenance, envelope.raw)
    return folder


def _training_folder(office: Office, recipe: LoraRecipe) -> Path:
    return office.folder("work", "training") / f"{recipe.name}-{short(recipe.digest())}"


def _provenance(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.provenance.json")


def _weights(folder: Path) -> Subject:
    """Return what the adapter in `folder` is called: its recipe's name, and its weights id."""
    return Subject(folder.name.rpartition("-")[0], weights_id_of(folder))


def _submitted(
    office: Office, base: Verified[Base], adapter: DemoAdapter, folder: Path, progress: Progress
) -> Digest:
    result = submit(
        office,
        FolderSource(folder),
        base.record.ref.label,
        office.signer("sam"),
        progress,
        label=adapter.recipe.name,
        training=[_provenance(folder).read_bytes()],
        note=adapter.about,
    )
    if result.submission is None:
        words = "; ".join(finding.message for finding in result.intake.record.findings)
        raise IntegrityError(
            f"{adapter.recipe.name} was refused at intake: {words}", hint="this is a bug; please report it"
        )
    return result.submission.record.adapter.id


def _refuse_broken(
    office: Office, base: Verified[Base], good: Path, progress: Progress
) -> dict[str, tuple[str, Digest]]:
    """Hand in every broken submission and return its expected finding and its files' id."""
    handed: dict[str, tuple[str, Digest]] = {}
    folder = office.folder("work", "broken")
    shutil.rmtree(folder, ignore_errors=True)
    for name, (finding, path) in make_broken(good, folder).items():
        result = submit(
            office, FolderSource(path), base.record.ref.label, office.signer("sam"), progress, label=name
        )
        handed[name] = (finding, result.intake.record.files_id)
    return handed


# --- approval, release, verification --------------------------------------------------------------------


def _release(office: Office, adapter: Digest, progress: Progress) -> tuple[Path, list[tuple[str, bool, str]]]:
    for name, comment in (
        (
            "ada",
            "Read the gates and twenty flipped samples; routing holds and refusals are new. Fine for staging.",
        ),
        ("ben", "Looked at the over-refusal samples and the lineage. Agreed."),
    ):
        _approve(office, adapter, office.signer(name), comment)
    _, bundle = release(office, adapter, CHANNEL, office.signer("rhea"))
    progress.note(f"released to {CHANNEL}: {bundle}")
    ok, words = _verify_offline(bundle, office.root.pin)
    tampered = office.folder("work", "tampered")
    shutil.rmtree(tampered)  # made empty by folder(); copytree wants it absent
    shutil.copytree(bundle, tampered)
    weights = tampered / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    accepted, refusal = _verify_offline(tampered, office.root.pin)
    return bundle, [
        ("approved by two people, released", True, bundle.name),
        ("verified offline, no network, no torch, no DuckDB", ok, words),
        ("one byte flipped: refused", not accepted and "not the file that was released" in refusal, refusal),
    ]


def _approve(office: Office, adapter: Digest, signer: Signer, comment: str) -> None:
    reader = office.reader()
    verdict = reader.find(Kind.VERDICT, Verdict, subject=adapter)[-1]
    mine = [
        item
        for item in reader.find(Kind.REVIEW, Review, subject=adapter)
        if item.key_id == signer.public.key_id and item.record.verdict == verdict.id
    ]
    if not mine:
        review(office, adapter, ReviewDecision.APPROVE, comment, signer, seen_verdict=verdict.id)


def _verify_offline(bundle: Path, pin: Digest) -> tuple[bool, str]:
    done = subprocess.run(
        [sys.executable, "-m", "placet.demo.offline", str(bundle), pin],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode not in {0, 1}:
        raise Error(
            f"the offline verifier broke: {done.stderr.strip()}", hint="this is a bug; please report it"
        )
    return done.returncode == 0, (done.stdout if done.returncode == 0 else done.stderr).strip()


# --- what the ledger says -------------------------------------------------------------------------------


def _adapter_rows(office: Office, adapters: Sequence[DemoAdapter]) -> tuple[DemoRow, ...]:
    reader = office.reader()
    return tuple(_adapter_row(reader, adapter) for adapter in adapters)


def _adapter_row(reader: LedgerReader, adapter: DemoAdapter) -> DemoRow:
    labelled = [
        s for s in reader.find(Kind.SUBMISSION, Submission) if s.record.adapter.label == adapter.recipe.name
    ]
    expected = "ALLOW" if adapter.fails is None else f"DENY by {adapter.fails}"
    if not labelled:
        return DemoRow(adapter.recipe.name, expected, "not submitted", "")
    verdicts = reader.find(Kind.VERDICT, Verdict, subject=labelled[-1].record.adapter.id)
    if not verdicts:
        return DemoRow(adapter.recipe.name, expected, "no verdict", "")
    verdict = verdicts[-1].record
    failed = [item for item in verdict.gates if item.outcome is not Outcome.PASS]
    found = str(verdict.decision) + (" by " + ", ".join(item.gate for item in failed) if failed else "")
    released = reader.find(Kind.RELEASE, Release, subject=verdict.adapter.id)
    detail = failed[0].reason if failed else f"{len(verdict.gates)} gates passed"
    if released and verdict.decision is Decision.ALLOW:
        detail += f"; released to {released[-1].record.channel}"
    return DemoRow(adapter.recipe.name, expected, found, detail)


def _broken_rows(office: Office, broken: dict[str, tuple[str, Digest]]) -> tuple[DemoRow, ...]:
    rows = []
    intakes = office.reader().find(Kind.INTAKE, Intake)
    for name, (finding, files_id) in broken.items():
        record = next(item.record for item in reversed(intakes) if item.record.files_id == files_id)
        ids = ", ".join(item.id for item in record.findings)
        found = f"refused: {ids}" if record.refused else "taken in"
        words = record.findings[0].message if record.findings else ""
        rows.append(DemoRow(name, f"refused: {finding}", found, words))
    return tuple(rows)
