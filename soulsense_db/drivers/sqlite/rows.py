"""Read the rows of an SQLite database such that those of two can be compared.

It may be read through a connection of the application's own: nothing that it has set there changes
what is read. Names are those of ``main``, whatever TEMP tables it has; text is what the bytes say;
and a value is an expression under a name of ours, for which there is no converter.
"""

from __future__ import annotations

import codecs
import functools
import hashlib
import sqlite3
from collections.abc import Collection, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.errors import backup_errors
from soulsense_db.drivers.sqlite.pragmas import quoted
from soulsense_db.errors import BackupError
from soulsense_db.notices import ignoring

Row = tuple[Any, ...]
# What ANALYZE found out, and SQLite's own indexes: no data.
_OWN_PREFIX = "sqlite_"
_SEQUENCE = "sqlite_sequence"
_ROWIDS = ("rowid", "_rowid_", "oid")
# A result has 2,000 columns at most, and an expression a depth of 1,000.
_TYPES_IN_ONE = 200
# Of a longer value only a digest is kept, of the blocks in which it is read.
_LARGE = 256 * 1024
_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Table:
    """How to read a table: its columns, the expressions for them, those that order its rows.

    And the ``encoding`` of text, by the bytes of which SQLite orders; ``grows``: whether SQLite
    gives new rows keys behind all others; ``rowid``: a name that it has in the statements, if any.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    key: tuple[str, ...]
    encoding: str
    grows: bool = field(compare=False)  # another way to store the same rows
    rowid: str | None = field(compare=False)


class Side:
    """One of the two databases; ``path`` of the backup, for its errors."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None = None) -> None:
        self._connection = connection
        self._path = path
        self._encoding = str(self._row("PRAGMA encoding")[0])
        self._longest = connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
        self._counted: dict[str, int] = {}
        self.tables: dict[str, Table] = {}
        self.unreadable: set[str] = set()
        for name in self._names():
            try:
                self.tables[name] = self._describe(name)
            except _UnsendableError:
                self.unreadable.add(name.encode(errors="surrogateescape").decode(errors="replace"))

    def schema(self, ignore: Collection[str]) -> set[Row]:
        """Return type, name and SQL of all there is, and the numbers an application keeps."""
        statement = "SELECT type, name, sql, tbl_name FROM main.sqlite_master"
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
            counting = f"SELECT count(*) FROM {_in_main(name)}"  # noqa: S608 - quoted
            self._counted[name] = int(self._row(counting)[0])
        return self._counted[name]

    def read(self, name: str) -> Generator[Row, None, None]:
        """Yield key and values of each row, in the order of the key."""
        table = self.tables[name]
        yield from self._in_order(name, (*table.key, *table.values), table.key)

    def read_as_stored(self, name: str) -> Generator[Row, None, None]:
        """Yield the values of each row, in the order in which they lie in the file."""
        table = self.tables[name]
        assert table.rowid is not None
        yield from self._in_order(name, table.values, (table.rowid,))

    def _in_order(
        self, name: str, wanted: tuple[str, ...], key: tuple[str, ...]
    ) -> Generator[Row, None, None]:
        """Yield ``wanted`` of each row, digests of what is too large to be kept in memory."""
        table, done = self.tables[name], 0
        order = ", ".join(f"{part} COLLATE BINARY" for part in key)
        with self._limited(_LARGE):
            try:
                for row in self._rows(f"{_select(name, wanted)} ORDER BY {order}"):
                    done += 1
                    yield row
                return
            except _TooLargeError:
                if table.rowid is None:
                    rest = self._whole(name, wanted, order)
                else:
                    rest = self._apart(name, wanted, order, table.rowid)
            # In the same order: those that were yielded before are left out.
            with closing(rest):
                yield from islice(rest, done, None)

    def _whole(self, name: str, wanted: tuple[str, ...], order: str) -> Generator[Row, None, None]:
        """Yield all rows with all their values: without a rowid nothing reads a part of one."""
        with self._limited(-1):
            rows = self._rows(f"{_select(name, wanted)} ORDER BY {order}")
            while (short := _shortened_row(next(rows, None))) is not None:
                yield short  # the row itself is gone by now

    def _apart(
        self, name: str, wanted: tuple[str, ...], order: str, rowid: str
    ) -> Generator[Row, None, None]:
        """Yield all rows, each found by its rowid, and large values in blocks."""
        this = f" WHERE {rowid} = ?"
        whole_row = _select(name, wanted) + this
        try:
            for (number,) in self._rows(f"{_select(name, (rowid,))} ORDER BY {order}"):
                try:
                    yield self._row(whole_row, number)
                except _TooLargeError:
                    yield tuple(self._one(name, part, this, number) for part in wanted)
        except _TooLargeError:  # the key itself
            yield from self._whole(name, wanted, order)

    def _one(self, name: str, part: str, this: str, rowid: int) -> Any:
        """Return the value of the expression ``part`` in a row, or what stands for a large one."""
        try:
            return self._row(_select(name, (part,)) + this, rowid)[0]
        except _TooLargeError:
            column = part[1:-1].replace('""', '"')  # only a column's own value can be so large
        (kind,) = self._row(_select(name, (f"typeof({part})",)) + this, rowid)
        digest = hashlib.sha256()
        # What is compared is text, whatever bytes either database has for it.
        decoder = None
        if kind == "text" and self._encoding != "UTF-8":
            decoder = codecs.getincrementaldecoder(self._encoding)(errors="surrogatepass")
        with (
            self._errors(),
            self._connection.blobopen(name, column, rowid, readonly=True) as blob,
        ):
            while block := blob.read(_BLOCK):
                if decoder is not None:
                    block = decoder.decode(block).encode(errors="surrogatepass")
                digest.update(block)
        return kind, digest.hexdigest()

    @contextmanager
    def _limited(self, length: int) -> Iterator[None]:
        """Let no value be longer than ``length``: SQLite refuses it before it takes memory."""
        before = self._connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
        if length < 0:
            length = self._longest
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, length)
        try:
            yield
        finally:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)

    def _names(self) -> list[str]:
        found = self._rows("SELECT name, sql FROM main.sqlite_master WHERE type = 'table'")
        return [
            name
            for name, sql in found
            # A virtual table's rows are in tables of its own, which are compared.
            if not str(sql or "").upper().startswith("CREATE VIRTUAL")
            and (not name.startswith(_OWN_PREFIX) or name == _SEQUENCE)
        ]

    def _describe(self, name: str) -> Table:
        _require_sendable(name)
        columns = list(self._rows(f"PRAGMA main.table_info({quoted(name)})"))
        values = [quoted(column) for _, column, *_ in columns]
        _require_sendable("".join(values))
        types = [
            f"typeof({quoted(column)})"  # where 1 and 1.0 may both be
            for _, column, declared, *_ in columns
            if not declared or "BLOB" in declared.upper() or declared.upper() == "ANY"
        ]
        for start in range(0, len(types), _TYPES_IN_ONE):
            values.append("||','||".join(types[start : start + _TYPES_IN_ONE]))
        keyed = sorted((found[5], found[1]) for found in columns if found[5])
        names = tuple(column for _, column, *_ in columns)
        rowid = _rowid(names)
        key = tuple(quoted(column) for _, column in keyed) or (rowid or _ROWIDS[0],)
        # A key that is not the rowid has an index, also in a table WITHOUT ROWID.
        indexes = self._rows(f"PRAGMA main.index_list({quoted(name)})")
        grows = all(origin != "pk" for _, _, _, origin, *_ in indexes) and bool(keyed or rowid)
        if rowid is not None and not self._has_rowid(name, rowid):
            rowid = None
        return Table(names, tuple(values), key, self._encoding, grows, rowid)

    def _has_rowid(self, name: str, rowid: str) -> bool:
        try:
            next(self._rows(f"{_select(name, (rowid,))} LIMIT 0"), None)
        except (sqlite3.OperationalError, BackupError):  # WITHOUT ROWID
            return False
        return True

    def _row(self, statement: str, *parameters: Any) -> Row:
        """Return the row of a statement that has one, unless an index names rows that are gone."""
        with self._errors():
            for row in self._rows(statement, *parameters):
                return row
            error = sqlite3.DatabaseError("a row that an index names is missing")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

    def _rows(self, statement: str, *parameters: Any) -> Iterator[Row]:
        with self._errors():
            yield from self._rows_or_too_large(statement, parameters)

    def _errors(self) -> AbstractContextManager[None]:
        return nullcontext() if self._path is None else backup_errors(self._path)

    def _rows_or_too_large(self, statement: str, parameters: tuple[Any, ...]) -> Iterator[Row]:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        try:
            yield from cursor.execute(statement, parameters)
        except sqlite3.Error as error:
            too_long = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_TOOBIG
            # Without a limit of ours, nothing is that long: the file is damaged.
            if too_long and self._connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) == _LARGE:
                raise _TooLargeError from error
            raise


