"""Reads a file of labels: what a judge and what people said of the same answers. Strict: a bad line is named."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from placet.domain.errors import UsageError
from placet.stats.judges import Calibration

_NEEDED = ("human", "judge")
_HINT = (
    "the first line is `id,human,judge` (or `human,judge`), every other one has 0 or 1 for each of the two"
)


def load_labels(path: Path) -> Calibration:
    """Return how the judge did on the answers of a CSV file with the columns `human`, `judge` and, if wanted, `id`.

    Raises:
        UsageError: The file cannot be read, a line is malformed or repeats an id, or people called all answers alike.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}", hint="check the name") from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="name a file you may read"
        ) from error
    except UnicodeDecodeError as error:
        before = error.object[: error.start].count(b"\n")
        raise UsageError(
            f"{path}, line {before + 1} is not UTF-8 text", hint="save the file as UTF-8"
        ) from error
    counts = {(human, judge): 0 for human in "01" for judge in "01"}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    seen: dict[str, int] = {}
    try:
        head = [name.strip() for name in next(reader, [])]
        if sorted(head) not in (sorted(_NEEDED), sorted((*_NEEDED, "id"))):
            raise _wrong(path, 1, f"has the columns {', '.join(head) or 'of nothing'}")
        for line in reader:
            number = reader.line_num
            if len(line) != len(head):
                raise _wrong(path, number, f"has {len(line)} values for {len(head)} columns")
            row = dict(zip(head, (value.strip() for value in line), strict=True))
            if (row["human"], row["judge"]) not in counts:
                raise _wrong(path, number, f"has human {row['human']!r} and judge {row['judge']!r}")
            if "id" in row:
                if not row["id"]:
                    raise _wrong(path, number, "has no id")
                if row["id"] in seen:
                    raise _wrong(path, number, f"repeats the id {row['id']} of line {seen[row['id']]}")
                seen[row["id"]] = number
            counts[row["human"], row["judge"]] += 1
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"is no CSV: {error}") from error
    positives, negatives = (counts[kind, "0"] + counts[kind, "1"] for kind in "10")
    if not positives or not negatives:
        missing = "1" if not positives else "0"
        raise UsageError(
            f"{path}: people called no answer {missing}, so one of the judge's two errors is not measured",
            hint=f"label answers until some are {missing}; docs/how-to/judges.md says how many",
        )
    return Calibration(counts["1", "1"], positives, counts["0", "0"], negatives)


def _wrong(path: Path, line: int, what: str) -> UsageError:
    return UsageError(f"{path}, line {line} {what}", hint=_HINT)
