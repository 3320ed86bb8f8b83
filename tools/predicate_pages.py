"""Write what the pages in docs/reference/predicates have in common with the code, or check that it is up to date.

For each kind of record: NAME.schema.json, its JSON Schema; and in NAME.md the part between the two marks, which is made
of that schema. The words around it are written by hand. In docs/reference/records.md, the table of kinds likewise.

Exit status: 0 written or up to date, 1 something is not.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from placet.attest.predicates import PREDICATES, PredicateSpec
from placet.attest.schemas import statement_schema

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference" / "predicates"
TABLE_PAGE = ROOT / "docs" / "reference" / "records.md"
BEGIN, END = "<!-- made by tools/predicate_pages.py -->", "<!-- end -->"


def made_files() -> dict[Path, str]:
    """Return every file with the content it should have.

    Raises:
        SystemExit: A page is missing or lacks its marks.
    """
    files: dict[Path, str] = {}
    for spec in PREDICATES:
        schema = statement_schema(spec)
        files[FOLDER / f"{spec.kind}.schema.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        page = FOLDER / f"{spec.kind}.md"
        files[page] = _with_part(page, _facts(spec, schema))
    files[TABLE_PAGE] = _with_part(TABLE_PAGE, _table())
    return files


def main() -> int:
    """Write the files, or with ``--check`` say which are not up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; say what is not up to date")
    check = parser.parse_args().check
    stale = []
    for path, text in made_files().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(("not up to date: " if check else "wrote ") + ", ".join(stale))
    return 1 if check and stale else 0


def _with_part(page: Path, part: str) -> str:
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page.relative_to(ROOT)} needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{part}\n{END}{after}"


def _facts(spec: PredicateSpec, schema: dict[str, Any]) -> str:
    lines = [
        f"- Predicate type: `{spec.predicate_type}`",
        f"- Signed by: {' or '.join(spec.roles)}",
        f"- Schema: [{spec.kind}.schema.json]({spec.kind}.schema.json)",
        "",
        *_fields("Fields of the predicate", schema["properties"]["predicate"], schema["$defs"]),
    ]
    for name in _used(schema["properties"]["predicate"], schema["$defs"]):
        definition = schema["$defs"][name]
        if "properties" in definition:
            lines += ["", *_fields(f"`{name}`", definition, schema["$defs"])]
    return "\n".join(lines) + "\n"


def _fields(title: str, schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    rows = [f"### {title}", ""]
    if about := " ".join(schema.get("description", "").split()):
        rows += [about, ""]
    rows += ["| field | type | |", "|---|---|---|"]
    for name, field in schema["properties"].items():
        note = field.get("description", "")
        if name not in schema["required"]:
            note = ("may be absent; " + note).removesuffix("; ")
        rows.append(f"| `{name}` | {_type(field, definitions)} | {note} |")
    return rows


def _type(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        definition = definitions[name]
        return f"`{name}`" if "properties" in definition else _type(definition, definitions)
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "prefixItems" in field:
        return "list of " + ", ".join(_type(item, definitions) for item in field["prefixItems"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'], definitions)}"
    if field.get("type") == "object":
        values = field.get("additionalProperties")
        return f"object of {_type(values, definitions)}" if isinstance(values, dict) else "object"
    pattern = field.get("pattern", "")
    if "sha256:" in pattern:
        return "digest"
    if "T[0-9]" in pattern:
        return "time"
    if "{1,6}" in pattern:
        return "decimal string"
    return str(field.get("type", "any"))


def _used(schema: Any, definitions: dict[str, Any]) -> list[str]:
    """Return the names of the definitions that `schema` refers to, those they refer to included, in order."""
    found: list[str] = []
    todo = [schema]
    while todo:
        item = todo.pop(0)
        if isinstance(item, dict):
            name = str(item.get("$ref", "")).rsplit("/", 1)[-1]
            if name in definitions and name not in found:
                found.append(name)
                todo.append(definitions[name])
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return found


def _table() -> str:
    rows = ["| kind | predicate type | signed by | says |", "|---|---|---|---|"]
    rows += [
        f"| [{spec.kind}](predicates/{spec.kind}.md) | `{spec.predicate_type}` | {' or '.join(spec.roles)} "
        f"| {spec.about} |"
        for spec in PREDICATES
    ]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
