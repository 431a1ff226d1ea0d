"""The tables of a PostgreSQL database between which rows move, as its catalogs describe them.

A value is what the server's own function writes for its type: what ``COPY`` and ``pg_dump`` write,
and what the type reads again without loss.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql.archive import shown_name
from soulsense_db.drivers.postgresql.errors import code_of
from soulsense_db.drivers.postgresql.inventory import DUMPED
from soulsense_db.drivers.postgresql.statements import quoted
from soulsense_db.drivers.server_rows.tables import (
    MARK,
    Column,
    ForeignKey,
    Kind,
    Row,
    Shape,
    Tables,
)

# Whatever the application's connection has set: values are written in one way on both sides, names
# in statements have their schema, and nothing ends a transaction that waits for a copy.
_SETTINGS = {
    "search_path": "",
    "DateStyle": "ISO, YMD",
    "array_nulls": "on",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
    "xmlbinary": "base64",
    "xmloption": "content",
    "row_security": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "synchronous_commit": "on",
    "standard_conforming_strings": "on",
    "transaction_timeout": "0",
}
_SET = sa.text(
    "SELECT pg_catalog.set_config(name, value, true)"
    " FROM pg_catalog.jsonb_each_text(CAST(:settings AS pg_catalog.jsonb)) AS n (name, value)"
    " WHERE pg_catalog.current_setting(name, true) IS NOT NULL"
)
_INTEGERS = ("int2", "int4", "int8", "oid")
_NUMBERS = ("float4", "float8", "numeric")
# Rows of a table without a key: where they are, until somebody writes.
_PLACES = (
    Column("tableoid", "regclass", "text", True, False, 0, False),
    Column("ctid", "tid", "text", True, False, 0, False),
)
_WRITTEN = "SELECT CASE pg_catalog.num_nulls(c) WHEN 0 THEN pg_catalog.format('%s', c) END FROM"
_TEXT_OF = f"{_WRITTEN} (SELECT {MARK} AS c) AS t"
_SHAPES = sa.text(f"""
    SELECT c.oid, n.nspname, c.relname, format('%I.%I', n.nspname, c.relname), c.relkind::text,
        CASE WHEN c.reltuples > 0 THEN (pg_table_size(c.oid) / c.reltuples)::bigint END,
        ARRAY(SELECT t.tgname::text FROM pg_trigger t WHERE t.tgrelid = c.oid
            AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') ORDER BY t.tgname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND {DUMPED}
    ORDER BY n.nspname, c.relname
""")  # noqa: S608 - a constant
_COLUMNS = sa.text("""
    SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), b.typname,
        a.attnotnull OR t.typnotnull,
        a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
        coalesce((SELECT k.at FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (n, at)
            WHERE k.n = a.attnum AND k.at <= i.indnkeyatts), 0), a.attgenerated <> '',
        (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname) FROM pg_opclass x
            JOIN pg_amop m ON m.amopfamily = x.opcfamily AND m.amopstrategy = 3
                AND m.amoplefttype = x.opcintype AND m.amoprighttype = x.opcintype
            JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
            WHERE x.opcdefault AND x.opcintype = b.oid
            AND x.opcmethod = (SELECT oid FROM pg_am WHERE amname = 'btree'))
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
    LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
    WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
""")
# The server repeats a key to a partitioned table for each partition: once is enough.
_REFERENCES = sa.text("""
    SELECT c.conrelid, c.confrelid, c.conname, c.condeferrable,
        ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k (n, at)
            JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.n ORDER BY k.at),
        ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k (n, at)
            JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.n ORDER BY k.at)
    FROM pg_constraint c WHERE c.contype = 'f'
    AND coalesce(CAST(to_jsonb(c) ->> 'conenforced' AS boolean), true)
    AND NOT EXISTS (SELECT FROM pg_constraint u WHERE u.oid = c.conparentid
        AND u.conrelid = c.conrelid)
    ORDER BY c.conrelid, c.conname
""")
# One of expressions, or of some rows alone, only the server itself can ask.
_UNIQUES = sa.text("""
    SELECT i.indrelid,
        ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (n, at)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
            WHERE k.at <= i.indnkeyatts ORDER BY k.at)
    FROM pg_index i WHERE i.indisunique AND NOT i.indisprimary AND i.indisvalid
    AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY i.indexrelid
""")
_OTHERS = sa.text("""
    SELECT n.nspname, c.relname, c.relkind::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm', 'f')
