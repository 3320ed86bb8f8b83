"""The attack matrix: each attack on a record, by whoever runs the office and holds its keys, is found by its name.

Every audit here is given a checkpoint that was kept elsewhere before the attack. What one audit cannot find is at the
end.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from placet.attest.predicates import Kind, Role, Roles
from placet.attest.statement import Subject
from placet.attest.trust import roles_subjects, sign_record
from placet.domain.digests import canonical_json
from placet.domain.records import Revocation
from placet.office import ROOT_KEY, TrustDesk
from placet.review.desk import load_case
from tests.support import dishonest, offices
from tests.support.offices import Released, released_office, signer_named
from tests.support.tampering import (
    delete_and_renumber,
    logged,
    replace,
    resign,
    revocation_by,
    sql,
    truncate,
)

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def edit(made: Released) -> None:
    row = made.walk.verdict
    replace(made.office, row.index, row.envelope.raw.replace(b"A", b"B", 1), leaf=False)


def edit_and_recompute(made: Released) -> None:
    """Another verdict in the verdict's place, signed by somebody else; every hash and checkpoint made again."""
    row = made.walk.verdict
    record = row.record.model_copy(update={"plans_on_weights": ()})
    other = sign_record(Kind.VERDICT, record, row.statement.subjects, signer_named("eve"))
    replace(made.office, row.index, other.raw, record_id=other.record_id)
    resign(made.office)
    made.office.store.rebuild()


def edit_and_recompute_with_the_real_key(made: Released) -> None:
    row = made.walk.verdict
    record = row.record.model_copy(update={"gates": (offices.passing_gate("softer"),)})
    other = sign_record(Kind.VERDICT, record, row.statement.subjects, made.sample.evaluator)
    replace(made.office, row.index, other.raw, record_id=other.record_id)
    resign(made.office)
    made.office.store.rebuild()


def swap_valid_envelopes(made: Released) -> None:
    one, two = made.walk.measurements[:2]
    sql(made.office, "UPDATE entries SET record_id = 'x' WHERE idx = ?", [one.index])
    replace(made.office, two.index, one.envelope.raw, record_id=one.id)
    replace(made.office, one.index, two.envelope.raw, record_id=two.id)
    resign(made.office)
    made.office.store.rebuild()


def delete(made: Released) -> None:
    sql(made.office, "DELETE FROM entries WHERE idx = ?", [made.walk.measurements[1].index])


def delete_and_close_the_gap(made: Released) -> None:
    delete_and_renumber(made.office, made.walk.measurements[1].index)
    resign(made.office)
    made.office.store.rebuild()


def reorder(made: Released) -> None:
    """The measurements in another order, everything signed again."""
    first, second = made.walk.measurements[0].index, made.walk.measurements[1].index
    for source, target in ((first, 10_000), (second, first), (10_000, second)):
        sql(made.office, "UPDATE entries SET idx = ? WHERE idx = ?", [target, source])
    resign(made.office)
    made.office.store.rebuild()


def cut_off(made: Released) -> None:
    truncate(made.office, made.released.index)


def put_an_old_file_back(made: Released) -> None:
    """The file as it was before the release, with its lock and everything."""
    fresh = released_office(made.office.home.parent / "fresh")
    truncate(fresh.office, made.walk.verdict.index)
    shutil.copy(fresh.office.store.local().path, made.office.store.local().path)


def truncate_and_regrow(made: Released) -> None:
    size = made.office.store.size()
    truncate(made.office, made.walk.verdict.index)
    while made.office.store.size() < size + 2:
        offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["canaries"])
        made.sample.clock.advance(minutes=1)


def fork_at_equal_size(made: Released) -> None:
    truncate(made.office, made.released.index)
    logged(made.office, revocation_by("ada", "ada"))


def use_a_role_key_after_its_grant_ended(made: Released) -> None:
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)
    logged(made.office, revocation_by("ada", "ada"))


