from __future__ import annotations

import re
from pathlib import Path

import pytest

from placet.intake.checks import CHECKS
from placet.intake.checks.files import ACCEPTED
from placet.intake.findings import BY_ID, KINDS, finding, listed, quoted
from placet.intake.limits import LIMITS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "findings.md"


def _sections() -> dict[str, str]:
    parts = re.split(r"^### `([a-z-]+)`\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_page_describes_every_finding_in_the_tables_order() -> None:
    assert list(_sections()) == [kind.id for kind in KINDS]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_the_page_says_what_the_table_says(kind: object) -> None:
    kind = BY_ID[kind.id]  # type: ignore[attr-defined]
    text = " ".join(_sections()[kind.id].split())
    for part in (kind.title, kind.why, kind.fix, kind.severity.value):
        assert part in text


def test_the_page_names_every_check_accepted_file_and_limit() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in (*(check.id for check in CHECKS), *ACCEPTED, *LIMITS.__dataclass_fields__):
        assert f"`{name}`" in text
    for field in LIMITS.__dataclass_fields__:
        assert f"| `{field}` | {getattr(LIMITS, field):,} |" in text


def test_ids_and_checks_are_unique_and_needs_come_first() -> None:
    assert len(BY_ID) == len(KINDS)
    seen: set[str] = set()
    for check in CHECKS:
        assert check.id not in seen
        assert set(check.needs) <= seen
        seen.add(check.id)


def test_every_finding_that_the_code_makes_is_registered_and_every_registered_one_is_made() -> None:
    source = "".join(path.read_text() for path in (ROOT / "platform" / "placet" / "intake").rglob("*.py"))
    table = (ROOT / "platform" / "placet" / "intake" / "findings.py").read_text()
    used = set(re.findall(r'"([a-z]+(?:-[a-z]+)+|symlink)"', source.replace(table, "")))
    assert set(BY_ID) <= used


def test_a_finding_carries_the_tables_severity_and_fix() -> None:
    made = finding("symlink", "a symlink: x", where="x")
    assert (made.severity, made.fix) == (BY_ID["symlink"].severity, BY_ID["symlink"].fix)
    with pytest.raises(KeyError):
        finding("unheard-of", "?")


def test_foreign_text_is_escaped_and_cut() -> None:
    assert quoted("\x1b[31mé\n") == r"'\x1b[31m\xe9\n'"
    assert len(quoted("x" * 10_000)) < 120
    assert listed([str(number) for number in range(9)]) == "'0', '1', '2', '3', '4' and 4 more"
