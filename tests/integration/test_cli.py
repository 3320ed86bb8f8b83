"""The command line against real offices on disk, with real keys, and as a process of its own."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from placet.cli import app
from placet.domain.errors import UsageError
from placet.domain.records import Decision
from placet.ledger.lock import ledger_lock
from placet.policy.loader import load_policy
from placet.resources import default_policy, evals_dir, policies_dir, resource_dir
from tests.support import offices

Run = Callable[..., Any]
NEW_PASSPHRASE = "a passphrase for tests"


@dataclass(frozen=True)
class Made:
    """An office made once, to be copied: desk-good is released, desk-terse is inconclusive."""

    home: Path
    bundle: Path
    pin: str
    verdict: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = tmp_path_factory.mktemp("made") / "office"
    sample = offices.make_office(home)
    # Bundles are verified at the real time, so approvals have to be fresh.
    sample.clock.now = datetime.now(UTC) - timedelta(hours=3)
    good, _, bundle = offices.walk_to_release(sample, "desk-good")
    offices.walk_to_verdict(
        sample,
        "desk-terse",
        base=good.base,
        parent=good.ref,
        decision=Decision.NEEDS_REVIEW,
        gates=[offices.passing_gate(), offices.inconclusive_gate("general-ability", waivers_needed=1)],
    )
    offices.walk_to_verdict(
        sample, "desk-ready", base=good.base, parent=good.ref, gates=[offices.passing_gate()]
    )
    return Made(home, bundle, sample.office.root.pin, good.verdict.id)


@pytest.fixture
def office(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the office at ./office, its passphrase in the environment."""
    shutil.copytree(made.home, tmp_path / "office")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    return tmp_path / "office"


@pytest.fixture
def run() -> Run:
    runner = CliRunner()

    def invoke(*arguments: str | Path) -> Any:
        return runner.invoke(app, [str(item) for item in arguments], catch_exceptions=False)

    return invoke


def value_of(done: Any) -> Any:
    """Return the JSON on stdout, which is all of stdout."""
    return json.loads(done.stdout)


# --- making an office -------------------------------------------------------------------------------------