def put_an_old_approval_on_changed_bytes(made: Released) -> None:
    """Other weights under the same label pass all gates; the release names the approvals of the first ones."""
    sample, base = made.sample, made.walk.base
    other = offices.make_adapter(sample, "desk-good", seed="poisoned")
    intake = offices.add_intake(sample, other, base)
    offices.add_submission(sample, other, base)
    plan = offices.add_plan(sample, other.ref, base, suites=["support-desk"])
    run = offices.add_measurement(sample, "support-desk", plan, [float(n % 10 > 0) for n in range(120)])
    gate = offices.passing_gate(evidence=[run.id])
    verdict = offices.add_verdict(sample, plan, evidence=[intake.id, plan.id, run.id], gates=[gate])
    record = made.released.record.model_copy(
        update={
            "adapter": other.ref,
            "files": other.files,
            "verdict": verdict.id,
            "policy": verdict.record.policy,
            "released_at": sample.clock(),
        }
    )
    subjects = (Subject("desk-good", other.ref.id), Subject("verdict", verdict.id))
    sample.record(Kind.RELEASE, record, subjects, sample.signers["rhea"])


def swap_between_evaluation_and_release(made: Released) -> None:
    """The verdict and the approvals are of these bytes, the files that are released are others."""
    other = offices.make_adapter(made.sample, "desk-good", seed="poisoned")
    made.sample.clock.advance(minutes=1)
    record = made.released.record.model_copy(
        update={"files": other.files, "released_at": made.sample.clock()}
    )
    subjects = made.released.statement.subjects
    made.sample.record(Kind.RELEASE, record, subjects, made.sample.signers["rhea"])


def leave_out_a_bad_run(made: Released) -> None:
    """Measured again under another plan, badly; the verdict that is then given names neither plan nor run."""
    plan = offices.add_plan(made.sample, made.walk.ref, made.walk.base, suites=["support-desk"])
    offices.add_measurement(made.sample, "support-desk", plan, [0.0] * 120)
    record = made.walk.verdict.record.model_copy(
        update={"head": made.office.reader().head(), "decided_at": made.sample.clock()}
    )
    made.sample.record(Kind.VERDICT, record, made.walk.verdict.statement.subjects)


def release_past_the_desk(made: Released, walk: offices.Walk) -> None:
    """Log the release of what `walk` judged, with all that it names, by the releaser's real key."""
    reviews = load_case(made.office.reader(), walk.ref.id).reviews[-2:]
    record = made.released.record.model_copy(
        update={
            "adapter": walk.ref,
            "files": walk.adapter.files,
            "verdict": walk.verdict.id,
            "policy": walk.verdict.record.policy,
            "reviews": tuple(item.id for item in reviews),
            "released_at": made.sample.clock(),
        }
    )
    subjects = (Subject(walk.ref.label, walk.ref.id), Subject("verdict", walk.verdict.id))
    made.sample.record(Kind.RELEASE, record, subjects, made.sample.signers["rhea"])


def rest_on_anothers_runs(made: Released) -> None:
    release_past_the_desk(made, dishonest.rests_on_anothers_runs(made))


def contradict_the_runs(made: Released) -> None:
    release_past_the_desk(made, dishonest.contradicts_its_runs(made))


def date_a_release_back(made: Released) -> None:
    """The approvals lapsed long ago; the release is dated to when they stood. Others went on logging meanwhile."""
    then = made.sample.clock()
    made.sample.clock.advance(days=200)
    offices.add_intake(made.sample, offices.make_adapter(made.sample, "later"), made.walk.base)
    record = made.released.record.model_copy(update={"channel": "production", "released_at": then})
    subjects = made.released.statement.subjects
    made.sample.record(Kind.RELEASE, record, subjects, made.sample.signers["rhea"])


def hide_that_a_key_was_ended(made: Released) -> None:
    """The roles statement that ended ada's key is taken out of the index tables; her key then signs again."""
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)
    sql(made.office, "DELETE FROM records WHERE idx = ?", [made.office.store.size() - 1])
    logged(made.office, revocation_by("ada", "ada"))


