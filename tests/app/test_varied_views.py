"""What the views show of verdicts with every kind of gate: plans, paths, groups, refusals, witnesses, large offices."""

from __future__ import annotations

import base64
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from placet.attest.predicates import Role
from placet.domain.text import duration
from placet.ledger.note import cosign
from placet.office import Office, TrustDesk, utc_now
from placet.report import ledger as ledger_page
from placet.report.adapter import load_adapter_report
from placet.resources import app_dir
from tests.support import offices, varied_office
from tests.support.offices import PASSPHRASE

pytestmark = pytest.mark.slow
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return varied_office.make_varied_office(tmp_path_factory.mktemp("varied") / "office").office.home


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "office"
    shutil.copytree(made, home)
    monkeypatch.setenv("PLACET_HOME", str(home))
    monkeypatch.setenv("PLACET_PASSPHRASE", PASSPHRASE)
    return home


def view(name: str, label: str = "") -> AppTest:
    app = AppTest.from_file(str(app_dir() / "views" / f"{name}.py"), default_timeout=120)
    if label:
        app.query_params["adapter"] = label
    app.run()
    assert not app.exception
    return app


def text_of(app: AppTest) -> str:
    return "\n".join(str(element.proto.body) for element in app.get("html"))


def pictures(html: str, kind: str) -> list[ElementTree.Element]:
    """Return the SVG elements of class `kind` in the images of a page."""
    found = []
    for data in re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html):
        root = ElementTree.fromstring(base64.b64decode(data))
        found += [one for one in root.iter(f"{SVG}svg") if kind in one.get("class", "").split()]
    return found


def test_a_sequential_gate_shows_its_path_with_threshold_stop_and_share_of_samples(home: Path) -> None:
    html = text_of(view("adapter", "town-blunt"))
    paths = pictures(html, "path")
    titles = [path.findtext(f"{SVG}title") or "" for path in paths]
    (title,) = [
        text for text in titles if re.match(r"sequential test, decided FAIL after \d+ of 3000 planned", text)
    ][:1]
    used = int(re.findall(r"after (\d+)", title)[0])
    assert used < 1000
    assert "it decides at 20" in title
    failed = paths[titles.index(title)]
    assert failed.findtext(f"{SVG}desc")
    words = [text.text or "" for text in failed.iter(f"{SVG}text")]
    assert {"decides at 20", "PASS", "FAIL", f"{used} read"} <= set(words)
    assert any(word.startswith(f"{used} of 3000 planned documents (") for word in words)
    classes = [one.get("class", "") for one in failed.iter()]
    assert {"p-path-pass", "p-path-fail", "p-limit", "p-end", "p-used", "p-all"} <= set(classes)
    # The picture is as large in the page as it was drawn: a rule that fixed its height made it unreadable.
    assert re.search(r"img\.plot-image \{[^}]*height: auto", html)


def test_names_of_lines_that_end_together_do_not_cover_each_other(home: Path) -> None:
    for picture in pictures(text_of(view("adapter", "town-undecided")), "path"):
        ends = [float(t.get("y", "0")) for t in picture.iter(f"{SVG}text") if t.text in {"PASS", "FAIL"}]
        assert abs(ends[0] - ends[1]) >= 10


def test_every_group_is_shown_against_the_margin_the_weakest_first(home: Path) -> None:
    html = text_of(view("adapter", "town-blunt"))
    section = html.split("even-handed: even-handed by about")[1]
    order = [section.index(f">{name}<") for name in ("origin", "language", "gender", "age")]
    assert order[0] == min(order)
    assert section.count("<img") >= 4


def test_the_weakest_group_has_the_interval_that_the_verdict_records(home: Path) -> None:
    from placet.report.groups import load_groups

    office = Office.open(home)
    report = load_adapter_report(office, "town-blunt")
    assert report.verdict is not None
    (table,) = load_groups(office, report.verdict.record)
    gate = next(gate for gate in report.verdict.gates if gate.result.gate == "even-handed")
    assert gate.result.interval is not None
    weakest = table.groups[0]
    assert weakest.name == "origin"
    assert weakest.plot is not None
    assert (weakest.plot.low, weakest.plot.high) == (gate.result.interval.low, gate.result.interval.high)
    assert (weakest.n, weakest.figure) == (gate.result.n, pytest.approx(gate.result.figure, abs=1e-6))


