"""Rows that chosen rows belong together with, by foreign keys: their children and their parents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from soulsense_db.drivers.server_rows.tables import (
    ForeignKey,
    Row,
    Tables,
    columns_of,
    equals_of,
    has_columns,
)


@dataclass(slots=True)
class Chosen:
    """What rows of the backup are found by, table by table, in the order of the dictionary.

    ``children``: the tables of which there are rows only because they refer to chosen ones.
    """

    idents: dict[str, dict[Row, None]]
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
            referring = referring_rows(backup, reference, idents, look)
            new = list(dict.fromkeys(one for one in referring if one not in known))
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
        if has_columns(backup.shapes.get(one.table), one.columns)
        and has_columns(backup.shapes.get(name), one.parent_columns)
    ]


def referring_rows(
    backup: Tables, reference: ForeignKey, parents: Sequence[Row], look: Callable[[], object]
) -> Iterator[Row]:
    """Yield what the rows of the backup are found by that refer to ``parents``."""
    child, parent = backup.shapes[reference.table], backup.shapes[reference.parent]
    by, wanted = backup.ident_columns(parent), backup.ident_columns(child)
    pairs = zip(
        columns_of(child, reference.columns),
        columns_of(parent, reference.parent_columns),
        strict=True,
    )
    condition = " AND ".join(
        f"t.{backup.quoted(one.name)} {equals_of(one, other)} p.{backup.quoted(other.name)}"
        for one, other in pairs
    )
    found_by = " AND ".join(
        f"p.{backup.quoted(one.name)} {one.equals} soulsense_v.k{at}" for at, one in enumerate(by)
    )
    for start in range(0, len(parents), parent.at_once):
        look()
        some = parents[start : start + parent.at_once]
        statement = (
            f"SELECT {backup.select(wanted)} FROM {backup.listed(some, by)}"  # noqa: S608 - quoted
            f" JOIN {parent.source} AS p ON {found_by} JOIN {child.source} AS t ON {condition}"
        )
        found = backup.rows(statement, [value for row in some for value in row])
        yield from map(backup.texts, found)


def found_in(
    tables: Tables, reference: ForeignKey, child: Tables, values: Sequence[Row], *, ident: bool
) -> dict[int, Row]:
    """Return by number which of ``values`` refer to a row that is there.

    ``child``: the tables of which the referring one is; ``ident``: whether to return what the row
    is found by.
    """
    parent = tables.shapes.get(reference.parent)
    if parent is None or not has_columns(parent, reference.parent_columns):
        return {}
    by = columns_of(parent, reference.parent_columns)
    given = columns_of(child.shapes[reference.table], reference.columns)
    wanted = tables.ident_columns(parent) if ident and values else ()
    found = tables.matching(parent, by, values, wanted, given=given)
    return dict(found)


def children_of(live: Tables, reference: ForeignKey, values: Sequence[Row]) -> dict[int, Row]:
    """Return by number which ``values`` of a parent live rows refer to."""
    child, parent = live.shapes[reference.table], live.shapes[reference.parent]
    by, given = columns_of(child, reference.columns), columns_of(parent, reference.parent_columns)
    return dict(live.matching(child, by, values, (), given=given))
