"""A policy tried on the past verdicts of a whole office: read once, kept, and the same as deciding anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from placet.attest.draw import drawn_otherwise
from placet.attest.predicates import Kind
from placet.cli import app
from placet.domain.errors import IntegrityError
from placet.domain.progress import NullProgress
from placet.domain.records import Base
from placet.pipeline import history
from placet.pipeline.candidates import find_candidates
from placet.pipeline.history import load_history
from placet.policy.loader import load_policy, parse_policy
from placet.policy.simulate import decide_anew, simulate
from placet.resources import default_policy
from tests.support.demo_office import make_demo_like_office
from tests.support.offices import SampleOffice


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleOffice:
    return make_demo_like_office(tmp_path_factory.mktemp("demo") / "office")


def test_past_verdicts_are_read_once_and_come_out_as_they_were(sample: SampleOffice) -> None:
    first = load_history(sample.office, NullProgress(), fresh=True)
    again = load_history(sample.office, NullProgress())
    assert first.read == len(first.facts) > 3
    assert (again.read, again.left_out) == (0, ())
    assert [one.record for one in again.facts] == [one.record for one in first.facts]
    policy = load_policy(default_policy())
    same = simulate(policy, again.facts, again.evidence_of)
    assert same.flips == ()
    for facts in again.facts:
        verdict, evidence = again.evidence_of(facts.record)
        assert decide_anew(policy, verdict, evidence)[0] == facts.decision == verdict.decision.value


def test_a_stricter_policy_names_the_release_it_would_have_refused(sample: SampleOffice) -> None:
    text = default_policy().read_text("utf-8").replace("threshold: 0.80", "threshold: 0.97")
    stricter = parse_policy(text.replace('version: "1"', 'version: "2"'))
    past = load_history(sample.office, NullProgress())
    done = simulate(stricter, past.facts, past.evidence_of)
    assert done.verdicts == len(past.facts)
    refused = [flip for flip in done.flips if flip.refused]
    assert [flip.label for flip in refused] == ["desk-good"]
    assert "job-floor" in dict(refused[0].gates)
    for flip in done.flips:
        assert decide_anew(stricter, *past.evidence_of(flip.record))[0] == flip.after


NEW_KINDS = """\
id: p
version: "1"
title: t
description: d
risk_tier: minimal
risk: r
review: {approvals: 1, valid_days: 1}
suites: {}
gates:
  - {id: licences, kind: license, allow: [Apache-2.0], datasets: false, why: w}
  - {id: card, kind: documentation, sections: [Limitations], why: w}
  - {id: support, kind: base_supported, why: w}
  - {id: files, kind: intake, why: w}
