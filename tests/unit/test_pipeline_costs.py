"""What measuring is expected to cost rests on earlier runs that computed their answers, and says so."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from placet.attest.predicates import Kind
from placet.domain.digests import digest_bytes
from placet.pipeline.costs import Pace, cost_of, paces
from tests.support import offices

DESK, PIQA = digest_bytes(b"desk"), digest_bytes(b"piqa")


def test_what_was_run_before_says_what_it_takes(tmp_path: Path) -> None:
    sample = offices.make_office(tmp_path / "office", key_files=False)
    walk = offices.walk_to_verdict(sample)
    own = walk.measurements[1]
    suite = own.record.suite.digest
    before = paces(sample.office.reader(), walk.base.id)[suite]
    assert before.runs == 2

    slow = own.record.model_copy(update={"finished_at": own.record.started_at + timedelta(seconds=60)})
    sample.record(Kind.EVALUATION, slow, own.statement.subjects)
    after = paces(sample.office.reader())[suite]
    assert (after.runs, after.documents) == (3, before.documents + own.record.n)
    assert after.seconds == before.seconds + 60
    assert paces(sample.office.reader(), digest_bytes(b"another base")) == {}


def test_a_run_that_took_answers_over_says_nothing_of_the_time(tmp_path: Path) -> None:
    sample = offices.make_office(tmp_path / "office", key_files=False)
    walk = offices.walk_to_verdict(sample)
    own = walk.measurements[1]
    before = paces(sample.office.reader())
    copied = own.record.model_copy(update={"reused": (own.id,)})
    sample.record(Kind.EVALUATION, copied, own.statement.subjects)
    assert paces(sample.office.reader()) == before


def test_the_total_names_what_it_does_not_know() -> None:
    known = {DESK: Pace(seconds=60.0, documents=120, runs=3)}
    cost = cost_of([("desk", DESK, 120), ("desk", DESK, 120), ("piqa", PIQA, 380)], known)
    assert (cost.samples, cost.seconds, cost.runs, cost.unknown) == (620, 120.0, 3, ("piqa",))
    assert cost.told() == "620 samples, about 2 min 00 s by 3 earlier runs; never run here: piqa"
    assert cost_of([("piqa", PIQA, 380)], known).told() == "380 samples, never run here: piqa"


@pytest.mark.parametrize("documents", [1, 240])
def test_a_pace_is_by_document(documents: int) -> None:
    assert Pace(60.0, 120, 3).of(documents) == documents / 2
