"""Judges measured on labels: a strict file, the block for a gate, and the page's figures, which are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from placet.cli import app
from placet.domain.errors import UsageError
from placet.policy.labels import load_labels
from placet.policy.model import JudgeError
from placet.stats.exact import exact_interval
from placet.stats.judges import Calibration, corrected_difference, corrected_rate, widening
from placet.stats.proportion import clopper_pearson

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "judges.md").read_text("utf-8")
WORDS = " ".join(PAGE.replace("−", "-").split())
EXAMPLE = Calibration(46, 50, 48, 50)


def labels(folder: Path, judge: Calibration) -> Path:
    missed, alarms = judge.positives - judge.true_positives, judge.negatives - judge.true_negatives
    lines = [
        *["1,1"] * judge.true_positives,
        *["1,0"] * missed,
        *["0,0"] * judge.true_negatives,
        *["0,1"] * alarms,
    ]
    path = folder / "labels.csv"
    path.write_text("human,judge\n" + "".join(f"{line}\n" for line in lines), "utf-8")
    return path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["policy", "judge", *arguments])


def test_the_block_is_one_that_a_gate_takes(tmp_path: Path) -> None:
    done = run(str(labels(tmp_path, EXAMPLE)))
    assert done.exit_code == 0
    block = "judge_error: {true_positives: 46, positives: 50, true_negatives: 48, negatives: 50}"
    assert block in done.stdout
    assert block in PAGE
    counts = json.loads(run(str(labels(tmp_path, EXAMPLE)), "--json").stdout)["judge_error"]
    assert JudgeError.model_validate(counts).true_positives == 46


def test_the_widening_is_of_the_sample_asked_about(tmp_path: Path) -> None:
    done = json.loads(
        run(str(labels(tmp_path, EXAMPLE)), "--documents", "500", "--alpha", "0.1", "--json").stdout
    )
    half = next(row for row in done["widening"] if row["rate"] == 0.5)
    expected = widening(EXAMPLE, 500, 0.5, 0.1)
    assert half["corrected"] == [expected.corrected.low, expected.corrected.high]
    assert half["plain"] == [expected.plain.low, expected.plain.high]


def test_a_judge_not_shown_to_be_better_than_chance_is_refused(tmp_path: Path) -> None:
    done = run(str(labels(tmp_path, Calibration(9, 12, 7, 12))))
    assert done.exit_code == 1
    assert "Not shown to be better than chance" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 has the columns of nothing"),
        ("human,score\n1,1\n", "line 1 has the columns human, score"),
        ("human,judge,judge\n1,1,1\n", "line 1 has the columns"),
        ("human,judge\n1,1\n\n0,0\n", "line 3 has 0 values for 2 columns"),
        ("human,judge\n1,1\n0,yes\n", "line 3 has human '0' and judge 'yes'"),
        ("human,judge\n1,1\n0,0.0\n", "line 3 has human '0' and judge '0.0'"),
        ("id,human,judge\na,1,1\na,0,0\n", "line 3 repeats the id a of line 2"),
        ("id,human,judge\n,1,1\n", "line 2 has no id"),
        ('human,judge\n1,"1\n', "is no CSV"),
        ("human,judge\n1,1\n1,0\n", "people called no answer 0"),
        ("human,judge\n0,1\n", "people called no answer 1"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        load_labels(path)
    assert caught.value.hint
    assert run(str(path)).exit_code == 2


def test_a_file_out_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xef\xbb\xbfjudge,human,id\r\n1,1,a\r\n0,1,b\r\n0,0,c\r\n")
    assert load_labels(path) == Calibration(1, 2, 1, 1)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        load_labels(path)
    with pytest.raises(UsageError, match="there is no file"):
        load_labels(tmp_path / "none.csv")


def test_an_alpha_that_is_none_is_refused(tmp_path: Path) -> None:
    assert run(str(labels(tmp_path, EXAMPLE)), "--alpha", "0.5").exit_code == 2


# --- the page -------------------------------------------------------------------------------------------


def rows(heading: str) -> list[list[str]]:
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in cells] for cells in found[1:]]


def ends(bounds: Any) -> str:
    return f"{bounds.low:.3f} to {bounds.high:.3f}"


def test_the_example_told_is_the_one_computed() -> None:
    told = rows("An example")
    assert len(told) == 3
    for rate, finds, plain, corrected, endless in told:
        found = widening(EXAMPLE, 200, float(rate))
        assert (finds, plain) == (f"{found.flagged:.3f}", ends(found.plain))
        assert (corrected, endless) == (ends(found.corrected), ends(found.endless))
    assert f"Taken at its word the interval is {ends(clopper_pearson(170, 200))}" in WORDS
    bounds = corrected_rate(170, 200, EXAMPLE)
    assert f"estimated as {bounds.estimate:.3f}, and the interval is {ends(bounds)}" in WORDS
    assert 0.80 < bounds.low < 0.86 < bounds.high


def test_the_labels_needed_are_those_computed() -> None:
    told = rows("How many labels")
    assert len(told) == 6
    for count, interval, width in told:
        size = int(count)
        bounds = corrected_rate(170, 200, Calibration(round(0.92 * size), size, round(0.96 * size), size))
        assert (interval, width) == (ends(bounds), f"{bounds.high - bounds.low:.3f}")


def test_the_poor_judges_told_are_those_computed() -> None:
    misses, alarms = Calibration(27, 50, 50, 50), Calibration(35, 50, 35, 50)
    found, always = corrected_rate(80, 200, misses), corrected_rate(108, 200, misses)
    assert f"the true rate is between {found.low:.3f} and {found.high:.3f}. Even" in WORDS
    assert f"the interval begins at {always.low:.3f}" in WORDS
    assert always.low < 0.80
    wide = corrected_rate(80, 200, alarms)
    assert f"the true rate is between {wide.low:.3f} and {wide.high:.3f}." in WORDS
    difference, plain = corrected_difference(4, 14, 200, EXAMPLE), exact_interval(4, 14, 200)
    assert (
        f"give {difference.low:.3f} to {difference.high:.3f}, instead of {plain.low:.3f} to {plain.high:.3f}"
        in WORDS
    )


def test_a_file_of_labels_that_cannot_be_read_is_told_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*nofile\.csv"):
        load_labels(tmp_path / "nofile.csv")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_labels(tmp_path)
    (tmp_path / "l.csv").write_bytes(b"human,judge\n1,\xff\n")
    with pytest.raises(UsageError, match=r"l\.csv, line 2 is not UTF-8 text"):
        load_labels(tmp_path / "l.csv")