def test_an_office_is_made_and_its_people_get_keys(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLACET_PASSPHRASE", NEW_PASSPHRASE)

    made = run("init", "--name", "ACME models", "--json")
    key = run(
        "trust",
        "add",
        "cleo",
        "--new",
        "--person",
        "Cleo",
        "--role",
        "approver",
        "--role",
        "releaser",
        "--json",
    )
    listed = run("trust", "show", "--json")

    assert (made.exit_code, key.exit_code, listed.exit_code) == (0, 0, 0)
    assert value_of(made)["pin"] == value_of(listed)["pin"]
    assert value_of(key)["roles"] == ["approver", "releaser"]
    assert [item["name"] for item in value_of(listed)["keys"]] == ["log", "evaluator", "cleo"]
    assert value_of(run("audit", "--json"))["whole"] is True


def test_a_second_office_in_the_same_folder_is_refused(run: Run, office: Path) -> None:
    done = run("init", "--name", "Another")

    assert done.exit_code == 2
    assert "is an office already" in done.stderr


def test_where_there_is_no_office_the_message_says_how_to_make_one(run: Run, tmp_path: Path) -> None:
    done = run("audit", "--home", tmp_path / "nowhere")

    assert done.exit_code == 2
    assert "placet init" in done.stderr


def test_a_wrong_passphrase_changes_nothing(run: Run, office: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACET_PASSPHRASE", "not the passphrase")

    done = run("trust", "add", "cleo", "--new", "--person", "Cleo", "--role", "approver")

    assert done.exit_code == 2
    assert "wrong passphrase" in done.stderr
    assert not (office / "keys" / "cleo.pem").exists()


def test_without_a_passphrase_and_a_terminal_the_message_names_the_variable(
    run: Run, office: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLACET_PASSPHRASE")

    done = run("review", "desk-ready", "--approve", "--key", "ada", "--comment", "x")

    assert done.exit_code == 2
    assert "PLACET_PASSPHRASE_ADA" in done.stderr


def test_a_key_that_is_not_here_is_named(run: Run, office: Path) -> None:
    done = run("release", "desk-good", "--channel", "staging", "--key", "nobody")

    assert done.exit_code == 2
    assert "nobody.pem" in done.stderr


@pytest.mark.parametrize("name", ["nobody", "sha256:0123456789ab"])
def test_a_key_that_is_not_known_cannot_be_ended(run: Run, office: Path, name: str) -> None:
    assert run("trust", "revoke", name).exit_code == 2


def test_an_exported_key_can_be_granted_elsewhere(run: Run, office: Path, tmp_path: Path) -> None:
    exported = run("keys", "export", "ada", "--out", tmp_path / "ada.pub")
    granted = run("trust", "add", tmp_path / "ada.pub", "--person", "ada", "--role", "releaser", "--json")

    assert (exported.exit_code, granted.exit_code) == (0, 0)
    assert value_of(granted)["roles"] == ["releaser"]


# --- unknown names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "gate nix",
        "report nix",
        "review nix --approve --key ada --comment x",
        "waive nix general --key ada --reason x --days 3",
        "release nix --channel staging --key rhea",
        "revoke adapter nix --key rhea --reason x",
        "revoke base nix --key rhea --reason x",
        "revoke record nix --key rhea --reason x",
        "lineage nix",
        "ledger show 99999",
        "ledger show --kind nix",
        "submit ./nowhere --base nix --key sam",
        "policy check nix.yaml",
        "policy test nix.yaml",
    ],
)
def test_an_unknown_name_is_a_usage_error_with_a_hint(run: Run, office: Path, line: str) -> None:
    done = run(*shlex.split(line), "--json")

    assert done.exit_code == 2
    assert value_of(done)["error"]["hint"]
    assert done.stderr.startswith("Error: ")


def test_nothing_to_revoke_and_nothing_to_export_is_a_usage_error(run: Run, office: Path) -> None:
    assert run("revoke").exit_code == 2
    assert run("revoke", "adapter").exit_code == 2


# --- deciding ---------------------------------------------------------------------------------------------


def test_two_people_approve_and_the_adapter_is_released_and_verified(run: Run, office: Path) -> None:
    first = run("review", "desk-ready", "--approve", "--key", "ada", "--comment", "Looked at it.", "--json")
    second = run("review", "desk-ready", "--approve", "--key", "ben", "--comment", "I too.", "--json")
    released = run("release", "desk-ready", "--channel", "production", "--key", "rhea", "--json")
    bundle, pin = value_of(released)["bundle"], value_of(released)["pin"]
    verified = run("verify", bundle, "--pin", pin, "--json")

    assert (first.exit_code, second.exit_code, released.exit_code, verified.exit_code) == (0, 0, 0, 0)
    assert value_of(first)["approval"] == {
        "approved": False,
        "approvers": ["ada"],
        "missing": value_of(first)["approval"]["missing"],
    }
    assert value_of(second)["approval"]["approved"] is True
    assert value_of(verified)["approvers"] == ["ada", "ben"]


def test_whoever_submitted_it_cannot_decide(run: Run, office: Path) -> None:
    run("trust", "add", "sam2", "--new", "--person", "sam", "--role", "approver")

    done = run("review", "desk-ready", "--approve", "--key", "sam2", "--comment", "Mine is fine.")

    assert done.exit_code == 1
    assert "submitted it" in done.stderr


def test_a_verdict_that_is_not_the_one_looked_at_is_not_signed(run: Run, office: Path, made: Made) -> None:
    other = run(
        "review", "desk-ready", "--reject", "--key", "ada", "--comment", "x", "--verdict", made.verdict
    )
    same = run(
        "review", "desk-good", "--reject", "--key", "ada", "--comment", "x", "--verdict", made.verdict[7:19]
    )

    assert other.exit_code == 2
    assert "the newest verdict is" in other.stderr
    assert same.exit_code == 0


def test_an_inconclusive_gate_is_waived_by_a_person(run: Run, office: Path) -> None:
    done = run(
        "waive",
        "desk-terse",
        "general-ability",
        "--key",
        "ada",
        "--reason",
        "few rows",
        "--days",
        "9",
        "--json",
    )

    assert done.exit_code == 0
    assert value_of(done)["record"]["gate"] == "general-ability"


def test_an_adapter_that_is_not_approved_is_not_released(run: Run, office: Path) -> None:
    done = run("release", "desk-ready", "--channel", "staging", "--key", "rhea")

    assert done.exit_code != 0
    assert "not approved" in done.stderr


# --- verifying --------------------------------------------------------------------------------------------


def test_verify_prints_every_step(run: Run, made: Made) -> None:
    done = run("verify", made.bundle, "--pin", made.pin)

    assert done.exit_code == 0
    names = ["trust root", "checkpoint", "records", "files", "evidence", "approval", "revocation"]
    assert [line[8:20].strip() for line in done.stdout.splitlines()[:7]] == names
    assert "VERIFIED: desk-good" in done.stdout
    assert "Not known: whether it was taken back since" in done.stdout
    assert "--revocations FILE" in done.stdout


def test_one_flipped_byte_is_refused_and_later_steps_are_not_run(
    run: Run, made: Made, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(made.bundle, bundle)
    weights = bundle / "adapter" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))

    told = run("verify", bundle, "--pin", made.pin)
    done = run("verify", bundle, "--pin", made.pin, "--json")

    assert (told.exit_code, done.exit_code) == (1, 1)
    assert "FAILED  files" in told.stdout
    assert "NOT VERIFIED" in told.stdout
    assert {item["step"]: item["result"] for item in value_of(done)["steps"]} == {
        "trust root": "ok", "checkpoint": "ok", "records": "ok", "files": "failed", "evidence": "not-run",
        "approval": "not-run", "revocation": "not-run",
    }  # fmt: skip


