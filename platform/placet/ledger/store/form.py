"""What a ledger file is built of, held against a new one: its tables, and whatever else a database can hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import duckdb

from placet.ledger.store.tables import Tables, migrations

_SHOWN = 120
_HERE = "NOT internal AND database_name = current_database()"
# Not of functions, for which the database would go through its own ones again: any other is found as it is.
_COMMENTED = ("duckdb_schemas", "duckdb_tables", "duckdb_views", "duckdb_columns")

# Each query gives (schema, table it belongs to, words) of one kind of thing. What is NOT NULL stands in a column's row.
_PARTS = (
    f"SELECT schema_name, '', 'the schema ' || schema_name FROM duckdb_schemas() WHERE {_HERE}",  # noqa: S608
    f"SELECT schema_name, '', 'the table ' || table_name FROM duckdb_tables() WHERE {_HERE}",  # noqa: S608
    f"SELECT schema_name, '', 'the view ' || view_name FROM duckdb_views() WHERE {_HERE}",  # noqa: S608
    "SELECT schema_name, table_name, 'the column ' || table_name || '.' || column_name || ' ' || data_type "  # noqa: S608
    "|| CASE WHEN is_nullable THEN '' ELSE ' NOT NULL' END "
    "|| coalesce(' DEFAULT ' || column_default, '') || coalesce(' AS ' || generation_expression, '') "
    f"FROM duckdb_columns() WHERE {_HERE}",
    "SELECT schema_name, table_name, 'the constraint ' || constraint_text || ' of ' || table_name "
    "FROM duckdb_constraints() WHERE constraint_type <> 'NOT NULL' AND database_name = current_database()",
    "SELECT schema_name, table_name, 'the index ' || index_name || ': ' || coalesce(sql, '') "
    "FROM duckdb_indexes() WHERE database_name = current_database()",
    "SELECT schema_name, '', 'the sequence ' || sequence_name FROM duckdb_sequences() "
    "WHERE database_name = current_database()",
    f"SELECT schema_name, '', 'the type ' || type_name FROM duckdb_types() WHERE {_HERE}",  # noqa: S608
    f"SELECT schema_name, '', 'the macro ' || function_name FROM duckdb_functions() WHERE {_HERE}",  # noqa: S608
    *(
        f"SELECT schema_name, '', 'the comment ' || comment FROM {source}() WHERE comment IS NOT NULL AND {_HERE}"  # noqa: S608
        for source in _COMMENTED
    ),
)

_Part = tuple[int, str, str]
"""The place of its query in the list, the table it belongs to, and its words."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a ledger file differs from a new one, in words: what it holds besides, and what it lacks."""

    foreign: tuple[str, ...]
    lacking: tuple[str, ...]


def compare_form(db: duckdb.DuckDBPyConnection) -> Form:
    """Return how the file behind a connection differs from one that was made just now."""
    held, wanted = _parts(db), _parts_of_a_new_one()
    both = {words.removeprefix("the table ") for _, owner, words in held & wanted if not owner}

    def words_of(parts: frozenset[_Part]) -> tuple[str, ...]:
        # Of a table that is foreign, or lacking, its columns need no words of their own.
        return tuple(_harmless(words) for _, owner, words in sorted(parts) if not owner or owner in both)

    return Form(words_of(held - wanted), words_of(wanted - held))


@lru_cache(maxsize=1)
def _parts_of_a_new_one() -> frozenset[_Part]:
    with duckdb.connect(":memory:") as db:
        Tables(db).migrate(0, migrations())
        return _parts(db)


def _parts(db: duckdb.DuckDBPyConnection) -> frozenset[_Part]:
    return frozenset(
        (place, owner, words if schema == "main" else f"{words} in {schema}")
        for place, query in enumerate(_PARTS)
        for schema, owner, words in db.execute(query).fetchall()
    )


def _harmless(words: str) -> str:
    """Return words that hold names of somebody else's, so that they cannot act on a terminal."""
    text = "".join(char if char.isprintable() else "?" for char in words)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