def test_the_plan_says_sizes_order_cost_and_what_it_can_show(home: Path) -> None:
    html = text_of(view("adapter", "town-undecided"))
    for part in (
        "order holds",
        "drawn from the ledger as it stood at",
        "signature over it, which nobody else could foresee, before anything ran; drawn again just now: the same",
        "may stop early, looked at after every 50; about all documents of this kind",
        "groups by about",
        "channel:production (town-current)",
        "At least 123 of 200 documents must count to show the floor of 0.55",
        "is expected to need",
    ):
        assert part in html
    row = re.search(r"<tr><th[^>]*>tickets<div[^>]*>evaluation, version 1.*?</tr>", html, re.DOTALL)
    assert row is not None
    assert ">1000<" in row[0]
    assert "of 2400" in row[0]
    plan = load_adapter_report(Office.open(home), "town-undecided").plan
    assert plan is not None
    tickets = plan.suites[0]
    assert tickets.expected_s is not None
    assert f">{duration(tickets.expected_s)}<" in row[0]
    assert f">{tickets.expected}<" in row[0]


def test_a_plan_in_another_order_than_the_ledger_gives_is_told(home: Path) -> None:
    from placet.domain.records import Plan
    from placet.report.fragments import plan_part
    from placet.report.plans import _view

    office = Office.open(home)
    report = load_adapter_report(office, "town-waiting")
    assert report.plan is not None
    assert all(item.drawn for item in report.plan.suites)
    from placet.report.snapshot import load_snapshot

    found = load_snapshot(office).by_id(report.plan.record)
    assert found is not None
    assert isinstance(found.record, Plan)
    suite = found.record.suites[0]
    turned = suite.model_copy(update={"samples": tuple(reversed(suite.samples))})
    chosen = found.record.model_copy(update={"suites": (turned, *found.record.suites[1:])})
    told = _view(load_snapshot(office), replace(found, record=chosen), None, judged=False)
    assert told.unforeseen
    older = _view(
        load_snapshot(office),
        replace(found, record=chosen.model_copy(update={"draw": None})),
        None,
        judged=False,
    )
    assert "whoever added the last of them could foresee it" in str(plan_part(older))
    assert "ANOTHER ORDER" in str(plan_part(older))
    assert [item.drawn for item in told.suites] == [False, *(True for _ in chosen.suites[1:])]


def test_a_plan_too_old_for_its_policy_is_called_expired(home: Path) -> None:
    html = text_of(view("adapter", "town-waiting"))
    assert "! expired" in html
    assert "older than the 60 days its policy allows" in html
    assert "no verdict rests on it yet" in html


def test_a_refusal_says_what_would_have_to_change_in_figures(home: Path) -> None:
    html = text_of(view("adapter", "town-blunt"))
    report = load_adapter_report(Office.open(home), "town-blunt")
    assert report.verdict is not None
    gaps = [gate.gap for gate in report.verdict.gates if gate.gap]
    assert len(gaps) >= 3
    part = html.split("What would have to change")[1]
    assert all(gap in part for gap in gaps)
    assert "Take the secrets out of the training data" in part
    assert "What would have to change" not in text_of(view("adapter", "town-current"))


def test_a_comparison_with_a_release_names_it(home: Path) -> None:
    html = text_of(view("adapter", "town-undecided"))
    assert "against channel:production (town-current) " in html
    assert re.search(r"channel:production \(town-current\) 0\.\d+", html)


def test_gates_that_stop_early_are_not_called_tight(home: Path) -> None:
    (line,) = re.findall(
        r"Least room to the limit among passed gates: [^<]*", text_of(view("adapter", "town-undecided"))
    )
    assert "routes" not in line


def test_a_waiver_that_no_longer_counts_is_told_so(home: Path) -> None:
    html = text_of(view("adapter", "town-undecided"))
    assert "waived by ada, which no longer counts" in html
    assert "and 1 more gate to waive" in html


def test_the_queue_tells_how_far_a_plan_got(home: Path) -> None:
    html = text_of(view("queue"))
    assert re.search(r"planned 2026-05-22 \d\d:\d\d UTC: 0 of 6 suites run, about \d+ min", html)
    assert html.count("suites run") == 1


# --- ledger -------------------------------------------------------------------------------------------------


def witnessed(home: Path) -> None:
    """Name a witness, and leave its co-signature of the newest checkpoint in the office; then two records more."""
    office = Office.open(home, ask=lambda _: PASSPHRASE)
    signer = offices.signer_named("witness")
    TrustDesk(office).grant(signer.public, "City archive", [Role.WITNESS])
    note = office.store.latest_checkpoint() or ""
    (home / "witnessed").mkdir()
    (home / "witnessed" / "archive").write_text(cosign(note, "archive.example.org", signer, 1_795_250_000))
    (home / "witnessed" / "junk").write_text("no checkpoint")
    TrustDesk(office).grant(offices.signer_named("another").public, "Zoe", [Role.APPROVER])