def test_another_pin_is_refused(run: Run, made: Made) -> None:
    done = run("verify", made.bundle, "--pin", "sha256:" + "0" * 64, "--json")

    assert done.exit_code == 1
    assert value_of(done)["steps"][0] == {
        "step": "trust root",
        "result": "failed",
        "detail": value_of(done)["steps"][0]["detail"],
    }


@pytest.mark.parametrize("pin", ["", "sha256:xyz", "0" * 64])
def test_a_malformed_pin_is_a_usage_error(run: Run, made: Made, pin: str) -> None:
    assert run("verify", made.bundle, "--pin", pin).exit_code == 2


def test_a_feed_that_cannot_be_read_is_a_usage_error(run: Run, made: Made, tmp_path: Path) -> None:
    assert run("verify", made.bundle, "--pin", made.pin, "--revocations", tmp_path / "none").exit_code == 2


def test_a_revoked_release_is_refused_with_the_feed(
    run: Run, office: Path, made: Made, tmp_path: Path
) -> None:
    feed = tmp_path / "feed.json"
    before = run("revoke", "--export", feed)
    unaffected = run("verify", made.bundle, "--pin", made.pin, "--revocations", feed)
    revoked = run(
        "revoke", "adapter", "desk-good", "--key", "rhea", "--reason", "leaks", "--export", feed, "--json"
    )
    refused = run("verify", made.bundle, "--pin", made.pin, "--revocations", feed)

    assert (before.exit_code, unaffected.exit_code, revoked.exit_code, refused.exit_code) == (0, 0, 0, 1)
    assert value_of(revoked)["revocation"]["record"]["reason"] == "leaks"
    assert "was revoked by rhea: leaks" in refused.stdout


