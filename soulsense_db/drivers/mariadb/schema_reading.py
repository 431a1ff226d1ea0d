"""What the schema in a backup declares, by the statements that the server shows."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import msgspec

from soulsense_db.drivers.diff_report import SchemaItem
from soulsense_db.drivers.mariadb.archive import Description, Table
from soulsense_db.drivers.mariadb.inventory import Item, Trigger
from soulsense_db.drivers.schema_parts import Column, Index, Named, Schema, TableSchema
from soulsense_db.drivers.sql_text import (
    ColumnText,
    Dialect,
    column_of,
    extra_of,
    in_brackets,
    names_in,
    parts,
    unquoted,
    without_brackets,
)

DIALECT = Dialect(
    has_escapes=True,
    clauses=frozenset(
        {"NOT", "NULL", "DEFAULT", "GENERATED", "COMMENT", "AUTO_INCREMENT", "CHARACTER"}
        | {"COLLATE", "CHECK", "ON", "INVISIBLE", "WITHOUT", "WITH", "REF_SYSTEM_ID"}
    ),
    bare=frozenset({"NULL", "AUTO_INCREMENT", "INVISIBLE"}),
)
_OWN_CLAUSES = frozenset({"NOT", "NULL", "DEFAULT", "GENERATED", "CHARACTER", "COLLATE", "CHECK"})
_NAME = r"`(?:[^`]|``)*`"
_KEY = re.compile(rf"((?:UNIQUE |FULLTEXT |SPATIAL |VECTOR )?)KEY ({_NAME}) (.*)", re.DOTALL)
_PRIMARY = re.compile(r"PRIMARY KEY (\(.*)", re.DOTALL)
_FOREIGN = re.compile(
    rf"CONSTRAINT {_NAME} FOREIGN KEY (\(.*?\)) REFERENCES ((?:{_NAME}\.)?{_NAME}) (.*)", re.DOTALL
)
_CHECK = re.compile(rf"CONSTRAINT {_NAME} CHECK (.*)", re.DOTALL)
_PERIOD = ("row_start", "row_end")  # where none are declared
_TABLES = ("BASE TABLE", "SYSTEM VERSIONED")
_KINDS: dict[str, SchemaItem] = {
    "SEQUENCE": "sequence",
    "FUNCTION": "routine",
    "PROCEDURE": "routine",
    "PACKAGE": "routine",
    "PACKAGE BODY": "routine",
    "EVENT": "event",
}


def schema_in(described: Description) -> Schema:
    """Return what a backup's schema declares."""
    schema = Schema({})
    for item in described.items:
        if item.kind in _TABLES:
            schema.tables[item.name] = _table(item, schema.indexes)
        elif item.kind == "VIEW":
            schema.views[item.name] = Named(None, item.statement)
        elif item.kind in _KINDS:
            called = f"{item.kind.capitalize()} {item.name}"
            key = (_KINDS[item.kind], f"{item.kind} {item.name}")
            schema.others[key] = Named(None, item.statement, item.name, called)
    for trigger in described.triggers:
        schema.triggers[trigger.name] = Named(trigger.table, _statement(trigger))
    return schema


def columns_in(described: Description) -> dict[str, tuple[str, ...]]:
    """Return all columns of each table, in their order."""
    tables = schema_in(described).tables
    return {name: tuple(table.columns) for name, table in tables.items()}


def with_periods(described: Description, schema: Schema) -> Description:
    """Return a description in which tables with history have the columns that say of what time.

    A row that was deleted is there as before, but for its end.
    """
    versioned = {item.name for item in described.items if item.kind == "SYSTEM VERSIONED"}
    tables = tuple(
        msgspec.structs.replace(table, columns=_with_period(schema, table))
        if table.name in versioned
        else table
        for table in described.tables
    )
    return msgspec.structs.replace(described, tables=tables)


def _with_period(schema: Schema, table: Table) -> tuple[str, ...]:
    declared = schema.tables[table.name].columns
    own = {name for name in declared if declared[name].generated.startswith("ALWAYS AS ROW ")}
    if not own:
        return (*table.columns, *_PERIOD)
    return tuple(name for name in declared if name in own or name in table.columns)


def _statement(trigger: Trigger) -> str:
    session = " ".join((trigger.sql_mode, trigger.client, trigger.collation))
    return f"{trigger.statement}\n-- {session}"


class _Found(NamedTuple):
    columns: dict[str, Column]
    primary_key: list[str]
    uniques: Counter[str]
    foreign_keys: Counter[str]
    checks: Counter[str]


def _table(item: Item, indexes: dict[str, Index]) -> TableSchema:
    found = _Found({}, [], Counter(), Counter(), Counter())
    for part in parts(in_brackets(item.statement, DIALECT)[1], DIALECT):
        if part.startswith("`"):
            column = column_of(part, DIALECT)
            found.columns[column.name] = _column(column)
            if check := column.clause("CHECK"):
                found.checks[without_brackets(check, DIALECT)] += 1
        elif match := _PRIMARY.match(part):
            inside = in_brackets(match[1], DIALECT)[1]
            found.primary_key.extend(names_in(re.sub(r"`\(\d+\)", "`", inside), DIALECT))
        elif match := _FOREIGN.match(part):
            found.foreign_keys[_reference(match)] += 1
        elif match := _CHECK.match(part):
            found.checks[without_brackets(match[1], DIALECT)] += 1
        elif match := _KEY.match(part):
            kind, text = match[1].lower(), _plain(match[3])
            if kind == "unique ":
                found.uniques[text] += 1
            name = unquoted(match[2])
            if kind != "unique ":
                indexes[f"{item.name}.{name}"] = Index(item.name, f"{kind}{text}", part, name)
    return TableSchema(
        sql=item.statement,
        is_virtual=False,
        columns=found.columns,
        primary_key=tuple(found.primary_key),
        uniques=found.uniques,
        foreign_keys=found.foreign_keys,
        checks=found.checks,
    )


def _column(found: ColumnText) -> Column:
    default = found.clause("DEFAULT")
    charset = (found.clause("CHARACTER") or "").removeprefix("SET ")
    return Column(
        declared=found.declared,
        is_required=found.clause("NOT") == "NULL",
        default=None if default == "NULL" else default,
        collation=found.clause("COLLATE") or charset,
        generated=found.clause("GENERATED") or "",
        extra=extra_of(found, _OWN_CLAUSES),
    )


def _plain(columns: str) -> str:
    """Return a list of columns without what quotes their names."""
    return re.sub(_NAME, lambda match: unquoted(match[0]), columns).replace(",", ", ")


def _reference(match: re.Match[str]) -> str:
    """Return a foreign key as ``(a, b) -> other (c, d) ON DELETE CASCADE``."""
    own, other, rest = match.groups()
    _, theirs, action = in_brackets(rest, DIALECT)
    return f"{_plain(own)} -> {_plain(other)} ({_plain(theirs)}){action}"
