"""Read the rows of an SQLite database such that those of two can be compared.

It may be read through a connection of the application's own: nothing that it has set there changes
what is read. Names are those of ``main``, whatever TEMP tables it has; text is what the bytes say;
and a value is an expression under a name of ours, for which there is no converter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from soulsense_db.drivers.long_values import read_long_value, shortened
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.as_stored import UnsendableError, require_sendable
from soulsense_db.drivers.sqlite.errors import UNDECODABLE, backup_errors
from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.errors import BackupError

Row = tuple[Any, ...]
# What ANALYZE found out, and SQLite's own indexes: no data.
OWN_PREFIX = "sqlite_"
SEQUENCE = "sqlite_sequence"
_ROWIDS = ("rowid", "_rowid_", "oid")
# A result has 2,000 columns at most, and an expression a depth of 1,000.
_TYPES_IN_ONE = 200
# Of a longer value only a digest is kept, of the blocks in which it is read.
_LARGE = 256 * 1024


class _Way(NamedTuple):
    """A way to read rows: how long a value may be, how many rows at a time, is text valid."""

    longest: int
    rows: int
    is_valid: bool


# From the one that takes the least time to the one that can read nearly everything.
_WAYS = (_Way(16 * 1024, 64, True), _Way(_LARGE, 1, True), _Way(_LARGE, 1, False))
_ANY_WAY = _Way(-1, 1, False)


@dataclass(frozen=True, slots=True)
class Table:
    """How to read a table: its columns, the expressions for them, those that order its rows.

    And the ``encoding`` of text, by the bytes of which SQLite orders; ``grows``: whether SQLite
    gives new rows keys behind all others; ``rowid``: a name that it has in the statements, if any;
    ``declared``: the types of the columns; ``primary_key``: the columns of that, if any;
    ``keys_may_be_null``: SQLite lets several rows have such a key.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    key: tuple[str, ...]
    encoding: str
    grows: bool = field(compare=False)  # another way to store the same rows
    rowid: str | None = field(compare=False)
    declared: tuple[str, ...] = field(compare=False)
    primary_key: tuple[str, ...] = field(compare=False)
    keys_may_be_null: bool = field(compare=False)

    @property
    def reading(self) -> Reading:
        """How all of it is read: key and values, in the order of the key."""
        return Reading(self.key, self.values, self.key)


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a table is read, as expressions: ``key``, then ``values``, in an ``order``."""

    key: tuple[str, ...]
    values: tuple[str, ...]
    order: tuple[str, ...]


class Side:
    """One of the two databases; ``path`` of the backup, for its errors."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None = None) -> None:
        self._connection = connection
        self._path = path
        self.encoding = str(self._row("PRAGMA encoding")[0])
        self._longest = pragmas.longest_value(connection)
        self._counted: dict[str, int] = {}
        self.tables: dict[str, Table] = {}
        self.unreadable: set[str] = set()
        for name in self._names():
            try:
                self.tables[name] = self._describe(name)
            except UnsendableError:
                self.unreadable.add(name.encode(errors="surrogateescape").decode(errors="replace"))

    def schema(self, ignore: Collection[str]) -> set[Row]:
        """Return type, name and SQL of all there is, and the numbers an application keeps."""
        statement = "SELECT type, name, sql, tbl_name FROM main.sqlite_master"
        own = {
            found[:3]
            for found in self.query(statement)
            if found[3] not in ignore and not str(found[1]).startswith(OWN_PREFIX)
        }
        kept = ("user_version", "application_id")
        return own | {(name, pragmas.number(self._connection, name)) for name in kept}

    def count(self, name: str) -> int:
        """Return how many rows the table has, 0 where there is none of that name."""
        if name not in self.tables:
            return 0
        if name not in self._counted:
            counting = f"SELECT count(*) FROM {_in_main(name)}"  # noqa: S608 - quoted
            self._counted[name] = int(self._row(counting)[0])
        return self._counted[name]

    def has_null_key(self, name: str) -> bool:
        """Whether a row has no value in a column of the primary key."""
        table = self.tables[name]
        if not table.keys_may_be_null:
            return False
        is_null = " OR ".join(f"{part} IS NULL" for part in table.key)
        found = self.query(f"SELECT 1 FROM {_in_main(name)} WHERE {is_null} LIMIT 1")  # noqa: S608 - quoted
        return next(found, None) is not None

    def read(self, name: str, reading: Reading | None = None) -> Generator[list[Row], None, None]:
        """Yield key and values of each row, some rows at a time, in the order of the key."""
        reading = reading or self.tables[name].reading
        yield from self._in_order(name, (*reading.key, *reading.values), reading.order)

    def read_as_stored(self, name: str) -> Generator[list[Row], None, None]:
        """Yield the values of each row, in the order in which they lie in the file."""
        table = self.tables[name]
        assert table.rowid is not None
        yield from self._in_order(name, table.values, (table.rowid,))

    def _in_order(
        self, name: str, wanted: tuple[str, ...], key: tuple[str, ...]
    ) -> Generator[list[Row], None, None]:
        """Yield ``wanted`` of each row, what stands for a value that is too large for memory."""
        order = ", ".join(f"{part} COLLATE BINARY" for part in key)
        statement, done = f"{_select(name, wanted)} ORDER BY {order}", 0
        for way in _WAYS:
            try:
                for rows in self._other_than_first(done, statement, way):
                    done += len(rows)
                    yield rows
                return
            except (_InvalidTextError, _TooLargeError):
                continue
        with self._limited(_LARGE):
            rowid = self.tables[name].rowid
            if rowid is None:
                rest = self._whole(name, wanted, order)
            else:
                rest = self._apart(name, wanted, order, rowid)
            with closing(rest):
                for row in islice(rest, done, None):
                    yield [row]

    def _whole(self, name: str, wanted: tuple[str, ...], order: str) -> Generator[Row, None, None]:
        """Yield all rows with all their values: without a rowid nothing reads a part of one."""
        with self._limited(-1):
            rows = self.query(f"{_select(name, wanted)} ORDER BY {order}")
            while (short := self._shortened_row(next(rows, None))) is not None:
                yield short  # the row itself is gone by now

    def _shortened_row(self, row: Row | None) -> Row | None:
        return row and tuple(shortened(value, _LARGE, self.encoding) for value in row)

    def _apart(
        self, name: str, wanted: tuple[str, ...], order: str, rowid: str
    ) -> Generator[Row, None, None]:
        """Yield all rows, each found by its rowid, and large values in blocks."""
        this = f" WHERE {rowid} = ?"
        whole_row = _select(name, wanted) + this
        with closing(self.query(f"{_select(name, (rowid,))} ORDER BY {order}")) as numbers:
            try:
                first = next(numbers, None)
            except _TooLargeError:  # the key itself, of whatever row: all are sorted first
                yield from self._whole(name, wanted, order)
                return
            for (number,) in chain([first] if first else [], numbers):
                try:
                    yield self._row(whole_row, number)
                except _TooLargeError:
                    yield tuple(self._one(name, part, this, number) for part in wanted)

    def _one(self, name: str, part: str, this: str, rowid: int) -> Any:
        """Return the value of the expression ``part`` in a row, or what stands for a large one."""
        try:
            return self._row(_select(name, (part,)) + this, rowid)[0]
        except _TooLargeError:
            column = part[1:-1].replace('""', '"')  # only a column's own value can be so large
        kind = self._kind(_select(name, (f"typeof({part})",)) + this, rowid)
        with (
            self._errors(),
            self._connection.blobopen(name, column, rowid, readonly=True) as blob,
        ):
            return read_long_value(blob, kind, self.encoding)

    def _kind(self, statement: str, rowid: int) -> str:
        try:
            return str(self._row(statement, rowid)[0])
        except _TooLargeError:  # of a REAL column SQLite reads the value to tell its type
            with self._limited(-1):
                return str(self._row(statement, rowid)[0])

    def _limited(self, length: int) -> AbstractContextManager[None]:
        """Let no value be longer than ``length``; below 0, let it be as long as it can."""
        return pragmas.values_limited(self._connection, self._longest if length < 0 else length)

    def _names(self) -> list[str]:
        found = self.query("SELECT name, sql FROM main.sqlite_master WHERE type = 'table'")
        return [
            name
            for name, sql in found
            # A virtual table's rows are in tables of its own, which are compared.
            if not str(sql or "").upper().startswith("CREATE VIRTUAL")
            and (not name.startswith(OWN_PREFIX) or name == SEQUENCE)
        ]

    def _describe(self, name: str) -> Table:
        require_sendable(name)
        columns = list(self.query(f"PRAGMA main.table_info({quoted(name)})"))
        names = tuple(column for _, column, *_ in columns)
        require_sendable("".join(names))
        declared = tuple(str(kind or "") for _, _, kind, *_ in columns)
        typed = [column for column, kind in zip(names, declared, strict=True) if is_typed(kind)]
        keyed = sorted((found[5], found[1], found[3]) for found in columns if found[5])
        rowid = _rowid(names)
        key = tuple(quoted(column) for _, column, _ in keyed) or (rowid or _ROWIDS[0],)
        # A key that is not the rowid has an index, also in a table WITHOUT ROWID.
        # All of them: what is not read to its end would be closed after the connection is.
        indexes = list(self.query(f"PRAGMA main.index_list({quoted(name)})"))
        grows = all(origin != "pk" for _, _, _, origin, *_ in indexes) and bool(keyed or rowid)
        if rowid is not None and not self._has_rowid(name, rowid):
            rowid = None
        return Table(
            names,
            values_of(names, typed),
            key,
            self.encoding,
            grows,
            rowid,
            declared=declared,
            primary_key=tuple(column for _, column, _ in keyed),
            keys_may_be_null=not grows and any(not is_required for *_, is_required in keyed),
        )

    def _has_rowid(self, name: str, rowid: str) -> bool:
        try:
            next(self.query(f"{_select(name, (rowid,))} LIMIT 0"), None)
        except (sqlite3.OperationalError, BackupError):  # WITHOUT ROWID
            return False
        return True

    def _row(self, statement: str, *parameters: Any) -> Row:
        """Return the row of a statement that has one, unless an index names rows that are gone."""
        with self._errors():
            for row in self.query(statement, *parameters):
                return row
            error = sqlite3.DatabaseError("a row that an index names is missing")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

    def query(self, statement: str, *parameters: Any) -> Generator[Row, None, None]:
        """Yield the rows of ``statement``."""
        with closing(self._chunks(statement, parameters, _ANY_WAY)) as chunks:
            for rows in chunks:
                yield from rows

    def _errors(self) -> AbstractContextManager[None]:
        return nullcontext() if self._path is None else backup_errors(self._path)

    def _other_than_first(
        self, done: int, statement: str, way: _Way
    ) -> Generator[list[Row], None, None]:
        """Yield the rows of ``statement``, some at a time, but not the first ``done``."""
        with (
            self._limited(way.longest),
            closing(self._chunks(statement, (), way)) as chunks,
        ):
            for rows in chunks:
                if done < len(rows):
                    yield rows[done:] if done else rows
                done = max(0, done - len(rows))

    def _chunks(
        self, statement: str, parameters: tuple[Any, ...], way: _Way
    ) -> Generator[list[Row], None, None]:
        with self._errors(), closing(self._connection.cursor()) as cursor:
            cursor.row_factory = None
            try:
                cursor.execute(statement, parameters)
                while rows := self._fetched(cursor, way):
                    yield rows
            except sqlite3.Error as error:
                if way.is_valid and UNDECODABLE in str(error):
                    raise _InvalidTextError from error
                too_long = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_TOOBIG
                limit = pragmas.longest_value(self._connection)
                # Without a limit of ours, nothing is that long: the file is damaged.
                if too_long and limit < self._longest:
                    raise _TooLargeError from error
                raise

    def _fetched(self, cursor: sqlite3.Cursor, way: _Way) -> list[Row]:
        if not way.is_valid:
            return cursor.fetchmany(way.rows)
        # Python reads it in half the time without a function.
        with pragmas.text_as(self._connection, str):
            return cursor.fetchmany(way.rows)


