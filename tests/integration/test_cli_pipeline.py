"""From a folder of weights to a verdict by the command line alone, with a real (tiny, random) model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from tests.support.suites import write_suite
from tests.support.tiny_models import save_adapter, save_model

pytestmark = pytest.mark.slow

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
  - {id: knows-colours, kind: floor, suite: colours, threshold: FLOOR, why: It must know colours.}
"""


@dataclass
class Shell:
    """A folder to work in, and its `placet`."""

    folder: Path

    def placet(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "placet", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={
                **os.environ,
                "PLACET_PASSPHRASE": "correct horse battery",
                "PLACET_CACHE": str(self.folder / "cache"),
            },
        )
        assert done.returncode == code, done.stderr
        assert "nanobind" not in done.stderr  # what DuckDB's binding says of objects that are left at the end
        return done


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    folder = tmp_path_factory.mktemp("work")
    save_model("llama", folder / "base")
    save_adapter(folder / "base", folder / "adapter", seed=1, task_type="CAUSAL_LM")
    config = folder / "adapter" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "base"}))
    write_suite(folder / "evals" / "colours")
    (folder / "low.yaml").write_text(POLICY.replace("FLOOR", "0.0001"))
    (folder / "high.yaml").write_text(POLICY.replace("FLOOR", "0.9999"))
    shell = Shell(folder)
    shell.placet("init", "--name", "Test office")
    shell.placet("trust", "add", "sam", "--new", "--person", "Sam", "--role", "submitter")
    return shell


def test_the_way_from_base_to_verdict(shell: Shell) -> None:
    base = json.loads(
        shell.placet("base", "add", "./base", "--label", "tiny", "--license", "MIT", "--json").stdout
    )
    submitted = json.loads(
        shell.placet("submit", "./adapter", "--base", "tiny", "--key", "sam", "--json").stdout
    )
    again = json.loads(shell.placet("submit", "./adapter", "--base", "tiny", "--key", "sam", "--json").stdout)
    gate = ("gate", "adapter", "--suites", "evals", "--json", "--junit", "gate.xml")
    allowed = shell.placet(*gate, "--policy", "low.yaml")
    denied = shell.placet(*gate, "--policy", "high.yaml", code=1)

    assert base["record"]["license"] == "MIT"
    assert "tiny" in shell.placet("base", "list").stdout
    assert (submitted["submitted"], submitted["seenBefore"], again["seenBefore"]) == (True, False, True)
    assert json.loads(allowed.stdout)[0]["record"]["decision"] == "ALLOW"
    assert json.loads(denied.stdout)[0]["record"]["decision"] == "DENY"
    assert [case.get("name") for case in parse(shell.folder / "gate.xml").iter("testcase")] == [
        "intake", "knows-colours",
    ]  # fmt: skip
    assert len(list(parse(shell.folder / "gate.xml").iter("failure"))) == 1
    told = shell.placet("report", "adapter").stdout
    assert "DENY" in told
    assert "knows-colours" in told


def test_a_broken_submission_is_refused_with_its_finding_and_exit_code_1(shell: Shell) -> None:
    broken = shell.folder / "broken"
    broken.mkdir()
    for file in (shell.folder / "adapter").iterdir():
        data = file.read_bytes()
        (broken / file.name).write_bytes(data[: len(data) // 2] if file.suffix == ".safetensors" else data)

    shell.placet("base", "add", "./base", "--label", "tiny")
    done = shell.placet("submit", "./broken", "--base", "tiny", "--key", "sam", "--json", code=1)
    told = shell.placet("submit", "./broken", "--base", "tiny", "--key", "sam", code=1)

    findings = [
        item for check in json.loads(done.stdout)["intake"]["record"]["checks"] for item in check["findings"]
    ]
    assert findings
    assert "refused at intake" in told.stdout
    assert findings[0]["id"] in told.stdout
    assert "to mend it" in told.stdout


def test_a_gate_that_cannot_be_measured_is_undecided_and_says_so_in_junit(shell: Shell) -> None:
    write_suite(
        shell.folder / "broken-evals" / "colours",
        data_py="def rows(source, **_):\n    raise ValueError('x')\n",
    )
    shell.placet("base", "add", "./base", "--label", "tiny")
    shell.placet("submit", "./adapter", "--base", "tiny", "--key", "sam")

    line = ("gate", "adapter", "--suites", "broken-evals", "--policy", "low.yaml", "--junit", "broken.xml")
    done = shell.placet(*line, code=2)

    assert "raised ValueError" in done.stderr
    assert len(list(parse(shell.folder / "broken.xml").iter("error"))) == 1