def test_a_base_is_revoked_by_its_label_and_a_record_by_its_id(run: Run, office: Path, made: Made) -> None:
    base = run("revoke", "base", "tiny-base", "--key", "rhea", "--reason", "poisoned", "--json")
    record = run("revoke", "record", made.verdict[:24], "--key", "ada", "--reason", "wrong rows", "--json")

    assert value_of(base)["revocation"]["record"]["targetKind"] == "base"
    assert value_of(record)["revocation"]["record"]["target"] == made.verdict


# --- reading ----------------------------------------------------------------------------------------------


def test_report_lists_where_everything_stands(run: Run, office: Path) -> None:
    done = run("report")

    assert done.exit_code == 0
    for label in ("desk-good", "desk-terse", "desk-ready"):
        assert label in done.stdout
    assert {item["label"] for item in value_of(run("report", "--json"))["items"]} == {
        "desk-good", "desk-terse", "desk-ready",
    }  # fmt: skip


def test_report_of_an_adapter_is_told_as_json_and_as_one_page(run: Run, office: Path, tmp_path: Path) -> None:
    page = tmp_path / "desk-good.html"

    done = run("report", "desk-good", "--json")
    told = run("report", "desk-good")

    assert (done.exit_code, told.exit_code) == (0, 0)
    assert value_of(done)["adapter"]["label"] == "desk-good"
    assert "desk-good" in told.stdout
    assert "ALLOW" in told.stdout
    assert run("report", "desk-terse", "--html", page, "--json").exit_code in {0, 1}


def test_a_page_of_all_adapters_is_a_usage_error(run: Run, office: Path, tmp_path: Path) -> None:
    assert run("report", "--html", tmp_path / "x.html").exit_code == 2


def test_lineage_is_a_tree_a_graph_and_json(run: Run, office: Path, tmp_path: Path) -> None:
    tree = run("lineage", "desk-good", "--dot", tmp_path / "g.dot")
    graph = run("lineage", "--json")

    assert "desk-good" in tree.stdout
    assert (tmp_path / "g.dot").read_text().startswith("digraph")
    assert {"nodes", "edges"} <= value_of(graph).keys()


def test_the_ledger_shows_records_by_kind_by_index_and_by_id(run: Run, office: Path, made: Made) -> None:
    verdicts = value_of(run("ledger", "show", "--kind", "verdict", "--last", "2", "--json"))
    by_id = value_of(run("ledger", "show", made.verdict, "--json"))
    by_index = value_of(run("ledger", "show", str(by_id["index"]), "--json"))

    assert [item["kind"] for item in verdicts] == ["verdict", "verdict"]
    assert by_id == by_index
    assert "verdict" in run("ledger", "show").stdout


def test_a_file_that_cannot_be_written_is_a_storage_error(run: Run, office: Path, tmp_path: Path) -> None:
    done = run("lineage", "--dot", tmp_path / "no" / "such" / "folder.dot")

    assert done.exit_code == 3
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("placet report desk-", ["desk-good", "desk-ready", "desk-terse"]),
        ("placet gate desk-good desk-t", ["desk-terse"]),
        ("placet review desk-good --key a", ["ada"]),
        ("placet submit x --base t", ["tiny-base"]),
    ],
)
def test_the_shell_completes_names_of_the_office(office: Path, words: str, offered: list[str]) -> None:
    last = len(words.split()) - 1

    done = _placet(_PLACET_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(last))

    assert sorted(done.stdout.split()) == offered


def test_where_there_is_no_office_the_shell_completes_nothing(tmp_path: Path) -> None:
    done = _placet(
        _PLACET_COMPLETE="complete_bash",
        COMP_WORDS="placet report d",
        COMP_CWORD="2",
        PLACET_HOME=str(tmp_path / "nowhere"),
    )

    assert (done.stdout.strip(), done.stderr) == ("", "")


# --- auditing ---------------------------------------------------------------------------------------------


