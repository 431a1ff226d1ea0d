"""The way back: whole backups, single rows, and the way back from that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from soulsense_db import operations
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import (
    FoundRows,
    Progress,
    RowKey,
    RowSelection,
    RowsPlan,
    Triggers,
    Value,
)
from soulsense_db.manager.bound import Bound
from soulsense_db.operations import (
    DatabaseLock,
    Reference,
    RestoreCheck,
    RestoreReport,
    RowsReport,
    Upgrade,
)


class ManagerRestore(Bound):
    """The way back: whole backups, single rows, and the way back from that."""

    def can_restore(
        self,
        ref: Reference | None = None,
        *,
        upgrade: Upgrade | None = None,
        progress: Progress | None = None,
    ) -> RestoreCheck:
        """Return what would keep :meth:`restore` from restoring a backup here and now.

        It does all that a restore does before its first write: names, rights and room beside the
        database, the full verification, the encoding, and a working copy in the live database's
        page size where that is possible. Nothing is left of it. A lock that somebody has just now
        is no problem; it is waited for a second at most.

        Args:
            ref: The backup, as for :meth:`get`. None looks only at the database and its place, as
                the Alembic hook does before it needs a backup.
            upgrade: As for :meth:`restore`. The migrations run, on a copy that is thrown away.
            progress: As for :meth:`verify`.

        Returns:
            The problems, which are errors that :meth:`restore` would raise.

        Raises:
            WrongDatabaseError: It is a backup of another database.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.can_restore("latest").ok
            True
        """
        info = None if ref is None else self._finder.get_own(ref)
        return operations.check_restore(self._repository, info, upgrade=upgrade, progress=progress)

    def restore(
        self,
        ref: Reference,
        *,
        upgrade: Upgrade | None = None,
        progress: Progress | None = None,
        trust_directory: bool = False,
    ) -> RestoreReport:
        """Replace the live database with a backup; all or nothing.

        The backup is verified in full. The live database is copied to ``<its name>.safety_backup``
        beside it, for :meth:`undo_restore`. Then the backup is written in one transaction while
        other processes stay connected, and read back, and the catalog is rebuilt. A live database
        that is damaged or missing is restored too; its files are moved aside.

        After an error no backup is gone, and the live database is what the ``outcome`` of the error
        says: what it was, unless the disk failed in the middle. What fails once it is restored is a
        warning in the report.

        Args:
            ref: The backup, as for :meth:`get`.
            upgrade: What migrates the data on a private copy, before the live database is touched;
                see :func:`soulsense_db.alembic.upgrade_to`. Only data that arrives, and passes the
                checks again, is put in place. None for the data as it is.
            progress: Told how many bytes of how many are done; what it raises cancels, but for the
                last call, which finds the restore done.
            trust_directory: True also restores from a directory that another user owns or could
                replace.

        Returns:
            What was done.

        Raises:
            InvalidBackupError: The backup fails a check.
            RehearsalFailedError: Its data does not migrate; the live database is what it was.
            InterruptedMigrationError: It is to be migrated, and was half migrated when it was
                taken.
            WrongDatabaseError: It is a backup of another database.
            MetaFileError: Its meta file cannot be trusted.
            UntrustedDirectoryError: Another user owns the directory or could replace it.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            RestoreError: It failed in the middle; its ``outcome`` says what the database is now.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> report = manager.restore("latest")
            >>> report.verified, report.safety_backup.name
            (True, 'app.db.safety_backup')
        """
        return operations.restore_backup(
            self._repository,
            ref,
            upgrade=upgrade,
            progress=progress,
            trust_directory=trust_directory,
        )

    def undo_restore(self, *, progress: Progress | None = None) -> RestoreReport:
        """Go back to the database from before the last restore; a second undo undoes the first.

        All that was written since that restore, however long ago it was, is replaced as well. It is
        kept as the new safety backup. :meth:`safety_backup` tells its date first, and
        :meth:`compare` the rows. A migration that failed and was put back does not count as a
        restore.

        Args:
            progress: As for :meth:`restore`.

        Returns:
            What was done.

        Raises:
            NothingToUndoError: There is no safety backup.
            InvalidBackupError: The safety backup fails a check.
            MetaFileError: Its meta file cannot be trusted.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            RestoreError: It failed in the middle; its ``outcome`` says what the database is now.
            StorageError: The file system refused something.

        Example:
            >>> report = manager.restore("latest")
            >>> manager.undo_restore().verified
            True
        """
        return operations.undo_restore(self._repository, progress=progress)

    def safety_backup(self) -> BackupInfo | None:
        """Return what :meth:`undo_restore` goes back to.

        Returns:
            Its facts; None when there is nothing to go back to.

        Example:
            >>> manager.safety_backup() is None
            True
        """
        return operations.safety_backup(self._repository)

    def find_rows(
        self,
        ref: Reference,
        table: str,
        text: str = "",
        *,
        differing: bool = False,
        limit: int = 100,
        progress: Progress | None = None,
    ) -> FoundRows:
        """Return rows of a backup that the live database does not have: those to choose from.

        The backup is read from end to end, and each row is looked up in the live database; no more
        than ``limit`` rows are in memory, and nothing is locked. The backup is not verified for it.

        Args:
            ref: The backup, as for :meth:`get`.
            table: The name of the table, in the backup.
            text: Words, each of which is in one of the values of a row, in any case of the letters.
                Bytes are not searched.
            differing: True also returns rows that the live database has with other values.
            limit: The most rows that are returned, from 1 to 1,000.
            progress: Told how many rows of how many were read; what it raises cancels.

        Returns:
            The rows, with the keys that :meth:`restore_rows` takes.

        Raises:
            RowsRefusedError: Rows of this table cannot come back.
            OptionError: ``limit`` is not from 1 to 1,000.
            InvalidBackupError: The backup cannot be read.
            WrongDatabaseError: It is a backup of another database.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> found = manager.find_rows("latest", "entries", "import")
            >>> found.columns, found.rows
            (('id', 'title'), ())
        """
        return operations.find_rows(
            self._repository,
            ref,
            table,
            text=text,
            differing=differing,
            limit=limit,
            progress=progress,
        )

    def preview_rows(
        self,
        ref: Reference,
        table: str,
        where: str | None = None,
        *,
        keys: Iterable[Value | RowKey] | None = None,
        replace: bool = False,
        with_parents: bool = False,
        with_children: bool = False,
        without_columns: Sequence[str] = (),
        triggers: Triggers = "skip",
        samples: int = 5,
        progress: Progress | None = None,
    ) -> RowsPlan:
        """Return what :meth:`restore_rows` would do; nothing is written or locked.

        The backup is not verified for it.

        Args:
            ref: As for :meth:`restore_rows`; and so are the other options.
            table: As for :meth:`restore_rows`.
            where: As for :meth:`restore_rows`.
            keys: As for :meth:`restore_rows`.
            replace: As for :meth:`restore_rows`.
            with_parents: As for :meth:`restore_rows`.
            with_children: As for :meth:`restore_rows`.
            without_columns: As for :meth:`restore_rows`.
            triggers: As for :meth:`restore_rows`.
            samples: How many of the rows that would be written are shown.
            progress: Called with (0, 0) now and then; what it raises cancels.

        Returns:
            The plan. Its ``problem`` is what :meth:`restore_rows` would raise for
            ``missing_parents``.

        Raises:
            RowsRefusedError: The rows cannot come back, whatever the options are.
            OptionError: ``where`` is not one SQL expression that reads, a key is none of the table,
                or a column is none.
            InvalidBackupError: The backup cannot be read.
            WrongDatabaseError: It is a backup of another database.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> plan = manager.preview_rows("latest", "entries", "id = 1")
            >>> [(one.table, one.inserted, one.same) for one in plan.tables]
            [('entries', 0, 1)]
            >>> manager.preview_rows("latest", "entries", keys=[1, 2]).writes
            0
        """
        selection = RowSelection(
            table=table,
            where=where,
            keys=RowSelection.keys_of(keys),
            replace=replace,
            with_parents=with_parents,
            with_children=with_children,
            without_columns=tuple(without_columns),
            triggers=triggers,
        )
        return operations.preview_rows(
            self._repository, ref, selection, samples=samples, progress=progress
        )

    def restore_rows(
        self,
        ref: Reference,
        table: str,
        where: str | None = None,
        *,
        keys: Iterable[Value | RowKey] | None = None,
        replace: bool = False,
        with_parents: bool = False,
        with_children: bool = False,
        without_columns: Sequence[str] = (),
        triggers: Triggers = "skip",
        expected: RowsPlan | None = None,
        progress: Progress | None = None,
        trust_directory: bool = False,
    ) -> RowsReport:
        """Bring chosen rows of a backup back, and leave all else as it is; all or nothing.

        Rows that the live database does not have are inserted. Rows are the same that have the same
        primary key; in a table without one, and where a NULL is in it, those that have the same
        values. The backup is verified in full first. All is written in one transaction, after a
        copy of the live database was made as for :meth:`restore`: :meth:`undo_restore` goes back to
        it. Where there is nothing to write, no copy is made.

        Args:
            ref: The backup, as for :meth:`get`.
            table: The name of the table, in the backup.
            where: An SQL expression over the columns of the table in the backup, as ``id = 17``:
                which rows. It can only read the backup. None for all rows.
            keys: Which rows, instead of ``where``: the primary key of each, a tuple where it has
                several columns. In a table without one, the rowid in the backup. :meth:`find_rows`
                returns both.
            replace: True also overwrites rows that have other values now.
            with_parents: True also brings back the rows that these refer to by a foreign key, and
                that are gone, and those that they refer to. Otherwise they are refused.
            with_children: True also brings back the rows that refer to these by a foreign key, such
                as those that were deleted with them, and those that refer to them.
            without_columns: Columns of the table that are not written, such as those that it does
                not have any more.
            triggers: ``skip``: the rows become what they were in the backup, and the triggers of
                the tables do not run. ``run``: they run.
            expected: What :meth:`preview_rows` returned for the same options. Where something else
                would be done by now, nothing is.
            progress: Told how many rows of how many are written; (0, 0) while they are looked for.
                What it raises cancels; the last call comes before they are saved.
            trust_directory: As for :meth:`restore`.

        Returns:
            What was done.

        Raises:
            RowsRefusedError: The rows do not fit into the database as it is.
            OptionError: ``where`` is not one SQL expression that reads, a key is none of the table,
                or a column is none.
            InvalidBackupError: The backup fails a check.
            WrongDatabaseError: It is a backup of another database.
            MetaFileError: Its meta file cannot be trusted.
            UntrustedDirectoryError: Another user owns the directory or could replace it.
            InterruptedMigrationError: A migration died half-way.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            RestoreError: The disk failed in the middle; its ``outcome`` says what the database is.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> report = manager.restore_rows("latest", "entries", "id = 1", with_parents=True)
            >>> report.inserted, report.safety_backup
            (0, None)
        """
        selection = RowSelection(
            table=table,
            where=where,
            keys=RowSelection.keys_of(keys),
            replace=replace,
            with_parents=with_parents,
            with_children=with_children,
            without_columns=tuple(without_columns),
            triggers=triggers,
        )
        return operations.restore_rows(
            self._repository,
            ref,
            selection,
            expected=expected,
            progress=progress,
            trust_directory=trust_directory,
        )

    def exclusive(self, *, timeout: float | None = None, make_table: bool = True) -> DatabaseLock:
        """Hold the database's own lock: restores and migrations exclude each other with it.

        Backups can still be created.

        Args:
            timeout: Seconds to wait for it, by default ``lock_timeout``.
            make_table: False: where there is no catalog table, restores under this lock make none.

        Returns:
            The lock, held until its ``release()`` or the end of its ``with`` block. Its
            ``restore()`` and ``undo()`` do what those of the manager do.

        Raises:
            DatabaseLockedError: Somebody else held it for ``timeout`` seconds.
            UnsupportedDatabaseError: The database is a backup.

        Example:
            >>> with manager.exclusive() as lock:
            ...     report = lock.restore("latest")
        """
        repository = self._repository
        return DatabaseLock(
            repository if make_table else repository.with_catalog_as_it_is(),
            timeout=self._repository.driver.lock_timeout if timeout is None else timeout,
        )
