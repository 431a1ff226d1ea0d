"""What differs between two schemas, a sentence each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from soulsense_db.drivers.diff_report import ChangeKind, SchemaChange, SchemaItem
from soulsense_db.drivers.sqlite.schema import Column, Index, Named, Schema, TableSchema
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
    for name in sorted(first.tables.keys() | second.tables.keys()):
        before, after = first.tables.get(name), second.tables.get(name)
        if before is None or after is None:
            yield _table(name, before, after)
        else:
            yield from _of_table(name, before, after)
    yield from _indexes(first.indexes, second.indexes, set(first.tables) & set(second.tables))
    if whole:
        yield from _named("view", first.views, second.views)
    yield from _named("trigger", first.triggers, second.triggers)


def _change(
    item: SchemaItem,
    what: str,
    before: str | None,
    after: str | None,
    *,
    table: str | None = None,
    name: str | None = None,
    sentence: str | None = None,
) -> SchemaChange:
    """Return a change; ``what`` begins its sentence, unless it is given whole."""
    kind: ChangeKind = "changed"
    if before is None:
        kind = "added"
    elif after is None:
        kind = "removed"
    return SchemaChange(
        item=item,
        kind=kind,
        table=table,
        name=name,
        before=before,
        after=after,
        sentence=sentence or f"{what} was {kind}.",
    )


def _settings(first: Schema, second: Schema) -> Iterator[SchemaChange]:
    for name, before in first.settings.items():
        after = second.settings[name]
        if before == after or (name == _ENCODING and not (first.tables and second.tables)):
            continue
        what = "The encoding of text" if name == _ENCODING else f"PRAGMA {name}"
        sentence = f"{what} was {before}, and is {after} now."
        yield _change("setting", what, before, after, name=name, sentence=sentence)


def _table(name: str, before: TableSchema | None, after: TableSchema | None) -> SchemaChange:
    there = before or after
    assert there is not None
    what = f"Virtual table {name}" if there.is_virtual else f"Table {name}"
    return _change("table", what, _sql(before), _sql(after), table=name, name=name)


def _of_table(name: str, before: TableSchema, after: TableSchema) -> Iterator[SchemaChange]:
    """Yield what differs between two tables of the same name."""
    found = [
        *_columns(name, before, after),
        *_primary_key(name, before, after),
        *_constraints("unique", name, before.uniques, after.uniques),
        *_constraints("foreign key", name, before.foreign_keys, after.foreign_keys),
        *_constraints("check", name, before.checks, after.checks),
        *_options(name, before, after),
    ]
    yield from found
    if found or same_sql(before.sql, after.sql):
        return
    sentence = f"Table {name} is declared in another way."
    if list(before.columns) != list(after.columns):
        sentence = f"Table {name} has its columns in another order."
    yield _change("table", "", before.sql, after.sql, table=name, name=name, sentence=sentence)


def _columns(table: str, before: TableSchema, after: TableSchema) -> Iterator[SchemaChange]:
    for name in [*before.columns, *(n for n in after.columns if n not in before.columns)]:
        old, new = before.columns.get(name), after.columns.get(name)
        if old == new:
            continue
        what = f"Column {table}.{name}"
        if old is not None and new is not None:
            sentence = f"{what}: {'; '.join(_column_differences(old, new))}."
        else:
            there = old or new
            assert there is not None
            kind = "removed" if new is None else "added"
            sentence = f"{what} was {kind} ({there.text})."
        yield _change(
            "column",
            what,
            old.text if old else None,
            new.text if new else None,
            table=table,
            name=name,
            sentence=sentence,
        )


def _column_differences(old: Column, new: Column) -> Iterator[str]:
    if old.declared != new.declared:
        yield f"its type was {old.declared or 'none'}, and is {new.declared or 'none'} now"
    if old.is_required != new.is_required:
        yield "it must have a value now" if new.is_required else "it may be NULL now"
    if old.default != new.default:
        if new.default is None:
            yield f"it has no default now, and had {old.default}"
        elif old.default is None:
            yield f"it has the default {new.default} now"
        else:
            yield f"its default was {old.default}, and is {new.default} now"
    if old.collation != new.collation:
        was, now = old.collation or "BINARY", new.collation or "BINARY"
        yield f"its collation was {was}, and is {now} now"
    if old.generated != new.generated:
        yield "it is computed now" if new.generated else "it is no longer computed"


def _primary_key(table: str, before: TableSchema, after: TableSchema) -> Iterator[SchemaChange]:
    old, new = before.primary_key, after.primary_key
    if old == new:
        return
    if not old:
        sentence = f"Table {table} has a primary key now: {_list(new)}."
    elif not new:
        sentence = f"Table {table} has no primary key any more; it was {_list(old)}."
    else:
        sentence = f"The primary key of {table} was {_list(old)}, and is {_list(new)} now."
    yield _change(
        "primary key",
        "",
        _list(old) if old else None,
        _list(new) if new else None,
        table=table,
        sentence=sentence,
    )


def _list(columns: Sequence[str]) -> str:
    return f"({', '.join(columns)})"


def _constraints(
    item: SchemaItem, table: str, before: Counter[str], after: Counter[str]
) -> Iterator[SchemaChange]:
    for text in (before - after).elements():
        yield _change(item, _constraint(item, table, text), text, None, table=table)
    for text in (after - before).elements():
        yield _change(item, _constraint(item, table, text), None, text, table=table)


def _constraint(item: SchemaItem, table: str, text: str) -> str:
    if item == "check":
        return f"CHECK ({text}) of {table}"
    return f"{item.capitalize()} {text} of {table}"


def _options(table: str, before: TableSchema, after: TableSchema) -> Iterator[SchemaChange]:
    for name in sorted(before.options ^ after.options):
        option = _OPTIONS[name]
        is_new = name in after.options
        sentence = f"Table {table} is {option} now." if is_new else f"Table {table} was {option}."
        if name == "autoincrement":
            sentence = f"Table {table} {'uses' if is_new else 'no longer uses'} AUTOINCREMENT."
        yield _change(
            "table",
            "",
            None if is_new else option,
            option if is_new else None,
            table=table,
            name=table,
            sentence=sentence,
        )


def _indexes(
    first: Mapping[str, Index], second: Mapping[str, Index], kept_tables: set[str]
) -> Iterator[SchemaChange]:
    for name in sorted(first.keys() | second.keys()):
        before, after = first.get(name), second.get(name)
        there = after or before
        assert there is not None
        if before is not None and after is not None:
            if same_sql(before.sql, after.sql):
                continue
            sentence = f"Index {name} on {there.table} was changed."
            if before.table != after.table:
                sentence = f"Index {name} was on {before.table}, and is on {after.table} now."
            elif before.text != after.text:
                was, now = before.text, after.text
                sentence = f"Index {name} on {there.table} was {was}, and is {now} now."
        elif there.table in kept_tables:
            kind = "added" if before is None else "removed"
            sentence = f"Index {name} on {there.table} was {kind}: {there.text}."
        else:  # it came or went with its table
            continue
        yield _change(
            "index",
            "",
            _sql(before),
            _sql(after),
            table=there.table,
            name=name,
            sentence=sentence,
        )


def _named(
    item: SchemaItem, first: Mapping[str, Named], second: Mapping[str, Named]
) -> Iterator[SchemaChange]:
    for name in sorted(first.keys() | second.keys()):
        before, after = first.get(name), second.get(name)
        if before is not None and after is not None and same_sql(before.sql, after.sql):
            continue
        there = after or before
        assert there is not None
        on = f" on {there.table}" if there.table else ""
        yield _change(
            item,
            f"{item.capitalize()} {name}{on}",
            _sql(before),
            _sql(after),
            table=there.table,
            name=name,
        )


def _sql(one: TableSchema | Index | Named | None) -> str | None:
    return None if one is None else one.sql
