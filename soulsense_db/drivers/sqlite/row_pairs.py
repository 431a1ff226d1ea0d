"""A table in a backup and in the live database: how a row of the one is a row of the other.

Columns are paired by their names. Rows are paired by the primary key; those without one, or with a
NULL in it, by all their values: a rowid that is no key may be another one after a VACUUM.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from soulsense_db.drivers.row_errors import (
    column_computed,
    column_gone,
    gone_table,
    key_compares_otherwise,
    needs_value,
    no_rows_of_its_own,
    no_such_column,
    null_value,
    other_key,
    refuses_type,
    unreachable,
    value_lost,
)
from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.drivers.sqlite.row_selection import Ident, ident_columns
from soulsense_db.drivers.sqlite.row_tables import Column, ForeignKey, Shape, Tables, Unique
from soulsense_db.drivers.sqlite.row_values import (
    RawText,
    Row,
    bound,
    digest_of,
    is_same,
    named,
    placeholder,
    shown,
)
from soulsense_db.shown_text import printable


@dataclass
class Pair:
    """The table ``name`` on both sides.

    ``columns``: those that both have, as the live database writes their names; a row is a tuple of
    their values. ``gone``: columns that only the backup stores: the live table does not have them,
    or computes them; ``added``: that only the live table has; ``left_out``: that are not to be
    written.
    """

    live: Tables
    backup: Tables
    shape: Shape
    source: Shape
    columns: tuple[str, ...]
    gone: tuple[str, ...]
    added: tuple[str, ...]
    left_out: tuple[str, ...]
    _rehearsal: _Rehearsal | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The name of the live table."""
        return self.shape.name

    @cached_property
    def key(self) -> tuple[int, ...]:
        """The places of the primary key in a row."""
        places = {folded(name): at for at, name in enumerate(self.columns)}
        return tuple(places[folded(name)] for name in self.shape.key)

    def place_of(self, column: str) -> int | None:
        """Return the place of a column in a row, None where the backup does not have it."""
        return self._places.get(folded(column))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {folded(name): at for at, name in enumerate(self.columns)}

    def is_computed(self, column: str) -> bool:
        """Whether the live table computes the values of a column."""
        computed = {folded(one.name) for one in self.shape.columns if one.is_generated}
        return folded(column) in computed

    @cached_property
    def references(self) -> tuple[ForeignKey, ...]:
        """The foreign keys of the live table."""
        return self.live.references(self.name)

    # Rows of the backup

    @property
    def is_converted(self) -> bool:
        """Whether the live table may keep another value than the backup has."""
        return self._rehearsal is not None

    def read(self, ident: Ident) -> Row:
        """Return a row of the backup as the live table would keep it.

        Raises :class:`~soulsense_db.errors.RowsRefusedError` where it would keep something else.
        """
        row = self._values_of(ident, self.columns)
        return row if self._rehearsal is None else self._rehearsal.kept(self, row)

    def require_whole(self, ident: Ident, row: Row) -> None:
        """Raise :class:`~soulsense_db.errors.RowsRefusedError` for a row that would lack a value.

        Either the live table has no column for it, or the backup has none.
        """
        if self.gone:
            lost = self._values_of(ident, self.gone)
            for column, value in zip(self.gone, lost, strict=True):
                if value is not None:
                    if self.is_computed(column):
                        raise column_computed(self.name, column, self.called(row))
                    raise column_gone(self.name, column, self.called(row), self.added)
        for at in self._must_have:
            if row[at] is None:
                raise null_value(self.name, self.columns[at], self.called(row))

    def _values_of(self, ident: Ident, columns: Sequence[str]) -> Row:
        by = ident_columns(self.source)
        values = (ident,) if self.source.rowid else ident
        condition, parameters = equal(by, values, self.backup.encoding)
        wanted = _values([quoted(name) for name in columns])
        table = f"main.{quoted(self.source.name)}"
        return self.backup.row(f"SELECT {wanted} FROM {table} WHERE {condition}", parameters)  # noqa: S608 - quoted

    @cached_property
    def _must_have(self) -> tuple[int, ...]:
        must = {folded(one.name) for one in self.shape.columns if one.not_null}
        return tuple(at for at, name in enumerate(self.columns) if folded(name) in must)

    def called(self, row: Row) -> str:
        """Return what a person calls a row: the values of its key."""
        if not self.key:
            return "with these values"
        return ", ".join(f"{printable(self.columns[at])} {shown(row[at])}" for at in self.key)

    def shown_key(self, row: Row) -> tuple[tuple[str, str], ...]:
        """Return names and values of the key."""
        return named([self.columns[at] for at in self.key], [row[at] for at in self.key])

    # Rows of the live database

    def has_key(self, row: Row) -> bool:
        """Whether the row is found by its key: to a NULL in it no other is equal."""
        return bool(self.key) and all(row[at] is not None for at in self.key)

    def find(self, row: Row) -> Row | None:
        """Return the live row with the key of ``row``, None where there is none."""
        condition, parameters = self.by_key(row)
        rows = self.live.rows(f"{self._select_live} WHERE {condition}", parameters)
        return rows[0] if rows else None

    def find_each(self, rows: Sequence[Row], *, only_keys: bool = False) -> list[Row | None]:
        """Return what :meth:`find` returns for each of ``rows``, in a fraction of the time.

        They have keys, and are few enough for one statement; ``only_keys``: instead of a live row,
        its key will do. What is equal to SQLite and not to
        Python, such as text in another case under some collations, is looked up again.
        """
        if len(self.key) != 1:
            return [self.find(row) for row in rows]
        (at,) = self.key
        values = [row[at] for row in rows]
        marks = ", ".join(map(placeholder, values))
        column = quoted(self.columns[at])
        select, place = self._select_live, at
        if only_keys:
            select, place = f"SELECT {_values([column])} FROM main.{quoted(self.name)}", 0  # noqa: S608 - quoted
        found = self.live.rows(
            f"{select} WHERE {column} IN ({marks})", bound(values, self.live.encoding)
        )
        by_key = {_told_apart(one[place]): one for one in found}
        return [by_key.get(_told_apart(row[at])) or self.find(row) for row in rows]

    def by_key(self, row: Row) -> tuple[str, list[Any]]:
        """Return the condition for the live row with the key of ``row``, and its parameters."""
        names = [quoted(self.columns[at]) for at in self.key]
        return equal(names, [row[at] for at in self.key], self.live.encoding)

    def at_rowid(self, rowid: int) -> Row | None:
        """Return the live row at a rowid."""
        rows = self.live.rows(f"{self._select_live} WHERE {self.shape.rowid} = ?", (rowid,))
        return rows[0] if rows else None

    def is_free(self, ident: Ident) -> bool:
        """Whether a row of the backup can have the rowid that it had there.

        A full-text index, say, may know it by that. A key that is the rowid is written anyway.
        """
        if self.shape.rowid is None or self.source.rowid is None or self.shape.key_is_rowid:
            return False
        return self.at_rowid(ident) is None

    @cached_property
    def _select_live(self) -> str:
        wanted = _values([quoted(name) for name in self.columns])
        return f"SELECT {wanted} FROM main.{quoted(self.name)}"  # noqa: S608 - quoted

    def missing_of(self, wanted: Counter[bytes]) -> Counter[bytes]:
        """Return how many rows of each digest the live table lacks; one look through all of it.

        Of those that are ``wanted``: the live rows may just as well be others that the backup has.
        """
        missing = self._in_backup(wanted)
        for row in self.live.each(self._select_live):
            digest = digest_of(row)
            if missing.get(digest, 0) > 0:
                missing[digest] -= 1
        return missing & wanted

    def _in_backup(self, wanted: Counter[bytes]) -> Counter[bytes]:
        """Return how many rows of each digest the backup has, wanted or not."""
        if self.is_converted:  # row by row in memory: only those that are wanted were
            return Counter(wanted)
        found: Counter[bytes] = Counter()
        columns = _values([quoted(name) for name in self.columns])
        table = f"main.{quoted(self.source.name)}"
        for row in self.backup.each(f"SELECT {columns} FROM {table}"):  # noqa: S608 - quoted
            digest = digest_of(row)
            if digest in wanted:
                found[digest] += 1
        return found

    def clash(self, row: Row) -> str:
        """Return which other live row has a value of ``row`` that must be unique, or ""."""
        for unique in self._uniques:
            places = [self.place_of(column) for column in unique.columns]
            if any(at is None or row[at] is None for at in places):
                continue
            values = [row[at] for at in places if at is not None]
            collated = [
                f"{quoted(column)} COLLATE {quoted(collation)}"
                for column, collation in zip(unique.columns, unique.collations, strict=True)
            ]
            condition, parameters = equal(collated, values, self.live.encoding)
            for other in self.live.rows(f"{self._select_live} WHERE {condition}", parameters):
                if not self._is_the_one(other, row):
                    return f"{', '.join(unique.columns)} of {self.called(row)} is that of " + (
                        self.called(other) if self.key else "another row"
                    )
        return ""

    @cached_property
    def _uniques(self) -> list[Unique]:
        return self.live.uniques(self.name)

    def _is_the_one(self, other: Row, row: Row) -> bool:
        if not self.has_key(row):
            return is_same(other, row)
        found = self.find(row)
        return found is not None and is_same(found, other)