class _UnsendableError(Exception):
    """Python sends SQLite no name that is not UTF-8, or that has a NUL in it."""


def _require_sendable(names: str) -> None:
    try:
        names.encode()
    except UnicodeEncodeError:
        raise _UnsendableError from None
    if "\0" in names:
        raise _UnsendableError


class _TooLargeError(Exception):
    """A value is longer than the limit of the connection."""


@contextmanager
def any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read text that is no valid UTF-8 too; the connection may be the application's own."""
    text = functools.partial(str, encoding="utf-8", errors="surrogateescape")
    with pragmas.text_as(connection, text):
        yield


@contextmanager
def all_collations(connection: sqlite3.Connection) -> Iterator[None]:
    """Let tables be read whose keys are in an order that only the application knows.

    SQLite opens no table WITHOUT ROWID without the collations of its key. A stand-in will do: rows
    are read as they lie there, and sorted by their bytes. It is gone at the end.
    """
    statement = (
        "SELECT DISTINCT part.coll FROM main.sqlite_master AS found, "
        "pragma_index_list(found.name, 'main') AS listed, "
        "pragma_index_xinfo(listed.name, 'main') AS part "
        "WHERE found.type = 'table' AND part.coll IS NOT NULL"
    )
    made: list[str] = []
    try:
        for (name,) in pragmas.rows(connection, statement):
            with suppress(_UnsendableError):
                _require_sendable(name)
                if not _has_collation(connection, name):
                    connection.create_collation(name, lambda a, b: (a > b) - (a < b))
                    made.append(name)
        yield
    finally:
        for name in made:
            # A statement of the application's is running.
            with ignoring(sqlite3.Error, what=f"The stand-in {name} stays on the connection"):
                connection.create_collation(name, None)


