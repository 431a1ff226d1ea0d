"""Compare two SQLite databases row by row, reading each once, in flat memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soulsense_db.drivers import sqlite_pragmas as pragmas
from soulsense_db.drivers.base import Comparison, Progress, TableComparison
from soulsense_db.drivers.sqlite_errors import backup_errors

_Row = tuple[Any, ...]
# What ANALYZE found out, and SQLite's own indexes: no data.
_OWN_PREFIX = "sqlite_"
_SEQUENCE = "sqlite_sequence"
_ROWIDS = ("rowid", "_rowid_", "oid")
# A result has 2,000 columns at most, and an expression a depth of 1,000.
_TYPES_IN_ONE = 200
_ROWS_IN_ONE = 1000  # between two calls of a progress: some milliseconds


def compare(
    live: sqlite3.Connection,
    backup: sqlite3.Connection,
    path: Path,
    *,
    ignore: Collection[str],
    progress: Progress | None = None,
) -> Comparison:
    """Compare ``live``, in a read transaction of the caller's, with ``backup``, opened ``path``."""
    heads = pragmas.alembic_heads(live)
    with _any_text(live), _any_text(backup):
        before, after = _Side(live), _Side(backup, path)
        names = sorted((before.tables.keys() | after.tables.keys()) - set(ignore))
        reading = _Reading(progress, names, before, after) if progress is not None else None
        tables = []
        for name in names:
            found = _compare_table(before, after, name, reading)
            if (found.gained, found.lost, found.changed) != (0, 0, 0):
                tables.append(found)
        tables += [_unknown(name) for name in sorted(before.unreadable | after.unreadable)]
        same = before.schema(ignore) == after.schema(ignore)
        if reading is not None:
            reading.end()
    return Comparison(tables=tuple(tables), same_schema=same, alembic_heads=heads)


def count_rows(connection: sqlite3.Connection, path: Path | None = None) -> dict[str, int]:
    """Return how many rows each table has that is compared; ``path`` of a backup."""
    with _any_text(connection):
        side = _Side(connection, path)
        return {name: side.count(name) for name in side.tables}


@dataclass(frozen=True, slots=True)
class _Table:
    """How to read a table: its columns, the expressions for them, those that order its rows.

    And the ``encoding`` of text, by the bytes of which SQLite orders; ``grows``: whether SQLite
    gives new rows keys behind all others.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    key: tuple[str, ...]
    encoding: str
    grows: bool = field(compare=False)  # another way to store the same rows


class _Side:
    """One of the two databases; ``path`` of the backup, for its errors."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None = None) -> None:
        self._connection = connection
        self._path = path
        self._encoding = str(next(self._rows("PRAGMA encoding"))[0])
        self._counted: dict[str, int] = {}
        self.tables: dict[str, _Table] = {}
        self.unreadable: set[str] = set()
        for name in self._names():
            try:
                self.tables[name] = self._describe(name)
            except UnicodeEncodeError:  # Python sends SQLite no name that is not UTF-8
                self.unreadable.add(name.encode(errors="surrogateescape").decode(errors="replace"))

    def schema(self, ignore: Collection[str]) -> set[_Row]:
        """Return type, name and SQL of all there is, and the numbers an application keeps."""
        statement = "SELECT type, name, sql, tbl_name FROM sqlite_master"
        own = {
            found[:3]
            for found in self._rows(statement)
            if found[3] not in ignore and not str(found[1]).startswith(_OWN_PREFIX)
        }
        kept = ("user_version", "application_id")
        return own | {(name, pragmas.number(self._connection, name)) for name in kept}

    def count(self, name: str) -> int:
        """Return how many rows the table has, 0 where there is none of that name."""
        if name not in self.tables:
            return 0
        if name not in self._counted:
            counting = f"SELECT count(*) FROM {_quoted(name)}"  # noqa: S608 - quoted
            self._counted[name] = int(next(self._rows(counting))[0])
        return self._counted[name]

    def read(self, name: str) -> Generator[_Row, None, None]:
        """Yield key and values of each row, in the order of the key."""
        table = self.tables[name]
        order = ", ".join(f"{part} COLLATE BINARY" for part in table.key)
        columns = ", ".join((*table.key, *table.values))
        yield from self._rows(f"SELECT {columns} FROM {_quoted(name)} ORDER BY {order}")  # noqa: S608 - quoted

    def _names(self) -> list[str]:
        found = self._rows("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        return [
            name
            for name, sql in found
            # A virtual table's rows are in tables of its own, which are compared.
            if not str(sql or "").upper().startswith("CREATE VIRTUAL")
            and (not name.startswith(_OWN_PREFIX) or name == _SEQUENCE)
        ]

    def _describe(self, name: str) -> _Table:
        columns = list(self._rows(f"PRAGMA table_info({_quoted(name)})"))
        values = [_quoted(column) for _, column, *_ in columns]
        "".join(values).encode()  # also a column may have a name that cannot be sent
        types = [
            f"typeof({_quoted(column)})"  # where 1 and 1.0 may both be
            for _, column, declared, *_ in columns
            if not declared or "BLOB" in declared.upper() or declared.upper() == "ANY"
        ]
        for start in range(0, len(types), _TYPES_IN_ONE):
            values.append("||','||".join(types[start : start + _TYPES_IN_ONE]))
        keyed = sorted((found[5], found[1]) for found in columns if found[5])
        names = tuple(column for _, column, *_ in columns)
        rowid = _rowid(names)
        key = tuple(_quoted(column) for _, column in keyed) or (rowid or _ROWIDS[0],)
        # A key that is not the rowid has an index, also in a table WITHOUT ROWID.
        indexes = self._rows(f"PRAGMA index_list({_quoted(name)})")
        grows = all(origin != "pk" for _, _, _, origin, *_ in indexes) and bool(keyed or rowid)
        return _Table(names, tuple(values), key, self._encoding, grows)

    def _rows(self, statement: str) -> Iterator[_Row]:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        if self._path is None:
            yield from cursor.execute(statement)
            return
        with backup_errors(self._path):
            yield from cursor.execute(statement)


