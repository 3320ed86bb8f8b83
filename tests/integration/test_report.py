"""The view models and their forms, on an office that went every way a submission can go."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from placet.domain.errors import IntegrityError, UsageError
from placet.domain.records import ReviewDecision
from placet.lineage.graph import Status
from placet.office import Office, TrustDesk
from placet.report import drawing
from placet.report.adapter import load_adapter_report
from placet.report.data import render_json
from placet.report.keys import check_service_key, load_approver_keys
from placet.report.ledger import load_ledger_page, record_text
from placet.report.lineage import load_lineage
from placet.report.page import render_html, whole_report
from placet.report.queue import load_queue
from placet.report.samples import Flip, load_samples
from placet.report.state import State
from placet.report.terminal import print_report
from placet.review import desk
from tests.support import offices
from tests.support.demo_office import DENIED, INCONCLUSIVE, REFUSED, make_demo_like_office
from tests.support.offices import SampleOffice

HOSTILE = "<script>alert(1)</script>![x](http://evil.example/a.png)\x1b[2J\u202e"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> SampleOffice:
    return make_demo_like_office(tmp_path_factory.mktemp("demo") / "office")


@pytest.fixture
def sample(tmp_path: Path) -> SampleOffice:
    return offices.make_office(tmp_path / "office", key_files=False)


class Page(HTMLParser):
    """What a page holds: its elements, their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# --- queue


def test_the_queue_says_where_everything_handed_in_stands(demo: SampleOffice) -> None:
    states = {item.label: item.state for item in load_queue(demo.office).items}
    assert states == {
        "desk-good": State.RELEASED,
        **dict.fromkeys(DENIED, State.DENIED),
        **dict.fromkeys(INCONCLUSIVE, State.NEEDS_REVIEW),
        REFUSED: State.REFUSED,
    }


def test_what_a_person_can_act_on_stands_first(demo: SampleOffice) -> None:
    assert load_queue(demo.office).items[0].state is State.NEEDS_REVIEW


def test_a_refused_submission_names_its_finding_and_how_to_mend_it(demo: SampleOffice) -> None:
    (refused,) = [item for item in load_queue(demo.office).items if item.refused]
    assert refused.adapter is None
    assert refused.standing.detail.startswith("pickle-file: ")
    assert "safetensors" in refused.standing.next_step


def test_asking_for_a_refused_submission_says_what_intake_found(demo: SampleOffice) -> None:
    with pytest.raises(UsageError, match="refused at intake: pickle-file") as caught:
        load_adapter_report(demo.office, REFUSED)
    assert "safetensors" in caught.value.hint


def test_the_queue_says_what_runs_on_a_channel(demo: SampleOffice) -> None:
    assert [(item.channel, item.label) for item in load_queue(demo.office).running] == [
        ("staging", "desk-good")
    ]


def test_a_submission_goes_from_waiting_over_approvals_to_released_and_revoked(sample: SampleOffice) -> None:
    def state() -> tuple[State, str]:
        (item,) = load_queue(sample.office).items
        return item.state, item.standing.detail

    base = offices.add_base(sample).record.ref
    adapter = offices.make_adapter(sample, "it")
    offices.add_training(sample, adapter, base)
    offices.add_intake(sample, adapter, base)
    offices.add_submission(sample, adapter, base)
    assert state()[0] is State.WAITING
    plan = offices.add_plan(sample, adapter.ref, base)
    runs = [
        offices.add_measurement(
            sample, item.suite.id, plan, [1.0 if n % 10 else 0.0 for n in range(len(item.samples))]
        )
        for item in plan.record.suites
    ]
    offices.add_verdict(sample, plan, evidence=[plan.id, *(run.id for run in runs)])
    assert state() == (State.AWAITING_APPROVAL, "0 of 2 approvals")
    offices.approve(sample, adapter.ref, "ada")
    assert state() == (State.AWAITING_APPROVAL, "1 of 2 approvals")
    offices.reject(sample, adapter.ref, "ben", "The tone is wrong.")
    assert state() == (State.REJECTED, "ben rejected it: The tone is wrong.")
    offices.approve(sample, adapter.ref, "ben")
    assert state() == (State.APPROVED, "by ada, ben")
    offices.release(sample, adapter.ref)
    assert state() == (State.RELEASED, "on staging")
    desk.revoke(sample.office, base.id, "base", "base", "bad tokenizer", sample.signers["rhea"])
    assert state() == (State.REVOKED, "by rhea: bad tokenizer")
    assert load_queue(sample.office).running == ()


