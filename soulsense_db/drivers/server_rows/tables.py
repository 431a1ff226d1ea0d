"""The tables of a server's database between which rows move: columns, keys, references.

A value is its text, as the server itself writes it and reads it again without loss; None is NULL.
"""

from __future__ import annotations

import difflib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from sqlalchemy.engine import Connection

from soulsense_db.drivers.diff_report import LongValue, Value

Row = tuple[str | None, ...]
Kind = Literal["integer", "number", "bytes", "text"]
MARK = "\0"
"""Stands for a parameter in a statement: no name and no text of a server has it."""

LONG = "\udcff"
"""How what stands for a value begins that is too long to be read: no text of a server does.

Then come its length, its SHA-256 and its beginning, with colons between them.
"""

_MOST_AT_ONCE = 200
_BYTES_AT_ONCE = 8_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``type``: as a statement writes it, ``key``: its place in the primary key or 0.

    ``equals``: the operator by which two values of it are the same; ``collation``: what else that
    takes; ``kind``: what its values are to Python; ``is_computed``: whether the table computes
    them.
    """

    name: str
    type: str
    kind: Kind
    not_null: bool
    has_default: bool
    key: int
    is_computed: bool
    equals: str = "="
    collation: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """Columns of ``table`` that refer to columns of ``parent``.

    ``name``: of the constraint; ``is_deferrable``: whether it can be looked at in the end.
    """

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    name: str = field(compare=False, default="")
    is_deferrable: bool = field(compare=False, default=False)


@dataclass(frozen=True)
class Shape:
    """What a table is like; ``name``: as it is shown, ``sql``: as a statement names it.

    ``source``: what its rows are read from, and what that is called then: ``alias``. ``average``:
    bytes of a row, about.
    """

    name: str
    sql: str
    source: str
    columns: tuple[Column, ...]
    references: tuple[ForeignKey, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    triggers: tuple[str, ...] = ()
    average: int = 100
    alias: str = "t"

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key, in its order."""
        keyed = sorted((one.key, one.name) for one in self.columns if one.key)
        return tuple(name for _, name in keyed)

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """The columns by their names."""
        return {one.name: one for one in self.columns}

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns that have values of their own."""
        return tuple(one for one in self.columns if not one.is_computed)

    @property
    def at_once(self) -> int:
        """How many of its rows are in memory."""
        return max(1, min(_MOST_AT_ONCE, _BYTES_AT_ONCE // max(1, self.average)))


class Tables(ABC):
    """The tables of the database of ``connection``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    # What a server says

    @cached_property
    @abstractmethod
    def shapes(self) -> Mapping[str, Shape]:
        """All tables that rows can come from, by the names that are shown."""

    @abstractmethod
    def name_of(self, name: str) -> str | None:
        """Return the name that is shown of the table that somebody calls ``name``, if any."""

    @abstractmethod
    def kind_of(self, name: str) -> str | None:
        """Return what else has that name, such as ``view``; None for nothing."""

    @abstractmethod
    def ident_columns(self, shape: Shape) -> tuple[Column, ...]:
        """Return what a row of a backup is found by, for as long as nobody writes."""

    @abstractmethod
    def out(self, column: Column, alias: str) -> str:
        """Return the expression for the text of a column's value."""

    @abstractmethod
    def typed(self, column: Column) -> str:
        """Return the expression for a parameter that is the text of a value of that column."""

    @abstractmethod
    def listed(self, values: Sequence[Row], given: Sequence[Column]) -> str:
        """Return the derived table ``soulsense_v`` of parameters.

        Its columns are ``n``, which counts from 0 on, ``k0``, ``k1`` and so on.
        """

    @abstractmethod
    def quoted(self, name: str) -> str:
        """Return a name, as a statement has it."""

    @abstractmethod
    def converted(self, source: Sequence[Column], target: Sequence[Column], row: Row) -> Row | None:
        """Return ``row`` of columns ``source`` as columns ``target`` keep it; None for a loss."""

    # What follows of it

    @property
    def names(self) -> list[str]:
        """The names of all tables, sorted."""
        return sorted(self.shapes)

    def similar(self, name: str) -> list[str]:
        """Return the names of tables that may be meant."""
        folded = {one.lower(): one for one in self.shapes}
        return [folded[one] for one in difflib.get_close_matches(name.lower(), folded, n=3)]

    def referring_to(self, name: str) -> list[ForeignKey]:
        """Return the foreign keys of all tables that refer to the table ``name``."""
        return [
            one
            for table in self.names
            for one in self.shapes[table].references
            if one.parent == name
        ]

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a statement of ours, in which :data:`MARK` is a parameter."""
        return [tuple(row) for row in self.run(statement, parameters)]

    def each(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement that may have many, without having them in memory."""
        with self.run(statement, parameters, at_once=50) as found:
            for row in found:
                yield tuple(row)

    def run(self, statement: str, parameters: Sequence[Any] = (), *, at_once: int = 0) -> Any:
        """Execute a statement in which :data:`MARK` stands for each of ``parameters``.

        ``at_once``: how many rows are in memory; 0 for all.
        """
        return run(self.connection, statement, parameters, at_once=at_once)

    def texts(self, row: Sequence[Any]) -> Row:
        """Return the texts of values, of what :meth:`select` has read."""
        return tuple(row)

    def select(self, columns: Sequence[Column], alias: str = "t") -> str:
        """Return what a SELECT has for the texts of columns."""
        named = (f"{self.out(one, alias)} AS soulsense_{n}" for n, one in enumerate(columns))
        return ", ".join(named) or "NULL AS soulsense_0"

    def matching(
        self,
        shape: Shape,
        by: Sequence[Column],
        values: Sequence[Row],
        wanted: Sequence[Column],
        *,
        given: Sequence[Column] | None = None,
    ) -> list[tuple[int, Row]]:
        """Return the rows in which the columns ``by`` have one of ``values``: its number, the row.

        ``given``: the columns that the values are of, where these are not the same.
        """
        found: list[tuple[int, Row]] = []
        step = shape.at_once
        for start in range(0, len(values), step):
            some = values[start : start + step]
            statement, parameters = self._matching(shape, by, some, wanted, given or by)
            rows = self.rows(statement, parameters)
            found += [(start + int(row[0]), self.texts(row[1:])) for row in rows]
        return found

    def _matching(
        self,
        shape: Shape,
        by: Sequence[Column],
        values: Sequence[Row],
        wanted: Sequence[Column],
        given: Sequence[Column],
    ) -> tuple[str, list[Any]]:
        condition = " AND ".join(
            f"{shape.alias}.{self.quoted(one.name)} {equals_of(one, other)} soulsense_v.k{at}"
            for at, (one, other) in enumerate(zip(by, given, strict=True))
        )
        statement = (
            f"SELECT soulsense_v.n, {self.select(wanted, shape.alias)}"  # noqa: S608 - quoted
            f" FROM {self.listed(values, given)} JOIN {shape.source} AS {shape.alias}"
            f" ON {condition}"
        )
        return statement, [value for row in values for value in row]