def values_of(columns: Iterable[str], typed: Sequence[str]) -> tuple[str, ...]:
    """Return expressions for the values of ``columns``, and the types of those in ``typed``."""
    types = [f"typeof({quoted(column)})" for column in typed]
    parts = [
        "||','||".join(types[start : start + _TYPES_IN_ONE])
        for start in range(0, len(types), _TYPES_IN_ONE)
    ]
    return (*map(quoted, columns), *parts)


def is_typed(declared: str) -> bool:
    """Whether a column of this type may hold both 1 and 1.0."""
    return not declared or "BLOB" in declared.upper() or declared.upper() == "ANY"


class _InvalidTextError(Exception):
    """A text is none in the encoding of its database."""


class _TooLargeError(Exception):
    """A value is longer than the limit of the connection."""


def _rowid(columns: Collection[str]) -> str | None:
    """Return a name of the rowid that no column has, None when there is none left."""
    taken = set(map(folded, columns))
    return next((name for name in _ROWIDS if name not in taken), None)


def _select(name: str, wanted: tuple[str, ...]) -> str:
    """Return the beginning of a statement that reads the expressions ``wanted`` of a table.

    A column's own name or type would have the application's converter called; not so that of an
    expression with a name of ours.
    """
    columns = ", ".join(f'+{part} AS "soulsense_{number}"' for number, part in enumerate(wanted))
    return f"SELECT {columns} FROM {_in_main(name)}"  # noqa: S608 - quoted


def _in_main(name: str) -> str:
    return f"main.{quoted(name)}"
