"""What brings chosen rows of a backup back: which ones, and what that means table by table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from soulsense_db.drivers.diff_report import Value
from soulsense_db.drivers.errors import chosen_twice, no_list_of_keys, parents_missing
from soulsense_db.drivers.row_search import RowKey
from soulsense_db.errors import RowsRefusedError

_MOST_NAMED = 5

Triggers = Literal["skip", "run"]
"""Whether the triggers of a table run when its rows come back."""
Role = Literal["chosen", "parent", "child"]
"""Why rows of a table come back: they were asked for, or belong to those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSelection:
    """Which rows of a backup come back, and how.

    ``where``: an SQL expression over the columns of ``table`` in the backup, or ``keys``: what the
    rows are found by there. None of both for all rows, and both of them is an
    :class:`~soulsense_db.errors.OptionError`.
    ``protected``: tables that are never written, and why, by name. The options are those of
    :meth:`~soulsense_db.manager.BackupManager.restore_rows`.
    """

    table: str
    where: str | None = None
    keys: tuple[RowKey, ...] | None = None
    replace: bool = False
    with_parents: bool = False
    with_children: bool = False
    without_columns: tuple[str, ...] = ()
    triggers: Triggers = "skip"
    protected: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.where is not None and self.keys is not None:
            raise chosen_twice()

    @staticmethod
    def keys_of(given: Iterable[Value | RowKey] | None) -> tuple[RowKey, ...] | None:
        """Return keys as they are kept here: one of a single value is a tuple as well.

        Raises :class:`~soulsense_db.errors.OptionError` for a text, whose characters are no keys.
        """
        if given is None:
            return None
        if isinstance(given, str | bytes):
            raise no_list_of_keys(given)
        return tuple(key if isinstance(key, tuple) else (key,) for key in given)


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlan:
    """What happens in one table.

    Attributes:
        table: Its name.
        role: ``chosen`` for the rows that were asked for, ``parent`` for rows that those refer to,
            ``child`` for rows that refer to them.
        inserted: How many rows the live database does not have.
        replaced: How many it has with other values, which are overwritten.
        same: How many it has already, just like that.
        kept: How many it has with other values, which stay: ``replace`` was not asked for.
        triggers: The names of the table's triggers.

    Example:
        >>> manager.preview_rows("latest", "entries").tables[0].inserted
        0
    """

    table: str
    role: Role
    inserted: int
    replaced: int
    same: int
    kept: int
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSample:
    """A row that is written, to be shown: values are shortened SQL, on one line each.

    Attributes:
        table: The name of its table.
        action: ``insert`` or ``replace``.
        key: Its primary key, name and value of each column; empty without one.
        values: What is written, name and value of each column; of a row that is replaced only those
            that change.
        before: The values in the live database that are replaced, by column.

    Example:
        >>> plan = manager.preview_rows("latest", "entries", samples=1)
        >>> [sample.action for sample in plan.samples]
        []
    """

    table: str
    action: Literal["insert", "replace"]
    key: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str], ...]
    before: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingParent:
    """A row that rows to be written refer to, and that the live database does not have.

    Attributes:
        table: The table of the rows that refer to it.
        columns: Their columns that do so.
        parent: The table that it is missing from.
        key: Name and value, shortened, of the columns of ``parent`` that are referred to.
        rows: How many rows refer to it.
        in_backup: Whether the backup has it, so that ``with_parents`` brings it.
        differs: Whether the live database has a row in its place that ``replace`` would overwrite.
        blocks: Whether nothing can be written for that. Not so where it is in the backup neither,
            and the application has the database not enforce its references.

    Example:
        >>> manager.preview_rows("latest", "entries").missing_parents
        ()
    """

    table: str
    columns: tuple[str, ...]
    parent: str
    key: tuple[tuple[str, str], ...]
    rows: int
    in_backup: bool
    differs: bool = False
    blocks: bool = True

    def __str__(self) -> str:
        key = ", ".join(f"{name} {value}" for name, value in self.key)
        rows = f"{self.rows:,} row{'s' if self.rows != 1 else ''} of {self.table}"
        return f"{self.parent} {key} (for {rows})"


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingChildren:
    """Rows that belonged to rows that come back, and are only in the backup.

    Attributes:
        table: Their table.
        parent: The table of the rows that they refer to.
        rows: How many they are.

    Example:
        >>> manager.preview_rows("latest", "entries").missing_children
        ()
    """

    table: str
    parent: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPlan:
    """What it means to bring chosen rows of a backup back.

    Attributes:
        tables: What happens in each table; the one that was asked for is the first.
        samples: Some of the rows that are written.
        missing_parents: Rows that are referred to and missing, so that nothing can be written; at
            most a hundred are listed.
        missing_children: Rows that would stay only in the backup.
        notes: What else is worth knowing before, a sentence each: columns that are new or gone.
        fingerprint: Another value where other rows would be written, or over other ones.

    Example:
        >>> plan = manager.preview_rows("latest", "entries", "id = 1")
        >>> plan.inserted, plan.replaced, plan.writes
        (0, 0, 0)
    """

    tables: tuple[TablePlan, ...]
    samples: tuple[RowSample, ...] = ()
    missing_parents: tuple[MissingParent, ...] = ()
    missing_children: tuple[MissingChildren, ...] = ()
    notes: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def inserted(self) -> int:
        """How many rows are inserted, in all tables."""
        return sum(one.inserted for one in self.tables)

    @property
    def replaced(self) -> int:
        """How many rows are overwritten, in all tables."""
        return sum(one.replaced for one in self.tables)

    @property
    def problem(self) -> RowsRefusedError | None:
        """Why nothing can be written: rows that are referred to are gone; None where nothing is."""
        missing = [one for one in self.missing_parents if one.blocks]
        if not missing:
            return None
        return parents_missing(
            [str(one) for one in missing[:_MOST_NAMED]],
            max(0, len(missing) - _MOST_NAMED),
            can_come=all(one.in_backup for one in missing),
            differ=any(one.differs for one in missing),
        )

    @property
    def writes(self) -> int:
        """How many rows are written."""
        return self.inserted + self.replaced


class SafetyCopy(Protocol):
    """What keeps the live database as it was before rows are written to it."""

    def take(self) -> None:
        """Copy all committed data. Called once more when somebody has written since."""

    def place(self) -> None:
        """Make the copy the way back: all is written, and about to be committed."""

    def committed(self, plan: RowsPlan) -> None:
        """Note that the rows of ``plan`` are in the live database."""
