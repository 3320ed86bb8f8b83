"""An office with a tiny random base and one suite of its own, in which every stage of the pipeline runs for real."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from placet.attest.predicates import Role
from placet.office import Office, TrustDesk, create_office
from placet.pipeline.bases import add_base
from placet.pipeline.gate import gate
from placet.pipeline.runner import ON_CPU
from placet.pipeline.submission import submit
from placet.sources import FolderSource
from tests.support.tiny_models import save_adapter, save_model

SUITE = """
id: colours
version: "1"
title: Which of these is a colour?
stage: evaluation
kind: multiple_choice
task: task.yaml
metric: acc
higher_is_better: true
range: [0, 1]
chat_template: false
data:
  generator: {file: data.py, function: rows, arguments: {count: 12}}
"""
TASK = """
task: colours
output_type: multiple_choice
doc_to_text: "Which is a colour? {{ number }}"
doc_to_target: label
doc_to_choice: choices
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
DATA = """
def rows(source, count):
    return [
        {"id": f"c{n}", "number": n, "choices": [" red", " dog"] if n % 2 else [" dog", " red"], "label": n % 2 ^ 1}
        for n in range(count)
    ]
"""
POLICY = """
id: tiny
version: "1"
title: For tests
description: For tests.
risk_tier: minimal
risk: None.
review: {approvals: 1, separate_from: [trainer, submitter], valid_days: 5, waivers_needed: 1}
underpowered: mark
suites: {colours: {samples: all}}
gates:
  - {id: intake, kind: intake, why: Nothing that runs code may get in.}
  - {id: floor, kind: floor, suite: colours, threshold: FLOOR, why: It must know colours.}
"""


@dataclass
class Heard:
    """Remembers what was started and what was noted."""

    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def start(self, step: str, total: int | None, unit: str) -> None:
        self.steps.append(step)

    def advance(self, step: str, count: int = 1) -> None:
        pass

    def finish(self, step: str) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class World:
    """An office with a base, and the folders an engineer would have."""

    office: Office
    base: str
    adapter: Path
    suites: Path
    policy: Path
    heard: Heard

    def submit(self, folder: Path | None = None, label: str = "tiny-adapter", **options: Any):
        return submit(
            self.office,
            FolderSource(folder or self.adapter),
            self.base,
            self.office.signer("sam"),
            self.heard,
            label=label,
            **options,
        )

    def gate(self, *adapters, compute=ON_CPU):
        return gate(self.office, adapters, self.policy, self.heard, suites_dir=self.suites, compute=compute)


def make_models(folder: Path) -> Path:
    """Save the base and two adapters of it, each other's equal in all but their weights."""
    save_model("llama", folder / "base")
    for name, seed in (("adapter", 1), ("other", 2)):
        save_adapter(folder / "base", folder / name, seed=seed, task_type="CAUSAL_LM")
        path = folder / name / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "base"}))
    return folder


def make_world(
    folder: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    suite: Mapping[str, str] | None = None,
    policy: str = "",
) -> World:
    """Make an office in `folder`; `suite` replaces files of the suite, `policy` the policy."""
    monkeypatch.setenv("PLACET_PASSPHRASE", "correct horse battery")
    monkeypatch.setenv("PLACET_CACHE", str(folder / "cache"))
    suites = folder / "evals"
    (suites / "colours").mkdir(parents=True)
    for name, text in {"suite.yaml": SUITE, "task.yaml": TASK, "data.py": DATA, **(suite or {})}.items():
        (suites / "colours" / name).write_text(text)
    path = folder / "tiny.yaml"
    path.write_text(policy or POLICY.replace("FLOOR", "0.0001"))
    office = create_office(folder / "office", "Test office")
    people = {"sam": Role.SUBMITTER, "ada": Role.APPROVER, "ben": Role.APPROVER, "rhea": Role.RELEASER}
    for person, role in {**people, "tara": Role.TRAINER}.items():
        TrustDesk(office).new_key(person, person.capitalize(), [role])
    heard = Heard()
    add_base(office, FolderSource(models / "base"), "base", heard, license="Apache-2.0")
    return World(office, "base", models / "adapter", suites, path, heard)
