"""What drivers return, what they raise besides the errors of the tree, and the lock they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

CheckLevel = Literal["quick", "pages", "full"]
"""How thorough a check is: header and size, every page too, every index and reference too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    """What a driver tells of a snapshot or backup file: bytes, Alembic heads, facts by name.

    ``sha256``: of what was written, as it was written, in 64 hexadecimal digits. Where it is given,
    a new backup is read once and compared with it, instead of being read and checked. Not even that
    is done where it was made of what was read from the file, once that was whole: ``was_read``.
    """

    size_bytes: int
    alembic_heads: tuple[str, ...]
    facts: Mapping[str, str]
    sha256: str | None = None
    was_read: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a check found that does not make a file unreadable, a line each.

    ``row_errors``: rows that break a constraint or that an index misses; a faithful copy has those
    of its source. ``warnings``: references to rows that do not exist, and checks that could not be
    made. ``broken_references``: how many of those there are; None where they were not looked for.
    """

    row_errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    broken_references: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What there is to say of a whole database: what a check found, its rows, its revisions.

    ``row_counts``: by table, None where they cannot be told.
    """

    findings: Findings
    row_counts: Mapping[str, int] | None
    alembic_heads: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDiff:
    """What restoring a backup would change in one table.

    Attributes:
        table: The name of the table.
        gained: How many rows are only in the backup.
        lost: How many rows are only in the live database.
        changed: How many rows are in both and not the same. None where the columns differ: then
            only the numbers of rows were compared.
        newer: How many of ``lost`` come after the last row of the backup, as rows inserted since
            do. None where that cannot be known: the columns differ, or the key is text or has
            several columns.
        only_in: ``backup`` or ``live``, where the other one has no such table.

    Example:
        >>> manager.compare("latest").tables
        (TableDiff(table='entries', gained=0, lost=1, changed=0, newer=1),)
    """

    table: str
    gained: int
    lost: int
    changed: int | None
    newer: int | None
    only_in: Literal["backup", "live"] | None = field(default=None, repr=False)

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known of its rows but that there are as many on both sides."""
        return (self.gained, self.lost, self.changed) == (0, 0, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseDiff:
    """What restoring a backup would change in the live database.

    Attributes:
        tables: The tables that differ, by name.
        same_schema: Whether all else is the same: tables, indexes, views and triggers.
        alembic_heads: The revisions of the live database, sorted.

    Example:
        >>> diff = manager.compare("latest")
        >>> diff.identical, diff.same_schema, diff.alembic_heads
        (False, True, ('1975ea83b712',))
    """

    tables: tuple[TableDiff, ...]
    same_schema: bool
    alembic_heads: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether a restore would change nothing."""
        return self.same_schema and not self.tables


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCounts:
    """How many rows a table has in a backup and in the live database.

    Attributes:
        table: The name of the table.
        backup: Its rows in the backup; None where the backup has no such table.
        live: Its rows in the live database. None where it has no such table; None for every table
            where the live database is missing or cannot be read.

    Example:
        >>> manager.row_counts("latest")[1]
        RowCounts(table='entries', backup=2, live=3)
    """

    table: str
    backup: int | None
    live: int | None


class QueryError(Exception):
    """What :meth:`Driver.query` was asked does not end well; the argument says why.

    ``is_wrong``: whatever is in the database, it cannot be asked.
    """

    def __init__(self, reason: str, *, is_wrong: bool = False) -> None:
        super().__init__(reason)
        self.is_wrong = is_wrong


class ConcurrentCommitError(Exception):
    """Somebody committed between the release of a hold and the lock that was to follow it."""


class WriteLock(Protocol):
    """Keeps writers out of the live database, and knows whether somebody wrote afterwards."""

    @property
    def is_released(self) -> bool:
        """Whether the caller's own writing may have begun."""

    def release(self) -> bool:
        """Let writers in again; False when that was done before."""

    def changed(self) -> bool:
        """Return whether anybody committed since :meth:`release`; True where nobody can tell."""

    def has_concurrent_commit(self) -> bool:
        """Return whether another connection than the caller's surely did."""