def _told_apart(value: Any) -> tuple[bool, Any]:
    """Return a value such that text that is not valid is no bytes."""
    return isinstance(value, RawText), value


def paired(live: Tables, backup: Tables, name: str, *, without: Sequence[str] = ()) -> Pair:
    """Return the table ``name`` of the backup with that of the live database.

    Raises :class:`~soulsense_db.errors.RowsRefusedError` where rows cannot be told apart or would
    not be whole, :class:`~soulsense_db.errors.OptionError` for a column ``without`` that is none.
    """
    if live.name_of(name) is None:
        raise gone_table(name, live.similar(name))
    if not live.is_plain(name):
        raise no_rows_of_its_own(name, live.kind_of(name))
    shape, source = live.shape(name), backup.shape(name)
    now = {folded(one.name): one for one in shape.columns}
    before = {folded(one.name): one for one in source.columns}
    if [*map(folded, shape.key)] != [*map(folded, source.key)]:
        raise other_key(shape.name, source.key, shape.key)
    if shape.key_differs or source.key_differs:
        raise key_compares_otherwise(shape.name)
    if source.rowid is None and not source.key:
        raise unreachable(source.name)
    left_out = _left_out(source, without)
    columns = tuple(
        one.name
        for key, one in now.items()
        if not one.is_generated and key in before and key not in left_out
    )
    gone = tuple(
        one.name
        for key, one in before.items()
        if (key not in now or now[key].is_generated)
        and not one.is_generated
        and key not in left_out
    )
    written = {folded(one) for one in columns}
    added = tuple(
        one.name for key, one in now.items() if key not in written and not one.is_generated
    )
    needed = [one.name for one in shape.columns if one.name in added and _needs_value(one)]
    if needed:
        raise needs_value(shape.name, needed)
    return Pair(
        live,
        backup,
        shape,
        source,
        columns,
        gone,
        added,
        tuple(before[key].name for key in left_out),
        _rehearsal_of(shape, source, columns),
    )