def edit_derived_tables(made: Released) -> None:
    sql(made.office, "UPDATE records SET decision = 'ALLOW' WHERE idx = ?", [made.walk.plan.index])


def count_one_key_twice(made: Released) -> None:
    """The real root grants ada's key to a second person, so that one key could meet a threshold of two."""
    roles = made.office.reader().trust.roles
    ada = next(grant for grant in roles.grants if grant.person == "ada")
    twice = ada.model_copy(update={"person": "adam", "valid_from": made.office.store.size()})
    new: Roles = roles.model_copy(update={"version": roles.version + 1, "grants": (*roles.grants, twice)})
    root = made.office.signer(ROOT_KEY)
    subjects = roles_subjects(made.office.root, made.office.store.size(), root.public)
    logged(made.office, sign_record(Kind.ROLES, new, subjects, root))


def count_one_person_twice(made: Released) -> None:
    """ada approves twice, with two keys of hers; the release names both as the two approvals."""
    walk = offices.decide_again(made)
    offices.add_person(made.sample, "ada", Role.APPROVER, key_name="ada-2")
    reviews = [offices.approve(made.sample, walk.ref, name).id for name in ("ada", "ada-2")]
    made.sample.clock.advance(minutes=1)
    record = made.released.record.model_copy(
        update={"verdict": walk.verdict.id, "reviews": tuple(reviews), "released_at": made.sample.clock()}
    )
    subjects = made.released.statement.subjects
    made.sample.record(Kind.RELEASE, record, subjects, made.sample.signers["rhea"])


def make_a_signature_malleable(made: Released) -> None:
    """The same signature in another spelling: S + L in place of S, which a lax verifier takes."""
    value = json.loads(made.walk.verdict.envelope.raw)
    signature = base64.b64decode(value["signatures"][0]["sig"])
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    value["signatures"][0]["sig"] = base64.b64encode(signature[:32] + s.to_bytes(32, "little")).decode()
    replace(made.office, made.walk.verdict.index, canonical_json(value))
    resign(made.office)
    made.office.store.rebuild()


