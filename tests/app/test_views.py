"""Each view of the review app, driven without a browser; decisions are signed for real."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from placet.attest.predicates import Kind
from placet.domain.digests import Digest
from placet.domain.records import Review, ReviewDecision, Waiver
from placet.office import Office
from placet.report.adapter import load_adapter_report
from placet.resources import app_dir
from tests.support import offices
from tests.support.demo_office import make_demo_like_office

HOSTILE = "<script>alert(1)</script>![x](http://evil.example/a.png) **b** :red[c]"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_like_office(tmp_path_factory.mktemp("demo") / "office").office.home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An office of the test's own, with its service keys' passphrase in the environment."""
    home = tmp_path / "office"
    shutil.copytree(made, home)
    monkeypatch.setenv("PLACET_HOME", str(home))
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    return home


def view(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(app_dir() / "views" / f"{name}.py"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    return app.run()


def text_of(app: AppTest) -> str:
    return "\n".join(str(element.proto.body) for element in app.get("html"))


def adapter_id(home: Path, label: str) -> Digest:
    return load_adapter_report(Office.open(home), label).adapter.id


def sign(
    app: AppTest, *, key: str = "ada", comment: str = "Read the samples.", passphrase: str | None = None
) -> AppTest:
    keys = app.selectbox(key="decision-key")
    keys.select_index([option.split(" ")[0] for option in keys.options].index(key))
    app.text_area(key="decision-comment").input(comment)
    app.text_input(key="decision-passphrase").input(offices.PASSPHRASE if passphrase is None else passphrase)
    return next(b for b in app.button if b.label == "Sign and record").click().run()


def reviews(home: Path) -> list[Review]:
    return [item.record for item in Office.open(home).reader().find(Kind.REVIEW, Review)]


@pytest.mark.parametrize("name", ["queue", "adapter", "lineage", "ledger"])
def test_a_view_draws_without_an_error(home: Path, name: str) -> None:
    app = view(name)
    assert not app.exception
    assert not app.error
    assert text_of(app)


def test_the_router_names_the_four_pages(home: Path) -> None:
    app = AppTest.from_file(str(app_dir() / "app.py"), default_timeout=60).run()
    assert not app.exception
    assert "Demo office" in text_of(app)


@pytest.mark.parametrize("name", ["queue", "adapter", "lineage", "ledger"])
def test_without_an_office_a_view_says_how_to_make_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACET_HOME", str(tmp_path / "none"))
    app = view(name)
    assert not app.exception
    assert "placet init" in app.error[0].value


@pytest.mark.parametrize("name", ["queue", "adapter", "lineage", "ledger"])
def test_an_empty_office_is_no_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offices.make_office(tmp_path / "office")
    monkeypatch.setenv("PLACET_HOME", str(tmp_path / "office"))
    app = view(name)
    assert not app.exception
    assert not app.error


def test_the_queue_can_be_narrowed_by_state_and_words(home: Path) -> None:
    app = view("queue")
    assert "desk-leaky" in text_of(app)
    app.text_input[0].input("desk-eager").run()
    assert "desk-eager" in text_of(app)
    assert "desk-leaky" not in text_of(app)


def test_the_adapter_page_answers_the_three_questions(home: Path) -> None:
    text = text_of(view("adapter", adapter=adapter_id(home, "desk-terse")))
    for part in ("NEEDS_REVIEW", "What it changes against the base", "What the risk is", "Who said what"):
        assert part in text
    assert "Against staging: desk-good" in text


def test_samples_can_be_searched_and_filtered(home: Path) -> None:
    app = view("adapter", adapter=adapter_id(home, "desk-terse"))
    assert "94 of 160 samples shown" in text_of(app)
    app.text_input[0].input("ticket 29:").run()
    assert "1 of 160 samples shown" in text_of(app)


def test_a_decision_is_signed_with_the_persons_own_key_and_logged(home: Path) -> None:
    adapter = adapter_id(home, "desk-terse")
    app = sign(view("adapter", adapter=adapter))
    assert not app.exception
    assert "Signed and recorded" in app.success[0].value
    record = reviews(home)[-1]
    assert (record.reviewer, record.decision, record.comment) == (
        "ada",
        ReviewDecision.APPROVE,
        "Read the samples.",
    )
    assert record.adapter.id == adapter
    assert "Read the samples." in text_of(app)
    assert Office.open(home).audit().whole
    assert app.text_area(key="decision-comment").value == ""


def test_the_passphrase_is_not_kept(home: Path) -> None:
    app = sign(view("adapter", adapter=adapter_id(home, "desk-terse")))
    assert offices.PASSPHRASE not in repr(app.session_state._state.filtered_state)
    assert app.text_input(key="decision-passphrase").value == ""


def test_a_wrong_passphrase_signs_nothing_and_keeps_the_comment(home: Path) -> None:
    before = len(reviews(home))
    app = sign(view("adapter", adapter=adapter_id(home, "desk-terse")), passphrase="not this one at all")
    assert "wrong passphrase" in app.error[0].value
    assert len(reviews(home)) == before
    assert app.text_area(key="decision-comment").value == "Read the samples."
    assert app.text_input(key="decision-passphrase").value == ""


def test_the_offices_passphrase_does_not_stand_in_for_the_persons(home: Path) -> None:
    app = sign(view("adapter", adapter=adapter_id(home, "desk-terse")), passphrase="")
    assert app.error
    assert len(reviews(home)) == 2


def test_a_decision_without_reasons_is_not_signed(home: Path) -> None:
    app = sign(view("adapter", adapter=adapter_id(home, "desk-terse")), comment="  ")
    assert "needs reasons" in app.error[0].value


def test_whoever_submitted_cannot_decide_and_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from placet.attest.predicates import Role

    sample = offices.make_office(tmp_path / "office")
    offices.add_person(sample, "sam", Role.APPROVER, key_name="sam-two", key_file=True)
    walk = offices.walk_to_verdict(sample)
    monkeypatch.setenv("PLACET_HOME", str(sample.office.home))
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    app = view("adapter", adapter=walk.ref.id)
    assert any("may not decide" in option for option in app.selectbox(key="decision-key").options)
    app = sign(app, key="sam-two:")
    assert any("submitted it and may not decide" in error.value for error in app.error)
    assert app.text_area(key="decision-comment").value == "Read the samples."
    assert reviews(sample.office.home) == []


def test_a_verdict_that_changed_meanwhile_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = offices.make_office(tmp_path / "office")
    walk = offices.walk_to_verdict(sample)
    monkeypatch.setenv("PLACET_HOME", str(sample.office.home))
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    app = view("adapter", adapter=walk.ref.id)
    offices.add_verdict(sample, walk.plan, evidence=[walk.plan.id])
    app = sign(app)
    assert any("changed while you looked at it" in error.value for error in app.error)
    assert app.text_area(key="decision-comment").value == "Read the samples."
    assert reviews(sample.office.home) == []


def test_a_denied_adapter_can_only_be_rejected(home: Path) -> None:
    app = view("adapter", adapter=adapter_id(home, "desk-leaky"))
    assert app.radio(key="decision-choice").options == ["Reject"]
    sign(app, comment="It gives the canaries away.")
    assert reviews(home)[-1].decision is ReviewDecision.REJECT


def test_an_inconclusive_gate_can_be_waived(home: Path) -> None:
    app = view("adapter", adapter=adapter_id(home, "desk-terse"))
    app.text_area(key="waiver-comment").input("The loss is on puzzles the desk never sees.")
    app.text_input(key="waiver-passphrase").input(offices.PASSPHRASE)
    next(b for b in app.button if b.label == "Sign waiver").click().run()
    assert "Signed and recorded" in app.success[0].value
    (waiver,) = Office.open(home).reader().find(Kind.WAIVER, Waiver)
    assert (waiver.record.gate, waiver.person) == ("general-ability", "ada")


def test_no_waiver_is_offered_where_no_gate_is_inconclusive(home: Path) -> None:
    app = view("adapter", adapter=adapter_id(home, "desk-good"))
    assert not [b for b in app.button if b.label == "Sign waiver"]


def test_without_the_service_keys_passphrase_the_page_says_how_to_mend_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLACET_PASSPHRASE")
    app = view("adapter", adapter=adapter_id(home, "desk-terse"))
    assert not app.exception
    assert "nothing can be recorded here" in app.error[0].value
    assert "PLACET" in app.error[0].value
    assert not [b for b in app.button if b.label.startswith("Sign")]


def test_the_lineage_page_shows_one_adapter_or_everything(home: Path) -> None:
    app = view("lineage", adapter=adapter_id(home, "desk-good"))
    assert "release staging by rhea" in text_of(app)
    everything = view("lineage")
    assert "desk-pickled" in text_of(everything)


def test_the_ledger_page_says_so_when_the_log_was_tampered_with(home: Path) -> None:
    assert "WHOLE" in text_of(view("ledger"))
    with duckdb.connect(str(home / "ledger.duckdb")) as db:
        db.execute("DELETE FROM entries WHERE idx = 20")
    text = text_of(view("ledger"))
    assert "NOT WHOLE" in text
    assert "record 20 is missing" in text
    assert "does not match its last checkpoint" in view("queue").error[0].value.replace("\\", "")


def test_a_record_can_be_read_as_it_was_signed(home: Path) -> None:
    app = view("ledger")
    app.number_input[0].set_value(0).run()
    assert "https://placet.dev/roles/v1" in app.code[0].value


def test_hostile_names_and_words_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = offices.make_office(tmp_path / "office")
    base = offices.add_base(sample, HOSTILE).record.ref
    walk = offices.walk_to_verdict(sample, HOSTILE, base=base)
    offices.approve(sample, walk.ref, "ada", HOSTILE)
    monkeypatch.setenv("PLACET_HOME", str(sample.office.home))
    monkeypatch.setenv("PLACET_PASSPHRASE", offices.PASSPHRASE)
    for name in ("queue", "adapter", "lineage", "ledger"):
        app = view(name)
        assert not app.exception
        assert "<script>" not in text_of(app)
        acting = [*app.markdown, *app.error, *app.success, *app.info, *app.warning]
        assert not any("![x]" in element.value for element in acting)
        # Labels of buttons are Markdown: every character that could act is escaped.
        assert not any(re.search(r"(?<!\\)[<\[!*:]", button.label) for button in app.button)
