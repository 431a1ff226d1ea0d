"""Which tables and columns a migration renamed: told by its statements, or by equal contents.

Where nothing but the contents tells, a rename is believed only once every row was compared: sums
alone take a column of country codes for one of currencies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from soulsense_db.drivers import ColumnSurvey, DatabaseSurvey, DiffReport, TableSurvey

_NAME = r"[\"`\[]?([^\"`\]]+?)[\"`\]]?"
_TABLE = re.compile(rf"ALTER\s+TABLE\s+{_NAME}\s+RENAME\s+TO\s+{_NAME}\s*;?$", re.IGNORECASE)
_COLUMN = re.compile(
    rf"ALTER\s+TABLE\s+{_NAME}\s+RENAME\s+(?:COLUMN\s+)?{_NAME}\s+TO\s+{_NAME}\s*;?$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Renames:
    """The new names, by the old ones: of tables, and of columns by table (old name) and column.

    ``stated``: those old names of both kinds that a statement renamed; the others are guesses.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[tuple[str, str], str] = field(default_factory=dict)
    stated: frozenset[str | tuple[str, str]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns)

    @property
    def touched(self) -> set[str]:
        """The old names of the tables that are renamed, or have renamed columns."""
        return {*self.tables, *(table for table, _ in self.columns)}

    def without(self, wrong: Collection[str | tuple[str, str]]) -> Renames:
        """Return them without some."""
        return Renames(
            {old: new for old, new in self.tables.items() if old not in wrong},
            {
                old: new
                for old, new in self.columns.items()
                if old not in wrong and old[0] not in wrong
            },
            self.stated,
        )

    def refuted(self, rows: DiffReport) -> set[str | tuple[str, str]]:
        """Return the guesses that are none, by ``rows``: what differs under the old names."""
        changes = {change.table: change for change in rows.tables}
        wrong: set[str | tuple[str, str]] = set()
        for old in self.tables.keys() - self.stated:
            change = changes.get(old)
            counts = change and (change.added, change.removed, change.changed)
            if change is None or counts != (0, 0, 0) or change.columns_removed:
                wrong.add(old)
        for table, column in self.columns.keys() - self.stated:
            change = changes.get(table)
            if (
                change is None
                or change.changed is None
                or column not in change.compared
                or change.matched_by == "values"
                or any(one.column == column for one in change.columns)
            ):
                wrong.add((table, column))
        return wrong


def possible_renames(
    before: DatabaseSurvey, after: DatabaseSurvey, statements: Sequence[str]
) -> Renames:
    """Return what is gone and may be there under another name."""
    old = {table.table: table for table in before.tables}
    new = {table.table: table for table in after.tables}
    tables, stated = dict[str, str](), set[str | tuple[str, str]]()
    for name in old.keys() - new.keys():
        said = _followed(name, statements)
        if said in new and said not in old:
            tables[name] = said
            stated.add(name)
    for name in sorted(old.keys() - new.keys() - tables.keys()):
        free = (one for one in new if one not in old and one not in tables.values())
        if other := next((one for one in free if _may_be(old[name], new[one])), None):
            tables[name] = other
    columns: dict[tuple[str, str], str] = {}
    for name, table in old.items():
        there = new.get(tables.get(name, name))
        if there is not None:
            for column, other, is_stated in _columns(table, there, statements):
                columns[name, column] = other
                if is_stated:
                    stated.add((name, column))
    return Renames(tables, columns, frozenset(stated))


def is_same_in_sum(one: ColumnSurvey, other: ColumnSurvey) -> bool:
    """Whether two columns add up to the same; the order of a sum of fractions may differ."""
    return _amounts(one) == _amounts(other) and math.isclose(
        one.total, other.total, rel_tol=1e-9, abs_tol=1e-9
    )


def _amounts(one: ColumnSurvey) -> tuple[int, int, int]:
    return one.values, one.texts, one.length


def _followed(name: str, statements: Sequence[str]) -> str:
    """Return the name that a table has after all statements."""
    for statement in statements:
        found = _TABLE.match(statement)
        if found and found[1] == name:
            name = found[2]
    return name


def _may_be(old: TableSurvey, new: TableSurvey) -> bool:
    """Whether a new table has all that an old one had, by its sums."""
    columns = {column.column: column for column in new.columns}
    return bool(old.rows == new.rows and old.rows) and all(
        column.column in columns and is_same_in_sum(column, columns[column.column])
        for column in old.columns
    )


def _columns(
    old: TableSurvey, new: TableSurvey, statements: Sequence[str]
) -> Iterator[tuple[str, str, bool]]:
    """Yield columns that are gone, the new ones they may be, and whether a statement says so."""
    said = {}
    for statement in statements:
        found = _COLUMN.match(statement)
        if found and found[1] in {old.table, new.table}:
            said[found[2]] = found[3]
    names = {column.column for column in old.columns}
    there = {column.column: column for column in new.columns}
    free = [name for name in there if name not in names]
    for column in old.columns:
        if column.column in there:
            continue
        if said.get(column.column) in free:
            other, is_stated = said[column.column], True
        else:
            alike = (one for one in free if column.values and is_same_in_sum(column, there[one]))
            other, is_stated = next(alike, ""), False
        if other:
            free.remove(other)
            yield column.column, other, is_stated