def test_a_whole_ledger_gives_a_checkpoint_that_a_later_audit_takes(
    run: Run, office: Path, tmp_path: Path
) -> None:
    saved = run("audit", "--save-checkpoint", tmp_path / "c", "--json")
    run("revoke", "adapter", "desk-terse", "--key", "rhea", "--reason", "x")
    later = run("audit", "--checkpoint", tmp_path / "c")

    assert value_of(saved)["savedCheckpoint"] == str(tmp_path / "c")
    assert later.exit_code == 0
    assert "a checkpoint kept elsewhere" in later.stdout
    assert "WHOLE" in later.stdout


def test_an_edited_record_is_found_and_no_checkpoint_is_saved(run: Run, office: Path, tmp_path: Path) -> None:
    _edit(office, "UPDATE entries SET envelope = envelope || 'x'::BLOB WHERE idx = 3")

    done = run("audit", "--save-checkpoint", tmp_path / "c", "--json")

    assert done.exit_code == 1
    assert "edited-record" in {item["id"] for item in value_of(done)["findings"]}
    assert not (tmp_path / "c").exists()


def test_a_cut_ledger_is_found_with_a_checkpoint_kept_elsewhere(
    run: Run, office: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    kept.write_text(run("ledger", "checkpoint").stdout)
    shutil.copytree(office, tmp_path / "old")
    run("revoke", "adapter", "desk-terse", "--key", "rhea", "--reason", "x")
    newer = tmp_path / "newer"
    newer.write_text(run("ledger", "checkpoint").stdout)

    done = run("audit", "--home", tmp_path / "old", "--checkpoint", newer, "--checkpoint", kept, "--json")

    assert done.exit_code == 1
    assert [item["id"] for item in value_of(done)["findings"]] == ["truncated-log"]


def test_index_tables_that_lie_are_found_and_made_again(run: Run, office: Path) -> None:
    _edit(office, "DELETE FROM subjects WHERE idx = 5")

    assert run("audit").exit_code == 1
    assert run("ledger", "rebuild").exit_code == 0
    assert run("audit").exit_code == 0


def test_a_checkpoint_file_that_is_not_there_is_a_usage_error(run: Run, office: Path, tmp_path: Path) -> None:
    assert run("audit", "--checkpoint", tmp_path / "none").exit_code == 2


def test_a_ledger_held_by_another_process_is_waited_for_and_its_holder_named(
    run: Run, office: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACET_WAIT_S", "0.3")
    began = time.monotonic()

    with ledger_lock(office / "ledger.duckdb.lock", exclusive=True):
        done = run("trust", "show", "--json")

    assert done.exit_code == 3
    assert f"process {os.getpid()}" in value_of(done)["error"]["message"]
    assert 0.3 <= time.monotonic() - began < 10


# --- policies ---------------------------------------------------------------------------------------------


def test_the_default_policy_is_well_formed_passes_its_cases_and_explains_itself(run: Run) -> None:
    checked, tested, explained = (
        run("policy", "check"),
        run("policy", "test", "--json"),
        run("policy", "explain"),
    )

    assert (checked.exit_code, tested.exit_code, explained.exit_code) == (0, 0, 0)
    assert value_of(tested)["passed"] is True
    for gate in value_of(run("policy", "check", "--json"))["gates"]:
        assert gate in explained.stdout
    assert (
        "It lapses before that when something newer is measured of the same weights, or when"
        in explained.stdout
    )


def test_what_ends_an_approval_and_what_is_counted_together_is_explained(run: Run, tmp_path: Path) -> None:
    text = """
id: p
version: "1"
title: t
description: d
risk_tier: minimal
risk: r
review: {approvals: 1, valid_days: 1, lapses_on: LAPSES}
suites: {desk: {samples: all, cluster: patient}}
gates:
  - {id: job, kind: floor, suite: desk, threshold: 0.5, why: w}
"""
    for lapses, told in (
        ("[]", "It lapses before that for no other reason."),
        ("[approver_left]", "when its approver's key loses that role and those who stay are too few."),
    ):
        policy = tmp_path / "p.yaml"
        policy.write_text(text.replace("LAPSES", lapses))
        explained = run("policy", "explain", policy)
        assert explained.exit_code == 0
        assert told in explained.stdout
        assert "Measures desk: all documents, counted by patient." in explained.stdout


def test_a_malformed_policy_is_refused_with_file_and_line(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "mine.yaml"
    broken.write_text(default_policy().read_text().replace("threshold: 0.80", "treshold: 0.80"))

    done = run("policy", "check", broken)

    assert done.exit_code == 2
    assert "mine.yaml:" in done.stderr
    assert "treshold" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "threshold: 0.80",
            "threshold: 0",
            "nothing can miss this floor; write another; suite support-desk has",
        ),
        ("exposure_bits: 5.0", "exposure_bits: 6", "no canary can have that exposure"),
    ],
)
def test_a_limit_that_nothing_can_miss_is_refused_when_a_policy_is_checked(
    run: Run, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = default_policy().read_text()
    assert text.count(old) == 1
    open_ = tmp_path / "mine.yaml"
    open_.write_text(text.replace(old, new))

    done = run("policy", "check", open_)

    assert done.exit_code == 2
    line = text[: text.index(old)].count("\n") + 1
    assert f"mine.yaml:{line}: gates[" in done.stderr
    assert message in done.stderr


def test_a_sequential_suite_that_does_not_declare_its_range_is_refused(run: Run, tmp_path: Path) -> None:
    suite = shutil.copytree(evals_dir() / "support-desk", tmp_path / "evals" / "support-desk")
    sequential = tmp_path / "mine.yaml"
    text = default_policy().read_text()
    old = "support-desk: {samples: all}"
    assert text.count(old) == 1
    sequential.write_text(
        text.replace(old, "support-desk: {samples: all, mode: sequential, claim: benchmark}")
    )
    asked = ("policy", "check", sequential, "--suites", tmp_path / "evals")

    known = run(*asked, "--json")
    manifest = suite / "suite.yaml"
    manifest.write_text(manifest.read_text().replace("range: [0, 1]\n", ""))
    unknown = run(*asked)

    assert known.exit_code == 0
    assert value_of(known)["suitesNotFound"] == [
        name for name in load_policy(sequential).suites if name != "support-desk"
    ]
    assert unknown.exit_code == 2
    assert "suites.support-desk.mode: a sequential test is of a metric between 0 and 1" in unknown.stderr
    assert "does not declare its range" in unknown.stderr


def test_a_policy_that_decides_otherwise_than_its_cases_expect_is_told(run: Run, tmp_path: Path) -> None:
    lax = tmp_path / "lax.yaml"
    lax.write_text(default_policy().read_text().replace("threshold: 0.60", "threshold: 0.01"))

    done = run("policy", "test", lax, "--cases", policies_dir() / "tests" / "default")

    assert done.exit_code == 1
    assert "DIFFERS" in done.stdout


# --- examples of the help, run as they stand --------------------------------------------------------------

NOT_RUN = {
    "placet base add": "fetches a model",
    "placet submit": "needs an adapter of a real model; tests/integration/test_pipeline.py submits",
    "placet gate": "runs a model; tests/integration/test_pipeline.py gates",
    "placet verify": "the bundle's name and pin are those of a real release; verified above",
    "placet keys link": "needs a token; tests/integration/test_hsm.py has one",
    "placet keys remember": "needs a keyring; tests/unit/test_keyfiles.py has one",
    "placet keys forget": "likewise",
    "placet lm-eval": "runs a model; tests/integration/test_lm_eval_command.py runs it",
    "placet demo": "runs the whole way; it has its own test",
    "placet ui": "serves until Ctrl-C; tested below",
    "placet ledger migrate": "needs a PostgreSQL server; tests/integration/test_store_contract.py has one",
    "placet policy simulate": "needs per-sample results; tests/integration/test_policy_history.py has some",
    "placet policy choose": "needs verdicts under the policy; tests/integration/test_policy_history.py has some",
    "placet trust install": "needs copies that holders signed; tests/integration/test_root_proposals.py has some",
    "placet witness init": "writes to /srv; tests/integration/test_witness.py has a folder of its own",
    "placet witness run": "likewise",
    "placet witness rekey": "likewise",
    "placet witness show": "likewise",
}


def _examples() -> Iterator[tuple[str, str]]:
    def walk(name: str, command: Any) -> Iterator[tuple[str, str]]:
        children = getattr(command, "commands", None)
        if children is None:
            for line in str(command.epilog).splitlines()[1:]:
                yield name, line
            return
        for child_name, child in children.items():
            yield from walk(f"{name} {child_name}", child)

    yield from walk("placet", typer.main.get_command(app))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (name, line)
        for name, line in _examples()
        if name not in NOT_RUN and "--samples" not in line and "…" not in line
    ],
)
def test_the_example_of_every_command_works_as_it_stands(
    run: Run, office: Path, tmp_path: Path, name: str, line: str
) -> None:
    policies = tmp_path / "policies"
    policies.symlink_to(policies_dir())
    if name in {"placet init", "placet trust init"}:
        shutil.rmtree(office)
    # Ada has a key in this office already; the one that she hands in is another.
    for person, key in (("ada", "root of ada"), ("cy", "cy"), ("dana", "dana")):
        (tmp_path / f"{person}.pub").write_text(offices.signer_named(key).public.pem)
    labels = [(1, 1)] * 46 + [(1, 0)] * 4 + [(0, 0)] * 48 + [(0, 1)] * 2
    (tmp_path / "labels.csv").write_text(
        "human,judge\n" + "".join(f"{human},{judge}\n" for human, judge in labels)
    )
    if name == "placet trust rotate":
        run("keys", "new", shlex.split(line)[-1])
    if "--checkpoint" in line:
        run("audit", "--save-checkpoint", "ledger-today.checkpoint")
    stricter = (policies_dir() / "default.yaml").read_text().replace("threshold: 0.80", "threshold: 0.90")
    (tmp_path / "stricter.yaml").write_text(stricter.replace('version: "1"', 'version: "2"', 1))
    line = line.replace("smollm2-135m", "tiny-base")
    if name == "placet report" and "--html" in line:
        shutil.rmtree(office)
        offices.make_demo_like_office(office)

    done = run(*shlex.split(line.partition(" > ")[0])[1:])

    assert done.exit_code == 0, done.output


