from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from placet.domain.digests import digest_json
from placet.domain.records import Decision, GateResult, Interval, LedgerHead, Outcome, PathPoint, PolicyRef
from placet.lineage.graph import Lineage, Status
from placet.report.data import render_json, to_data
from placet.report.fragments import badge, gates_table, worded
from placet.report.gap import Plot, plot_of
from placet.report.markup import Html, el, join
from placet.report.paths import path_svg, path_words
from placet.report.pictures import as_image
from placet.report.plots import domain, interval_svg, words
from placet.report.state import STANDING, State
from placet.report.style import Theme, style_sheet
from placet.report.terminal import interval_bar
from placet.report.text import figure, moment, plural, signed
from placet.report.view import DECISION_STATUS, OUTCOME_STATUS, GateView, VerdictView


def gate(**changes: object) -> GateResult:
    values: dict[str, object] = {
        "gate": "job",
        "kind": "floor",
        "outcome": Outcome.PASS,
        "figure": 0.9,
        "interval": Interval(low=0.85, high=0.94, level=0.9, method="Clopper-Pearson"),
        "threshold": 0.8,
        "comparison": "exact_match ≥ 0.80",
        "n": 120,
        "reason": "Shown.",
    }
    return GateResult.model_validate(values | changes)


# --- words and figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.5, "0.50"),
        (0.67754, "0.6775"),
        (-0.0312, "−0.0312"),
        (-0.00001, "0.00"),
        (12.0, "12.00"),
    ],
)
def test_figures_have_two_to_four_places_and_a_real_minus(value: float | None, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "+0.25"), (-0.25, "−0.25"), (0.0, "0"), (-0.00001, "0"), (None, "–")]
)
def test_differences_carry_their_sign(value: float | None, text: str) -> None:
    assert signed(value) == text


def test_counts_are_whole_numbers() -> None:
    assert GateView(gate(figure=17, baseline=0, interval=None), None).counts
    assert not GateView(gate(figure=0.5, interval=None), None).counts
    assert figure(17.0, 0) == "17"


def test_moments_name_their_zone_and_counts_their_number() -> None:
    assert moment(datetime(2026, 3, 2, 9, 5, tzinfo=UTC)) == "2026-03-02 09:05 UTC"
    assert (plural(1, "gate"), plural(2, "gate")) == ("1 gate", "2 gates")


def test_every_state_outcome_and_decision_has_a_standing() -> None:
    assert set(STANDING) == set(State)
    assert set(OUTCOME_STATUS) == set(Outcome)
    assert set(DECISION_STATUS) == set(Decision)


# --- markup


def test_text_is_escaped_wherever_it_stands() -> None:
    made = el("p", "<b>&", ["<i>", None, 3], title='"><script>', hidden=True, lang=None)
    assert made == '<p title="&quot;&gt;&lt;script&gt;" hidden>&lt;b&gt;&amp;&lt;i&gt;3</p>'


def test_only_markup_made_here_is_let_through() -> None:
    assert join([el("b", "x"), "<b>y</b>"]) == "<b>x</b>&lt;b&gt;y&lt;/b&gt;"
    assert el("div", str(el("b", "x"))) == "<div>&lt;b&gt;x&lt;/b&gt;</div>"
    assert el("div", Html("<b>x</b>")) == "<div><b>x</b></div>"


def test_control_and_direction_characters_do_not_reach_a_page() -> None:
    assert el("p", "a\x1b\u202eb\n") == "<p>a\ufffd\ufffdb\n</p>"


def test_a_badge_says_by_sign_what_it_says_by_colour() -> None:
    assert "✕ denied" in badge(Status.BAD, "denied")


# --- plots


def test_a_plot_of_a_comparison_is_of_the_difference_to_the_base() -> None:
    interval = Interval(low=-0.03, high=0.02, level=0.9, method="Tango")
    plot = plot_of(gate(baseline=0.95, interval=interval, threshold=-0.05, comparison="difference > -0.05"))
    assert plot is not None
    assert plot.difference
    assert plot.point == pytest.approx(-0.05)
    assert plot.sign == ">"
    assert plot.passes_above