def test_without_a_witness_the_ledger_page_says_what_cannot_be_seen(home: Path) -> None:
    html = text_of(view("ledger"))
    assert "No witness is named. Whoever runs this office could rewrite the log" in html
    assert "a log rewritten or cut short and signed again with its own key" in html


def test_the_last_co_signature_is_shown_with_what_it_covers(home: Path) -> None:
    witnessed(home)
    size = Office.open(home).store.size()
    html = text_of(view("ledger"))
    assert f"co-signed {size - 1} records as archive.example.org, 2026-11-21 08:33 UTC (1 record ago)" in html
    assert (
        f"Records 0 to {size - 2} cannot be rewritten without this page showing it; the 1 record since could"
        in html
    )
    assert "rewritten or cut short and signed again" not in html


def test_a_co_signature_by_a_key_that_is_no_witness_counts_for_nothing(home: Path) -> None:
    witnessed(home)
    path = home / "witnessed" / "archive"
    note = Office.open(home).store.latest_checkpoint() or ""
    path.write_text(cosign(note, "archive.example.org", offices.signer_named("stranger"), 1_795_250_000))
    html = text_of(view("ledger"))
    assert "City archive has co-signed nothing that lies here" in html
    assert "a log rewritten or cut short and signed again with its own key" in html


def test_a_log_regrown_under_a_co_signed_checkpoint_is_found_on_the_page(home: Path, made: Path) -> None:
    witnessed(home)
    # The operator puts the office back to before, and goes on with real keys to the same length.
    shutil.copy(made / "ledger.duckdb", home / "ledger.duckdb")
    # Another second than before: the same statement, signed again, would be the same record.
    office = Office.open(home, ask=lambda _: PASSPHRASE, clock=lambda: utc_now() + timedelta(minutes=1))
    TrustDesk(office).grant(offices.signer_named("witness").public, "City archive", [Role.WITNESS])
    TrustDesk(office).grant(offices.signer_named("other").public, "Yan", [Role.APPROVER])
    html = text_of(view("ledger"))
    assert "NOT WHOLE" in html
    assert "forked-log" in html
    assert "another history" in html


def test_a_pasted_checkpoint_is_compared_with(home: Path) -> None:
    kept = Office.open(home).store.latest_checkpoint() or ""
    app = view("ledger")
    app.text_area(key="audit-outside").input(kept).run()
    assert "a checkpoint kept elsewhere, at size" in text_of(app)
    app.text_area(key="audit-outside").input("nonsense").run()
    assert not app.exception
    assert app.error or "foreign-checkpoint" in text_of(app)


def test_the_root_of_trust_and_ended_keys_are_shown(home: Path) -> None:
    office = Office.open(home, ask=lambda _: PASSPHRASE)
    TrustDesk(office).end_grants(offices.signer_named("ben").public.key_id)
    html = text_of(view("ledger"))
    assert office.root.current.pin in html
    assert "1 of 1: Town office: root" in html
    assert re.search(r"ben</th><td>approver</td><td[^>]*>4 to \d+ <span[^>]*>ended", html)


def test_an_edit_after_the_first_look_is_found_though_the_page_was_whole(home: Path) -> None:
    assert "✓ WHOLE" in text_of(view("ledger"))
    with duckdb.connect(str(home / "ledger.duckdb")) as db:
        db.execute("UPDATE entries SET envelope = (SELECT envelope FROM entries WHERE idx = 9) WHERE idx = 8")
    assert "✕ NOT WHOLE" in text_of(view("ledger"))
    app = AppTest.from_file(str(app_dir() / "views" / "queue.py"), default_timeout=60).run()
    assert "does not match its last checkpoint" in app.error[0].value.replace("\\", "")


def test_of_a_long_log_only_what_is_new_is_audited_and_the_page_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_page, "WHOLE_AGAIN_BELOW", 10)
    first = ledger_page.load_ledger_page(Office.open(home))
    TrustDesk(Office.open(home, ask=lambda _: PASSPHRASE)).grant(
        offices.signer_named("another").public, "Zoe", [Role.APPROVER]
    )
    second = ledger_page.load_ledger_page(Office.open(home))
    assert (second.audit.start, second.audit.records) == (first.audit.records, first.audit.records + 1)
    assert (second.audit.whole, second.whole_at) == (True, first.whole_at)
    assert len(second.rows) == second.audit.records
    assert ledger_page.load_ledger_page(Office.open(home), again=True).audit.start == 0
    with duckdb.connect(str(home / "ledger.duckdb")) as db:
        db.execute("DELETE FROM entries WHERE idx = 20")
    damaged = ledger_page.load_ledger_page(Office.open(home))
    assert (damaged.audit.start, damaged.audit.whole) == (0, False)