ATTACKS: list[tuple[Callable[[Released], object], dict[str, str]]] = [
    (edit, {"edited-record": "was edited"}),
    (
        edit_and_recompute,
        {
            "forked-log": "history was rewritten and signed again",
            "unauthorized-signer": "is not one of office",
        },
    ),
    (edit_and_recompute_with_the_real_key, {"forked-log": "history was rewritten and signed again"}),
    (swap_valid_envelopes, {"forked-log": "are not the ones of the checkpoint kept elsewhere"}),
    (delete, {"deleted-record": "is missing from the ledger file"}),
    (
        delete_and_close_the_gap,
        {"truncated-log": "records were cut off", "missing-evidence": "which is not in the log"},
    ),
    (reorder, {"forked-log": "are not the ones of the checkpoint kept elsewhere"}),
    (cut_off, {"truncated-log": "records were cut off"}),
    (put_an_old_file_back, {"truncated-log": "an old file was put back"}),
    (truncate_and_regrow, {"forked-log": "history was rewritten and signed again"}),
    (fork_at_equal_size, {"forked-log": "history was rewritten and signed again"}),
    (use_a_role_key_after_its_grant_ended, {"unauthorized-signer": "the key of ada may not sign"}),
    (put_an_old_approval_on_changed_bytes, {"unallowed-release": "0 of 2 approvals by different people"}),
    (
        swap_between_evaluation_and_release,
        {"unallowed-release": "its files are not the ones that were submitted"},
    ),
    (leave_out_a_bad_run, {"left-out-run": "leaves out the plan at 17 on the same weights"}),
    (leave_out_a_bad_run, {"left-out-run": "leaves out the run of support-desk at 18 on the same weights"}),
    (
        dishonest.leaves_out_a_run,
        {"left-out-run": "the verdict leaves out the run of support-desk at 17 on the same weights"},
    ),
    (
        rest_on_anothers_runs,
        {
            "foreign-evidence": "the measurement at 12, of support-desk, is of other weights",
            "missing-intake": "no intake of these files on this base",
            "unmeasured-suite": "it rests on no run of support-desk, which its plan has measured",
            "unallowed-release": "its verdict does not hold",
        },
    ),
    (
        dishonest.measures_fewer_documents,
        {"unplanned-run": "it has 10 documents of support-desk, which are not the 120 of its plan"},
    ),
    (
        dishonest.measures_an_unplanned_suite,
        {"unplanned-run": "its plan does not name suite general-piqa 1 with that content"},
    ),
    (
        dishonest.measures_before_the_plan,
        {"unplanned-run": "it says that it began on 2026-02-27, before its plan of 2026-03-02"},
    ),
    (
        contradict_the_runs,
        {
            "contradicted-figure": "gate job says 0.9 on 120 documents, where its runs say 0 on 120",
            "unallowed-release": "its verdict does not hold: gate job says 0.9",
        },
    ),
    (
        dishonest.contradicts_its_runs_and_cites_none,
        {"contradicted-figure": "gate job says 0.9 on 120 documents, where its runs say 0 on 120"},
    ),
    (
        dishonest.measures_nothing,
        {"unmeasured-suite": "it rests on no run of support-desk, which its plan has measured"},
    ),
    (
        dishonest.files_a_run_under_anothers_plan,
        {"unplanned-run": "it is of other weights than its plan has measured"},
    ),
    (
        dishonest.draws_from_an_old_state,
        {"stale-head": "draws its order from the log of 10 records, though it had 17 by then"},
    ),
    (
        date_a_release_back,
        {
            "dated-back": "(release by rhea) is dated",
            "unallowed-release": "it expired at",
        },
    ),
    (
        hide_that_a_key_was_ended,
        {
            "edited-derived-table": "who may sign what was judged by the records themselves",
            "unauthorized-signer": "the key of ada may not sign as releaser or approver at ledger index 18",
        },
    ),
    (edit_derived_tables, {"edited-derived-table": "say something else about record"}),
    (count_one_key_twice, {"untrusted-roles": "one key is granted to two people, ada and adam"}),
    (count_one_person_twice, {"unallowed-release": "1 of 2"}),
    (make_a_signature_malleable, {"bad-signature": "does not match its message", "forked-log": "rewritten"}),
]


@pytest.mark.parametrize(("attack", "expected"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
def test_an_attack_is_found_and_named(
    made: Released, attack: Callable[[Released], object], expected: dict[str, str]
) -> None:
    kept = made.office.store.latest_checkpoint() or ""
    assert made.office.audit([kept]).whole

    attack(made)

    report = made.office.audit([kept])
    assert not report.whole
    for finding_id, words in expected.items():
        messages = [finding.message for finding in report.findings if finding.id == finding_id]
        assert any(words in message for message in messages), report.findings


@pytest.mark.parametrize("attack", [cut_off, truncate_and_regrow, fork_at_equal_size, reorder])
def test_without_a_checkpoint_from_elsewhere_the_audit_says_what_it_cannot_see(
    made: Released, attack: Callable[[Released], object]
) -> None:
    attack(made)

    report = made.office.audit()

    assert any("signed again with its own key" in line for line in report.blind)
    if attack is not reorder:  # which also shows in the order of evidence
        assert report.whole


def test_a_stolen_key_before_it_is_reported_is_not_found_and_the_audit_says_so(made: Released) -> None:
    """Somebody else with ada's key revokes: nothing distinguishes that from ada."""
    target = made.walk.base.id
    record = Revocation(
        target=target, target_kind="base", reason="r", revoked_by="ada", revoked_at=offices.START
    )
    logged(made.office, sign_record(Kind.REVOCATION, record, (Subject("x", target),), signer_named("ada")))

    report = made.office.audit([made.office.store.latest_checkpoint() or ""])

    assert report.whole
    assert "a key that was stolen before its loss was reported" in report.blind
    assert "a run that was never logged" in report.blind
