"""Rows that chosen rows belong together with, by foreign keys: their children and their parents."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.drivers.sqlite.row_pairs import Pair, equal
from soulsense_db.drivers.sqlite.row_selection import Ident, ident_columns
from soulsense_db.drivers.sqlite.row_tables import ForeignKey, Shape, Tables
from soulsense_db.drivers.sqlite.row_values import Row, bound, placeholder

_LOOK_EVERY = 1000


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
    backup: Tables, reference: ForeignKey, parents: Collection[Ident], look: Callable[[], object]
) -> Iterator[Ident]:
    """Yield what the rows of the backup are found by that refer to ``parents``.

    SQLite compares a foreign key by the collation and the affinity of the parent's column: that is
    so where the parent stands on the left, and the child's column has no affinity (``+``). No index
    of the child can be used then: all of it is read, once for however many parents.
    https://www.sqlite.org/foreignkeys.html#fk_indexes
    """
    wanted = set(parents)
    child, parent = backup.shape(reference.table), backup.shape(reference.parent)
    of_child, of_parent = _idents("child", child), _idents("parent", parent)
    equal_columns = " AND ".join(
        f"parent.{quoted(to)} = +child.{quoted(column)}"
        for to, column in zip(reference.parent_columns, reference.columns, strict=True)
    )
    statement = (
        f"SELECT {', '.join([*of_child, *of_parent])} FROM main.{quoted(child.name)} AS child "  # noqa: S608 - quoted
        f"CROSS JOIN main.{quoted(parent.name)} AS parent WHERE {equal_columns}"
    )
    for number, row in enumerate(backup.each(statement)):
        if number % _LOOK_EVERY == 0:
            look()
        if _ident(parent, row[len(of_child) :]) in wanted:
            yield _ident(child, row[: len(of_child)])


def _idents(alias: str, shape: Shape) -> list[str]:
    return [f"{alias}.{column}" for column in ident_columns(shape)]


def _ident(shape: Shape, row: Row) -> Ident:
    return row[0] if shape.rowid else tuple(row)


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
    return _ident(shape, found[0])