class _Reading:
    """Tells ``progress`` how many rows are read so far, of all in ``names`` on both sides."""

    def __init__(self, progress: Progress, names: Collection[str], *sides: _Side) -> None:
        self._progress = progress
        self._total = sum(side.count(name) for side in sides for name in names)
        self._done = 0

    def of(self, rows: Generator[_Row, None, None]) -> Generator[_Row, None, None]:
        """Yield ``rows``, and tell of them now and then."""
        with closing(rows):
            for row in rows:
                self._done += 1
                if self._done % _ROWS_IN_ONE == 0:
                    self._tell()
                yield row

    def skip(self, rows: int) -> None:
        """Take ``rows`` as read that need not be, being counted."""
        self._done += rows
        self._tell()

    def end(self) -> None:
        """Tell that all is read."""
        self._done = max(self._done, self._total)
        self._tell()

    def _tell(self) -> None:
        # By a damaged index others are counted than there are.
        self._progress(self._done, max(self._done, self._total))


def _compare_table(
    live: _Side, backup: _Side, name: str, reading: _Reading | None
) -> TableComparison:
    before, after = live.tables.get(name), backup.tables.get(name)
    if before is None or after is None or before != after:
        lost, gained = live.count(name), backup.count(name)
        if reading is not None:
            reading.skip(lost + gained)
        if before and after:
            lost, gained = max(0, lost - gained), max(0, gained - lost)
        changed, newer = (None, None) if before and after else (0, lost)
        return TableComparison(table=name, gained=gained, lost=lost, changed=changed, newer=newer)
    # Closed here: one that an error of the other leaves behind would outlive its connection.
    with _told(live.read(name), reading) as ours, _told(backup.read(name), reading) as theirs:
        gained, lost, changed, tail = _merge(ours, theirs, before)
    newer = tail if before.grows and after.grows else None
    return TableComparison(table=name, gained=gained, lost=lost, changed=changed, newer=newer)


def _unknown(name: str) -> TableComparison:
    """Return what is known of a table that cannot be read by its name: that it may differ."""
    return TableComparison(table=name, gained=0, lost=0, changed=None, newer=None)


def _told(
    rows: Generator[_Row, None, None], reading: _Reading | None
) -> closing[Generator[_Row, None, None]]:
    return closing(rows if reading is None else reading.of(rows))


def _merge(
    live: Iterator[_Row], backup: Iterator[_Row], table: _Table
) -> tuple[int, int, int, int]:
    """Walk both in the order of their keys; return rows only in backup, only live, different.

    And how many of those only live are behind the last one in the backup.
    """
    gained = lost = changed = 0
    key_size, encoding = len(table.key), table.encoding
    ours, theirs = next(live, None), next(backup, None)
    while ours is not None and theirs is not None:
        if ours == theirs:
            ours, theirs = next(live, None), next(backup, None)
            continue
        left, right = _order(ours[:key_size], encoding), _order(theirs[:key_size], encoding)
        if left == right:
            changed += 1
            ours, theirs = next(live, None), next(backup, None)
        elif left < right:
            lost += 1
            ours = next(live, None)
        else:
            gained += 1
            theirs = next(backup, None)
    tail = (ours is not None) + sum(1 for _ in live)
    gained += (theirs is not None) + sum(1 for _ in backup)
    return gained, lost + tail, changed, tail


def _order(key: _Row, encoding: str) -> list[tuple[int, Any]]:
    """Return ``key`` such that Python orders it as SQLite does: NULL, numbers, text, blobs."""
    return [_place(value, encoding) for value in key]


def _place(value: Any, encoding: str) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        # What is no text has come as such stand-ins, or in UTF-16 as halves of pairs.
        unpaired = "surrogateescape" if encoding == "UTF-8" else "surrogatepass"
        return 2, value.encode(encoding, errors=unpaired)
    return 3, value


@contextmanager
def _any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read text that is no valid UTF-8 too; the connection may be the application's own."""
    before: Callable[[bytes], Any] = connection.text_factory
    connection.text_factory = lambda data: data.decode(errors="surrogateescape")
    try:
        yield
    finally:
        connection.text_factory = before


def _rowid(columns: Collection[str]) -> str | None:
    """Return a name of the rowid that no column has, None when there is none left."""
    taken = {column.lower() for column in columns}
    return next((name for name in _ROWIDS if name not in taken), None)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
