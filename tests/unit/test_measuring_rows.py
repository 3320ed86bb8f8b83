from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.domain.errors import EvaluationError, IntegrityError
from placet.measuring.rows import Option, Row, load_rows, rows_digest, rows_to_parquet

numbers = st.floats(-1e6, 1e6)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
options = st.builds(Option, texts, numbers, st.booleans(), texts)
rows = st.builds(
    Row,
    doc=st.integers(0, 2**40),
    id=texts,
    doc_hash=texts,
    prompt=texts,
    target=texts,
    value=numbers,
    options=st.lists(options, max_size=3).map(tuple),
    response=st.none() | texts,
    generation=texts,
)


@settings(deadline=None)  # the first example imports pyarrow
@given(st.lists(rows, min_size=1, max_size=4))
def test_rows_survive_parquet_and_keep_their_digest(written: list[Row]) -> None:
    data = rows_to_parquet(written)
    read = load_rows(data)
    assert list(read) == written
    assert rows_digest(read) == rows_digest(written)
    assert rows_to_parquet(read) == data


def test_the_digest_depends_on_order_and_on_every_field() -> None:
    row = Row(1, "a", "h", "p", "t", 0.5, (Option("x", -1.0, True),), None, "")
    other = Row(1, "a", "h", "p", "t", 0.5, (Option("x", -1.0, False),), None, "")
    digests = {rows_digest(items) for items in ([row, other], [other, row], [row], [other])}
    assert len(digests) == 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_result_that_is_no_number_is_an_error(value: float) -> None:
    with pytest.raises(EvaluationError):
        Row(1, "a", "h", "p", "t", value)
    with pytest.raises(EvaluationError):
        Option("x", value, True)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:-1] + b"x"])
def test_a_damaged_file_is_refused(damage: object) -> None:
    data = rows_to_parquet([Row(1, "a", "h", "p", "t", 0.5)])
    with pytest.raises(IntegrityError):
        load_rows(damage(data))  # type: ignore[operator]


def test_a_file_of_other_columns_is_refused() -> None:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table({"doc": ["x"]}), sink)
    with pytest.raises(IntegrityError):
        load_rows(sink.getvalue())