def _has_collation(connection: sqlite3.Connection, name: str) -> bool:
    """Whether ``connection`` knows a collation; SQLite's own list has all that the schema names."""
    try:
        pragmas.rows(connection, f"EXPLAIN SELECT '' = '' COLLATE {quoted(name)}")
    except sqlite3.OperationalError:
        return False
    return True


def _rowid(columns: Collection[str]) -> str | None:
    """Return a name of the rowid that no column has, None when there is none left."""
    taken = {column.lower() for column in columns}
    return next((name for name in _ROWIDS if name not in taken), None)


def _select(name: str, wanted: tuple[str, ...]) -> str:
    """Return the beginning of a statement that reads the expressions ``wanted`` of a table.

    A column's own name or type would have the application's converter called; not so that of an
    expression with a name of ours.
    """
    columns = ", ".join(f'+{part} AS "soulsense_{number}"' for number, part in enumerate(wanted))
    return f"SELECT {columns} FROM {_in_main(name)}"  # noqa: S608 - quoted


def _shortened_row(row: Row | None) -> Row | None:
    return None if row is None else tuple(map(_shortened, row))


def _shortened(value: Any) -> Any:
    """Return what stands for a value, itself unless it is large."""
    if not isinstance(value, str | bytes) or len(value) <= _LARGE:
        return value
    text = isinstance(value, str)
    data = value.encode(errors="surrogateescape") if isinstance(value, str) else value
    return "text" if text else "blob", hashlib.sha256(data).hexdigest()


def _in_main(name: str) -> str:
    return f"main.{quoted(name)}"