@pytest.mark.parametrize("missing", ["figure", "interval", "threshold"])
def test_a_gate_without_figure_interval_or_threshold_is_not_drawn(missing: str) -> None:
    assert plot_of(gate(**{missing: None})) is None


@pytest.mark.parametrize(
    ("comparison", "sign", "room"),
    [("x ≥ 0.80", "≥", 0.05), ("x ≤ 0.80", "≤", -0.14), ("x is fine", "", None), ("0.1 ≤ x ≥ 0.2", "", None)],
)
def test_room_is_measured_from_the_deciding_end(comparison: str, sign: str, room: float | None) -> None:
    plot = plot_of(gate(comparison=comparison))
    assert plot is not None
    assert plot.sign == sign
    assert plot.room == (None if room is None else pytest.approx(room))


@pytest.mark.parametrize(
    ("plot", "ends"),
    [
        (Plot(0.9, 0.8, 0.95, 0.7, "≥", difference=False), (0.0, 1.0)),
        (Plot(-0.01, -0.04, 0.02, -0.07, ">", difference=True), (-0.1, 0.1)),
        (Plot(0.6, 0.5, 0.7, 0.0, ">", difference=True), (-1.0, 1.0)),
        (Plot(6.5, 4.0, 9.2, 3.0, "≤", difference=False), (0.0, 20.0)),
        (Plot(-3.0, -4.0, -2.0, 0.0, "≤", difference=False), (-5.0, 1.0)),
    ],
)
def test_an_axis_holds_everything_and_ends_at_a_round_figure(plot: Plot, ends: tuple[float, float]) -> None:
    low, high = domain(plot)
    assert (low, high) == pytest.approx(ends)
    assert low <= min(plot.low, plot.threshold) <= max(plot.high, plot.threshold) <= high


def test_a_picture_is_well_formed_and_says_in_words_what_it_shows() -> None:
    plot = Plot(0.9, 0.85, 0.94, 0.8, "≥", difference=False)
    root = ET.fromstring(interval_svg(plot, passed=True))
    assert root.findtext("{http://www.w3.org/2000/svg}title") == words(plot)
    assert words(plot) == "0.90, interval 0.85 to 0.94, passes if ≥ 0.80"


def test_a_figure_that_did_not_pass_is_a_hollow_dot() -> None:
    plot = Plot(0.7, 0.6, 0.75, 0.8, "≥", difference=False)
    assert "hollow" in interval_svg(plot, passed=False)
    assert "hollow" not in interval_svg(plot, passed=True)


def test_a_picture_as_image_needs_nothing_from_elsewhere() -> None:
    plot = Plot(0.9, 0.85, 0.94, 0.8, "≥", difference=False)
    image = as_image(Theme.DARK, "plot")(interval_svg(plot, passed=True), 'a "b"')
    assert image.startswith('<img src="data:image/svg+xml;base64,')
    assert 'alt="a &quot;b&quot;"' in image


def test_the_path_of_a_sequential_test_is_drawn_and_told() -> None:
    path = (
        PathPoint(n=0, to_pass=0.0, to_fail=0.0),
        PathPoint(n=50, to_pass=0.6, to_fail=-0.9),
        PathPoint(n=90, to_pass=99.0, to_fail=-99.0),
    )
    sequential = gate(path=path)
    svg = path_svg(sequential)
    assert svg is not None
    root = ET.fromstring(svg)
    assert root.findtext("{http://www.w3.org/2000/svg}title") == path_words(sequential)
    told = "decided PASS after 90 documents: the evidence for PASS is certain, for FAIL 0; it decides at 20"
    assert told in path_words(sequential)
    assert "after 90 of 1000 planned documents (9.0 %)" in path_words(sequential, 1000)
    lines = root.findall("{http://www.w3.org/2000/svg}polyline")
    assert [line.get("class") for line in lines] == ["p-path-fail", "p-path-pass"]
    for line in lines:
        points = [tuple(map(float, pair.split(","))) for pair in (line.get("points") or "").split()]
        assert len(points) == 3
        assert all(0 <= x <= 260 and 0 <= y <= 84 for x, y in points), (
            "evidence beyond the picture is cut off"
        )
    assert path_svg(gate()) is None