# --- as a process -----------------------------------------------------------------------------------------


def _placet(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "placet", *(str(item) for item in arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **more}
    )


_LEAN = """
import sys
from placet.cli import main

try:
    main()
except SystemExit as stopped:
    assert stopped.code == 0, stopped.code
unwanted = {"rich", "duckdb", "numpy", "torch", "tuf", "securesystemslib", "keyring"}
unwanted |= {"placet.office", "placet.cli.audit"}
print(sorted(unwanted & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_verify_loads_nothing_that_it_does_not_need(made: Made, form: list[str]) -> None:
    words = ["verify", str(made.bundle), "--pin", made.pin, *form]

    done = subprocess.run([sys.executable, "-c", _LEAN, *words], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("words", [["verifi"], ["--bogus"], ["verify-all"]])
def test_a_word_that_is_no_command_is_refused_by_the_whole_program(words: list[str]) -> None:
    done = _placet(*words)

    assert done.returncode == 2
    assert "No such" in done.stderr


def test_the_process_ends_with_the_commands_exit_code(made: Made) -> None:
    good = _placet("verify", made.bundle, "--pin", made.pin, "--json")
    bad = _placet("verify", made.bundle, "--pin", "sha256:" + "0" * 64, "--json")
    wrong = _placet("verify", made.bundle, "--bogus")

    assert (good.returncode, bad.returncode, wrong.returncode) == (0, 1, 2)
    assert json.loads(good.stdout)["verified"] is True
    assert json.loads(bad.stdout)["verified"] is False
    assert good.stderr == ""


def test_the_home_and_the_passphrase_come_from_the_environment(office: Path) -> None:
    done = _placet("trust", "show", "--json", PLACET_HOME=str(office))

    assert done.returncode == 0, done.stderr
    assert {"ada", "ben", "rhea"} <= {item["person"] for item in json.loads(done.stdout)["keys"]}


def test_a_process_that_waits_for_the_ledger_is_stopped_by_ctrl_c(office: Path) -> None:
    command = [sys.executable, "-m", "placet", "trust", "show", "--home", str(office)]
    with ledger_lock(office / "ledger.duckdb.lock", exclusive=True):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(2.0)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)

    assert process.returncode == 130
    assert told == "stopped; run it again to go on where it stopped\n"


def test_passphrases_are_asked_for_in_a_terminal_and_a_new_one_twice(
    office: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLACET_PASSPHRASE")
    command = ["trust", "add", "cleo", "--new", "--person", "Cleo", "--role", "approver"]
    answers = [
        ("Passphrase of key root: ", offices.PASSPHRASE),
        ("New passphrase for key cleo: ", NEW_PASSPHRASE),
        ("The same once more: ", "something else"),
        ("New passphrase for key cleo: ", NEW_PASSPHRASE),
        ("The same once more: ", NEW_PASSPHRASE),
        ("Passphrase of key log: ", offices.PASSPHRASE),
    ]

    code, shown = _in_terminal(command, answers)

    assert code == 0, shown
    assert "They differ" in shown
    assert not [phrase for _, phrase in answers if phrase in shown]
    assert (office / "keys" / "cleo.pem").exists()


def _in_terminal(arguments: list[str], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Run placet in a pseudo-terminal, type each answer when its prompt shows, and return exit code and screen."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-m", "placet", *arguments])  # pragma: no cover
    shown, todo, seen = "", list(answers), 0
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(terminal, 4096)
            except OSError:  # how Linux says that the other end closed it
                break
            if not data:
                break
            shown += data.decode()
            if todo and todo[0][0] in shown[seen:]:
                seen = len(shown)
                time.sleep(
                    0.2
                )  # the prompt is shown just before echoing is turned off and earlier typing dropped
                os.write(terminal, (todo.pop(0)[1] + "\n").encode())
    finally:
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return code, shown


@pytest.mark.skipif(find_spec("streamlit") is None, reason="the ui extra is not installed")
def test_ui_serves_to_this_machine_until_it_is_stopped(office: Path) -> None:
    command = [sys.executable, "-m", "placet", "ui", "--home", str(office), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        while not said.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            said += line
        url = json.loads(said)["url"]
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=10) as answer:
            assert answer.status == 200
        assert url.startswith("http://127.0.0.1:")
    finally:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)

    assert process.returncode == 0, told
    assert "was ended" in told
    with pytest.raises(OSError, match=r"refused"):
        urllib.request.urlopen(f"{url}/_stcore/health", timeout=10)


# --- resources --------------------------------------------------------------------------------------------


def test_resources_are_those_of_the_checkout(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]

    assert evals_dir() == root / "evals"
    assert default_policy() == root / "policies" / "default.yaml"


def test_an_installed_package_uses_its_own_copy(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "placet"
    (package / "_resources" / "evals").mkdir(parents=True)

    assert resource_dir("evals", package=package) == package / "_resources" / "evals"


def test_a_checkout_without_the_folder_is_a_usage_error(tmp_path: Path) -> None:
    package = tmp_path / "platform" / "placet"
    package.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("")

    with pytest.raises(UsageError, match="has no policies/"):
        resource_dir("policies", package=package)


def _edit(office: Path, statement: str) -> None:
    import duckdb

    with duckdb.connect(str(office / "ledger.duckdb")) as db:
        db.execute(statement)