def _left_out(source: Shape, without: Sequence[str]) -> list[str]:
    keyed = {folded(name) for name in source.key}
    can_be = {folded(one.name): one.name for one in source.stored if folded(one.name) not in keyed}
    wrong = [name for name in without if folded(name) not in can_be]
    if wrong:
        raise no_such_column(source.name, wrong, list(can_be.values()))
    return [folded(name) for name in without]


def _needs_value(column: Column) -> bool:
    return column.not_null and column.default is None


def _rehearsal_of(shape: Shape, source: Shape, columns: Sequence[str]) -> _Rehearsal | None:
    now = {folded(one.name): one.type for one in shape.columns}
    before = {folded(one.name): one.type for one in source.columns}
    changed = any(now[folded(c)].upper() != before[folded(c)].upper() for c in columns)
    if not changed and shape.is_strict <= source.is_strict:
        return None
    return _Rehearsal(
        [now[folded(c)] for c in columns],
        [before[folded(c)] for c in columns],
        is_strict=shape.is_strict,
    )


class _Rehearsal:
    """Tables in memory with the types of both sides: what they make of a value, SQLite says."""

    def __init__(self, now: Sequence[str], before: Sequence[str], *, is_strict: bool) -> None:
        names = [f"c{number}" for number in range(len(now))]
        # A STRICT table knows six types, and no other word.
        types = now if is_strict else [quoted(one) if one else "" for one in now]
        was = [quoted(one) if one else "" for one in before]
        self._tables = (
            f"CREATE TABLE now ({', '.join(map(' '.join, zip(names, types, strict=True)))})"
            f"{' STRICT' if is_strict else ''}",
            f"CREATE TABLE before ({', '.join(map(' '.join, zip(names, was, strict=True)))})",
        )
        self._names = ", ".join(names)

    def kept(self, pair: Pair, row: Row) -> Row:
        """Return ``row`` as the live table keeps it; raise where it would lose something by that.

        What comes back as it was, in a column of the old type, has lost nothing.
        """
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
            memory.text_factory = pair.live.connection.text_factory
            for table in self._tables:
                memory.execute(table)
            try:
                now = self._through(memory, "now", row)
            except sqlite3.IntegrityError as error:
                raise refuses_type(pair.name, pair.called(row), str(error)) from error
            back = self._through(memory, "before", now)
        for at, (value, returned) in enumerate(zip(row, back, strict=True)):
            if not is_same((value,), (returned,)):
                raise value_lost(pair.name, pair.columns[at], pair.called(row))
        return now

    def _through(self, memory: sqlite3.Connection, table: str, row: Row) -> Row:
        marks = ", ".join(map(placeholder, row))
        memory.execute(f"INSERT INTO {table} VALUES ({marks})", bound(row, "UTF-8"))  # noqa: S608 - ours
        found: Row = memory.execute(f"SELECT {self._names} FROM {table}").fetchone()  # noqa: S608 - ours
        return found


def _values(expressions: Sequence[str]) -> str:
    """Return a result of expressions with names of ours: no converter of the application's fits."""
    return ", ".join(f'+{one} AS "soulsense_{n}"' for n, one in enumerate(expressions))


def equal(names: Sequence[str], values: Sequence[Any], encoding: str) -> tuple[str, list[Any]]:
    """Return the condition that ``names`` have ``values``, and its parameters."""
    parts = (f"{name} = {placeholder(value)}" for name, value in zip(names, values, strict=True))
    return " AND ".join(parts), bound(values, encoding)