""")
_KINDS = {"v": "view", "m": "view", "f": "foreign"}
_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


def prepare(connection: Connection) -> None:
    """Have values read and written without loss, until the transaction of ``connection`` ends."""
    connection.execute(_SET, {"settings": json.dumps(_SETTINGS)})


def parts_of(name: str) -> list[str]:
    """Return the parts of a name that is written with dots between, and quotes where needed."""
    return [one.replace('""', '"') if one else other for one, other in _PART.findall(name)]


class PostgreSQLTables(Tables):
    """The tables of the database of ``connection``; ``search_path``: the application's schemas."""

    def __init__(self, connection: Connection, search_path: Sequence[str]) -> None:
        super().__init__(connection)
        self.search_path = search_path

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """All tables, partitioned ones and their partitions included."""
        found = self.connection.execute(_SHAPES).all()
        names = {row[0]: shown_name(row[1], row[2]) for row in found}
        columns: dict[int, list[Column]] = {}
        for table, *facts in self.connection.execute(_COLUMNS):
            columns.setdefault(table, []).append(_column(facts))
        references: dict[int, list[ForeignKey]] = {}
        for table, parent, name, deferrable, of, to in self.connection.execute(_REFERENCES):
            if table in names and parent in names:
                key = ForeignKey(
                    names[table], tuple(of), names[parent], tuple(to), name, deferrable
                )
                references.setdefault(table, []).append(key)
        uniques: dict[int, list[tuple[str, ...]]] = {}
        for table, of in self.connection.execute(_UNIQUES):
            uniques.setdefault(table, []).append(tuple(of))
        return {
            names[oid]: Shape(
                name=names[oid],
                sql=sql,
                source=sql if kind == "p" else f"ONLY {sql}",
                columns=tuple(columns.get(oid, ())),
                references=tuple(references.get(oid, ())),
                uniques=tuple(uniques.get(oid, ())),
                triggers=tuple(triggers),
                average=average or 100,
            )
            for oid, _, _, sql, kind, average, triggers in found
        }

    @cached_property
    def _others(self) -> Mapping[str, str]:
        found = self.connection.execute(_OTHERS)
        return {shown_name(schema, name): _KINDS[kind] for schema, name, kind in found}

    def name_of(self, name: str) -> str | None:
        """Return the name of a table as it is shown: it may be written as a statement has it."""
        return next((one for one in self._meant(name) if one in self.shapes), None)

    def kind_of(self, name: str) -> str | None:
        """Return ``view`` or ``foreign``, None where nothing has that name."""
        return next((self._others[one] for one in self._meant(name) if one in self._others), None)

    def _meant(self, name: str) -> list[str]:
        """Return the names, as they are shown, that may be meant; the likeliest first."""
        found = [name]
        for one in dict.fromkeys((name, name.lower())):
            parts = parts_of(one)
            if len(parts) == 2:
                found.append(shown_name(parts[0], parts[1]))
            elif len(parts) == 1:
                found += [shown_name(schema, parts[0]) for schema in self.search_path]
        return found

    def ident_columns(self, shape: Shape) -> tuple[Column, ...]:
        """Return the primary key; without one, where a row is in the file of its table."""
        if shape.key:
            return tuple(shape.by_name[name] for name in shape.key)
        return _PLACES if shape.source == shape.sql else _PLACES[1:]

    def out(self, column: Column, alias: str) -> str:
        """Return what writes a value by the function of its type."""
        value = f"{alias}.{quoted(column.name)}"
        if column.type == "regclass" and column is _PLACES[0]:
            value += "::pg_catalog.regclass"
        return (
            f"CASE pg_catalog.num_nulls({value}) WHEN 0 THEN pg_catalog.format('%s', {value}) END"
        )

    def typed(self, column: Column) -> str:
        """Return what reads a value by the function of its type."""
        return f"CAST({MARK} AS {column.type})"

    def listed(self, values: Sequence[Row], given: Sequence[Column]) -> str:
        """Return a list of ``VALUES``."""
        marks = ", ".join(map(self.typed, given))
        lines = ", ".join(f"({n}, {marks})" for n in range(len(values)))
        names = ", ".join(f"k{at}" for at in range(len(given)))
        return f"(VALUES {lines}) AS soulsense_v (n, {names})"

    def quoted(self, name: str) -> str:
        """Return a name in quotes."""
        return quoted(name)

    def converted(self, source: Sequence[Column], target: Sequence[Column], row: Row) -> Row | None:
        """Ask the server what it makes of values, and whether that leads back to them.

        Where there is no cast between both types, or the old one is gone, by their texts.
        """
        for has_cast in (True, False):
            parts: list[str] = []
            for one, other in zip(source, target, strict=True):
                old = self.typed(one)
                new = f"CAST({old} AS {other.type})" if has_cast else self.typed(other)
                text = f"({_TEXT_OF.replace(MARK, new)})"
                back = f"CAST({new if has_cast else text} AS {one.type})"
                parts += [text, f"({_TEXT_OF.replace(MARK, back)})"]
            parameters = [value for value in row for _ in range(2)]
            try:
                with self.connection.begin_nested():
                    (found,) = self.rows(f"SELECT {', '.join(parts)}", parameters)
            except DBAPIError as error:
                if code_of(error)[:2] not in {"22", "23", "42"}:
                    raise
                continue
            if found[1::2] == tuple(row):
                return found[::2]
        return None


def _column(facts: Sequence[Any]) -> Column:
    name, written, base, not_null, has_default, key, is_computed, equals = facts
    kind: Kind = "text"
    if base in _INTEGERS:
        kind = "integer"
    elif base in _NUMBERS:
        kind = "number"
    elif base == "bytea":
        kind = "bytes"
    return Column(name, written, kind, not_null, has_default, key, is_computed, equals or "=")