def test_a_release_whose_approval_lapsed_says_so(sample: SampleOffice) -> None:
    offices.walk_to_release(sample)
    sample.clock.advance(days=200)
    (item,) = load_queue(sample.office).items
    assert (item.state, item.status) == (State.RELEASED, Status.CAUTION)
    assert item.standing.detail.startswith(
        "on staging, but its approval no longer holds: the approval of ada"
    )
    assert "…" not in item.standing.detail
    assert item.standing.detail.endswith("; and 1 more")


def test_a_release_that_was_replaced_says_so(sample: SampleOffice) -> None:
    walk, *_ = offices.walk_to_release(sample, "old")
    offices.walk_to_release(sample, "new", base=walk.base)
    details = {item.label: item.standing.detail for item in load_queue(sample.office).items}
    assert details == {"old": "was on staging, since replaced", "new": "on staging"}


# --- one adapter


def test_a_report_shows_figures_beside_base_and_incumbent(demo: SampleOffice) -> None:
    report = load_adapter_report(demo.office, "desk-terse")
    row = next(row for row in report.figures if row.suite == "general-piqa")
    assert row.base is not None
    assert (row.adapter.mean, row.base.mean, row.better) == (0.6325, 0.6775, False)
    assert row.incumbents == (("staging: desk-good", 0.67),)
    assert any("Against staging: desk-good" in text for _, text in report.brief.changes)


def test_an_adapter_is_found_by_label_or_by_the_start_of_its_id(demo: SampleOffice) -> None:
    by_label = load_adapter_report(demo.office, "desk-eager")
    digits = by_label.adapter.id.removeprefix("sha256:")[:10]
    assert load_adapter_report(demo.office, digits).adapter == by_label.adapter
    assert load_adapter_report(demo.office, by_label.adapter.id).adapter == by_label.adapter


@pytest.mark.parametrize("text", ["nobody", "", "sha256:"])
def test_an_unknown_adapter_is_an_error_that_says_where_to_look(demo: SampleOffice, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_adapter_report(demo.office, text)
    assert "placet report" in caught.value.hint


def test_all_evidence_is_listed_with_signer_and_state(demo: SampleOffice) -> None:
    report = load_adapter_report(demo.office, "desk-good")
    kinds = [item.kind for item in report.evidence]
    assert {"training", "intake", "submission", "plan", "verdict", "review", "release"} <= set(kinds)
    assert all(item.verified and item.signer and item.index is not None for item in report.evidence)


def test_a_decision_that_does_not_count_says_why(demo: SampleOffice, sample: SampleOffice) -> None:
    walk = offices.walk_to_verdict(sample)
    offices.approve(sample, walk.ref, "ada")
    offices.reject(sample, walk.ref, "ada", "On second thought, no.")
    approval = load_adapter_report(sample.office, "desk-good").approval
    assert approval is not None
    assert [(item.counts, item.why) for item in approval.reviews] == [
        (False, "replaced by a newer decision"),
        (True, ""),
    ]


def test_an_expired_approval_does_not_count_and_says_so(sample: SampleOffice) -> None:
    walk = offices.walk_to_verdict(sample)
    offices.approve(sample, walk.ref, "ada")
    sample.clock.advance(days=200)
    approval = load_adapter_report(sample.office, "desk-good").approval
    assert approval is not None
    assert approval.reviews[0].why.startswith("it expired at")


def test_a_report_of_a_tampered_log_is_refused(demo: SampleOffice, tmp_path: Path) -> None:
    home = tmp_path / "office"
    shutil.copytree(demo.office.home, home)
    with duckdb.connect(str(home / "ledger.duckdb")) as db:
        db.execute("DELETE FROM entries WHERE idx = (SELECT max(idx) FROM entries)")
    with pytest.raises(IntegrityError, match="does not match its last checkpoint"):
        load_queue(Office.open(home))


# --- samples


def test_samples_that_flipped_come_first_and_agree_with_the_figures(demo: SampleOffice) -> None:
    report = load_adapter_report(demo.office, "desk-terse")
    row = next(row for row in report.figures if row.suite == "general-piqa")
    table = load_samples(demo.office, row)
    assert table.counts() == {Flip.LOST: 34, Flip.GAINED: 16, Flip.SAME: 350, Flip.ALONE: 0}
    assert [item.flip for item in table.samples[:50]] == [Flip.LOST] * 34 + [Flip.GAINED] * 16
    assert sum(item.value for item in table.samples) / len(table.samples) == pytest.approx(row.adapter.mean)


def test_the_answer_of_a_multiple_choice_row_is_the_likelier_option(demo: SampleOffice) -> None:
    report = load_adapter_report(demo.office, "desk-terse")
    row = next(row for row in report.figures if row.suite == "general-piqa")
    for item in load_samples(demo.office, row).samples[:50]:
        assert (item.answer == item.target) == (item.value == 1.0)


def test_samples_whose_blob_was_altered_are_an_error(demo: SampleOffice, tmp_path: Path) -> None:
    home = tmp_path / "office"
    shutil.copytree(demo.office.home, home)
    office = Office.open(home)
    row = load_adapter_report(office, "desk-good").figures[0]
    path = office.blobs.path(row.adapter.blob)
    path.chmod(0o644)
    path.write_bytes(b"something else")
    with pytest.raises(IntegrityError):
        load_samples(office, row)


# --- forms


@pytest.mark.parametrize("label", ["desk-good", *DENIED, *INCONCLUSIVE])
def test_the_html_report_is_one_file_without_script_or_reference_outwards(
    demo: SampleOffice, label: str
) -> None:
    report = load_adapter_report(demo.office, label)
    html = render_html(report, [load_samples(demo.office, row) for row in report.figures])
    page = Page(html)
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "img"}
    targets = [
        attrs[key] for _, attrs in page.elements for key in ("href", "src", "xlink:href") if attrs.get(key)
    ]
    assert all(str(target).startswith("#") for target in targets)
    assert not re.search(r"url\(|@import", html)
    assert html.index("Gates") < html.index("Evidence")
    assert str(report.verdict.decision if report.verdict else "") in page.text


