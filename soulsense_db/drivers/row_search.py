"""Rows of a backup that the live database has not, or has otherwise: what to choose from."""

from __future__ import annotations

from dataclasses import dataclass

from soulsense_db.drivers.diff_report import Value

RowKey = tuple[Value, ...]
"""What a row of a backup is found by: its primary key, or in a table without one its rowid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRow:
    """A row of a backup that the live database does not have like that.

    Attributes:
        key: What ``keys`` of :meth:`~soulsense_db.manager.BackupManager.restore_rows` takes for it.
        values: Its values, in the order of :attr:`FoundRows.columns`.
        now: The values of the row that the live database has in its place; None where it has none.

    Example:
        >>> [row.key for row in manager.find_rows("latest", "entries").rows]
        []
    """

    key: RowKey
    values: tuple[Value, ...]
    now: tuple[Value, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRows:
    """Rows of one table of a backup that the live database does not have, or has otherwise.

    Attributes:
        table: The name of the table.
        columns: Its columns, as the backup has them.
        key: The columns of its primary key; empty for a table without one.
        rows: The rows, in the order in which the backup has them.
        is_complete: Whether there are no more than these. Where it is False and there are no rows,
            too many have no key to be compared; words that are in the row make them fewer.

    Example:
        >>> found = manager.find_rows("latest", "entries")
        >>> found.key, len(found.rows), found.is_complete
        (('id',), 0, True)
    """

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: tuple[FoundRow, ...]
    is_complete: bool
