"""Writes the JSON Schemas of policies and of their cases, for editors: `python tools/policy_schema.py [--check]`.

An editor that knows YAML completes and checks a policy whose first line is
`# yaml-language-server: $schema=…/policy.schema.json`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from placet.policy.cases import case_schema
from placet.policy.loader import json_schema

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"


def schemas() -> dict[Path, str]:
    """Return each schema's file and text."""
    made = {"policy.schema.json": json_schema(), "policy-case.schema.json": case_schema()}
    return {
        FOLDER / name: json.dumps(
            {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema},
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
        for name, schema in made.items()
    }


def main() -> int:
    """Write the schemas, or with --check say whether they are current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a file is not current"
    )
    arguments = parser.parse_args()
    stale = [
        path for path, text in schemas().items() if not path.is_file() or path.read_text("utf-8") != text
    ]
    for path in stale:
        if arguments.check:
            print(f"{path.name} is not current: run `python tools/policy_schema.py`", file=sys.stderr)
        else:
            path.write_text(schemas()[path], "utf-8")
            print(f"wrote {path.name}")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
