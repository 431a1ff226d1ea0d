"""Rows that chosen rows belong together with, by foreign keys: their children and their parents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from soulsense_db.drivers.sqlite.pragmas import quoted
from soulsense_db.drivers.sqlite.row_pairs import Pair, equal
from soulsense_db.drivers.sqlite.row_selection import Ident, ident_columns
from soulsense_db.drivers.sqlite.row_tables import ForeignKey, Shape, Tables, folded
from soulsense_db.drivers.sqlite.row_values import Row, bound, chunks, placeholder

_KEYS_AT_ONCE = 200


@dataclass(slots=True)
class Chosen:
    """What rows of the backup are found by, table by table, in the order of the dictionary.

    ``children``: the tables of which there are rows only because they refer to chosen ones.
    """

    idents: dict[str, dict[Ident, None]]
    children: set[str] = field(default_factory=set)


def add_children(chosen: Chosen, live: Tables, backup: Tables, look: Callable[[], object]) -> None:
    """Add all rows of the backup that refer to chosen ones, and those that refer to them."""
    queue = [(name, list(idents)) for name, idents in chosen.idents.items()]
    while queue:
        name, idents = queue.pop(0)
        for reference in references_to(live, backup, name):
            known = chosen.idents.setdefault(reference.table, {})
            if not known:
                chosen.children.add(reference.table)
            new = [
                ident
                for ident in referring_rows(backup, reference, idents, look)
                if ident not in known
            ]
            known |= dict.fromkeys(new)
            if new:
                queue.append((reference.table, new))
    for empty in [name for name, idents in chosen.idents.items() if not idents]:
        del chosen.idents[empty]


def references_to(live: Tables, backup: Tables, name: str) -> list[ForeignKey]:
    """Return the foreign keys to a table that the tables of the backup could have as well."""
    return [
        one
        for one in live.referring_to(name)
        if _has(backup, one.table, one.columns) and _has(backup, name, one.parent_columns)
    ]


def _has(tables: Tables, name: str, columns: Sequence[str]) -> bool:
    if not tables.is_plain(name):
        return False
    there = {folded(one.name) for one in tables.shape(name).columns}
    return all(folded(column) in there for column in columns)


def referring_rows(
    backup: Tables, reference: ForeignKey, parents: Sequence[Ident], look: Callable[[], object]
) -> Iterator[Ident]:
    """Yield what the rows of the backup are found by that refer to ``parents``.

    Many are asked for at once: without an index, each statement reads the whole table.
    """
    shape = backup.shape(reference.table)
    wanted = ", ".join(ident_columns(shape))
    columns = ", ".join(map(quoted, reference.columns))
    select = f"SELECT {wanted} FROM main.{quoted(shape.name)} WHERE ({columns}) IN"  # noqa: S608 - quoted
    for some in chunks(parents, _KEYS_AT_ONCE):
        look()
        keys = [
            _values_of(backup, reference.parent, ident, reference.parent_columns) for ident in some
        ]
        keys = [key for key in keys if None not in key]
        if not keys:
            continue
        marks = ", ".join(f"({', '.join(map(placeholder, key))})" for key in keys)
        parameters = [value for key in keys for value in bound(key, backup.encoding)]
        for row in backup.rows(f"{select} (VALUES {marks})", parameters):
            yield row[0] if shape.rowid else row


def _values_of(tables: Tables, name: str, ident: Ident, columns: Sequence[str]) -> Row:
    shape = tables.shape(name)
    wanted = ", ".join(f"+{quoted(column)}" for column in columns)
    condition, parameters = at_ident(shape, ident, tables.encoding)
    statement = f"SELECT {wanted} FROM main.{quoted(shape.name)} WHERE {condition}"  # noqa: S608 - quoted
    return tables.row(statement, parameters)


def at_ident(shape: Shape, ident: Ident, encoding: str) -> tuple[str, list[Any]]:
    """Return the condition for the row that is found by ``ident``, and its parameters."""
    return equal(ident_columns(shape), (ident,) if shape.rowid else ident, encoding)


def parent_values(pair: Pair, reference: ForeignKey, row: Row) -> Row | None:
    """Return the values by which ``row`` refers to a parent; None where it refers to none."""
    places = [pair.place_of(column) for column in reference.columns]
    if any(at is None for at in places):
        return None  # the column is new: SQLite itself looks at its default
    values = tuple(row[at] for at in places if at is not None)
    return None if None in values else values


def has_parent(live: Tables, reference: ForeignKey, values: Row) -> bool:
    """Whether the live database has the row that is referred to."""
    if not live.is_plain(reference.parent):
        return False
    names = [quoted(column) for column in reference.parent_columns]
    condition, parameters = equal(names, values, live.encoding)
    table = f"main.{quoted(live.shape(reference.parent).name)}"
    return bool(live.rows(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1", parameters))  # noqa: S608 - quoted


def has_child(live: Tables, reference: ForeignKey, values: Row) -> bool:
    """Whether a live row may refer to ``values`` by ``reference``.

    In doubt it does: SQLite compares by the collation and the affinity of the other table.
    """
    marks = [placeholder(one) for one in values]
    condition = " AND ".join(
        f"({name} = {mark} OR CAST({name} AS TEXT) = CAST({mark} AS TEXT) COLLATE NOCASE)"
        for name, mark in zip(map(quoted, reference.columns), marks, strict=True)
    )
    parameters = [one for value in bound(values, live.encoding) for one in (value, value)]
    table = f"main.{quoted(live.shape(reference.table).name)}"
    return bool(live.rows(f"SELECT 1 FROM {table} WHERE {condition} LIMIT 1", parameters))  # noqa: S608 - quoted


def parent_in(backup: Tables, reference: ForeignKey, values: Row) -> Ident | None:
    """Return what the parent is found by in the backup, None where it is not there either."""
    name = reference.parent
    if not _has(backup, name, reference.parent_columns):
        return None
    shape = backup.shape(name)
    names = [quoted(column) for column in reference.parent_columns]
    condition, parameters = equal(names, values, backup.encoding)
    wanted = ", ".join(ident_columns(shape))
    statement = f"SELECT {wanted} FROM main.{quoted(shape.name)} WHERE {condition} LIMIT 1"  # noqa: S608 - quoted
    found = backup.rows(statement, parameters)
    if not found:
        return None
    return found[0][0] if shape.rowid else found[0]
