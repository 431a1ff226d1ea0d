"""The tables of two databases between which rows move: columns, keys, references, triggers."""

from __future__ import annotations

import difflib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from soulsense_db.drivers.row_errors import unreadable_name
from soulsense_db.drivers.sqlite.errors import backup_errors
from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.drivers.sqlite.row_values import Row
from soulsense_db.drivers.sqlite.table_sql import read_table

_ROWIDS = ("rowid", "_rowid_", "oid")
_PLAIN = 0  # what table_xinfo says of a column that is neither generated nor hidden
_GENERATED = (2, 3)


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``key``: its place in the primary key, 0 for none."""

    name: str
    type: str
    not_null: bool
    default: str | None
    key: int
    is_generated: bool


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of ``table`` that refer to columns of ``parent``."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unique:
    """Columns of which no two rows have the same values, with the collations that tell."""

    columns: tuple[str, ...]
    collations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger: its schema, ``main`` or ``temp``, its name and its SQL."""

    schema: str
    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What a table is like; ``rowid``: a name that reaches it, None where nothing does.

    ``key_is_rowid``: whether the primary key is another name of the rowid; ``key_differs``: whether
    it tells values apart in another way than their columns do, by a COLLATE of its own.
    """

    name: str
    columns: tuple[Column, ...]
    rowid: str | None
    key_is_rowid: bool
    is_strict: bool
    key_differs: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key, in its order."""
        keyed = sorted((one.key, one.name) for one in self.columns if one.key)
        return tuple(name for _, name in keyed)

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns that have values of their own."""
        return tuple(one for one in self.columns if not one.is_generated)


class Tables:
    """The tables of the database ``main`` of ``connection``; ``path`` of a backup, for errors."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None = None) -> None:
        self.connection = connection
        self._path = path
        self._shapes: dict[str, Shape] = {}
        self._references: dict[str, tuple[ForeignKey, ...]] = {}
        self.encoding = str(self.row("PRAGMA main.encoding")[0])
        found = self.rows("SELECT +name AS a, +type AS b, +sql AS c FROM main.sqlite_master")
        named = [one for one in found if isinstance(one[0], str) and one[1] in {"table", "view"}]
        self._names = {folded(name): name for name, *_ in named}
        self._kinds = {folded(name): _kind(kind, sql) for name, kind, sql in named}
        for (name,) in self._listed("type = 'shadow'"):
            self._kinds[folded(name)] = "shadow"

    def name_of(self, name: str) -> str | None:
        """Return how the schema writes the name of a table or view, None where there is none."""
        return self._names.get(folded(name))

    def kind_of(self, name: str) -> str:
        """Return ``table``, ``view``, ``virtual`` or ``shadow``, which is a virtual table's own."""
        return self._kinds[folded(name)]

    def is_plain(self, name: str) -> bool:
        """Whether there is a table of that name that rows can be read from and written to."""
        return self._kinds.get(folded(name)) == "table" and not folded(name).startswith("sqlite_")

    def similar(self, name: str) -> list[str]:
        """Return the names of tables that may be meant."""
        plain = {key: real for key, real in self._names.items() if self.is_plain(key)}
        near = difflib.get_close_matches(folded(name), list(plain), n=3)
        return [plain[key] for key in near]

    @property
    def plain(self) -> list[str]:
        """The names of all tables that rows can come from, sorted."""
        return sorted(real for key, real in self._names.items() if self.is_plain(key))

    def shape(self, name: str) -> Shape:
        """Return what the table ``name``, which there is, is like."""
        key = folded(name)
        if key not in self._shapes:
            self._shapes[key] = self._describe(self._names[key])
        return self._shapes[key]

    def _describe(self, name: str) -> Shape:
        found = self.rows(f"PRAGMA main.table_xinfo({quoted(name)})")
        if not all(isinstance(one[1], str) for one in found):
            raise unreadable_name(name)
        columns = tuple(
            Column(column, declared, bool(not_null), default, key, hidden in _GENERATED)
            for _, column, declared, not_null, default, key, hidden in found
            if hidden == _PLAIN or hidden in _GENERATED
        )
        taken = {folded(one.name) for one in columns}
        rowid = next((one for one in _ROWIDS if one not in taken), None)
        if rowid is not None and not self._has(name, rowid):
            rowid = None
        # Any other key has an index: also INTEGER PRIMARY KEY DESC, and one of WITHOUT ROWID.
        indexes = self.rows(f"PRAGMA main.index_list({quoted(name)})")
        is_rowid = any(one.key for one in columns) and all(one[3] != "pk" for one in indexes)
        strict = bool(list(self._listed("name = ? AND strict", name)))
        differs = any(self._compares_otherwise(name, one[1]) for one in indexes if one[3] == "pk")
        return Shape(name, columns, rowid, is_rowid, strict, differs)

    def _compares_otherwise(self, name: str, index: str) -> bool:
        """Whether an index has another collation than one of its columns."""
        sql = self.row(
            "SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?", (name,)
        )
        said = read_table(str(sql[0])).collations
        parts = self.rows(f"PRAGMA main.index_xinfo({quoted(index)})")
        return any(
            str(part[4]).upper() != said.get(folded(str(part[2])), "BINARY").upper()
            for part in parts
            if part[5]
        )

    def _has(self, name: str, rowid: str) -> bool:
        try:
            self.connection.execute(f"SELECT {rowid} FROM main.{quoted(name)} LIMIT 0")  # noqa: S608 - quoted
        except sqlite3.OperationalError as error:
            if "no such column" in str(error):  # WITHOUT ROWID
                return False
            raise
        return True

    def _listed(self, condition: str, *parameters: str) -> Iterator[Row]:
        statement = f"SELECT name FROM pragma_table_list WHERE schema = 'main' AND {condition}"  # noqa: S608 - ours
        try:
            yield from self._cursor().execute(statement, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if "pragma_table_list" not in str(error):
                raise
            # Before SQLite 3.37, which brought both that and STRICT.

    def references(self, name: str) -> tuple[ForeignKey, ...]:
        """Return the foreign keys of a table; without those that SQLite itself cannot follow."""
        key = folded(name)
        if key not in self._references:
            self._references[key] = tuple(self._foreign_keys(self._names[key]))
        return self._references[key]

    def _foreign_keys(self, name: str) -> Iterator[ForeignKey]:
        parts: dict[int, list[Row]] = {}
        for found in self.rows(f"PRAGMA main.foreign_key_list({quoted(name)})"):
            parts.setdefault(found[0], []).append(found)
        for of_one in parts.values():
            of_one.sort(key=lambda part: part[1])
            parent = of_one[0][2]
            to = tuple(part[4] for part in of_one)
            if None in to and isinstance(parent, str):  # the primary key is meant
                to = self.shape(parent).key if self.is_plain(parent) else ()
            columns = tuple(part[3] for part in of_one)
            if not all(isinstance(one, str) for one in (parent, *columns, *to)):
                continue  # a name that is no text, which no statement of ours can have
            if len(columns) == len(to) or not self.is_plain(parent):
                yield ForeignKey(name, columns, self.name_of(parent) or parent, to)

    def referring_to(self, name: str) -> list[ForeignKey]:
        """Return the foreign keys of all tables that refer to the table ``name``."""
        key = folded(name)
        return [
            one
            for table in self.plain
            for one in self.references(table)
            if folded(one.parent) == key and one.parent_columns
        ]

    def uniques(self, name: str) -> list[Unique]:
        """Return what must be unique in a table besides its primary key, as far as it can be asked.

        A partial index, and one of expressions, only SQLite itself can ask.
        """
        found = []
        for _, index, unique, origin, partial in self.rows(
            f"PRAGMA main.index_list({quoted(name)})"
        ):
            if not unique or partial or origin == "pk":
                continue
            parts = [
                (column, collation)
                for _, _, column, _, collation, is_key in self.rows(
                    f"PRAGMA main.index_xinfo({quoted(index)})"
                )
                if is_key
            ]
            if all(column is not None for column, _ in parts):
                columns, collations = zip(*parts, strict=True)
                found.append(Unique(columns, collations))
        return found

    def triggers(self, name: str) -> list[Trigger]:
        """Return the triggers of a table, also TEMP ones that the connection has."""
        statement = (
            "SELECT 'main' AS a, +name AS b, +sql AS c, +tbl_name AS d FROM main.sqlite_master "
            "WHERE type = 'trigger' UNION ALL SELECT 'temp', name, sql, tbl_name "
            "FROM sqlite_temp_master WHERE type = 'trigger'"
        )
        return [
            Trigger(schema, trigger, sql)
            for schema, trigger, sql, table in self.rows(statement)
            if folded(table) == folded(name)
        ]

    @cached_property
    def enforces_references(self) -> bool:
        """Whether the connection has SQLite enforce foreign keys, as the application set it."""
        return bool(self.row("PRAGMA foreign_keys")[0])

    def row(self, statement: str, parameters: Sequence[Any] = ()) -> Row:
        """Return the one row of a statement that always has one."""
        return self.rows(statement, parameters)[0]

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a statement that has few."""
        with self.errors():
            return self._cursor().execute(statement, parameters).fetchall()

    def each(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """Yield the rows of a statement that may have many."""
        with self.errors():
            yield from self._cursor().execute(statement, parameters)

    def _cursor(self) -> sqlite3.Cursor:
        cursor = self.connection.cursor()
        cursor.row_factory = None  # the connection may be the application's own
        return cursor

    def errors(self) -> AbstractContextManager[None]:
        """Turn what SQLite raises about a backup, in the block, into errors of the tree."""
        return nullcontext() if self._path is None else backup_errors(self._path)


def _kind(kind: str, sql: str | None) -> str:
    is_virtual = str(sql or "").upper().startswith("CREATE VIRTUAL")
    return "virtual" if is_virtual else kind
