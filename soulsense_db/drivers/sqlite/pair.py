"""A table that two databases have, and how its rows are matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from soulsense_db.drivers.diff_report import MatchedBy, TableChange
from soulsense_db.drivers.row_tally import Found
from soulsense_db.drivers.sqlite.rows import Reading, Side, is_typed, values_of

COUNTED = "Rows were only counted"
_BY_ROWID = "It has no primary key: rows were matched by the numbers that SQLite gave them."
_NULL_KEYS = "Rows with NULL in the primary key were matched by all their values."
_BY_VALUES = "Rows were matched by all their values"


@dataclass(frozen=True, slots=True)
class Pair:
    """A table by its ``name``, on two ``sides``; ``common``: the columns that both have."""

    sides: tuple[Side, Side]
    name: str
    common: tuple[str, ...]
    matched_by: MatchedBy
    has_null_keys: bool

    @classmethod
    def of(cls, before: Side, after: Side, name: str) -> Self:
        """Return how the rows of a table are matched that both sides have."""
        first, second = before.tables[name], after.tables[name]
        common = tuple(column for column in first.columns if column in second.columns)
        same_key = first.primary_key == second.primary_key
        matched_by: MatchedBy = "values"
        if same_key and first.primary_key:
            matched_by = "key"
        elif same_key and first.rowid and second.rowid:
            matched_by = "rowid"
        has_null_keys = matched_by == "key" and any(
            side.has_null_key(name) for side in (before, after)
        )
        return cls((before, after), name, common, matched_by, has_null_keys)

    @property
    def why_counted(self) -> str | None:
        """Why the rows can be no more than counted, if so."""
        if not self.common:
            return f"{COUNTED}: the databases have no column of it in common."
        tables = [side.tables[self.name] for side in self.sides]
        is_numbered = self.matched_by == "rowid" or (
            self.matched_by == "key" and all(table.grows for table in tables)
        )
        if len({table.encoding for table in tables}) > 1 and not is_numbered:
            return f"{COUNTED}: the databases store text in different encodings."
        return None

    def readings(self) -> tuple[Reading, Reading]:
        """Return how the rows of both are read: in one order, with the same columns."""
        tables = [side.tables[self.name] for side in self.sides]
        types = [dict(zip(table.columns, table.declared, strict=True)) for table in tables]
        typed = [
            column
            for column in self.common
            if types[0][column] != types[1][column] or is_typed(types[0][column])
        ]
        values = values_of(self.common, typed)
        if self.matched_by == "values":
            reading = Reading(values, (), values)
            return reading, reading
        readings = []
        for table in tables:
            key = table.key if self.matched_by == "key" else (str(table.rowid),)
            readings.append(Reading(key, values, (*key, *values) if self.has_null_keys else key))
        return readings[0], readings[1]

    def change(self, found: Found, rows_before: int, rows_after: int) -> TableChange:
        """Return what was found between so many rows."""
        first, second = (side.tables[self.name] for side in self.sides)
        differs = (found.added, found.removed, found.changed) != (0, 0, 0)
        return TableChange(
            table=self.name,
            rows_before=rows_before,
            rows_after=rows_after,
            added=found.added,
            removed=found.removed,
            changed=found.changed,
            matched_by=self.matched_by,
            key=first.primary_key if self.matched_by == "key" else (),
            compared=self.common,
            columns=found.columns,
            columns_added=tuple(c for c in second.columns if c not in first.columns),
            columns_removed=tuple(c for c in first.columns if c not in second.columns),
            samples=found.samples,
            note=self._note if differs else None,
        )

    @property
    def _note(self) -> str | None:
        """What has to be said of how rows were matched."""
        if self.matched_by == "rowid":
            return _BY_ROWID
        if self.matched_by == "key":
            return _NULL_KEYS if self.has_null_keys else None
        first, second = (side.tables[self.name] for side in self.sides)
        if first.primary_key != second.primary_key:
            return f"{_BY_VALUES}: the primary key is another one."
        return f"{_BY_VALUES}: it has no primary key."
