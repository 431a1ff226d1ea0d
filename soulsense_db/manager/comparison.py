"""The database beside its backups: what differs, and a copy to try something on."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager

from soulsense_db import operations
from soulsense_db.drivers import DatabaseDiff, DiffReport, Progress, RowCounts
from soulsense_db.manager.bound import Bound
from soulsense_db.operations import Reference, ScratchCopy


class ManagerComparison(Bound):
    """The database beside its backups: what differs, and a copy to try something on."""

    def compare(self, ref: Reference, *, progress: Progress | None = None) -> DatabaseDiff:
        """Return what restoring a backup would change in the live database, table by table.

        The catalog is left out. A copy of the live database is compared, and then removed: the
        database is locked no longer than the copy takes.

        Args:
            ref: A backup as for :meth:`get`, or what :meth:`safety_backup` returned.
            progress: Told how many rows of how many were compared, those of both databases; (0, 0)
                while the numbers are not known. What it raises cancels.

        Returns:
            The tables that differ.

        Raises:
            InvalidBackupError: The backup cannot be read.
            WrongDatabaseError: It is a backup of another database.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            DatabaseDamagedError: The database cannot be read.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> for table in manager.compare("latest").tables:
            ...     print(table.table, "would lose", table.lost, "row(s)")
            entries would lose 1 row(s)
        """
        return operations.compare_with_live(self._repository, ref, progress=progress)

    def diff(
        self,
        ref: Reference,
        other: Reference | None = None,
        *,
        tables: Collection[str] = (),
        rows: int = 0,
        progress: Progress | None = None,
    ) -> DiffReport:
        """Return what differs from a backup to the live database, or from one backup to another.

        "Added" is what only the second one has, which is the live database unless ``other`` is
        given. The catalog is left out. Of the live database a copy is compared, and then removed:
        it is locked no longer than the copy takes. Backups of other databases may be named; a
        warning says so.

        Args:
            ref: A backup as for :meth:`get`, or what :meth:`safety_backup` returned.
            other: Another one; None for the live database.
            tables: The tables to compare; none for all.
            rows: How many rows of each kind and table the report keeps, 1,000 at most. Values of
                more than 4 KB are a :class:`~soulsense_db.drivers.LongValue` there.
            progress: Told how many rows of how many were read, those of both; (0, 0) while the
                numbers are not known. What it raises cancels.

        Returns:
            What differs, in the schema and in each table.

        Raises:
            OptionError: Neither has a table of that name; or ``rows`` is not from 0 to 1,000.
            InvalidBackupError: A backup cannot be read.
            IdentityError: Nothing at hand opens an encrypted one.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            DatabaseDamagedError: The database cannot be read.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> for table in manager.diff("latest").changed_tables:
            ...     print(table.table, table.added, "added", table.removed, "removed")
            entries 1 added 0 removed
        """
        return operations.diff_backups(
            self._repository, ref, other, tables=tables, rows=rows, progress=progress
        )

    def row_counts(self, ref: Reference) -> tuple[RowCounts, ...]:
        """Count the rows of each table in a backup and in the live database.

        Rows are only counted, not compared. The catalog is left out. A live database that is
        missing or cannot be read is no error: then all its numbers are None.

        Args:
            ref: As for :meth:`compare`.

        Returns:
            The numbers of each table, by its name.

        Raises:
            InvalidBackupError: The backup cannot be read.
            WrongDatabaseError: It is a backup of another database.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> {table.table: (table.backup, table.live) for table in manager.row_counts("latest")}
            {'alembic_version': (1, 1), 'entries': (2, 3)}
        """
        return operations.row_counts(self._repository, ref)

    def scratch_copy(
        self, ref: Reference | None = None, *, progress: Progress | None = None
    ) -> AbstractContextManager[ScratchCopy]:
        """Copy the database, or what is in a backup, to try something on the copy.

        Args:
            ref: A backup, as for :meth:`get`; None for the live database.
            progress: Told how many bytes of how many are done; what it raises cancels.

        Returns:
            A context manager. The copy is there in its block, and is gone at the end, with what
            was put beside it. It is a private file beside the database or in ``work_directory``.

        Raises:
            BackupError: As for :meth:`create`, or for :meth:`verify`, when the block begins.

        Example:
            >>> with manager.scratch_copy("latest") as copy:
            ...     print(copy.backup.description)
            Before the import
        """
        return operations.scratch_copy(self._repository, ref, progress=progress)