def test_the_whole_report_says_what_the_plan_was_and_could_show(demo: SampleOffice) -> None:
    page = Page(whole_report(demo.office, load_adapter_report(demo.office, "desk-terse")))
    assert "What would have to change" in page.text
    assert "What its samples can show" in page.text
    assert "order holds" in page.text
    assert "ANOTHER ORDER" not in page.text


def test_a_plan_in_another_order_than_the_ledger_gives_is_told(demo: SampleOffice) -> None:
    report = load_adapter_report(demo.office, "desk-terse")
    assert report.plan is not None
    turned = tuple(replace(suite, drawn=False) for suite in report.plan.suites)
    changed = replace(report, plan=replace(report.plan, suites=turned))
    page = Page(whole_report(demo.office, changed))
    assert "order does not hold" in page.text
    assert "ANOTHER ORDER" in page.text


def test_a_policy_that_is_not_in_the_store_costs_the_report_only_what_is_made_of_it(
    demo: SampleOffice, tmp_path: Path
) -> None:
    home = tmp_path / "office"
    shutil.copytree(demo.office.home, home)
    office = Office.open(home)
    report = load_adapter_report(office, "desk-terse")
    assert report.plan is not None
    office.blobs.path(report.plan.policy.digest).unlink()
    text = Page(whole_report(office, report)).text
    assert "are left out: the document of policy default" in text
    assert "What its samples can show" not in text
    assert "What would have to change" in text


def test_every_record_a_gate_rests_on_is_an_anchor_of_the_report(demo: SampleOffice) -> None:
    report = load_adapter_report(demo.office, "desk-good")
    page = Page(render_html(report))
    ids = {attrs["id"] for _, attrs in page.elements if attrs.get("id")}
    targets = {str(attrs["href"])[1:] for name, attrs in page.elements if name == "a" and "href" in attrs}
    assert targets
    assert targets <= ids


