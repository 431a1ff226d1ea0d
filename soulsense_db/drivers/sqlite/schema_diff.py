"""What differs between two schemas of SQLite, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator

from soulsense_db.drivers.diff_report import SchemaChange
from soulsense_db.drivers.schema_diff import change, changes
from soulsense_db.drivers.schema_parts import Schema, TableSchema
from soulsense_db.drivers.sqlite.table_sql import same_sql

_ENCODING = "encoding"
_OPTIONS = {
    "without": "WITHOUT ROWID",
    "strict": "STRICT",
    "autoincrement": "AUTOINCREMENT",
}


def schema_changes(first: Schema, second: Schema, *, whole: bool) -> Iterator[SchemaChange]:
    """Yield what differs, from ``first`` to ``second``: tables, and what belongs to them.

    ``whole``: settings and views, too, which belong to none.
    """
    if whole:
        yield from _settings(first, second)
    yield from changes(first, second, whole=whole, same_sql=same_sql, options=_options)


def _settings(first: Schema, second: Schema) -> Iterator[SchemaChange]:
    for name, before in first.settings.items():
        after = second.settings[name]
        if before == after or (name == _ENCODING and not (first.tables and second.tables)):
            continue
        what = "The encoding of text" if name == _ENCODING else f"PRAGMA {name}"
        sentence = f"{what} was {before}, and is {after} now."
        yield change("setting", what, before, after, name=name, sentence=sentence)


def _options(table: str, before: TableSchema, after: TableSchema) -> Iterator[SchemaChange]:
    for name in sorted(before.options ^ after.options):
        option = _OPTIONS[name]
        is_new = name in after.options
        sentence = f"Table {table} is {option} now." if is_new else f"Table {table} was {option}."
        if name == "autoincrement":
            sentence = f"Table {table} {'uses' if is_new else 'no longer uses'} AUTOINCREMENT."
        yield change(
            "table",
            "",
            None if is_new else option,
            option if is_new else None,
            table=table,
            name=table,
            sentence=sentence,
        )
