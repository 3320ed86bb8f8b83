"""A policy tried on the past verdicts of a whole office: read once, kept, and the same as deciding anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.domain.progress import NullProgress
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


def test_what_was_kept_can_be_lost_or_of_another_form(sample: SampleOffice) -> None:
    kept: Path = sample.office.home / "work" / "facts.json"
    known = [one.to_json() for one in load_history(sample.office, NullProgress(), fresh=True).facts]
    for damage in (b"{", b'{"form": 0, "facts": {}}', b"[]"):
        kept.write_bytes(damage)
        again = load_history(sample.office, NullProgress())
        assert again.read == len(known)
        assert [one.record for one in again.facts] == [value[0] for value in known]