def test_hostile_names_and_words_are_shown_as_text(sample: SampleOffice) -> None:
    base = offices.add_base(sample, HOSTILE).record.ref
    adapter = offices.make_adapter(sample, HOSTILE)
    training = offices.add_training(sample, adapter, base, dataset=HOSTILE)
    offices.add_intake(sample, adapter, base)
    offices.add_submission(sample, adapter, base, training=(training.id,), note=HOSTILE)
    plan = offices.add_plan(sample, adapter.ref, base)
    offices.add_verdict(
        sample,
        plan,
        evidence=[plan.id],
        gates=[offices.passing_gate().model_copy(update={"reason": HOSTILE})],
    )
    desk.review(sample.office, adapter.ref.id, ReviewDecision.APPROVE, HOSTILE, sample.signers["ada"])
    report = load_adapter_report(sample.office, adapter.ref.id)

    html = render_html(report)
    page = Page(html)
    assert not {"script", "img"} & {name for name, _ in page.elements}
    assert "<script>alert(1)</script>" in page.text
    assert not set(html) & {"\x1b", "\u202e"}

    out = io.StringIO()
    print_report(Console(file=out, width=140, force_terminal=True, color_system=None), report)
    assert "\x1b[2J" not in out.getvalue()
    assert "\u202e" not in out.getvalue()
    assert "<script>" in out.getvalue()


def test_without_graphviz_the_lineage_is_a_list(demo: SampleOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing.shutil, "which", lambda _name: None)
    page = Page(drawing.lineage_html(load_lineage(demo.office, "desk-good")))
    assert "svg" not in {name for name, _ in page.elements}
    assert "release staging by rhea" in page.text


def test_with_graphviz_the_lineage_is_an_svg(demo: SampleOffice, require_program: object) -> None:
    require_program("dot")  # type: ignore[operator]
    page = Page(drawing.lineage_html(load_lineage(demo.office, "desk-good")))
    assert "svg" in {name for name, _ in page.elements}
    assert "desk-good" in page.text


def test_the_json_report_holds_no_floats(demo: SampleOffice) -> None:
    def refuse(text: str) -> float:
        raise AssertionError(f"a float: {text}")

    data = json.loads(render_json(load_adapter_report(demo.office, "desk-good")), parse_float=refuse)
    assert data["verdict"]["decision"] == "ALLOW"
    assert data["approval"]["approvers"] == ["ada", "ben"]


def test_the_terminal_report_tells_verdict_gates_and_what_is_missing(demo: SampleOffice) -> None:
    out = io.StringIO()
    print_report(Console(file=out, width=140), load_adapter_report(demo.office, "desk-terse"))
    text = out.getvalue()
    assert "! NEEDS_REVIEW" in text
    assert "to pass: " in text
    assert "missing: 0 of 2 approvals" in text
    assert "✓ verified" in text


# --- ledger and keys


def test_the_ledger_page_of_a_whole_log_names_every_record(demo: SampleOffice) -> None:
    page = load_ledger_page(demo.office, blobs=True)
    assert page.audit.whole
    assert [row.index for row in page.rows] == list(range(page.audit.records))
    assert all(row.verified and row.signer for row in page.rows)
    assert page.checkpoint.startswith("placet.dev/demo-office\n")


def test_the_ledger_page_of_a_tampered_log_says_which_record(demo: SampleOffice, tmp_path: Path) -> None:
    home = tmp_path / "office"
    shutil.copytree(demo.office.home, home)
    with duckdb.connect(str(home / "ledger.duckdb")) as db:
        db.execute("UPDATE entries SET envelope = (SELECT envelope FROM entries WHERE idx = 9) WHERE idx = 8")
    page = load_ledger_page(Office.open(home))
    assert not page.audit.whole
    assert not page.rows[8].verified
    assert page.rows[7].verified


def test_a_record_can_be_read_as_it_was_signed(demo: SampleOffice) -> None:
    assert json.loads(record_text(demo.office, 0))["predicateType"] == "https://placet.dev/roles/v1"


def test_only_approvers_whose_file_lies_here_can_decide_here(demo: SampleOffice) -> None:
    assert [key.file for key in load_approver_keys(demo.office)] == ["ada", "ben"]


def test_an_ended_grant_can_no_longer_decide(tmp_path: Path) -> None:
    sample = offices.make_office(tmp_path / "office")
    TrustDesk(sample.office).end_grants(sample.signers["ada"].public.key_id)
    assert [key.file for key in load_approver_keys(sample.office)] == ["ben"]


def test_a_service_key_that_does_not_open_says_how_to_mend_it(
    demo: SampleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exception, match="nothing can be recorded here") as caught:
        check_service_key(Office.open(demo.office.home))
    assert "PLACET_PASSPHRASE" in caught.value.hint  # type: ignore[attr-defined]
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    check_service_key(Office.open(demo.office.home))
