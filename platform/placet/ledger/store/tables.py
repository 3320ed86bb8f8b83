"""The tables of a ledger file, over one open DuckDB connection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from operator import attrgetter

import duckdb

from placet.domain.digests import Digest
from placet.domain.errors import StorageError
from placet.ledger.derived import Derived, derive
from placet.ledger.merkle import leaf_hash
from placet.ledger.store.base import Entry, Snapshot
from placet.ledger.tiles import TILE_BITS, Tile, TileTree

_EVERYTHING = 2**62
_POINT_LOOKUPS = 32
_CHUNK = 4096
MAX_TILE_LEVEL = 6
_ENTRY = "SELECT idx, record_id, leaf, envelope FROM entries"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the tables' form."""

    number: int
    sql: str


def migrations() -> tuple[Migration, ...]:
    """Return the migrations in order."""
    folder = resources.files("placet.ledger") / "migrations"
    files = (item for item in folder.iterdir() if item.is_file() and item.name.endswith(".sql"))
    return tuple(sorted((Migration(int(f.name[:4]), f.read_text()) for f in files), key=lambda m: m.number))


class Tables:
    """What the store asks of an open connection; it begins and ends no transaction."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self.db = db

    # --- form -------------------------------------------------------------------------------------------

    def version(self) -> int:
        """Return the number of the newest migration that was made."""
        try:
            return self._number("SELECT max(number) FROM migrations")
        except duckdb.CatalogException:
            return 1

    def migrate(self, version: int, steps: Sequence[Migration]) -> None:
        """Make every migration above `version`, then the derived tables."""
        for step in steps:
            if step.number > version:
                self.db.execute(step.sql)
        self.rebuild()

    def followed(self) -> str | None:
        """Return the log that this file is the local index of, if it is not a log of its own."""
        row = self.db.execute("SELECT log FROM following").fetchone()
        return None if row is None else str(row[0])

    def follow(self, log: str) -> None:
        """Note that this file is the local index of `log`; of none if that is empty."""
        self.db.execute("DELETE FROM following")
        if log:
            self.db.execute("INSERT INTO following VALUES (?)", [log])

    # --- the log ----------------------------------------------------------------------------------------

    def size(self) -> int:
        """Return how many records there are, or raise if their numbers have gaps at first sight."""
        row = self.db.execute("SELECT count(*), coalesce(max(idx), -1) FROM entries").fetchone()
        count, last = row or (0, -1)
        # Both come from the tables' statistics. What is out of place all the same changes no hash unseen.
        return int(count) if count == last + 1 else -1

    def last_note(self, key_size: int | None = None) -> str | None:
        """Return the newest checkpoint, or the newest at or below a size."""
        below = _EVERYTHING if key_size is None else key_size
        query = "SELECT note FROM checkpoints WHERE size <= ? ORDER BY size DESC LIMIT 1"
        row = self.db.execute(query, [below]).fetchone()
        return None if row is None else str(row[0])

    def notes(self, above: int = 0, up_to: int = _EVERYTHING) -> tuple[tuple[int, str], ...]:
        """Return the checkpoints of sizes above `above` up to `up_to`, by size."""
        query = "SELECT size, note FROM checkpoints WHERE size > ? AND size <= ? ORDER BY size"
        return tuple(self.db.execute(query, [above, up_to]).fetchall())

    def entries(self, start: int, stop: int | None) -> tuple[Entry, ...]:
        """Return the entries of a range of indices."""
        query = f"{_ENTRY} WHERE idx >= ? AND idx < ?"
        found = self._entries(query, [start, _EVERYTHING if stop is None else stop])
        # In order as a rule. The database would sort by moving whole records about, in order or not.
        return tuple(sorted(found, key=attrgetter("index")))

    def entries_at(self, indices: Sequence[int]) -> tuple[Entry, ...]:
        """Return the entries at `indices`, by index."""
        if len(indices) <= _POINT_LOOKUPS:
            found = [entry for i in indices for entry in self._entries(f"{_ENTRY} WHERE idx = ?", [i])]
            return tuple(sorted(found, key=lambda entry: entry.index))
        query = f"{_ENTRY} WHERE idx IN (SELECT unnest(?::BIGINT[])) ORDER BY idx"
        return self._entries(query, [list(indices)])

    def indices_of(self, record_ids: Sequence[str]) -> dict[str, int]:
        """Return record id → index of those that are there."""
        if len(record_ids) <= _POINT_LOOKUPS:
            query = "SELECT record_id, idx FROM entries WHERE record_id = ?"
            rows = [row for item in record_ids for row in self.db.execute(query, [item]).fetchall()]
        else:
            query = "SELECT record_id, idx FROM entries WHERE record_id IN (SELECT unnest(?::VARCHAR[]))"
            rows = self.db.execute(query, [list(record_ids)]).fetchall()
        return dict(rows)

    def known(self, record_ids: Sequence[Digest]) -> dict[str, Entry]:
        """Return record id → entry of those that are there."""
        found = self.entries_at(sorted(set(self.indices_of(record_ids).values())))
        return {entry.record_id: entry for entry in found}

    def record_ids(self, predicate_type: str) -> tuple[Digest, ...]:
        """Return the record ids of a predicate type, by index."""
        query = (
            "SELECT record_id FROM entries WHERE idx IN (SELECT idx FROM records WHERE type_id IN "
            "(SELECT id FROM words WHERE word = ?)) ORDER BY idx"
        )
        return tuple(Digest(row[0]) for row in self.db.execute(query, [predicate_type]).fetchall())

    def _entries(self, query: str, values: list[object]) -> tuple[Entry, ...]:
        rows = self.db.execute(query, values).fetchall()
        return tuple(Entry(i, Digest(r), leaf, raw) for i, r, leaf, raw in rows)

    # --- hashes (TileSource) ----------------------------------------------------------------------------

    def tree(self, size: int) -> TileTree:
        """Return the tree over the first `size` records."""
        return TileTree(size, self)

    def leaf_range(self, start: int, stop: int) -> Sequence[bytes]:
        """Return the leaf hashes of a range of indices."""
        query = "SELECT leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx"
        return [row[0] for row in self.db.execute(query, [start, stop]).fetchall()]

    def tile_roots(self, level: int, start: int, stop: int) -> Sequence[bytes]:
        """Return the roots of full tiles."""
        query = "SELECT root FROM tiles WHERE level = ? AND idx >= ? AND idx < ? ORDER BY idx"
        return [row[0] for row in self.db.execute(query, [level, start, stop]).fetchall()]

    def tiles(self, start: int, stop: int) -> tuple[Tile, ...]:
        """Return the stored tiles that become full between log sizes `start` (excluded) and `stop`, by level."""
        query = f"SELECT level, idx, root FROM tiles WHERE {_full_tiles(start, stop)} ORDER BY level, idx"  # noqa: S608
        return tuple(Tile(*row) for row in self.db.execute(query).fetchall())

    # --- derived ----------------------------------------------------------------------------------------

    def matching(self, clauses: Sequence[str], values: Sequence[object], last: int | None) -> list[int]:
        """Return the indices whose derived row fits all `clauses`, by index; only the `last` so many."""
        query = f"SELECT idx FROM records r WHERE {' AND '.join(clauses) or 'TRUE'} ORDER BY idx"  # noqa: S608
        if last is not None:
            query = f"SELECT * FROM ({query} DESC LIMIT {int(last)}) ORDER BY idx"  # noqa: S608
        return [row[0] for row in self.db.execute(query, list(values)).fetchall()]

    def count_of(self, predicate_types: Sequence[str]) -> int:
        """Return how many records of some predicate types the derived tables know."""
        words = "SELECT id FROM words WHERE word IN (SELECT unnest(?::VARCHAR[]))"
        return self._number(
            f"SELECT count(*) FROM records WHERE type_id IN ({words})",  # noqa: S608 - words of ours
            [list(predicate_types)],
        )

    def latest_moment(self, predicate_types: Sequence[str], before: int | None) -> str | None:
        """Return the latest moment that a record of some predicate types, before an index, gives."""
        words = "SELECT id FROM words WHERE word IN (SELECT unnest(?::VARCHAR[]))"
        query = f"SELECT max(made_at) FROM records WHERE idx < ? AND type_id IN ({words})"  # noqa: S608
        limit = _EVERYTHING if before is None else before
        row = self.db.execute(query, [limit, list(predicate_types)]).fetchone()
        return None if row is None or row[0] is None else str(row[0])

    def filed_under(
        self, digests: Sequence[Digest], predicate_types: Sequence[str]
    ) -> dict[Digest, list[int]]:
        """Return, for each digest, the indices of the records of some predicate types that are about it."""
        raw = {bytes.fromhex(digest.removeprefix("sha256:")): digest for digest in digests}
        # By the short key first: it is what the table is made for.
        query = (
            "SELECT s.idx, s.digest FROM subjects s JOIN records r ON r.idx = s.idx "
            "WHERE s.digest_key IN (SELECT unnest(?::BIGINT[])) AND r.type_id IN "
            "(SELECT id FROM words WHERE word IN (SELECT unnest(?::VARCHAR[]))) ORDER BY s.idx"
        )
        values: list[object] = [[digest_key(item) for item in raw], list(predicate_types)]
        found: dict[Digest, list[int]] = {digest: [] for digest in digests}
        for index, said in self.db.execute(query, values).fetchall():
            digest = raw.get(bytes(said))
            if digest is not None and index not in found[digest][-1:]:
                found[digest].append(index)
        return found

    def derived(self, start: int, stop: int) -> tuple[Derived, ...]:
        """Return the derived rows about a range of indices, by index; also what they say of no record."""
        subjects: dict[int, list[tuple[str, str]]] = {}
        query = (
            "SELECT idx, name, 'sha256:' || lower(hex(digest)), digest_key, digest FROM subjects "
            "WHERE idx >= ? AND idx < ?"
        )
        for index, name, digest, key, raw in self.db.execute(query, [start, stop]).fetchall():
            # A row whose key is not its digest's would never be found: shown under a name that cannot be.
            said = digest if key == digest_key(bytes(raw)) else f"{digest} under another key"
            subjects.setdefault(index, []).append((name, said))
        query = (
            "SELECT idx, t.word, k.word, made_at, decision, suite, channel FROM records "
            "LEFT JOIN words t ON t.id = type_id LEFT JOIN words k ON k.id = records.key_id "
            "WHERE idx >= ? AND idx < ? ORDER BY idx"
        )
        found = [
            Derived(row[0], row[1] or "", row[2] or "", tuple(sorted(subjects.pop(row[0], ()))), *row[3:])
            for row in self.db.execute(query, [start, stop]).fetchall()
        ]
        found += [Derived(i, "", "", tuple(sorted(left))) for i, left in sorted(subjects.items())]
        return tuple(found)

    def snapshot(self, start: int, stop: int | None, *, derived: bool = True) -> Snapshot:
        """Return a range of everything; without `derived`, of the log alone."""
        high = _EVERYTHING if stop is None else stop
        low = start if start or stop is not None else -_EVERYTHING
        return Snapshot(
            self.entries(low, high),
            self.notes(start if start else -1, high),
            self.derived(low, high) if derived else (),
            self.tiles(start, high) if derived else (),
        )

    def extra_rows(self, size: int) -> tuple[str, ...]:
        """Return, in words, each row that does not belong to a log of `size`; checkpoints aside."""
        found: list[str] = []
        for table, column, words in (
            ("entries", "idx", "a record"),
            ("records", "idx", "an index row about record"),
            ("subjects", "idx", "a subject of record"),
        ):
            outside = f"{column} < 0 OR {column} >= ?"
            query = f"SELECT DISTINCT {column} FROM {table} WHERE {outside} ORDER BY 1"  # noqa: S608
            found += [f"{words} {row[0]}" for row in self.db.execute(query, [size]).fetchall()]
        query = f"SELECT level, idx FROM tiles WHERE NOT ({_full_tiles(0, size)}) ORDER BY 1, 2"  # noqa: S608
        found += [f"tile {row[1]} of level {row[0]}" for row in self.db.execute(query).fetchall()]
        query = "SELECT word FROM words GROUP BY word HAVING count(*) > 1 UNION ALL SELECT id::VARCHAR FROM words "
        query += "GROUP BY id HAVING count(*) > 1"
        found += [f"the word {row[0]} twice" for row in self.db.execute(query).fetchall()]
        return tuple(found)

    def foreign_rows(self, follows: Sequence[str | None]) -> tuple[str, ...]:
        """Return a sentence for each row outside the derived tables that a ledger file does not hold.

        Args:
            follows: The log that this file may be the local index of; None: it may be a log of its own.
        """
        found: list[str] = []
        made = sorted(row[0] for row in self.db.execute("SELECT number FROM migrations").fetchall())
        if made != [step.number for step in migrations()]:
            found.append(f"the ledger file says that other migrations were made than there are: {made[:20]}")
        said = [str(row[0]) for row in self.db.execute("SELECT log FROM following").fetchall()]
        if said not in [[] if log is None else [log] for log in follows]:
            names = ", ".join(repr(log[:80]) for log in said[:3]) or "no other log"
            found.append(
                f"the ledger file says that it follows {names}, and office.json says otherwise (a move that was "
                "interrupted is repeated: `placet ledger migrate`)"
            )
        query = "SELECT size FROM checkpoints WHERE size <= 0 ORDER BY 1"
        sizes = [row[0] for row in self.db.execute(query).fetchall()]
        found += [f"the ledger file holds a checkpoint of size {size}, which no log has" for size in sizes]
        return tuple(found)

    def unused_words(self) -> tuple[str, ...]:
        """Return each word that no row about a record uses."""
        used = "SELECT type_id FROM records UNION SELECT key_id FROM records"
        query = f"SELECT word FROM words WHERE id NOT IN ({used}) ORDER BY 1"  # noqa: S608
        return tuple(str(row[0]) for row in self.db.execute(query).fetchall())

    def extent(self) -> int:
        """Return the number behind the last record's."""
        return max(0, self._number("SELECT coalesce(max(idx), -1) FROM entries") + 1)

    def gaps(self) -> tuple[tuple[int, int], ...]:
        """Return the (first, last) of each stretch of indices before the last record's at which there is none."""
        query = "SELECT count(*), coalesce(min(idx), 0), coalesce(max(idx), -1) FROM entries"
        count, least, last = self.db.execute(query).fetchone() or (0, 0, -1)
        if least == 0 and count == last + 1:
            return ()
        before = "SELECT idx, lag(idx, 1, -1) OVER (ORDER BY idx) AS before FROM entries WHERE idx >= 0"
        query = f"SELECT before + 1, idx - 1 FROM ({before}) WHERE idx > before + 1 ORDER BY 1"  # noqa: S608
        return tuple((int(row[0]), int(row[1])) for row in self.db.execute(query).fetchall())

    def doubled(self) -> tuple[tuple[int, int], ...]:
        """Return (first, again) of records that are there under one id more than once."""
        # By a short hash first: grouping a million ids as text takes many times longer.
        alike = "SELECT hash(record_id) FROM entries GROUP BY 1 HAVING count(*) > 1"
        found = [row[0] for row in self.db.execute(alike).fetchall()]
        if not found:
            return ()
        query = (
            "SELECT min(idx), max(idx) FROM entries WHERE hash(record_id) IN (SELECT unnest(?::UBIGINT[])) "
            "GROUP BY record_id HAVING count(*) > 1 ORDER BY 2"
        )
        return tuple(self.db.execute(query, [found]).fetchall())

    # --- writing ----------------------------------------------------------------------------------------

    def insert(self, entries: Sequence[Entry], derived: Sequence[Derived], tiles: Sequence[Tile]) -> None:
        """Add rows to the log and to the derived tables."""
        self._insert(
            "entries",
            ("BIGINT", "VARCHAR", "BLOB", "BLOB"),
            [(entry.index, entry.record_id, entry.leaf, entry.envelope) for entry in entries],
        )
        self._insert_derived(derived)
        self._insert_tiles(tiles)

    def insert_note(self, size: int, note: str) -> None:
        """Add a checkpoint."""
        self.db.execute("INSERT INTO checkpoints VALUES (?, ?)", [size, note])

    def rebuild(self) -> int:
        """Make the derived tables again from the envelopes, a part at a time; return how many records there are."""
        for table in ("tiles", "records", "subjects", "words"):
            self.db.execute(f"DELETE FROM {table}")  # noqa: S608
        tree, start = TileTree(0, self), 0
        while entries := self._entries(
            f"{_ENTRY} WHERE idx >= ? ORDER BY idx LIMIT {_CHUNK}", [start if start else -_EVERYTHING]
        ):
            self._insert_derived([derive(entry.index, entry.envelope) for entry in entries])
            self._insert_tiles(tree.extend([leaf_hash(entry.envelope) for entry in entries]))
            start = entries[-1].index + 1
        return tree.size

    def _insert_derived(self, rows: Sequence[Derived]) -> None:
        words: dict[str, int] = {word: i for i, word in self.db.execute("SELECT * FROM words").fetchall()}
        new: list[tuple[int, str]] = []

        def number(word: str) -> int:
            if word not in words:
                words[word] = len(words)
                new.append((words[word], word))
            return words[word]

        records = [
            (
                row.index,
                number(row.predicate_type),
                number(row.key_id),
                row.made_at,
                row.decision,
                row.suite,
                row.channel,
            )
            for row in rows
        ]
        subjects = []
        for row in rows:
            for name, digest in row.subjects:
                raw = bytes.fromhex(digest.removeprefix("sha256:"))
                subjects.append((row.index, digest_key(raw), raw, name))
        self._insert("words", ("INTEGER", "VARCHAR"), new)
        types = ("BIGINT", "INTEGER", "INTEGER", "VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR")
        self._insert("records", types, records)
        self._insert("subjects", ("BIGINT", "BIGINT", "BLOB", "VARCHAR"), subjects)

    def _insert_tiles(self, tiles: Sequence[Tile]) -> None:
        rows = [(tile.level, tile.index, tile.root) for tile in tiles]
        self._insert("tiles", ("INTEGER", "BIGINT", "BLOB"), rows)

    def _insert(self, table: str, types: Sequence[str], rows: Iterable[tuple[object, ...]]) -> None:
        """Insert rows by columns: many times faster than row by row."""
        columns = list(zip(*rows, strict=True))
        if columns:
            values = ", ".join(f"unnest(?::{kind}[]) AS c{at}" for at, kind in enumerate(types))
            # Without the query inside, DuckDB takes several times as long.
            query = f"INSERT INTO {table} SELECT * FROM (SELECT {values})"  # noqa: S608 - names of ours
            self.db.execute(query, [list(column) for column in columns])

    def _number(self, query: str, values: list[object] | None = None) -> int:
        row = self.db.execute(query, values or []).fetchone()
        if row is None or row[0] is None:
            raise StorageError(
                "the ledger file lacks a table's rows",
                hint="somebody changed it: keep it as evidence, and put a copy of the office's folder back",
            )
        return int(row[0])


def _full_tiles(start: int, stop: int) -> str:
    """Return the clause for the tiles that become full between log sizes `start` (excluded) and `stop`."""
    levels = range(MAX_TILE_LEVEL + 1)
    # By level, in whole numbers of ours: what somebody wrote into the file is not reckoned with, and cannot overflow.
    return " OR ".join(
        f"(level = {level} AND idx >= {start >> bits} AND idx < {max(0, stop) >> bits})"
        for level, bits in ((level, TILE_BITS * (level + 1)) for level in levels)
    )


def digest_key(digest: bytes) -> int:
    """Return a digest's first 8 bytes as a signed integer."""
    return int.from_bytes(digest[:8], "big", signed=True)
