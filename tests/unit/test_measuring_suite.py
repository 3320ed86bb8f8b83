"""A suite is named by everything that decides what it asks and how it scores, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from placet.domain.errors import EvaluationError, UsageError
from placet.measuring.suite import largest_group, load_module, load_suite, scorer_code
from placet.sources.package import PackageSource
from tests.support.suites import FILES, GENERATION, write_generation_suite, write_suite

PACKED = FILES["suite.yaml"].replace(
    "generator: {file: data.py, function: rows, arguments: {count: 6}}",
    "package: {name: p, version: '1', member: p/rows.jsonl, sha256: " + "ab" * 32 + "}\n"
    "  rows: {function: rows, arguments: {count: 2}}",
)


def test_a_suite_gives_its_documents_and_its_name_by_content(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path))
    assert [row["id"] for row in suite.rows()] == ["c0", "c1", "c2", "c3", "c4", "c5"]
    assert (suite.ref.id, suite.ref.version, suite.metric, suite.higher_is_better) == (
        "colours",
        "1",
        "acc",
        True,
    )
    assert load_suite(write_suite(tmp_path / "copy")).digest == suite.digest


def test_the_digest_covers_manifest_task_data_and_scorer_but_no_prose(tmp_path: Path) -> None:
    def digest(name: str, **changes: str | None) -> str:
        return load_suite(write_generation_suite(tmp_path / name, **changes)).digest

    plain = digest("plain")
    assert digest("prose", README_md="other words") == plain
    changed = [
        digest("manifest", suite_yaml=GENERATION["suite.yaml"].replace("count: 5", "count: 4")),
        digest("task", task_yaml=GENERATION["task.yaml"].replace("8", "9")),
        digest("data", data_py=FILES["data.py"] + "\n#"),
        digest("scorer", scorer_py=FILES["scorer.py"] + "\n#"),
        digest("beside", words_txt="a list the data code reads"),
    ]
    assert len({plain, *changed}) == 6


def test_a_scorer_may_be_shared_between_suites(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics" / "shouts"
    metrics.mkdir(parents=True)
    (metrics / "shouts.py").write_text("A = 1")
    manifest = GENERATION["suite.yaml"].replace("scorer.py", "../metrics/shouts")
    folder = write_generation_suite(tmp_path / "suite", suite_yaml=manifest, scorer_py=None)
    before = load_suite(folder)
    assert scorer_code(before) == ("scorer/shouts.py", b"A = 1")
    (metrics / "shouts.py").write_text("A = 2")
    assert load_suite(folder).digest != before.digest


def test_a_packages_file_reaches_the_data_code(tmp_path: Path) -> None:
    asked: list[PackageSource] = []

    def fetch(source: PackageSource) -> bytes:
        asked.append(source)
        return b"12345"

    suite = load_suite(write_suite(tmp_path, suite_yaml=PACKED), fetch=fetch)
    assert suite.rows()[0]["q"] == "what colour is 5?"
    assert suite.rows() is suite.rows()
    assert [(source.name, source.member, source.sha256) for source in asked] == [
        ("p", "p/rows.jsonl", "sha256:" + "ab" * 32)
    ]


def test_the_hashed_bytes_are_the_ones_that_run(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path))
    (tmp_path / "data.py").write_text("def rows(source, *, count): return [{'id': 'other'}]")
    assert suite.rows()[0]["id"] == "c0"


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"suite_yaml": None}, "suite.yaml"),
        ({"suite_yaml": "id: ["}, "suite.yaml"),
        ({"suite_yaml": FILES["suite.yaml"] + "colour: red\n"}, "colour"),
        ({"suite_yaml": FILES["suite.yaml"].replace("evaluation", "judging")}, "stage"),
        ({"suite_yaml": FILES["suite.yaml"].replace("colours", "Colours!")}, "id"),
        ({"suite_yaml": FILES["suite.yaml"].replace("metric: acc", "metric: f1")}, "f1"),
        ({"suite_yaml": FILES["suite.yaml"].replace("data.py", "other.py")}, "other.py"),
        ({"suite_yaml": PACKED.replace("ab" * 32, "ab" * 31)}, "sha256"),
        ({"suite_yaml": PACKED.replace("\n  rows: {function: rows, arguments: {count: 2}}", "")}, "rows"),
        ({"suite_yaml": FILES["suite.yaml"] + "scorer: none.py\n"}, "none.py"),
        ({"task_yaml": None}, "task.yaml"),
        ({"task_yaml": "- a list"}, "task.yaml"),
        ({"task_yaml": FILES["task.yaml"] + "process_docs: !function utils.f\n"}, "task.yaml"),
        ({"task_yaml": FILES["task.yaml"] + "dataset_path: json\n"}, "dataset_path"),
        ({"task_yaml": FILES["task.yaml"].replace("multiple_choice", "generate_until")}, "output_type"),
        ({"data_py": None}, "data.py"),
    ],
)
def test_a_malformed_suite_is_refused_naming_the_place_and_the_fix(
    tmp_path: Path, changes: dict[str, str | None], names: str
) -> None:
    with pytest.raises(UsageError, match=names.replace(".", r"\.")) as caught:
        load_suite(write_suite(tmp_path, **changes))
    assert caught.value.hint


@pytest.mark.parametrize(
    "code",
    [
        "def rows(:",
        "other = 1",
        "def rows(source, *, count): raise KeyError('x')",
        "def rows(source): return []",
        "def rows(source, *, count): return []",
        "def rows(source, *, count): return [{'id': 1}]",
        "def rows(source, *, count): return [{'id': 'a'}, {'id': 'a'}]",
    ],
)
def test_data_code_that_gives_no_documents_is_refused(tmp_path: Path, code: str) -> None:
    with pytest.raises(UsageError, match=r"data\.py") as caught:
        load_suite(write_suite(tmp_path, data_py=code)).rows()
    assert caught.value.hint


def test_a_suite_declares_its_metric_s_range_and_its_largest_groups(tmp_path: Path) -> None:
    assert load_suite(write_suite(tmp_path / "a")).value_range == (0.0, 1.0)
    manifest = FILES["suite.yaml"].replace("range: [0, 1]\n", "")
    assert load_suite(write_suite(tmp_path / "b", suite_yaml=manifest)).value_range is None
    changed = FILES["suite.yaml"].replace("range: [0, 1]", "range: [-0.5, 12]\nlargest_groups: {gold: 5}")
    suite = load_suite(write_suite(tmp_path / "c", suite_yaml=changed))
    assert suite.value_range == (-0.5, 12.0)
    # Of six documents two have each gold: the suite says that there may be five, and nothing of the question.
    assert largest_group(suite, "gold") == 5
    assert largest_group(suite, "q") == 1
    assert largest_group(load_suite(tmp_path / "a"), "gold") == 2
    small = load_suite(write_suite(tmp_path / "d", suite_yaml=changed.replace("gold: 5", "gold: 1")))
    with pytest.raises(
        UsageError, match="gold 0 has 2 documents, where `largest_groups` says that none has more"
    ):
        largest_group(small, "gold")


@pytest.mark.parametrize(
    ("range_", "message"),
    [
        ("[1, 0]", "the least value comes first"),
        ("[0, 0]", "the least value comes first"),
        ("[0]", "range"),
        ("[0, .inf]", "a bound has at most 6 decimal places"),
        ("[0, 2000000000]", "lies within 1,000,000,000 of 0"),
        ("[0, 0.1234567]", "a bound has at most 6 decimal places"),
        ("['0', '1']", "range"),
        ("[false, true]", "range"),
        ("binary", "range"),
    ],
)
def test_a_range_that_is_none_is_refused(tmp_path: Path, range_: str, message: str) -> None:
    manifest = FILES["suite.yaml"].replace("range: [0, 1]", f"range: {range_}")
    with pytest.raises(UsageError, match=message) as caught:
        load_suite(write_suite(tmp_path, suite_yaml=manifest))
    assert "suites.md" in caught.value.hint


def test_every_shipped_suite_declares_its_range() -> None:
    evals = Path(__file__).resolve().parents[2] / "evals"
    found = {path.parent.name: load_suite(path.parent).value_range for path in evals.glob("*/suite.yaml")}
    assert found.pop("canaries") == (0.0, 5.0)  # bits: one option in 32 is the code
    assert len(found) >= 11
    assert set(found.values()) == {(0.0, 1.0)}


def test_a_symlink_is_no_part_of_a_suite(tmp_path: Path) -> None:
    folder = write_suite(tmp_path / "suite", data_py=None)
    (tmp_path / "data.py").write_text("x = 1")
    (folder / "data.py").symlink_to(tmp_path / "data.py")
    with pytest.raises(UsageError, match="symlink"):
        load_suite(folder)


def test_a_suite_without_a_scorer_says_so(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no scorer"):
        scorer_code(load_suite(write_suite(tmp_path)))


def test_loaded_code_cannot_be_imported_afterwards() -> None:
    import sys

    assert load_module("x.py", b"a = 1").__name__ not in sys.modules