"""


def test_new_kinds_of_gates_are_tried_without_reading_the_evidence_again(sample: SampleOffice) -> None:
    load_history(sample.office, NullProgress(), fresh=True)
    past = load_history(sample.office, NullProgress())
    policy = parse_policy(NEW_KINDS)

    def unread(record):
        raise AssertionError(f"the evidence of {record} was read")

    done = simulate(policy, past.facts, unread, past.about_of)
    after = {flip.record: flip.after for flip in done.flips}
    for facts in past.facts:
        expected = decide_anew(policy, *past.evidence_of(facts.record))[0]
        assert after.get(facts.record, facts.decision) == expected
    assert done.from_counts == len(past.facts)


def test_an_interrupted_reading_goes_on_where_it_stopped(
    sample: SampleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_history(sample.office, NullProgress(), fresh=True)
    monkeypatch.setattr(history, "_BATCH", 2)
    told = []

    class Interrupting(NullProgress):
        def advance(self, step: str, count: int = 1) -> None:
            told.append(step)
            if len(told) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_history(sample.office, Interrupting(), fresh=True)
    again = load_history(sample.office, NullProgress())
    assert again.read == len(whole.facts) - 3
    assert again.facts == whole.facts
    assert all(again.about_of(one.record) is not None for one in again.facts)


def test_a_changed_file_of_results_is_not_read(sample: SampleOffice) -> None:
    past = load_history(sample.office, NullProgress(), fresh=True)
    _, evidence = past.evidence_of(past.facts[0].record)
    path = sample.office.blobs.path(evidence.runs[0].measurement.blob)
    before = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        with pytest.raises(IntegrityError):
            load_history(sample.office, NullProgress(), fresh=True)
    finally:
        path.write_bytes(before)


def test_candidates_are_all_that_were_planned_under_the_policy(sample: SampleOffice, tmp_path: Path) -> None:
    def choose(*arguments: str) -> Any:
        home = ["--home", str(sample.office.home)]
        return CliRunner().invoke(app, ["policy", "choose", *arguments, *home])

    policy = str(default_policy())
    done = choose(policy, "--json")
    assert done.exit_code == 1, "one good one among five is no reason to believe at a rate of 0.05"
    found = json.loads(done.output)
    shown = {item["adapter"]: item for item in found["candidates"]}
    assert len(shown) == 5
    assert (shown["desk-good"]["eValue"], shown["desk-good"]["chosen"]) == (20.0, False)
    assert {name for name, item in shown.items() if item["eValue"]} == {"desk-good"}
    assert found["rateOfAllAllowed"] == 0.25

    done = choose(policy, "--rate", "0.25")
    assert done.exit_code == 0, done.output
    assert "1 of 5 candidates chosen" in done.output
    assert "alpha: 0.01" in choose(policy).output.replace("\n", " ")

    other = tmp_path / "other.yaml"
    other.write_text(default_policy().read_text().replace('version: "1"', 'version: "2"'))
    refused = choose(str(other))
    assert (refused.exit_code, "no adapter was planned under default 2" in refused.output) == (2, True)
    assert choose(policy, "--rate", "1").exit_code == 2
    base = sample.office.reader().find(Kind.BASE, Base)[0].record.ref
    assert (
        len(find_candidates(sample.office.reader(), load_policy(default_policy()).ref.digest, base.id)) == 5
    )
    assert find_candidates(sample.office.reader(), load_policy(other).ref.digest) == ()


def test_what_was_kept_can_be_lost_or_of_another_form(sample: SampleOffice) -> None:
    kept: Path = sample.office.home / "work" / "facts.json"
    known = [one.to_json() for one in load_history(sample.office, NullProgress(), fresh=True).facts]
    for damage in (b"{", b'{"form": 0, "facts": {}}', b"[]"):
        (sample.office.home / "work" / "facts-about.json").unlink()
        kept.write_bytes(damage)
        again = load_history(sample.office, NullProgress())
        assert again.read == len(known)
        assert [one.record for one in again.facts] == [value[0] for value in known]


def test_documents_that_a_plan_chose_itself_are_found(
    sample: SampleOffice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = load_history(sample.office, NullProgress())
    verdict, evidence = past.evidence_of(past.facts[0].record)
    own = next(entry for entry in evidence.plans if entry.record == verdict.plan)
    assert own.drawn_otherwise == frozenset()
    assert set(own.asked or {}) >= {"job-floor", "no-leakage"}
    first, *rest = own.plan.suites
    turned = first.model_copy(update={"samples": first.samples[::-1]})
    chosen = own.plan.model_copy(update={"suites": (turned, *rest)})
    assert drawn_otherwise(chosen) == {first.suite.id}
    too_many = first.model_copy(update={"samples": (*first.samples, first.documents)})
    assert drawn_otherwise(own.plan.model_copy(update={"suites": (too_many, *rest)})) == {first.suite.id}

    # Whoever gathers the evidence looks at the plan on record.
    monkeypatch.setattr("tests.support.offices.draw_order", lambda documents, *_: tuple(range(documents)))
    with pytest.raises(
        AssertionError, match="job-floor MISSING: The plan's documents of support-desk are not"
    ):
        make_demo_like_office(tmp_path / "office")


def test_who_signed_for_a_release_is_kept_with_it(sample: SampleOffice) -> None:
    past = load_history(sample.office, NullProgress())
    (released,) = [facts.released for facts in past.facts if facts.released]
    (release,) = released
    assert [one.person for one in release.approvals] == ["ada", "ben"]
    assert all(one.parts == () and one.age_s > 0 for one in release.approvals)
    text = default_policy().read_text("utf-8").replace("approvals: 2", "approvals: 3")
    more = parse_policy(text.replace('version: "1"', 'version: "2"'))
    (flip,) = simulate(more, past.facts, past.evidence_of).flips
    assert (flip.label, flip.before, flip.after, flip.refused) == ("desk-good", "ALLOW", "ALLOW", True)
    assert flip.lacking == (f"{release.channel}: 2 of 3 approvals",)
