"""The tables of a MariaDB schema between which rows move, as the server describes them.

A value is its text; bytes are in hexadecimal digits, and of a long value there is its digest: it
is copied by the server from schema to schema, and never read. All of it comes and goes in
hexadecimal digits, so that no character set of a connection changes a character, and no value is
taken for a part of a statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy.engine import Connection

from soulsense_db.drivers.mariadb import inventory
from soulsense_db.drivers.mariadb.statements import execute, is_schema, literal, quoted, rows
from soulsense_db.drivers.row_errors import unreachable
from soulsense_db.drivers.server_rows.tables import (
    LONG,
    MARK,
    Column,
    ForeignKey,
    Kind,
    Row,
    Shape,
    Tables,
    run,
)

PLACE = "soulsense_db: place of a row"
"""A column that tables without a primary key get, in a database of ours."""

_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "year")
_NUMBERS = ("decimal", "float", "double")
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit")
_SPATIAL = (
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
)
_CASTS = {
    "date": "DATE",
    "datetime": "DATETIME(6)",
    "timestamp": "DATETIME(6)",
    "time": "TIME(6)",
    "float": "DOUBLE",
    "double": "DOUBLE",
    "decimal": "",  # as the column's own
    "uuid": "UUID",
    "inet6": "INET6",
    "inet4": "INET4",
}
_PLACE = Column(PLACE, "bigint(20) unsigned", "integer", True, True, 0, False)
_MOST_READ = 65_536
_START = 40
# Types that can have more than that.
_LONG = ("text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", *_SPATIAL)
_NEXT = re.compile(r"nextval\((`(?:[^`]|``)+`(?:\.`(?:[^`]|``)+`)?)\)", re.IGNORECASE)
# Of what the application has set, nothing changes how a value is written or read. What is no value
# of its column any more is an error.
_SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES',"
    " time_zone = '+00:00', foreign_key_checks = 1, unique_checks = 1, check_constraint_checks = 1,"
    " max_statement_time = 0, idle_transaction_timeout = 0, wait_timeout = 604800,"
    " sql_safe_updates = 0, sql_select_limit = DEFAULT, div_precision_increment = 4"
)


def prepare(connection: Connection) -> None:
    """Have values read and written without loss by the session of ``connection``."""
    execute(connection, _SESSION)


class MariaDBTables(Tables):
    """The tables of ``schema``."""

    def __init__(self, connection: Connection, schema: str) -> None:
        super().__init__(connection)
        self.schema = schema
        self._numbered: set[str] = set()

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """All tables with rows of their own."""
        here = literal(self.schema)
        found = inventory.tables(self.connection, self.schema)
        keys = {one.name: one.key for one in found}
        columns: dict[str, list[Column]] = {}
        for table, *facts in rows(
            self.connection,
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT,"
            " EXTRA, IS_GENERATED, IFNULL(CHARACTER_SET_NAME, ''), IFNULL(COLLATION_NAME, '')"
            f" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {here}"
            " ORDER BY TABLE_NAME, ORDINAL_POSITION",
        ):
            columns.setdefault(table, []).append(_column(facts, keys.get(table, ())))
        sizes = dict(
            rows(
                self.connection,
                "SELECT TABLE_NAME, IFNULL(AVG_ROW_LENGTH, 0) FROM information_schema.TABLES"
                f" WHERE TABLE_SCHEMA = {here}",
            )
        )
        self._numbered = {
            table for table, its in columns.items() if any(one.name == PLACE for one in its)
        }
        references, uniques = self._references(here), self._uniques(here)
        triggers: dict[str, list[str]] = {}
        for one in inventory.take_triggers(self.connection, self.schema):
            triggers.setdefault(one.table, []).append(one.name)
        return {
            one.name: Shape(
                name=one.name,
                sql=quoted(self.schema, one.name),
                source=quoted(self.schema, one.name),
                alias=quoted(one.name),  # a table that is locked has no other name
                columns=tuple(c for c in columns.get(one.name, ()) if c.name != PLACE),
                references=tuple(references.get(one.name, ())),
                uniques=tuple(uniques.get(one.name, ())),
                triggers=tuple(triggers.get(one.name, ())),
                average=int(sizes.get(one.name) or 100),
            )
            for one in found
        }

    def _references(self, here: str) -> dict[str, list[ForeignKey]]:
        parts: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        for table, name, column, parent, to in rows(
            self.connection,
            "SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME,"
            " REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE"
            f" WHERE TABLE_SCHEMA = {here} AND {is_schema('REFERENCED_TABLE_SCHEMA', here)}"
            " ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
        ):
            parts.setdefault((table, name, parent), []).append((column, to))
        found: dict[str, list[ForeignKey]] = {}
        for (table, name, parent), pairs in parts.items():
            of, to = zip(*pairs, strict=True)
            found.setdefault(table, []).append(ForeignKey(table, of, parent, to, name))
        return found

    def _uniques(self, here: str) -> dict[str, list[tuple[str, ...]]]:
        parts: dict[tuple[str, str], list[str]] = {}
        partial: set[tuple[str, str]] = set()
        for table, index, column, prefix in rows(
            self.connection,
            "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART"
            f" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {here}"
            " AND NON_UNIQUE = 0 AND INDEX_NAME <> 'PRIMARY'"
            " ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX",
        ):
            parts.setdefault((table, index), []).append(column)
            if prefix is not None:  # only the server itself can ask
                partial.add((table, index))
        found: dict[str, list[tuple[str, ...]]] = {}
        for (table, index), columns in parts.items():
            if (table, index) not in partial:
                found.setdefault(table, []).append(tuple(columns))
        return found

    @cached_property
    def _others(self) -> Mapping[str, str]:
        found = rows(
            self.connection,
            "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA = {literal(self.schema)}",
        )
        return {str(name): "view" if kind == "VIEW" else "other" for name, kind in found}

    def name_of(self, name: str) -> str | None:
        """Return the name of a table; it may be written in backquotes."""
        return next((one for one in _meant(name) if one in self.shapes), None)

    def kind_of(self, name: str) -> str | None:
        """Return ``view`` or ``other``, None where nothing has that name."""
        return next((self._others[one] for one in _meant(name) if one in self._others), None)

    def ident_columns(self, shape: Shape) -> tuple[Column, ...]:
        """Return the primary key; without one, the column that such tables got."""
        if shape.key:
            return tuple(shape.by_name[name] for name in shape.key)
        if shape.name not in self._numbered:
            raise unreachable(shape.name)
        return (_PLACE,)

    def out(self, column: Column, alias: str) -> str:
        """Return the digits of a value, with ``x`` before those of bytes; or its digest."""
        value = f"{alias}.{quoted(column.name)}"
        base, is_bytes = _base(column.type), column.kind == "bytes"
        if base == "bit":
            return f"CONCAT('x', HEX(CAST({value} AS BINARY)))"
        text = value if is_bytes else f"CONVERT({value} USING utf8mb4)"
        short = f"CONCAT('x', HEX({text}))" if is_bytes else f"HEX({text})"
        if base not in _LONG:
            return short
        length = f"LENGTH({value})" if is_bytes else f"CHAR_LENGTH({value})"
        start = f"HEX(LEFT({text}, {_START}))"
        mark = "x#" if is_bytes else "#"
        long = f"CONCAT('{mark}', {length}, ':', SHA2({text}, 256), ':', {start})"
        return f"IF(LENGTH({value}) > {_MOST_READ}, {long}, {short})"

    def texts(self, row: Sequence[Any]) -> Row:
        """Return what was behind the digits."""
        return tuple(_text(value) for value in row)

    def typed(self, column: Column) -> str:
        """Return what reads the digits of a value, such that it is compared by an index."""
        text, base = f"CONVERT({MARK} USING utf8mb4)", _base(column.type)
        if column.kind == "bytes":
            return f"UNHEX(SUBSTRING({text}, 3))"
        if base in _INTEGERS:
            return f"CAST({text} AS {'UNSIGNED' if 'unsigned' in column.type else 'SIGNED'})"
        if base in _CASTS:
            written = _CASTS[base] or f"{column.type.partition(')')[0]})"
            return f"CAST({text} AS {written})"
        charset, _, collation = column.collation.partition(" ")
        return f"CONVERT({text} USING {charset}) COLLATE {collation}" if charset else text

    def listed(self, values: Sequence[Row], given: Sequence[Column]) -> str:
        """Return a union of rows."""
        lines = (
            ", ".join([f"{n} AS n", *(f"{self.typed(one)} AS k{a}" for a, one in enumerate(given))])
            for n in range(len(values))
        )
        return f"(SELECT {' UNION ALL SELECT '.join(lines)}) AS soulsense_v"

    def run(self, statement: str, parameters: Sequence[Any] = (), *, at_once: int = 0) -> Any:
        """Execute a statement, with the digits of parameters in it."""
        first, *rest = statement.split(MARK)
        parts = [first]
        for value, part in zip(parameters, rest, strict=True):
            parts += [digits(value), part]
        return run(self.connection, "".join(parts), at_once=at_once)

    def quoted(self, name: str) -> str:
        """Return a name in backquotes."""
        return quoted(name)

    def converted(self, source: Sequence[Column], target: Sequence[Column], row: Row) -> Row:
        """Return the same: another type may only have a value that it writes in the same way.

        What it makes of the value is looked at when it has been written.
        """
        del source, target
        return row


def digits(value: str | None) -> str:
    """Return a text as a statement has it."""
    return "NULL" if value is None else f"x'{value.encode().hex()}'"


def next_of(default: str | None) -> str | None:
    """Return the sequence whose next value is the default of a column, as a statement names it."""
    match = _NEXT.search(default or "")
    return match[1] if match else None


def _text(value: Any) -> str | None:
    """Return the text of what :meth:`MariaDBTables.out` wrote."""
    if value is None:
        return None
    text = value.decode() if isinstance(value, bytes | bytearray) else str(value)
    is_bytes = text.startswith("x")
    text = text.removeprefix("x")
    if text.startswith("#"):
        length, digest, start = text[1:].split(":")
        begin = start.lower() if is_bytes else bytes.fromhex(start).decode()
        return f"{LONG}{length}:{digest}:{begin}"
    return f"\\x{text.lower()}" if is_bytes else bytes.fromhex(text).decode()


def _meant(name: str) -> list[str]:
    """Return what a table may be called, the likeliest first."""
    found = [name]
    if len(name) > 1 and name[0] == name[-1] == "`":
        found.append(name[1:-1].replace("``", "`"))
    return [*found, *(one.lower() for one in found)]


def _base(written: str) -> str:
    return re.split(r"[( ]", written, maxsplit=1)[0]


def _column(facts: Sequence[Any], key: Sequence[str]) -> Column:
    name, base, written, nullable, default, extra, generated, charset, collation = facts
    kind: Kind = "text"
    if base in _INTEGERS:
        kind = "integer"
    elif base in _NUMBERS:
        kind = "number"
    elif base in _BYTES or base in _SPATIAL:
        kind = "bytes"
    return Column(
        name=name,
        type=f"{written} {charset}".strip() if charset else written,
        kind=kind,
        not_null=nullable == "NO",
        has_default=default is not None or "auto_increment" in extra,
        key=key.index(name) + 1 if name in key else 0,
        is_computed=generated != "NEVER",
        collation=f"{charset} {collation}".strip(),
    )