def test_the_terminal_bar_marks_figure_ends_and_limit() -> None:
    bar = interval_bar(Plot(0.5, 0.3, 0.7, 0.1, "≥", difference=False)).plain
    assert (bar.index("┊"), bar.index("├"), bar.index("●"), bar.index("┤")) == (2, 6, 10, 15)


# --- fragments and data


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def verdict(*gates: GateResult) -> VerdictView:
    return VerdictView(
        record=digest_json("verdict"),
        decision=Decision.DENY,
        policy=PolicyRef(id="default", version="1", digest=digest_json("policy")),
        decided_at=datetime(2026, 3, 2, tzinfo=UTC),
        gates=tuple(GateView(item, plot_of(item)) for item in gates),
        plans=1,
        older=0,
    )


def test_gates_that_did_not_pass_come_first_with_what_would_make_them_pass() -> None:
    failed = gate(gate="general", outcome=Outcome.FAIL, fix="Train on more.", why="It must not forget.")
    html = gates_table(verdict(gate(), failed))
    assert html.index("general") < html.index("job")
    assert "To pass: </b>Train on more." in html
    assert "It must not forget." in html


def test_hostile_words_of_a_gate_stay_words() -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    parser = Elements()
    parser.feed(
        gates_table(verdict(gate(gate=bad, reason=bad, fix=bad, why=bad, comparison=bad, interval=None)))
    )
    assert not {"script", "img"} & set(parser.names)


def test_both_colour_sets_define_the_same_names() -> None:
    def defined(sheet: str) -> set[str]:
        return {
            part.split(":")[0].strip()
            for part in sheet.split("{", 1)[1].split("}", maxsplit=1)[0].split(";")
            if ":" in part
        }

    assert defined(style_sheet(Theme.LIGHT)) == defined(style_sheet(Theme.DARK))


def test_no_style_refers_to_another_host() -> None:
    assert all("url(" not in style_sheet(theme) and "@import" not in style_sheet(theme) for theme in Theme)


@dataclass(frozen=True)
class Thing:
    some_name: str
    share: float
    at: datetime
    state: State
    head: LedgerHead
    more: tuple[object, ...] = ()


def test_json_has_camel_case_names_decimal_strings_and_utc_moments() -> None:
    thing = Thing(
        "x", 0.1, datetime(2026, 3, 2, tzinfo=UTC), State.DENIED, LedgerHead(size=1, root="00" * 32)
    )
    assert to_data(thing) == {
        "someName": "x",
        "share": "0.1",
        "at": "2026-03-02T00:00:00Z",
        "state": "denied",
        "head": {"size": 1, "root": "00" * 32},
        "more": [],
    }
    assert render_json({"a": Lineage((), ())}).endswith("}\n")


def test_json_of_something_else_is_an_error() -> None:
    with pytest.raises(TypeError):
        to_data(object())


def test_a_gate_says_how_far_its_interval_is_from_the_limit() -> None:
    ceiling = Plot(0.3, 0.25, 0.35, 0.2, "≤", difference=False)
    told = GateView(gate(outcome=Outcome.FAIL), ceiling).gap
    assert told == "The upper end of the interval is 0.35 and has to be at most 0.20: 0.15 is missing."
    loss = Plot(-0.04, -0.06, -0.02, -0.05, ">", difference=True)
    told = GateView(gate(outcome=Outcome.INCONCLUSIVE), loss).gap
    assert told == "The lower end of the interval is −0.06 and has to be above −0.05: 0.01 is missing."
    assert GateView(gate(), ceiling).gap == ""
    assert GateView(gate(outcome=Outcome.MISSING), None).gap == ""


def test_a_difference_to_a_release_is_not_called_one_to_the_base() -> None:
    against = Plot(-0.04, -0.06, -0.02, -0.05, ">", True, "channel:production (desk-7)")
    assert words(against).startswith("against channel:production (desk-7) −0.04")


def test_what_stands_in_backticks_is_code_and_nothing_else_becomes_markup() -> None:
    assert join(worded("run `placet gate <x>` now")) == "run <code>placet gate &lt;x&gt;</code> now"
