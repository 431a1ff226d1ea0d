"""What differs between two databases: the result of a driver's ``diff``.

The first database is the earlier one, the second the later: "added" is what only the second has,
"removed" what only the first has.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

ChangeKind = Literal["added", "removed", "changed"]
"""Only in the second database, only in the first, in both and not the same."""
MatchedBy = Literal["key", "rowid", "values", "count", "nothing"]
"""How the rows of a table on both sides were matched.

``key``: by the primary key. ``rowid``: by the number that the database gave each row. ``values``:
row for row by all values, so that no row counts as changed. ``count``: rows were only counted.
``nothing``: the table cannot be read.
"""
SchemaItem = Literal[
    "table",
    "column",
    "primary key",
    "unique",
    "foreign key",
    "check",
    "index",
    "view",
    "trigger",
    "setting",
    "sequence",
    "routine",
    "type",
    "event",
    "rights",
    "comment",
    "other",
]
"""What a :class:`SchemaChange` is about; ``setting``: of the database as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LongValue:
    """What stands for a value that is too long to be kept.

    Attributes:
        kind: Whether it is text or bytes.
        length: How many characters, or bytes, it has.
        sha256: The digest of all of it; of text, in UTF-8.
        start: How it begins.

    Example:
        >>> from soulsense_db.drivers import LongValue
        >>> LongValue(kind="text", length=70_000, sha256="9f86...", start="Dear diary").length
        70000
    """

    kind: Literal["text", "blob"]
    length: int
    sha256: str
    start: str | bytes


Value = int | float | Decimal | str | bytes | LongValue | None
"""A value of a row; one of another kind is the text that the database has for it.

Bytes of text that are no valid text are surrogates, as Python escapes them.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """One difference between the schemas.

    Attributes:
        item: What it is about.
        kind: Whether that was added, removed or changed.
        table: The table that it belongs to; None for what belongs to none.
        name: Its name; None where it has none, as a constraint may.
        before: How the first database has it, as SQL or as a word of it; None where it has not.
        after: How the second database has it.
        sentence: The same for a person.

    Example:
        >>> for change in manager.diff("latest").schema:
        ...     print(change.sentence)
    """

    item: SchemaItem
    kind: ChangeKind
    table: str | None
    name: str | None
    before: str | None
    after: str | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShorterValue:
    """A text, or bytes, of which a part is gone; its length and not what it says.

    Attributes:
        key: What its row was found by: the values of the key, or the rowid.
        before: How many characters, or bytes, it had in the first database.
        after: How many it has in the second.

    Example:
        >>> from soulsense_db.drivers import ShorterValue
        >>> ShorterValue(key=(1,), before=34, after=20).after
        20
    """

    key: tuple[Value, ...]
    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """What became of the values of one column, in the rows of a table that changed.

    Attributes:
        column: The name of the column.
        differing: In how many rows the value is another one.
        became_null: How many of these had a value, and have none now.
        became_shorter: How many of these are text or bytes on both sides, and shorter now; text is
            only compared with text, but for what is empty.
        became_inexact: How many of these are numbers now that say less than before: a number was
            rounded, or a text had more in it, such as a leading zero.
        first_shorter: The first of those that are shorter; None where none is.

    Example:
        >>> for table in manager.diff("latest").changed_tables:
        ...     for column in table.columns:
        ...         print(table.table, column.column, column.became_null, "became NULL")
    """

    column: str
    differing: int
    became_null: int
    became_shorter: int
    became_inexact: int = 0
    first_shorter: ShorterValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """A row that differs.

    Attributes:
        kind: Whether it was added, removed or changed.
        key: What it was found by: the values of the key, the rowid, or nothing.
        before: Its values in the first database, in the order of :attr:`TableChange.compared`;
            None for one that was added.
        after: Its values in the second database; None for one that was removed.

    Example:
        >>> table = manager.diff("latest", rows=1).changed_tables[0]
        >>> table.samples[0].kind, table.samples[0].key
        ('added', (3,))
    """

    kind: ChangeKind
    key: tuple[Value, ...]
    before: tuple[Value, ...] | None
    after: tuple[Value, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """What differs between the rows of one table.

    Attributes:
        table: The name of the table.
        rows_before: How many rows it has in the first database; None where there is no such table,
            or it cannot be read.
        rows_after: How many it has in the second database.
        added: How many rows only the second database has.
        removed: How many rows only the first database has.
        changed: How many rows are in both and not the same. None where that is not known: the rows
            were only counted, or not even that.
        matched_by: How the rows on both sides were matched.
        key: The columns of the primary key by which they were.
        compared: The columns that were compared: those that both databases have.
        columns: The columns whose values changed, in the changed rows.
        columns_added: The columns that only the second database has.
        columns_removed: The columns that only the first database has.
        samples: Some of the rows that differ, as many of each kind as were asked for.
        part_of: The virtual table, such as a full-text index, that keeps its own data here.
        note: A sentence where something about the comparison has to be said; else None.

    Example:
        >>> table = manager.diff("latest").changed_tables[0]
        >>> table.table, table.added, table.removed, table.changed
        ('entries', 1, 0, 0)
    """

    table: str
    rows_before: int | None
    rows_after: int | None
    added: int
    removed: int
    changed: int | None
    matched_by: MatchedBy
    key: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()
    columns: tuple[ColumnChange, ...] = ()
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    samples: tuple[RowChange, ...] = ()
    part_of: str | None = None
    note: str | None = None

    @property
    def differs(self) -> bool:
        """Whether a row or a column differs, or nobody can tell."""
        has_other_rows = (self.added, self.removed, self.changed) != (0, 0, 0)
        return has_other_rows or bool(self.columns_added or self.columns_removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffReport:
    """What differs between two databases, from the first to the second.

    Attributes:
        schema: What differs between the schemas.
        tables: Every table that was compared, by name.
        alembic_heads_before: The revisions of the first database, sorted.
        alembic_heads_after: The revisions of the second database, sorted.

    Example:
        >>> report = manager.diff("latest")
        >>> report.identical, [table.table for table in report.changed_tables]
        (False, ['entries'])
    """

    schema: tuple[SchemaChange, ...]
    tables: tuple[TableChange, ...]
    alembic_heads_before: tuple[str, ...]
    alembic_heads_after: tuple[str, ...]

    @property
    def changed_tables(self) -> tuple[TableChange, ...]:
        """The tables that differ, or of which nobody can tell."""
        return tuple(table for table in self.tables if table.differs)

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.schema and not self.changed_tables