def equals_of(one: Column, other: Column) -> str:
    """Return the operator that compares values of both columns."""
    return one.equals if one.type == other.type else "="


def run(
    connection: Connection, statement: str, parameters: Sequence[Any] = (), *, at_once: int = 0
) -> Any:
    """Execute a statement in which :data:`MARK` stands for each of ``parameters``.

    ``at_once``: how many rows are in memory; 0 for all.
    """
    options: dict[str, Any] = {"no_parameters": not parameters}
    if at_once:
        options |= {"stream_results": True, "max_row_buffer": at_once}
    if not parameters:
        return connection.exec_driver_sql(statement, execution_options=options)
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    if mark == "%s":
        statement = statement.replace("%", "%%")
    statement = statement.replace(MARK, mark)
    return connection.exec_driver_sql(statement, tuple(parameters), execution_options=options)


def digest_of(*rows: Row) -> bytes:
    """Return what tells rows from all others."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(b"(")
        for value in row:
            data = b"" if value is None else value.encode(errors="surrogateescape")
            digest.update(b"n" if value is None else b"%d:" % len(data))
            digest.update(data)
    return digest.digest()


def columns_of(shape: Shape, names: Collection[str]) -> tuple[Column, ...]:
    """Return columns by their names."""
    return tuple(shape.by_name[name] for name in names)


def has_columns(shape: Shape | None, names: Collection[str]) -> bool:
    """Whether a table is there and has these columns."""
    return shape is not None and set(names) <= shape.by_name.keys()


def public_value(value: str | None, column: Column) -> Value:
    """Return a value as Python has it."""
    if value is None:
        return None
    if value.startswith(LONG):
        return _long_value(value, column)
    if column.kind == "integer":
        return int(value)
    if column.kind == "bytes":
        return bytes.fromhex(value.removeprefix("\\x"))
    if column.kind == "number" and _is_exact(value):
        return float(value)
    return value


def _long_value(value: str, column: Column) -> LongValue:
    length, digest, start = value[1:].split(":", 2)
    is_bytes = column.kind == "bytes"
    return LongValue(
        kind="blob" if is_bytes else "text",
        length=int(length),
        sha256=digest,
        start=bytes.fromhex(start) if is_bytes else start,
    )


def _is_exact(text: str) -> bool:
    """Whether Python writes the number in the same way."""
    try:
        return repr(float(text)) == text
    except ValueError:
        return False


def text_of(value: object, column: Column) -> str | None:
    """Return the text of a value that somebody gives for a column.

    Raises :class:`ValueError` for what is none.
    """
    if value is None:
        return None
    if isinstance(value, bytes | bytearray):
        if column.kind != "bytes":
            raise ValueError
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    if isinstance(value, str) and ("\0" in value or column.kind == "bytes"):
        raise ValueError
    if column.kind == "integer":
        return str(int(value))
    return value if isinstance(value, str) else repr(value)
