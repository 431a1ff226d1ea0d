"""What differs between two schemas, a sentence each: what is the same of all dialects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from soulsense_db.drivers.diff_report import ChangeKind, SchemaChange, SchemaItem
from soulsense_db.drivers.schema_parts import Column, Index, Named, Schema, TableSchema

SameSQL = Callable[[str, str], bool]
"""Whether two statements say the same."""
Options = Callable[[str, TableSchema, TableSchema], Iterator[SchemaChange]]
"""Yields what differs between the options of two tables of this name."""


def no_options(_name: str, _before: TableSchema, _after: TableSchema) -> Iterator[SchemaChange]:
    """Yield nothing: for a dialect whose tables have no options."""
    yield from ()


def changes(
    first: Schema,
    second: Schema,
    *,
    whole: bool,
    same_sql: SameSQL,
    options: Options = no_options,
) -> Iterator[SchemaChange]:
    """Yield what differs, from ``first`` to ``second``: tables, and what belongs to them.

    ``whole``: views, too, and what else belongs to none.
    """
    for name in sorted(first.tables.keys() | second.tables.keys()):
        before, after = first.tables.get(name), second.tables.get(name)
        if before is None or after is None:
            yield _table(name, before, after)
        else:
            yield from _of_table(name, before, after, same_sql, options)
    kept_tables = set(first.tables) & set(second.tables)
    yield from _indexes(first.indexes, second.indexes, kept_tables, same_sql)
    if whole:
        yield from _named("view", first.views, second.views, same_sql)
    yield from _named("trigger", first.triggers, second.triggers, same_sql)
    yield from _others(first, second, kept_tables, whole=whole, same_sql=same_sql)


def change(
    item: SchemaItem,
    what: str,
    before: str | None,
    after: str | None,
    *,
    table: str | None = None,
    name: str | None = None,
    sentence: str | None = None,
) -> SchemaChange:
    """Return a change; ``what`` begins its sentence, unless that is given whole."""
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


def _table(name: str, before: TableSchema | None, after: TableSchema | None) -> SchemaChange:
    there = before or after
    assert there is not None
    what = f"Virtual table {name}" if there.is_virtual else f"Table {name}"
    return change("table", what, _sql(before), _sql(after), table=name, name=name)


def _of_table(
    name: str, before: TableSchema, after: TableSchema, same_sql: SameSQL, options: Options
) -> Iterator[SchemaChange]:
    """Yield what differs between two tables of the same name."""
    found = [
        *_columns(name, before, after),
        *_primary_key(name, before, after),
        *_constraints("unique", name, before.uniques, after.uniques),
        *_constraints("foreign key", name, before.foreign_keys, after.foreign_keys),
        *_constraints("check", name, before.checks, after.checks),
        *options(name, before, after),
    ]
    yield from found
    if found or same_sql(before.sql, after.sql):
        return
    sentence = f"Table {name} is declared in another way."
    if list(before.columns) != list(after.columns):
        sentence = f"Table {name} has its columns in another order."
    yield change("table", "", before.sql, after.sql, table=name, name=name, sentence=sentence)


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
        yield change(
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
        yield _default_difference(old.default, new.default)
    if old.collation != new.collation:
        was, now = old.collation or "BINARY", new.collation or "BINARY"
        yield f"its collation was {was}, and is {now} now"
    if old.generated != new.generated:
        if old.generated and new.generated:
            yield "it is computed in another way"
        else:
            yield "it is computed now" if new.generated else "it is no longer computed"
    if old.extra != new.extra:
        yield _extra_difference(old.extra, new.extra)


def _default_difference(old: str | None, new: str | None) -> str:
    if new is None:
        return f"it has no default now, and had {old}"
    if old is None:
        return f"it has the default {new} now"
    return f"its default was {old}, and is {new} now"


def _extra_difference(old: str, new: str) -> str:
    if not new:
        return f"it is no longer {old}"
    return f"it was {old}, and is {new} now" if old else f"it is {new} now"


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
    yield change(
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
        yield change(item, _constraint(item, table, text), text, None, table=table)
    for text in (after - before).elements():
        yield change(item, _constraint(item, table, text), None, text, table=table)


def _constraint(item: SchemaItem, table: str, text: str) -> str:
    if item == "check":
        return f"CHECK ({text}) of {table}"
    return f"{item.capitalize()} {text} of {table}"


def _indexes(
    first: Mapping[str, Index],
    second: Mapping[str, Index],
    kept_tables: set[str],
    same_sql: SameSQL,
) -> Iterator[SchemaChange]:
    for known_by in sorted(first.keys() | second.keys()):
        before, after = first.get(known_by), second.get(known_by)
        there = after or before
        assert there is not None
        name = there.name or known_by
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
        yield change(
            "index",
            "",
            _sql(before),
            _sql(after),
            table=there.table,
            name=name,
            sentence=sentence,
        )


def _named(
    item: SchemaItem, first: Mapping[str, Named], second: Mapping[str, Named], same_sql: SameSQL
) -> Iterator[SchemaChange]:
    for known_by in sorted(first.keys() | second.keys()):
        before, after = first.get(known_by), second.get(known_by)
        if before is not None and after is not None and same_sql(before.sql, after.sql):
            continue
        there = after or before
        assert there is not None
        if there.is_property and (before is None or after is None):
            continue
        name = there.name or known_by
        on = f" on {there.table}" if there.table else ""
        yield change(
            item,
            there.called or f"{item.capitalize()} {name}{on}",
            _sql(before),
            _sql(after),
            table=there.table,
            name=name,
        )


def _others(
    first: Schema, second: Schema, kept_tables: set[str], *, whole: bool, same_sql: SameSQL
) -> Iterator[SchemaChange]:
    """Yield what differs of the rest, but what came or went with its table."""
    wanted = [
        {
            key: one
            for key, one in schema.others.items()
            if (whole if one.table is None else one.table in kept_tables)
        }
        for schema in (first, second)
    ]
    for item in sorted({item for one in wanted for item, _ in one}):
        sides = [
            {name: one for (kind, name), one in side.items() if kind == item} for side in wanted
        ]
        yield from _named(item, sides[0], sides[1], same_sql)


def _sql(one: TableSchema | Index | Named | None) -> str | None:
    return None if one is None else one.sql
