"""Per-sample results: what was asked, what was answered, what it counted for.

Guarantees: :func:`rows_digest` names the rows' content, independent of Parquet; :func:`rows_to_parquet` gives the same
bytes for the same rows and the same pyarrow; what :func:`load_rows` returns equals what was written, numbers rounded to
6 decimal places as in every record.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from placet.domain.digests import Digest, decimal_string, digest_json
from placet.domain.errors import EvaluationError, IntegrityError


def _rounded(value: float) -> float:
    if not math.isfinite(value):
        raise EvaluationError(
            f"a per-sample result is {value}",
            hint="the model or the scorer computed no number; see the sample",
        )
    return float(decimal_string(value))


@dataclass(frozen=True, slots=True)
class Option:
    """A continuation that was scored: its log-probability in nats, and whether greedy decoding gives it.

    `context` is empty where it is the row's prompt.
    """

    text: str
    logprob: float
    greedy: bool
    context: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "logprob", _rounded(self.logprob))


@dataclass(frozen=True, slots=True)
class Row:
    """One document's result.

    `doc` is its number in the suite and `id` its name there; `prompt` what the model read, rendered; `options` what was
    scored after it, or `response` what it generated with the arguments `generation` (JSON); `value` the metric.
    """

    doc: int
    id: str
    doc_hash: str
    prompt: str
    target: str
    value: float
    options: tuple[Option, ...] = ()
    response: str | None = None
    generation: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _rounded(self.value))

    def to_json(self) -> dict[str, Any]:
        """Return the canonical form: numbers as decimal strings, absent fields left out."""
        form: dict[str, Any] = {
            "doc": self.doc,
            "id": self.id,
            "docHash": self.doc_hash,
            "prompt": self.prompt,
            "target": self.target,
            "value": decimal_string(self.value),
        }
        if self.options:
            form["options"] = [
                {
                    "text": option.text,
                    "context": option.context,
                    "logprob": decimal_string(option.logprob),
                    "greedy": option.greedy,
                }
                for option in self.options
            ]
        if self.response is not None:
            form |= {"response": self.response, "generation": self.generation}
        return form


def rows_digest(rows: Iterable[Row]) -> Digest:
    """Return the digest of `rows` in canonical form, in their order."""
    return digest_json([row.to_json() for row in rows])


def rows_to_parquet(rows: Iterable[Row]) -> bytes:
    """Return `rows` as a Parquet file, in their order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([_record(row) for row in rows], schema=_schema())
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", version="2.6", store_schema=False, row_group_size=1 << 20)
    return sink.getvalue()


def load_rows(parquet: bytes) -> tuple[Row, ...]:
    """Return the rows of a Parquet file that :func:`rows_to_parquet` made.

    Raises:
        IntegrityError: The bytes are no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(parquet), schema=_schema())
        return tuple(_row(record) for record in table.to_pylist())
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, EvaluationError) as error:
        raise _unreadable() from error


def load_values(parquet: bytes) -> tuple[tuple[int, ...], tuple[str, ...], tuple[float, ...]]:
    """Return documents, their names and their values, as :func:`load_rows` has them, without reading the texts.

    Raises:
        IntegrityError: The bytes are no such file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(parquet), schema=_schema(), columns=["doc", "id", "value"])
        docs, ids, values = (column.to_pylist() for column in table.columns)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable() from error
    return tuple(docs), tuple(ids), tuple(_rounded(value) for value in values)


def _unreadable() -> IntegrityError:
    return IntegrityError(
        "a file of per-sample results cannot be read",
        hint="it was damaged or replaced; run `placet audit`",
    )


def _schema() -> Any:
    import pyarrow as pa

    option = pa.struct(
        [
            pa.field("text", pa.string(), nullable=False),
            pa.field("context", pa.string(), nullable=False),
            pa.field("logprob", pa.float64(), nullable=False),
            pa.field("greedy", pa.bool_(), nullable=False),
        ]
    )
    return pa.schema(
        [
            pa.field("doc", pa.int64(), nullable=False),
            pa.field("id", pa.string(), nullable=False),
            pa.field("doc_hash", pa.string(), nullable=False),
            pa.field("prompt", pa.string(), nullable=False),
            pa.field("target", pa.string(), nullable=False),
            pa.field("value", pa.float64(), nullable=False),
            pa.field("options", pa.list_(pa.field("element", option)), nullable=False),
            pa.field("response", pa.string()),
            pa.field("generation", pa.string(), nullable=False),
        ]
    )


def _record(row: Row) -> dict[str, Any]:
    return {
        "doc": row.doc,
        "id": row.id,
        "doc_hash": row.doc_hash,
        "prompt": row.prompt,
        "target": row.target,
        "value": row.value,
        "options": [
            {"text": o.text, "context": o.context, "logprob": o.logprob, "greedy": o.greedy}
            for o in row.options
        ],
        "response": row.response,
        "generation": row.generation,
    }


def _row(record: dict[str, Any]) -> Row:
    options = tuple(Option(**option) for option in record.pop("options"))
    return Row(**record, options=options)
